"""The extreme classification text format in plain Python: what csrc/parse/xmc.c does, to be read and compared with.

Also the parser where no extension was built. Same bits, same faults; see csrc/parse/xmc.h for the format.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from slide.engine.xmc_fault import MAX_COLUMNS, Buffer, Fault, Kind, Parsed

HEADER = re.compile(rb"[ \t\r]*(\d+)[ \t\r]+(\d+)[ \t\r]+(\d+)[ \t\r]*")
BLANK = re.compile(rb"[ \t\r]*")
TOKEN = re.compile(rb"[^ \t\r]+")
NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
NAMED = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ID_LIMIT = 10**12
LARGEST = float(np.finfo(np.float32).max)


def parse_xmc(
    buffer: Buffer,
    n_threads: int = 1,
    n_features: int = -1,
    n_labels: int = -1,
    chunk_bytes: int = 0,
) -> Parsed:
    """Parse a whole file held in a buffer; one thread, whatever n_threads and chunk_bytes say.

    Returns (indptr int64, indices int32, data float32, label_indptr int64, label_indices int32, n_rows, n_features,
    n_labels) and raises slide.engine.xmc_fault.Fault.
    """
    text = bytes(buffer)
    n_rows, header_features, header_labels, body = _read_header(text)
    n_features = header_features if n_features < 0 else n_features
    n_labels = header_labels if n_labels < 0 else n_labels
    lines = text[body:].split(b"\n")
    if not lines[-1]:
        lines.pop()
    _check_rows(text, lines, n_rows)

    row_features: list[npt.NDArray[np.int32]] = [np.empty(0, np.int32)]
    row_values: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)]
    row_labels: list[npt.NDArray[np.int32]] = [np.empty(0, np.int32)]
    for number, line in enumerate(lines[:n_rows], start=2):
        labels, features, values = _parse_row(line, number, body, n_features, n_labels)
        row_labels.append(labels)
        row_features.append(features)
        row_values.append(values)
        body += len(line) + 1
    return (
        np.cumsum([len(ids) for ids in row_features], dtype=np.int64),
        np.concatenate(row_features),
        np.concatenate(row_values),
        np.cumsum([len(ids) for ids in row_labels], dtype=np.int64),
        np.concatenate(row_labels),
        n_rows,
        n_features,
        n_labels,
    )


def to_float32(text: bytes) -> float:
    """The float32 nearest to a decimal, as a double; infinite if it is too large.

    Rounding to double first and to float32 then goes wrong only where the double falls on the middle between two
    float32 values and the text does not: there the double is moved to the side on which the text lies.
    """
    double = float(text)
    with np.errstate(over="ignore"):
        single = np.float32(double)
    if double in (0.0, float(single)) or abs(double) > 2 * LARGEST:
        return float(single)
    towards = np.float32(np.copysign(np.inf, double - float(single)))
    with np.errstate(over="ignore", under="ignore"):
        other = np.nextafter(single, towards)
    # The neighbour behind the largest counts as 2^128.
    low, high = (np.clip(float(x), -(2.0**128), 2.0**128) for x in (single, other))
    if double == (low + high) / 2:
        exact = Fraction(Decimal(text.decode()))
        if exact != Fraction(double):
            double = np.nextafter(double, np.inf if exact > Fraction(double) else -np.inf)
    with np.errstate(over="ignore"):
        return float(np.float32(double))


def all_to_float32(texts: list[bytes]) -> npt.NDArray[np.float32]:
    """to_float32 of each; the slow way only for those near a middle, near zero or too large."""
    doubles = np.array([float(text) for text in texts], np.float64)
    size = np.abs(doubles)
    middle = doubles.view(np.uint64) & 0x1FFFFFFF == 0x10000000
    with np.errstate(over="ignore", under="ignore"):
        singles = doubles.astype(np.float32)
    for i in np.flatnonzero(middle | ((size > 0) & (size < 2.0**-125)) | (size > LARGEST)):
        singles[i] = to_float32(texts[i])
    return singles


def _read_header(text: bytes) -> tuple[int, int, int, int]:
    """The header's three numbers and where the rows start."""
    if not text:
        raise Fault(Kind.EMPTY, 1, 1, 0, 0)
    start = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
    newline = text.find(b"\n", start)
    end = len(text) if newline < 0 else newline
    match = HEADER.fullmatch(text, start, end)
    if not match:
        raise Fault(Kind.HEADER, 1, 1, start, end - start)
    rows, features, labels = (_to_id(group) for group in match.groups())
    if max(features, labels) > MAX_COLUMNS:
        raise Fault(Kind.HEADER_RANGE, 1, 1, start, end - start)
    return rows, features, labels, min(end + 1, len(text))


def _check_rows(text: bytes, lines: list[bytes], wanted: int) -> None:
    """As many lines as the header says; lines with nothing on them at the end may be rows or not."""
    least = len(lines)
    while least and BLANK.fullmatch(lines[least - 1]):
        least -= 1
    if not least <= wanted <= len(lines):
        end = text.find(b"\n")
        found = least if wanted < least else len(lines)
        raise Fault(Kind.ROWS, 1, 1, 0, len(text) if end < 0 else end, found, wanted)


def _to_id(digits: bytes) -> int:
    """The number, but never more than ID_LIMIT: out of range in any case."""
    digits = digits.lstrip(b"0")[:13]
    return min(int(digits or b"0"), ID_LIMIT)


def _parse_row(
    line: bytes, number: int, offset: int, n_features: int, n_labels: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Labels, features and values of one line, sorted and without repetition."""

    def fault(kind: Kind, start: int, length: int, found: int = 0, wanted: int = 0) -> Fault:
        return Fault(kind, number, start + 1, offset + start, length, found, wanted)

    tokens = [(match.start(), match.group()) for match in TOKEN.finditer(line)]
    labels: list[int] = []
    if tokens and tokens[0][0] == 0 and b":" not in tokens[0][1]:
        start = 0
        for part in tokens.pop(0)[1].split(b","):
            digits = part.removeprefix(b"-")
            if not digits.isdigit():
                raise fault(Kind.LABEL, start, len(part))
            if part != digits or _to_id(part) >= n_labels:
                raise fault(Kind.LABEL_RANGE, start, len(part), wanted=n_labels)
            labels.append(_to_id(part))
            start += len(part) + 1
    ids: list[int] = []
    values: list[bytes] = []
    for start, token in tokens:
        feature, colon, value = token.partition(b":")
        digits = feature.removeprefix(b"-")
        if not colon or not digits.isdigit():
            raise fault(Kind.FEATURE, start, len(token))
        if feature != digits or _to_id(feature) >= n_features:
            raise fault(Kind.FEATURE_RANGE, start, len(feature), wanted=n_features)
        if not NUMBER.fullmatch(value):
            kind = Kind.NOT_FINITE if NAMED.fullmatch(value) else Kind.VALUE
            raise fault(kind, start + len(feature) + 1, len(value))
        if abs(float(value)) > LARGEST and np.isinf(to_float32(value)):
            raise fault(Kind.NOT_FINITE, start + len(feature) + 1, len(value))
        ids.append(_to_id(feature))
        values.append(value)
    features, sums = _add_up(np.array(ids, np.int32), all_to_float32(values))
    if not np.isfinite(sums).all():
        raise fault(Kind.SUM, 0, 0, int(features[~np.isfinite(sums)][0]), n_features)
    return np.unique(np.array(labels, np.int32)), features, sums


def _add_up(
    ids: npt.NDArray[np.int32], values: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Sorted ids and, for each, the float32 sum of its values in the order of the text."""
    if (ids[1:] > ids[:-1]).all():
        return ids, values
    order = np.argsort(ids, kind="stable")
    ids, values = ids[order], values[order]
    features, first, where = np.unique(ids, return_index=True, return_inverse=True)
    sums = values[first]
    repeats = np.setdiff1d(np.arange(len(ids)), first)
    with np.errstate(over="ignore", invalid="ignore"):
        np.add.at(sums, where[repeats], values[repeats])
    return features, sums
