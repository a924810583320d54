"""What users hand in: turned into CSR with checked values, or refused with a sentence that says what was found.

Some sentences are worded as scikit-learn's estimator checks want them. Data of other libraries are opened by
slide/containers.py. Labels given in other ways than as an indicator matrix are turned into one by
slide/estimator/labels.py.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from slide.containers import RealNumber, matrix_of, names_of_columns
from slide.csr import canonical_csr, csr_of_dense, without_zeros
from slide.frames import column_called, column_names, numbers_of


def require(ok: bool, argument: str, found: object, wanted: str) -> None:
    """Raises ValueError naming the argument, the value found and the value wanted."""
    if not ok:
        raise ValueError(f"{argument}: found {found!r}, wanted {wanted}")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line outside of this package that led here, however deep that was."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] in ("slide", "contextlib"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def number(value: Any) -> Any:
    """The value, if it is a real number; else NaN, which is in no range: so `require` names what was found."""
    ok = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return value if ok else math.nan


def whole(value: Any) -> Any:
    """The same for whole numbers."""
    return number(value) if isinstance(value, int | np.integer) else math.nan


def among(value: Any, names: Container[str]) -> bool:
    """Whether it is one of these names, and not a list or an array that cannot be compared with one."""
    return isinstance(value, str) and value in names


@dataclass(frozen=True)
class Checked:
    """A matrix that check_X or check_Y returned, which both take as it is: large ones are gone through only once.

    fingerprint : gives that of the data it belongs to (slide.io.fingerprint), if their owner has it made anyway
    """

    matrix: sp.csr_array
    fingerprint: Callable[[], str] | None = None


def check_X(X: Any, n_features: int | None = None, owner: str = "Network", *, keep_zeros: bool = False) -> sp.csr_array:
    """CSR float32 [n, n_features] with sorted, summed, finite entries; dense arrays and data frames are converted.

    Zeros that a sparse matrix stores are left out, so that they change neither scaling nor model, unless keep_zeros.

    Raises
    ------
    ValueError
        Naming the shape, the row of a value that is not finite, or what makes a sparse matrix none (slide/csr.py).
    TypeError
        For objects that are no numbers.
    """
    is_new = not isinstance(X, Checked)
    if n_features is not None and _has_no_rows(X):
        return sp.csr_array((0, n_features), dtype=np.float32)
    names = column_names(X) if is_new else None
    X = _csr(X if sp.issparse(X) else numbers_of(X), "X", type(X)) if is_new else X.matrix
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(f"X has {X.shape[1]:,} features, but {owner} is expecting {n_features:,} features as input")
    if not is_new:
        return X
    return check_finite(X if keep_zeros else without_zeros(X), names)


def _has_no_rows(X: Any) -> bool:
    """Whether this is an empty list or vector, which says nothing of columns."""
    return (isinstance(X, list | tuple) and not X) or (isinstance(X, np.ndarray) and X.shape == (0,))


def check_finite(X: sp.csr_array, names: Sequence[Any] | None = None) -> sp.csr_array:
    """X itself; ValueError naming the first value that is not finite by column and row. names : of the columns"""
    finite = np.isfinite(X.data)
    if np.count_nonzero(finite) < len(finite):
        bad = np.flatnonzero(~finite)
        row = int(np.searchsorted(X.indptr, bad[0], side="right")) - 1
        where = f"{column_called(names, int(X.indices[bad[0]]))} in row {row}"
        raise ValueError(f"X: found {X.data[bad[0]]} in {where}, wanted finite float32 values, no NaN and no inf")
    return X


def check_Y(Y: Any, n_labels: int | None = None, columns: Sequence[Any] | None = None) -> sp.csr_array:
    """CSR float32 indicator [n, n_labels], 1 where a row has a label; an entry that is stored twice counts once.

    columns : what they are called in messages; None: a data frame's say it

    Raises
    ------
    ValueError
        Naming the shape, or the row and column of a value that is neither 0 nor 1.
    """
    Y = Y.matrix if isinstance(Y, Checked) else _indicator(Y, columns)
    if n_labels is not None and Y.shape[1] != n_labels:
        raise ValueError(f"Y: found {Y.shape[1]:,} labels, wanted {n_labels:,}")
    return Y


def _indicator(Y: Any, columns: Sequence[Any] | None) -> sp.csr_array:
    if (names := names_of_columns(Y)) is not None:
        columns, Y = names, matrix_of(Y, "Y")
    elif not sp.issparse(Y) and (array := np.asarray(Y)).dtype.kind == "O":
        Y = _without_objects(array)
    M = _csr(Y, "Y")
    if np.count_nonzero(M.data == 1) == len(M.data):
        return M
    _check_zero_or_one(Y, columns)
    M = without_zeros(M).copy()
    M.data[:] = 1  # entries that were stored twice
    return M


def _without_objects(array: np.ndarray) -> np.ndarray:
    """An array of objects as numbers, if that is what they are."""
    are_numbers = all(isinstance(v, RealNumber) for v in array.flat)
    return array.astype(np.float64) if are_numbers else array


def _check_zero_or_one(Y: Any, columns: Sequence[Any] | None) -> None:
    """Whatever else is meant by a value, it would be learned as a label that is there."""
    entries = Y.tocoo() if sp.issparse(Y) else None
    values = np.asarray(Y) if entries is None else entries.data
    places = np.argwhere((values != 0) & (values != 1))
    if not len(places):
        return
    row, column = places[0] if entries is None else (entries.row[places[0, 0]], entries.col[places[0, 0]])
    bad = values[tuple(places.T)]
    called = f"column {column:,}" if columns is None else f"column {columns[column]!r}"
    found = f"found {_shown(bad[0])} in row {row:,}, {called}"
    raise ValueError(f"Y: {found}, wanted 0 or 1 in an indicator matrix{_meant(bad)}")


def _shown(value: Any) -> str:
    """In a few digits; in all of them where the few would say 0 or 1."""
    short = f"{value:g}"
    return str(value) if short in ("0", "1", "-0") else short


def _meant(found: np.ndarray) -> str:
    """What was probably meant by values that are neither 0 nor 1."""
    if not np.isfinite(found).all():
        return "; no NaN and no infinity"
    if (found == -1).all():
        return "; where -1 says that a row does not have a label, Y > 0 is the indicator"
    if ((found > 0) & (found < 1)).all():
        return "; shares and probabilities are not learned: choose which of them count, as Y > 0.5 does"
    if (found > 1).all():
        return "; of counts, Y > 0 is the indicator; numbers of labels are given as lists, one for each row"
    return "; a condition like Y > 0 makes one"


def check_XY(
    X: Any, Y: Any, n_features: int | None = None, n_labels: int | None = None
) -> tuple[sp.csr_array, sp.csr_array]:
    """Both, of equal length, with at least one row and one label."""
    X, Y = check_X(X, n_features), check_Y(Y, n_labels)
    check_pair(X, Y)
    return X, Y


def check_pair(X: sp.csr_array, Y: sp.csr_array) -> None:
    """Refuses checked matrices of different lengths, and such as nothing can be learned from."""
    check_lengths(X.shape[0], Y.shape[0])
    if X.shape[1] == 0:
        raise ValueError(
            f"X: found 0 feature(s) (shape={X.shape}) while a minimum of 1 is required: wanted at least one"
        )
    if X.shape[0] == 0:
        raise ValueError(f"X: found shape {X.shape}, wanted at least one row and one feature")
    if Y.shape[1] == 0 or Y.nnz == 0:
        raise ValueError(f"Y: found shape {Y.shape} with {Y.nnz} labels set, wanted at least one")


def check_lengths(n_rows: int, n_labelled: int) -> None:
    """Refuses X and Y of different lengths."""
    if n_rows != n_labelled:
        raise ValueError(f"X and Y: found {n_rows:,} and {n_labelled:,} rows, wanted equal numbers")


def _csr(M: Any, name: str, kind: type | None = None) -> sp.csr_array:
    """kind : of what M was made from, for a message."""
    if sp.issparse(M):
        return canonical_csr(M, name)
    array = np.asarray(M)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name}: found {(kind or type(M)).__name__}{_shape(array)}, "
            f"wanted a two-dimensional matrix of real numbers{_unsupported(array.dtype)}{_advice(array)}"
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
        return csr_of_dense(array.astype(np.float32, order="C"))


def _shape(array: np.ndarray) -> str:
    return f" of shape {array.shape} and dtype {array.dtype}" if array.ndim else ""


def _unsupported(dtype: np.dtype[Any]) -> str:
    return ". Complex data not supported" if dtype.kind == "c" else ""


def _advice(array: np.ndarray) -> str:
    if array.ndim == 1 and array.dtype.kind in "OUS" and len(array) and isinstance(array[0], str):
        return ". Texts are what SlideTextClassifier reads. Reshape your data if they are numbers"
    if array.ndim == 1 and array.dtype.kind == "O" and len(array) and isinstance(array[0], Mapping):
        return ". Rows that are dicts become one by sklearn.feature_extraction.DictVectorizer"
    return ". Reshape your data: array.reshape(1, -1) makes it one row" if array.ndim == 1 else ""
