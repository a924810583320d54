"""One row or a few on a short way to the engine: columns and values without SciPy, which takes longer than to predict.

Only rows without a fault come through. For all others the answer is None, and the long way (slide/checks.py) reads them
or says what is wrong with them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine.binding import c_core
from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples

Row = tuple[IntArray, FloatArray]

MATRICES = (sp.csr_array, sp.csr_matrix)  # and no class made of them, which may do as it likes
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
core = functools.cache(c_core)


def example(row: Row) -> Examples:
    """The row as the engine reads it."""
    return Examples(np.array([0, len(row[0])]), *row)


def examples(rows: Sequence[Row]) -> Examples:
    """One row or more as the engine reads them."""
    if len(rows) == 1:
        return example(rows[0])
    indptr = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(columns) for columns, _ in rows], out=indptr[1:])
    columns, values = zip(*rows, strict=True)
    return Examples(indptr, np.concatenate(columns), np.concatenate(values))


def one_row(X: Any, n_features: int) -> Row | None:
    """Columns int32, ascending, and values float32, finite and not 0, of a CSR or dense matrix [1, n_features]."""
    if type(X) in MATRICES:
        return _of_csr(X, n_features)
    if type(X) is np.ndarray and X.shape == (1, n_features) and X.dtype in FLOATS:
        return nonzeros(_single(X[0]))
    return None


def _of_csr(X: Any, n_features: int) -> Row | None:
    C = core()
    if C is None or X.shape != (1, n_features) or X.data.dtype not in FLOATS:
        return None
    try:
        begin, end = X.indptr
        row = X.indices, _single(X.data)
        sound = begin == 0 and end == len(row[0]) and C.is_sound_row(*row, n_features)
    except (ValueError, TypeError):  # arrays of other kinds or sizes
        return None
    return row if sound else None


def nonzeros(values: FloatArray) -> Row | None:
    """The row that a dense one [n_features] is."""
    C, columns = core(), np.flatnonzero(values).astype(np.int32)
    row = columns, values[columns]
    return row if C is not None and C.is_sound_row(*row, len(values)) else None


def unit_row(row: Row) -> Row | None:
    """As slide.estimator.scaling.unit_rows: of Euclidean length 1, if it is not so already."""
    C = core()
    return None if C is None else (row[0], C.unit_row(row[1]))


def _single(values: npt.NDArray[Any]) -> FloatArray:
    if values.dtype == np.float32:
        return values
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and such a row has a fault
        return values.astype(np.float32)
