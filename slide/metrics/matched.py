"""Predictions compared with the truth: where every metric of this package begins, and the formulas of all of them.

Each formula takes what was matched and gives a value for each k. What the metrics are called, take and return is said
beside this file: ranking.py, propensity.py, summary.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import check_Y

Floats = npt.NDArray[np.float64]


class Matched(NamedTuple):
    """Predictions compared with the truth: ids int64 [n, k], hits bool [n, k], counts of true labels [n]."""

    Y: sp.csr_array
    ids: npt.NDArray[np.int64]
    hits: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, Y_true: Any, ids: npt.ArrayLike, k: int) -> Matched:
        Y = check_Y(Y_true)
        top = check_ids(np.asarray(ids), *Y.shape)[:, :k]
        counts = np.diff(Y.indptr).astype(np.int64)
        return cls(Y, top, _find(Y, counts, top), counts)


def _find(Y: sp.csr_array, counts: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which (row, id) are set in Y, by binary search among all its entries."""
    n, L = Y.shape
    if Y.nnz == 0:
        return np.zeros(ids.shape, np.bool_)
    entries = np.repeat(np.arange(n, dtype=np.int64) * L, counts) + Y.indices
    wanted = np.arange(n, dtype=np.int64)[:, None] * L + ids
    place = np.searchsorted(entries, wanted)
    return (entries[np.minimum(place, len(entries) - 1)] == wanted) & (ids >= 0)


# -- formulas ----------------------------------------------------------------------------------------------------------


def precision(m: Matched, ks: list[int]) -> Floats:
    """Hits over k, averaged over the rows."""
    columns = np.cumsum(m.hits.sum(axis=0))
    return np.array([columns[k - 1] / (len(m.ids) * k) for k in ks])


def recall(m: Matched, ks: list[int]) -> Floats:
    """Hits over true labels, averaged over the rows."""
    found = np.cumsum(m.hits, axis=1)[:, np.array(ks) - 1]
    return (found / np.maximum(m.counts, 1)[:, None]).mean(axis=0)


def ndcg(m: Matched, ks: list[int]) -> Floats:
    """Discounted hits over the most that a row could have, averaged over the rows."""
    discounts = 1 / np.log2(np.arange(2, m.ids.shape[1] + 2))
    gained = np.cumsum(m.hits * discounts, axis=1)
    best = np.cumsum(discounts)
    rows = [gained[:, k - 1] / best[np.clip(m.counts, 1, k) - 1] for k in ks]
    return np.array([row.mean() for row in rows])


def psp(m: Matched, ks: list[int], weights: Floats) -> Floats:
    """Weights of the hits of all rows over those that all could have."""
    gained = np.cumsum(np.where(m.hits, weights[m.ids], 0).sum(axis=0))
    best = np.cumsum(_best_weights(m, weights).sum(axis=0))
    return np.array([gained[k - 1] / best[k - 1] if best[k - 1] else 0.0 for k in ks])


def psndcg(m: Matched, ks: list[int], weights: Floats) -> Floats:
    """As `psp`, each row's weights discounted by rank and divided by what `ndcg` divides its hits by."""
    discounts = 1 / np.log2(np.arange(2, m.ids.shape[1] + 2))
    gained = np.cumsum(np.where(m.hits, weights[m.ids], 0) * discounts, axis=1)
    best = np.cumsum(_best_weights(m, weights) * discounts, axis=1)
    ideal = np.cumsum(discounts)
    values = []
    for k in ks:
        share = 1 / ideal[np.clip(m.counts, 1, k) - 1]
        most = (best[:, k - 1] * share).sum()
        values.append((gained[:, k - 1] * share).sum() / most if most else 0.0)
    return np.array(values)


def _best_weights(m: Matched, weights: Floats) -> Floats:
    """Of each row, the largest weight of a true label, the second largest, and so on; [n, k], 0 beyond them."""
    row = np.repeat(np.arange(len(m.counts)), m.counts)
    entries = weights[m.Y.indices]
    order = np.lexsort((-entries, row))
    rank = np.arange(len(row)) - m.Y.indptr[row]
    used = rank < m.ids.shape[1]
    best = np.zeros(m.ids.shape)
    best[row[used], rank[used]] = entries[order][used]
    return best


# -- arguments ---------------------------------------------------------------------------------------------------------


def check_k(k: int | Sequence[int], ids: npt.ArrayLike) -> list[int]:
    """The ks asked for, each within the columns of ids."""
    shape = np.shape(ids)
    if len(shape) != 2:
        raise ValueError(f"ids: found shape {shape}, wanted [rows, predictions]")
    given: Any = [k] if np.ndim(k) == 0 else k
    ks = list(given)
    if not ks:
        raise ValueError("k: found none, wanted at least one")
    for one in ks:
        if isinstance(one, bool) or not isinstance(one, int | np.integer) or not 1 <= one <= shape[1]:
            raise ValueError(f"k: found {one!r}, wanted a whole number, 1 to {shape[1]} (the columns of ids)")
    return [int(one) for one in ks]


def check_ids(ids: npt.NDArray[Any], n: int, L: int) -> npt.NDArray[np.int64]:
    """Predicted labels of n rows, -1 for none, each at most once in a row."""
    if ids.dtype.kind not in "iu":
        raise ValueError(f"ids: found dtype {ids.dtype}, wanted whole numbers")
    if len(ids) != n:
        raise ValueError(f"Y_true and ids: found {n:,} and {len(ids):,} rows, wanted equal numbers")
    if n == 0:
        raise ValueError("Y_true and ids: found no rows, wanted at least one")
    bad = np.argwhere((ids >= L) | (ids < -1))
    if len(bad):
        row, column = bad[0]
        raise ValueError(f"ids: found {ids[row, column]} in row {row}, wanted 0 to {L - 1:,}, or -1 for none")
    ids = ids.astype(np.int64)
    ordered = np.sort(ids, axis=1)
    twice = np.argwhere((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0))
    if len(twice):
        row, column = twice[0]
        raise ValueError(f"ids: found label {ordered[row, column]} twice in row {row}, wanted each at most once")
    return ids


def check_weights(weights: npt.ArrayLike, n_labels: int) -> Floats:
    """1 / propensity of each label."""
    array = np.asarray(weights, np.float64)
    if array.shape != (n_labels,):
        raise ValueError(f"inv_propensity or Y_train: found shape {array.shape}, wanted ({n_labels},) as in Y_true")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError("inv_propensity: found values that are not finite and positive, wanted 1 / propensity")
    return array


def answer(values: Floats, k: int | Sequence[int]) -> float | Floats:
    """One value for one k, else all."""
    return float(values[0]) if np.ndim(k) == 0 else values
