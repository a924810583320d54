"""Rows of csv and JSON lines as columns: of all lines of a file, or a block at a time (slide/text/table_blocks.py).

What tsv files are, and how a file's kind is told: slide/text/table_files.py.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from slide.errors import DataFormatError

Columns = dict[str, list[Any]]
#: Asked after each row with how many there are: whether they are to be given as a block.
Due = Callable[[int], bool]
CELL_LIMIT = 2**30  # characters of a csv cell; the csv module's own limit is 131,072


def check_columns(wanted: Sequence[str] | None, there: Sequence[Any], where: str) -> None:
    """Raises ValueError for a column that is not there, or there twice."""
    for name in wanted or ():
        if name not in there:
            listed = ", ".join(map(repr, there)) or "none, the file is empty"
            found = f"{where}found no column {name!r}, wanted one of those there are: {listed}"
            raise ValueError(found + _other_separator(name, there))
        if list(there).count(name) > 1:
            raise ValueError(f"{where}found the column {name!r} twice, wanted names that tell columns apart")


def _other_separator(name: str, there: Sequence[Any]) -> str:
    """What separates the cells, where the header is one cell because something else does."""
    header = str(there[0]) if len(there) == 1 else ""
    found = next((mark for mark in ";\t|," if name in header.split(mark)), None)
    return "" if found is None else f"; cells seem to be separated by {found!r}, wanted ',' (in .tsv a tab)"


class Table:
    """Cells under their columns, as rows come."""

    def __init__(self, label: str, header: Sequence[str], wanted: Sequence[str] | None) -> None:
        self.label, self.width = label, len(header)
        wanted = header if wanted is None else wanted
        check_columns(wanted, header, f"{label}: ")
        self.places = {name: list(header).index(name) for name in wanted}
        self.columns: Columns = {name: [] for name in wanted}
        self._blank = 0  # lines since the last row

    def add(self, row: Sequence[str]) -> bool:
        """Whether it is a row, or blank: blank lines are rows between others of a single cell, and nowhere else."""
        if len(row) <= 1 and not "".join(row).strip() and (self.width > 1 or not row):
            self._blank += self.width == 1
            return True
        if len(row) != self.width:
            return False
        for name, at in self.places.items():
            self.columns[name] += [""] * self._blank
            self.columns[name].append(row[at])
        self._blank = 0
        return True

    def take(self) -> Columns:
        """The rows so far, which are forgotten."""
        taken, self.columns = self.columns, {name: [] for name in self.columns}
        return taken

    @property
    def n_rows(self) -> int:
        """Since they were last taken."""
        return len(next(iter(self.columns.values()), []))

    def wrong(self, line: int, row: Sequence[str]) -> DataFormatError:
        """What to say of a row of other length."""
        found = f"{len(row)} {'cell' if len(row) == 1 else 'cells'}"
        mark = "; a quotation mark begins a cell there" if any(cell.startswith('"') for cell in row) else ""
        return DataFormatError(
            f"{self.label}: line {line:,}: found {found}, wanted the {self.width} of the header{mark}"
        )


def csv_blocks(
    lines: Iterator[str], label: str, wanted: Sequence[str] | None, delimiter: str = ",", due: Due | None = None
) -> Iterator[Columns]:
    """Columns of a csv file's lines; the last block is what is left, and may be empty. due None: all at once."""
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    start = 1
    try:
        with _long_cells():
            table = Table(label, next(rows, []), wanted)
            start = rows.line_num + 1
            for row in rows:
                if not table.add(row):
                    raise table.wrong(start, row)
                if delimiter == "\t" and any("\t" in cell and "\n" in cell for cell in row):
                    raise csv.Error("a quoted cell holds tabs and line breaks")
                start = rows.line_num + 1
                if due and due(table.n_rows):
                    yield table.take()
    except csv.Error as e:
        raise DataFormatError(f"{label}: {_said(e, start, rows.line_num)}") from e
    yield table.take()


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(CELL_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _said(error: csv.Error, start: int, line: int) -> str:
    """What the csv module found wrong, with the line where the row begins: its quotation mark may swallow others."""
    if str(error) == "unexpected end of data":
        found = "found a quotation mark that is not closed before the end of the file"
        return f"line {start:,}: {found}, wanted its pair (inside a quoted cell a quotation mark is written twice)"
    opened_on = f" (a quotation mark was opened in the row that begins on line {start:,})" if start < line else ""
    return f"line {line:,}: {error}{opened_on}"


def json_blocks(
    lines: Iterator[str], label: str, wanted: Sequence[str] | None, due: Due | None = None
) -> Iterator[Columns]:
    """Columns of JSON lines, as `csv_blocks` gives them."""
    columns: Columns | None = None
    n = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _object(line, f"{label}: line {number:,}: ")
        if columns is None:
            columns = {name: [] for name in (row if wanted is None else wanted)}
        check_columns(list(columns), list(row), f"{label}: line {number:,}: ")
        for name, column in columns.items():
            column.append(row[name])
        n += 1
        if due and due(n):
            yield columns
            columns, n = {name: [] for name in columns}, 0
    yield columns or {name: [] for name in wanted or ()}


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as e:
        raise DataFormatError(f"{where}found no JSON ({e})") from e
    if not isinstance(row, dict):
        raise DataFormatError(f"{where}found {type(row).__name__}, wanted a JSON object")
    return row
