"""Names that a model file can hold, as JSON: what can be trained can be kept, and the rest is refused before training.

A label may be a number, a text, bytes, a date or a time, of NumPy, Python or pandas. What has a plain counterpart takes
its form here, before anything is learned, so that a model predicts the same names before it is saved and after.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
PLAIN = (str, bool, int, float)  # as JSON has them
MICROSECOND = dt.timedelta(microseconds=1)


class Stored(NamedTuple):
    """How values of a type that JSON does not have stand in a file, and how they come back."""

    name: str
    kind: type
    to_text: Callable[[Any], str]
    from_text: Callable[[str], Any]


STORED = (
    Stored("bytes", bytes, lambda v: v.decode("latin-1"), lambda s: s.encode("latin-1")),
    Stored("date", dt.date, dt.date.isoformat, dt.date.fromisoformat),
    Stored("datetime", dt.datetime, dt.datetime.isoformat, dt.datetime.fromisoformat),
    Stored("time", dt.time, dt.time.isoformat, dt.time.fromisoformat),
    Stored("timedelta", dt.timedelta, lambda v: str(v // MICROSECOND), lambda s: int(s) * MICROSECOND),
    Stored("decimal", Decimal, str, Decimal),
    Stored("fraction", Fraction, str, Fraction),
    Stored("uuid", uuid.UUID, str, uuid.UUID),
)
BY_TYPE = {one.kind: one for one in STORED}
BY_NAME = {one.name: one for one in STORED}
MAX_BITS = 14_000  # of a whole number: Python reads and writes no more than 4,300 digits
WANTED = "numbers, text, bytes, dates or times"


def plain_names(names: Sequence[Any], argument: str = "y") -> Values:
    """Names of any types as a vector: whole numbers as NumPy's, dates of NumPy and pandas as datetime64, else objects.

    Raises
    ------
    ValueError
        For names of a type that a file cannot hold; begins with `argument` and says which type, and what helps.
    """
    kinds = set(map(type, names))
    if not kinds <= set(PLAIN):
        if (dates := _as_dates(names)) is not None:
            return dates
        names = [_plain(name, argument) for name in names]
        kinds = set(map(type, names))
    if kinds == {int}:
        array = np.asarray(names)
        if array.dtype.kind in "iu":  # not where NumPy has no type for them, and takes floats
            return array
    if not kinds <= {str, bytes, bool, float}:
        _check_lengths(names, argument)
    array = np.empty(len(names), object)
    array[:] = names
    return array


def _check_lengths(names: Sequence[Any], argument: str) -> None:
    """Refuses whole numbers that have too many digits to be written."""
    for name in names:
        numbers = (name.numerator, name.denominator) if isinstance(name, int | Fraction) else ()
        bits = max((n.bit_length() for n in numbers), default=0)
        if bits > MAX_BITS:
            found = f"a number of {bits:,} bits as a label"
            raise ValueError(f"{argument}: found {found}, wanted at most {MAX_BITS:,}, which a model file can hold")


def _as_dates(names: Sequence[Any]) -> Values | None:
    """All as datetime64 or timedelta64, where all are dates of NumPy or pandas, which Python's have no room for."""
    for kind, convert, python in (
        (np.datetime64, "to_datetime64", dt.datetime),
        (np.timedelta64, "to_timedelta64", dt.timedelta),
    ):
        if any(isinstance(v, kind) or hasattr(v, convert) for v in names) and all(
            isinstance(v, kind | python) and getattr(v, "tzinfo", None) is None for v in names
        ):
            return np.array([getattr(v, convert)() if hasattr(v, convert) else kind(v) for v in names])
    return None


def _plain(name: Any, argument: str) -> Any:
    """A name in a type that comes back from a file as it is."""
    if type(name) in PLAIN:
        return name
    if isinstance(name, np.floating):  # a long double only where it is a double's value
        name = float(name) if float(name) == name else name
    elif isinstance(name, np.generic) and not isinstance(name, np.datetime64 | np.timedelta64):
        name = name.item()
    elif isinstance(name, str):  # an enumeration's, or NumPy's
        name = str.__str__(name)
    elif isinstance(name, int) and not isinstance(name, bool):
        name = int(name)
    if getattr(name, "tzinfo", None) is not None:
        name = _of_fixed_zone(name)
    zone = getattr(name, "tzinfo", None)
    if type(name) in PLAIN or (type(name) in BY_TYPE and type(zone) in (type(None), dt.timezone)):
        return name
    if zone is not None:
        found = f"dates with the time zone {zone}"
        help_ = "them in UTC (astimezone(datetime.timezone.utc)), or without a zone"
    else:
        found, help_ = f"labels of type {type(name).__name__}", f"{WANTED}; as text (str) they can be kept"
    raise ValueError(f"{argument}: found {found}, like {name!r}, which a model file cannot hold, wanted {help_}")


def _of_fixed_zone(name: Any) -> Any:
    """A time of pandas or Python whose zone is always as far from UTC, as Python's; others as they are."""
    if hasattr(name, "to_pydatetime") and not getattr(name, "nanosecond", 0):
        name = name.to_pydatetime()
    if isinstance(name.tzinfo, dt.timezone):
        return name
    try:
        fixed = name.tzinfo.utcoffset(None)
    except (TypeError, AttributeError, NotImplementedError):  # of a class that only knows it at a time
        fixed = None
    return name if fixed is None else name.replace(tzinfo=dt.timezone(fixed))


def storable(classes: Values, argument: str = "y") -> Values:
    """A vector of names as it can be kept; ValueError for what cannot be."""
    if classes.dtype.kind == "O":
        return plain_names(classes.tolist(), argument)
    if classes.dtype.kind == "f" and classes.dtype.itemsize > 8:
        shorter = classes.astype(np.float64)
        if (shorter != classes).any():
            raise ValueError(f"{argument}: found {classes.dtype} labels that float64 does not hold, wanted {WANTED}")
        return shorter
    gaps = np.isnat(classes) if classes.dtype.kind in "Mm" else classes != classes
    if classes.dtype.kind in "Mmf" and gaps.any():
        raise ValueError(f"{argument}: found {classes[gaps][0]}, wanted {WANTED}")
    if classes.dtype.kind not in "biufUSMm":
        raise ValueError(f"{argument}: found labels of dtype {classes.dtype}, wanted {WANTED}")
    return classes.astype(classes.dtype.newbyteorder("="), copy=False)


def as_list(names: Values) -> list[Any]:
    """Python's own values, but for NumPy's dates, which Python would give as numbers where they are too fine for it."""
    return list(names) if names.dtype.kind in "Mm" else names.tolist()


def as_texts(names: Values) -> list[str]:
    """What a person would write for each."""
    if names.dtype.kind in "Mm":
        return [str(name) for name in names]
    values = names.tolist()
    return [v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else str(v) for v in values]


# -- files -------------------------------------------------------------------------------------------------------------


def to_json(names: Values) -> bytes:
    """A JSON list in UTF-8. The dtype goes beside it."""
    if names.dtype.kind in "Mm":
        values: list[Any] = names.astype(np.int64).tolist()
    elif names.dtype.kind == "S":
        values = [name.decode("latin-1") for name in names.tolist()]
    else:
        values = [_tagged(name) for name in names.tolist()]
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _tagged(name: Any) -> Any:
    if type(name) in PLAIN:
        return name
    stored = BY_TYPE[type(name)]
    return {stored.name: stored.to_text(name)}


def from_json(data: bytes, dtype: np.dtype[Any]) -> Values:
    """The inverse of `to_json`; ValueError for what it never writes."""
    if dtype.kind not in "biufUSMmO":
        raise ValueError(f"labels: found {dtype}, wanted numbers, strings, dates or objects")
    values = json.loads(data.decode("utf-8", "surrogatepass"))
    if not isinstance(values, list):
        raise ValueError(f"labels: found {type(values).__name__}, wanted a list")
    if dtype.kind in "Mm":
        return np.array(values, np.int64).astype(dtype)
    if dtype.kind == "S":
        return np.array([value.encode("latin-1") for value in values], dtype)
    if dtype.kind != "O":
        return np.array(values, dtype)
    names = np.empty(len(values), object)
    names[:] = [_untagged(value) for value in values]
    return names


def _untagged(value: Any) -> Any:
    if not isinstance(value, dict):
        if type(value) not in PLAIN:
            raise ValueError(f"labels: found {value!r}, wanted a name")
        return value
    ((name, text),) = value.items()
    return BY_NAME[name].from_text(text)
