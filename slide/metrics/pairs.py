"""Pairs of a row and a label that are not scored: where a row and a label are the same thing, each leads to the other.

The extreme classification repository has files of such reciprocal pairs for its sets whose labels have texts
(filter_labels_test.txt; ``slide.read_filter_labels`` reads them): a product is not to be recommended to itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.labels.forms import Values, as_vector
from slide.labels.names import Names
from slide.metrics.forms import compared
from slide.metrics.predicted import Predicted


def without_pairs(
    Y_true: Any, ids: Any, pairs: npt.ArrayLike, *, labels: Any = None
) -> tuple[sp.csr_array, npt.NDArray[np.int64]]:
    """The truth and the predictions without some pairs of a row and a label: neither true nor predicted.

    Parameters
    ----------
    Y_true, ids, labels
        As for ``precision_at_k``. Predicted labels behind one that is left out move up: predict as many more as a row
        has pairs, if the first k are to be scored.
    pairs : array of int, shape [pairs, 2], or (row, label) pairs
        Rows, 0 to n - 1, and labels: columns, 0 to L - 1, or their names where labels are compared by name.

    Returns
    -------
    CSR float32 [n, L], and int64 [n, k] with -1 at the end of rows that have become shorter. Columns are those of an
    indicator or `labels`; else the labels that are met, sorted, those of the truth first.

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
    given = Predicted.of(ids)
    Y, top, _, names, _ = compared(Y_true, given, given.length, labels=labels)
    return leave_out(Y, top, pairs, names)


def leave_out(
    Y: sp.csr_array, top: npt.NDArray[np.int64], pairs: Any, names: Values | None
) -> tuple[sp.csr_array, npt.NDArray[np.int64]]:
    """The same of what is compared already; names : of the columns, if they have any."""
    n, L = Y.shape
    left_out = np.unique(_check_pairs(pairs if names is None else _by_column(pairs, names), n, L) @ np.array([L, 1]))
    rows = np.repeat(np.arange(n, dtype=np.int64), np.diff(Y.indptr))
    kept = ~np.isin(rows * L + Y.indices, left_out)
    Y = sp.csr_array((Y.data[kept], (rows[kept], Y.indices[kept])), shape=(n, L))
    gone = np.isin(np.arange(n)[:, None] * L + top, left_out) & (top >= 0)
    order = np.argsort(gone, axis=1, kind="stable")
    return Y, np.take_along_axis(np.where(gone, -1, top), order, axis=1)


def _by_column(pairs: Any, names: Values) -> Any:
    """Pairs whose labels are names; those that nobody has or predicts are left out, for they change nothing."""
    given = [tuple(pair) for pair in (pairs.tolist() if isinstance(pairs, np.ndarray) else pairs)]
    if not given or any(len(pair) != 2 for pair in given):
        return given
    labels = Names(names, "as in Y_true").places(as_vector([label for _, label in given]), "pairs")
    return np.array([(row, at) for (row, _), at in zip(given, labels, strict=True) if at >= 0] or np.zeros((0, 2), int))


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
