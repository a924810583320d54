"""Texts of a table or of lines a block at a time, as they arrive; whole files: slide/text/tables.py.

Arrow files are read whole and cut afterwards, and so is tsv: whether quotation marks are marks or characters shows at
its end only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from slide.io.arriving import ROWS, Arriving, Lines, at_once, expected_rows, reading, release
from slide.io.content import Content, Source
from slide.text.cells import Columns, csv_blocks, json_blocks
from slide.text.table_files import READERS, kind_in, parquet_blocks, refuse_features
from slide.text.tables import joined, text_columns

WHOLE = ("tsv", "arrow")


class TextBlock(NamedTuple):
    """Texts, what a column calls them if one was asked for, and how many rows there will be, if that can be told."""

    texts: list[str]
    ids: list[Any] | None
    total: int | None


def text_blocks(
    source: Source | Arriving,
    text: str | Sequence[str] | None,
    id_column: str | None = None,
    kind: str | None = None,
    rows: int = ROWS,
) -> Iterator[TextBlock]:
    """What slide.text.tables.read_texts reads, and the cells of id_column, at most so many rows at a time.

    Raises
    ------
    DataFormatError, ValueError
        As there, when that part of the file is met; rows and lines count from the file's beginning.
    """
    names = None if text is None else text_columns(text)
    wanted = names if id_column is None else list(dict.fromkeys([*(names or ()), id_column]))
    with reading(source) as content:
        kind = kind or kind_in(content, wanted)
        if kind is None:
            refuse_features(content)
        if kind not in WHOLE:
            release(source)
        if kind not in READERS:
            if id_column:
                found = f"found texts, one a line, wanted a table with the column {id_column!r}"
                raise ValueError(f"{content.label}: {found}")
            yield from _line_blocks(content, rows)
            return
        if names is None:
            wanted_lines = "wanted texts, one a line: which columns to read is not known"
            raise ValueError(f"{content.label}: found a table, {wanted_lines}")
        first = 0
        for columns, total in _column_blocks(content, wanted, kind, rows):
            texts = joined(columns, names, f"{content.label}: ", first)
            yield TextBlock(texts, None if id_column is None else columns[id_column], total)
            first += len(texts)


def _line_blocks(content: Content, rows: int) -> Iterator[TextBlock]:
    lines, texts, n = Lines(content.file, content.label), [], 0
    for line in lines:
        texts.append(line.rstrip("\r\n"))
        if len(texts) >= rows or lines.waits():
            n += len(texts)
            yield TextBlock(texts, None, expected_rows(content, n))
            texts = []
    if texts:
        yield TextBlock(texts, None, n + len(texts))


def _column_blocks(
    content: Content, wanted: Sequence[str] | None, kind: str, rows: int
) -> Iterator[tuple[Columns, int | None]]:
    """Columns, and how many rows there will be."""
    if kind == "parquet":
        yield from parquet_blocks(content, wanted, rows)
    elif kind in ("csv", "jsonl"):
        lines = Lines(content.file, content.label)
        n = 0
        for columns in _parsed(lines, content.label, wanted, kind, lambda met: met >= rows or lines.waits()):
            n += _n_rows(columns)
            yield columns, expected_rows(content, n)
    else:
        columns = READERS[kind](at_once(content), wanted)
        n = _n_rows(columns)
        for first in range(0, n, rows):
            yield {name: column[first : first + rows] for name, column in columns.items()}, n


def _parsed(
    lines: Lines, label: str, wanted: Sequence[str] | None, kind: str, due: Callable[[int], bool]
) -> Iterator[Columns]:
    if kind == "csv":
        return csv_blocks(lines, label, wanted, due=due)
    return json_blocks(lines, label, wanted, due)


def _n_rows(columns: Columns) -> int:
    return len(next(iter(columns.values()), []))
