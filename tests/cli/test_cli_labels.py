"""Labels on the command line: text and numbers of other files, and labels that the model does not know."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import slide
from slide.cli.main import main

WORDS = {1: "red crimson", 2: "blue navy", 3: "green lime"}
ROWS = [(f"{WORDS[1 + i % 3]} {i % 5}", 1 + i % 3) for i in range(45)]


def write(path: Path, rows: list[tuple[str, Any]]) -> str:
    """A table of texts and labels; the file's ending says which kind."""
    with open(path, "w", newline="") as file:
        if path.suffix == ".csv":
            csv.writer(file).writerows([("text", "label"), *rows])
        else:
            file.writelines(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    return str(path)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with m.slide, trained on labels that are numbers, and its rows as train.jsonl."""
    where = tmp_path_factory.mktemp("labels")
    data = write(where / "train.jsonl", ROWS)
    options = ["--text", "text", "--labels", "label", "--epochs", "5", "--hidden", "8", "--n-threads", "1"]
    assert main(["train", data, "--out", str(where / "m.slide"), *options]) == 0
    return where


def scored(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[dict[str, Any], str]:
    capsys.readouterr()
    assert main(["eval", *args, "--json"]) == 0
    out, err = capsys.readouterr()
    return json.loads(out.splitlines()[-1]), err


def test_numbers_are_found_in_files_of_text(numbers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(numbers / "m.slide")
    same, err = scored(capsys, model, str(numbers / "train.jsonl"))
    assert same["p@1"] > 90
    assert "unknown" not in err
    assert scored(capsys, model, write(numbers / "text.csv", ROWS))[0]["p@1"] == same["p@1"]


def test_labels_of_another_type_are_an_error(numbers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write(numbers / "words.csv", [(text, WORDS[label].split()[0]) for text, label in ROWS])
    assert main(["eval", str(numbers / "m.slide"), other]) == 2
    assert "found labels that are text, 'blue', 'green', 'red', wanted numbers" in capsys.readouterr().err


def test_unknown_labels_are_missed_and_said(numbers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*ROWS[:30], *((text, 7) for text, _ in ROWS[30:])]
    args = str(numbers / "m.slide"), write(numbers / "more.csv", rows), "--train", str(numbers / "train.jsonl")
    found, err = scored(capsys, *args, "--by-frequency")
    assert "a label that is unknown to the model, '7', in 15 of 45 rows: counted as missed" in err
    assert found["n_unknown_labels"] == 1
    assert found["p@1"] <= 66.67
    assert found["recall@5"] == 66.67
    assert found["psp@5"] < 66.67  # as a label of no training row it weighs most
    rare = found["by_frequency"][0]
    assert (rare["most"], rare["labels"], rare["true"], rare["found"]) == (0, 1, 15, 0)


def test_a_report_names_unknown_labels(numbers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = numbers / "report.html"
    rows = write(numbers / "all.csv", [(text, "new") for text, _ in ROWS] + ROWS)
    assert main(["report", str(numbers / "m.slide"), rows, "--html", str(page), "--train", rows]) == 0
    assert "unknown to the model, 'new'" in capsys.readouterr().err
    assert "<td>new</td>" in page.read_text()


@pytest.mark.filterwarnings("default")  # shown as a line
def test_scores_after_training_count_unknown_labels(numbers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = write(numbers / "test.jsonl", [*ROWS[:15], *((text, 9) for text, _ in ROWS[15:])])
    options = ["--text", "text", "--labels", "label", "--epochs", "1", "--hidden", "8", "--n-threads", "1"]
    files = str(numbers / "train.jsonl"), "--test", test, "--validation", test
    assert main(["train", *files, "--json", *options]) == 0
    out, err = capsys.readouterr()
    assert err.count("unknown to the model, 9") == 2
    facts = json.loads(out.splitlines()[-1])
    assert facts["recall@5"] == 33.33
    assert facts["validation_p@1"] <= 33.33


def test_lists_of_0_and_1_are_lists_where_the_model_knows_lists(tmp_path: Path) -> None:
    lists = write(tmp_path / "lists.jsonl", [(text, [0, label] if label > 1 else [label]) for text, label in ROWS])
    few = write(tmp_path / "few.jsonl", [("red crimson", [0]), ("blue navy", [1])])
    model = str(tmp_path / "m.slide")
    options = ["--text", "text", "--labels", "label", "--epochs", "1", "--hidden", "8", "--n-threads", "1"]
    assert main(["train", lists, "--out", model, *options]) == 0
    assert slide.load(model).classes_.tolist() == [0, 1, 2, 3]
    assert main(["eval", model, few]) == 0


# -- pairs that are not scored -----------------------------------------------------------------------------------------


def test_pairs_of_a_filter_file_are_not_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = slide.datasets.synthetic(300, 100, 20, nnz=8, labels_per_row=2)
    train, test, model = str(tmp_path / "train.txt"), str(tmp_path / "test.txt"), str(tmp_path / "m.slide")
    slide.write_xmc(train, X[:200], Y[:200])
    slide.write_xmc(test, X[200:], Y[200:])
    clf = slide.SlideClassifier(hidden=(8,), epochs=2, n_threads=1).fit(X[:200], Y[:200])
    clf.save(model)
    ids, _ = clf.predict_topk(X[200:], 7)
    pairs = [(row, label) for row in range(50) for label in ids[row, :2].tolist()]
    (tmp_path / "filter.txt").write_text("".join(f"{row} {label}\n" for row, label in pairs))
    found, _ = scored(capsys, model, test, "--train", train, "--filter-labels", str(tmp_path / "filter.txt"))
    wanted = slide.metrics.evaluate(Y[200:], ids, Y[:200], filter_labels=pairs)
    assert found["n_filtered_pairs"] == 100
    for name in ("p@1", "p@5", "psp@3", "psndcg@5", "recall@5"):
        assert found[name] == pytest.approx(100 * wanted[name], abs=0.006)
    assert main(["eval", model, test, "--filter-labels", str(tmp_path / "filter.txt")]) == 0
    assert "left out: 100 pairs of a row and a label" in capsys.readouterr().out
    (tmp_path / "filter.txt").write_text("100 3\n")
    assert main(["eval", model, test, "--filter-labels", str(tmp_path / "filter.txt")]) == 2
    assert "filter.txt: found row 100 and label 3, wanted rows under 100" in capsys.readouterr().err


def test_a_filter_file_has_labels_by_name(numbers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [str(numbers / "m.slide"), str(numbers / "train.jsonl")]
    (numbers / "filter.txt").write_text("".join(f"{row} {label}\n" for row, (_, label) in enumerate(ROWS)) + "0 99\n")
    found, _ = scored(capsys, *args, "--filter-labels", str(numbers / "filter.txt"))
    assert (found["p@1"], found["recall@5"], found["n_filtered_pairs"]) == (0, 0, 45)


def test_every_verb_that_prints_psp_prints_psndcg(numbers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, page = str(numbers / "m.slide"), str(numbers / "train.jsonl"), numbers / "page.html"
    assert scored(capsys, model, data, "--train", data)[0]["psndcg@3"] > 90
    assert main(["eval", model, data, "--train", data]) == 0
    assert "\nPSnDCG  " in capsys.readouterr().out
    assert main(["report", model, data, "--html", str(page), "--train", data]) == 0
    assert "PSnDCG@k" in page.read_text()
    options = ["--text", "text", "--labels", "label", "--epochs", "1", "--hidden", "8", "--n-threads", "1"]
    more = "--test", data, "--validation", data, "--patience", "1", "--metric", "psndcg@3", "--json"
    out = str(numbers / "again.slide")
    assert main(["train", data, *more, "--out", out, *options]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["validation_psndcg@3"] == facts["psndcg@3"]
    assert main(["card", out]) == 0
    assert " PSnDCG@3 |" in capsys.readouterr().out
