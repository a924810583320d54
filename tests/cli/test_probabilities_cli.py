"""Probabilities and thresholds on the command line: trained with, learned later, written, and drawn."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.txt, test.txt, and model.slide, which was trained on all rows of train.txt."""
    where = tmp_path_factory.mktemp("probabilities")
    X, Y = slide.datasets.synthetic(900, 300, 40, nnz=10, labels_per_row=2)
    slide.write_xmc(where / "train.txt", X[:600], Y[:600])
    slide.write_xmc(where / "test.txt", X[600:], Y[600:])
    assert train(where, "--out", f"{where}/model.slide") == 0
    return where


def train(where: Path, *more: str) -> int:
    told = ["--threads", "1", "--hidden", "8", "--epochs", "2"]
    return main(["train", str(where / "train.txt"), *told, *more])


def pairs(text: str) -> tuple[Any, Any]:
    rows = [[pair.split(":") for pair in line.split()] for line in text.splitlines()]
    return tuple(np.array([[kind(pair[i]) for pair in row] for row in rows]) for i, kind in ((0, int), (1, float)))


def test_calibrate_and_predict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, test, better = (str(folder / name) for name in ("model.slide", "test.txt", "better.slide"))
    assert main(["predict", model, test, "-k", "3", "--proba", "--threads", "1"]) == 0
    assert "are not calibrated" in capsys.readouterr().err
    assert main(["calibrate", model, test, "--out", better, "--threads", "1"]) == 0
    assert "on 300 rows" in capsys.readouterr().out
    assert main(["predict", better, test, "-k", "3", "--proba", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    assert "not calibrated" not in err
    clf, (X, Y) = slide.load(better, n_threads=1), slide.read_xmc(test)
    assert clf.calibration_.config() == slide.load(model, n_threads=1).calibrate(X, Y).calibration_.config()
    ids, scores = clf.predict_topk(X, 3, proba=True)
    found = pairs(out)
    np.testing.assert_array_equal(found[0], ids)
    np.testing.assert_allclose(found[1], scores, rtol=1e-5)


def test_rows_to_learn_on_are_named_or_none(folder: Path) -> None:
    for given, n_rows in ((str(folder / "test.txt"), 300), ("no", None)):
        assert train(folder, "--calibrate", given, "--out", str(folder / "other.slide")) == 0
        found = slide.load(folder / "other.slide").calibration_
        assert (found and found.n_rows) == n_rows


def test_texts_are_calibrated_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, model = tmp_path / "t.csv", str(tmp_path / "m")
    rng = np.random.default_rng(0)
    rows = [
        (f"w{i} w{rng.integers(9)}", i if rng.random() < 0.7 else rng.integers(5)) for i in rng.integers(5, size=90)
    ]
    table.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    told = ["--text", "text", "--labels", "label", "--threads", "1", "--hidden", "4", "--out", model]
    assert main(["train", str(table), *told]) == 0
    assert main(["calibrate", model, str(table), "--out", model + "2"]) == 0
    capsys.readouterr()
    assert main(["predict", model + "2", "--text", "w1", "--proba", "-k", "5"]) == 0
    assert sum(float(line.split()[0]) for line in capsys.readouterr().out.splitlines()) == pytest.approx(1, abs=5e-3)


def test_thresholds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test, tuned = str(folder / "test.txt"), str(folder / "tuned.slide")
    assert train(folder, "--calibrate", test, "--threshold", "macro-f1", "--out", tuned) == 0
    clf, X = slide.load(tuned, n_threads=1), slide.read_xmc(test)[0]
    assert clf.threshold == "macro-f1"
    capsys.readouterr()

    def written(*told: str) -> Any:
        assert main(["predict", tuned, test, *told, "--threads", "1"]) == 0
        rows = [[int(pair.split(":")[0]) for pair in line.split()] for line in capsys.readouterr().out.splitlines()]
        return [sorted(row) for row in rows]

    assert written("--threshold", "model") == [sorted(row) for row in np.split(*split_of(clf.predict(X)))]
    assert {len(row) for row in written("--threshold", "2")} == {2}
    assert {len(row) for row in written("--threshold", "0.9")} <= {0, 1, 2}
    assert main(["calibrate", tuned, test, "--threshold", "precision=0.5", "--out", tuned + "2"]) == 0
    assert "tuned for precision=0.5 on 300 rows" in capsys.readouterr().out


def split_of(Y: Any) -> tuple[Any, Any]:
    return Y.indices, Y.indptr[1:-1]


def test_labels_are_written(folder: Path) -> None:
    table, test = folder / "labels.csv", str(folder / "test.txt")
    assert main(["report", str(folder / "model.slide"), test, "--labels", str(table)]) == 0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["support"]) for row in rows) == slide.read_xmc(test)[1].nnz
    clf = slide.load(folder / "model.slide", n_threads=1)
    assert sum(int(row["predicted"]) for row in rows) == clf.predict(slide.read_xmc(test)[0]).nnz


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["predict", "net", "test.txt", "--proba"], "net: holds a network, and probabilities are a SlideClassifier's"),
        (["calibrate", "net", "test.txt", "--out", "x"], "net: holds a network"),
        (["calibrate", "model.slide", "few.txt", "--out", "x"], "calibrate: found '2 rows', wanted 20 or more"),
        (["calibrate", "model.slide", "test.txt", "--out", "model.slide"], "is read by this command"),
        (["predict", "model.slide", "test.txt", "--threshold", "f1"], "wanted model, a probability, or a number"),
        (["predict", "model.slide", "test.txt", "--threshold", "f2"], "threshold: found 'f2'"),
        (["report", "model.slide", "--labels", "x"], "--labels: found no DATA"),
        (["report", "model.slide"], "--html: found none and no --labels"),
    ],
)
def test_what_cannot_be_is_refused(
    folder: Path, command: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    slide.load("model.slide").network_.save("net")
    slide.write_xmc("few.txt", sp.csr_array(np.ones((2, 3), np.float32)), sp.csr_array(np.ones((2, 3), np.float32)))
    assert main(command) == 2
    assert says in capsys.readouterr().err
    assert not Path("x").exists()


def test_the_page_draws_them(folder: Path) -> None:
    page = folder / "p.html"
    model, test = (str(folder / name) for name in ("model.slide", "test.txt"))
    assert main(["report", model, test, "--html", str(page)]) == 0
    assert "never compared with rows" in page.read_text()
    slide.load(model).calibrate(*slide.read_xmc(test)).save(folder / "drawn.slide")
    assert main(["report", str(folder / "drawn.slide"), test, "--html", str(page)]) == 0
    text = page.read_text()
    assert "Mean distance (ECE, 15 bins)" in text
    assert "First label of a row" in text
    assert "the first five labels with probabilities" in text
    assert "macro F1" in text
