"""What y is, decided by the first training and held to afterwards by name, and predictions turned back into its form.

The forms that y may have are read by slide/labels/forms.py. What columns are called goes with the model.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from slide.checks import check_Y, require, warn
from slide.containers import is_missing
from slide.engine.layout import ROW_SCALARS, IntArray
from slide.engine.memory import require_memory
from slide.labels.forms import (
    KINDS,
    Given,
    Values,
    as_vector,
    class_names,
    indicator,
    is_counted,
    moved,
    read_labels,
    unique,
)
from slide.labels.names import SHOWN, Names, are_of_one_type, joined, listed
from slide.labels.stored_names import as_list, from_json, storable, to_json


@dataclass(frozen=True)
class Labels:
    """What the columns of Y are called and how y was given, so that predictions come in the same form.

    classes [n_labels]: names, classes, or column numbers where nothing was named; dtype: of a predicted indicator.
    """

    kind: str
    classes: Values
    dtype: str = "float32"
    named: bool = True
    nonempty: bool = True  # every training row had a label

    @classmethod
    def of(cls, y: Any, classes: Any = None) -> Labels:
        """What y says of its labels; classes names all of them, or the columns of an indicator."""
        known = None if classes is None else class_names(classes)
        given = read_labels(y, n_labels=None if known is None else len(known))
        if not given.is_indicator:
            if isinstance(classes, set | frozenset):  # which has no order of its own
                known = unique(class_names(classes))[0]
            found = storable(unique(given.flat()[0])[0]) if known is None else known
            return cls(given.kind, found if known is None or given.kind == "lists" else unique(known)[0])
        n_labels = given.values.shape[1]
        is_set = isinstance(classes, set | frozenset)
        require(not is_set, "classes", classes, "a list: columns have an order, and a set has none")
        if given.columns is not None:
            known = _names_of_columns(given.columns, known)
        if known is None:
            # The least that a row of the last layer takes: said before the columns are numbered.
            require_memory(4 * ROW_SCALARS * n_labels, f"the parameters of {n_labels:,} labels need")
            return cls(given.kind, np.arange(n_labels), given.values.dtype.name, named=False)
        require(len(known) == n_labels, "classes", f"{len(known):,} names", f"{n_labels:,}, one for each column of y")
        return cls(given.kind, known, given.values.dtype.name)

    # -- y as an indicator --------------------------------------------------------------------------------------------

    def encode(self, y: Any, *, drop_unknown: bool = False) -> sp.csr_array:
        """CSR float32 indicator [n, n_labels]; labels that are not known are an error, or no label."""
        given = self._read(y, to_score=drop_unknown)
        if given.is_indicator:
            places = self._places(given)
            Y = check_Y(given.values, None if places is not None else len(self.classes), given.columns)
            if places is None:
                return Y
            if not drop_unknown:
                self._refuse_columns(given, places)
            return moved(Y, places, len(self.classes))
        names, rows = given.flat()
        ids = self.ids(names, drop_unknown=drop_unknown)
        return indicator(rows[ids >= 0], ids[ids >= 0], (len(given.values), len(self.classes)))

    def truth(self, y: Any) -> Truth:
        """As `encode`, to score by: labels that are not known have columns of their own, where nothing can hit them.

        y may be of another kind than in the first training: a vector where that had lists, lists of column numbers
        where it had an indicator, an indicator whose columns are the classes.
        """
        given = self._read(y, to_score=True)
        if given.is_indicator:
            places = self._places(given)
            if places is None:
                return Truth(check_Y(given.values, len(self.classes), given.columns), self)
            columns = given.columns or ()
            there = np.unique(check_Y(given.values, None, columns).indices)
            unknown = as_vector([columns[i] for i in there[places[there] < 0]])
            absent = [self.classes[i] for i in np.setdiff1d(np.arange(len(self.classes)), places)]
        else:
            names, absent = given.flat()[0], []
            unknown = unique(names[self.ids(names, drop_unknown=True) < 0])[0]
        labels = self.with_more(unknown)
        return Truth(labels.encode(given, drop_unknown=True), labels, len(unknown), absent)

    def _read(self, y: Any, *, to_score: bool = False) -> Given:
        """y, which must be of a kind that goes with this one; to score by, labels of any kind say what is true."""
        given = read_labels(y, self.kind, len(self.classes))
        if to_score:
            return given
        if given.is_indicator:
            if self.kind == "classes":
                raise ValueError("y: found an indicator matrix, wanted a vector of classes as in the first training")
        elif given.kind != self.kind and (given.kind == "classes" or self.kind == "classes" or not self.named):
            raise ValueError(f"y: found {_wanted(given.kind)}, wanted {_wanted(self.kind)} as in the first training")
        return given

    def _places(self, given: Given) -> IntArray | None:
        """Where each column of a data frame belongs, -1 for unknown ones; None if columns are taken as they come."""
        if given.columns is None:
            return None
        columns = class_names(given.columns, "y: columns") if len(given.columns) else as_vector([])
        if is_counted(columns) and not are_of_one_type(columns, self.classes):
            return None
        if not self.named and not are_of_one_type(columns, self.classes):
            warn("y has names of columns, but the model was fitted without: they are taken in their order")
            return None
        return self.ids(columns, drop_unknown=True)

    def _refuse_columns(self, given: Given, places: IntArray) -> None:
        """Training wants the columns of the first training, in any order."""
        assert given.columns is not None
        more = [name for name, place in zip(given.columns, places, strict=True) if place < 0]
        less = self.classes[np.setdiff1d(np.arange(len(self.classes)), places)].tolist()
        if more or less:
            found = (
                f"{listed(more)}, which the first training did not have" if more else f"no column for {listed(less)}"
            )
            raise ValueError(f"y: found {found}, wanted the {len(self.classes):,} columns of the first training")

    # -- names --------------------------------------------------------------------------------------------------------

    @cached_property
    def _names(self) -> Names:
        return Names(self.classes)

    def ids(self, names: Any, *, drop_unknown: bool = False, argument: str = "y") -> IntArray:
        """Column numbers int32 of labels by name; ValueError for one that is not known, or -1.

        A number and its decimal digits are one name, since files of text hold no numbers. Where all names are of
        another type, and none is found, that is an error in any case.
        """
        values, inverse = unique(as_vector(names))
        found = self._names.places(values, argument)
        if (found < 0).any() and not drop_unknown:
            unknown = values.tolist()[int(np.argmax(found < 0))]
            raise ValueError(
                f"{argument}: found the label {unknown!r}, wanted one of the {len(self.classes):,} this model knows; "
                "new labels come in with add_labels"
            )
        return found[inverse]

    def column(self, label: Any) -> int:
        """The column of one label by its name as it is predicted.

        By its number where labels have no names, or names that are no numbers, which it cannot be taken for.
        """
        n_labels = len(self.classes)
        is_number = isinstance(label, int | np.integer) and not isinstance(label, bool | np.bool_)
        if not self.named or (is_number and not are_of_one_type(np.array([0]), self.classes)):
            require(is_number and 0 <= label < n_labels, "label", label, f"an int, 0 to {n_labels - 1:,}")
            return int(label)
        like = listed(as_list(self.classes[:SHOWN]))
        place = -1
        if not is_missing(label) and isinstance(label, Hashable):
            one = np.asarray(label).reshape(1) if isinstance(label, np.generic) else as_vector([label])
            place = int(self._names.places(one, "label")[0])
        require(place >= 0, "label", label, f"one of the {n_labels:,} labels that this model knows, like {like}")
        return place

    def names(self, ids: IntArray) -> Values:
        """The labels' names in the shape of ids; None where an id is -1."""
        if not (ids < 0).any():
            return self.classes[ids]
        names = np.empty(len(self.classes) + 1, object)
        names[:-1] = as_list(self.classes)
        return names[ids]  # the last is None

    def decode(self, rows: sp.csr_array) -> Any:
        """Predicted label sets, CSR [n, n_labels], in the form in which y was given."""
        if self.kind == "lists":
            return [as_list(self.classes[ids]) for ids in np.split(rows.indices, rows.indptr[1:-1])][: rows.shape[0]]
        rows = rows.astype(self.dtype)
        return rows if self.kind == "sparse" else rows.toarray()

    def check_new(self, new: Values) -> None:
        """Refuses labels that are there already, and numbers beside text or text beside numbers."""
        known = self._names.places(new, "labels")
        if (known >= 0).any():
            raise ValueError(
                f"labels: found {new.tolist()[int(np.argmax(known >= 0))]!r}, which this model has already"
            )

    def with_more(self, new: Values | Sequence[Any]) -> Labels:
        """New labels behind these."""
        return replace(self, classes=joined(self.classes, np.asarray(new))) if len(new) else self

    def resized(self, keep: IntArray, new: Values) -> Labels:
        """The labels `keep`, and new ones behind them; columns without names are counted anew."""
        if not self.named:
            return replace(self, classes=np.arange(len(keep) + len(new)))
        more = replace(self, classes=self.classes[keep]).with_more(new)
        return replace(more, classes=storable(more.classes, "labels"))

    # -- files ------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """As JSON values, the names left out."""
        kept = {"kind": self.kind, "dtype": self.dtype, "named": self.named, "nonempty": self.nonempty}
        return {**kept, "class_dtype": self.classes.dtype.str}

    def arrays(self) -> dict[str, Values]:
        """Names for a model file, as slide/labels/stored_names.py writes them."""
        if not self.named:
            return {}
        return {"labels": np.frombuffer(to_json(self.classes), np.uint8)}

    @classmethod
    def restored(cls, config: Mapping[str, Any], arrays: Mapping[str, Values], n_labels: int) -> Labels:
        """The inverse of `config` and `arrays`; ValueError if they do not fit the model."""
        require(config["kind"] in KINDS, "labels", config["kind"], f"one of {KINDS}")
        dtype = np.dtype(config["class_dtype"])
        classes = from_json(arrays["labels"].tobytes(), dtype) if config["named"] else np.arange(n_labels, dtype=dtype)
        require(len(classes) == n_labels, "labels", f"{len(classes):,} names", f"{n_labels:,}")
        return cls(config["kind"], classes, np.dtype(config["dtype"]).name, config["named"], config["nonempty"])


def _names_of_columns(columns: Sequence[Any], classes: Values | None) -> Values:
    """A data frame's, in the order of `classes` where these are given too."""
    names = class_names(columns, "y: columns")
    if classes is None or (is_counted(names) and not are_of_one_type(names, classes)):
        return names if classes is None else classes
    if set(names.tolist()) != set(classes.tolist()):
        found = f"{listed(as_list(classes))}, and columns of y {listed(as_list(names))}"
        raise ValueError(f"classes: found {found}, wanted the names of all columns")
    return classes


def _wanted(kind: str) -> str:
    return {"classes": "a vector of classes", "lists": "lists of labels"}.get(kind, "an indicator matrix")


@dataclass(frozen=True)
class Truth:
    """The labels of rows to score a model by, of which it may not know some: those are missed, and said.

    Y : CSR float32 [n, n_labels + n_unknown], labels that the model does not know behind the others
    labels : what the columns of Y are called
    absent : labels that the model knows, and a data frame had no column for
    """

    Y: sp.csr_array
    labels: Labels
    n_unknown: int = 0
    absent: Sequence[Any] = ()

    def remark(self) -> str | None:
        """What there is to say of labels that are not known, if there is."""
        parts = []
        if self.n_unknown:
            first = self.Y.shape[1] - self.n_unknown
            unknown = self.labels.classes[first:]
            n_rows = int((np.diff(self.Y[:, first:].indptr) > 0).sum())
            many = f"{self.n_unknown:,} labels that are" if self.n_unknown > 1 else "a label that is"
            where = f"in {n_rows:,} of {self.Y.shape[0]:,} rows"
            parts.append(f"found {many} unknown to the model, {listed(as_list(unknown))}, {where}: counted as missed")
        if len(self.absent):
            parts.append(f"found no column for {listed(self.absent)}: no row counts as having it")
        return "; ".join(parts) or None
