"""Precision, nDCG and recall at k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from slide.metrics.matched import Floats, Matched, answer, check_k, ndcg, precision, recall
from slide.metrics.predicted import Predicted


@overload
def precision_at_k(Y_true: Any, ids: Any, k: int = ..., *, labels: Any = ..., sample_weight: Any = ...) -> float: ...
@overload
def precision_at_k(
    Y_true: Any, ids: Any, k: Sequence[int], *, labels: Any = ..., sample_weight: Any = ...
) -> Floats: ...
def precision_at_k(
    Y_true: Any, ids: Any, k: int | Sequence[int] = 5, *, labels: Any = None, sample_weight: Any = None
) -> float | Floats:
    """Share of true labels among the first k predictions, averaged over the rows; missing predictions are misses.

    Parameters
    ----------
    Y_true : sparse or dense indicator [n, L]; data frame of one; n lists of labels; or [n], one label each
        As ``fit`` takes y.
    ids : predicted labels of n rows, best first
        Array [n, at least k] of columns (-1: none) or names (None: none), alone or as a pair with scores, as
        ``predict_topk`` returns them; lists of names, of any lengths, or of (name, score) pairs; one label each, [n];
        or scores of all labels [n, L], a sparse matrix (what is not stored is not predicted) or a data frame.
    k : int or sequence of int
        Up to the columns of an array; rows that are lists may be shorter: what is missing is missed.
    labels : sequence of L names, optional
        What columns are called, like ``clf.classes_``. Needed where the one side has columns and the other names; whole
        numbers of an array are columns then. Without it labels are compared by value.
    sample_weight : [n] numbers of 0 or more, optional
        How many times each row counts.

    Labels of the truth that what predicted cannot know (not in `labels`, or in the columns of a matrix of scores) are
    missed ones, and said by a warning.

    Returns
    -------
    float, or array of float64 with one value per k

    Raises
    ------
    ValueError
        Shapes that do not fit, k out of range, ids that are no labels, the same label twice in a row, or numbers on one
        side and text on the other.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> Y = sp.csr_array([[1, 0, 1], [0, 1, 0]])
    >>> precision_at_k(Y, [[0, 1], [1, 2]], k=1), precision_at_k(Y, [[0, 1], [1, 2]], k=2)
    (1.0, 0.5)
    >>> precision_at_k([["cat", "pet"], ["dog"]], [["pet"], ["cow", "dog"]], k=1)
    0.5
    >>> precision_at_k([["cat", "pet"], ["dog"]], [[2], [1]], k=1, labels=["cat", "dog", "pet"])
    1.0
    """
    ids = Predicted.of(ids)
    ks = check_k(k, ids)
    matched = Matched.of(Y_true, ids, max(ks), labels=labels, sample_weight=sample_weight)
    return answer(precision(matched, ks), k)


@overload
def ndcg_at_k(Y_true: Any, ids: Any, k: int = ..., *, labels: Any = ..., sample_weight: Any = ...) -> float: ...
@overload
def ndcg_at_k(Y_true: Any, ids: Any, k: Sequence[int], *, labels: Any = ..., sample_weight: Any = ...) -> Floats: ...
def ndcg_at_k(
    Y_true: Any, ids: Any, k: int | Sequence[int] = 5, *, labels: Any = None, sample_weight: Any = None
) -> float | Floats:
    """Discounted gain of the first k predictions over the best obtainable, averaged over the rows.

    The prediction at rank r (from 1) gains 1 / log2(r + 1) if it is true. Arguments, results and errors are those of
    ``precision_at_k``.
    """
    ids = Predicted.of(ids)
    ks = check_k(k, ids)
    matched = Matched.of(Y_true, ids, max(ks), labels=labels, sample_weight=sample_weight)
    return answer(ndcg(matched, ks), k)


@overload
def recall_at_k(Y_true: Any, ids: Any, k: int = ..., *, labels: Any = ..., sample_weight: Any = ...) -> float: ...
@overload
def recall_at_k(Y_true: Any, ids: Any, k: Sequence[int], *, labels: Any = ..., sample_weight: Any = ...) -> Floats: ...
def recall_at_k(
    Y_true: Any, ids: Any, k: int | Sequence[int] = 5, *, labels: Any = None, sample_weight: Any = None
) -> float | Floats:
    """Share of a row's true labels that the first k predictions hold, averaged over the rows.

    Arguments, results and errors are those of ``precision_at_k``.
    """
    ids = Predicted.of(ids)
    ks = check_k(k, ids)
    matched = Matched.of(Y_true, ids, max(ks), labels=labels, sample_weight=sample_weight)
    return answer(recall(matched, ks), k)
