"""Tables in files: what a quotation mark means in each kind, blank lines, rows and columns that do not fit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import slide
from slide.text.table_files import read_columns, write_columns
from slide.text.tables import read_texts


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(text: str, name: str = "t.tsv") -> Path:
        (tmp_path / name).write_bytes(text.encode())
        return tmp_path / name

    return write


SPEECH = 'text\tlabel\n"We came early.\tarrival\nIt was raining.\tweather\nThen we left."\tdeparture\nThe end.\tother\n'


def test_a_speech_over_several_rows_of_tsv_swallows_none(file: Any) -> None:
    texts, labels = slide.read_table(file(SPEECH), "text", "label")
    assert texts == ['"We came early.', "It was raining.", 'Then we left."', "The end."]
    assert labels == ["arrival", "weather", "departure", "other"]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('text\tn\n"\t1\nx\t2\n"\t3\n', ['"', "x", '"']),
        ('text\tn\n5" disk\t1\n"a" and "b"\t2\n', ['5" disk', '"a" and "b"']),
        ('text\tn\n"a"\t1\n"b\t2\n', ['"a"', '"b']),  # one cell is not closed: none is quoted
        ('text\tn\n"a"\t1\n"say ""b"""\t2\nc\t3\n', ["a", 'say "b"', "c"]),
        ('"text"\t"n"\n"a"\t"1"\n', ["a"]),
        ('text\tn\n"a\tb"\t1\n', ["a\tb"]),
        ('text\tn\n"a\nb"\t1\n"c"\t2\n', ["a\nb", "c"]),
        ("text\tn\n\t1\na\t\n", ["", "a"]),
    ],
)
def test_tsv_is_quoted_where_it_plainly_is(file: Any, text: str, cells: list[str]) -> None:
    assert read_columns(file(text), ["text"]) == {"text": cells}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SPEECH + "x\n", "line 6: found 1 cell, wanted the 2 of the header"),
        ('text\tlabel\n"a\tx\n\tb"\ty\n', "line 3: found 3 cells, wanted the 2 of the header"),
        ('text\tlabel\na\tx\n"b\n', "line 3: found 1 cell, wanted .*; a quotation mark begins a cell there"),
    ],
)
def test_what_is_neither_is_named(file: Any, text: str, says: str) -> None:
    with pytest.raises(slide.DataFormatError, match=rf"t\.tsv: {says}"):
        slide.read_table(file(text), "text", "label")


@given(
    st.lists(
        st.tuples(*[st.text(st.sampled_from("ab\"'\t\n, \\"), max_size=6)] * 2),
        min_size=1,
        max_size=5,
    )
)
def test_what_pandas_writes_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    """Never other cells. Lines that could be rows, and cells of tabs and line breaks, are not told from rows."""
    path = tmp_path_factory.getbasetemp() / "pandas.tsv"
    frame = pd.DataFrame(rows, columns=["text", "label"])
    frame.to_csv(path, sep="\t", index=False)
    cells = [cell for row in rows for cell in row]
    if any("\n" in cell for cell in cells) or not all("".join(row).strip() for row in rows):
        return
    assert read_columns(path) == {name: list(frame[name]) for name in frame}


@pytest.mark.parametrize("name", ["t.csv", "t.TSV", "t.jsonl"])
def test_blank_lines_are_no_rows(file: Any, name: str) -> None:
    rows = {
        "t.csv": "text,n\na,1\n{0}b,2\n",
        "t.TSV": "text\tn\na\t1\n{0}b\t2\n",
        "t.jsonl": '{{"text": "a"}}\n{0}{{"text": "b"}}\n',
    }
    for blank in ("", "\n", " \r\n", "\n\n"):
        path = file(rows[name].format(blank) + blank, name)
        assert slide.read_table(path, "text").texts == ["a", "b"]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_blank_line_between_rows_of_one_cell_is_one(file: Any, name: str) -> None:
    assert slide.read_table(file("text\na\n\nb\n\n\n", name), "text").texts == ["a", "", "b"]


def test_files_without_an_ending_are_told_by_their_header(file: Any) -> None:
    for text in ("label,text\nx,a\n", "label\ttext\nx\ta\n", '{"label": "x", "text": "a"}\n'):
        assert slide.read_table(file(text, "rows"), "text", "label") == (["a"], ["x"])
    assert slide.read_table(file("text,label\na,x\n", "rows.dat"), "text", kind="csv").texts == ["a"]
    with pytest.raises(slide.DataFormatError, match=r"rows: found no header with 'text', wanted one of \.csv"):
        slide.read_table(file("words of a text\n", "rows"), "text")


def test_what_is_no_csv_has_no_header(file: Any) -> None:
    """A carriage return alone ended the search for one by csv.Error."""
    assert read_texts(file("a\rtext,b\nc\n", "rows"), "text") == ["a", "text,b", "c"]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "arrow"])
def test_what_is_written_is_read(kind: str, tmp_path: Path) -> None:
    columns = {"text": ["a, b", 'say "c"', "tab\there", "\u0939\u093f"], "label": ["x", "y", "z", ""]}
    for name in (f"t.{kind}", f"t.{kind}.gz"):
        write_columns(tmp_path / name, columns, kind)
        assert read_columns(tmp_path / name) == columns
    lists = {"label": [["x"], []]}
    if kind in ("csv", "tsv"):
        with pytest.raises(ValueError, match=r"column 'label', row 1: found \['x'\], wanted text or numbers"):
            write_columns(tmp_path / f"l.{kind}", lists, kind)
    else:
        write_columns(tmp_path / f"l.{kind}", lists, kind)
        assert read_columns(tmp_path / f"l.{kind}") == lists


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_cells_hold_whatever_text_holds(tmp_path: Path, kind: str) -> None:
    cells = ["a\rb", "c\nd", 'e"f', "g,h", "i\tj", "", " k ", '"']
    path = tmp_path / f"t.{kind}"
    for columns in ({"x": cells, "y": cells[::-1]}, {"x": cells}):
        write_columns(path, columns, kind)
        with open(path, newline="") as file:
            rows = list(csv.reader(file, delimiter={"csv": ",", "tsv": "\t"}[kind]))
        assert rows == [list(columns), *map(list, zip(*columns.values(), strict=True))]
