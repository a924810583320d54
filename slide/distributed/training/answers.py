"""The best labels of rows by a network in parts: each worker lists those of its labels, all get the best of the lists.

Every label is scored. Called by all workers at once, with the same rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from slide.distributed.training.shard import dense_rows
from slide.distributed.transport.group import Group
from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples
from slide.engine.state import WideState
from slide.model.model import Model

Found = tuple[IntArray, FloatArray]
ROWS_AT_ONCE = 4096  # whose lists are exchanged at a time
SCORES_AT_ONCE = 2**23  # of the labels here, where there are pairs


def best_here(head: Model, pairs: WideState | None, X: sp.csr_array, hidden: FloatArray, m: int) -> Found:
    """ids int32 [n, m], counted from 0, and scores float32 [n, m] of the best labels that are here, best first.

    head : the output layer over vectors [n, H] `hidden`; pairs : of all features of X and the same labels, or None
    """
    if pairs is None:
        return head.top_labels(dense_rows(hidden), m)
    weights, biases = head.weights(1), head.biases(1)
    matrix = sp.csr_array((pairs.weights, pairs.labels, pairs.indptr), shape=(len(pairs.indptr) - 1, len(biases)))
    found, step = [], max(1, SCORES_AT_ONCE // len(biases))
    for first in range(0, len(hidden), step):
        logits = hidden[first : first + step, : weights.shape[1]] @ weights.T + biases
        scores = np.float32(pairs.deep_share) * logits + (X[first : first + step] @ matrix).toarray() + pairs.bias
        found.append(_best(scores.astype(np.float32), m))
    if not found:
        return np.empty((0, m), np.int32), np.empty((0, m), np.float32)
    ids, scores = zip(*found, strict=True)
    return np.concatenate(ids), np.concatenate(scores)


def _best(scores: FloatArray, m: int) -> Found:
    """Columns with the m highest scores of each row, best first."""
    ids = np.argpartition(-scores, m - 1, axis=1)[:, :m].astype(np.int32)
    some = np.take_along_axis(scores, ids, 1)
    order = np.lexsort((ids, -some), axis=1)
    return np.take_along_axis(ids, order, 1), np.take_along_axis(some, order, 1)


def by_blocks(X: sp.csr_array, find: Callable[[sp.csr_array], Found]) -> Found:
    """What `find` finds of so many rows at a time as messages may hold."""
    found = [find(X[first : first + ROWS_AT_ONCE]) for first in range(0, max(X.shape[0], 1), ROWS_AT_ONCE)]
    return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])


def best_of_all(group: Group, own: Found, m: int) -> Found:
    """The m best of the lists of all workers, in which labels have the numbers of the whole network; -1 for none."""
    n, width = own[0].shape
    ids, scores = np.full((n, m), -1, np.int32), np.full((n, m), -np.inf, np.float32)
    ids[:, :width], scores[:, :width] = own
    return best_of(group.all_gather(ids), group.all_gather(scores), m)


def best_of(ids: IntArray, logits: FloatArray, m: int) -> Found:
    """The m best of the lists of all workers, ids int32 and logits float32 [workers, n, k], best first."""
    n = ids.shape[1]
    flat_ids = np.ascontiguousarray(ids.transpose(1, 0, 2)).reshape(n, -1)
    flat = np.ascontiguousarray(logits.transpose(1, 0, 2)).reshape(n, -1)
    order = np.lexsort((flat_ids, -flat), axis=1)[:, :m]
    return np.take_along_axis(flat_ids, order, 1), np.take_along_axis(flat, order, 1)


def matrix_of(rows: Examples, n_columns: int) -> sp.csr_array:
    """As SciPy has them."""
    return sp.csr_array((rows.data, rows.indices, rows.indptr), shape=(rows.n_rows, n_columns))
