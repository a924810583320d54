"""Tables with columns of text and a column of labels: files, data frames, and what behaves like a dict of columns.

csv, tsv and JSON lines are read by Python itself; Parquet and Arrow files by pyarrow, the extra `text`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from slide.checks import is_frame
from slide.datasets import names as dataset_names
from slide.errors import DataFormatError
from slide.estimator.label_doubts import doubt_separator
from slide.text.words import FIELD_SEPARATOR

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather")
CELL_LIMIT = 2**30  # characters of a csv cell; the csv module's own limit is 131,072


class TextTable(NamedTuple):
    """Texts, and for each a label, or a list of labels where cells hold several; None where none were asked for."""

    texts: list[str]
    labels: list[Any] | None


def read_table(
    source: Any, text: str | Sequence[str], labels: str | None = None, *, label_separator: str | None = None
) -> TextTable:
    """The texts and labels of a table.

    Parameters
    ----------
    source : path, data frame, pyarrow table, Hugging Face data set, or dict of columns
        A path ends in .csv, .tsv, .jsonl (each also .gz), .parquet, .arrow or .feather.
    text : str or sequence of str
        Columns of text. Several are put one after another; words on both sides of a border are no pair.
    labels : str or None
        The column of labels: a label a cell, or a list of labels.
    label_separator : str or None
        What stands between the labels of a cell, for instance ",". Spaces around labels are dropped, and a cell without
        text has no label. A warning says so where no cell contains it, and what most contain instead.

    Raises
    ------
    DataFormatError
        For a file that is no such table; names file and row.
    ValueError
        For a column that is not there; names those that are.
    ImportError
        For a Parquet or Arrow file without pyarrow.

    Examples
    --------
    >>> import slide
    >>> rows = {"text": ["a cat", "a dog"], "tags": ["pet, feline", "pet"]}
    >>> slide.read_table(rows, "text", "tags", label_separator=",")
    TextTable(texts=['a cat', 'a dog'], labels=[['pet', 'feline'], ['pet']])
    """
    names = [text] if isinstance(text, str) else list(text)
    if not names:
        raise ValueError("text: found no column, wanted at least one")
    if labels in names:
        raise ValueError(f"labels: found {labels!r}, which is a column of text too, wanted another one")
    wanted = [*names, labels] if labels is not None else names
    columns, where = _columns(source, wanted)
    texts = [_texts(columns[name], name, where) for name in names]
    joined = texts[0] if len(texts) == 1 else [f" {FIELD_SEPARATOR} ".join(row) for row in zip(*texts, strict=True)]
    return TextTable(joined, None if labels is None else _labels(columns[labels], label_separator, labels, where))


def is_table(name: str) -> bool:
    """Whether a file's name is that of a table."""
    return name.removesuffix(".gz").endswith(FORMATS)


# -- columns -----------------------------------------------------------------------------------------------------------


def _columns(source: Any, wanted: list[str]) -> tuple[dict[str, list[Any]], str]:
    """Those columns as lists, and what to call the table in messages."""
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if name in dataset_names():
            raise ValueError(f"{name}: is an embedded data set with two parts: take slide.datasets.load_text")
        return _file_columns(Path(name), wanted), f"{name}: "
    there = list(source.columns) if is_frame(source) else _column_names(source)
    _check_columns(wanted, there, "")
    return {name: _as_list(source[name]) for name in wanted}, ""


def _column_names(source: Any) -> list[str]:
    names = getattr(source, "column_names", None)
    if names is None:
        names = source.keys() if hasattr(source, "keys") else None
    if not isinstance(names, Iterable):
        raise ValueError(f"source: found {type(source).__name__}, wanted a path, a data frame or a dict of columns")
    return list(names)


def _as_list(column: Any) -> list[Any]:
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


def _check_columns(wanted: list[str], there: Sequence[Any], where: str) -> None:
    for name in wanted:
        if name not in there:
            listed = ", ".join(map(repr, there)) or "none"
            raise ValueError(f"{where}found no column {name!r}, wanted one of those there are: {listed}")


def _texts(cells: list[Any], name: str, where: str) -> list[str]:
    """A missing cell is an empty text."""
    texts = ["" if _missing(cell) else cell for cell in cells]
    for row, cell in enumerate(texts):
        if not isinstance(cell, str):
            raise ValueError(f"{where}column {name!r}, row {row + 1:,}: found {cell!r}, wanted text")
    return texts


def _labels(cells: list[Any], separator: str | None, name: str, where: str) -> list[Any]:
    if any(hasattr(cell, "__iter__") and not isinstance(cell, str | bytes) for cell in cells):
        return [[] if _missing(cell) else list(cell) for cell in cells]
    if separator is None:
        for row, cell in enumerate(cells):
            if _missing(cell) or cell == "":
                wanted = "wanted a label; where rows may have none or several, say what separates them"
                raise ValueError(f"{where}column {name!r}, row {row + 1:,}: found no label, {wanted}")
        return cells
    if separator == "":
        raise ValueError("label_separator: found '', wanted at least one character")
    texts = ["" if _missing(cell) else str(cell) for cell in cells]
    doubt_separator(texts, separator, f"{where}column {name!r}: ")
    split = [text.split(separator) for text in texts]
    return [[label.strip() for label in row if label.strip()] for row in split]


def _missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell) or type(cell).__name__ in ("NAType", "NaTType")


# -- files -------------------------------------------------------------------------------------------------------------


def _file_columns(path: Path, wanted: list[str]) -> dict[str, list[Any]]:
    kind = Path(path.name.removesuffix(".gz")).suffix
    if kind in (".parquet", ".arrow", ".feather"):
        return _arrow_columns(path, kind, wanted)
    if kind in (".csv", ".tsv"):
        return _csv_columns(path, "\t" if kind == ".tsv" else ",", wanted)
    if kind in (".jsonl", ".ndjson"):
        return _json_columns(path, wanted)
    raise DataFormatError(f"{path}: found the ending {path.suffix!r}, wanted one of {', '.join(FORMATS)}")


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """Text in UTF-8; what is not, or is cut short, is named."""
    raw = gzip.open(path) if path.name.endswith(".gz") else open(path, "rb")  # noqa: SIM115
    with raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
        try:
            yield file
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as e:
            raise DataFormatError(f"{path}: found what is no UTF-8 text, or cut short ({e})") from e


def _csv_columns(path: Path, delimiter: str, wanted: list[str]) -> dict[str, list[Any]]:
    before = csv.field_size_limit(CELL_LIMIT)
    try:
        with _opened(path) as file:
            rows = csv.reader(file, delimiter=delimiter, strict=True)
            header = next(rows, [])
            _check_columns(wanted, header, f"{path}: ")
            places = {name: header.index(name) for name in wanted}
            columns: dict[str, list[Any]] = {name: [] for name in wanted}
            for row in rows:
                if len(row) != len(header):
                    found, expected = f"{len(row)} cells", f"the {len(header)} of the header"
                    raise DataFormatError(f"{path}: line {rows.line_num:,}: found {found}, wanted {expected}")
                for name, at in places.items():
                    columns[name].append(row[at])
            return columns
    except csv.Error as e:
        raise DataFormatError(f"{path}: line {rows.line_num:,}: {e}") from e
    finally:
        csv.field_size_limit(before)


def _json_columns(path: Path, wanted: list[str]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except ValueError as e:
                raise DataFormatError(f"{path}: line {number:,}: found no JSON ({e})") from e
            if not isinstance(row, dict):
                raise DataFormatError(f"{path}: line {number:,}: found {type(row).__name__}, wanted a JSON object")
            _check_columns(wanted, list(row), f"{path}: line {number:,}: ")
            for name in wanted:
                columns[name].append(row[name])
    return columns


def _arrow_columns(path: Path, kind: str, wanted: list[str]) -> dict[str, list[Any]]:
    try:
        import pyarrow as pa
        import pyarrow.feather
        import pyarrow.parquet
    except ImportError as e:
        raise ImportError(f"{path}: {kind} files need pyarrow: pip install 'slide-xmc[text]'") from e
    with open(path, "rb"):
        pass  # a missing file is Python's error, which names it
    try:
        if kind == ".parquet":
            there = pyarrow.parquet.read_schema(path).names
        else:
            table = _read_arrow(path)
            there = table.column_names
        _check_columns(wanted, there, f"{path}: ")
        if kind == ".parquet":
            table = pyarrow.parquet.read_table(path, columns=list(dict.fromkeys(wanted)))
        return {name: table[name].to_pylist() for name in wanted}
    except (pa.ArrowException, OSError) as e:
        raise DataFormatError(f"{path}: found no {kind} table ({e})") from e


def _read_arrow(path: Path) -> Any:
    """An Arrow file, or a stream, which is what Hugging Face data sets are stored as."""
    import pyarrow as pa
    import pyarrow.feather

    try:
        return pyarrow.feather.read_table(path)
    except pa.ArrowInvalid:
        with pa.memory_map(os.fspath(path)) as file:
            return pa.ipc.open_stream(file).read_all()
