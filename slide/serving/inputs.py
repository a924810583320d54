"""What a request asks, read from JSON and checked by field: texts or rows of features, k, and what the answer holds.

A row of features is a list of all its numbers, an object {feature: number}, or {"indices": [...], "values": [...]}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from slide.serving.hosted import Hosted, Row
from slide.serving.limits import Limits
from slide.serving.refusal import Refusal, refuse, shown

DEFAULT_K = 5
MOST_DECIDED = 64  # labels a row that are decided on where k does not say
MAX_EXPLAINED = 20  # labels of a request, over all its rows
LARGEST = float(np.finfo(np.float32).max)
SPARSE = {"indices", "values"}
FLAGS = {"names": True, "scores": True, "explain": False, "decide": False, "mark": False}
FIELDS = {"texts", "rows", "k", *FLAGS}


@dataclass(frozen=True, slots=True)
class Question:
    """A request for predictions: rows as slide.serving.hosted.Hosted.best takes them, and what to say of each label.

    decide : whether only labels that the model predicts are given; mark : whether it is said which they are
    """

    rows: list[Any]
    k: int = DEFAULT_K
    names: bool = True
    scores: bool = True
    explain: bool = False
    decide: bool = False
    mark: bool = False


def _no_number(name: str) -> NoReturn:
    raise Refusal(400, f"body: found {name}, wanted JSON, which has finite numbers only")


DECODE = json.JSONDecoder(parse_constant=_no_number).decode  # json.loads would make one each time


def read_json(body: bytes) -> dict[str, Any]:
    """A request's JSON object; Refusal 400 for anything else, NaN and Infinity among it."""
    try:
        found = DECODE(body.decode())
    except UnicodeDecodeError as e:
        refuse("body", f"byte 0x{body[e.start]:02x} at {e.start:,}, which is no UTF-8", "JSON in UTF-8")
    except (ValueError, RecursionError) as e:
        refuse("body", f"what is no JSON ({_short(e)})" if body else "nothing", "a JSON object")
    if not isinstance(found, dict):
        refuse("body", shown(found), "a JSON object")
    return found


def _short(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]


def read_question(body: bytes, hosted: Hosted, limits: Limits) -> Question:
    """Of POST /v1/models/{model}/predict. Raises the Refusal that names what is wrong."""
    given = read_json(body)
    if unknown := given.keys() - FIELDS:
        refuse("body", f"the field {shown(min(unknown))}", f"{', '.join(sorted(FIELDS))}")
    rows = read_rows(given, hosted, limits)
    flags = {name: _flag(given, name, default) for name, default in FLAGS.items()}
    for name in ("decide", "mark"):
        if flags[name] and hosted.decides is None:
            refuse(name, "true", "false: this model is a network by itself, which only ranks labels")
    default = min(MOST_DECIDED, limits.max_k) if flags["decide"] else DEFAULT_K
    k = read_k(given.get("k", default), limits)
    asked = len(rows) * min(k, hosted.n_labels)
    if flags["explain"] and asked > MAX_EXPLAINED:
        refuse("explain", f"{len(rows):,} rows of {k:,} labels", f"at most {MAX_EXPLAINED} labels in all: a smaller k")
    return Question(rows, k, **flags)


def read_rows(given: Mapping[str, Any], hosted: Hosted, limits: Limits) -> list[Any]:
    """The texts or rows of a request."""
    kind = hosted.kind
    other = "rows" if kind == "texts" else "texts"
    if other in given:
        refuse(other, shown(given[other]), f"the field {kind}: this model reads {kind}")
    rows = given.get(kind)
    if kind == "texts" and isinstance(rows, str):
        rows = [rows]
    if not isinstance(rows, list):
        refuse(kind, "nothing" if kind not in given else shown(rows), f"a list of {kind}")
    check_rows(len(rows), kind, limits)
    if kind == "texts":
        return [check_text(text, f"texts[{i}]", limits) for i, text in enumerate(rows)]
    return [_row(row, f"rows[{i}]", hosted) for i, row in enumerate(rows)]


def check_rows(n: int, field: str, limits: Limits) -> None:
    """Refuses none and too many."""
    if not 1 <= n <= limits.max_rows:
        refuse(field, f"{n:,}", f"1 to {limits.max_rows:,}", 413 if n else 400)


def check_text(text: Any, field: str, limits: Limits) -> str:
    """A text that is not too long."""
    if not isinstance(text, str):
        refuse(field, shown(text), "a text")
    if len(text) > limits.max_characters:
        refuse(field, f"{len(text):,} characters", f"at most {limits.max_characters:,}", 413)
    return text


def read_k(k: Any, limits: Limits, field: str = "k") -> int:
    """How many labels a row."""
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= limits.max_k:
        refuse(field, shown(k), f"a whole number, 1 to {limits.max_k:,}")
    return k


def _flag(given: Mapping[str, Any], name: str, default: bool) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        refuse(name, shown(value), "true or false")
    return value


# -- rows of features --------------------------------------------------------------------------------------------------


def _row(row: Any, field: str, hosted: Hosted) -> Row:
    if isinstance(row, list):
        return dense_row(row, field, hosted)
    if not isinstance(row, dict):
        refuse(field, shown(row), 'a list of numbers, {feature: number}, or {"indices": [...], "values": [...]}')
    if row.keys() == SPARSE and isinstance(row["indices"], list):
        return sparse_row(row["indices"], row["values"], field, hosted)
    columns = [_column(name, field, hosted) for name in row]
    return np.array(columns, np.int64), _numbers(list(row.values()), lambda i: f"{field}[{shown(list(row)[i])}]")


def dense_row(row: list[Any], field: str, hosted: Hosted) -> Row:
    """A row that names every feature's value, in their order."""
    if len(row) != hosted.n_features:
        refuse(field, f"{len(row):,} numbers", f"{hosted.n_features:,}, one for each feature")
    values = _numbers(row, lambda i: f"{field}[{i}]")
    columns = np.flatnonzero(values)
    return columns, values[columns]


def sparse_row(indices: Any, values: Any, field: str, hosted: Hosted) -> Row:
    """A row that names some features by number, each once, and their values."""
    if not isinstance(values, list) or len(values) != len(indices):
        refuse(f"{field}.values", shown(values), f"a list of {len(indices):,}, as long as indices")
    for i, index in enumerate(indices):
        if type(index) is not int or not 0 <= index < hosted.n_features:
            refuse(f"{field}.indices[{i}]", shown(index), f"a whole number, 0 to {hosted.n_features - 1:,}")
    if len(set(indices)) < len(indices):
        twice = next(index for i, index in enumerate(indices) if index in indices[:i])
        refuse(f"{field}.indices", f"{twice} twice", "each feature once")
    return np.array(indices, np.int64), _numbers(values, lambda i: f"{field}.values[{i}]")


def _column(name: str, field: str, hosted: Hosted) -> int:
    """By the name of a data frame's column; by number where columns have no names."""
    if hosted.columns is not None:
        if name not in hosted.columns:
            refuse(field, f"the feature {shown(name)}", "one that the model was trained on")
        return hosted.columns[name]
    ok = name.isascii() and name.isdigit() and len(name) <= 10 and int(name) < hosted.n_features
    if not ok or str(int(name)) != name:  # each feature once: "01" beside "1" would be added to it
        refuse(field, f"the feature {shown(name)}", f"a number, 0 to {hosted.n_features - 1:,}")
    return int(name)


def _numbers(values: list[Any], name: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32; name: of the value at i, for a sentence."""
    for i, value in enumerate(values):
        number = type(value) is float or type(value) is int
        if not number or not -LARGEST <= value <= LARGEST or not math.isfinite(value):
            refuse(name(i), shown(value), "a finite number of 32 bits")
    return np.array(values, np.float32)
