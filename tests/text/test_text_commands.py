"""Commands that train on a table of texts and predict from texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_texts import BODIES, SMALL, TAGS, TITLES

import slide
from slide.cli.main import main
from slide.text.features import TextFeatures

TRAIN = ["--text", "title,body", "--labels", "tags", "--label-separator", ";", "--hidden", "8", "--epochs", "30"]


@pytest.fixture
def model(table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = tmp_path / "m.slide"
    assert main(["train", str(table(".csv")), *TRAIN, "--n-threads", "1", "--out", str(out)]) == 0
    assert "5 texts" in capsys.readouterr().out
    return out


def run(command: list[Any], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(part) for part in command]) == 0
    return capsys.readouterr().out


def refused(command: list[Any], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(part) for part in command]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    return err


def test_labels_of_a_text_on_the_command_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(["predict", model, "--text", "a feline that hunts mice"], capsys).splitlines()
    assert len(lines) == 3  # of five asked for
    assert {line.split()[1] for line in lines[:2]} == {"pet", "animal"}
    lines = run(["predict", model, "--text", "a tree", "--text", "a loyal canine", "-k", "1"], capsys).splitlines()
    assert lines[0] == "a tree"
    assert lines[1].split()[1] == "plant"
    assert lines[2:4] == ["", "a loyal canine"]


def test_a_table_is_predicted_and_scored_by_its_columns(
    model: Path, table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unlabelled = tmp_path / "new.csv"
    pd.DataFrame({"body": BODIES, "title": TITLES}).to_csv(unlabelled)
    rows = [line.split("\t") for line in run(["predict", model, unlabelled, "-k", "2"], capsys).splitlines()]
    assert [row[0].split(":")[0] for row in rows[2:4]] == ["plant", "plant"]
    assert {cell.split(":")[0] for cell in rows[0]} == {"pet", "animal"}
    out = run(["eval", model, table(".csv"), "--train", table(".csv"), "--json"], capsys)
    facts = json.loads(out.splitlines()[-1])
    assert facts["p@1"] == 100
    assert facts["psp@1"] > 90
    assert facts["n_labels"] == 3


def test_the_tables_of_a_text_model_are_reported_on_with_its_texts(
    model: Path, table: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(run(["lsh", model, table(".csv"), "--json"], capsys).splitlines()[-1])
    assert facts["n_neurons"] == 3
    assert set(facts["recall"]) <= {"1", "10", "100"}
    assert len(facts["recall"]) > 0


def test_options_of_features_reach_the_model(table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.slide"
    options = ["--words", "1", "--characters", "2,3", "--max-features", "9", "--max-share", "0.9", "--min-rows", "2"]
    told = run(["train", table(".csv"), *TRAIN, *options, "--out", out, "--test", table(".csv"), "--json"], capsys)
    assert json.loads(told.splitlines()[-1])["n_features"] == 9
    clf = slide.load(out)
    assert isinstance(clf, slide.SlideTextClassifier)
    assert clf.features == TextFeatures(words=1, characters=(2, 3), max_features=9, max_share=0.9, min_rows=2)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["train", "ROWS"], "is a table; say which columns hold what with --text and --labels"),
        (["train", "ROWS", "--text", "body"], "--labels: found none"),
        (["train", "ROWS", "--text", "words", "--labels", "tags"], "found no column 'words'"),
        (["train", "ROWS", "--text", "body", "--labels", "tags", "--words", "7"], "words=): found 7"),
        (["train", "wordnet-hypernym", "--text", "gloss", "--labels", "labels"], "has the columns text and labels"),
        (["predict", "MODEL"], "DATA: found none"),
        (["predict", "MODEL", "ROWS", "--text", "a"], "wanted either texts or a table"),
        (["predict", "MODEL", "--text", "a", "-k", "0"], "k: found 0"),
        (["eval", "MODEL", "ROWS2"], "no such data file"),
    ],
)
def test_commands_that_make_no_sense(
    command: list[str], told: str, model: Path, table: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    there = {"ROWS": str(table(".csv")), "MODEL": str(model), "ROWS2": str(model) + "x.csv"}
    assert told in refused([there.get(part, part) for part in command], capsys)


def test_a_model_of_other_features_takes_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = slide.datasets.synthetic(50, 20, 5, nnz=3, labels_per_row=1)
    slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1).fit(X, Y).save(tmp_path / "m.slide")
    told = refused(["predict", tmp_path / "m.slide", "--text", "a cat"], capsys)
    assert "wanted one trained on text" in told


def test_a_text_model_that_knows_no_columns(tmp_path: Path, table: Any, capsys: pytest.CaptureFixture[str]) -> None:
    slide.SlideTextClassifier(**SMALL).fit(BODIES, TAGS).save(tmp_path / "m.slide")
    assert "was not trained on a table" in refused(["predict", tmp_path / "m.slide", table(".csv")], capsys)


@pytest.mark.slow
def test_the_embedded_glosses_are_learned_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After one epoch; the commonest label alone would reach less than 5."""
    out = tmp_path / "m.slide"
    command = ["train", "wordnet-hypernym", "--text", "text", "--labels", "labels", "--epochs", "1", "--out", out]
    facts = json.loads(run([*command, "--json"], capsys).splitlines()[-1])
    assert facts["n_labels"] > 12_702
    assert facts["p@1"] > 40
    assert len(run(["predict", out, "--text", "a feline that hunts mice"], capsys).splitlines()) == 5
