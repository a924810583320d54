"""hidden=(): a linear softmax over dense rows, with all that any other classifier does."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

import slide

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(8, 10))
y = np.arange(600) % 8
X = (CENTRES[y] + 0.7 * RNG.normal(size=(600, 10))).astype(np.float32) * RNG.uniform(0.1, 5, 10).astype(np.float32)


def classifier(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier((), **({"epochs": 5, "n_threads": 1} | options))


@pytest.fixture(scope="module")
def fitted() -> slide.SlideClassifier:
    return classifier(lr=0.3).fit(X[:400], y[:400])


def test_it_is_a_logistic_regression(fitted: slide.SlideClassifier) -> None:
    first, last = fitted.network_.layers
    assert first == slide.DenseInput(10)
    assert isinstance(last, slide.Sampled)
    assert fitted.network_.weights(1).shape == (8, 10)
    rows = fitted._encoding.rows(X[400:])
    expected = rows @ fitted.network_.weights(1).T + fitted.network_.biases(1)
    np.testing.assert_allclose(fitted.decision_function(X[400:]), expected, rtol=1e-5, atol=1e-6)
    reached = LogisticRegression(max_iter=500).fit(X[:400], y[:400]).score(X[400:], y[400:])
    assert fitted.score(X[400:], y[400:]) > reached - 0.02


@pytest.mark.parametrize("how", ["saved", "pickled", "compressed", "compressed and saved"])
def test_it_is_kept(fitted: slide.SlideClassifier, how: str, tmp_path: Path) -> None:
    clf = fitted.compress() if "compressed" in how else fitted
    if "saved" in how:
        clf.save(tmp_path / "m.slide")
        clf = slide.load(tmp_path / "m.slide")
        assert clf.hidden == ()
    if how == "pickled":
        clf = pickle.loads(pickle.dumps(clf))
    wanted, found = fitted.decision_function(X), clf.decision_function(X)
    np.testing.assert_allclose(found, wanted, atol=0.05 if "compressed" in how else 0)
    if "compressed" not in how:
        clf.partial_fit(X[:100], y[:100])
        assert np.abs(clf.decision_function(X) - wanted).max() > 0


def test_it_goes_on_and_is_resized() -> None:
    clf = classifier()
    for first in range(0, 400, 100):
        clf.partial_fit(X[first : first + 100], y[first : first + 100], classes=range(8))
    clf.add_labels([8])
    clf.partial_fit(X[:100], np.full(100, 8)).forget([0])
    assert clf.classes_.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert clf.network_.weights(1).shape == (8, 10)


def test_a_fit_is_resumed(tmp_path: Path) -> None:
    kept = slide.Checkpoint(tmp_path / "c", minutes=None, samples=500)
    whole = classifier(epochs=2).fit(X, y)

    def stop(progress: Any) -> None:
        if progress.done > 600:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classifier(epochs=2).fit(X, y, checkpoint=kept, callback=stop)
    resumed = classifier(epochs=2).fit(X, y, checkpoint=slide.Checkpoint(tmp_path / "c", resume=True))
    np.testing.assert_array_equal(resumed.decision_function(X), whole.decision_function(X))


def test_a_sparse_part_beside_it_is_taken_if_asked_for() -> None:
    clf = classifier(wide=slide.Wide()).fit(X, y)
    assert clf.network_.wide == slide.Wide()


def test_rows_with_next_to_nothing_in_them_are_refused() -> None:
    rows = sp.csr_array((np.ones(600), (np.arange(600), np.arange(600))), shape=(600, 600))
    with pytest.raises(
        ValueError, match=r"hidden: found \(\), and of X 0\.17% that is not 0, wanted a width, such as 128"
    ):
        classifier().fit(rows, y)
    with pytest.raises(ValueError, match=r"hidden: found .*, wanted a width"):
        classifier().partial_fit(rows, y)
    assert classifier(epochs=1).fit(rows[:60, :50], y[:60]).network_.n_features == 50
