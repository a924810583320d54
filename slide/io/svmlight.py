"""SVMlight text, as LIBSVM's sets have it: read by scikit-learn (the extra `svmlight`), written here."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from slide.errors import DataFormatError
from slide.io.arriving import line_blocks
from slide.io.content import Content
from slide.io.packages import svmlight
from slide.io.xmc import EXCERPT, Pair

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WANTED = "lines 'label,label feature:value ...'"


def read_svmlight(content: Content, zero_based: bool | None = None) -> Pair:
    """X and Y, not checked yet; zero_based as slide.io.formats.read takes it."""
    X, Y = parse(bytes(content.buffer()).removeprefix(BYTE_ORDER_MARK), content.label, zero_based)
    if not X.shape[0]:
        raise no_row(content.label)
    return X, Y


def svmlight_blocks(content: Content, rows: int) -> Iterator[Pair]:
    """X and Y of so many lines at a time, or those that have arrived, not checked yet; each as wide as it needs be."""
    first = n_rows = 0
    for text, n in line_blocks(content.file, rows):
        X, Y = parse(text if first else text.removeprefix(BYTE_ORDER_MARK), content.label, first=first)
        if X.shape[0]:  # others are comments and blank lines
            yield X, Y
        first, n_rows = first + n, n_rows + X.shape[0]
    if not n_rows:
        raise no_row(content.label)


def no_row(label: str) -> DataFormatError:
    """For a file of comments, or nothing."""
    return DataFormatError(f"{label}: found no row, wanted {WANTED}")


def parse(text: bytes, label: str, zero_based: bool | None = None, first: int = 0) -> Pair:
    """X and Y of a text before which so many lines stand in its file, which has that label in errors."""
    load = svmlight()
    how: dict[str, Any] = {"multilabel": True, "dtype": np.float32}
    try:
        X, labels = load(io.BytesIO(text), zero_based=zero_based is not False, **how)
    except (ValueError, OverflowError, IndexError) as e:
        number = _bad_line(text, load, how)
        found = text.split(b"\n")[number - 1][:EXCERPT].decode("utf-8", "backslashreplace").rstrip("\r")
        raise DataFormatError(f"{label}:{first + number}: found {found!r}, wanted {WANTED} ({e})") from e
    ids = np.array([label for row in labels for label in row], np.float64)
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in labels])]).astype(np.int64)
    wrong = np.flatnonzero((ids < 0) | (ids != np.floor(ids)) | (ids >= 2**31))
    if wrong.size:
        line = first + _line_of_row(text, int(np.searchsorted(indptr, wrong[0], side="right")) - 1)
        raise DataFormatError(f"{label}:{line}: found the label {ids[wrong[0]]:g}, wanted whole numbers from 0")
    n_labels = int(ids.max()) + 1 if ids.size else 1
    Y = sp.csr_array((np.ones(len(ids), np.float32), ids.astype(np.int32), indptr), shape=(X.shape[0], n_labels))
    return sp.csr_array(X), Y


def _bad_line(text: bytes, load: Callable[..., Any], how: dict[str, Any]) -> int:
    """The first line that is no row by itself; from 1."""
    lines = text.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            load(io.BytesIO(line + b"\n"), zero_based=True, **how)
        except (ValueError, OverflowError, IndexError):
            return number
    return len(lines)


def _line_of_row(text: bytes, row: int) -> int:
    """The line, from 1, on which a row stands: blank ones and comments are none."""
    lines = (number for number, line in enumerate(text.split(b"\n"), 1) if line.partition(b"#")[0].strip())
    return next(islice(lines, row, None))


def write_svmlight(file: BinaryIO, X: sp.csr_array, Y: sp.csr_array) -> None:
    """Features count from 0."""
    bare = np.flatnonzero((np.diff(X.indptr) == 0) & (np.diff(Y.indptr) == 0))
    if bare.size:
        raise ValueError(f"row {bare[0]:,}: has neither labels nor features, which SVMlight's empty line cannot say")
    for row in range(X.shape[0]):
        labels = ",".join(map(str, Y.indices[Y.indptr[row] : Y.indptr[row + 1]].tolist()))
        part = slice(X.indptr[row], X.indptr[row + 1])
        pairs = zip(X.indices[part].tolist(), X.data[part], strict=True)
        file.write((labels + "".join(f" {i}:{value!s}" for i, value in pairs) + "\n").encode())
