"""Propensity-scored precision and nDCG at k, in which a hit counts by how rarely its label is written down.

Jain, Prabhu and Varma, "Extreme multi-label loss functions for recommendation, tagging, ranking and other missing label
applications", KDD 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from slide.checks import check_Y
from slide.metrics.matched import Floats, Matched, answer, check_k, check_weights, psndcg, psp


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
    ks = check_k(k, ids)
    m = Matched.of(Y_true, ids, max(ks))
    return answer(psp(m, ks, _weights(m, inv_propensity, Y_train, A, B)), k)


@overload
def psndcg_at_k(
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
def psndcg_at_k(
    Y_true: Any,
    ids: npt.ArrayLike,
    inv_propensity: npt.ArrayLike | None = ...,
    *,
    k: Sequence[int],
    Y_train: Any = ...,
    A: float = ...,
    B: float = ...,
) -> Floats: ...
def psndcg_at_k(
    Y_true: Any,
    ids: npt.ArrayLike,
    inv_propensity: npt.ArrayLike | None = None,
    k: int | Sequence[int] = 5,
    *,
    Y_train: Any = None,
    A: float = 0.55,
    B: float = 1.5,
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
    ks = check_k(k, ids)
    m = Matched.of(Y_true, ids, max(ks))
    return answer(psndcg(m, ks, _weights(m, inv_propensity, Y_train, A, B)), k)


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


def _weights(m: Matched, inv_propensity: npt.ArrayLike | None, Y_train: Any, A: float, B: float) -> Floats:
    if (inv_propensity is None) == (Y_train is None):
        found = "neither" if Y_train is None else "both"
        raise ValueError(f"inv_propensity and Y_train: found {found}, wanted one of them")
    weights = inverse_propensity(Y_train, A, B) if inv_propensity is None else inv_propensity
    return check_weights(weights, m.Y.shape[1])
