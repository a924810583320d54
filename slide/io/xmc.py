"""Files in the text format of the extreme classification repository: read_xmc and write_xmc.

Parsing is csrc/parse/xmc.c's (the format is described in csrc/parse/xmc.h) or, where no extension was built,
slide/engine/reference/xmc.py's; both report what is wrong as a Fault, which becomes a sentence here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import check_X, check_Y
from slide.engine.binding import c_core
from slide.engine.threads import resolve_threads, usable_threads
from slide.engine.xmc_fault import MAX_COLUMNS, Buffer, Fault, Kind, Parsed
from slide.errors import DataFormatError
from slide.io.atomic import replacing
from slide.io.content import Content, Source, opened
from slide.io.file_objects import is_file_object
from slide.io.packed import packed

EXCERPT = 40
ROWS_AT_ONCE = 8192
Pair = tuple[sp.csr_array, sp.csr_array]


def read_xmc(
    path: Source,
    *,
    n_threads: int | None = None,
    n_features: int | None = None,
    n_labels: int | None = None,
) -> Pair:
    """Read features and labels from a file in the extreme classification repository's text format.

    Ids count from zero. Rows without labels, without features or without either are kept. Feature ids of a row are
    sorted, values of a repeated feature are added, a repeated label counts once, values written as 0 stay stored.

    Parameters
    ----------
    path : path, or binary file
        Plain text, or packed by gzip, bzip2, xz, zstd or zip, told apart by content, not by name. Text of more than a
        quarter of the available memory is mapped, not copied; then no other process may cut the file short.
    n_threads : int, optional
        Threads that parse; None for as many as this process may use.
    n_features, n_labels : int, optional
        Columns of the results, in place of the header's numbers; ids must be below them.

    Returns
    -------
    X : csr_array of float32, shape [rows, n_features]
    Y : csr_array of float32, shape [rows, n_labels]
        1 where a row has the label. Index arrays are int32, or int64 where a matrix has 2^31 entries or more.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DataFormatError
        The file is malformed; the message names file, line and column, what was found and what was wanted.
    MemoryError
        A packed file expands, or a pipe runs on, to more than half of the available memory; or matrices would not fit.

    Examples
    --------
    >>> import tempfile, slide
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(folder + "/tiny.txt", "w") as file:
    ...         _ = file.write("2 4 3\\n0,2 1:0.5 3:2\\n1 0:1\\n")
    ...     X, Y = slide.read_xmc(folder + "/tiny.txt")
    >>> X.toarray()
    array([[0. , 0.5, 0. , 2. ],
           [1. , 0. , 0. , 0. ]], dtype=float32)
    >>> Y.toarray()
    array([[1., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    n_threads = resolve_threads(n_threads)
    columns = _check_columns(n_features, "n_features"), _check_columns(n_labels, "n_labels")
    with opened(path) as content:
        return read_content(content, n_threads, *columns)


def read_content(content: Content, n_threads: int | None = None, n_features: int = -1, n_labels: int = -1) -> Pair:
    """As read_xmc, of a file that was opened."""
    buffer = content.buffer()
    try:
        return matrices(parse(buffer, usable_threads(resolve_threads(n_threads)), n_features, n_labels))
    except Fault as fault:
        raise DataFormatError(describe(fault, content.label, buffer)) from None


def parse(text: Buffer, n_threads: int, n_features: int = -1, n_labels: int = -1) -> Parsed:
    """What a text with its header says; raises Fault. Columns of -1 are the header's."""
    return _parser()(text, n_threads, n_features, n_labels)


def matrices(parsed: Parsed) -> Pair:
    """X and Y as `read_xmc` returns them."""
    indptr, indices, data, label_indptr, label_indices, n, d, labels = parsed
    X = _csr(data, indices, indptr, (n, d))
    return X, _csr(np.ones(len(label_indices), np.float32), label_indices, label_indptr, (n, labels))


def write_xmc(path: Any, X: Any, Y: Any) -> None:
    """Write features and labels so that read_xmc gives them back exactly; packed if the name ends in .gz, .bz2 or .xz.

    The file appears under its name only when it is complete: an older file survives an error.

    Parameters
    ----------
    path : str, path, or file object opened for writing bytes, which is written to as it is
    X : sparse or dense matrix, shape [rows, features]
        Finite real numbers, taken as float32 and written with as few digits as tell them apart.
    Y : sparse or dense matrix, shape [rows, labels]
        What is not zero is a label.

    Raises
    ------
    ValueError
        Different numbers of rows, values that are not finite, or an ending of another compression.
    OSError
        The file cannot be written.
    """
    X, Y = check_X(X, keep_zeros=True), check_Y(Y)
    if X.shape[0] != Y.shape[0]:
        raise ValueError(f"X and Y: found {X.shape[0]:,} and {Y.shape[0]:,} rows, wanted equal numbers")
    name = "" if is_file_object(path) else os.fsdecode(path)
    with replacing(path) as file, packed(file, name) as stream:
        write_rows(stream, X, Y)


def _check_columns(n: int | None, name: str) -> int:
    if n is None:
        return -1
    if not isinstance(n, int | np.integer) or not 0 <= n <= MAX_COLUMNS:
        raise ValueError(f"{name}: found {n!r}, wanted None or a whole number, 0 to {MAX_COLUMNS:,}")
    return int(n)


def _parser() -> Callable[..., Parsed]:
    core = c_core()
    if core is None:
        from slide.engine.reference.xmc import parse_xmc

        return parse_xmc
    parser: Callable[..., Parsed] = core.parse_xmc
    return parser


def describe(fault: Fault, path: str, buffer: Buffer) -> str:
    """One sentence: where, what was found, what was wanted."""
    raw = bytes(buffer[fault.offset : fault.offset + min(fault.length, EXCERPT)])
    text = repr(raw.decode("utf-8", "backslashreplace").rstrip("\r"))
    if fault.length > EXCERPT:
        text += "..."
    ids = f"0 to {fault.wanted - 1:,}" if fault.wanted else "none"
    sentence = {
        Kind.EMPTY: "the file is empty, wanted a header (rows features labels) and rows",
        Kind.HEADER: f"found {text}, wanted a header of three whole numbers (rows features labels){_two(raw)}",
        Kind.HEADER_RANGE: f"found {text}, wanted at most {MAX_COLUMNS:,} features and labels",
        Kind.ROWS: f"found {fault.found:,} rows, wanted the {fault.wanted:,} that the header {text} promises",
        Kind.LABEL: f"found {text}, wanted a label (whole numbers with commas between, or feature:value)",
        Kind.LABEL_RANGE: f"found label {text}, wanted {ids}",
        Kind.FEATURE: f"found {text}, wanted feature:value",
        Kind.FEATURE_RANGE: f"found feature {text}, wanted {ids}",
        Kind.VALUE: f"found {text}, wanted a feature value",
        Kind.NOT_FINITE: f"found {text}, wanted a finite float32 value",
        Kind.SUM: f"found feature {fault.found:,} several times with a sum beyond float32, wanted a finite one",
    }[fault.kind]
    return f"{path}, line {fault.line:,}, column {fault.column:,}: {sentence}"


def _two(header: bytes) -> str:
    """What a header of two numbers is."""
    words = header.split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return ""
    return "; features and labels in two files, each with a header of two (rows columns): slide.read_xmc_pair"


def _csr(
    data: npt.NDArray[np.float32],
    indices: npt.NDArray[np.int32],
    indptr: npt.NDArray[np.int64],
    shape: tuple[int, int],
) -> sp.csr_array:
    index = np.int32 if len(indices) <= MAX_COLUMNS else np.int64
    matrix = sp.csr_array((data, indices.astype(index, copy=False), indptr.astype(index)), shape=shape)
    matrix.has_canonical_format = True  # sorted, no duplicates: the parsers' promise
    return matrix


def write_rows(file: BinaryIO, X: sp.csr_array, Y: sp.csr_array) -> None:
    """As write_xmc, to an open file."""
    file.write(f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}\n".encode())
    for start in range(0, X.shape[0], ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, X.shape[0])
        file.write(b"".join(_lines(X[start:stop], Y[start:stop])))


def _lines(X: sp.csr_array, Y: sp.csr_array) -> Iterator[bytes]:
    values = X.data.astype("S32").tolist()  # NumPy writes as few digits as tell float32 values apart
    features = [b"%d:%s" % pair for pair in zip(X.indices.tolist(), values, strict=True)]
    labels = [b"%d" % label for label in Y.indices.tolist()]
    x, y = X.indptr.tolist(), Y.indptr.tolist()
    for i in range(X.shape[0]):
        tail = b" ".join(features[x[i] : x[i + 1]])
        head = b",".join(labels[y[i] : y[i + 1]])
        yield head + b" " + tail + b"\n" if tail else head + b"\n"
