"""``slide predict`` answers rows a block at a time, as they arrive, and answers what reading them at once answers."""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.cli.main import main
from slide.io import formats, row_blocks
from slide.io.arriving import Arriving, Lines
from slide.text import table_blocks
from slide.text.table_files import write_columns

N, D, LABELS, ROWS = 90, 30, 6, 16
X, Y = slide.datasets.synthetic(N, D, LABELS, nnz=5, labels_per_row=1)
WORDS = ["red", "green", 'say "blue"', "gr\u00e9y, dark", "two\nlines"]
TEXTS = [WORDS[i * i % 5] + f" {i}" for i in range(N)]
LINES = [text.replace("\n", " ") for text in TEXTS]


class Trickle(io.RawIOBase):
    """A pipe that brings a few bytes at a time."""

    def __init__(self, text: bytes, size: int = 7) -> None:
        self._text, self._size = io.BytesIO(text), size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._text.readinto(memoryview(buffer)[: self._size])


class Slow(Arriving):
    """One whose sender waits for an answer after each piece."""

    def __init__(self, text: bytes, size: int = 7) -> None:
        super().__init__(io.BufferedReader(Trickle(text, size)), "slow")

    def waits(self) -> bool:
        return self._at == len(self._kept) and not self._ended


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Equal rows in every format, and the models that take them."""
    where = tmp_path_factory.mktemp("arriving")
    for name in ("a.txt", "a.svm", "a.npz", "a.parquet", "a.txt.gz"):
        formats.write(where / name, X, Y)
    for kind in ("csv", "tsv", "jsonl", "parquet", "arrow"):
        write_columns(where / f"t.{kind}", {"id": [f"n{i}" for i in range(N)], "text": TEXTS}, kind)
    (where / "lines").write_text("".join(text + "\n" for text in LINES))
    options: dict[str, Any] = {"hidden": (4,), "epochs": 1, "n_threads": 1}
    slide.SlideClassifier(**options).fit(X, Y).save(where / "matrix.slide")
    clf = slide.SlideTextClassifier(**options).fit(TEXTS, [i * i % 5 for i in range(N)])
    clf.table_ = {"text": ["text"], "labels": "label", "separator": None}
    clf.save(where / "text.slide")
    return where


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder, with blocks so small that its files have several."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(row_blocks.row_blocks, "__defaults__", (None, ROWS))
    monkeypatch.setattr(table_blocks.text_blocks, "__defaults__", (None, None, ROWS))


def wanted(name: str) -> list[list[int]]:
    clf: Any = slide.load("matrix.slide" if name.startswith("a") else "text.slide")
    ids, _ = clf.predict_topk(X if name.startswith("a") else LINES if name == "lines" else TEXTS, k=2)
    return [[clf.classes_.tolist()[i] for i in row] for row in ids]


def predicted(capsys: pytest.CaptureFixture[str], name: str, given: str, *more: str) -> list[dict[str, Any]]:
    model = "matrix.slide" if name.startswith("a") else "text.slide"
    assert main(["predict", model, given, "-k", "2", "--out-format", "jsonl", *more]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


MATRICES = ["a.txt", "a.svm", "a.npz", "a.parquet", "a.txt.gz"]
TABLES = ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.arrow"]


@pytest.mark.parametrize("name", [*MATRICES, *TABLES, "lines"])
def test_every_format_gives_what_reading_at_once_gives(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = predicted(capsys, name, name)
    assert [row["labels"] for row in rows] == wanted(name)
    assert [row["row"] for row in rows] == list(range(N))
    stream = io.BufferedReader(Trickle(Path(name).read_bytes()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    assert predicted(capsys, name, "-") == rows


def test_ids_go_with_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    for name in TABLES:
        rows = predicted(capsys, name, name, "--id-column", "id")
        assert [row["id"] for row in rows] == [f"n{i}" for i in range(N)]


def test_a_named_pipe_is_read_as_it_arrives(capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("fifo")
    with subprocess.Popen(["cp", "t.csv", "fifo"]) as writer:
        assert [row["labels"] for row in predicted(capsys, "t.csv", "fifo")] == wanted("t.csv")
    assert writer.returncode == 0


def test_a_filter_answers_each_line_before_the_next_is_sent() -> None:
    command = [sys.executable, "-m", "slide", "predict", "text.slide", "-", "-k", "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin
        assert running.stdout
        answers = []
        for text in LINES[:3]:
            running.stdin.write(text + "\n")
            running.stdin.flush()
            assert select.select([running.stdout], [], [], 300)[0], "no answer to the first lines"
            answers.append(running.stdout.readline())
        running.stdin.close()
    labels = [[int(pair.split(":")[0]) for pair in answer.split("\t")] for answer in answers]
    assert labels == wanted("lines")[:3]


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("name", ["a.txt", "a.svm", "t.csv", "t.jsonl", "lines"])
def test_blocks_end_where_nothing_more_has_arrived(name: str, size: int) -> None:
    """Every row is there once, in order, however lines are cut; and most blocks are smaller than a full one."""
    source: Any = Slow(Path(name).read_bytes(), size)
    if name.startswith("a"):
        parts = [part for part, _ in row_blocks.row_blocks(source)]
        whole = sp.vstack([sp.csr_array((p.data, p.indices, p.indptr), shape=(p.shape[0], D)) for p in parts])
        np.testing.assert_array_equal(whole.toarray(), X.toarray())
        sizes = [part.shape[0] for part in parts]
    else:
        texts = [block.texts for block in table_blocks.text_blocks(source, None if name == "lines" else "text")]
        assert [text for block in texts for text in block] == (LINES if name == "lines" else TEXTS)
        sizes = [len(block) for block in texts]
    assert max(sizes) < ROWS


@pytest.mark.parametrize("name", ["a.txt", "a.svm", "a.parquet", "t.csv", "t.jsonl", "t.parquet", "lines"])
def test_no_more_is_read_than_a_block_needs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows come while most of a file is unread."""
    monkeypatch.setattr("slide.io.arriving.TEXT_PIECE", 100)
    monkeypatch.setattr("slide.io.xmc_blocks.PIECE", 100)
    monkeypatch.setattr("slide.io.arriving.line_blocks.__defaults__", (100,))
    of_text = not name.startswith("a")
    text = None if name == "lines" else "text"
    with open(name, "rb") as file:
        blocks: Iterator[Any] = table_blocks.text_blocks(file, text) if of_text else row_blocks.row_blocks(file)
        first = next(blocks)
        assert (len(first[0]) if of_text else first[0].shape[0]) == ROWS
        if not name.endswith("parquet"):
            assert file.tell() < os.path.getsize(name) / 2
        assert first[-1] is None or N / 2 < first[-1] < 2 * N  # of rows that there may be


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.txt", b"%d 30 6\n" % (N + 1) + b"1 2:1\n" * N, f"found {N} rows, wanted the {N + 1} that the header"),
        ("a.txt", b"%d 30 6\n" % N + b"1 2:1\n" * (N + 1), f"found more rows, wanted the {N} that the header"),
        ("a.txt", b"90 30 6\n" + b"1 2:1\n" * 40 + b"1 2:x\n" * 50, "line 42, column 5: found"),
        ("a.svm", b"1 2:1\n" * 40 + b"1 2:x\n" * 50, ":41: found '1 2:x'"),
        ("a.svm", b"1 2:1\n\n" * 20 + b"0.5 2:1\n" * 50, ":41: found the label 0.5"),
        ("a.svm", b"# nothing\n", "found no row"),
        ("a.svm", b"1 2:1\n" * 40 + b"1 77:1\n", "found 78 features, wanted the 30 of"),
        ("t.csv", b"text,id\n" + b"red,1\n" * 40 + b"red\n", "line 42: found 1 cell, wanted the 2 of the header"),
        ("t.csv", b"text,id\n" + b"red,1\n" * 40 + b'"red,1\n' * 3, "line 43"),
        ("t.jsonl", b'{"text": "a"}\n' * 40 + b"{}\n", "line 41: found no column 'text'"),
        ("t.jsonl", b'{"text": "a"}\n' * 40 + b'{"text": 5}\n', "column 'text', row 41: found 5, wanted text"),
        ("lines", b"red\n" * 40 + b"gr\xc3\xa9 \xff\n", "line 41, column 6: found the byte 0xff, which is no UTF-8"),
        ("lines", b"red \xc3", "line 1, column 5: found the byte 0xc3, which is no UTF-8"),
    ],
)
@pytest.mark.parametrize("way", ["file", "-"])
def test_what_is_wrong_is_named_by_its_line_or_row(
    name: str, text: bytes, told: str, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard input is named too, and what came before was answered; a file that was to be written is not there."""
    Path("wrong").write_bytes(text)
    model = "matrix.slide" if name.startswith("a") else "text.slide"
    kind = {"a.svm": "svmlight", "a.txt": "xmc"}.get(name, name.removeprefix("t."))
    if way == "-":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Trickle(text))))
    assert main(["predict", model, "wrong" if way == "file" else "-", "--format", kind, "--out", "best.csv"]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert ("wrong" if way == "file" else "standard input") in said
    assert not Path("best.csv").exists()


@pytest.mark.parametrize("text", ["a\r\nb\rc\n\nd", "a\r", "\ufeffa\n", "\ufeff", "", "\r\n", "\u2028\x0b\n\u00e9"])
def test_lines_are_those_of_a_file(text: str) -> None:
    for size in (1, 2, 3, 100):
        stream = io.BufferedReader(Trickle(text.encode(), size))
        found = list(Lines(Arriving(stream, "x"), "x"))  # type: ignore[arg-type]
        assert found == list(io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8-sig", newline=""))
