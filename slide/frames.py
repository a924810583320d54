"""X as people have it, turned into one matrix of numbers: data frames column by column, lists, arrays of objects.

What is no number is refused by its column, by name where columns have names, and its row. Sparse matrices are
slide/csr.py's; what is common to both is in slide/checks.py.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Array = npt.NDArray[Any]
REAL = "fiub"  # kinds of NumPy's dtypes


def is_frame(data: Any) -> bool:
    """Whether this is a data frame, of pandas or another library whose `columns` are names (pyarrow's are not)."""
    return hasattr(data, "columns") and not hasattr(data, "column_names") and len(getattr(data, "shape", ())) == 2


def column_names(X: Any) -> list[Any] | None:
    """Of a data frame or an Arrow table; None of what has no names."""
    if is_frame(X):
        return list(X.columns)
    return list(X.column_names) if hasattr(X, "column_names") and hasattr(X, "column") else None


def column_called(names: Sequence[Any] | None, column: int) -> str:
    """How a message names a column."""
    return f"column {column:,}" if names is None else f"column {names[column]!r}"


def numbers_of(X: Any) -> Any:
    """X as an array, or a sparse matrix where all columns of a data frame are sparse. What is no table stays itself.

    Raises
    ------
    ValueError, TypeError
        For what is no number, TypeError where Python would raise it too; names column and row.
    """
    if type(X) is not np.ndarray and isinstance(X, np.ma.MaskedArray):
        X = _without_mask(X)
    if isinstance(X, np.ndarray) and X.dtype.kind in REAL:
        return X
    names = column_names(X)
    if names is not None:
        return _of_columns(X, names)
    if isinstance(X, list | tuple):
        _check_lengths(X)
    array = np.asarray(X)
    if array.dtype.kind in "OUS" and array.ndim == 2:
        columns = [_floats(array[:, j], column_called(None, j)) for j in range(array.shape[1])]
        return np.stack(columns, axis=1) if columns else array.astype(np.float64)
    return array if array.ndim else X


def _without_mask(X: np.ma.MaskedArray[Any, Any]) -> Array:
    """The array itself, refused where a value is masked: what lies under a mask is no value."""
    places = np.argwhere(np.ma.getmaskarray(X))
    if len(places):
        where = f"column {places[0, 1]:,} in row {places[0, 0]:,}" if X.ndim == 2 else f"place {places[0].tolist()}"
        raise ValueError(f"X: found a masked value in {where}, wanted a number: a value is missing")
    return np.asarray(X)


def as_row(x: Any) -> Any:
    """One row of numbers as a table with one; what has two dimensions stays itself."""
    if sp.issparse(x):
        return x.reshape(1, -1) if x.ndim == 1 else x
    if isinstance(x, list | tuple) or len(getattr(x, "shape", ())) == 1:
        array = np.asarray(x.to_numpy() if hasattr(x, "to_numpy") else x)
        return array.reshape(1, -1) if array.ndim == 1 else x
    return x


def _check_lengths(rows: Sequence[Any]) -> None:
    """Refuses rows of several lengths, of which NumPy makes nothing."""
    lengths = [len(row) if isinstance(row, list | tuple | np.ndarray) and np.ndim(row) else -1 for row in rows]
    for i, n in enumerate(lengths):
        if n != lengths[0]:
            found = "one value and no row" if n < 0 else f"a row of {n:,} values" if lengths[0] < 0 else f"{n:,} values"
            wanted = "one value, as in row 0" if lengths[0] < 0 else f"{lengths[0]:,}, as many as row 0 has"
            raise ValueError(f"X: found {found} in row {i:,}, wanted {wanted}")


def _of_columns(X: Any, names: list[Any]) -> Any:
    dtypes = getattr(X, "dtypes", None)
    if len(names) and hasattr(X, "sparse") and all(hasattr(t, "fill_value") for t in X.dtypes):
        return _of_sparse_columns(X, names)
    if hasattr(X, "iloc") and all(isinstance(t, np.dtype) and t.kind in REAL for t in dtypes):  # type: ignore[union-attr]
        array = np.asarray(X)
        return array.astype(np.float64) if array.dtype.kind == "O" else array  # truth values beside numbers
    columns = [_floats(_column(X, j), column_called(names, j)) for j in range(len(names))]
    return np.stack(columns, axis=1) if columns else np.asarray(X)


def _column(X: Any, j: int) -> Any:
    """The j-th column of a table of pandas, pyarrow, polars or the like; names may be there twice."""
    if hasattr(X, "iloc"):
        return X.iloc[:, j]
    return X.column(j) if hasattr(X, "column_names") else X[X.columns[j]]


def _of_sparse_columns(X: Any, names: list[Any]) -> sp.csc_array:
    """Of a data frame of pandas. Where the value that fills a column is not 0, the column is dense after all."""
    parts = []
    for j in range(len(names)):
        array = X.iloc[:, j].array
        if array.dtype.fill_value == 0 and array.dtype.subtype.kind in REAL:
            parts.append((array.sp_index.indices, array.sp_values))
        else:
            dense = _floats(np.asarray(array), column_called(names, j))
            parts.append((np.arange(len(dense)), dense))
    indptr = np.concatenate([[0], np.cumsum([len(rows) for rows, _ in parts])])
    rows, values = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return sp.csc_array((values, rows, indptr), shape=X.shape)


def _floats(column: Any, name: str) -> Array:
    """One column as numbers; what is missing becomes NaN, which is refused later, beside other numbers of no use."""
    if getattr(getattr(column, "dtype", None), "kind", None) not in ("M", "m"):
        array = _as_numpy(column)
        if array.dtype.kind in REAL:
            return array
        if array.dtype.kind in "OUS" and array.ndim == 1:
            return _each_float(array, name)
        if array.dtype.kind == "c":
            raise ValueError(f"X: found {name} of dtype {array.dtype}, wanted real numbers. Complex data not supported")
        column = array
    what = {"M": "dates", "m": "durations"}.get(column.dtype.kind, "values that are no numbers")
    raise ValueError(f"X: found {name} of {what} ({column.dtype}), wanted numbers, days for instance")


def _as_numpy(column: Any) -> Array:
    """Values of a column; those that are missing are NaN in a column of numbers."""
    if hasattr(column, "iloc") and str(getattr(column.dtype, "kind", "")) in REAL and hasattr(column.dtype, "na_value"):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(column.to_numpy()) if hasattr(column, "to_numpy") else np.asarray(column)


def _each_float(values: Array, name: str) -> Array:
    """Numbers one by one, from objects or the digits of a text."""
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    found = np.empty(len(values))
    for row, value in enumerate(values.tolist()):
        if type(value).__name__ in ("NAType", "NaTType") or value is None:
            raise ValueError(f"X: found {value} in {name} in row {row:,}, wanted a number: a value is missing")
        try:
            found[row] = float(value)
        except (TypeError, ValueError, OverflowError) as e:
            error = TypeError if isinstance(e, TypeError) else ValueError
            raise error(f"X: found {reprlib.repr(value)} in {name} in row {row:,}, wanted a number ({e})") from None
    return found
