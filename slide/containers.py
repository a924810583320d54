"""Columns and data frames of pandas, Polars and Arrow, opened without importing any of them.

Nullable numbers become NumPy's own types, and columns of lists become lists of lists. What is missing stays missing:
whoever reads a column refuses it by its place. What X and y may be beyond that is in slide/checks.py and
slide/labels/forms.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.frames import is_frame

Values = npt.NDArray[Any]
RealNumber = int | float | np.integer | np.floating | np.bool_  # np.number has complex ones too


def is_missing(value: Any) -> bool:
    """None, NaN, and what data frames put in their place."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return isinstance(value, Decimal) and value.is_nan()


def names_of_columns(data: Any) -> list[Any] | None:
    """Those of a data frame or an Arrow table; None of anything else."""
    if is_frame(data):
        return list(data.columns)
    return list(data.column_names) if hasattr(data, "column_names") and hasattr(data, "num_rows") else None


def columns_of(data: Any) -> list[Any]:
    """A data frame's or an Arrow table's columns, in their order."""
    if hasattr(data, "iloc"):
        return [data.iloc[:, i] for i in range(data.shape[1])]
    if hasattr(data, "get_columns"):  # Polars
        return list(data.get_columns())
    if hasattr(data, "column"):  # Arrow
        return [data.column(i) for i in range(data.num_columns)]
    return [data[name] for name in names_of_columns(data) or ()]


def opened(column: Any) -> Any:
    """A column's values as an array or a list; what is no column of these libraries is returned as it is."""
    if hasattr(column, "to_pylist"):  # Arrow; Python's own values, but numbers without gaps, which are many
        nested = getattr(getattr(column, "type", None), "num_fields", 1)
        array = np.asarray(column) if not nested and not getattr(column, "null_count", 1) else None
        return column.to_pylist() if array is None or array.dtype.kind not in "biuf" else array
    if isinstance(column, np.ndarray) and column.dtype.kind == "T":  # NumPy's strings of any length
        return column.astype(object)
    if isinstance(column, np.ndarray) or not hasattr(column, "dtype"):
        return column
    if type(column).__module__.partition(".")[0] == "polars":
        has_gaps = bool(column.null_count())
        return column.to_numpy() if column.dtype.is_numeric() and not has_gaps else column.to_list()
    plain = getattr(column.dtype, "numpy_dtype", None)  # of pandas' nullable types
    if plain is not None and plain.kind in "biuf" and not column.isna().any():
        return column.to_numpy(dtype=plain)
    return column


def matrix_of(data: Any, name: str) -> Values | sp.coo_matrix:
    """The numbers of a data frame or an Arrow table, [rows, columns]: dense, or sparse where all its columns are.

    Raises
    ------
    ValueError
        For a cell that is no number, or missing; begins with name, and says which row and column.
    """
    if is_frame(data) and hasattr(data, "sparse") and all(hasattr(t, "fill_value") for t in data.dtypes):
        return data.sparse.to_coo()
    array = np.asarray(data)
    if array.dtype.kind in "biuf" and array.ndim == 2:
        return array
    names = names_of_columns(data) or ()
    columns = [_numbers(column, f"{name}: column {n!r}") for column, n in zip(columns_of(data), names, strict=True)]
    return np.column_stack(columns) if columns else np.zeros((len(data), 0))


def _numbers(column: Any, where: str) -> Values:
    values = opened(column)
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array
    cells: Sequence[Any] = array.tolist() if array.ndim == 1 else list(values)
    for row, cell in enumerate(cells):
        if is_missing(cell) or not isinstance(cell, RealNumber):
            raise ValueError(f"{where}: found {cell!r} in row {row:,}, wanted a number")
    return np.array(cells, dtype=np.float64)
