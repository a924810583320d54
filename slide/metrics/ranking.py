"""Precision, nDCG and recall at k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy.typing as npt

from slide.metrics.matched import Floats, Matched, answer, check_k, ndcg, precision, recall


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
    ks = check_k(k, ids)
    return answer(precision(Matched.of(Y_true, ids, max(ks)), ks), k)


@overload
def ndcg_at_k(Y_true: Any, ids: npt.ArrayLike, k: int = ...) -> float: ...
@overload
def ndcg_at_k(Y_true: Any, ids: npt.ArrayLike, k: Sequence[int]) -> Floats: ...
def ndcg_at_k(Y_true: Any, ids: npt.ArrayLike, k: int | Sequence[int] = 5) -> float | Floats:
    """Discounted gain of the first k predictions over the best obtainable, averaged over the rows.

    The prediction at rank r (from 1) gains 1 / log2(r + 1) if it is true. Arguments, results and errors are those of
    ``precision_at_k``.
    """
    ks = check_k(k, ids)
    return answer(ndcg(Matched.of(Y_true, ids, max(ks)), ks), k)


@overload
def recall_at_k(Y_true: Any, ids: npt.ArrayLike, k: int = ...) -> float: ...
@overload
def recall_at_k(Y_true: Any, ids: npt.ArrayLike, k: Sequence[int]) -> Floats: ...
def recall_at_k(Y_true: Any, ids: npt.ArrayLike, k: int | Sequence[int] = 5) -> float | Floats:
    """Share of a row's true labels that the first k predictions hold, averaged over the rows.

    Arguments, results and errors are those of ``precision_at_k``.
    """
    ks = check_k(k, ids)
    return answer(recall(Matched.of(Y_true, ids, max(ks)), ks), k)
