"""Rows of features a block at a time, without their labels: of what is read in lines or row groups, as they arrive.

Formats that are read at once only (npz, features and labels in two files) are, and cut afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

import scipy.sparse as sp

from slide.engine.threads import resolve_threads, usable_threads
from slide.io.arriving import ROWS, Arriving, at_once, expected_rows, reading, release
from slide.io.content import Content, Source
from slide.io.formats import checked, kind_in, read_opened
from slide.io.parquet import parquet_blocks
from slide.io.svmlight import svmlight_blocks
from slide.io.xmc_blocks import blocks_of, read_header

#: Features, CSR float32 [n, n_features], and how many rows there will be, as far as that can be told.
RowBlock = tuple[sp.csr_array, int | None]


def row_blocks(source: Source | Arriving, kind: str | None = None, rows: int = ROWS) -> Iterator[RowBlock]:
    """The rows that `slide.io.formats.read` reads, at most so many at a time; none for a file without rows.

    A block is as wide as the file says, or as it needs be where the file does not.

    Raises
    ------
    DataFormatError
        As `read`, when that part of the file is met.
    """
    with reading(source) as content:
        kind = kind_in(content, kind)
        if kind in IN_BLOCKS:
            release(source)
            yield from IN_BLOCKS[kind](content, rows)
            return
        X = read_opened(at_once(content), kind)[0]
    yield from slices(X, rows)


def slices(X: sp.csr_array, rows: int = ROWS) -> Iterator[RowBlock]:
    """What is in memory, in blocks."""
    for first in range(0, X.shape[0], rows):
        yield X[first : first + rows], X.shape[0]


def _xmc(content: Content, rows: int) -> Iterator[RowBlock]:
    header = read_header(content)
    for X, _ in blocks_of(content, header, rows, usable_threads(resolve_threads(None))):
        yield X, header[0]


def _svmlight(content: Content, rows: int) -> Iterator[RowBlock]:
    n = 0
    for pair in svmlight_blocks(content, rows):
        X, _ = checked(content.label, *pair)
        n += X.shape[0]
        yield X, expected_rows(content, n)


def _parquet(content: Content, rows: int) -> Iterator[RowBlock]:
    for pair, total in parquet_blocks(content, rows):
        yield checked(content.label, *pair)[0], total


IN_BLOCKS = {"xmc": _xmc, "svmlight": _svmlight, "parquet": _parquet}
