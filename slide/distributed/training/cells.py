"""Which cell of the tables a sample is in. Each worker finds a part of them, and all get all: centres are the same.

A row keeps the cell that it was in when it was last trained. So its hidden vector is found for this alone once, before
the first time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from slide.distributed.training.shard import Shard
from slide.distributed.transport.group import Group, gather_ragged
from slide.engine.layout import FloatArray, IntArray

UNKNOWN = -1  # the cell of a row that was not trained yet


def has_cells(shard: Shard) -> bool:
    """Whether the output layer has cells, and does not take all labels anyway."""
    whole = shard.spec.output
    return shard.output.lsh is not None and whole.n_active < whole.n


def cells_of(group: Group, shard: Shard, hidden: FloatArray) -> npt.NDArray[np.uint32]:
    """uint32 [n]: the cell of each hidden vector; empty without tables. Called by all."""
    if not has_cells(shard):
        return np.empty(0, np.uint32)
    return np.ascontiguousarray(shared_codes(group, shard, _with_ones(hidden, shard))[:, 0])


def shared_codes(group: Group, shard: Shard, vectors: FloatArray) -> npt.NDArray[np.uint32]:
    """uint32 [n, 1]: as hash_codes of the output layer; each worker finds a part. Called by all."""
    some = edges(group, len(vectors))
    own = shard.head.engine.hash_codes(1, np.ascontiguousarray(vectors[some[group.rank] : some[group.rank + 1]]))
    return np.concatenate(gather_ragged(group, own))


def own_cells(group: Group, shard: Shard, hidden: FloatArray) -> npt.NDArray[np.uint32]:
    """Of this worker's part of the hidden vectors: see edges."""
    some = edges(group, len(hidden))
    vectors = _with_ones(hidden[some[group.rank] : some[group.rank + 1]], shard)
    return np.ascontiguousarray(shard.head.engine.hash_codes(1, vectors)[:, 0])


def edges(group: Group, n: int) -> list[int]:
    """Where each worker's part of n vectors begins, and the end of the last."""
    return [n * rank // group.size for rank in range(group.size + 1)]


def renumbered(known: IntArray, before: FloatArray, shard: Shard) -> IntArray:
    """Cells of rows after a rebuild: that in which the centre now is that the row's cell had before [cells, width]."""
    now = np.append(
        shard.head.engine.hash_codes(1, _with_ones(before, shard))[:, 0].astype(np.int32), np.int32(UNKNOWN)
    )
    return now[known]


def _with_ones(vectors: FloatArray, shard: Shard) -> FloatArray:
    """As they are hashed: the width of the layer below, and the factor of the bias."""
    assert shard.output.lsh is not None
    dim = shard.output.lsh.dim
    found = np.ones((len(vectors), dim), np.float32)
    found[:, :-1] = vectors[:, : dim - 1]
    return found
