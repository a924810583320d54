"""Where the data of a command come from: a file, two files, standard input; and the formats that --format names."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import slide
from slide.engine.memory import available_memory
from slide.io import formats
from slide.io.arriving import Arriving
from slide.io.content import Source, opened, read_pieces
from slide.io.parquet import is_matrices
from slide.io.row_blocks import RowBlock, row_blocks, slices

STANDARD_INPUT = "-"
MATRICES = ("xmc", "svmlight", "npz", "parquet")
TABLES = ("csv", "tsv", "jsonl", "parquet", "arrow")
READ_FROM_THE_END = (b"PK", b"PAR1", b"ARROW1")


class _Named(io.BytesIO):
    name = "standard input"


def source_of(name: str) -> Source:
    """What is opened for a name on the command line: ``-`` is standard input, which is read whole, once."""
    if name != STANDARD_INPUT:
        return name
    if sys.stdin is None:
        raise ValueError("standard input: is closed, wanted data")
    stream: Any = _NamedStream(getattr(sys.stdin, "buffer", sys.stdin))
    with opened(stream) as content:
        return _Named(bytes(content.buffer()))


def arriving_source(name: str) -> Source | Arriving:
    """As `source_of`, for what takes data a piece at a time: a pipe is read as it arrives, where its format allows."""
    if name != STANDARD_INPUT:
        if not os.path.exists(name) or os.path.isfile(name) or os.path.isdir(name):
            return name
        return _as_it_arrives(Arriving(open(name, "rb", buffering=0), name, owned=True))
    if sys.stdin is None:
        raise ValueError("standard input: is closed, wanted data")
    return _as_it_arrives(Arriving(getattr(sys.stdin, "buffer", sys.stdin), _Named.name))


def _as_it_arrives(arriving: Arriving) -> Source | Arriving:
    """The stream, or all of it in memory where a file's end says what it holds."""
    if not arriving.head().startswith(READ_FROM_THE_END):
        return arriving
    whole = _Named(bytes(read_pieces(arriving, arriving.name, available_memory())))
    whole.name = arriving.name
    arriving.close()
    return whole


class _NamedStream:
    """Standard input under the name that messages give it; it is not rewound, whatever it is."""

    name = _Named.name

    def __init__(self, stream: Any) -> None:
        self.read = stream.read


def two_files(name: str) -> tuple[str, str] | None:
    """Features and labels, of ``FEATURES,LABELS`` where both are files and the whole is none."""
    features, comma, labels = name.partition(",")
    ok = comma and not os.path.exists(name) and os.path.exists(features) and os.path.exists(labels)
    return (features, labels) if ok else None


def read_matrices(name: str, kind: str | None = None, *, labels: bool = True) -> tuple[Any, Any]:
    """X and Y of a file; Y is None where they are in a file of their own and are not asked for."""
    both = two_files(name)
    if both:
        return slide.read_xmc_pair(*both)
    source = source_of(name)
    return formats.read(source, kind) if labels else formats.read_rows(source, kind)


def read_blocks(name: str, kind: str | None = None) -> Iterator[RowBlock]:
    """Features of a file a block of rows at a time, and how many rows there will be if that can be told."""
    return slices(read_matrices(name)[0]) if two_files(name) else row_blocks(arriving_source(name), kind)


def is_text_table(name: str, kind: str | None = None) -> bool:
    """Whether a file holds a table of text rather than matrices: by --format, its name, or how it begins."""
    if kind is not None and kind != "parquet":
        return kind not in MATRICES
    if name in slide.datasets.names() or name == STANDARD_INPUT:
        return False
    if not os.path.isfile(name):  # which reading it says; a pipe is read once
        return formats.format_of(name) == "table"
    if (kind or formats.format_of(name)) != "parquet":
        return formats.format_of(name) == "table"
    try:
        return not is_matrices(name)
    except slide.DataFormatError:
        return False  # which reading it says again, in its own words


def check_named(name: str) -> None:
    """Raises FileNotFoundError for what is neither a file nor a data set."""
    if name == STANDARD_INPUT or two_files(name):
        return
    if not os.path.exists(name) and os.path.basename(name) == name:
        names = ", ".join(slide.datasets.names())
        raise FileNotFoundError(f"{name}: no such file, and no embedded data set of that name (there are: {names})")


def label(name: str) -> str:
    """What people call it."""
    return _Named.name if name == STANDARD_INPUT else name
