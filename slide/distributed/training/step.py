"""One block of samples, trained by all workers together.

Each adds up the input rows of its own features; the sums of all are the hidden vectors. Each makes its step on its own
labels in batches of like samples, one after the other; of the others it knows the log of the sum of the exponentials of
their active labels, as it was when the sample was last trained. The sum of the gradients that come out moves the input
rows.

Two exchanges a block, of H floats a sample. Beside the first, workers say how they fared in the block before, its
log-sums, and the cells in which its samples were, of which each worker finds a part. The second, of gradients, goes on
while they find these cells and train pairs. Before a row's first time each worker scores its labels once for the
log-sum alone, and all say it in a third exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.distributed.training.cells import edges, has_cells, own_cells
from slide.distributed.training.pace import TOLD, ClockedGroup
from slide.distributed.training.shard import Shard
from slide.distributed.transport.group import Group
from slide.engine.binding import c_core
from slide.engine.layout import FloatArray
from slide.engine.protocol import Examples, TrainStats

#: Samples of a block at first: a 40th of the rows, within limits. Debian's sources, two epochs, one worker, P@1: 57.5
#: with 512, 56.7 with 1,024, 54.4 with 2,048, and 57.1 by one process, whose samples see all steps before them.
MIN_BLOCK, MAX_BLOCK, BLOCKS = 256, 512, 40
#: Later they grow as the learning rate falls, so that what a sample does not see stays as much: to so many times that,
#: and to a tenth of the rows. The same, five epochs, two workers, three seeds: 67.8 with 512 to the end, 67.7 with up
#: to 1,024 (1.6 times fewer blocks), 67.5 with up to 2,048 (1.8 times fewer).
MOST_TIMES, MOST_BLOCKS = 2, 10


def block_size(n_rows: int, rate: float) -> int:
    """Samples that see the input rows as they were when their block began; rate : the present share of the optimizer's
    learning rate."""
    first = int(np.clip(n_rows // BLOCKS, MIN_BLOCK, MAX_BLOCK))
    return int(np.clip(first / max(rate, 1e-9), first, max(first, min(MOST_TIMES * first, n_rows // MOST_BLOCKS))))


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
class LogSums:
    """Of samples, float32 [n], the log of the sum of the exponentials of active labels: of all workers, the same at
    each, and of all but this one.
    """

    whole: FloatArray
    others: FloatArray


@dataclass(frozen=True)
class Samples:
    """Those of a block: their rows, the cell of each (empty without tables), its learning rate, and at which step they
    begin. sums : what is known of their log-sums; None where it is not of all. are_new : whether their cells were found
    when their window began, and stay.
    """

    order: npt.NDArray[np.int64]
    cells: npt.NDArray[np.uint32]
    lr: FloatArray
    first_step: int
    batch_size: int
    sums: LogSums | None
    are_new: bool = False


@dataclass(frozen=True)
class Trained:
    """What a block did.

    Attributes
    ----------
    samples : Samples
    stats : TrainStats
        Of all workers.
    told : float64 [5, workers]
        What each said of its time: see ClockedGroup.told.
    cells : uint32 [n]
        Of the samples, by their hidden vectors; empty where they were not found.
    sums : LogSums or None
        As they are now, of a softmax of several workers.
    """

    samples: Samples
    stats: TrainStats
    told: npt.NDArray[np.float64]
    cells: npt.NDArray[np.uint32]
    sums: LogSums | None = None


def train_block(
    group: ClockedGroup,
    shard: Shard,
    rows: OwnColumns,
    some: Samples,
    last: Report | None,
    beside: Callable[[TrainStats], TrainStats],
) -> tuple[list[Trained], Report | None]:
    """Trains on some rows: what is known now of blocks, and what is to be said of this one; None where it was stopped.

    last : what is to be said of the block before
    beside : what the worker does while gradients are under way, and the counts with those of that
    """
    core: Any = c_core()
    kind, n, width = shard.spec.input.activation, len(some.order), shard.input.padded
    message = np.zeros((n + (last.rows(width) if last else 0), width), np.float32)
    core.shard_sums(shard.below, rows.X, some.order, some.first_step, message)
    if last:
        last.write(message[n:])
    adding_up = group.iall_reduce(message)
    hidden, gradient = message[:n], np.zeros((n, width), np.float32)
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
    adding_up.wait()
    known = [last.read(message[n:])] if last else []
    if known and known[0].stats.bad_step >= 0:
        return known, None
    activate(kind, hidden)
    if not np.isfinite(hidden).all():
        at = int(np.flatnonzero(~np.isfinite(hidden).all(axis=1))[0])
        stats = TrainStats(0.0, 0, 0, some.first_step + at, 0)
        return [*known, Trained(some, stats, np.zeros((TOLD, group.size)), some.cells)], None
    sums = None
    if shard.spec.loss == "softmax" and group.size > 1:
        sums = some.sums or _first_sums(group, plan)
    stats = plan.train(np.full(n, -np.inf, np.float32) if sums is None else sums.others)
    adding_up = group.iall_reduce(gradient)
    cells = None if some.are_new or not has_cells(shard) else own_cells(group, shard, hidden)
    stats = beside(stats)
    adding_up.wait()
    gradient = activation_backward(kind, hidden, gradient)
    below = core.shard_step(shard.below, rows.X, some.order, some.first_step, some.lr, gradient)
    if below.bad_step >= 0 > stats.bad_step:
        stats = stats._replace(bad_step=below.bad_step, bad_layer=0, bad_update=True)
    return known, Report(group, some, stats, group.told(), cells, sums, plan.log_sums)


class Report:
    """What a worker says of a block: some numbers that are added up beside the sums of the next block, or alone."""

    COUNTS = 5  # the losses, the active ones, and workers that were stopped
    FAR = 60.0  # from what a log-sum was: its exponential stays within float32

    def __init__(
        self,
        group: ClockedGroup,
        samples: Samples,
        stats: TrainStats,
        told: tuple[float, ...],
        cells: npt.NDArray[np.uint32] | None,
        before: LogSums | None,
        log_sums: FloatArray,
    ) -> None:
        """stats, told : of this worker. cells : of its part of the samples. before : log-sums of the samples as they
        were; log_sums : this worker's as they are now."""
        self._group, self._samples, self._stats, self._told = group, samples, stats, told
        self._own_cells, self._before, self._log_sums = cells, before, log_sums
        n = len(samples.order)
        self._times = self.COUNTS + TOLD * group.size
        self._cells = slice(self._times, self._times + n * (cells is not None))
        self._sums = slice(self._cells.stop, self._cells.stop + n * (before is not None))

    def rows(self, width: int) -> int:
        """How many of this width it takes."""
        return -(-self._sums.stop // width)

    def exchange(self) -> Trained:
        """Says it alone; called by all."""
        numbers = np.zeros((1, self._sums.stop), np.float32)
        self.write(numbers)
        self._group.all_reduce(numbers)
        return self.read(numbers)

    def write(self, rows: FloatArray) -> None:
        """Into rows of zeros. Cells are whole numbers that float32 has; log-sums are said as exponentials, as shares of
        the whole sum as it was."""
        flat, stats, group = rows.reshape(-1), self._stats, self._group
        stopped = stats.bad_step >= 0
        loss = 0.0 if stopped else stats.loss  # which need not be finite
        flat[: self.COUNTS] = loss, stats.n_active, stats.wide_loss, stats.n_wide_active, stopped
        flat[self.COUNTS : self._times].reshape(-1, group.size)[:, group.rank] = self._told
        if self._own_cells is not None:
            cells = flat[self._cells]
            some = edges(group, len(cells))
            cells[some[group.rank] : some[group.rank + 1]] = self._own_cells
        if self._before is not None:
            flat[self._sums] = np.exp(np.clip(self._log_sums - self._before.whole, -self.FAR, self.FAR))

    def read(self, rows: FloatArray) -> Trained:
        """What all have said; what stopped one of them stops all."""
        flat, own = rows.reshape(-1), self._stats
        loss, n_active, wide_loss, n_wide, stopped = flat[: self.COUNTS].astype(np.float64).tolist()
        if stopped:
            own = worst(self._group, own)
        stats = own._replace(loss=loss, n_active=int(n_active), wide_loss=wide_loss, n_wide_active=int(n_wide))
        told = flat[self.COUNTS : self._times].reshape(-1, self._group.size).astype(np.float64)
        cells, sums = flat[self._cells].astype(np.uint32), None
        if self._before is not None and not stopped:
            whole = self._before.whole + np.log(flat[self._sums])
            sums = LogSums(whole, without(whole, self._log_sums))
        return Trained(self._samples, stats, told, cells, sums)


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
