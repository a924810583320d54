"""The training loop: visits shuffled samples in chunks, rebuilds tables between them, reports progress.

A chunk is one call of the engine, so that Ctrl-C and progress bars are served. For single samples it takes about a
tenth of a second, and where it ends has no influence on the result: order, learning rate and random numbers hang on the
step alone. For batches it is a window, among whose samples like ones are sought: of a fixed size, cut where a rebuild
is due.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from slide._state import Examples, TrainStats
from slide.callbacks import Callbacks
from slide.checkpoint import Saver
from slide.drift import DriftMeter
from slide.errors import NonFiniteError
from slide.evaluation import Judge
from slide.lsh import require
from slide.network import Network
from slide.optim import Schedule
from slide.rebuilding import SecondTables, families, in_background
from slide.tuning import grow_tables

CHUNK_SECONDS = 0.1
FIRST_CHUNK = 256
WINDOW = 8192  # samples among which batches of like ones are sought
RECORDS = 200  # of a fit's history, beside those at the end of each epoch
RECORDED = ("epoch", "epoch_ended", "samples", "seconds", "samples_per_second", "loss", "active", "rebuilds", "lr")


@dataclass
class Progress:
    """Where a fit stands, handed to callbacks.

    Attributes
    ----------
    epochs, total : int
        Asked for: passes over the rows, and samples in all of them.
    epoch, done : int
        The present epoch, from 0; samples trained on so far.
    seconds, rebuild_seconds, evaluation_seconds : float
        Wall-clock time since the start, and how much of it went into rebuilds of tables and scores on held-out rows.
    rebuilds : int
    loss : float
        Mean over about the last tenth of an epoch.
    active : float
        Neurons of the last layer that took part in a sample, mean over the last chunk.
    epoch_ended : bool
        Whether this is the last call in an epoch.
    metrics : dict of str to float
        Of the evaluation set, as fractions, at the last epoch's end; empty without one.
    history : list of dict
        A record each 200th of the fit and at the end of each epoch, then with the metrics.
    stop : bool
        Set it to end the fit before the next chunk.
    """

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
    evaluation_seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    columns: list[str] = field(default_factory=list, repr=False)
    stop: bool = False
    phase_seconds: list[float] = field(default_factory=list, repr=False)  # of slide._state.PHASES, where asked for
    _loss_sum: float = field(default=0.0, repr=False)
    _loss_n: int = field(default=0, repr=False)

    @property
    def samples_per_second(self) -> float:
        """Over the whole fit so far, rebuilds included, evaluations not."""
        seconds = self.seconds - self.evaluation_seconds
        return self.done / seconds if seconds > 0 else 0.0

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
        if stats.phase_seconds:
            before = self.phase_seconds or [0.0] * len(stats.phase_seconds)
            self.phase_seconds = [a + b for a, b in zip(before, stats.phase_seconds, strict=True)]
        self.loss = self._loss_sum / self._loss_n if self._loss_n else float("nan")
        limit = max(1, self.total // max(self.epochs, 1) // 10)
        if self._loss_n > limit:
            self._loss_sum *= limit / self._loss_n
            self._loss_n = limit

    def record(self, lr: float) -> dict[str, Any]:
        """A new line of the history."""
        values = {
            "epoch": round(self.done * self.epochs / max(self.total, 1), 4),
            "epoch_ended": self.epoch_ended,
            "samples": self.done,
            "seconds": round(self.seconds, 4),
            "samples_per_second": round(self.samples_per_second, 1),
            "loss": float(self.loss) if np.isfinite(self.loss) else None,
            "active": round(self.active, 2),
            "rebuilds": self.rebuilds,
            "lr": lr,
        }
        scores = {name: float(value) for name, value in self.metrics.items()} if self.epoch_ended else {}
        self.history.append(values | scores)
        return self.history[-1]


@dataclass(frozen=True)
class Plan:
    """What a fit was asked to do beside training."""

    epochs: int
    schedule: Schedule
    callbacks: Callbacks
    judge: Judge
    saver: Saver | None = None


class Source(Protocol):
    """Where a fit's rows come from: in blocks, of which those of one are shuffled; the same ones in every epoch."""

    @property
    def n_rows(self) -> int: ...

    def blocks(self) -> Iterator[tuple[Examples, Examples]]:
        """Rows and their labels."""


@dataclass(frozen=True)
class Whole:
    """All rows in memory: one block."""

    X: Examples
    Y: Examples

    @property
    def n_rows(self) -> int:
        return len(self.X.indptr) - 1

    def blocks(self) -> Iterator[tuple[Examples, Examples]]:
        """The one."""
        yield self.X, self.Y


def run(net: Network, source: Source, plan: Plan, progress: Progress | None = None) -> Progress:
    """Trains for whole epochs, or goes on where progress stands. See Network.fit."""
    epochs, n = plan.epochs, source.n_rows
    require(isinstance(epochs, int | np.integer) and epochs >= 0, "epochs", epochs, "a whole number, 0 or more")
    progress = progress or Progress(epochs=int(epochs), total=int(epochs) * n)
    progress.columns = [*RECORDED, *plan.judge.columns]
    net.history = progress.history
    plan.judge.begin(progress)
    fit = _Fit(net, source, plan, progress)
    try:
        plan.callbacks.tell("on_fit_begin", progress, net)
        for epoch in range(progress.done // max(n, 1), epochs):
            progress.epoch = epoch
            fit.train_epoch()
            if progress.stop:
                break
    finally:
        fit.tables.wait()
        plan.callbacks.tell("on_fit_end", progress, net)
    if epochs:
        plan.judge.finish(net, progress)
        fit.tables.finish(source)
        progress.seconds = time.perf_counter() - fit.started
        net.rebuild_share = progress.rebuild_seconds / progress.seconds
    return progress


class _Fit:
    """One fit under way."""

    def __init__(self, net: Network, source: Source, plan: Plan, progress: Progress) -> None:
        self._net, self._source, self._plan, self._progress = net, source, plan, progress
        self.started = time.perf_counter() - progress.seconds
        self.tables = _Tables(net, progress, plan.callbacks)

    def train_epoch(self) -> None:
        """Every sample once, in an order of its own, or those that are left of an epoch; then what ends an epoch."""
        done, before = self._progress.done - self._progress.epoch * self._source.n_rows, 0
        for number, (X, Y) in enumerate(self._source.blocks()):
            n = len(X.indptr) - 1
            before += n
            self._train_block(number, X, Y, max(0, n - (before - done)), ends_epoch=before == self._source.n_rows)
            if self._progress.stop:
                return

    def _train_block(self, number: int, X: Examples, Y: Examples, first: int, *, ends_epoch: bool) -> None:
        """The rows from place `first` of the block's order on."""
        net, progress, plan = self._net, self._progress, self._plan
        n = len(X.indptr) - 1
        batch_size, chunk = net.resolved_batch_size(self._source.n_rows), FIRST_CHUNK
        seed = [net.seed, net.epoch, number] if number else [net.seed, net.epoch]
        order = np.random.default_rng(seed).permutation(n).astype(np.int64)
        while first < n and not progress.stop:
            if plan.saver and plan.saver.save_if_due(net, progress):
                plan.callbacks.tell("on_checkpoint", progress, net)
            self.tables.follow(X, Y)
            size = min(WINDOW if batch_size > 1 else chunk, n - first, self.tables.samples_left())
            took = _train_chunk(net, X, Y, order[first : first + size], batch_size, plan.schedule, progress)
            first += size
            progress.epoch_ended = ends_epoch and first == n
            if progress.epoch_ended:
                self._end_epoch(X)
            self._told(size)
            chunk = int(np.clip(size * CHUNK_SECONDS / max(took, 1e-6), net.n_threads, 4 * chunk))

    def _end_epoch(self, X: Examples) -> None:
        net, progress = self._net, self._progress
        net.epoch += 1
        if progress.epoch == 0 and progress.epochs > 1 and len(X.data):
            net.prune(float(np.mean(np.abs(X.data), dtype=np.float64)))
        self._plan.judge.evaluate(net, progress)

    def _told(self, size: int) -> None:
        """Callbacks hear of a chunk of that many samples."""
        net, progress, callbacks = self._net, self._progress, self._plan.callbacks
        progress.seconds = time.perf_counter() - self.started
        if progress.epoch_ended:
            callbacks.tell("on_epoch_end", progress, net)
        if progress.epoch_ended or _passes(progress.done, size, max(1, progress.total // RECORDS)):
            where = np.array([(progress.done - 1) / progress.total])
            callbacks.tell(
                "on_record", progress.record(float(self._plan.schedule(where)[0]) * net.optimizer.lr), progress
            )
        if progress.epoch_ended:
            self._plan.judge.decide(net, progress)
        callbacks.tell("on_chunk", progress, net)


def _passes(done: int, size: int, every: int) -> bool:
    """Whether a multiple of `every` is among the last `size` samples."""
    return done // every > (done - size) // every


class _Tables:
    """Keeps a network's tables up to date with its weights during a fit, and counts the time that training waits."""

    def __init__(self, net: Network, progress: Progress, callbacks: Callbacks) -> None:
        self._net, self._progress, self._callbacks = net, progress, callbacks
        self._X: Examples | None = None  # rows to ask with, and their labels
        self._Y: Examples | None = None
        self._second: SecondTables | None = None
        self._meter = DriftMeter(net) if net.rebuild.drift is not None else None
        if self._meter and net.tables_step == net.step > 0:
            self._meter.mark()

    def follow(self, X: Examples, Y: Examples) -> None:
        """Rebuilds when it is time, unless the rows are seen to have moved too little; queries come from X."""
        begin = time.perf_counter()
        self._X, self._Y = X, Y
        if self._second and self._second.is_full:
            self._second.swap()
        before = self._progress.rebuilds
        if self._is_due():
            self._rebuild_if_moved()
        self._progress.rebuild_seconds += time.perf_counter() - begin
        if self._progress.rebuilds > before:
            self._callbacks.tell("on_rebuild", self._progress, self._net)

    def samples_left(self) -> int:
        """Before the next rebuild is due; while one is under way, no other is."""
        filling = self._second is not None and self._second.is_filling
        return WINDOW if filling else self._net.next_rebuild - self._net.step

    def finish(self, source: Source) -> None:
        """The last rebuild, with more care."""
        begin = time.perf_counter()
        if self._X is None:  # a fit that was resumed at its end
            self._X, self._Y = next(iter(source.blocks()))
        self._rebuild(at_the_end=True)
        assert self._Y is not None
        self._net.learn_leaves(self._X, self._Y)
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
        assert self._X is not None
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
