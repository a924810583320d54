"""Metrics of extreme classification on sparse matrices: precision, nDCG, recall and propensity-scored precision at k.

All take the true labels as a sparse matrix and the predictions as label ids, best first; nothing of the size rows x
labels is ever made. Results are fractions, 0 to 1. Rows without a true label count, and score 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import check_Y

__all__ = [
    "Frequency",
    "by_frequency",
    "evaluate",
    "inverse_propensity",
    "ndcg_at_k",
    "precision_at_k",
    "psp_at_k",
    "recall_at_k",
]

Floats = npt.NDArray[np.float64]


@overload
def precision_at_k(Y_true: Any, ids: npt.ArrayLike, k: int = ...) -> float: ...
@overload
def precision_at_k(Y_true: Any, ids: npt.ArrayLike, k: Sequence[int]) -> Floats: ...
def precision_at_k(Y_true: Any, ids: npt.ArrayLike, k: int | Sequence[int] = 5) -> float | Floats:
    """Share of true labels among the first k predictions, averaged over the rows; missing predictions are misses.

    Parameters
    ----------
    Y_true : sparse matrix, shape [n, L]
        What is not zero is a true label.
    ids : array of int, shape [n, at least k]
        Predicted labels, best first; -1 for no prediction.
    k : int or sequence of int

    Returns
    -------
    float, or array of float64 with one value per k

    Raises
    ------
    ValueError
        Shapes that do not fit, k out of range, ids that are no labels, or the same label twice in a row.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> Y = sp.csr_array([[1, 0, 1], [0, 1, 0]])
    >>> precision_at_k(Y, [[0, 1], [1, 2]], k=1), precision_at_k(Y, [[0, 1], [1, 2]], k=2)
    (1.0, 0.5)
    """
    ks = _check_k(k, ids)
    return _answer(_precision(_Matched.of(Y_true, ids, max(ks)), ks), k)


@overload
def ndcg_at_k(Y_true: Any, ids: npt.ArrayLike, k: int = ...) -> float: ...
@overload
def ndcg_at_k(Y_true: Any, ids: npt.ArrayLike, k: Sequence[int]) -> Floats: ...
def ndcg_at_k(Y_true: Any, ids: npt.ArrayLike, k: int | Sequence[int] = 5) -> float | Floats:
    """Discounted gain of the first k predictions over the best obtainable, averaged over the rows.

    The prediction at rank r (from 1) gains 1 / log2(r + 1) if it is true. Arguments, results and errors are those of
    ``precision_at_k``.
    """
    ks = _check_k(k, ids)
    return _answer(_ndcg(_Matched.of(Y_true, ids, max(ks)), ks), k)


@overload
def recall_at_k(Y_true: Any, ids: npt.ArrayLike, k: int = ...) -> float: ...
@overload
def recall_at_k(Y_true: Any, ids: npt.ArrayLike, k: Sequence[int]) -> Floats: ...
def recall_at_k(Y_true: Any, ids: npt.ArrayLike, k: int | Sequence[int] = 5) -> float | Floats:
    """Share of a row's true labels that the first k predictions hold, averaged over the rows.

    Arguments, results and errors are those of ``precision_at_k``.
    """
    ks = _check_k(k, ids)
    return _answer(_recall(_Matched.of(Y_true, ids, max(ks)), ks), k)


@overload
def psp_at_k(
    Y_true: Any,
    ids: npt.ArrayLike,
    inv_propensity: npt.ArrayLike | None = ...,
    k: int = ...,
    *,
    Y_train: Any = ...,
    A: float = ...,
    B: float = ...,
) -> float: ...
@overload
def psp_at_k(
    Y_true: Any,
    ids: npt.ArrayLike,
    inv_propensity: npt.ArrayLike | None = ...,
    *,
    k: Sequence[int],
    Y_train: Any = ...,
    A: float = ...,
    B: float = ...,
) -> Floats: ...
def psp_at_k(
    Y_true: Any,
    ids: npt.ArrayLike,
    inv_propensity: npt.ArrayLike | None = None,
    k: int | Sequence[int] = 5,
    *,
    Y_train: Any = None,
    A: float = 0.55,
    B: float = 1.5,
) -> float | Floats:
    """Propensity-scored precision: a hit counts by how rarely its label is written down (Jain et al., KDD 2016).

    Normalised as the extreme classification repository does: what all rows gained, divided by the most that all rows
    could have gained with their k labels of the least propensity.

    Parameters
    ----------
    Y_true, ids, k
        As for ``precision_at_k``.
    inv_propensity : array of float, shape [L], optional
        From ``inverse_propensity``; or give ``Y_train``.
    Y_train : sparse matrix, shape [rows, L], optional
        Labels of the training rows, for ``inverse_propensity(Y_train, A, B)``.

    Raises
    ------
    ValueError
        As ``precision_at_k``; or neither or both of ``inv_propensity`` and ``Y_train`` given.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> Y = sp.csr_array([[1, 0, 1], [0, 1, 0]])
    >>> psp_at_k(Y, [[0], [1]], inv_propensity=[1.0, 2.0, 3.0], k=1)  # (1 + 2) / (3 + 2)
    0.6
    """
    ks = _check_k(k, ids)
    if (inv_propensity is None) == (Y_train is None):
        found = "neither" if Y_train is None else "both"
        raise ValueError(f"inv_propensity and Y_train: found {found}, wanted one of them")
    weights = inverse_propensity(Y_train, A, B) if inv_propensity is None else np.asarray(inv_propensity, np.float64)
    return _answer(_psp(_Matched.of(Y_true, ids, max(ks)), ks, weights), k)


def inverse_propensity(Y_train: Any, A: float = 0.55, B: float = 1.5) -> Floats:
    """How much a hit of each label weighs: 1 + C (N_l + B)^-A with C = (log N - 1) (B + 1)^A (Jain et al., KDD 2016).

    N is the number of training rows, N_l how many of them have label l. The paper's A and B are 0.55 and 1.5, but 0.6
    and 2.6 for data like Amazon's, 0.5 and 0.4 for data like Wikipedia's. Under three rows, where log N < 1 would turn
    the scale around, every label weighs 1.

    Parameters
    ----------
    Y_train : sparse matrix, shape [N, L]

    Returns
    -------
    array of float64, shape [L], each at least 1

    Raises
    ------
    ValueError
        No rows, or A or B not positive.
    """
    Y = check_Y(Y_train)
    if Y.shape[0] == 0:
        raise ValueError("Y_train: found no rows, wanted at least one")
    for name, value in (("A", A), ("B", B)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: found {value!r}, wanted a positive number")
    counts = np.bincount(Y.indices, minlength=Y.shape[1])
    C = max(np.log(Y.shape[0]) - 1, 0.0) * (B + 1) ** A
    return 1 + C * (counts + B) ** -A


def evaluate(
    Y_true: Any, ids: npt.ArrayLike, Y_train: Any = None, ks: Sequence[int] = (1, 3, 5), A: float = 0.55, B: float = 1.5
) -> dict[str, float]:
    """Every metric at every k: {"p@1": ..., "ndcg@1": ..., "recall@1": ..., "psp@1": ...}, as fractions.

    The "psp" entries need ``Y_train``. Other arguments and errors are those of ``psp_at_k``.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> evaluate(sp.csr_array([[1, 0, 1], [0, 1, 0]]), [[0, 1], [1, 2]], ks=(1, 2))["recall@1"]
    0.75
    """
    all_ks = _check_k(ks, ids)
    matched = _Matched.of(Y_true, ids, max(all_ks))
    results = {"p": _precision(matched, all_ks), "ndcg": _ndcg(matched, all_ks), "recall": _recall(matched, all_ks)}
    if Y_train is not None:
        results["psp"] = _psp(matched, all_ks, inverse_propensity(Y_train, A, B))
    return {f"{name}@{k}": float(v) for name, values in results.items() for k, v in zip(all_ks, values, strict=True)}


class Frequency(NamedTuple):
    """How well labels of like frequency are found.

    least, most : training rows that a label of this group has; labels : how many there are in all, of which `true`
    pairs are in the test rows and `found` of these among the first k; `predicted` is how often they are there at all.
    """

    least: int
    most: int
    labels: int
    true: int
    found: int
    predicted: int

    @property
    def recall(self) -> float:
        """Share of the true pairs that are among the first k predictions; NaN for none."""
        return self.found / self.true if self.true else float("nan")

    @property
    def precision(self) -> float:
        """Share of the predictions of these labels that are true; NaN for none."""
        return self.found / self.predicted if self.predicted else float("nan")


def by_frequency(
    Y_true: Any, ids: npt.ArrayLike, Y_train: Any, k: int = 5, edges: Sequence[int] = (1, 2, 5, 20, 100, 1000)
) -> list[Frequency]:
    """Recall and precision at k of the labels by how many training rows have them: the tail, the middle, the head.

    Parameters
    ----------
    Y_true, ids, k
        As for ``precision_at_k``.
    Y_train : sparse matrix, shape [rows, L]
        Labels of the training rows.
    edges : ascending ints
        The least frequency of each group but the first, which has the labels below.

    Returns
    -------
    list of Frequency
        Groups without a label are left out.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> Y = sp.csr_array([[1, 0, 1], [0, 1, 0]])
    >>> rare, frequent = by_frequency(Y, [[0], [0]], sp.csr_array([[1, 0, 1], [1, 1, 0]]), k=1)
    >>> rare.recall, frequent.recall, frequent.precision
    (0.0, 1.0, 0.5)
    """
    ks = _check_k(k, ids)
    m = _Matched.of(Y_true, ids, max(ks))
    train = check_Y(Y_train)
    L = m.Y.shape[1]
    if train.shape[1] != L:
        raise ValueError(f"Y_train: found {train.shape[1]:,} labels, wanted the {L:,} of Y_true")
    starts = np.asarray(edges, np.int64)
    if not len(starts) or (np.diff(starts) <= 0).any() or starts[0] < 1:
        raise ValueError(f"edges: found {list(edges)}, wanted ascending whole numbers from 1")
    frequency = np.bincount(train.indices, minlength=L)
    group = np.searchsorted(starts, frequency, "right")
    n = len(starts) + 1

    def count(labels: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        return np.bincount(group[labels], minlength=n)

    parts = count(np.arange(L)), count(m.Y.indices), count(m.ids[m.hits]), count(m.ids[m.ids >= 0])
    bounds = [0, *starts.tolist(), max(int(frequency.max(initial=0)), int(starts[-1])) + 1]
    rows = [Frequency(bounds[i], bounds[i + 1] - 1, *(int(part[i]) for part in parts)) for i in range(n)]
    return [row for row in rows if row.labels]


class _Matched(NamedTuple):
    """Predictions compared with the truth: ids int64 [n, k], hits bool [n, k], counts of true labels [n]."""

    Y: sp.csr_array
    ids: npt.NDArray[np.int64]
    hits: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, Y_true: Any, ids: npt.ArrayLike, k: int) -> _Matched:
        Y = check_Y(Y_true)
        top = _check_ids(np.asarray(ids), *Y.shape)[:, :k]
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


def _precision(m: _Matched, ks: list[int]) -> Floats:
    columns = np.cumsum(m.hits.sum(axis=0))
    return np.array([columns[k - 1] / (len(m.ids) * k) for k in ks])


def _recall(m: _Matched, ks: list[int]) -> Floats:
    found = np.cumsum(m.hits, axis=1)[:, np.array(ks) - 1]
    return (found / np.maximum(m.counts, 1)[:, None]).mean(axis=0)


def _ndcg(m: _Matched, ks: list[int]) -> Floats:
    discounts = 1 / np.log2(np.arange(2, m.ids.shape[1] + 2))
    gained = np.cumsum(m.hits * discounts, axis=1)
    best = np.cumsum(discounts)
    rows = [gained[:, k - 1] / best[np.clip(m.counts, 1, k) - 1] for k in ks]
    return np.array([row.mean() for row in rows])


def _psp(m: _Matched, ks: list[int], weights: Floats) -> Floats:
    L = m.Y.shape[1]
    if weights.shape != (L,):
        raise ValueError(f"inv_propensity or Y_train: found shape {weights.shape}, wanted ({L},) as in Y_true")
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("inv_propensity: found values that are not finite and positive, wanted 1 / propensity")
    gained = np.cumsum(np.where(m.hits, weights[m.ids], 0).sum(axis=0))
    best = np.cumsum(_best_weights(m, weights))
    return np.array([gained[k - 1] / best[k - 1] if best[k - 1] else 0.0 for k in ks])


def _best_weights(m: _Matched, weights: Floats) -> Floats:
    """Sum over the rows of the largest weight of a true label, of the second largest, and so on; shape [k]."""
    row = np.repeat(np.arange(len(m.counts)), m.counts)
    entries = weights[m.Y.indices]
    order = np.lexsort((-entries, row))
    rank = np.arange(len(row)) - m.Y.indptr[row]
    k = m.ids.shape[1]
    used = rank < k
    return np.bincount(rank[used], weights=entries[order][used], minlength=k).astype(np.float64, copy=False)


def _check_k(k: int | Sequence[int], ids: npt.ArrayLike) -> list[int]:
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


def _check_ids(ids: npt.NDArray[Any], n: int, L: int) -> npt.NDArray[np.int64]:
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


def _answer(values: Floats, k: int | Sequence[int]) -> float | Floats:
    return float(values[0]) if np.ndim(k) == 0 else values
