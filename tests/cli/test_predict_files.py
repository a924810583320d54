"""``slide predict`` into csv, tsv, JSON lines and Parquet: the same labels and scores, whatever labels and ids hold."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import slide
from slide.cli.main import main
from slide.io.predictions import prediction_writer

LABELS = ['a "b", c', "two\nlines", "tab\there", "cr\rand, comma", "plain"]
WORDS = ["red", "green", "blue", "grey", "pink"]
IDS = ["x,1", 'say "hi"', "new\nline", "tab\t2", "last"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of texts whose labels are awkward, one of matrices, and data for both."""
    folder = tmp_path_factory.mktemp("predicted")
    texts = [f"{word} {word}ish thing" for word in WORDS] * 4
    clf = slide.SlideTextClassifier(hidden=(8,), epochs=10, n_threads=1).fit(texts, [[label] for label in LABELS * 4])
    clf.table_ = {"text": ["text"], "labels": "tags", "separator": None}
    clf.save(folder / "text.slide")
    with open(folder / "new.csv", "w", newline="") as file:
        csv.writer(file).writerows([("article", "text"), *zip(IDS, WORDS, strict=True)])
    rows = [{"article": i * 10, "text": word} for i, word in enumerate(WORDS)]
    (folder / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "lines").write_text("".join(f"{word}\n" for word in WORDS))
    X, Y = slide.datasets.synthetic(60, 20, 6, nnz=6, labels_per_row=1)
    slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1).fit(X, Y).save(folder / "matrix.slide")
    slide.write_xmc(folder / "new.txt", X[:30], Y[:30])
    return folder


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def best(k: int = 3) -> tuple[list[list[str]], list[list[float]]]:
    names, scores = slide.load("text.slide").predict_topk(WORDS, k, names=True)
    return names.tolist(), scores.tolist()


def read(name: str) -> tuple[list[Any], list[list[str]], list[list[float]]]:
    """Ids, labels and scores of a file, row by row."""
    kind = Path(name.removesuffix(".gz")).suffix
    if kind in (".jsonl", ".parquet"):
        lines = Path(name).read_text().split("\n")[:-1] if kind == ".jsonl" else []
        rows = pq.read_table(name).to_pylist() if kind == ".parquet" else [json.loads(line) for line in lines]
        key = next(iter(rows[0]))
        return [row[key] for row in rows], [row["labels"] for row in rows], [row["scores"] for row in rows]
    delimiter = "\t" if kind == ".tsv" else ","
    raw = gzip.decompress(Path(name).read_bytes()) if name.endswith(".gz") else Path(name).read_bytes()
    head, *lines = csv.reader(io.StringIO(raw.decode(), newline=""), delimiter=delimiter)
    assert head[1:] == ["rank", "label", "score"]
    table = pd.read_csv(name, sep=delimiter, lineterminator="\n") if "\r" not in raw.decode() else None
    assert table is None or table.columns.tolist() == head
    ids = list(dict.fromkeys(line[0] for line in lines))
    of = [[line for line in lines if line[0] == one] for one in ids]
    assert all([line[1] for line in rows] == [str(i) for i in range(1, len(rows) + 1)] for rows in of)
    return ids, [[line[2] for line in rows] for rows in of], [[float(line[3]) for line in rows] for rows in of]


@pytest.mark.parametrize("name", ["best.csv", "best.tsv", "best.jsonl", "best.parquet", "best.csv.gz", "BEST.CSV"])
def test_what_is_written_is_what_was_predicted(name: str) -> None:
    assert main(["predict", "text.slide", "new.csv", "-k", "3", "--id-column", "article", "--out", name]) == 0
    ids, labels, scores = read(name if name != "BEST.CSV" else os.rename(name, "lower.csv") or "lower.csv")
    assert ids == IDS
    assert labels == best()[0]
    np.testing.assert_allclose(scores, best()[1], rtol=1e-5)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_standard_output_has_the_bytes_of_the_file(kind: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["predict", "text.slide", "lines", "-k", "3", "--out-format", kind]) == 0
    printed = capsysbinary.readouterr().out
    assert main(["predict", "text.slide", "lines", "-k", "3", "--out", f"same.{kind}"]) == 0
    assert printed == Path(f"same.{kind}").read_bytes()
    ids, labels, _ = read(f"same.{kind}")
    assert [int(i) for i in ids] == [0, 1, 2, 3, 4]
    assert labels == best()[0]


def test_pipes_on_both_ends() -> None:
    """Parquet too, which no one can seek in there."""
    command = [sys.executable, "-m", "slide", "predict", "text.slide", "-", "-k", "3", "--out-format", "parquet"]
    piped = subprocess.run(command, input=Path("lines").read_bytes(), capture_output=True, check=True)
    assert pq.read_table(io.BytesIO(piped.stdout))["labels"].to_pylist() == best()[0]


def test_ids_keep_their_type() -> None:
    for name in ("n.jsonl", "n.parquet"):
        assert main(["predict", "text.slide", "new.jsonl", "--id-column", "article", "--out", name]) == 0
        assert read(name)[0] == [0, 10, 20, 30, 40]


def test_a_cutoff_leaves_rows_without_labels(capsys: pytest.CaptureFixture[str]) -> None:
    scores = np.array(best(5)[1])
    cut = float(np.sort(scores[:, 0])[2])
    wanted = [sum(score >= cut for score in row) for row in scores.astype(np.float32)]
    for name in ("cut.jsonl", "cut.parquet"):
        assert main(["predict", "text.slide", "lines", "--min-score", repr(cut), "--out", name]) == 0
        assert [len(row) for row in read(name)[1]] == wanted
    assert main(["predict", "text.slide", "lines", "--min-score", repr(cut)]) == 0
    assert [len(line.split("\t")) if line else 0 for line in capsys.readouterr().out.splitlines()] == wanted
    assert main(["predict", "text.slide", "--text", "red", "--min-score", "1e9"]) == 0
    assert capsys.readouterr().out == ""


def test_matrices_and_texts_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "matrix.slide", "new.txt", "-k", "2", "--out-format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["predict", "matrix.slide", "new.txt", "-k", "2"]) == 0
    pairs = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [[f"{i}:{s:.6g}" for i, s in zip(row["labels"], row["scores"], strict=True)] for row in rows] == pairs
    assert [row["row"] for row in rows] == list(range(30))
    assert main(["predict", "text.slide", "--text", "red", "--text", "grey", "-k", "1", "--out-format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["labels"] for row in rows] == [best(1)[0][0], best(1)[0][3]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("text.slide new.csv --out x.arrow", "x.arrow: found the ending of arrow files, wanted one of csv, tsv, jsonl"),
        (
            "text.slide new.csv --id-column article",
            "--id-column: found pairs to be written, wanted --out-format csv or",
        ),
        ("text.slide new.csv --header --out x.csv", "--header: found csv to be written, wanted pairs"),
        (
            "text.slide new.csv --id-column isbn --out x.csv",
            "new.csv: found no column 'isbn', wanted one of those there",
        ),
        ("text.slide lines --id-column isbn --out x.csv", "lines: found texts, one a line, wanted a table with"),
        ("matrix.slide new.txt --id-column row --out x.csv", "--id-column: found rows of features"),
        ("matrix.slide --text red --out x.csv", "matrix.slide: found a model of other features"),
        ("text.slide new.csv --text red --out x.csv", "--text: found DATA too"),
        ("text.slide --text red --id-column row --out x.csv", "--id-column: found --text"),
        ("text.slide new.csv --out x.csv.zst", "x.csv.zst: found the ending '.zst'"),
    ],
)
def test_what_does_not_go_together(given: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", *given.split()]) == 2
    assert capsys.readouterr().err.startswith(f"slide: error: {told}")
    assert not list(Path().glob("x.*")) + list(Path().glob(".x.*"))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_blocks_appear_as_they_are_predicted(kind: str) -> None:
    """Parquet in row groups, the others at once; a lone surrogate and numbers beside text break nothing."""
    file, classes = io.BytesIO(), np.array(["\ud800half", 7, 2.5], object)
    with prediction_writer(file, kind, classes, "id", ["\ud800", 1, "x"]) as writer:
        writer.write(["\ud800"], np.array([[0, 1]]), np.array([[0.25, 0.125]], np.float32))
        assert (len(file.getvalue()) > 20) is (kind != "parquet")
        writer.write([1, "x"], np.array([[2, -1], [-1, -1]]), np.zeros((2, 2), np.float32))
    if kind == "csv":
        assert (
            file.getvalue().decode()
            == "id,rank,label,score\n\\ud800,1,\\ud800half,0.25\n\\ud800,2,7,0.125\n1,1,2.5,0\n"
        )
        return
    if kind == "jsonl":
        rows = [json.loads(line) for line in file.getvalue().decode().splitlines()]
        assert rows[0] == {"id": "\ud800", "labels": ["\ud800half", "7"], "scores": [0.25, 0.125]}
    else:
        rows = pq.read_table(io.BytesIO(file.getvalue())).to_pylist()
        assert rows[0] == {"id": "\\ud800", "labels": ["\\ud800half", "7"], "scores": [0.25, 0.125]}
    assert [row["scores"] for row in rows[1:]] == [[0], []]


def test_no_rows_give_a_header_or_a_schema(tmp_path: Path) -> None:
    Path("none").write_text("")
    for kind, content in (("csv", "row,rank,label,score\n"), ("jsonl", "")):
        assert main(["predict", "text.slide", "none", "--format", "lines", "--out", str(tmp_path / f"n.{kind}")]) == 0
        assert (tmp_path / f"n.{kind}").read_text() == content
    assert main(["predict", "text.slide", "none", "--format", "lines", "--out", str(tmp_path / "n.parquet")]) == 0
    assert pq.read_table(tmp_path / "n.parquet").column_names == ["row", "labels", "scores"]
