"""Propensity-scored precision and nDCG at k, in which a hit counts by how rarely its label is written down.

Jain, Prabhu and Varma, "Extreme multi-label loss functions for recommendation, tagging, ranking and other missing label
applications", KDD 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.metrics.forms import label_matrix
from slide.metrics.matched import Floats, Matched, answer, check_k, check_weights, psndcg, psp
from slide.metrics.predicted import Predicted


@overload
def psp_at_k(
    Y_true: Any,
    ids: Any,
    inv_propensity: npt.ArrayLike | None = ...,
    k: int = ...,
    *,
    Y_train: Any = ...,
    A: float = ...,
    B: float = ...,
    labels: Any = ...,
    sample_weight: Any = ...,
) -> float: ...
@overload
def psp_at_k(
    Y_true: Any,
    ids: Any,
    inv_propensity: npt.ArrayLike | None = ...,
    *,
    k: Sequence[int],
    Y_train: Any = ...,
    A: float = ...,
    B: float = ...,
    labels: Any = ...,
    sample_weight: Any = ...,
) -> Floats: ...
def psp_at_k(
    Y_true: Any,
    ids: Any,
    inv_propensity: npt.ArrayLike | None = None,
    k: int | Sequence[int] = 5,
    *,
    Y_train: Any = None,
    A: float = 0.55,
    B: float = 1.5,
    labels: Any = None,
    sample_weight: Any = None,
) -> float | Floats:
    """Propensity-scored precision: a hit counts by how rarely its label is written down (Jain et al., KDD 2016).

    Normalised as the extreme classification repository does: what all rows gained, divided by the most that all rows
    could have gained with their k labels of the least propensity.

    Parameters
    ----------
    Y_true, ids, k
        As for ``precision_at_k``.
    inv_propensity : array of float, shape [L], optional
        From ``inverse_propensity``, in the order of columns or `labels`; or give ``Y_train``.
    Y_train : labels of the training rows, in a form that Y_true may have, optional
        For ``inverse_propensity(Y_train, A, B)``; labels that no row has are the rarest.
    labels, sample_weight
        As for ``precision_at_k``.

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
    _check_one(inv_propensity, Y_train)
    ids = Predicted.of(ids)
    ks = check_k(k, ids)
    m = Matched.of(Y_true, ids, max(ks), labels=labels, Y_train=Y_train, sample_weight=sample_weight)
    return answer(psp(m, ks, weights_of(m, inv_propensity, A, B)), k)


@overload
def psndcg_at_k(
    Y_true: Any,
    ids: Any,
    inv_propensity: npt.ArrayLike | None = ...,
    k: int = ...,
    *,
    Y_train: Any = ...,
    A: float = ...,
    B: float = ...,
    labels: Any = ...,
    sample_weight: Any = ...,
) -> float: ...
@overload
def psndcg_at_k(
    Y_true: Any,
    ids: Any,
    inv_propensity: npt.ArrayLike | None = ...,
    *,
    k: Sequence[int],
    Y_train: Any = ...,
    A: float = ...,
    B: float = ...,
    labels: Any = ...,
    sample_weight: Any = ...,
) -> Floats: ...
def psndcg_at_k(
    Y_true: Any,
    ids: Any,
    inv_propensity: npt.ArrayLike | None = None,
    k: int | Sequence[int] = 5,
    *,
    Y_train: Any = None,
    A: float = 0.55,
    B: float = 1.5,
    labels: Any = None,
    sample_weight: Any = None,
) -> float | Floats:
    """Propensity-scored nDCG: a hit counts by its rank and by how rarely its label is written down (Jain et al., 2016).

    The prediction at rank r (from 1) gains 1 / (p log2(r + 1)) if it is true, p the label's propensity; a row's gains
    are divided by the best that ``ndcg_at_k`` could have there. Normalised as the extreme classification repository
    does: what all rows gained, divided by the most that all rows could have gained. Arguments and errors are those of
    ``psp_at_k``.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> Y = sp.csr_array([[1, 0, 1], [0, 1, 0]])
    >>> psndcg_at_k(Y, [[0], [1]], inv_propensity=[1.0, 2.0, 3.0], k=1)  # (1 + 2) / (3 + 2)
    0.6
    """
    _check_one(inv_propensity, Y_train)
    ids = Predicted.of(ids)
    ks = check_k(k, ids)
    m = Matched.of(Y_true, ids, max(ks), labels=labels, Y_train=Y_train, sample_weight=sample_weight)
    return answer(psndcg(m, ks, weights_of(m, inv_propensity, A, B)), k)


def inverse_propensity(Y_train: Any, A: float = 0.55, B: float = 1.5, *, labels: Any = None) -> Floats:
    """How much a hit of each label weighs: 1 + C (N_l + B)^-A with C = (log N - 1) (B + 1)^A (Jain et al., KDD 2016).

    N is the number of training rows, N_l how many of them have label l. The paper's A and B are 0.55 and 1.5, but 0.6
    and 2.6 for data like Amazon's, 0.5 and 0.4 for data like Wikipedia's. Under three rows, where log N < 1 would turn
    the scale around, every label weighs 1.

    Parameters
    ----------
    Y_train : labels of N rows, as ``precision_at_k`` takes the truth
    labels : sequence of L names, optional
        The order of the result. Without it: the columns of an indicator, or the labels that are met, sorted.

    Returns
    -------
    array of float64, shape [L], each at least 1

    Raises
    ------
    ValueError
        No rows, or A or B not positive.
    """
    return _inverse(label_matrix(Y_train, labels), A, B)


def _inverse(Y: sp.csr_array, A: float, B: float) -> Floats:
    if Y.shape[0] == 0:
        raise ValueError("Y_train: found no rows, wanted at least one")
    for name, value in (("A", A), ("B", B)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: found {value!r}, wanted a positive number")
    counts = np.bincount(Y.indices, minlength=Y.shape[1])
    C = max(np.log(Y.shape[0]) - 1, 0.0) * (B + 1) ** A
    return 1 + C * (counts + B) ** -A


def _check_one(inv_propensity: Any, Y_train: Any) -> None:
    if (inv_propensity is None) == (Y_train is None):
        found = "neither" if Y_train is None else "both"
        raise ValueError(f"inv_propensity and Y_train: found {found}, wanted one of them")


def weights_of(m: Matched, inv_propensity: npt.ArrayLike | None, A: float, B: float) -> Floats:
    """What a hit of each column weighs: as given, or by the training rows that were matched."""
    if inv_propensity is not None:
        return check_weights(inv_propensity, m)
    weights = _inverse(m.Y_train, A, B)
    return weights if len(weights) == m.Y.shape[1] else check_weights(weights, m)
