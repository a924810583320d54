"""The training loop: visits shuffled samples in chunks, rebuilds tables between them, reports progress.

A chunk is one call of the engine, so that Ctrl-C and progress bars are served. For single samples it takes about a
tenth of a second, and where it ends has no influence on the result: order, learning rate and random numbers hang on the
step alone. For batches it is a window, among whose samples like ones are sought: of a fixed size, cut where a rebuild
is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from slide._state import Examples, TrainStats
from slide.checkpoint import Saver
from slide.drift import DriftMeter
from slide.errors import NonFiniteError
from slide.lsh import require
from slide.network import Network
from slide.optim import Schedule
from slide.rebuilding import SecondTables, families, in_background
from slide.tuning import grow_tables

CHUNK_SECONDS = 0.1
FIRST_CHUNK = 256
WINDOW = 8192  # samples among which batches of like ones are sought


@dataclass
class Progress:
    """Where a fit stands, handed to the callback after every chunk."""

    epochs: int
    total: int
    epoch: int = 0
    done: int = 0
    seconds: float = 0.0
    rebuild_seconds: float = 0.0
    rebuilds: int = 0
    loss: float = float("nan")
    active: float = float("nan")
    epoch_ended: bool = False
    _loss_sum: float = field(default=0.0, repr=False)
    _loss_n: int = field(default=0, repr=False)

    @property
    def samples_per_second(self) -> float:
        """Over the whole fit so far, rebuilds included."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float:
        """At the rate so far."""
        return (self.total - self.done) / self.samples_per_second if self.done else float("inf")

    def add(self, stats: TrainStats, n: int) -> None:
        """Takes in one chunk: a running mean of the loss over about the last tenth of an epoch."""
        self.done += n
        self.active = stats.n_active / max(n, 1)
        self._loss_sum += stats.loss
        self._loss_n += stats.n_loss
        self.loss = self._loss_sum / self._loss_n if self._loss_n else float("nan")
        limit = max(1, self.total // max(self.epochs, 1) // 10)
        if self._loss_n > limit:
            self._loss_sum *= limit / self._loss_n
            self._loss_n = limit


def run(
    net: Network,
    X: Examples,
    Y: Examples,
    epochs: int,
    schedule: Schedule,
    callback: Callable[[Progress], None] | None = None,
    saver: Saver | None = None,
    progress: Progress | None = None,
) -> Progress:
    """Trains for whole epochs, or goes on where progress stands. See Network.fit."""
    require(isinstance(epochs, int | np.integer) and epochs >= 0, "epochs", epochs, "a whole number, 0 or more")
    n = len(X.indptr) - 1
    progress = progress or Progress(epochs=int(epochs), total=int(epochs) * n)
    started = time.perf_counter() - progress.seconds
    tables = _Tables(net, X, progress)
    try:
        for epoch in range(progress.done // max(n, 1), epochs):
            progress.epoch = epoch
            _epoch(net, X, Y, tables, progress, schedule, started, callback, saver)
            net.epoch += 1
            if epoch == 0 and epochs > 1 and len(X.data):
                net.prune(float(np.mean(np.abs(X.data), dtype=np.float64)))
    finally:
        tables.wait()
    if epochs:
        tables.finish()
        progress.seconds = time.perf_counter() - started
        net.rebuild_share = progress.rebuild_seconds / progress.seconds
    return progress


def _epoch(
    net: Network,
    X: Examples,
    Y: Examples,
    tables: _Tables,
    progress: Progress,
    schedule: Schedule,
    started: float,
    callback: Callable[[Progress], None] | None,
    saver: Saver | None,
) -> None:
    """Every sample once, in an order of its own; or those that are left of an epoch."""
    n = len(X.indptr) - 1
    batch_size, chunk, first = net.resolved_batch_size(n), FIRST_CHUNK, progress.done - progress.epoch * n
    order = np.random.default_rng([net.seed, net.epoch]).permutation(n).astype(np.int64)
    while first < n:
        if saver:
            saver.save_if_due(net, progress)
        tables.follow()
        size = min(WINDOW if batch_size > 1 else chunk, n - first, tables.samples_left())
        took = _train_chunk(net, X, Y, order[first : first + size], batch_size, schedule, progress)
        first += size
        progress.epoch_ended = first == n
        progress.seconds = time.perf_counter() - started
        if callback:
            callback(progress)
        chunk = int(np.clip(size * CHUNK_SECONDS / max(took, 1e-6), net.n_threads, 4 * chunk))


class _Tables:
    """Keeps a network's tables up to date with its weights during a fit, and counts the time that training waits."""

    def __init__(self, net: Network, X: Examples, progress: Progress) -> None:
        self._net, self._X, self._progress = net, X, progress
        self._second: SecondTables | None = None
        self._meter = DriftMeter(net) if net.rebuild.drift is not None else None
        if self._meter and net.tables_step == net.step > 0:
            self._meter.mark()

    def follow(self) -> None:
        """Rebuilds when it is time, unless the rows are seen to have moved too little."""
        begin = time.perf_counter()
        if self._second and self._second.is_full:
            self._second.swap()
        if self._is_due():
            self._rebuild_if_moved()
        self._progress.rebuild_seconds += time.perf_counter() - begin

    def samples_left(self) -> int:
        """Before the next rebuild is due; while one is under way, no other is."""
        filling = self._second is not None and self._second.is_filling
        return WINDOW if filling else self._net.next_rebuild - self._net.step

    def finish(self) -> None:
        """The last rebuild, with more care."""
        begin = time.perf_counter()
        self._rebuild(at_the_end=True)
        self._progress.rebuild_seconds += time.perf_counter() - begin

    def wait(self) -> None:
        """Until no thread is at work."""
        if self._second:
            self._second.wait()

    def _is_due(self) -> bool:
        filling = self._second is not None and self._second.is_filling
        return self._net.step >= self._net.next_rebuild and not filling

    def _rebuild_if_moved(self) -> None:
        net = self._net
        if self._meter and self._meter.measure() <= (net.rebuild.drift or 0):
            net.next_rebuild = net.step + _interval(net, net.generation - 1)
            return
        self._rebuild()
        if self._meter:
            self._meter.mark()

    def _rebuild(self, at_the_end: bool = False) -> None:
        net = self._net
        if not at_the_end and grow_tables(net):
            self._second = None
        interval = _interval(net, net.generation)
        rows = np.random.default_rng([net.seed, net.generation]).integers(
            0, len(self._X.indptr) - 1, net.n_queries(at_the_end)
        )
        examples = self._X.take(np.sort(rows))
        if net.generation and not at_the_end and in_background(net):
            self._second = self._second or SecondTables(net)
            self._second.start(examples)
        else:
            net.rebuild_tables(examples, at_the_end=at_the_end, refresh=True)
        net.next_rebuild = net.step + interval
        self._progress.rebuilds += 1


def _interval(net: Network, times: int) -> int:
    return net.rebuild.interval(times, _wanted_distance(net))


def _wanted_distance(net: Network) -> tuple[int, float]:
    """Of rebuilds: that of the layer with most neurons, which costs most."""
    hashed = families(net.layers)
    if not hashed:
        return 2**60, 0.0
    n, family = max(((net.states[i].n, family) for i, family in hashed), key=lambda pair: pair[0])
    return family.rebuild_every(n)


def _what_stopped(net: Network, stats: TrainStats, lr: float) -> str:
    if stats.bad_layer < len(net.layers):
        where = f"layer {stats.bad_layer} ({type(net.layers[stats.bad_layer]).__name__})"
    else:
        where = "the sparse linear part"
    what = f"the output of {where} is NaN or infinite; that sample changed nothing"
    if stats.bad_update:
        what = f"the update of {where} would leave float32's range and was not made: all weights are still finite"
    return f"step {stats.bad_step}: {what}. The learning rate was {lr:g}: try a smaller one"


def _train_chunk(
    net: Network, X: Examples, Y: Examples, order: np.ndarray, batch_size: int, schedule: Schedule, progress: Progress
) -> float:
    """One engine call; returns its seconds."""
    n = len(order)
    where = (progress.done + np.arange(n)) / progress.total
    lr = np.ascontiguousarray(schedule(where) * np.float32(net.optimizer.lr), np.float32)
    begin = time.perf_counter()
    with net.lock:
        stats = net._engine.train(X, Y, order, net.step, lr, batch_size)
        if stats.bad_step >= 0:
            raise NonFiniteError(_what_stopped(net, stats, float(lr[stats.bad_step - net.step])))
        net.step += n
    progress.add(stats, n)
    return time.perf_counter() - begin
