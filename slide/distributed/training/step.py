"""One block of samples, trained by all workers together.

Each adds up the input rows of its own features; the sums of all are the hidden vectors. Each scores the active ones of
its own labels and says the log of the sum of their exponentials; with that of the others, as it was when the block
began, each makes its step on its own labels in batches of like samples, one after the other. The sum of the gradients
that come out moves the input rows.

Three exchanges a block: twice H floats a sample, and one float. What a sample's cell is was found before (cells_of).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.distributed.training.shard import Shard
from slide.distributed.transport.group import Group, gather_ragged
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

    @property
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


def train_block(
    group: Group,
    shard: Shard,
    rows: OwnColumns,
    order: npt.NDArray[np.int64],
    cells: npt.NDArray[np.uint32],
    first_step: int,
    lr: FloatArray,
    batch_size: int,
) -> TrainStats:
    """Trains on the rows `order`, of these cells, the first of which is step first_step and learns with lr[0].

    This worker's counts.
    """
    core: Any = c_core()
    kind, engine = shard.spec.input.activation, shard.head.engine
    hidden = core.shard_sums(shard.below, rows.X, order, first_step)
    group.all_reduce(hidden)
    activate(kind, hidden)
    if not np.isfinite(hidden).all():
        at = int(np.flatnonzero(~np.isfinite(hidden).all(axis=1))[0])
        return TrainStats(0.0, 0, 0, first_step + at, 0)
    own = n_labels_of(rows, order)
    plan = core.ShardPlan(
        engine,
        rows.no_features,
        rows.Y,
        order,
        first_step,
        lr,
        batch_size,
        hidden,
        np.ascontiguousarray(cells),
        own,
        1 / group.size,
    )
    stats = plan.train(_others(group, plan) if shard.spec.loss == "softmax" else np.zeros(len(order), np.float32))
    gradient = plan.d_hidden
    group.all_reduce(gradient)
    activation_backward(kind, hidden, gradient)
    if agreed(group, stats.bad_step < 0):
        below = core.shard_step(shard.below, rows.X, order, first_step, lr, gradient)
        if agreed(group, below.bad_step < 0):
            return stats
        return stats._replace(bad_step=below.bad_step, bad_layer=0, bad_update=True)
    return stats


def n_labels_of(rows: OwnColumns, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """int32 [n]."""
    return np.ascontiguousarray(rows.n_labels[order])


def cells_of(group: Group, shard: Shard, hidden: FloatArray) -> npt.NDArray[np.uint32]:
    """uint32 [n]: the cell of each hidden vector, of which each worker finds a part; empty without tables."""
    lsh, whole = shard.output.lsh, shard.spec.output
    if lsh is None or whole.n_active >= whole.n:
        return np.empty(0, np.uint32)
    n, parts = len(hidden), group.size
    some = slice(n * group.rank // parts, n * (group.rank + 1) // parts)
    vectors = np.ones((some.stop - some.start, lsh.dim), np.float32)
    vectors[:, :-1] = hidden[some, : lsh.dim - 1]
    codes = shard.head.engine.hash_codes(1, vectors)[:, 0]
    return np.ascontiguousarray(np.concatenate(gather_ragged(group, codes)))


def _others(group: Group, plan: Any) -> FloatArray:
    """float32 [n]: log of the sum of the exponentials of all other workers' active labels."""
    sums = group.all_gather(plan.find_log_sums()).astype(np.float64)
    rest = np.delete(sums, group.rank, axis=0)
    if not len(rest):
        return np.full(sums.shape[1], -np.inf, np.float32)
    return np.logaddexp.reduce(rest, axis=0).astype(np.float32)


def agreed(group: Group, ok: bool) -> bool:
    """Whether all are."""
    faults = np.array([0 if ok else 1], np.int64)
    group.all_reduce(faults)
    return not int(faults[0])
