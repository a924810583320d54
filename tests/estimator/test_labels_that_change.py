"""Labels that come and go after a fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from small_fits import BACKENDS, NAMES, classifier, label_lists, problem

import slide


def test_partial_fit_of_classes_that_come_later() -> None:
    X, Y = problem(n=600, n_labels=4, per_row=1)
    y = NAMES[Y.indices]
    clf = classifier()
    for part in np.argsort(y).reshape(6, 100):  # sorted: the first batches have the first classes only
        clf.partial_fit(X[part], y[part], classes=NAMES[:4])
    for _ in range(10):
        clf.partial_fit(X, y)
    assert clf.score(X, y) > 0.8
    with pytest.raises(ValueError, match="found other labels than in the first call"):
        clf.partial_fit(X, y, classes=NAMES[:5])


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_new_labels_are_not_predicted_until_they_are_trained(backend: str, wide: bool) -> None:
    X, Y = problem(n=600, n_labels=8, per_row=1)
    y = NAMES[Y.indices]
    old = np.isin(y, NAMES[:6])
    clf = classifier(backend=backend, wide=wide).fit(X[old], y[old])
    before = clf.predict(X)
    clf.add_labels(["gnu", "hen"])
    assert clf.classes_.tolist() == NAMES.tolist()
    assert clf.predict_topk(X, 8)[0].shape == (600, 8)
    np.testing.assert_array_equal(clf.predict(X[old]), before[old])
    assert not set(clf.predict(X)) & {"gnu", "hen"}
    assert clf.predict_topk(X, 4, n_candidates=6)[0].max() >= 0
    clf.partial_fit(X, y, epochs=10)
    assert np.mean(clf.predict(X)[~old] == y[~old]) > 0.8
    assert clf.score(X, y) > 0.8


def test_labels_taken_out_leave_the_others_as_they_were(tmp_path: Path) -> None:
    X, Y = problem()
    clf = classifier().fit(X, label_lists(Y))
    before = clf.decision_function(X)
    clf.forget(["bee", "hen"])
    stays = [0, 2, 3, 4, 5, 6]
    assert clf.classes_.tolist() == NAMES[stays].tolist()
    np.testing.assert_array_equal(clf.decision_function(X), before[:, stays])
    assert not {"bee", "hen"} & {name for row in clf.predict(X) for name in row}
    clf.save(tmp_path / "m.slide")
    np.testing.assert_array_equal(slide.load(tmp_path / "m.slide").decision_function(X), before[:, stays])
    rest = [[name for name in row if name not in ("bee", "hen")] for row in label_lists(Y)]
    some = np.array([bool(row) for row in rest])
    assert clf.partial_fit(X, rest, epochs=3).score(X[some], [row for row in rest if row]) > 0.7
    assert clf.add_labels(["hen"]).partial_fit(X, rest).classes_.tolist() == [*NAMES[stays], "hen"]


def test_columns_without_names_are_counted_anew() -> None:
    X, Y = problem()
    clf = classifier().fit(X, Y).forget([0, 1])
    assert clf.classes_.tolist() == list(range(6))
    assert clf.add_labels(3).n_labels_ == 9
    clf.partial_fit(X, sp.hstack([Y, Y[:, :1]]))
    with pytest.raises(ValueError, match="labels: found 'cat', wanted how many"):
        clf.add_labels("cat")


def test_labels_that_cannot_come_or_go() -> None:
    X, Y = problem()
    with pytest.raises(slide.NotFittedError):
        classifier().add_labels(["x"])
    clf = classifier().fit(X, label_lists(Y))
    with pytest.raises(ValueError, match="found 'cow', which this model has already"):
        clf.add_labels(["yak", "cow"])
    with pytest.raises(ValueError, match="found 'yak' twice"):
        clf.add_labels(["yak", "yak"])
    with pytest.raises(ValueError, match="found the label 'yak'"):
        clf.forget(["yak"])
    with pytest.raises(ValueError, match="labels: found 'all 8', wanted at least one that stays"):
        clf.forget(NAMES)
    assert clf.n_labels_ == 8
