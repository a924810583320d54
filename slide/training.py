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
from slide.drift import DriftMeter
from slide.errors import NonFiniteError
from slide.layers import Sampled
from slide.lsh import require
from slide.network import Network
from slide.optim import Schedule

CHUNK_SECONDS = 0.1
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
) -> Progress:
    """Trains for whole epochs. See Network.fit."""
    require(isinstance(epochs, int | np.integer) and epochs >= 0, "epochs", epochs, "a whole number, 0 or more")
    n = len(X.indptr) - 1
    progress = Progress(epochs=epochs, total=epochs * n)
    started = time.perf_counter()
    batch_size = net.resolved_batch_size(n)
    chunk = 256
    meter = DriftMeter(net) if net.rebuild.drift is not None else None
    if meter and net.tables_step == net.step > 0:
        meter.mark()
    for epoch in range(epochs):
        order = np.random.default_rng([net.seed, net.epoch]).permutation(n).astype(np.int64)
        first = 0
        while first < n:
            if net.step >= net.next_rebuild:
                _refresh(net, X, progress, meter)
            size = min(WINDOW if batch_size > 1 else chunk, n - first, net.next_rebuild - net.step)
            took = _train_chunk(net, X, Y, order[first : first + size], batch_size, schedule, progress)
            first += size
            progress.epoch, progress.epoch_ended = epoch, first == n
            progress.seconds = time.perf_counter() - started
            if callback:
                callback(progress)
            chunk = int(np.clip(size * CHUNK_SECONDS / max(took, 1e-6), net.n_threads, 4 * chunk))
        net.epoch += 1
        if epoch == 0 and epochs > 1 and len(X.data):
            net.prune(float(np.mean(np.abs(X.data), dtype=np.float64)))
    if epochs:
        _rebuild(net, X, progress, at_the_end=True)
        progress.seconds = time.perf_counter() - started
        net.rebuild_share = progress.rebuild_seconds / progress.seconds
    return progress


def _refresh(net: Network, X: Examples, progress: Progress, meter: DriftMeter | None) -> None:
    """Rebuilds when it is time, unless the rows are seen to have moved too little."""
    begin = time.perf_counter()
    if meter and meter.measure() <= (net.rebuild.drift or 0):
        net.next_rebuild = net.step + _interval(net, net.generation - 1)
        progress.rebuild_seconds += time.perf_counter() - begin
        return
    _rebuild(net, X, progress)
    if meter:
        meter.mark()


def _rebuild(net: Network, X: Examples, progress: Progress, at_the_end: bool = False) -> None:
    begin = time.perf_counter()
    interval = _interval(net, net.generation)
    sample = np.random.default_rng([net.seed, net.generation]).integers(0, len(X.indptr) - 1, net.n_queries(at_the_end))
    net.rebuild_tables(X.take(np.sort(sample)), at_the_end=at_the_end, refresh=True)
    net.next_rebuild = net.step + interval
    progress.rebuilds += 1
    progress.rebuild_seconds += time.perf_counter() - begin


def _interval(net: Network, times: int) -> int:
    return net.rebuild.interval(times, _wanted_distance(net))


def _wanted_distance(net: Network) -> tuple[int, float]:
    """Of rebuilds: that of the layer with most neurons, which costs most."""
    sampled = [layer for layer in net.layers if isinstance(layer, Sampled) and layer.lsh is not None]
    if not sampled:
        return 2**60, 0.0
    largest = max(sampled, key=lambda layer: layer.n)
    assert largest.lsh is not None
    return largest.lsh.rebuild_every(largest.n)


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
