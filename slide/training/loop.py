"""The training loop: visits shuffled samples in chunks, rebuilds tables between them, reports progress.

A chunk is one call of the engine, so that Ctrl-C and progress bars are served. For single samples it takes about a
tenth of a second, and where it ends has no influence on the result: order, learning rate and random numbers depend on
the step alone. For batches it is a window, among whose samples like ones are sought: of a fixed size, cut where a
rebuild is due.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from slide.checks import require, whole
from slide.engine.protocol import Examples, TrainStats
from slide.errors import NonFiniteError
from slide.model.model import Model
from slide.model.snapshot import families
from slide.model.store.rows import Traffic
from slide.optim import Schedule
from slide.training.background_tables import BackgroundTables, in_background
from slide.training.callbacks import Callbacks
from slide.training.drift import DriftMeter
from slide.training.interrupts import Interrupts
from slide.training.plan import Plan
from slide.training.progress import Progress
from slide.training.small_updates import are_due, is_short, take_in
from slide.training.source import Source
from slide.training.tuning import grow_tables

CHUNK_SECONDS = 0.1
FIRST_CHUNK = 256
WINDOW = 8192  # samples among which batches of like ones are sought
RECORDS = 200  # of a fit's history, beside those at the end of each epoch
RECORDED = ("epoch", "epoch_ended", "samples", "seconds", "samples_per_second", "loss", "active", "rebuilds", "lr")


def run(net: Model, source: Source, plan: Plan, progress: Progress | None = None) -> Progress:
    """Trains for whole epochs, or goes on where progress stands. See Network.fit."""
    epochs, n = plan.epochs, source.n_rows
    require(whole(epochs) >= 0, "epochs", epochs, "a whole number, 0 or more")
    progress = progress or Progress(epochs=int(epochs), total=int(epochs) * n)
    progress.columns, progress.metric = [*RECORDED, *plan.judge.columns], plan.judge.metric
    progress.data = {"rows": n, "features": net.n_features, "labels": net.n_labels, **source.counts()}
    net.history = progress.history
    plan.judge.begin(progress)
    fit = _Fit(net, source, plan, progress)
    if epochs and not fit.tables.stay:
        net.leaves = None  # of weights that are about to change; made anew at the end
    try:
        plan.callbacks.tell("on_fit_begin", progress, net)
        with fit.interrupts if plan.saver else nullcontext():
            for epoch in range(progress.done // max(n, 1), epochs):
                progress.epoch = epoch
                fit.train_epoch()
                if progress.stop:
                    break
            fit.save_if_due()
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

    def __init__(self, net: Model, source: Source, plan: Plan, progress: Progress) -> None:
        self._net, self._source, self._plan, self._progress = net, source, plan, progress
        self.started = time.perf_counter() - progress.seconds
        short = not progress.done and not plan.saver and is_short(net, source.n_rows)
        self.tables = _Tables(net, progress, plan.callbacks, short)
        self.interrupts = Interrupts()

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
            self.save_if_due()
            self.tables.follow(X, Y)
            size = min(WINDOW if batch_size > 1 else chunk, n - first, self.tables.samples_left())
            now, first = order[first : first + size], first + size
            net.expect(X, Y, order[first : first + WINDOW], net.step + size, batch_size)
            took = _train_chunk(net, X, Y, now, batch_size, plan.schedule, progress)
            progress.epoch_ended = ends_epoch and first == n
            if progress.epoch_ended:
                self._end_epoch(X)
            self._notify(size)
            chunk = int(np.clip(size * CHUNK_SECONDS / max(took, 1e-6), net.n_threads, 4 * chunk))

    def save_if_due(self) -> None:
        """Between two chunks: the checkpoint, where there is one, before a signal that was held back stops the fit."""
        net, progress, plan = self._net, self._progress, self._plan
        if plan.saver and plan.saver.save_if_due(net, progress, now=bool(self.interrupts.received)):
            plan.callbacks.tell("on_checkpoint", progress, net)
        self.interrupts.deliver()

    def _end_epoch(self, X: Examples) -> None:
        net, progress = self._net, self._progress
        net.epoch += 1
        if progress.epoch == 0 and progress.epochs > 1 and len(X.data):
            net.prune(float(np.mean(np.abs(X.data), dtype=np.float64)))
        self._plan.judge.evaluate(net, progress)

    def _notify(self, size: int) -> None:
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
    """Keeps a network's tables up to date with its weights during a fit, and counts the time that training waits.

    stay : whether hash functions and leaves stay as they are, in a short fit (slide/training/small_updates.py)
    """

    def __init__(self, net: Model, progress: Progress, callbacks: Callbacks, stay: bool) -> None:
        self._net, self._progress, self._callbacks, self.stay = net, progress, callbacks, stay
        self._X: Examples | None = None  # rows to ask with, and their labels
        self._Y: Examples | None = None
        self._second: BackgroundTables | None = None
        # Tables of layers whose neurons all take part are for prediction: nobody asks them before the end.
        self._are_asked = any(net.states[i].n_active < net.states[i].n for i, _ in families(net.layers))
        self._meter = DriftMeter(net) if net.rebuild.drift is not None else None
        if self._meter and net.tables_built_at == net.step > 0:
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
        return WINDOW if filling or not self._are_asked else self._net.next_rebuild - self._net.step

    def finish(self, source: Source) -> None:
        """The last rebuild, with more care, and the leaves below it; after a short fit only where it is due."""
        begin, net = time.perf_counter(), self._net
        if self._X is None:  # a fit that was resumed at its end
            self._X, self._Y = next(iter(source.blocks()))
        assert self._Y is not None
        if self.stay and not are_due(net, _interval(net, 0)):
            take_in(net, self._X, self._Y)
        else:
            self._rebuild(final=True)
            if self.stay:
                net.refill_leaves()
            else:
                net.learn_leaves(self._X, self._Y)
        self._progress.rebuild_seconds += time.perf_counter() - begin

    def wait(self) -> None:
        """Until no thread is at work."""
        if self._second:
            self._second.wait()

    def _is_due(self) -> bool:
        filling = self._second is not None and self._second.is_filling
        return self._are_asked and self._net.step >= self._net.next_rebuild and not filling

    def _rebuild_if_moved(self) -> None:
        net = self._net
        if self._meter and self._meter.measure() <= (net.rebuild.drift or 0):
            net.next_rebuild = net.step + _interval(net, net.n_rebuilds - 1)
            return
        self._rebuild()
        if self._meter:
            self._meter.mark()

    def _rebuild(self, final: bool = False) -> None:
        net = self._net
        assert self._X is not None
        if not final and grow_tables(net):
            self._second = None
        interval = _interval(net, net.n_rebuilds)
        examples = None if self.stay else self._drawn(net.n_queries(final))
        if examples and net.n_rebuilds and not final and in_background(net):
            self._second = self._second or BackgroundTables(net)
            self._second.start(examples)
        else:
            net.rebuild_tables(examples, final=final, refresh=True)
        net.next_rebuild, net.followed_at = net.step + interval, net.step
        self._progress.rebuilds += 1

    def _drawn(self, n: int) -> Examples:
        """So many of the rows to ask with, at random."""
        assert self._X is not None
        rows = np.random.default_rng([self._net.seed, self._net.n_rebuilds]).integers(0, len(self._X.indptr) - 1, n)
        return self._X.take(np.sort(rows))


def _interval(net: Model, times: int) -> int:
    return net.rebuild.interval(times, _wanted_distance(net))


def _wanted_distance(net: Model) -> tuple[int, float]:
    """Of rebuilds: that of the layer with most neurons, which costs most."""
    hashed = families(net.layers)
    if not hashed:
        return 2**60, 0.0
    n, family = max(((net.states[i].n, family) for i, family in hashed), key=lambda pair: pair[0])
    return family.rebuild_every(n)


def what_stopped(net: Model, stats: TrainStats, lr: float) -> str:
    """What a NonFiniteError says."""
    if stats.bad_layer < len(net.layers):
        where = f"layer {stats.bad_layer} ({type(net.layers[stats.bad_layer]).__name__})"
    else:
        where = "the sparse linear part"
    what = f"the output of {where} is NaN or infinite; that sample changed nothing"
    if stats.bad_update:
        what = f"the update of {where} would leave float32's range and was not made: all weights are still finite"
    return f"step {stats.bad_step}: {what}. The learning rate was {lr:g}: try a smaller one"


def _train_chunk(
    net: Model, X: Examples, Y: Examples, order: np.ndarray, batch_size: int, schedule: Schedule, progress: Progress
) -> float:
    """One engine call; returns its seconds."""
    n = len(order)
    where = (progress.done + np.arange(n)) / progress.total
    lr = np.ascontiguousarray(schedule(where) * np.float32(net.optimizer.lr), np.float32)
    begin, before = time.perf_counter(), replace(net.traffic or Traffic())
    with net.lock:
        stats = net.engine.train(X, Y, order, net.step, lr, batch_size)
        if stats.bad_step >= 0:
            raise NonFiniteError(what_stopped(net, stats, float(lr[stats.bad_step - net.step])))
        net.step += n
    progress.add(stats, n)
    since = (net.traffic or Traffic()).since(before)
    progress.rows_read, progress.rows_seconds = progress.rows_read + since.read, progress.rows_seconds + since.waiting
    return time.perf_counter() - begin
