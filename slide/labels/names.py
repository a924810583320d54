"""Names of labels compared: which column a name stands for, also where one side has numbers and one their text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.labels.stored_names import as_list

Values = npt.NDArray[Any]
IntArray = npt.NDArray[np.int32]
SHOWN = 3  # names in a message


class Names:
    """The labels of a model by column, and where each stands."""

    _source = "as in the first training"

    def __init__(self, classes: Values, source: str = _source) -> None:
        """source : what says so, for messages"""
        self._classes, self._source = classes, source

    def places(self, values: Values, argument: str = "y") -> IntArray:
        """Columns of labels by name, -1 for those that are not there.

        Raises
        ------
        ValueError
            Where none is there, and all are of other types than the model's; begins with the argument's name.
        """
        if self._classes.dtype.kind in "Mm":
            found = _places_of_dates(values, self._classes)
        else:
            names = values.tolist()
            found = np.array([self._position.get(name, -1) for name in names], np.int32)
            for i in np.flatnonzero(found < 0):
                found[i] = self._by_text(names[i])
            if (found < 0).any() and "dates" in _types(values) & _types(self._classes):
                found = np.maximum(found, _places_of_dates(values, self._classes))
        if len(found) and found.max() < 0 and not are_of_one_type(values, self._classes):
            theirs, ours = type_of(values[0]), type_of(self._classes[0])
            raise ValueError(
                f"{argument}: found labels that are {theirs}, {listed(as_list(values))}, wanted {ours} "
                f"{self._source}, like {listed(as_list(self._classes[:SHOWN]))}"
            )
        return found

    def _by_text(self, name: Any) -> int:
        """Of a name whose text is that of a label of another type."""
        if isinstance(name, str):
            return self._by_spelling.get(name, -1)
        return next((self._position[text] for text in spellings(name) if text in self._position), -1)

    @cached_property
    def _position(self) -> dict[Any, int]:
        return {name: i for i, name in enumerate(self._classes.tolist())}

    @cached_property
    def _by_spelling(self) -> dict[str, int]:
        names = enumerate(self._classes.tolist())
        return {text: i for i, name in names if not isinstance(name, str) for text in spellings(name)}


def spellings(name: Any) -> Iterator[str]:
    """How a file of text may write a label that is no text."""
    if isinstance(name, bytes):
        yield name.decode("utf-8", "replace")
        return
    yield str(name)
    if isinstance(name, bool | np.bool_):
        yield str(name).lower()
    elif isinstance(name, float | np.floating) and np.isfinite(name) and name == int(name):
        yield str(int(name))
    elif isinstance(name, int | np.integer):
        yield f"{name}.0"


def type_of(name: Any) -> str:
    """The type of a label in words: numbers and bools are one."""
    if isinstance(name, int | float | np.number | np.bool_):
        return "numbers"
    if isinstance(name, str):
        return "text"
    if isinstance(name, np.datetime64 | np.timedelta64 | date | timedelta):
        return "dates"
    return "bytes" if isinstance(name, bytes) else type(name).__name__


def are_of_one_type(a: Values, b: Values) -> bool:
    """Whether some label here and some label there are of a type; of none, they are."""
    first, second = _types(a), _types(b)
    return not first or not second or bool(first & second)


def _types(values: Values) -> set[str]:
    if values.dtype.kind in "biuf":
        return {"numbers"} if len(values) else set()
    if values.dtype.kind == "U":
        return {"text"} if len(values) else set()
    if values.dtype.kind in "Mm":
        return {"dates"} if len(values) else set()
    return {type_of(name) for name in values.tolist()}


def joined(first: Values, second: Values) -> Values:
    """Both, each name as it is: NumPy would make text of numbers beside text."""
    kinds = {first.dtype.kind, second.dtype.kind}
    if len(kinds) == 1 or kinds <= set("iuf"):
        return np.concatenate([first, second])
    both = np.empty(len(first) + len(second), object)
    both[:] = as_list(first) + as_list(second)
    return both


def listed(names: Iterable[Any]) -> str:
    """The first few names, for a message."""
    every: Sequence[Any] = list(names)
    more = f" and {len(every) - SHOWN:,} more" if len(every) > SHOWN else ""
    return ", ".join(repr(name) for name in every[:SHOWN]) + more


def _places_of_dates(values: Values, classes: Values) -> IntArray:
    """By time, whatever the unit and the library; text is read as a date if it is one."""
    try:
        times, known = _times(values, classes), _times(classes, values)
        common = np.promote_types(times.dtype, known.dtype)
        times, known = times.astype(common), known.astype(common)
    except (TypeError, ValueError):
        return np.full(len(values), -1, np.int32)
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known[order], times), len(known) - 1)]
    return np.where(known[place] == times, place, -1).astype(np.int32)


def _times(names: Values, like: Values) -> Values:
    """As datetime64 or timedelta64, of the kind of the others where these are text."""
    if names.dtype.kind in "Mm":
        return names
    if any(getattr(name, "tzinfo", None) is not None for name in names.tolist()):
        raise ValueError("times of a zone, which NumPy does not know")
    spans = like.dtype.kind == "m" or any(isinstance(name, timedelta) for name in names.tolist())
    return np.array(names.tolist(), "m8[us]" if spans else "M8[us]")
