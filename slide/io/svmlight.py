"""SVMlight text, as LIBSVM's sets have it: read by scikit-learn (the extra `svmlight`), written here."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from slide.errors import DataFormatError
from slide.io.content import Content
from slide.io.packages import svmlight
from slide.io.xmc import EXCERPT, Pair

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WANTED = "lines 'label,label feature:value ...'"


def read_svmlight(content: Content, zero_based: bool | None = None) -> Pair:
    """X and Y, not checked yet; zero_based as slide.io.formats.read takes it."""
    load = svmlight()
    how: dict[str, Any] = {"multilabel": True, "dtype": np.float32}
    text = bytes(content.buffer()).removeprefix(BYTE_ORDER_MARK)
    try:
        X, labels = load(io.BytesIO(text), zero_based=zero_based is not False, **how)
    except (ValueError, OverflowError, IndexError) as e:
        number = _bad_line(text, load, how)
        found = text.split(b"\n")[number - 1][:EXCERPT].decode("utf-8", "backslashreplace").rstrip("\r")
        raise DataFormatError(f"{content.label}:{number}: found {found!r}, wanted {WANTED} ({e})") from e
    if not X.shape[0]:
        raise DataFormatError(f"{content.label}: found no row, wanted {WANTED}")
    ids = np.array([label for row in labels for label in row], np.float64)
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in labels])])
    wrong = np.flatnonzero((ids < 0) | (ids != np.floor(ids)) | (ids >= 2**31))
    if wrong.size:
        line = _line_of_row(text, int(np.searchsorted(indptr, wrong[0], side="right")) - 1)
        raise DataFormatError(f"{content.label}:{line}: found the label {ids[wrong[0]]:g}, wanted whole numbers from 0")
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
