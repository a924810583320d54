"""Predictions as people have them: ids, ids with scores, ranked names, score matrices, one label a row.

They are brought into one of two shapes: cells, best first, that hold labels; or scores of every label. Where their
labels stand among those of the truth is found in slide/metrics/forms.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.containers import columns_of, is_missing, names_of_columns, opened

Values = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]

ROWS_AT_ONCE = 1024
NUMBER = (int, float, np.integer, np.floating)


@dataclass(frozen=True)
class Predicted:
    """Predictions of n rows.

    cells : [n, width] labels, best first: whole numbers, -1 for none, or objects, None for none; or None
    scores : [n, labels] of numbers, a CSR matrix where not all labels are scored; or None
    columns : names of the columns of a data frame
    width : the largest k that can be asked for; None: any, since rows have as many labels as they have
    """

    n: int
    cells: Values | None = None
    scores: Any = None
    columns: Sequence[Any] | None = None
    width: int | None = None

    @classmethod
    def of(cls, predicted: Any) -> Predicted:
        """Any of these forms; one that was read comes back as it is.

        Raises
        ------
        ValueError
            For what is none of them; says what was found.
        """
        if isinstance(predicted, Predicted):
            return predicted
        if sp.issparse(predicted):
            return _of_scores(sp.csr_array(predicted))
        if _is_pair(predicted):
            return _of_pair(*predicted)
        names = names_of_columns(predicted)
        if names is not None and len(names) != 1:
            return _of_frame(predicted, names)
        column = opened(predicted if names is None else columns_of(predicted)[0])
        if not isinstance(column, np.ndarray):
            if isinstance(column, str | bytes | Mapping) or not isinstance(column, Iterable):
                raise _wrong(type(predicted).__name__)
            column = list(column)
            if _has_rows(column):
                return _of_rows(column)
            column = np.asarray(column) if all(isinstance(v, NUMBER) for v in column) else _objects(column)
        return _of_array(column)

    @property
    def length(self) -> int:
        """Of the longest row."""
        return int(self.scores.shape[1] if self.cells is None else self.cells.shape[1])

    def as_scores(self) -> Predicted:
        """The same where numbers are scores of columns after all: an indicator of whole numbers."""
        assert self.cells is not None
        return replace(_of_scores(self.cells.astype(np.float64)), columns=self.columns)

    def best(self, k: int) -> Ids:
        """Columns [n, at most k] of the highest scores, best first; ties go to the lower column, -1 for none.

        What is not stored in a sparse matrix, NaN, or -inf is no prediction, nor is 0 where all is 0 or 1.
        """
        if sp.issparse(self.scores):
            return _best_of_sparse(self.scores, k)
        scores = np.asarray(self.scores, np.float64)
        found = np.full((self.n, min(k, scores.shape[1])), -1, np.int64)
        least = 0.0 if _is_binary(scores) else -np.inf
        for first in range(0, self.n, ROWS_AT_ONCE):
            some = np.nan_to_num(scores[first : first + ROWS_AT_ONCE], nan=-np.inf, posinf=np.inf, neginf=-np.inf)
            order = np.argsort(-some, axis=1, kind="stable")[:, :k]
            there = np.take_along_axis(some, order, axis=1) > least
            found[first : first + ROWS_AT_ONCE] = np.where(there, order, -1)
        return found


def _best_of_sparse(scores: sp.csr_array, k: int) -> Ids:
    n = scores.shape[0]
    rows, columns = np.repeat(np.arange(n), np.diff(scores.indptr)), scores.indices.astype(np.int64)
    values = np.nan_to_num(scores.data.astype(np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    kept = values > (0.0 if _is_binary(values) else -np.inf)
    rows, columns, values = rows[kept], columns[kept], values[kept]
    order = np.lexsort((columns, -values, rows))
    rows, columns = rows[order], columns[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    found = np.full((n, min(k, scores.shape[1])), -1, np.int64)
    found[rows[place < k], place[place < k]] = columns[place < k]
    return found


def _is_binary(scores: Values) -> bool:
    return bool(((scores == 0) | (scores == 1)).all())


def _of_scores(scores: Any) -> Predicted:
    return Predicted(scores.shape[0], scores=scores, width=scores.shape[1])


# -- forms -------------------------------------------------------------------------------------------------------------


def _is_pair(predicted: Any) -> bool:
    """Whether these are labels and their scores, as predict_topk returns them."""
    if not isinstance(predicted, tuple) or len(predicted) != 2:
        return False
    shapes = [getattr(part, "shape", ()) for part in predicted]
    return len(shapes[0]) == 2 and shapes[0] == shapes[1]


def _of_pair(labels: Any, scores: Any) -> Predicted:
    """Best first by the scores, whatever order they come in."""
    found = _of_array(np.asarray(labels))
    values = np.nan_to_num(np.asarray(scores, np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    if found.cells is None:
        raise _wrong(f"a pair whose labels are of dtype {np.asarray(labels).dtype}")
    if (values[:, 1:] > values[:, :-1]).any():
        order = np.argsort(-values, axis=1, kind="stable")
        found = replace(found, cells=np.take_along_axis(found.cells, order, axis=1))
    return found


def _of_frame(frame: Any, names: Sequence[Any]) -> Predicted:
    """Several columns: numbers are scores of the labels that name them, or ids; anything else is labels, best first."""
    columns = [np.asarray(opened(column)) for column in columns_of(frame)]
    if not columns:
        raise _wrong("a data frame without columns")
    kinds = {column.dtype.kind for column in columns}
    if kinds <= set("biuf"):
        return replace(_of_array(np.column_stack(columns)), columns=list(names))
    return _of_array(np.column_stack([_objects(column.tolist()) for column in columns]))


def _of_array(array: Values) -> Predicted:
    if array.ndim == 1:
        if array.dtype.kind == "O" and _has_rows(list(array)):
            return _of_rows(list(array))
        array = array.reshape(-1, 1)
        if array.dtype.kind == "f" and len(array) and (array == np.floor(array)).all():
            array = array.astype(np.int64)
        if array.dtype.kind not in "iu":  # one label each; truth values and dates too
            array = _objects(array[:, 0].tolist() if array.dtype.kind not in "Mm" else list(array[:, 0])).reshape(-1, 1)
    if array.ndim != 2:
        raise _wrong(f"shape {array.shape}")
    if array.dtype.kind in "bf":
        return _of_scores(array)
    if array.dtype.kind in "iu":
        return Predicted(len(array), cells=array.astype(np.int64), width=array.shape[1])
    flat = list(array.reshape(-1)) if array.dtype.kind in "Mm" else array.reshape(-1).tolist()
    cells = _objects([None if is_missing(v) else v for v in flat]).reshape(array.shape)
    return Predicted(len(array), cells=cells, width=array.shape[1])


def _has_rows(rows: Sequence[Any]) -> bool:
    first = next((row for row in rows if not is_missing(row)), None)
    return isinstance(first, Iterable) and not isinstance(first, str | bytes)


def _of_rows(rows: Sequence[Any]) -> Predicted:
    """A sequence of labels for each row; dicts and pairs have their scores too. Equal rows of numbers are an array."""
    if all(_is_numbers(row) and len(row) == len(rows[0]) for row in rows) and len(rows[0]):
        found = _of_array(np.asarray(rows))
        return found if found.cells is None else replace(found, width=None)
    listed = [_ranked(row, number) for number, row in enumerate(rows)]
    width = max(map(len, listed), default=0)
    whole = all(isinstance(v, int | np.integer) and not isinstance(v, bool) for row in listed for v in row)
    cells: Values = np.full((len(rows), width), -1 if whole else None, np.int64 if whole else object)
    for number, row in enumerate(listed):
        for place, label in enumerate(row):
            cells[number, place] = None if is_missing(label) and not whole else label
    return Predicted(len(rows), cells=cells)


def _is_numbers(row: Any) -> bool:
    return isinstance(row, list | tuple | np.ndarray) and all(isinstance(v, NUMBER) for v in row)


def _ranked(row: Any, number: int) -> list[Any]:
    """Labels of a row, best first."""
    if is_missing(row):
        return []
    if isinstance(row, Mapping):
        return sorted(row, key=lambda label: -row[label])
    if isinstance(row, str | bytes | set | frozenset) or not isinstance(row, Iterable):
        wanted = "wanted labels in an order, best first"
        raise ValueError(f"ids: found {type(row).__name__} in row {number:,}, {wanted}")
    labels = list(row)
    if labels and all(isinstance(v, tuple) and len(v) == 2 and isinstance(v[1], NUMBER) for v in labels):
        return [label for label, _ in sorted(labels, key=lambda pair: -pair[1])]
    return labels


def _objects(values: Sequence[Any]) -> Values:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _wrong(found: str) -> ValueError:
    return ValueError(
        f"ids: found {found}, wanted labels for each row, best first (ids, names, or both with scores), or a matrix of "
        "scores"
    )
