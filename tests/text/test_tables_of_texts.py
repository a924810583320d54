"""Tables of texts and labels: files of every kind, and tables in memory."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from small_texts import BODIES, TAGS

import slide
from slide.text.words import FIELD_SEPARATOR


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".tsv", ".jsonl", ".jsonl.gz", ".parquet", ".feather", ".arrow"])
def test_files_of_every_kind(table: Any, kind: str) -> None:
    found = slide.read_table(table(kind), "body", "tags", label_separator=";")
    assert found.texts == BODIES
    assert found.labels == TAGS
    joined, no_labels = slide.read_table(table(kind), ["title", "body"])
    assert joined[0] == f"A cat {FIELD_SEPARATOR} a feline that purrs and hunts mice"
    assert no_labels is None


class DataSet:
    """Columns as a Hugging Face data set has them."""

    column_names = ("body", "tags")

    def __getitem__(self, name: str) -> list[Any]:
        return {"body": BODIES, "tags": TAGS}[name]


@pytest.mark.parametrize(
    "source",
    [
        {"body": BODIES, "tags": TAGS},
        pd.DataFrame({"body": BODIES, "tags": TAGS}),
        pa.table({"body": BODIES, "tags": TAGS}),
        DataSet(),
    ],
    ids=lambda source: type(source).__name__,
)
def test_tables_in_memory(source: Any) -> None:
    assert slide.read_table(source, "body", "tags") == (BODIES, TAGS)
    with pytest.raises(ValueError, match="found no column 'text', wanted one of those there are: 'body', 'tags'"):
        slide.read_table(source, "text", "tags")


def test_cells_without_text_or_labels() -> None:
    source = pd.DataFrame({"text": ["x", None, "y"], "one": ["a", "b", None], "many": ["a, b,", "", None]})
    assert slide.read_table(source, "text").texts == ["x", "", "y"]
    assert slide.read_table(source, "text", "many", label_separator=",").labels == [["a", "b"], [], []]
    with pytest.raises(ValueError, match="column 'one', row 3: found no label"):
        slide.read_table(source, "text", "one")
    with pytest.raises(ValueError, match="column 'n', row 1: found 1, wanted text"):
        slide.read_table({"n": [1]}, "n")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.csv", b"text,tags\na,b\nc\n", "line 3: found 1 cell, wanted the 2 of the header"),
        ("x.csv", b'text,tags\nc,d\n"a,b\nc,d\n', "line 3: found a quotation mark that is not closed"),
        ("x.csv", b'text,tags\n"a,b\nc,"d"\n', "line 3: .* was opened in the row that begins on line 2"),
        ("x.csv", b"", "found no column 'text', wanted one of those there are: none, the file is empty"),
        ("x.csv", b"id;text;tags\n1;red;r\n", "cells seem to be separated by ';', wanted ','"),
        ("x.tsv", b"text,tags\nred,r\n", "cells seem to be separated by ','"),
        ("x.csv", b"text,tags\na,b\ncaf\xe9,b\n", "line 3, column 4: found the byte 0xe9, which is no UTF-8"),
        ("x.csv.gz", gzip.compress(b"text,tags\n" + b"a,b\n" * 999, mtime=0)[:-20], "truncated or altered gzip"),
        ("x.csv", b"text,tags,text\n", "found the column 'text' twice"),
        ("x.jsonl", b'{"text": "a", "tags": "b"}\n{"text": \n', "line 2: found no JSON"),
        ("x.jsonl", b'["a"]\n', "line 1: found list, wanted a JSON object"),
        ("x.jsonl", b'{"text": "a"}\n', "line 1: found no column 'tags'"),
        ("x.parquet", b"nothing", "found no .parquet table"),
        ("x.arrow", b"nothing", "found no .arrow table"),
        ("x.xlsx", b"", "found the ending '.xlsx', wanted one of .csv"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=told) as caught:
        slide.read_table(path, "text", "tags")
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for kind in (".csv", ".parquet"):
        with pytest.raises(FileNotFoundError, match=r"none\."):
            slide.read_table(tmp_path / f"none{kind}", "text")


def test_without_pyarrow_the_extra_is_named(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(".parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'slide-xmc\[text\]'"):
        slide.read_table(path, "body")
