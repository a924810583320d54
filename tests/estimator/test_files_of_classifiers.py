"""What a loaded classifier keeps, and what is done once in a fit."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_iris
from small_fits import NAMES, classifier, label_lists, problem

import slide
from slide.estimator.labels import Labels
from slide.io.fingerprint import fingerprint


@pytest.mark.parametrize(
    "classes",
    [
        NAMES,
        NAMES.astype(object),
        np.arange(8) * 3 - 5,
        np.arange(8) / 1.0,
        np.array(["ä", "\ud83d\ude00", *"cdefg", ""]),
    ],
    ids=["str", "object", "int", "float", "unicode"],
)
@pytest.mark.parametrize("kind", ["classes", "dense", "sparse", "lists"])
def test_a_loaded_model_answers_alike(tmp_path: Path, kind: str, classes: np.ndarray) -> None:
    X, Y = problem(per_row=1 if kind == "classes" else 2)
    forms: dict[str, Any] = {"dense": Y.toarray(), "sparse": Y, "lists": label_lists(Y, classes)}
    y = classes[Y.indices] if kind == "classes" else forms[kind]
    clf = classifier().fit(X, y, classes=classes if kind in ("dense", "sparse") else None)
    clf.save(tmp_path / "m.slide")
    again = slide.load(tmp_path / "m.slide")
    np.testing.assert_array_equal(again.classes_, clf.classes_)
    assert again.classes_.dtype.kind == clf.classes_.dtype.kind
    ours, theirs = clf.predict(X), again.predict(X)
    assert type(ours) is type(theirs)
    if kind == "lists":
        assert ours == theirs
    else:
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(*(p.toarray() if sp.issparse(p) else p for p in (ours, theirs)))


def test_a_loaded_model_scales_and_names_features_alike(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    clf = classifier().fit(X, y)
    clf.save(tmp_path / "m.slide")
    again = slide.load(tmp_path / "m.slide")
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    np.testing.assert_array_equal(again.feature_names_in_, clf.feature_names_in_)
    assert again.get_params() | {"lsh": None, "optimizer": None, "rebuild": None, "wide": None} == clf.get_params() | {
        "lsh": None,
        "optimizer": None,
        "rebuild": None,
        "wide": None,
    }


def test_a_loaded_model_keeps_the_threads_it_was_loaded_with(tmp_path: Path) -> None:
    X, Y = problem()
    slide.SlideClassifier(hidden=(8,), n_threads=2).fit(X, Y).save(tmp_path / "m.slide")
    assert slide.load(tmp_path / "m.slide", n_threads=1).partial_fit(X, Y).network_.n_threads == 1


def test_few_rows_are_fitted_by_one_thread_and_predicted_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDE_NUM_THREADS", "3")
    X, Y = problem()
    seen: list[int] = []
    for n_threads in (None, 2):
        clf = slide.SlideClassifier(hidden=(8,), epochs=1, n_threads=n_threads)
        clf.fit(X, Y, callback=lambda _, clf=clf: seen.append(clf.network_.n_threads))
        assert clf.network_.n_threads == (n_threads or 3)
    assert set(seen[:1]) == {1}
    assert seen[-1] == 2


def test_an_explanation_names_columns_and_label() -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    clf = classifier().fit(X, np.array(["setosa", "versicolor", "virginica"])[y])
    told = str(clf.explain(X.to_numpy()[0], "virginica"))
    assert told.startswith("label virginica scores ")
    assert "petal width (cm)" in told


def test_a_file_from_before_labels_had_names() -> None:
    network = classifier().fit(*problem()).network_
    params = {"hidden": [16], "normalize": True, "epochs": 10}
    older = {"params": params, "fitted": {"fit_seconds_": 1.0, "samples_per_second_": 2.0}}
    clf = slide.SlideClassifier._restore(network, older, {})
    X, Y = problem()
    assert clf.classes_.tolist() == list(range(8))
    assert sp.issparse(clf.predict(X))
    assert clf.partial_fit(X, Y).score(X, Y) > 0.5


def test_rows_are_checked_and_fingerprinted_once_in_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = problem()
    calls: Counter[str] = Counter()

    def counting(name: str, inner: Any) -> Any:
        def call(data: Any, *rest: Any) -> Any:
            if data.shape[0] in (200, 100):  # all others are samples of the rows
                calls[f"{name} {rest[0] if name == 'csr' else data.shape[0]}"] += 1
            return inner(data, *rest)

        return call

    monkeypatch.setattr("slide.checks._csr", counting("csr", slide.checks._csr))
    for module in ("slide.io.fingerprint", "slide.estimator.card", "slide.training.early_stopping"):
        monkeypatch.setattr(f"{module}.fingerprint", counting("fingerprint", fingerprint))
    checkpoint = slide.Checkpoint(tmp_path / "m.checkpoint")
    clf = classifier(epochs=1).fit(X[:200], Y[:200], eval_set=(X[200:], Y[200:]), checkpoint=checkpoint)
    scored = {"csr X": 1, "csr Y": 2}  # at the epoch's end: X held out by the network, both Y by slide.metrics
    assert calls - Counter(scored) == {"csr X": 2, "csr Y": 2, "fingerprint 200": 1, "fingerprint 100": 1}
    assert clf.card_.data["fingerprint"] == fingerprint(clf._rows(X[:200]), Y[:200])


def test_blocks_are_checked_once_in_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = problem()
    checked = []
    csr = slide.checks._csr
    monkeypatch.setattr("slide.checks._csr", lambda M, name, *kind: checked.append((name, M.shape[0])) or csr(M, name))
    classifier(epochs=2).fit_blocks([(X[:140], Y[:140]), (X[140:], Y[140:])])
    first, passes = 1, 3  # a look at the first block, one pass to count, and two epochs
    assert [checked.count(("X", n)) for n in (140, 160)] == [first + passes, passes]
    assert [checked.count(("Y", n)) for n in (140, 160)] == [first + passes, passes]


def test_values_that_leave_float32_when_they_are_scaled() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3)) * 1e-6
    clf = classifier().fit(X, np.arange(40) % 2)
    with pytest.raises(ValueError, match="X: found inf in column 0 in row 0, wanted finite"):
        clf.predict(np.full((1, 3), 1e38))


def test_warnings_name_the_line_of_the_caller() -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    clf = classifier().fit(X, y)
    with pytest.warns(UserWarning, match="X does not have valid feature names") as found:
        clf.predict(X.to_numpy())
    with pytest.warns(UserWarning, match="A column-vector y") as more:
        clf.fit(X, y.to_numpy()[:, None])
    assert {warning.filename for warning in (*found, *more)} == {__file__}


def test_load_is_a_function_whatever_was_imported() -> None:
    code = "import slide.loading, slide; from slide.loading import load; assert slide.load is load and callable(load)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("change", [{"kind": "tree"}, {"class_dtype": "<c8"}, {"class_dtype": "|V8"}])
def test_label_names_of_a_file_are_checked(change: dict[str, str]) -> None:
    labels = Labels.of(list("abc"))
    with pytest.raises(ValueError, match="labels: found"):
        Labels.restored(labels.config() | change, labels.arrays(), 3)
    with pytest.raises(ValueError, match="labels: found '3 names', wanted 4"):
        Labels.restored(labels.config(), labels.arrays(), 4)
