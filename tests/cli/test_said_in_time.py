"""What the command says of misspelt options, of rows without labels, of no rows, and while it is at work."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import scipy.sparse as sp

import slide
from slide.cli.main import main
from slide.cli.suggestions import nearest
from slide.training import bars
from slide.training.bars import follow_rows

SMALL = ["--epochs", "1", "--hidden", "4", "--threads", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with labels, with some, without, and no rows; as XMC text and as tables; a model of each kind."""
    where = tmp_path_factory.mktemp("said")
    X, Y = slide.datasets.synthetic(100, 30, 6, nnz=6)
    some = Y.tolil()
    some[:7] = 0
    for name, labels in (("all", Y), ("some", some.tocsr()), ("none", sp.csr_array(Y.shape))):
        slide.write_xmc(where / f"{name}.txt", X, labels)
        cells = [";".join(f"tag{i}" for i in labels[[row]].indices) for row in range(100)]
        lines = [f"word{row % 9} title,word{row % 7} body,{cell}" for row, cell in enumerate(cells)]
        (where / f"{name}.csv").write_text("\n".join(["title,body,tags", *lines]) + "\n")
    (where / "empty.txt").write_text("0 30 6\n")
    (where / "empty.csv").write_text("title,body,tags\n")
    texts = ["--text", "title,body", "--labels", "tags", "--label-separator", ";"]
    assert main(["train", str(where / "all.txt"), "--out", str(where / "txt.slide"), *SMALL]) == 0
    assert main(["train", str(where / "all.csv"), "--out", str(where / "csv.slide"), *texts, *SMALL]) == 0
    return where


# -- misspelt ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("trainn d.txt", "'train'"),
        ("configg", "'config'"),
        ("train d.txt --loss sofmax", "'softmax'"),
        ("train d.txt --metric psp3", "'psp@3'"),
        ("train d.txt -hidden 3", "--hidden"),
        ("train d.txt -epochs=3", "--epochs"),
        ("train d.txt --learning-rate 3", "--lr"),
        ("train d.txt --eval_set 0.1", "--validation"),
        ("eval m.slide --by-freqency", "--by-frequency"),
        ("--verson", "--version"),
        ("completion bsh", "'bash'"),
    ],
)
def test_the_nearest_name_is_said(command: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert f"did you mean {meant}?" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "meant"),
    [("hiddenn", "hidden"), ("n-active", "n_active"), ("eval_set", "validation"), ("early_stopping", "patience")],
)
def test_keys_of_files_too(key: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.toml").write_text(f"{key} = 1\n")
    assert main(["train", "d.txt", "--config", str(tmp_path / "run.toml")]) == 2
    assert f"found the key {key!r}, wanted {meant}" in capsys.readouterr().err


def test_keys_of_files_may_be_the_other_names_of_options(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.toml").write_text("seed = 5\nthreads = 1\nepochs = 1\n")
    assert main(["train", "d.txt", "--config", str(tmp_path / "run.toml"), "--print-config"]) == 0
    out = capsys.readouterr().out
    assert "random_state = 5\n" in out
    assert "n_threads = 1\n" in out
    (tmp_path / "run.toml").write_text("seed = 5\nrandom_state = 4\n")
    assert main(["train", "d.txt", "--config", str(tmp_path / "run.toml")]) == 2
    assert "wanted one of them" in capsys.readouterr().err


def test_what_is_like_nothing_has_no_nearest() -> None:
    assert nearest("--zzzz", ["--hidden", "--lr"]) == []


# -- rows without labels, and no rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["txt", "csv"])
def test_rows_without_labels_are_said(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, some = str(folder / f"{kind}.slide"), str(folder / f"some.{kind}")
    assert main(["eval", model, some, "--json"]) == 0
    out = capsys.readouterr().out
    assert "7 of these rows have no label that the model knows, and count as missed" in out
    assert json.loads(out.splitlines()[-1])["n_unlabelled_samples"] == 7
    assert main(["eval", model, str(folder / f"all.{kind}")]) == 0
    assert "no label" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["txt", "csv"])
@pytest.mark.parametrize("verb", ["eval", "report"])
def test_a_file_without_labels_is_not_scored(
    verb: str, kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--html", str(folder / "page.html")] if verb == "report" else []
    for name, says in (("none", "found no label that the model knows in 100 rows"), ("empty", "found no rows")):
        assert main([verb, str(folder / f"{kind}.slide"), str(folder / f"{name}.{kind}"), *more]) == 2
        assert f"{name}.{kind}: {says}, wanted " in capsys.readouterr().err
    assert not (folder / "page.html").exists()


@pytest.mark.parametrize("kind", ["txt", "csv"])
@pytest.mark.parametrize("option", ["--test", "--validation"])
def test_it_is_refused_before_a_training(
    option: str, kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["--text", "title,body", "--labels", "tags", "--label-separator", ";"] if kind == "csv" else []
    command = ["train", str(folder / f"all.{kind}"), option, str(folder / f"none.{kind}"), *texts, *SMALL]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "found no label in 100 rows, wanted labels to score by" in err
    assert "epoch" not in err


@pytest.mark.parametrize("kind", ["txt", "csv"])
def test_no_rows_have_no_predictions(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(folder / f"{kind}.slide"), str(folder / f"empty.{kind}")]) == 0
    assert capsys.readouterr().out == ""


# -- while it is at work -----------------------------------------------------------------------------------------------


def test_scoring_writes_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = [100.0], io.StringIO()
    monkeypatch.setattr(bars.time, "monotonic", lambda: clock[0])
    with follow_rows("scoring", 1000, stream) as advance:
        for _ in range(10):
            clock[0] += 2.5
            advance(100)
    first = "scoring  20%  40 rows/s  20.0 s left"
    assert stream.getvalue().splitlines()[0] == first
    assert len(stream.getvalue().splitlines()) == 4
    unknown = io.StringIO()
    with follow_rows("scoring", None, unknown) as advance:
        for total in (None, None, 800, 800):  # which a file is expected to have by then
            clock[0] += 5
            advance(200, total)
    assert unknown.getvalue().splitlines() == [
        "scoring 200 rows  40 rows/s",
        "scoring 400 rows  40 rows/s",
        "scoring  75%  40 rows/s  5.0 s left",
    ]
    quick = io.StringIO()
    with follow_rows("scoring", 1000, quick) as advance:
        advance(500)
        advance(500)
    assert quick.getvalue() == ""


def test_progress_shows_the_measure_that_it_stops_by(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, held = str(folder / "all.txt"), ["--validation", "0.2", "--metric", "psp@3"]
    for more in ([], ["--patience", "1"]):
        assert main(["train", data, *SMALL, *held, *more, "--json"]) == 0
        out, err = capsys.readouterr()
        line = next(line for line in err.splitlines() if line.startswith("epoch 1/1"))
        shown = line.split("PSP@3 ")[1].split()[0]
        assert float(shown) == pytest.approx(json.loads(out.splitlines()[-1])["validation_psp@3"], abs=0.006)
        assert "P@1 " in line
    assert main(["train", data, *SMALL, "--metric", "ndcg@5"]) == 2
    assert "--metric: found no --validation" in capsys.readouterr().err


def test_scores_of_held_out_rows_are_on_the_card(folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "m.slide")
    data = [str(folder / "all.txt"), "--test", str(folder / "some.txt"), "--validation", "0.2"]
    assert main(["train", *data, "--out", out, *SMALL]) == 0
    clf = slide.load(out)
    assert isinstance(clf, slide.SlideClassifier)
    assert [score["on"] for score in clf.card_.scores] == ["rows held out", str(folder / "some.txt")]
    assert "validation" not in clf.card()
    assert "| P@1 | P@3 |" in clf.card()
