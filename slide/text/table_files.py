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
from slide.io.arriving import not_utf8
from slide.io.atomic import replacing
from slide.io.content import Content, Source, inner_name, opened
from slide.io.delimited import DELIMITERS, row_as_line
from slide.io.formats import TABLES, format_of_head, format_of_name
from slide.io.mistaken import taken_for
from slide.io.packages import pyarrow
from slide.io.packed import packed
from slide.text.cells import Columns, Table, check_columns, csv_blocks, json_blocks

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
        if wanted and set(wanted) <= _header(line, delimiter):
            return kind
    return None


def _header(line: str, delimiter: str) -> set[str]:
    """Of what may be a header; none in what is no csv."""
    try:
        return set(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return set()


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
            return not_utf8(number, e.start + 1, line[e.start])
    return "found what is no UTF-8 text"


# -- csv, tsv ----------------------------------------------------------------------------------------------------------


def _csv_columns(content: Content, wanted: Sequence[str] | None, delimiter: str = ",") -> Columns:
    with _text(content) as file:
        return next(csv_blocks(file, content.label, wanted, delimiter))


def _tsv_columns(content: Content, wanted: Sequence[str] | None) -> Columns:
    with _text(content) as file:
        header = _cells(next(iter(file), ""))
        if all(QUOTED.fullmatch(name) for name in header):
            header = [_unquoted(name) for name in header]
        wrong = None
        try:
            table = Table(content.label, header, wanted)
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
    with _text(content) as file:
        return next(json_blocks(file, content.label, wanted))


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


def parquet_blocks(content: Content, wanted: Sequence[str] | None, rows: int) -> Iterator[tuple[Columns, int]]:
    """Columns of so many rows at a time, and how many rows there are."""
    ending = Path(content.name).suffix or ".parquet"
    pa = pyarrow(f"{content.label}: {ending} files")
    try:
        file = pa.parquet.ParquetFile(content.file)
        check_columns(wanted, file.schema_arrow.names, f"{content.label}: ")
        names = file.schema_arrow.names if wanted is None else wanted
        for batch in file.iter_batches(rows, columns=list(dict.fromkeys(names))):
            yield {name: batch.column(name).to_pylist() for name in names}, file.metadata.num_rows
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
