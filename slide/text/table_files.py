"""Files with tables: csv, tsv and JSON lines by Python itself, Parquet and Arrow by pyarrow (the extra `text`).

A csv file is quoted as RFC 4180 says. A tsv file is not: a line is a row, a tab ends a cell, and a quotation mark is a
character like others. It is taken for quoted only where it plainly is: if all cells that begin with a quotation mark
also end with theirs on the same line, the marks are taken off; and if lines are no rows of equal length but quoted
cells make such rows, none of which holds both tabs and line breaks, these are the cells.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

from slide.errors import DataFormatError
from slide.io.atomic import replacing
from slide.io.content import Content, Source, inner_name, opened
from slide.io.delimited import DELIMITERS, row_as_line
from slide.io.formats import TABLES, format_of_head, format_of_name
from slide.io.mistaken import taken_for
from slide.io.packages import pyarrow
from slide.io.packed import packed

Columns = dict[str, list[Any]]
KINDS = {
    **{end: end[1:] for end in TABLES},
    ".ndjson": "jsonl",
    ".feather": "arrow",
}
FEATURES = {
    "xmc": "XMC text",
    "pair": "XMC text in two files",
    "svmlight": "SVMlight",
    "npz": "npz",
    "table": "a table",
}
BINARY = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
CELL_LIMIT = 2**30  # characters of a csv cell; the csv module's own limit is 131,072
QUOTED = re.compile(r'"(?:[^"]|"")*"')


def kind_of_name(name: str) -> str | None:
    """The kind of a table that a file's ending says, in upper or lower case, whatever it is packed in."""
    return KINDS.get(Path(inner_name(name)).suffix)


def read_columns(source: Source, wanted: Sequence[str] | None = None, kind: str | None = None) -> Columns:
    """Columns of a file by name; wanted None: all of them. kind: "csv", "tsv", "jsonl", "parquet", "arrow", or None.

    Raises
    ------
    DataFormatError
        For what is no such table; names file, line or row.
    ValueError
        For a column that is not there; names those that are.
    """
    with opened(source) as content:
        kind = kind or kind_in(content, wanted)
        if kind is None:
            refuse_features(content, "a table of text")
            ending = Path(content.name).suffix
            found = f"the ending {ending!r}" if ending else f"no header with {', '.join(map(repr, wanted or ()))}"
            raise DataFormatError(f"{content.label}: found {found}, wanted one of {', '.join(TABLES)}")
        return READERS[kind](content, wanted)


def read_columns_or_lines(source: Source, wanted: Sequence[str] | None, kind: str | None = None) -> Columns | list[str]:
    """As read_columns; and of what is no table, a text a line. kind may be "lines" too.

    Raises
    ------
    DataFormatError
        As read_columns, and for rows of features.
    """
    with opened(source) as content:
        kind = kind or kind_in(content, wanted)
        if kind is None:
            refuse_features(content)
        return READERS[kind](content, wanted) if kind in READERS else _lines(content)


def refuse_features(content: Content, wanted: str = "a table of text, or a text a line") -> None:
    """Raises DataFormatError for what by its name or beginning is no text, but rows of features."""
    if found := taken_for(content.head(), may_be_text=False):
        raise DataFormatError(f"{content.label}: found {found}, wanted {wanted}")
    named = format_of_name(content.name)
    kind = named if named not in (None, "xmc") else format_of_head(content.head())
    if kind is not None:
        found = f"rows of features ({FEATURES[kind]})"
        raise DataFormatError(f"{content.label}: found {found}, wanted {wanted}")


def kind_in(content: Content, wanted: Sequence[str] | None) -> str | None:
    """The kind of a table by its name, else by how it begins: with a mark, an object, or a header of those columns."""
    kind = kind_of_name(content.name)
    if kind is not None:
        return kind
    head = content.head()
    for mark, kind in BINARY.items():
        if head.startswith(mark):
            return kind
    if re.match(rb"\s*{", head):
        return "jsonl"
    if re.match(rb"\s*\[\s*{", head):
        raise DataFormatError(f"{content.label}: found a JSON array, wanted JSON lines: an object a line")
    line = head.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")
    for kind, delimiter in DELIMITERS.items():
        if wanted and set(wanted) <= set(next(csv.reader([line], delimiter=delimiter), [])):
            return kind
    return None


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


def read_lines(source: Source) -> list[str]:
    """A text a line, blank ones too: what is made of them belongs to lines by their number."""
    with opened(source) as content:
        return _lines(content)


def _lines(content: Content) -> list[str]:
    with _text(content) as file:
        return [line.rstrip("\r\n") for line in file]


@contextmanager
def _text(content: Content) -> Iterator[IO[str]]:
    """Text in UTF-8; what is not is named."""
    file = io.TextIOWrapper(content.file, encoding="utf-8-sig", newline="")
    try:
        yield file
    except UnicodeDecodeError as e:
        raise DataFormatError(f"{content.label}: {_not_utf8(content)}") from e
    finally:
        with suppress(ValueError):
            file.detach()  # or the file below would be closed


def _not_utf8(content: Content) -> str:
    """Where the first byte stands that is no UTF-8."""
    content.rewind()
    for number, line in enumerate(content.file, 1):
        try:
            line.decode()
        except UnicodeDecodeError as e:
            found = f"the byte 0x{line[e.start]:02x}, which is no UTF-8"
            return f"line {number:,}, column {e.start + 1:,}: found {found}, wanted text saved as UTF-8"
    return "found what is no UTF-8 text"


# -- csv, tsv ----------------------------------------------------------------------------------------------------------


class _Table:
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

    def wrong(self, line: int, row: Sequence[str]) -> DataFormatError:
        """What to say of a row of other length."""
        found = f"{len(row)} {'cell' if len(row) == 1 else 'cells'}"
        mark = "; a quotation mark begins a cell there" if any(cell.startswith('"') for cell in row) else ""
        return DataFormatError(
            f"{self.label}: line {line:,}: found {found}, wanted the {self.width} of the header{mark}"
        )


def _csv_columns(content: Content, wanted: Sequence[str] | None, delimiter: str = ",") -> Columns:
    before = csv.field_size_limit(CELL_LIMIT)
    start = 1
    try:
        with _text(content) as file:
            rows = csv.reader(file, delimiter=delimiter, strict=True)
            table = _Table(content.label, next(rows, []), wanted)
            start = rows.line_num + 1
            for row in rows:
                if not table.add(row):
                    raise table.wrong(start, row)
                if delimiter == "\t" and any("\t" in cell and "\n" in cell for cell in row):
                    raise csv.Error("a quoted cell holds tabs and line breaks")
                start = rows.line_num + 1
            return table.columns
    except csv.Error as e:
        raise DataFormatError(f"{content.label}: {_said(e, start, rows.line_num)}") from e
    finally:
        csv.field_size_limit(before)


def _said(error: csv.Error, start: int, line: int) -> str:
    """What the csv module found wrong, with the line where the row begins: its quotation mark may swallow others."""
    if str(error) == "unexpected end of data":
        found = "found a quotation mark that is not closed before the end of the file"
        return f"line {start:,}: {found}, wanted its pair (inside a quoted cell a quotation mark is written twice)"
    opened_on = f" (a quotation mark was opened in the row that begins on line {start:,})" if start < line else ""
    return f"line {line:,}: {error}{opened_on}"


def _tsv_columns(content: Content, wanted: Sequence[str] | None) -> Columns:
    with _text(content) as file:
        header = _cells(next(iter(file), ""))
        if all(QUOTED.fullmatch(name) for name in header):
            header = [_unquoted(name) for name in header]
        wrong = None
        try:
            table = _Table(content.label, header, wanted)
        except ValueError as e:
            wrong = e
        else:
            for number, line in enumerate(file, 2):
                row = _cells(line)
                if not table.add(row):
                    wrong = table.wrong(number, row)
                    break
    if wrong is not None:
        content.rewind()
        try:
            return _csv_columns(content, wanted, "\t")
        except ValueError:
            raise wrong from None
    cells = [cell for column in table.columns.values() for cell in column if cell.startswith('"')]
    if cells and all(map(QUOTED.fullmatch, cells)):
        return {name: [_unquoted(cell) for cell in column] for name, column in table.columns.items()}
    return table.columns


def _cells(line: str) -> list[str]:
    line = line.rstrip("\r\n")
    return line.split("\t") if line else []


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell


# -- JSON lines, Parquet, Arrow ----------------------------------------------------------------------------------------


def _json_columns(content: Content, wanted: Sequence[str] | None) -> Columns:
    columns: Columns | None = None
    with _text(content) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as e:
                raise DataFormatError(f"{content.label}: line {number:,}: found no JSON ({e})") from e
            if not isinstance(row, dict):
                found = type(row).__name__
                raise DataFormatError(f"{content.label}: line {number:,}: found {found}, wanted a JSON object")
            if columns is None:
                columns = {name: [] for name in (row if wanted is None else wanted)}
            check_columns(list(columns), list(row), f"{content.label}: line {number:,}: ")
            for name, column in columns.items():
                column.append(row[name])
    return columns or {name: [] for name in wanted or ()}


def _arrow_columns(content: Content, wanted: Sequence[str] | None) -> Columns:
    return _by_pyarrow(content, "arrow", wanted)


def _parquet_columns(content: Content, wanted: Sequence[str] | None) -> Columns:
    return _by_pyarrow(content, "parquet", wanted)


def _by_pyarrow(content: Content, kind: str, wanted: Sequence[str] | None) -> Columns:
    ending = Path(content.name).suffix or f".{kind}"
    pa = pyarrow(f"{content.label}: {ending} files")
    try:
        if kind == "parquet":
            file = pa.parquet.ParquetFile(content.file)
            there = file.schema_arrow.names
            check_columns(wanted, there, f"{content.label}: ")
            table = file.read(columns=None if wanted is None else list(dict.fromkeys(wanted)))
        else:
            table = _read_arrow(content, pa)
            there = table.column_names
            check_columns(wanted, there, f"{content.label}: ")
        return {name: table[name].to_pylist() for name in (there if wanted is None else wanted)}
    except (pa.ArrowException, OSError) as e:
        raise DataFormatError(f"{content.label}: found no {ending} table ({e})") from e


def _read_arrow(content: Content, pa: Any) -> Any:
    """An Arrow file, or a stream, which is what Hugging Face data sets are stored as."""
    try:
        return pa.feather.read_table(content.file)
    except pa.ArrowInvalid:
        content.rewind()
        return pa.ipc.open_stream(content.file).read_all()


READERS = {
    "csv": _csv_columns,
    "tsv": _tsv_columns,
    "jsonl": _json_columns,
    "parquet": _parquet_columns,
    "arrow": _arrow_columns,
}


# -- writing -----------------------------------------------------------------------------------------------------------


def write_columns(path: Path, columns: Mapping[str, Sequence[Any]], kind: str) -> None:
    """A table as a file of that kind, packed as its ending says; it appears when it is complete.

    Raises
    ------
    ValueError
        For cells that hold lists, in a kind that has none.
    """
    if kind in DELIMITERS:
        for name, column in columns.items():
            for row, cell in enumerate(column):
                if isinstance(cell, list | dict):
                    found = f"column {name!r}, row {row + 1:,}: found {cell!r}"
                    raise ValueError(
                        f"{path}: {found}, wanted text or numbers: lists go into .jsonl, .parquet or .arrow"
                    )
    with replacing(path) as file, packed(file, path.name) as stream:
        if kind in ("parquet", "arrow"):
            pa = pyarrow(f"{path}: {path.suffix} files")
            table = pa.table(dict(columns))
            pa.parquet.write_table(table, stream) if kind == "parquet" else pa.feather.write_feather(table, stream)
            return
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        names, rows = list(columns), zip(*columns.values(), strict=True)
        if kind == "jsonl":
            lines = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=str) for row in rows)
            text.writelines(f"{line}\n" for line in lines)
        else:
            text.writelines(row_as_line(row, kind) for row in chain([names], rows))
        text.flush()
        text.detach()
