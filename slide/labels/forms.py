"""The forms in which people hand in labels: which of four kinds y is, and its values as arrays or lists.

Four kinds: a vector of classes, a dense indicator, a sparse indicator, and lists of labels' names. What is learned of
the first y, and held to afterwards, is in slide/estimator/labels.py; what metrics compare, in slide/metrics/forms.py.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import require, warn
from slide.containers import RealNumber, columns_of, is_missing, matrix_of, names_of_columns, opened
from slide.labels.stored_names import plain_names, storable

KINDS = ("classes", "dense", "sparse", "lists")
ONE_NAME = (str, bytes, bytearray, memoryview, Mapping)  # what can be gone through, and is no list of labels
Values = npt.NDArray[Any]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Given:
    """A y that was read: its kind, and its values as a vector, a matrix or a list of rows.

    columns : names of an indicator's columns where it is a data frame, else None
    """

    kind: str
    values: Any
    columns: Sequence[Any] | None = None

    @property
    def is_indicator(self) -> bool:
        """Whether it is a matrix with a column for each label."""
        return self.kind in ("dense", "sparse")

    def flat(self) -> tuple[Values, IntArray]:
        """All labels that a vector or lists name, and the row of each."""
        if self.kind == "classes":
            return self.values, np.arange(len(self.values), dtype=np.int32)
        rows = np.repeat(np.arange(len(self.values), dtype=np.int32), [len(row) for row in self.values])
        return as_vector(list(chain.from_iterable(self.values)), rows), rows


def read_labels(y: Any, kind: str | None = None, n_labels: int | None = None) -> Given:
    """What y is, and its values; a Given comes back as it is.

    kind : of the labels that a model knows, which decides what lists of 0 and 1 and a single column are; None: y does
    n_labels : how many labels there are, if that is known

    Raises
    ------
    ValueError
        For what is none of the kinds; says what was found.
    """
    if isinstance(y, Given):
        return y
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    if sp.issparse(y):
        return Given("sparse", y)
    if np.ma.is_masked(y):
        row = int(np.argwhere(np.ma.getmaskarray(y))[0][0])
        raise ValueError(f"y: found a masked value in row {row:,}, wanted labels without gaps")
    names = names_of_columns(y)
    if names is not None and (len(names) != 1 or kind in ("dense", "sparse")):
        matrix = matrix_of(y, "Y")
        return Given("sparse" if sp.issparse(matrix) else "dense", matrix, names)
    y = opened(y if names is None else columns_of(y)[0])
    if (rows := _label_lists(y, kind, n_labels)) is not None:
        return Given("lists", rows)
    array = _array(y)
    if array.ndim == 1 and isinstance(y, list | tuple):
        if array.dtype.kind in "US":
            array = _strings(y, array)
        elif array.dtype.kind == "f" and all(isinstance(v, int | np.integer) for v in y):
            array = as_vector(y)  # too large for NumPy's whole numbers, and not to be rounded
    if (array.ndim == 2 and array.shape[1] == 1 and kind not in ("dense", "sparse")) or names is not None:
        _warn_of_column()
        array = array.reshape(-1)
    if array.ndim == 1:
        return Given("classes", _check_classes(array))
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        array = _matrix_of_objects(y, array)
    return Given("dense", array)


def _array(y: Any) -> Values:
    """y as NumPy takes it; a list or a bytearray among other things is an object, which is refused by its row."""
    with suppress(ValueError):
        if not (isinstance(y, list | tuple) and y and isinstance(y[0], bytearray | memoryview)):
            return np.asarray(y)
    array = np.empty(len(y), object)
    for row, value in enumerate(y):
        array[row] = value
    return array


def _matrix_of_objects(y: Any, array: Values) -> Values:
    if array.ndim == 2 and all(isinstance(v, RealNumber) for v in array.flat):
        return array.astype(np.float64)
    raise ValueError(
        f"Y: found {type(y).__name__} of shape {array.shape} and dtype {array.dtype}, "
        "wanted a vector of classes, an indicator matrix or lists of labels"
    )


def _strings(y: Sequence[Any], array: Values) -> Values:
    """NumPy turns what stands among strings, a NaN for instance, into strings too; that stays what it is."""
    kind, nul = (str, "\0") if array.dtype.kind == "U" else (bytes, b"\0")
    if all(isinstance(v, kind) for v in y) and not any(v.endswith(nul) for v in y):  # which NumPy takes for filling
        return array
    return as_vector(y, range(len(y)))


def _warn_of_column() -> None:
    """Says that a class vector came as a column; scikit-learn's category where it is loaded."""
    category = getattr(sys.modules.get("sklearn.exceptions"), "DataConversionWarning", UserWarning)
    warn("A column-vector y was passed when a 1d array was expected: it was taken for a vector of classes", category)


# -- lists -------------------------------------------------------------------------------------------------------------


def _label_lists(y: Any, kind: str | None, n_labels: int | None) -> list[Any] | None:
    """The rows, if y is a sequence of lists of labels and no matrix; a row that is missing has no labels."""
    if isinstance(y, np.ndarray) and y.dtype.kind != "O":
        return None
    if isinstance(y, ONE_NAME) or not isinstance(y, Iterable) or getattr(y, "ndim", 1) != 1:
        return None
    given = list(y)
    if not _is_list(next((row for row in given if not is_missing(row)), [] if kind == "lists" else None)):
        return None
    for number, row in enumerate(given):
        if not _is_list(row) and not is_missing(row):
            raise ValueError(f"y: found {row!r} in row {number:,}, wanted a list of labels as in other rows")
    rows = [list(row) if _is_list(row) else [] for row in given]
    ordered = not any(isinstance(row, set | frozenset) for row in given)
    if ordered and rows and len(rows[0]) and kind != "lists" and all(len(row) == len(rows[0]) for row in rows):
        if all(_is_indicator(row) for row in rows) and _has_width(len(rows[0]), kind, n_labels):
            return None
        if kind is None:
            _refuse_matrix(rows, n_labels)
    return rows


def _is_list(row: Any) -> bool:
    return isinstance(row, Iterable) and not isinstance(row, ONE_NAME) and getattr(row, "ndim", 1) == 1


def _is_indicator(row: Any) -> bool:
    return all(isinstance(v, RealNumber) and v in (0, 1) for v in row)


def _has_width(width: int, kind: str | None, n_labels: int | None) -> bool:
    """Whether rows of 0 and 1 are as long as an indicator's; so is any where nothing is known of the labels."""
    return n_labels is None or kind == "classes" or width == n_labels


def _refuse_matrix(rows: list[list[Any]], n_labels: int | None) -> None:
    """Rows of an indicator with other values than 0 and 1 would be lists of labels called -1 and 1, or 0 and 2.

    Those of an indicator of more or fewer labels would be lists that name 0 several times.
    """
    if len(rows[0]) < 2 or not all(isinstance(v, RealNumber) for row in rows for v in row):
        return
    values = {v for row in rows for v in row}
    signs = -1 in values and values <= {-1, 0, 1}
    wanted = "wanted 0 or 1 as in an indicator matrix (np.asarray(Y) > 0), or lists that name a label once"
    for number, row in enumerate(rows):
        if signs and -1 in row:
            raise ValueError(f"Y: found -1 in row {number:,}, column {row.index(-1):,} of rows of one length, {wanted}")
        if row.count(0) > 1:
            found = next((v for v in values if v not in (0, 1)), None)
            if found is None:
                given = f"found rows of {len(rows[0]):,} numbers that are 0 or 1"
                raise ValueError(
                    f"Y: {given}, wanted {n_labels:,} as there are labels, or lists that name a label once"
                )
            raise ValueError(f"Y: found {found} in rows of one length, and several zeros in row {number:,}, {wanted}")


# -- names -------------------------------------------------------------------------------------------------------------


def _check_classes(y: Values) -> Values:
    """A vector of classes, refused where it is a regression's or has gaps."""
    if y.dtype.kind == "f":
        if (gaps := np.flatnonzero(~np.isfinite(y))).size:
            found = f"found {y[gaps[0]]} in row {gaps[0]:,}, wanted classes"
            raise ValueError(f"Input y contains NaN or infinity: {found}")
        if (y != np.floor(y)).any():
            wrong = y[y != np.floor(y)][0]
            raise ValueError(f"Unknown label type: continuous. y: found {wrong}, wanted classes or whole numbers")
    elif y.dtype.kind not in "biuUSMmO":
        advice = ". Complex data not supported" if y.dtype.kind == "c" else ""
        raise ValueError(f"Unknown label type: y: found dtype {y.dtype}, wanted classes{advice}")
    elif y.dtype.kind in "Mm" and np.isnat(y).any():
        raise ValueError(f"y: found NaT in row {int(np.flatnonzero(np.isnat(y))[0]):,}, wanted a date")
    elif y.dtype.kind == "O":
        return as_vector(y.tolist(), range(len(y)))
    return y


def as_vector(names: Any, rows: Sequence[int] | IntArray | None = None, argument: str = "y") -> Values:
    """Names as a vector: numbers and dates of NumPy as they are, anything else as objects.

    rows : where each comes from, for messages
    """
    if isinstance(names, np.ndarray) and names.dtype.kind != "O":
        return names.reshape(-1)
    names = list(names)
    if all(type(v) is int for v in names) and names:
        return plain_names(names)
    for place, v in enumerate(names):
        where = "" if rows is None else f" in row {rows[place]:,}"
        if is_missing(v) or isinstance(v, dict | list | tuple | set):
            raise ValueError(
                f"Unknown label type: {argument}: found {v!r} as a label{where}, wanted a name or a number"
            )
        if rows is not None and isinstance(v, float | np.floating) and v != np.floor(v):
            raise ValueError(f"Unknown label type: continuous. y: found {v!r} as a label{where}, wanted whole numbers")
    return plain_names(names, argument)


def class_names(classes: Any, argument: str = "classes") -> Values:
    """The argument `classes`, or names of columns, checked: a vector without repetition."""
    several = isinstance(classes, Iterable) and hasattr(classes, "__len__") and not isinstance(classes, ONE_NAME)
    require(several, argument, classes, "the names of the labels, in a sequence")
    classes = opened(classes)
    is_plain = isinstance(classes, np.ndarray) and classes.dtype.kind != "O"
    array = storable(classes, argument) if is_plain else as_vector(classes, argument=argument)
    require(array.ndim == 1 and len(array) > 0, argument, f"shape {array.shape}", "a vector of names, at least one")
    values = array.tolist()
    if len(set(values)) < len(values):
        repeated, _ = Counter(values).most_common(1)[0]
        raise ValueError(f"{argument}: found {repeated!r} twice, wanted every label once")
    return array


def unique(values: Values) -> tuple[Values, IntArray]:
    """Distinct values, sorted, and where each value stands among them."""
    if values.dtype.kind not in "OUS":
        found, inverse = np.unique(values, return_inverse=True)
        return found, inverse.astype(np.int32)
    first: dict[Any, int] = {}
    seen = np.fromiter((first.setdefault(v, len(first)) for v in values.tolist()), np.int32, len(values))
    try:
        names = sorted(first)
    except TypeError:
        zoned = " with a time zone"  # which Python compares with no time that has none
        kinds = sorted({type(v).__name__ + zoned * (getattr(v, "tzinfo", None) is not None) for v in first})
        raise ValueError(f"y: found labels of types {', '.join(kinds)}, which have no order; wanted one type") from None
    rank = np.empty(len(names), np.int32)
    rank[[first[name] for name in names]] = np.arange(len(names), dtype=np.int32)
    distinct = np.empty(len(names), values.dtype)
    distinct[:] = names
    return distinct, rank[seen]


def is_counted(names: Values) -> bool:
    """Whether these are 0, 1, 2, ..., as pandas counts columns that nobody named."""
    return names.dtype.kind in "iu" and bool((names == np.arange(len(names))).all())


# -- indicators --------------------------------------------------------------------------------------------------------


def indicator(rows: IntArray, ids: IntArray, shape: tuple[int, int]) -> sp.csr_array:
    """CSR float32, 1 at these places, whether or not one comes twice."""
    Y = sp.csr_array((np.ones(len(ids), np.float32), (rows, ids)), shape=shape)
    Y.data[:] = 1
    return Y


def moved(Y: sp.csr_array, places: IntArray, n_labels: int) -> sp.csr_array:
    """Each column of an indicator where `places` says; those with -1 are left out."""
    ids = places[Y.indices]
    rows = np.repeat(np.arange(Y.shape[0], dtype=np.int32), np.diff(Y.indptr))
    return indicator(rows[ids >= 0], ids[ids >= 0], (Y.shape[0], n_labels))
