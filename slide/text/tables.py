"""Tables with columns of text and a column of labels: files, data frames, and what behaves like a dict of columns.

Files are slide/text/table_files.py's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from slide.datasets import names as dataset_names
from slide.estimator.label_doubts import doubt_separator
from slide.frames import is_frame
from slide.io.content import Source, label_of
from slide.text.cells import check_columns
from slide.text.table_files import kind_of_name, read_columns, read_columns_or_lines
from slide.text.words import FIELD_SEPARATOR


class TextTable(NamedTuple):
    """Texts, and for each a label, or a list of labels where cells hold several; None where none were asked for."""

    texts: list[str]
    labels: list[Any] | None


def read_table(
    source: Any,
    text: str | Sequence[str],
    labels: str | None = None,
    *,
    label_separator: str | None = None,
    kind: str | None = None,
) -> TextTable:
    """The texts and labels of a table.

    Parameters
    ----------
    source : path, binary file, data frame, pyarrow table, Hugging Face data set, or dict of columns
        Of files the ending says what they are: .csv, .tsv, .jsonl, .parquet, .arrow or .feather, in upper or lower
        case, and packed or not (.gz, .bz2, .xz, .zst, .zip); else how they begin. A .tsv file is not quoted unless it
        plainly is: a quotation mark at the start of a cell is a character like others.
    text : str or sequence of str
        Columns of text. Several are put one after another; words on both sides of a border are no pair.
    labels : str or None
        The column of labels: a label a cell, or a list of labels.
    label_separator : str or None
        What stands between the labels of a cell, for instance ",". Spaces around labels are dropped, and a cell without
        text has no label. A warning says so where no cell contains it, and what most contain instead.
    kind : {"csv", "tsv", "jsonl", "parquet", "arrow", None}
        Of a file. None: by its ending, or by how it begins.

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
    names = text_columns(text)
    if labels in names:
        raise ValueError(f"labels: found {labels!r}, which is a column of text too, wanted another one")
    wanted = [*names, labels] if labels is not None else names
    columns, where = _columns(source, wanted, kind)
    return TextTable(
        joined(columns, names, where),
        None if labels is None else _labels(columns[labels], label_separator, labels, where),
    )


def read_texts(source: Source, text: str | Sequence[str] | None, *, kind: str | None = None) -> list[str]:
    """Texts of a file: of a table's columns of text, or of what is no table a text a line.

    Parameters
    ----------
    source : path, or binary file
    text : str, sequence of str, or None
        Columns of text, as read_table takes them. None: they are not known, and a table is refused.
    kind : {"csv", "tsv", "jsonl", "parquet", "arrow", "lines", None}
        None: a table by its ending, or where the first line names those columns; else lines.

    Raises
    ------
    DataFormatError
        For what is neither; names file and row.
    ValueError
        For a column that is not there.
    """
    names = None if text is None else text_columns(text)
    found = read_columns_or_lines(source, names, kind)
    if isinstance(found, list):
        return found
    label = label_of(source)
    if names is None:
        raise ValueError(f"{label}: found a table, wanted texts, one a line: which columns to read is not known")
    return joined(found, names, f"{label}: ")


def text_columns(text: str | Sequence[str]) -> list[str]:
    """Columns of text as a list; ValueError for none."""
    names = [text] if isinstance(text, str) else list(text)
    if not names:
        raise ValueError("text: found no column, wanted at least one")
    return names


def joined(columns: Mapping[str, list[Any]], names: Sequence[str], where: str, first: int = 0) -> list[str]:
    """The texts of rows before which so many stand in their table; where begins what is said of a cell without text."""
    texts = [_texts(columns[name], name, where, first) for name in names]
    return texts[0] if len(texts) == 1 else [f" {FIELD_SEPARATOR} ".join(row) for row in zip(*texts, strict=True)]


def is_table(name: str) -> bool:
    """Whether a file's name is that of a table."""
    return kind_of_name(name) is not None


# -- columns -----------------------------------------------------------------------------------------------------------


def _columns(source: Any, wanted: list[str], kind: str | None) -> tuple[dict[str, list[Any]], str]:
    """Those columns as lists, and what to call the table in messages."""
    if isinstance(source, str | os.PathLike) or hasattr(source, "read"):
        name = label_of(source)
        if name in dataset_names():
            raise ValueError(f"{name}: is an embedded data set with two parts: take slide.datasets.load_text")
        return read_columns(source, wanted, kind), f"{name}: "
    there = list(source.columns) if is_frame(source) else _column_names(source)
    check_columns(wanted, there, "")
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


def _texts(cells: list[Any], name: str, where: str, first: int) -> list[str]:
    """A missing cell is an empty text."""
    texts = ["" if _missing(cell) else cell for cell in cells]
    for row, cell in enumerate(texts, first + 1):
        if not isinstance(cell, str):
            raise ValueError(f"{where}column {name!r}, row {row:,}: found {cell!r}, wanted text")
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
