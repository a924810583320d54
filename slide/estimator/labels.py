"""Labels as people have them, turned into the indicator matrix that training wants, and predictions turned back.

Four kinds: a vector of classes, a dense indicator, a sparse indicator, and lists of labels' names. What columns are
called goes with the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import check_Y, require
from slide.engine.layout import ROW_SCALARS, IntArray
from slide.engine.memory import require_memory
from slide.estimator.sklearn_api import warn_of_column
from slide.frames import is_frame

KINDS = ("classes", "dense", "sparse", "lists")
Values = npt.NDArray[Any]


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
        kind, values = classify(y)
        if kind in ("classes", "lists"):
            flat = values if kind == "classes" else flatten(values)
            found = unique(flat)[0] if known is None else known if kind == "lists" else unique(known)[0]
            return cls(kind, found)
        n_labels = values.shape[1]
        if known is None and is_frame(y):
            known = class_names(list(y.columns))
        if known is None:
            # The least that a row of the last layer takes: said before the columns are numbered.
            require_memory(4 * ROW_SCALARS * n_labels, f"the parameters of {n_labels:,} labels need")
            return cls(kind, np.arange(n_labels), values.dtype.name, named=False)
        require(len(known) == n_labels, "classes", f"{len(known):,} names", f"{n_labels:,}, one for each column of y")
        return cls(kind, known, values.dtype.name)

    def encode(self, y: Any, *, drop_unknown: bool = False) -> sp.csr_array:
        """CSR float32 indicator [n, n_labels]; labels that are not known are an error, or no label."""
        kind, values = classify(y)
        if kind in ("dense", "sparse"):
            if self.kind == "classes":
                raise ValueError("y: found an indicator matrix, wanted a vector of classes as in the first training")
            return check_Y(values, len(self.classes))
        if kind != self.kind and (kind == "classes" or self.kind == "classes" or not self.named):
            raise ValueError(f"y: found {_wanted(kind)}, wanted {_wanted(self.kind)} as in the first training")
        flat, lengths = (values, None) if kind == "classes" else (flatten(values), [len(row) for row in values])
        ids = self.ids(flat, drop_unknown=drop_unknown)
        rows = np.repeat(np.arange(len(values)), 1 if lengths is None else lengths)[ids >= 0]
        ids = ids[ids >= 0]
        Y = sp.csr_array((np.ones(len(ids), np.float32), (rows, ids)), shape=(len(values), len(self.classes)))
        Y.data[:] = 1  # a label that a row names twice
        return Y

    def ids(self, names: Any, *, drop_unknown: bool = False) -> IntArray:
        """Column numbers int32 of labels by name; ValueError for one that is not known, or -1."""
        values, inverse = unique(as_vector(names))
        position = {name: i for i, name in enumerate(self.classes.tolist())}
        found = [position.get(name, -1) for name in values.tolist()]
        if -1 in found and not drop_unknown:
            unknown = values.tolist()[found.index(-1)]
            raise ValueError(
                f"y: found the label {unknown!r}, wanted one of the {len(self.classes):,} this model knows; "
                "new labels come in with add_labels"
            )
        return np.asarray(found, np.int32)[inverse]

    def names(self, ids: IntArray) -> Values:
        """The labels' names in the shape of ids; None where an id is -1."""
        if not (ids < 0).any():
            return self.classes[ids]
        names = self.classes.astype(object)[ids]
        names[ids < 0] = None
        return names

    def decode(self, rows: sp.csr_array) -> Any:
        """Predicted label sets, CSR [n, n_labels], in the form in which y was given."""
        if self.kind == "lists":
            return [self.classes[ids].tolist() for ids in np.split(rows.indices, rows.indptr[1:-1])][: rows.shape[0]]
        rows = rows.astype(self.dtype)
        return rows if self.kind == "sparse" else rows.toarray()

    def resized(self, keep: IntArray, new: Values) -> Labels:
        """The labels `keep`, and new ones behind them; columns without names are counted anew."""
        classes = self.classes[keep]
        if not self.named:
            classes = np.arange(len(keep) + len(new))
        elif len(new):
            classes = np.concatenate([classes, new.astype(object) if classes.dtype.kind == "O" else new])
        return replace(self, classes=classes)

    # -- files ------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """As JSON values, the names left out."""
        kept = {"kind": self.kind, "dtype": self.dtype, "named": self.named, "nonempty": self.nonempty}
        return {**kept, "class_dtype": self.classes.dtype.str}

    def arrays(self) -> dict[str, Values]:
        """Names for a model file: a JSON list in UTF-8 bytes."""
        if not self.named:
            return {}
        try:
            text = json.dumps(self.classes.tolist(), ensure_ascii=False)
        except TypeError as e:
            raise ValueError(f"classes: found labels that a model file cannot hold ({e})") from None
        return {"labels": np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)}

    @classmethod
    def restored(cls, config: Mapping[str, Any], arrays: Mapping[str, Values], n_labels: int) -> Labels:
        """The inverse of `config` and `arrays`; ValueError if they do not fit the model."""
        require(config["kind"] in KINDS, "labels", config["kind"], f"one of {KINDS}")
        names: Any = range(n_labels)
        if config["named"]:
            names = json.loads(arrays["labels"].tobytes().decode("utf-8", "surrogatepass"))
        require(len(names) == n_labels, "labels", f"{len(names):,} names", f"{n_labels:,}")
        dtype = np.dtype(config["class_dtype"])
        require(dtype.kind in "biufUO", "labels", dtype, "numbers or strings")
        classes = as_vector(list(names)) if dtype.kind == "O" else np.array(names, dtype)
        return cls(config["kind"], classes, np.dtype(config["dtype"]).name, config["named"], config["nonempty"])


def _wanted(kind: str) -> str:
    return {"classes": "a vector of classes", "lists": "lists of labels"}.get(kind, "an indicator matrix")


# -- what y is ---------------------------------------------------------------------------------------------------------


def classify(y: Any) -> tuple[str, Any]:
    """The kind of y, and y as an array, a sparse matrix or a list of rows."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    if sp.issparse(y):
        return "sparse", y
    if (rows := _label_lists(y)) is not None:
        return "lists", rows
    array = np.asarray(y)
    if array.ndim == 1 and array.dtype.kind in "US" and isinstance(y, list | tuple):
        array = _strings(y, array)
    if array.ndim == 2 and array.shape[1] == 1:
        warn_of_column()
        array = array[:, 0]
    if array.ndim == 1:
        return "classes", _check_classes(array)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ValueError(
            f"Y: found {type(y).__name__} of shape {array.shape} and dtype {array.dtype}, "
            "wanted a vector of classes, an indicator matrix or lists of labels"
        )
    return "dense", array


def _strings(y: Sequence[Any], array: Values) -> Values:
    """NumPy turns what stands among strings, a NaN for instance, into strings too; that stays what it is."""
    return array if all(isinstance(v, str | bytes) for v in y) else as_vector(y)


def _label_lists(y: Any) -> list[Any] | None:
    """The rows, if y is a sequence of lists of labels and no matrix."""
    if isinstance(y, np.ndarray) and y.dtype.kind != "O":
        return None
    if isinstance(y, str | bytes) or is_frame(y) or not isinstance(y, Iterable) or getattr(y, "ndim", 1) != 1:
        return None
    rows = list(y)
    if not rows or not all(isinstance(row, list | tuple | set | frozenset | np.ndarray) for row in rows):
        return None
    if any(isinstance(row, np.ndarray) and row.ndim != 1 for row in rows):
        return None
    ordered = not any(isinstance(row, set | frozenset) for row in rows)
    if ordered and len({len(row) for row in rows}) == 1 and all(_is_indicator(row) for row in rows):
        return None
    return [sorted(row) if isinstance(row, set | frozenset) else list(row) for row in rows]


def _is_indicator(row: Any) -> bool:
    return len(row) > 0 and all(isinstance(v, int | float | np.number | np.bool) and v in (0, 1) for v in row)


def _check_classes(y: Values) -> Values:
    """A vector of classes, refused where it is a regression's or has gaps."""
    if y.dtype.kind == "f":
        if not np.isfinite(y).all():
            raise ValueError("Input y contains NaN or infinity, wanted classes")
        if (y != np.floor(y)).any():
            wrong = y[y != np.floor(y)][0]
            raise ValueError(f"Unknown label type: continuous. y: found {wrong}, wanted classes or whole numbers")
    elif y.dtype.kind not in "biuUSMmO":
        advice = ". Complex data not supported" if y.dtype.kind == "c" else ""
        raise ValueError(f"Unknown label type: y: found dtype {y.dtype}, wanted classes{advice}")
    elif y.dtype.kind == "O":
        return as_vector(y.tolist())
    return y


def as_vector(names: Any) -> Values:
    """Names as a vector: numbers as they are, anything else as objects, which take no more room than they need."""
    if isinstance(names, np.ndarray) and names.dtype.kind != "O":
        return names.reshape(-1)
    names = list(names)
    if all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in names) and names:
        return np.asarray(names)
    for v in names:
        if _is_missing(v) or isinstance(v, dict | list | tuple | set):
            raise ValueError(f"Unknown label type: y: found {v!r} as a label, wanted a name or a number")
    array = np.empty(len(names), object)
    array[:] = names
    return array


def _is_missing(value: Any) -> bool:
    """None, NaN, and what data frames put in their place."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def class_names(classes: Any) -> Values:
    """The argument `classes`, checked: a vector without repetition."""
    array = classes if isinstance(classes, np.ndarray) else as_vector(classes)
    require(array.ndim == 1 and len(array) > 0, "classes", f"shape {array.shape}", "a vector of names, at least one")
    values = array.tolist()
    if len(set(values)) < len(values):
        repeated = next(v for i, v in enumerate(values) if v in values[:i])
        raise ValueError(f"classes: found {repeated!r} twice, wanted every label once")
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
        kinds = sorted({type(name).__name__ for name in first})
        raise ValueError(f"y: found labels of types {', '.join(kinds)}, which have no order; wanted one type") from None
    rank = np.empty(len(names), np.int32)
    rank[[first[name] for name in names]] = np.arange(len(names), dtype=np.int32)
    distinct = np.empty(len(names), values.dtype)
    distinct[:] = names
    return distinct, rank[seen]


def flatten(rows: Sequence[Any]) -> Values:
    """All labels of all rows."""
    return as_vector(list(chain.from_iterable(rows)))
