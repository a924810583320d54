"""What y may be: every form of the same labels, and what makes no sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score
from small_fits import NAMES, classifier, label_lists, problem

import slide
from slide.estimator.labels import Labels


@pytest.mark.parametrize(
    "classes",
    [
        np.array([3, 10, 7, -2]),
        np.array([0.0, 2.0, 5.0, 9.0]),
        np.array(["dog", "cat", "a longer name", "ox"]),
        np.array(["dog", "cat", "a longer name", "ox"], dtype=object),
        np.array([b"x", b"yy", b"z", b"w"]),
        np.array(["2020-01-01", "2021-01-01", "2019-05-05", "2024-02-02"], dtype="datetime64[D]"),
    ],
    ids=lambda classes: classes.dtype.name,
)
def test_a_vector_of_classes_of_any_type(classes: np.ndarray) -> None:
    X, Y = problem(n_labels=4, per_row=1)
    y = classes[Y.indices]
    clf = classifier().fit(X, y)
    np.testing.assert_array_equal(clf.classes_, np.sort(classes))
    assert clf.classes_.dtype == classes.dtype
    assert clf.predict(X).dtype == classes.dtype
    assert clf.score(X, y) == np.mean(clf.predict(X) == y) > 0.8
    ids, _ = clf.predict_topk(X, 2)
    names, _ = clf.predict_topk(X, 2, names=True)
    np.testing.assert_array_equal(names, clf.classes_[ids])


def test_two_classes_have_one_decision() -> None:
    X, Y = problem(n_labels=2, per_row=1)
    y = np.array([False, True])[Y.indices]
    clf = classifier().fit(X, y)
    decision, proba = clf.decision_function(X), clf.predict_proba(X)
    assert decision.shape == (len(y),)
    np.testing.assert_array_equal(decision > 0, clf.predict(X))
    np.testing.assert_array_equal(proba[:, 1] > 0.5, clf.predict(X))
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_every_form_of_the_same_labels_trains_the_same_network() -> None:
    X, Y = problem()
    forms = [
        Y,
        sp.csc_matrix(Y),
        Y.toarray(),
        Y.toarray().astype(bool),
        Y.toarray().tolist(),
        pd.DataFrame(Y.toarray()),
    ]
    forms += [label_lists(Y), [set(row) for row in label_lists(Y)], [tuple(row) for row in label_lists(Y)]]
    forms += [pd.Series(label_lists(Y)), [np.array(row) for row in label_lists(Y)]]
    expected = classifier().fit(X, Y).predict_topk(X, 8)
    for form in forms:
        for a, b in zip(classifier().fit(X, form).predict_topk(X, 8), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_label_that_a_row_names_twice_counts_once() -> None:
    Y = Labels.of([["a", "b"]]).encode([["b", "a", "b"], ["a"]])
    np.testing.assert_array_equal(Y.toarray(), [[1, 1], [1, 0]])


def test_predictions_come_in_the_form_of_y() -> None:
    X, Y = problem()
    dense = Y.toarray().astype(np.int64)
    clf = classifier(epochs=20)
    as_dense, as_sparse = clf.fit(X, dense).predict(X), clf.fit(X, Y).predict(X)
    assert as_dense.dtype == np.int64
    assert sp.issparse(as_sparse)
    assert as_sparse.dtype == Y.dtype
    np.testing.assert_array_equal(as_sparse.toarray(), as_dense)
    assert clf.fit(X, label_lists(Y)).predict(X) == label_lists(sp.csr_array(as_dense))
    positive = clf.decision_function(X) > 0
    np.testing.assert_array_equal(positive, clf.predict_proba(X) > 0.5)
    positive[np.arange(300), clf.predict_topk(X, 1)[0][:, 0]] = True
    np.testing.assert_array_equal(as_dense, positive)
    assert f1_score(dense, as_dense, average="micro") > 0.6


def test_predictions_of_more_labels_than_are_looked_at_first() -> None:
    X, Y = problem(n=200, n_labels=40, per_row=20)
    clf = classifier(epochs=30).fit(X, Y)
    predicted = clf.predict(X)
    assert np.diff(predicted.indptr).max() > 16
    positive = clf.decision_function(X) > 0
    positive[np.arange(200), clf.predict_topk(X, 1)[0][:, 0]] = True
    np.testing.assert_array_equal(predicted.toarray() > 0, positive)


@pytest.mark.parametrize("gaps", [False, True])
def test_a_row_without_labels_is_predicted_only_if_there_were_such_rows(gaps: bool) -> None:
    X, Y = problem()
    Y = Y.toarray()
    Y[::3] *= not gaps
    clf = classifier(epochs=2, wide=slide.Wide(lr=0.01)).fit(X, Y)
    assert (clf.predict(X).sum(axis=1) == 0).any() == gaps


def test_a_softmax_alone_predicts_about_as_many_labels_as_it_was_shown() -> None:
    X, Y = problem(n=600, per_row=3)
    clf = classifier(wide=False).fit(X, Y)
    assert clf.threshold_ != 0
    assert 2 < clf.predict(X).sum() / 600 < 4


def test_columns_of_a_data_frame_name_the_labels() -> None:
    X, Y = problem()
    frame = pd.DataFrame(Y.toarray(), columns=list(NAMES))
    clf = classifier().fit(X, frame)
    np.testing.assert_array_equal(clf.classes_, NAMES)
    assert set(clf.predict_topk(X[:5], 3, names=True)[0].ravel()) <= set(NAMES)
    np.testing.assert_array_equal(classifier().fit(X, Y, classes=NAMES).classes_, NAMES)


def test_places_that_the_tables_leave_empty_have_no_name() -> None:
    X, Y = slide.datasets.synthetic(300, 50, 400, nnz=5, labels_per_row=1)
    lsh = slide.SimHash(K=8, L=1, capacity=4)
    clf = classifier(lsh=lsh, wide=False, epochs=1).fit(X, Y, classes=[f"label {i}" for i in range(400)])
    ids, _ = clf.predict_topk(X, 20, n_candidates=20)
    names, _ = clf.predict_topk(X, 20, n_candidates=20, names=True)
    assert (ids < 0).any()
    assert all((name is None) == (i < 0) for i, name in zip(ids.ravel(), names.ravel(), strict=True))
    assert names[ids >= 0][0] == f"label {ids[ids >= 0][0]}"


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (None, "the target y is None"),
        (np.linspace(0, 1, 300), "Unknown label type: continuous"),
        ([None] * 300, "found None as a label"),
        ([float("nan"), "a"] * 150, "found nan as a label"),
        (["a", 1] * 150, "labels of types int, str, which have no order"),
        ("cats", r"Y: found str of shape \(\)"),
        (np.full((300, 2), "a"), r"Y: found ndarray of shape \(300, 2\) and dtype <U1"),
        (np.zeros((300, 2, 2)), r"Y: found ndarray of shape \(300, 2, 2\)"),
        ([["a"], ["b", None]] * 150, "found None as a label"),
        ([[], []] * 150, "Y: found shape"),
        (np.zeros((300, 3)), "0 labels set"),
        (["a"] * 299, "found 300 and 299 rows"),
    ],
)
def test_labels_that_make_no_sense(y: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        classifier().fit(problem()[0], y)


def test_a_test_part_may_have_labels_that_training_never_saw() -> None:
    X, Y = problem(n_labels=4, per_row=1)
    y = NAMES[Y.indices]
    clf = classifier().fit(X[y != "dog"], y[y != "dog"])
    with pytest.warns(UserWarning, match="a label that is unknown to the model, 'dog'"):
        assert clf.score(X, y) == np.mean(clf.predict(X) == y)
    with pytest.raises(ValueError, match="found the label 'dog', wanted one of the 3"):
        clf.partial_fit(X, y)


def test_features_are_checked_by_name() -> None:
    X, Y = problem()
    frame = pd.DataFrame(X.toarray(), columns=[f"f{i}" for i in range(60)])
    clf = classifier().fit(frame, Y)
    assert clf.feature_names_in_[3] == "f3"
    with pytest.raises(ValueError, match="unseen at fit time:\n- g0\n"):
        clf.predict(frame.rename(columns={"f0": "g0"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        clf.predict(X)
    assert not hasattr(clf.fit(X, Y), "feature_names_in_")


def test_sparse_data_frames_and_infinite_values() -> None:
    X, Y = problem()
    frame = pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(X), columns=[f"f{i}" for i in range(60)])
    np.testing.assert_array_equal(
        classifier().fit(frame, Y).predict_topk(frame)[0], classifier().fit(X, Y).predict_topk(X)[0]
    )
    for bad in (np.nan, np.inf, 1e300):
        dense = X.toarray().astype(np.float64)
        dense[7, 3] = bad
        with pytest.raises(ValueError, match="in row 7, wanted finite"):
            classifier().fit(dense, Y)
