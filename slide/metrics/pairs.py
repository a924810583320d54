"""Pairs of a row and a label that are not scored: where a row and a label are the same thing, each leads to the other.

The extreme classification repository has files of such reciprocal pairs for its sets whose labels have texts
(filter_labels_test.txt; ``slide.read_filter_labels`` reads them): a product is not to be recommended to itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import check_Y
from slide.metrics.matched import check_ids


def without_pairs(Y_true: Any, ids: npt.ArrayLike, pairs: npt.ArrayLike) -> tuple[sp.csr_array, npt.NDArray[np.int64]]:
    """The truth and the predictions without some pairs of a row and a label: neither true nor predicted.

    Parameters
    ----------
    Y_true : sparse matrix, shape [n, L]
    ids : array of int, shape [n, k]
        Predicted labels, best first; those behind one that is left out move up. Predict as many more as a row has
        pairs, if the first k are to be scored.
    pairs : array of int, shape [pairs, 2]
        Rows, 0 to n - 1, and labels, 0 to L - 1.

    Returns
    -------
    CSR float32 [n, L], and int64 [n, k] with -1 at the end of rows that have become shorter

    Raises
    ------
    ValueError
        As ``precision_at_k``; or for pairs that are not within the truth's shape.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> Y, ids = without_pairs(sp.csr_array([[1, 0, 1], [0, 1, 0]]), [[0, 1], [1, 2]], [[0, 0], [1, 2]])
    >>> Y.toarray().tolist(), ids.tolist()
    ([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], [[1, -1], [1, -1]])
    """
    Y = check_Y(Y_true)
    n, L = Y.shape
    top = check_ids(np.asarray(ids), n, L)
    left_out = np.unique(_check_pairs(pairs, n, L) @ np.array([L, 1]))
    rows = np.repeat(np.arange(n, dtype=np.int64), np.diff(Y.indptr))
    kept = ~np.isin(rows * L + Y.indices, left_out)
    Y = sp.csr_array((Y.data[kept], (rows[kept], Y.indices[kept])), shape=(n, L))
    gone = np.isin(np.arange(n)[:, None] * L + top, left_out) & (top >= 0)
    order = np.argsort(gone, axis=1, kind="stable")
    return Y, np.take_along_axis(np.where(gone, -1, top), order, axis=1)


def _check_pairs(pairs: npt.ArrayLike, n: int, L: int) -> npt.NDArray[np.int64]:
    array = np.asarray(pairs)
    if array.size == 0:
        return np.zeros((0, 2), np.int64)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        found = f"shape {array.shape} and dtype {array.dtype}"
        raise ValueError(f"pairs: found {found}, wanted whole numbers [pairs, 2], a row and a label each")
    wrong = np.flatnonzero(((array < 0) | (array >= (n, L))).any(axis=1))
    if wrong.size:
        row, label = array[wrong[0]].tolist()
        raise ValueError(f"pairs: found row {row} and label {label}, wanted rows under {n:,} and labels under {L:,}")
    return array.astype(np.int64)
