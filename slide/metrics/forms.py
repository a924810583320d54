"""Truth, training labels and predictions of any form, under one numbering of the labels.

Where the truth is an indicator without names, and so is everything else, labels are numbers of columns. Otherwise they
are compared by name. Labels that what predicted cannot know are missed, and said; none is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import Checked, check_Y, require, warn
from slide.containers import columns_of, names_of_columns
from slide.labels.forms import Given, IntArray, Values, as_vector, class_names, is_counted, moved, read_labels, unique
from slide.labels.forms import indicator as indicator_of
from slide.labels.names import Names, listed
from slide.labels.stored_names import as_list
from slide.metrics.predicted import Predicted

Ids = npt.NDArray[np.int64]


class Compared(NamedTuple):
    """Y CSR [n, L] and ids int64 [n, at most k], -1 for none; labels that nothing can hit are the last columns.

    names : of the columns, None for their numbers; n_known : columns that come first and are known to what predicted
    """

    Y: sp.csr_array
    ids: Ids
    Y_train: sp.csr_array | None
    names: Values | None
    n_known: int


def compared(Y_true: Any, predicted: Any, k: int, *, labels: Any = None, Y_train: Any = None) -> Compared:
    """What a metric begins with; see slide/metrics/ranking.py for the forms.

    Raises
    ------
    ValueError
        For what has no such form, numbers of rows that differ, ids that are no labels, labels of other types, and a
        label that is predicted twice in a row.
    """
    known = None if labels is None else class_names(labels, "labels")
    truth = read_truth(Y_true, known)
    given = _settled(Predicted.of(predicted), known, truth)
    train = None if Y_train is None else read_truth(Y_train, known)
    if known is None and _is_unnamed(truth) and (train is None or _is_unnamed(train)) and _names_of(given) is None:
        Y = check_Y(truth.values)
        L = Y.shape[1]
        ids = check_ids(_ids_of_columns(given, L, k), Y.shape[0], L)
        return Compared(Y, _of_k(ids, k), None if train is None else check_Y(train.values), None, L)
    space = Space.of(known, given, train, truth)
    Y, n_truth = space.indicator(truth, "Y_true"), space.size
    Y_train = None if train is None else space.indicator(train, "Y_train")
    ids = space.ids(given, k, known is not None)
    if n_truth > space.n_known:
        warn(f"Y_true: {_unknown(Y, space)}")
    names, size = space.names, space.size
    ids = _of_k(check_ids(ids, Y.shape[0], size, names), k)
    return Compared(_of_width(Y, size), ids, None if train is None else _of_width(Y_train, size), names, space.n_known)


def read_truth(Y: Any, known: Values | None = None) -> Given:
    """Labels of rows, as `fit` takes them in y; a data frame of one column is that column."""
    if isinstance(Y, Checked):
        return Given("sparse", Y.matrix)
    if isinstance(Y, np.ndarray) and Y.ndim == 2 and Y.dtype.kind in "biuf":
        return Given("dense", Y)
    if isinstance(Y, list | tuple) and Y and all(isinstance(row, list | tuple) and len(row) == 1 for row in Y):
        return Given("lists", list(Y))
    names = names_of_columns(Y)
    given = read_labels(
        columns_of(Y)[0] if names is not None and len(names) == 1 else Y, n_labels=None if known is None else len(known)
    )
    if given.columns is not None and len(given.columns) and is_counted(class_names(given.columns, "Y_true: columns")):
        return replace(given, columns=None)
    return given


def label_matrix(Y: Any, labels: Any = None) -> sp.csr_array:
    """The indicator of labels of any form; its columns are those of an indicator, `labels`, or what is met, sorted."""
    known = None if labels is None else class_names(labels, "labels")
    given = read_truth(Y, known)
    if known is None and given.is_indicator:
        return check_Y(given.values, None, given.columns)
    space = Space.of(known, Predicted(0), None, given)
    Y = space.indicator(given, "Y_train")
    return _of_width(Y, space.size)


class Space:
    """Labels by name: those that are known, and behind them others in the order in which they are met."""

    def __init__(self, known: Values, source: str) -> None:
        self._known, self._source = known, source
        self._lookup = Names(known, source)
        self._more: dict[Any, int] = {}
        self.n_known = len(known)

    @classmethod
    def of(cls, known: Values | None, given: Predicted, train: Given | None, truth: Given) -> Space:
        """By whatever says most of what can be predicted: `labels`, columns of scores, the training rows, the truth."""
        if known is not None:
            return cls(known, "as in labels")
        if given.scores is not None:
            columns = _names_of(given)
            width = given.scores.shape[1]
            return cls(np.arange(width) if columns is None else columns, "as the scores' columns are called")
        source = truth if train is None else train
        argument = "Y_true" if train is None else "Y_train"
        where = f"as in {argument} (labels= says what ids are called)"
        if not source.is_indicator:
            return cls(unique(source.flat()[0])[0], where)
        if source.columns is None:
            return cls(np.arange(source.values.shape[1]), where)
        return cls(class_names(source.columns, f"{argument}: columns"), where)

    @property
    def size(self) -> int:
        """Columns so far."""
        return self.n_known + len(self._more)

    @property
    def names(self) -> Values:
        """Of all columns."""
        names = np.empty(self.size, object)
        names[:] = [*as_list(self._known), *self._more]
        return names

    def places(self, names: Values, argument: str) -> IntArray:
        """Columns of labels by name; those that are met for the first time get new ones."""
        distinct, inverse = unique(names)
        found = self._lookup.places(distinct, argument).copy()
        every = list(distinct) if distinct.dtype.kind in "Mm" else distinct.tolist()
        for i in np.flatnonzero(found < 0):
            found[i] = self._more.setdefault(every[i], self.size)
        return found[inverse]

    def indicator(self, given: Given, argument: str) -> sp.csr_array:
        """CSR [n, columns so far] of labels of any form."""
        if not given.is_indicator:
            names, rows = given.flat()
            ids = self.places(names, argument) if len(names) else np.zeros(0, np.int32)
            return indicator_of(rows, ids, (len(given.values), self.size))
        Y = check_Y(given.values, None, given.columns)
        if given.columns is None:
            if not is_counted(self._known) and self._source != "as in labels":
                raise ValueError(
                    f"{argument}: found an indicator without names, and labels by name, like "
                    f"{listed(as_list(self._known[:3]))}: labels= says what its columns are called"
                )
            found = f"{Y.shape[1]:,} columns"
            require(Y.shape[1] == self.n_known, argument, found, f"{self.n_known:,} {self._source}")
            return Y
        places = self.places(class_names(given.columns, f"{argument}: columns"), argument)
        return moved(Y, places, self.size)

    def ids(self, given: Predicted, k: int, by_column: bool) -> Ids:
        """Predictions as columns; by_column: whole numbers are no names."""
        if given.scores is not None:
            best, columns = given.best(k), _names_of(given)
            if columns is None:
                return _ids_of_columns(given, self.n_known, k)
            return np.append(self.places(columns, "ids"), -1)[best].astype(np.int64)
        assert given.cells is not None
        cells = given.cells
        if by_column and cells.dtype.kind == "i":
            return check_ids(_ids_of_columns(given, self.n_known, k), given.n, self.n_known)
        none = None if cells.dtype.kind == "O" else -1
        there = np.asarray(cells != none) | (none == -1 and self._has_minus_one)
        found = np.full(cells.shape, -1, np.int64)
        if there.any():
            found[there] = self.places(as_vector(cells[there].tolist()), "ids")
        return found

    @property
    def _has_minus_one(self) -> bool:
        return self._known.dtype.kind in "iuf" and bool((self._known == -1).any())


def check_ids(ids: npt.NDArray[Any], n: int, L: int, names: Values | None = None) -> Ids:
    """Predicted labels of n rows, -1 for none, each at most once in a row; names : of labels, for messages."""
    if ids.dtype.kind not in "iu":
        raise ValueError(f"ids: found dtype {ids.dtype}, wanted whole numbers")
    if len(ids) != n:
        raise ValueError(f"Y_true and ids: found {n:,} and {len(ids):,} rows, wanted equal numbers")
    if n == 0:
        raise ValueError("Y_true and ids: found no rows, wanted at least one")
    bad = np.argwhere((ids >= L) | (ids < -1))
    if len(bad):
        row, column = bad[0]
        raise ValueError(f"ids: found {ids[row, column]} in row {row}, wanted 0 to {L - 1:,}, or -1 for none")
    ids = ids.astype(np.int64)
    ordered = np.sort(ids, axis=1)
    twice = np.argwhere((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0))
    if len(twice):
        row, column = twice[0]
        label = ordered[row, column]
        called = label if names is None else repr(names[label])
        raise ValueError(f"ids: found label {called} twice in row {row}, wanted each at most once")
    return ids


# -- parts -------------------------------------------------------------------------------------------------------------


def _is_unnamed(given: Given) -> bool:
    return given.is_indicator and given.columns is None


def _names_of(given: Predicted) -> Values | None:
    """Of the columns of scores, where they have any."""
    if given.columns is None:
        return None
    names = class_names(given.columns, "ids: columns")
    return None if is_counted(names) else names


def _settled(given: Predicted, known: Values | None, truth: Given) -> Predicted:
    """Whole numbers of a data frame whose columns are labels are no ids but an indicator."""
    names = _names_of(given)
    if given.cells is None or names is None:
        return given
    if known is None and not _is_unnamed(truth):
        known = truth.flat()[0] if not truth.is_indicator else class_names(truth.columns, "Y_true: columns")
    ours = known is not None and bool(set(names.tolist()) & set(known.tolist()))
    return given.as_scores() if ours else replace(given, columns=None)


def _ids_of_columns(given: Predicted, L: int, k: int) -> npt.NDArray[Any]:
    """Predictions whose labels are the numbers of L columns."""
    cells = given.cells
    if cells is None:
        width = given.scores.shape[1]
        if width != L:
            dtype = given.scores.dtype
            wanted = f"whole numbers, which are labels, or scores of all {L:,}"
            raise ValueError(f"ids: found dtype {dtype} and {width:,} columns, wanted {wanted}")
        return given.best(k)
    if cells.dtype.kind == "O":
        like = listed([v for v in cells.reshape(-1).tolist() if v is not None][:1])
        raise ValueError(
            f"ids: found names, like {like}, wanted numbers of the {L:,} columns of Y_true: labels= says what they are "
            "called"
        )
    if cells.shape[1] == L > 2 and ((cells == 0) | (cells == 1)).all():
        return given.as_scores().best(k)
    return cells


def _of_k(ids: Ids, k: int) -> Ids:
    """The first k; what is missing are misses."""
    return ids[:, :k] if ids.shape[1] >= k else np.pad(ids, ((0, 0), (0, k - ids.shape[1])), constant_values=-1)


def _of_width(M: sp.csr_array, width: int) -> sp.csr_array:
    return sp.csr_array((M.data, M.indices, M.indptr), shape=(M.shape[0], width)) if M.shape[1] != width else M


def _unknown(Y: sp.csr_array, space: Space) -> str:
    """What there is to say of labels that nothing can predict."""
    names: Sequence[Any] = as_list(space.names[space.n_known : Y.shape[1]])
    n_rows = int((np.diff(Y[:, space.n_known :].indptr) > 0).sum())
    many = f"{len(names):,} labels that are" if len(names) > 1 else "a label that is"
    where = f"in {n_rows:,} of {Y.shape[0]:,} rows"
    return f"found {many} unknown to what predicted, {listed(names)}, {where}: counted as missed"
