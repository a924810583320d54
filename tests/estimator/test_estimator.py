"""SlideClassifier as scikit-learn's users meet it: its checks, its tools, every form of y, labels by name."""

from __future__ import annotations

import copy
import doctest
import importlib
import os
import pickle
import subprocess
import sys
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from engine_strategies import needs_c, planted_data, precision_at_1
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from snippets import run_page
from strategies import sparse_rows

import slide
from slide.estimator.labels import Labels
from slide.estimator.scaling import Scaling
from slide.inference import scores
from slide.io.fingerprint import fingerprint

BACKENDS = ["numba", pytest.param("c", marks=needs_c)]
NAMES = np.array(["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen"])


def classifier(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(**{"hidden": (16,), "epochs": 10, "n_threads": 1} | options)


def problem(n: int = 300, n_labels: int = 8, per_row: int = 2, seed: int = 0) -> tuple[sp.csr_array, sp.csr_array]:
    return slide.datasets.synthetic(n, 60, n_labels, nnz=8, labels_per_row=per_row, seed=seed)


def label_lists(Y: sp.csr_array, names: Any = NAMES) -> list[list[Any]]:
    return [names[row].tolist() for row in np.split(Y.indices, Y.indptr[1:-1])]


# -- scikit-learn's own checks -----------------------------------------------------------------------------------------


def checks() -> list[Any]:
    with warnings.catch_warnings():
        # Said of every estimator that inherits nothing from scikit-learn; that is on purpose: docs/estimator.md.
        warnings.filterwarnings("ignore", message="Estimator SlideClassifier does not inherit")
        found = list(estimator_checks_generator(slide.SlideClassifier()))
    return [
        pytest.param(*pair, id=_name(pair[1]), marks=_mark(_name(pair[1])))
        for pair in found
        if "array_api" not in _name(pair[1])
    ]


def _mark(name: str) -> Any:
    """These shuffle the rows, on whose order a stochastic gradient depends (as SGDClassifier's does)."""
    shuffled = name.startswith("check_sample_weight_equivalence_on")
    return pytest.mark.xfail(strict=True, reason="the order of rows matters") if shuffled else ()


def _name(check: partial[None]) -> str:
    return "-".join([check.func.__name__, *map(str, check.keywords.values())])


@pytest.mark.parametrize(("estimator", "check"), checks())
def test_check_of_scikit_learn(estimator: Any, check: partial[None]) -> None:
    check(estimator)


def test_the_checks_are_all_there() -> None:
    names = {param.id for param in checks()}
    wanted = {"check_classifiers_train", "check_methods_subset_invariance", "check_fit_idempotent"}
    wanted |= {"check_classifiers_multilabel_output_format_predict", "check_estimators_pickle", "check_n_features_in"}
    assert wanted <= {name.split("-")[0] for name in names}
    assert len(names) > 50


@pytest.mark.thorough
def test_check_of_scikit_learn_that_needs_a_setting_of_scipy() -> None:
    code = (
        "import slide; from sklearn.utils.estimator_checks import check_array_api_input as check; "
        "check('SlideClassifier', slide.SlideClassifier(), array_namespace='numpy', expect_only_array_outputs=False)"
    )
    assert _run(code, SCIPY_ARRAY_API="1") == ""


def _run(code: str, **env: str) -> str:
    """What a fresh interpreter prints, run where it finds the same slide as these tests do."""
    where = Path(slide.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=where,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_of_it_works_where_scikit_learn_is_not_installed(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["sklearn"] = None  # import fails, as if it were not there
import slide
X, Y = slide.datasets.synthetic(100, 50, 8, nnz=5, labels_per_row=1)
clf = slide.SlideClassifier(hidden=(8,), n_threads=1)
try:
    clf.predict(X)
except slide.NotFittedError:
    clf.fit(X, [str(i % 3) for i in range(100)])
clf.predict_proba(X), clf.score(X, clf.predict(X)), clf.set_params(**clf.get_params())
clf.save({str(tmp_path / "m.slide")!r})
print(*slide.load({str(tmp_path / "m.slide")!r}).classes_)
"""
    assert _run(code) == "0 1 2"


def test_errors_are_caught_as_either_library_names_them() -> None:
    for error in (NotFittedError, slide.NotFittedError):
        with pytest.raises(error, match="call fit"):
            classifier().predict(np.zeros((1, 2)))


# -- small dense tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "least"), [(load_iris, 0.85), (load_wine, 0.94), (load_breast_cancer, 0.94), (load_digits, 0.93)]
)
def test_small_dense_tables(load: Any, least: float) -> None:
    """Mean of five splits and seeds. The commonest class would reach 0.33, 0.4, 0.63 and 0.1."""
    X, y = load(return_X_y=True)
    reached = []
    for seed in range(5):
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=seed)
        clf = slide.SlideClassifier(random_state=seed).fit(X_train, y_train)
        reached.append(clf.score(X_test, y_test))
    assert np.mean(reached) > least


def test_unit_length_would_lose_what_a_table_says() -> None:
    X, y = load_wine(return_X_y=True)
    reached = [classifier(normalize=n).fit(X[::2], y[::2]).score(X[1::2], y[1::2]) for n in ("auto", True)]
    assert reached[0] > reached[1] + 0.15


def test_a_table_is_the_same_data_sparse_or_dense_in_either_precision() -> None:
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    expected = classifier().fit(X, y).decision_function(X)
    for form in (
        X.astype(np.float64),
        sp.csr_array(X),
        sp.csc_matrix(X),
        X.tolist(),
        pd.DataFrame(X),
        np.asfortranarray(X),
    ):
        np.testing.assert_array_equal(classifier().fit(form, y).decision_function(form), expected)


def test_columns_are_centred_only_where_most_entries_are_not_zero() -> None:
    rng = np.random.default_rng(0)
    dense, sparse = rng.normal(size=(50, 6)) + 3, sparse_rows(50, 6, 0.4, rng)
    kinds = [Scaling.of(sp.csr_array(X), n).kind for X in (dense, sparse) for n in ("auto", True, False)]
    assert kinds == ["standard", "unit", "none", "unit", "unit", "none"]
    scaled = Scaling.of(sp.csr_array(dense), "auto")(sp.csr_array(dense)).toarray()
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose((scaled**2).sum(axis=1).mean(), 1, rtol=1e-6)


def test_a_constant_column_says_nothing() -> None:
    rng = np.random.default_rng(0)
    rounding = np.float32(1e6) + np.float32(0.0625) * rng.integers(0, 2, 40)  # neighbours in float32
    X = np.column_stack([rng.normal(size=40), rounding])
    scaling = Scaling.of(sp.csr_array(X.astype(np.float32)), "auto")
    assert scaling.factor[1] == 0
    assert np.isfinite(scaling(sp.csr_array(X + 5)).toarray()).all()


# -- what y may be -----------------------------------------------------------------------------------------------------


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


# -- every label at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"wide": False}, {"hidden": (16, 12), "activation": "relu"}])
def test_scores_of_every_label_are_those_of_predict_topk(options: dict[str, Any], backend: str) -> None:
    X, Y = problem()
    clf = classifier(backend=backend, **options).fit(X, Y)
    ids, expected = clf.predict_topk(X, 8)
    found = np.take_along_axis(clf.decision_function(X) + clf.threshold_, ids, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_matrices_that_are_too_large_name_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = problem()
    clf = classifier().fit(X, Y.toarray())
    monkeypatch.setattr(scores, "LIMIT", 300 * 8 * 8 - 1)
    for method in (clf.decision_function, clf.predict_proba, clf.predict):
        with pytest.raises(ValueError, match=r"300 rows x 8 labels.* take predict_topk"):
            method(X)
        method(X[:-1])
    assert clf.predict_topk(X)[0].shape == (300, 5)


# -- scikit-learn's tools ----------------------------------------------------------------------------------------------


def test_tools_of_scikit_learn() -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipe = make_pipeline(StandardScaler(), classifier(epochs=20)).set_output(transform="pandas")
    assert is_classifier(pipe)
    assert cross_val_score(pipe, X, y, cv=3).mean() > 0.85
    assert cross_val_score(classifier(epochs=20), X, y, cv=2, scoring="roc_auc_ovr", n_jobs=2).mean() > 0.9
    search = GridSearchCV(pipe, {"slideclassifier__epochs": [1, 20], "slideclassifier__hidden": [(8,), (16, 8)]}, cv=2)
    assert search.fit(X, y).best_params_["slideclassifier__epochs"] == 20
    assert search.best_estimator_.predict(X.iloc[:3]).shape == (3,)
    assert list(search.best_estimator_[-1].feature_names_in_) == list(X.columns)


def test_other_estimators_can_wrap_it() -> None:
    X, Y = problem(n_labels=3)
    dense = Y.toarray().astype(int)
    chain = ClassifierChain(classifier(), order=[0, 1, 2]).fit(X.toarray(), dense)
    assert f1_score(dense, chain.predict(X.toarray()), average="micro") > 0.7


def test_clone_copies_parameters_and_nothing_learned() -> None:
    clf = classifier(lsh=slide.SimHash(K=3), random_state=5).fit(*problem())
    twin = clone(clf)
    assert twin.get_params() == clf.get_params()
    assert not hasattr(twin, "classes_")
    assert repr(twin) == repr(clf)
    assert "random_state=5" in repr(twin)
    assert "n_active" not in repr(twin)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda clf: pickle.loads(pickle.dumps(clf))], ids=["copy", "pickle"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copy_predicts_and_goes_on_training_alike(copied: Any, backend: str) -> None:
    X, Y = problem()
    clf = classifier(backend=backend).fit(X, label_lists(Y))
    twin = copied(clf)
    assert not np.shares_memory(twin.network_.weights(0), clf.network_.weights(0))
    for _ in range(2):
        for a, b in zip(twin.predict_topk(X, 8), clf.predict_topk(X, 8), strict=True):
            np.testing.assert_array_equal(a, b)
        clf.partial_fit(X, label_lists(Y))
        twin.partial_fit(X, label_lists(Y))
    rows = twin.network_.states[-1].rows
    assert rows.ctypes.data % 64 == 0


# -- labels that come and go -------------------------------------------------------------------------------------------


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


# -- files -------------------------------------------------------------------------------------------------------------


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


# -- documentation -----------------------------------------------------------------------------------------------------


def test_the_page_about_it_runs(checkout: Path, tmp_path: Path) -> None:
    names = run_page(checkout / "docs" / "estimator.md", tmp_path)
    assert names["clf"].classes_.tolist() == ["bee", "cow", "dog", "eel"]
    assert names["search"].best_params_["slideclassifier__epochs"] == 20


@pytest.mark.parametrize("module", ["estimator.classifier", "text.classifier", "text.tables"])
def test_examples_in_docstrings(module: str) -> None:
    tried = doctest.testmod(importlib.import_module(f"slide.{module}"))
    assert tried.attempted > 1
    assert tried.failed == 0


# -- presets -----------------------------------------------------------------------------------------------------------


def test_a_preset_is_an_ordinary_classifier_with_options() -> None:
    plain = slide.SlideClassifier().get_params()
    assert slide.SlideClassifier.preset("balanced").get_params() == plain
    fast, accurate = (slide.SlideClassifier.preset(name).get_params() for name in ("fast", "accurate"))
    assert fast["epochs"] < plain["epochs"] < accurate["epochs"]
    assert fast["n_active"] < plain["n_active"] < accurate["n_active"]
    own = slide.SlideClassifier.preset("fast", epochs=7, random_state=3)
    assert (own.epochs, own.random_state, own.n_active) == (7, 3, fast["n_active"])
    assert clone(own).get_params() == own.get_params()
    assert isinstance(slide.SlideTextClassifier.preset("fast"), slide.SlideTextClassifier)
    with pytest.raises(ValueError, match="preset: found 'best', wanted one of fast, balanced, accurate"):
        slide.SlideClassifier.preset("best")


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_presets_learn(name: str) -> None:
    X, Y, Xt, Yt = (*planted_data(900, 100, 50, seed=0), *planted_data(300, 100, 50, seed=1))
    clf = slide.SlideClassifier.preset(name, n_threads=1).fit(X, Y)
    assert precision_at_1(clf.network_, clf._rows(Xt), Yt) > 0.85
