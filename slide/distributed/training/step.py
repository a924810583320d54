"""One block of samples, trained by all workers together.

Each adds up the input rows of its own features; the sums of all are the hidden vectors. Each makes its step on its own
labels in batches of like samples, one after the other; of the others it knows the log of the sum of the exponentials of
their active labels, as it was when the sample was last trained. The sum of the gradients that come out moves the input
rows.

Two exchanges a block: twice H floats a sample, beside the second of which workers say how they fared, their log-sums,
and the cells in which the samples are now, of which each worker finds a part. Before a row's first time each worker
scores its labels once for the log-sum alone, and all say it in a third exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.distributed.training.cells import edges, has_cells, own_cells
from slide.distributed.training.shard import Shard
from slide.distributed.transport.group import Group
from slide.engine.binding import c_core
from slide.engine.layout import FloatArray
from slide.engine.protocol import Examples, TrainStats

#: Samples of a block: a 40th of the rows, within limits. Debian's sources, two epochs, one worker, P@1: 57.5 with 512,
#: 56.7 with 1,024, 54.4 with 2,048, and 57.1 by one process, whose samples see all steps before them.
MIN_BLOCK, MAX_BLOCK, BLOCKS = 256, 512, 40


def block_size(n_rows: int) -> int:
    """Samples that see the input rows as they were when their block began."""
    return int(np.clip(n_rows // BLOCKS, MIN_BLOCK, MAX_BLOCK))


@dataclass(frozen=True)
class OwnColumns:
    """The training rows as a shard sees them: X of its features, Y of its labels, and how many labels each row has."""

    X: Examples
    Y: Examples
    n_labels: npt.NDArray[np.int32]
    weights: FloatArray

    @cached_property
    def no_features(self) -> Examples:
        """As many rows without features, for a layer that is given vectors."""
        n = len(self.n_labels)
        return Examples(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), self.weights)


def activate(kind: str, sums: FloatArray) -> FloatArray:
    """The hidden vectors of sums of input rows, in place."""
    if kind == "relu":
        np.maximum(sums, 0, out=sums)
    elif kind == "tanh":
        np.tanh(sums, out=sums)
    return sums


def activation_backward(kind: str, hidden: FloatArray, gradient: FloatArray) -> FloatArray:
    """Gradients of the sums, in place of those of the hidden vectors."""
    if kind == "relu":
        gradient *= hidden > 0
    elif kind == "tanh":
        gradient *= 1 - np.square(hidden)
    return gradient


@dataclass(frozen=True)
class Trained:
    """What a block did.

    Attributes
    ----------
    stats : TrainStats
        Of all workers; the step of the input rows, which comes last, is not in it.
    below : TrainStats or None
        What stopped that step at this worker.
    seconds : float64 [workers]
        What each said of its own time.
    cells : uint32 [n]
        Of the samples, by their hidden vectors; empty without tables.
    sums : LogSums or None
        As they are now, of a softmax of several workers.
    """

    stats: TrainStats
    below: TrainStats | None
    seconds: npt.NDArray[np.float64]
    cells: npt.NDArray[np.uint32]
    sums: LogSums | None = None


@dataclass(frozen=True)
class LogSums:
    """Of samples, float32 [n], the log of the sum of the exponentials of active labels: of all workers, the same at
    each, and of all but this one.
    """

    whole: FloatArray
    others: FloatArray


@dataclass(frozen=True)
class Samples:
    """Those of a block: their rows, the cell of each (empty without tables), its learning rate, and at which step they
    begin. sums : what is known of their log-sums; None where it is not of all.
    """

    order: npt.NDArray[np.int64]
    cells: npt.NDArray[np.uint32]
    lr: FloatArray
    first_step: int
    batch_size: int
    sums: LogSums | None


def train_block(
    group: Group,
    shard: Shard,
    rows: OwnColumns,
    some: Samples,
    beside: Callable[[TrainStats], tuple[TrainStats, float]],
) -> Trained:
    """Trains on some rows. beside(stats) is what the worker does and says before the last exchange: its counts, and
    seconds of its own.
    """
    core: Any = c_core()
    kind, n = shard.spec.input.activation, len(some.order)
    hidden = core.shard_sums(shard.below, rows.X, some.order, some.first_step)
    group.all_reduce(hidden)
    activate(kind, hidden)
    if not np.isfinite(hidden).all():
        at = int(np.flatnonzero(~np.isfinite(hidden).all(axis=1))[0])
        stats = TrainStats(0.0, 0, 0, some.first_step + at, 0)
        return Trained(stats, None, np.zeros(group.size), some.cells)
    shares = shard.spec.loss == "softmax" and group.size > 1
    said = Report(group, n, shares, has_cells(shard))
    message = np.zeros((n + said.rows(hidden.shape[1]), hidden.shape[1]), np.float32)
    gradient = message[:n]
    plan = core.ShardPlan(
        shard.head.engine,
        rows.no_features,
        rows.Y,
        some.order,
        some.first_step,
        some.lr,
        some.batch_size,
        hidden,
        np.ascontiguousarray(some.cells),
        np.ascontiguousarray(rows.n_labels[some.order]),
        1 / group.size,
        gradient,
    )
    sums = some.sums or _first_sums(group, plan) if shares else None
    stats = plan.train(np.full(n, -np.inf, np.float32) if sums is None else sums.others)
    if has_cells(shard):
        said.write_cells(message[n:], own_cells(group, shard, hidden))
    if sums is not None:
        said.write_sums(message[n:], plan.log_sums, sums)
    own, seconds = beside(stats)
    said.write(message[n:], own, seconds)
    group.all_reduce(message)
    stats, times = said.read(message[n:], own)
    cells = said.read_cells(message[n:])
    if stats.bad_step >= 0:
        return Trained(stats, None, times, cells)
    now = None if sums is None else said.read_sums(message[n:], plan.log_sums, sums)
    below = core.shard_step(
        shard.below,
        rows.X,
        some.order,
        some.first_step,
        some.lr,
        activation_backward(kind, hidden, np.ascontiguousarray(gradient)),
    )
    return Trained(stats, below if below.bad_step >= 0 else None, times, cells, now)


class Report:
    """What workers say of a block in a few rows that are added up beside the gradients, zeros before."""

    COUNTS = 5  # the losses, the active ones, and workers that were stopped
    FAR = 60.0  # from what a log-sum was: its exponential stays within float32

    def __init__(self, group: Group, n: int, sums: bool, cells: bool) -> None:
        """n : samples. Whether their log-sums and their cells are said."""
        self._group = group
        self._times = self.COUNTS + group.size
        self._cells = slice(self._times, self._times + n * cells)
        self._sums = slice(self._cells.stop, self._cells.stop + n * sums)

    def rows(self, width: int) -> int:
        """How many of this width it takes."""
        return -(-self._sums.stop // width)

    def write(self, rows: FloatArray, stats: TrainStats, seconds: float) -> None:
        """The counts of this worker, and its time."""
        flat = rows.reshape(-1)
        stopped = stats.bad_step >= 0
        loss = 0.0 if stopped else stats.loss  # which need not be finite
        flat[: self.COUNTS] = loss, stats.n_active, stats.wide_loss, stats.n_wide_active, stopped
        flat[self.COUNTS + self._group.rank] = seconds

    def read(self, rows: FloatArray, own: TrainStats) -> tuple[TrainStats, npt.NDArray[np.float64]]:
        """Counts of all workers, and the seconds of each; what stopped one of them stops all."""
        flat = rows.reshape(-1)[: self._times].astype(np.float64)
        loss, n_active, wide_loss, n_wide, stopped = flat[: self.COUNTS].tolist()
        if stopped:
            own = worst(self._group, own)
        own = own._replace(loss=loss, n_active=int(n_active), wide_loss=wide_loss, n_wide_active=int(n_wide))
        return own, flat[self.COUNTS :]

    def write_cells(self, rows: FloatArray, own: npt.NDArray[np.uint32]) -> None:
        """Those that this worker found, of its part of the samples: whole numbers that float32 has."""
        cells = rows.reshape(-1)[self._cells]
        some = edges(self._group, len(cells))
        cells[some[self._group.rank] : some[self._group.rank + 1]] = own

    def read_cells(self, rows: FloatArray) -> npt.NDArray[np.uint32]:
        """Of all samples."""
        return rows.reshape(-1)[self._cells].astype(np.uint32)

    def write_sums(self, rows: FloatArray, own: FloatArray, before: LogSums) -> None:
        """This worker's log-sums: its exponentials as shares of the whole sum as it was."""
        rows.reshape(-1)[self._sums] = np.exp(np.clip(own - before.whole, -self.FAR, self.FAR))

    def read_sums(self, rows: FloatArray, own: FloatArray, before: LogSums) -> LogSums:
        """Of all workers, and of all but this one."""
        whole = before.whole + np.log(rows.reshape(-1)[self._sums])
        return LogSums(whole, without(whole, own))


def without(whole: FloatArray, own: FloatArray) -> FloatArray:
    """log(e^whole - e^own), where own is the smaller but for rounding."""
    share = np.exp(np.minimum(own - whole, 0), dtype=np.float64)
    return (whole + np.log(np.maximum(1 - share, np.finfo(np.float32).eps))).astype(np.float32)


def worst(group: Group, stats: TrainStats) -> TrainStats:
    """The counts with what stopped the first of the workers, if anything did. Called by all."""
    nothing = 2**52
    bad = stats.bad_step if stats.bad_step >= 0 else nothing
    found = group.all_gather(np.array([bad, stats.bad_layer, stats.bad_update], np.int64))
    step, layer, update = found[int(np.argmin(found[:, 0]))].tolist()
    if step == nothing:
        return stats
    return stats._replace(bad_step=step, bad_layer=layer, bad_update=bool(update))


def _first_sums(group: Group, plan: Any) -> LogSums:
    """Of samples of which nothing is known, as all workers find them."""
    sums = group.all_gather(plan.find_log_sums()).astype(np.float64)
    others = np.logaddexp.reduce(np.delete(sums, group.rank, axis=0), axis=0)
    return LogSums(np.logaddexp.reduce(sums, axis=0).astype(np.float32), others.astype(np.float32))


def agreed(group: Group, ok: bool) -> bool:
    """Whether all are."""
    faults = np.array([0 if ok else 1], np.int64)
    group.all_reduce(faults)
    return not int(faults[0])
