"""Predictions matched with the truth: where every metric of this package begins, and the formulas of all of them.

Each formula takes what was matched and gives a value for each k. What the metrics are called, take and return is said
beside this file: ranking.py, propensity.py, summary.py; how their arguments are read, in forms.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.metrics.forms import compared
from slide.metrics.pairs import leave_out
from slide.metrics.predicted import Predicted

Floats = npt.NDArray[np.float64]


class Matched(NamedTuple):
    """Predictions compared with the truth: ids int64 [n, k], hits bool [n, k], counts of true labels [n].

    weights : float64 [n], how many times each row counts, or None; Y_train : CSR, of as many columns as Y, or None
    n_known : columns that come first and are known to what predicted; the others can only be missed
    """

    Y: sp.csr_array
    ids: npt.NDArray[np.int64]
    hits: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]
    weights: Floats | None = None
    Y_train: sp.csr_array | None = None
    n_known: int = 0

    @classmethod
    def of(
        cls,
        Y_true: Any,
        ids: Any,
        k: int,
        *,
        labels: Any = None,
        Y_train: Any = None,
        sample_weight: Any = None,
        filter_labels: Any = None,
    ) -> Matched:
        given = Predicted.of(ids)
        width = k if filter_labels is None else max(k, given.length)
        Y, top, train, names, n_known = compared(Y_true, given, width, labels=labels, Y_train=Y_train)
        if filter_labels is not None:
            Y, top = leave_out(Y, top, filter_labels, names)
            top = top[:, :k]
        counts = np.diff(Y.indptr).astype(np.int64)
        weights = check_sample_weight(sample_weight, Y.shape[0])
        return cls(Y, top, _find(Y, counts, top), counts, weights, train, n_known)

    def mean(self, values: Floats) -> Floats:
        """Over the rows, [n, ...], as often as each counts."""
        return np.asarray(values.mean(axis=0) if self.weights is None else self.sum(values) / self.weights.sum())

    def sum(self, values: npt.NDArray[Any]) -> Floats:
        """The same, not divided."""
        return np.asarray(values.sum(axis=0) if self.weights is None else np.tensordot(self.weights, values, 1))

    @property
    def n_rows(self) -> float:
        """How many rows there are, weighted."""
        return len(self.ids) if self.weights is None else float(self.weights.sum())


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
    columns = np.cumsum(m.sum(m.hits))
    return np.array([columns[k - 1] / (m.n_rows * k) for k in ks])


def recall(m: Matched, ks: list[int]) -> Floats:
    """Hits over true labels, averaged over the rows."""
    found = np.cumsum(m.hits, axis=1)[:, np.array(ks) - 1]
    return m.mean(found / np.maximum(m.counts, 1)[:, None])


def ndcg(m: Matched, ks: list[int]) -> Floats:
    """Discounted hits over the most that a row could have, averaged over the rows."""
    discounts = 1 / np.log2(np.arange(2, m.ids.shape[1] + 2))
    gained = np.cumsum(m.hits * discounts, axis=1)
    best = np.cumsum(discounts)
    rows = [gained[:, k - 1] / best[np.clip(m.counts, 1, k) - 1] for k in ks]
    return np.array([m.mean(row) for row in rows])


def psp(m: Matched, ks: list[int], weights: Floats) -> Floats:
    """Weights of the hits of all rows over those that all could have."""
    gained = np.cumsum(m.sum(np.where(m.hits, weights[m.ids], 0)))
    best = np.cumsum(m.sum(_best_weights(m, weights)))
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
        most = m.sum(best[:, k - 1] * share)
        values.append(m.sum(gained[:, k - 1] * share) / most if most else 0.0)
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


def check_k(k: int | Sequence[int], ids: Any) -> list[int]:
    """The ks asked for, each within what ids allows."""
    width = Predicted.of(ids).width
    given: Any = [k] if np.ndim(k) == 0 else k
    ks = list(given)
    if not ks:
        raise ValueError("k: found none, wanted at least one")
    wanted = "1 or more" if width is None else f"1 to {width} (the columns of ids)"
    for one in ks:
        ok = not isinstance(one, bool) and isinstance(one, int | np.integer) and one >= 1
        if not ok or (width is not None and one > width):
            raise ValueError(f"k: found {one!r}, wanted a whole number, {wanted}")
    return [int(one) for one in ks]


def check_sample_weight(weights: Any, n: int) -> Floats | None:
    """How many times each of n rows counts; None: once."""
    if weights is None:
        return None
    array = np.asarray(weights)
    if array.shape != (n,) or array.dtype.kind not in "biuf":
        found = f"shape {array.shape} and dtype {array.dtype}"
        raise ValueError(f"sample_weight: found {found}, wanted {n:,} numbers, one for each row")
    array = array.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if wrong.size:
        raise ValueError(
            f"sample_weight: found {array[wrong[0]]} in row {wrong[0]:,}, wanted finite numbers of 0 or more"
        )
    if not array.any():
        raise ValueError("sample_weight: found zero for every row, wanted a weight over 0")
    return array


def check_weights(weights: npt.ArrayLike, m: Matched) -> Floats:
    """1 / propensity of each label; those that are not known weigh as the one that weighs most."""
    array = np.asarray(weights, np.float64)
    if array.shape != (m.n_known,):
        where = "in Y_true" if m.n_known == m.Y.shape[1] else "the labels that are known"
        raise ValueError(f"inv_propensity or Y_train: found shape {array.shape}, wanted ({m.n_known},) as {where}")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError("inv_propensity: found values that are not finite and positive, wanted 1 / propensity")
    return np.pad(array, (0, m.Y.shape[1] - m.n_known), constant_values=array.max(initial=1.0))


def answer(values: Floats, k: int | Sequence[int]) -> float | Floats:
    """One value for one k, else all."""
    return float(values[0]) if np.ndim(k) == 0 else values
