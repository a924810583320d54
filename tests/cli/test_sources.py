"""Every verb, every kind of model and every kind of file: read by one reader, or refused with the reason."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import scipy.sparse as sp

import slide
from slide.cli.main import main
from slide.io import formats
from slide.text.table_files import read_columns, write_columns

SMALL = ["--epochs", "1", "--n-threads", "1", "--hidden", "8"]
COLUMNS = ["--text", "text", "--labels", "label"]
TABLE = {"text": ["red crimson", "blue navy"] * 10, "label": ["r", "b"] * 10}
N, D, LABELS = 60, 30, 12


def pair_files(folder: Path, X: sp.csr_array, Y: sp.csr_array) -> None:
    for name, matrix in (("tst_X_Xf.txt", X), ("tst_X_Y.txt", Y)):
        slide.write_xmc(folder / name, matrix, sp.csr_array((matrix.shape[0], 0)))
        header, _, rows = (folder / name).read_text().partition("\n")
        (folder / name).write_text(header.rpartition(" ")[0] + "\n" + rows.replace("\n ", "\n").removeprefix(" "))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, and a model of every kind that was trained on such rows."""
    where = tmp_path_factory.mktemp("sources")
    X, Y = slide.datasets.synthetic(N, D, LABELS, nnz=5, labels_per_row=2)
    for name in ("a.txt", "a.SVM", "a.npz", "a.parquet", "a.txt.gz", "a.svm.bz2"):
        formats.write(where / name, X, Y)
    pair_files(where, X, Y)
    (where / "alone_X_Xf.txt").write_bytes((where / "tst_X_Xf.txt").read_bytes())
    for name in ("narrow.txt", "narrow.npz", "narrow.svm"):
        formats.write(where / name, X[:, : D - 9], Y[:, : LABELS - 4] if name != "narrow.svm" else Y)
    for name in ("wide.txt", "wide.svm"):
        formats.write(where / name, sp.csr_array(([1.0], ([0], [D + 9])), shape=(1, D + 10)), Y[:1])
    for kind in ("csv", "tsv", "jsonl", "parquet", "arrow"):
        write_columns(where / f"t.{kind}", TABLE, kind)
    write_columns(where / "t.CSV.gz", TABLE, "csv")
    (where / "lines.txt").write_text("red crimson\nnavy blue\n")

    options: dict[str, Any] = {"hidden": (8,), "epochs": 1, "n_threads": 1}
    clf = slide.SlideClassifier(**options).fit(X, Y)
    ranked = slide.SlideClassifier(wide=slide.Rank(n_negatives=4, C=1.0), **options).fit(X, Y)
    text = slide.SlideTextClassifier(**options).fit(TABLE["text"], TABLE["label"])
    text.save(where / "python.slide")
    text.table_ = {"text": ["text"], "labels": "label", "separator": None}
    models = {"matrix": clf, "ranked": ranked, "small": clf.compress(), "network": clf.network_}
    for name, model in (models | {"text": text, "text-small": text.compress()}).items():
        model.save(where / f"{name}.slide")
    return where


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command in the folder; returns what it prints, or the sentence that refuses it."""
    monkeypatch.chdir(folder)

    def command(*words: str, given: str | None = None, code: int = 0) -> str:
        if given is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / given).read_bytes())))
        assert main(list(words)) == code, capsys.readouterr().err
        out, err = capsys.readouterr()
        if code:
            assert len(err.splitlines()) == 1
            return err
        return out

    return command


MATRIX_FILES = [
    "a.txt",
    "a.SVM",
    "a.npz",
    "a.parquet",
    "a.txt.gz",
    "a.svm.bz2",
    "tst_X_Xf.txt",
    "tst_X_Xf.txt,tst_X_Y.txt",
]
TABLE_FILES = ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.arrow", "t.CSV.gz"]
VERBS: list[Sequence[str]] = [["predict"], ["eval"], ["lsh"], ["report", "--html", "page.html"]]


@pytest.mark.parametrize("name", MATRIX_FILES)
def test_a_model_of_features_reads_them_from_every_format(name: str, run: Callable[..., str]) -> None:
    wanted = run("predict", "matrix.slide", "a.txt")
    assert len(wanted.splitlines()) == N
    assert run("predict", "matrix.slide", name) == wanted
    for verb, *more in VERBS[1:]:
        run(verb, "matrix.slide", name, *more)
    if "," not in name:
        assert run("predict", "matrix.slide", "-", given=name) == wanted or name == "tst_X_Xf.txt"


@pytest.mark.parametrize("name", TABLE_FILES)
def test_a_model_of_texts_reads_them_from_every_table(name: str, run: Callable[..., str]) -> None:
    wanted = run("predict", "text.slide", "t.csv", "-k", "1")
    assert len(wanted.splitlines()) == 20
    assert run("predict", "text.slide", name, "-k", "1") == wanted
    assert run("predict", "text.slide", "-", "-k", "1", given=name) == wanted
    assert "P " in run("eval", "text.slide", "-", given=name)
    for verb, *more in VERBS[1:]:
        run(verb, "text.slide", name, *more)


@pytest.mark.parametrize("model", ["matrix", "ranked", "small", "network", "text", "text-small"])
def test_every_verb_takes_every_kind_of_model(model: str, run: Callable[..., str]) -> None:
    name, other = ("t.tsv", "a.txt") if model.startswith("text") else ("a.SVM", "t.csv")
    said = "wanted a table of text" if model.startswith("text") else "was not trained on text"
    for verb, *more in [*VERBS, ["info"], ["card"], ["compress", "other.slide"], ["export", "graph.onnx"], ["lsh"]]:
        page = verb in ("report", "card")
        if model == "network" and page:
            assert "holds a network" in run(verb, "network.slide", *more, code=2)
        elif verb == "export" and find_spec("onnx") is None:
            assert "ONNX files need onnx" in run(verb, f"{model}.slide", *more, code=2)
        elif model == "ranked" and verb == "export":
            assert "found 'sparse rows that rank'" in run(verb, "ranked.slide", *more, code=2)
        elif [verb, *more] in VERBS:
            run(verb, f"{model}.slide", name, *more)
            assert said in run(verb, f"{model}.slide", other, *more, code=2)
        else:
            run(verb, f"{model}.slide", *more)


@pytest.mark.parametrize("name", ["narrow.txt", "narrow.npz", "narrow.svm"])
def test_files_may_be_narrower_than_the_model(name: str, run: Callable[..., str]) -> None:
    for model in ("matrix", "network"):
        for verb, *more in VERBS[: 3 if model == "network" else 4]:
            run(verb, f"{model}.slide", name, *more)
    run("train", "a.txt", "--test", name, "--validation", name, *SMALL)
    assert run("eval", "matrix.slide", "a.txt", "--train", name).count("PSP") == 1


@pytest.mark.parametrize("name", ["wide.txt", "wide.svm"])
def test_files_that_are_wider_are_refused_by_all(name: str, run: Callable[..., str]) -> None:
    for command in (*([v[0], "matrix.slide", name, *v[1:]] for v in VERBS), ["train", "a.txt", "--test", name, *SMALL]):
        said = run(*command, code=2)
        assert f"{name}: found {D + 10} features, wanted the {D} of " in said


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("predict matrix.slide t.parquet", "t.parquet: found a table of text, wanted rows of features: matrix.slide"),
        ("predict text.slide a.parquet", "found no column 'text', wanted one of those there are: 'indices'"),
        ("predict text.slide a.npz", "a.npz: found rows of features (npz), wanted a table of text, or a text a line"),
        ("eval text.slide tst_X_Xf.txt", "found rows of features (XMC text in two files), wanted a table of text"),
        ("eval text.slide lines.txt", "lines.txt: found the ending '.txt', wanted one of .csv"),
        ("eval text.slide t.csv --format lines", "found --format lines, wanted a table with labels"),
        ("eval text.slide t.csv --format npz", "--format: found npz, wanted one of csv"),
        ("eval matrix.slide alone_X_Xf.txt", "holds features alone (a header of two numbers): found no alone_X_Y.txt"),
        ("predict python.slide t.csv", "python.slide: was not trained on a table, so no columns are known"),
        ("train t.parquet", "t.parquet: is a table; say which columns hold what with --text and --labels"),
        ("train a.txt --text text --labels label", "a.txt: found rows of features (XMC text), wanted a table of text"),
        ("bench t.csv", "t.csv: is a table; say which columns hold what with --text and --labels"),
        ("convert t.csv b.npz", "b.npz: found the name of no table, wanted one, csv, tsv, jsonl, parquet, arrow"),
        ("convert a.txt b.csv", "b.csv: found the name of a table, wanted one of xmc, svmlight, npz, parquet"),
        ("train - --rows-at-once 9", "found standard input, wanted a file of XMC text, which alone is read in blocks"),
        ("train a.SVM --rows-at-once 9", "found svmlight, wanted a file of XMC text"),
        ("predict matrix.slide nothing.txt", "nothing.txt: no such file"),
    ],
)
def test_what_does_not_go_together_says_why(command: str, says: str, run: Callable[..., str]) -> None:
    assert says in run(*command.split(), code=2)


def test_a_text_a_line(folder: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = run("predict", "text.slide", "--text", "red crimson", "-k", "1").split()[1]
    for model in ("text", "python"):
        lines = run("predict", f"{model}.slide", "lines.txt", "-k", "1").splitlines()
        assert lines[0].split(":")[0] == wanted
        assert run("predict", f"{model}.slide", "-", "-k", "1", given="lines.txt").splitlines() == lines
    (folder / "blank").write_text("red\r\n\r\nblue")
    assert len(run("predict", "text.slide", "blank").splitlines()) == 3  # a line out for each line in
    (folder / "empty").write_bytes(b"")
    assert run("predict", "text.slide", "-", "--header", given="empty") == "0 2\n"
    assert len(run("predict", "text.slide", "-", "--format", "lines", given="t.csv").splitlines()) == 21


def test_training_reads_standard_input(run: Callable[..., str]) -> None:
    assert run("train", "-", *SMALL, given="a.txt").startswith(f"standard input: {N} rows")
    assert "20 texts" in run("train", "-", *COLUMNS, *SMALL, given="t.tsv")
    assert "P " in run("train", "-", "--test", "a.txt", *SMALL, given="a.svm.bz2")
    assert "standard input: 20 texts" in run("train", "-", "--format", "csv", *COLUMNS, *SMALL, given="t.csv")


@pytest.mark.parametrize("name", ["a.SVM", "tst_X_Xf.txt", "t.csv", "t.parquet"])
def test_bench_times_every_kind_of_data(name: str, run: Callable[..., str]) -> None:
    out = run("bench", name, *SMALL, *(COLUMNS if name.startswith("t.") else []))
    assert "samples/s" in out
    assert "candidates" in out


@pytest.mark.parametrize("name", TABLE_FILES)
def test_info_describes_a_table(name: str, run: Callable[..., str]) -> None:
    facts = json.loads(run("info", name, "--json").splitlines()[-1])
    assert facts["n_samples"] == 20
    assert facts["columns"]["label"] == {"filled": 20, "distinct": 2, "mean_length": 1.0}
    given = run("info", "-", "--format", "csv", "--json", given="t.csv")
    assert json.loads(given.splitlines()[-1])["columns"] == facts["columns"]


@pytest.mark.parametrize("name", TABLE_FILES)
@pytest.mark.parametrize("out", ["u.csv", "u.tsv.gz", "u.jsonl", "u.parquet", "u.arrow"])
def test_a_table_becomes_another(name: str, out: str, run: Callable[..., str], folder: Path) -> None:
    assert "20 rows, columns text, label" in run("convert", name, out)
    assert read_columns(folder / out) == TABLE


@pytest.mark.thorough
@pytest.mark.parametrize("out", ["u.csv", "u.jsonl"])
def test_an_embedded_data_set_becomes_a_table(out: str, run: Callable[..., str], folder: Path) -> None:
    assert "14,182 rows, columns text, labels" in run("convert", "wordnet-hypernym", out, "--part", "test")
    raw = slide.datasets.load_text("wordnet-hypernym")
    table = slide.read_table(folder / out, "text", "labels", label_separator=None if out == "u.jsonl" else "|")
    assert table.texts == raw.test_texts
    assert table.labels == raw.test_labels


def test_convert_reads_standard_input_and_packs(run: Callable[..., str], folder: Path) -> None:
    run("convert", "-", "u.txt.xz", given="a.SVM")
    assert (formats.read(folder / "u.txt.xz")[0] != formats.read(folder / "a.txt")[0]).nnz == 0
    (folder / "one.svm").write_text("0 1:1 2:2\n")
    run("convert", "-", "u.txt", "--one-based", given="one.svm")
    assert (folder / "u.txt").read_text() == "1 2 1\n0 0:1.0 1:2.0\n"
    assert gzip.decompress((folder / "a.txt.gz").read_bytes()) == (folder / "a.txt").read_bytes()
