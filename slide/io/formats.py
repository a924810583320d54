"""Data files by their names or their first bytes: XMC text in one file or two, SVMlight, npz, Parquet.

Each format is read and written in a file of its own beside this one; what files are packed in is slide/io/content.py's.
Tables of text are not read here but in slide/text/table_files.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import scipy.sparse as sp

from slide.checks import check_pair, check_X, check_Y
from slide.engine.xmc_fault import MAX_COLUMNS
from slide.errors import DataFormatError
from slide.io.atomic import replacing
from slide.io.content import Content, Source, damaged, inner_name, label_of, opened
from slide.io.file_objects import is_file_object
from slide.io.mistaken import taken_for
from slide.io.npz import is_scipy, read_npz, write_npz
from slide.io.packed import packed
from slide.io.parquet import read_parquet, write_parquet
from slide.io.svmlight import read_svmlight, write_svmlight
from slide.io.xmc import Pair, read_content, write_rows
from slide.io.xmc_pair import is_part, read_part, with_labels

#: Endings of tables of text (slide/text/table_files.py); .parquet may hold either.
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather")
ROW = re.compile(rb"[+-]?[\d.]+(?:,[+-]?[\d.]+)*[ \t]+\d+:\S+|[ \t]+\d+:\S+|\d+:\S+[ \t]+\d+:\S+")  # of SVMlight


def format_of(path: Source) -> str:
    """The name of a file's format: "xmc", "pair" (XMC in two files), "svmlight", "npz", "parquet", or "table" of text.

    By its ending, in upper or lower case and without those of compressions, and by its first bytes where the ending
    says nothing; XMC text where neither does.
    """
    if isinstance(path, str | os.PathLike) and not Path(path).is_file():
        return format_of_name(inner_name(label_of(path))) or "xmc"  # of a pipe nothing is taken before it is read
    with opened(path) as content:
        return _format_in(content)


def format_of_name(name: str) -> str | None:
    """The format that an ending says; None where it says none."""
    if name.endswith(tuple(end for end in TABLES if end != ".parquet")):
        return "table"
    return next((kind for kind, how in FORMATS.items() if how.endings and name.endswith(how.endings)), None)


def format_of_head(head: bytes) -> str | None:
    """The format whose files begin like this; None where none does."""
    if head.startswith(b"PK\x03\x04"):
        return "npz"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")) or re.match(rb"\s*{\s*\"", head):
        return "table"
    line = head.partition(b"\n")[0].strip(b"\r")
    if re.fullmatch(rb"[ \t]*\d+[ \t]+\d+[ \t]+\d+[ \t]*", line):
        return "xmc"
    if is_part(head):
        return "pair"
    return "svmlight" if ROW.match(line) else None


def _format_in(content: Content) -> str:
    """By name, then by content: .txt says no more than text, .npz no more than arrays."""
    named = format_of_name(content.name)
    found = named if named not in (None, "xmc") else format_of_head(content.head()) or "xmc"
    if found == "npz" and is_scipy(content):
        return "pair"
    return found if named != "xmc" or found == "pair" else "xmc"


def read(path: Source, kind: str | None = None, *, zero_based: bool | None = None) -> Pair:
    """Rows and labels of a file in any format.

    Parameters
    ----------
    path : path, or binary file
        Packed or not: gzip, bzip2, xz, zstd, or a zip archive of one file, told apart by content. Of two files, the one
        with the features; the labels' is beside it (slide.read_xmc_pair).
    kind : {"xmc", "pair", "svmlight", "npz", "parquet", None}
        None: by the file's ending, then by its content.
    zero_based : bool or None
        Whether features of an SVMlight file count from 0, which is what None means: files of one data set must agree,
        and whether a 0 is met says nothing of the others. With False, feature 0 is an error.

    Returns
    -------
    X : CSR float32 [n, n_features]; Y : CSR float32 indicator [n, n_labels]

    Raises
    ------
    DataFormatError
        For what is not of that format; names the file, and the line or row where there is one.
    ImportError
        If the format needs a package that is not installed.
    """
    X, Y = read_rows(path, kind, zero_based=zero_based)
    return with_labels(path, X, None) if Y is None else (X, Y)


def read_rows(
    path: Source, kind: str | None = None, *, zero_based: bool | None = None
) -> tuple[sp.csr_array, sp.csr_array | None]:
    """As `read`, with None for labels that are in a file of their own."""
    if zero_based is not None and (kind or format_of(path)) != "svmlight":
        raise ValueError(f"{label_of(path)}: features count from 1 or 0 in SVMlight files only")
    with opened(path) as content:
        return read_opened(content, kind_in(content, kind), zero_based)


def kind_in(content: Content, kind: str | None = None) -> str:
    """The format of a file that was opened: kind, or what it looks like; DataFormatError for no rows of features."""
    kind = kind or _format_in(content)
    if kind == "table":
        wanted = "rows of features; texts are read by slide.read_table, and on the command line with --text"
        raise DataFormatError(f"{content.label}: found a table, wanted {wanted}")
    if kind == "xmc" and (found := taken_for(content.head())):
        raise DataFormatError(f"{content.label}: found {found}, wanted rows of features, as {', '.join(FORMATS)}")
    return kind


def read_opened(
    content: Content, kind: str, zero_based: bool | None = None
) -> tuple[sp.csr_array, sp.csr_array | None]:
    """As `read_rows`, of a file that was opened, in a format that is known."""
    if kind == "pair":
        return read_part(content), None
    if kind == "xmc":
        return read_content(content)  # whose parser has checked it
    pair = read_svmlight(content, zero_based) if kind == "svmlight" else FORMATS[kind].read(content)
    return checked(content.label, *pair)


def write(path: Any, X: Any, Y: Any, kind: str | None = None) -> None:
    """Writes rows and labels, packed where the name ends in .gz, .bz2 or .xz; the file appears when it is complete.

    path : or a file object opened for writing bytes, which is written to as it is: in XMC text, unless kind says more
    """
    X, Y = check_X(X, keep_zeros=True), check_Y(Y)
    check_pair(X, Y)
    name = "" if is_file_object(path) else os.fsdecode(path)
    kind = kind or format_of_name(inner_name(name)) or "xmc"
    if kind == "table":
        raise ValueError(f"{name}: found the ending of a table of text, wanted one of {', '.join(FORMATS)}")
    if kind in ("npz", "parquet") and inner_name(name) != Path(name).name.lower():
        raise ValueError(
            f"{name}: found {Path(name).suffix!r}, wanted no such ending: {kind} files are compressed already"
        )
    with replacing(path) as file, packed(file, name) as stream:
        FORMATS[kind].write(stream, X, Y)


class Format(NamedTuple):
    """How files with some endings are read and written."""

    endings: tuple[str, ...]
    read: Callable[[Content], Pair]
    write: Callable[[BinaryIO, sp.csr_array, sp.csr_array], None]


FORMATS: dict[str, Format] = {
    "svmlight": Format((".svm", ".libsvm", ".svmlight"), read_svmlight, write_svmlight),
    "npz": Format((".npz",), read_npz, write_npz),
    "parquet": Format((".parquet",), read_parquet, write_parquet),
    "xmc": Format((".txt",), read_content, write_rows),
}


def checked(label: str, X: sp.csr_array, Y: sp.csr_array) -> Pair:
    """X and Y as they were read by others, in the types that are promised; DataFormatError for what has none."""
    with damaged(label):
        X, Y = check_X(X, keep_zeros=True), check_Y(Y)
        if X.shape[0] != Y.shape[0]:
            raise ValueError(f"found {X.shape[0]:,} rows and labels of {Y.shape[0]:,}")
        if max(X.shape[1], Y.shape[1]) > MAX_COLUMNS:
            raise ValueError(f"found {max(X.shape[1], Y.shape[1]):,} columns, wanted {MAX_COLUMNS:,} at most")
    return X, Y
