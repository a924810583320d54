"""One block of samples, trained by all workers together.

Each adds up the input rows of its own features; the sums of all are the hidden vectors. Each scores the active ones of
its own labels and says the log of the sum of their exponentials; with that of the others, as it was when the block
began, each makes its step on its own labels in batches of like samples, one after the other. The sum of the gradients
that come out moves the input rows.

Three exchanges a block: twice H floats a sample, with which workers say how they fared, and between them some bytes a
sample: the log-sums, and the cells in which the samples are now, of which each worker finds a part.
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
    """

    stats: TrainStats
    below: TrainStats | None
    seconds: npt.NDArray[np.float64]
    cells: npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Samples:
    """Those of a block: their rows, the cell of each (empty without tables), its learning rate, and at which step they
    begin.
    """

    order: npt.NDArray[np.int64]
    cells: npt.NDArray[np.uint32]
    lr: FloatArray
    first_step: int
    batch_size: int


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
    said = Report(group, hidden.shape[1])
    message = np.zeros((n + said.rows, hidden.shape[1]), np.float32)
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
    others, cells = _others(group, shard, plan, hidden)
    own, seconds = beside(plan.train(others))
    said.write(message[n:], own, seconds)
    group.all_reduce(message)
    stats, times = said.read(message[n:], own)
    if stats.bad_step >= 0:
        return Trained(stats, None, times, cells)
    below = core.shard_step(
        shard.below,
        rows.X,
        some.order,
        some.first_step,
        some.lr,
        activation_backward(kind, hidden, np.ascontiguousarray(gradient)),
    )
    return Trained(stats, below if below.bad_step >= 0 else None, times, cells)


class Report:
    """What workers say of a block in a few rows that are added up beside the gradients."""

    COUNTS = 5  # the losses, the active ones, and workers that were stopped

    def __init__(self, group: Group, width: int) -> None:
        self._group = group
        self.rows = -(-(self.COUNTS + group.size) // width)

    def write(self, rows: FloatArray, stats: TrainStats, seconds: float) -> None:
        """Fills rows of zeros."""
        flat = rows.reshape(-1)
        stopped = stats.bad_step >= 0
        loss = 0.0 if stopped else stats.loss  # which need not be finite
        flat[: self.COUNTS] = loss, stats.n_active, stats.wide_loss, stats.n_wide_active, stopped
        flat[self.COUNTS + self._group.rank] = seconds

    def read(self, rows: FloatArray, own: TrainStats) -> tuple[TrainStats, npt.NDArray[np.float64]]:
        """Counts of all workers, and the seconds of each; what stopped one of them stops all."""
        flat = rows.reshape(-1).astype(np.float64)
        loss, n_active, wide_loss, n_wide, stopped = flat[: self.COUNTS].tolist()
        if stopped:
            own = worst(self._group, own)
        own = own._replace(loss=loss, n_active=int(n_active), wide_loss=wide_loss, n_wide_active=int(n_wide))
        return own, flat[self.COUNTS : self.COUNTS + self._group.size]


def worst(group: Group, stats: TrainStats) -> TrainStats:
    """The counts with what stopped the first of the workers, if anything did. Called by all."""
    nothing = 2**52
    bad = stats.bad_step if stats.bad_step >= 0 else nothing
    found = group.all_gather(np.array([bad, stats.bad_layer, stats.bad_update], np.int64))
    step, layer, update = found[int(np.argmin(found[:, 0]))].tolist()
    if step == nothing:
        return stats
    return stats._replace(bad_step=step, bad_layer=layer, bad_update=bool(update))


def _others(group: Group, shard: Shard, plan: Any, hidden: FloatArray) -> tuple[FloatArray, npt.NDArray[np.uint32]]:
    """float32 [n]: log of the sum of the exponentials of all other workers' active labels; and the cells of all."""
    n = len(hidden)
    sums = plan.find_log_sums() if shard.spec.loss == "softmax" else np.zeros(0, np.float32)
    own = own_cells(group, shard, hidden) if has_cells(shard) else np.empty(0, np.uint32)
    room = -(-n // group.size) if has_cells(shard) else 0
    message = np.zeros(len(sums) + room, np.uint32)
    message[: len(sums)] = sums.view(np.uint32)
    message[len(sums) : len(sums) + len(own)] = own
    heard = group.all_gather(message) if len(message) else np.zeros((group.size, 0), np.uint32)
    lengths = np.diff(edges(group, n))
    parts = [part[len(sums) : len(sums) + length] for part, length in zip(heard, lengths, strict=True)]
    cells = np.concatenate(parts) if room else own
    rest = np.delete(heard[:, : len(sums)].view(np.float32), group.rank, axis=0).astype(np.float64)
    if not len(sums) or not len(rest):
        return np.full(n, -np.inf, np.float32), cells
    return np.logaddexp.reduce(rest, axis=0).astype(np.float32), cells


def agreed(group: Group, ok: bool) -> bool:
    """Whether all are."""
    faults = np.array([0 if ok else 1], np.int64)
    group.all_reduce(faults)
    return not int(faults[0])
