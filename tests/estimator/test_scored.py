"""`score` and `evaluate` of a classifier: labels in any form, whichever form it was fitted with."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

import slide
from slide import metrics

X, Y = slide.datasets.synthetic(120, 40, 6, nnz=6, labels_per_row=2)
X, Y, X_TEST, Y_TEST = X[:80], Y[:80], X[80:], Y[80:]
NAMES = ["ant", "bee", "cow", "dog", "eel", "fox"]
FIRST = np.array([Y[[i]].indices[0] for i in range(80)])
SMALL: dict[str, Any] = {"hidden": (4,), "epochs": 2, "n_threads": 1}


def ids(M: sp.csr_array) -> list[list[int]]:
    return [row.tolist() for row in np.split(M.indices, M.indptr[1:-1])]


def lists(M: sp.csr_array) -> list[list[str]]:
    return [[NAMES[i] for i in row] for row in ids(M)]


def frame(M: sp.csr_array) -> pd.DataFrame:
    return pd.DataFrame(M.toarray(), columns=NAMES).iloc[:, ::-1]


def polars(M: sp.csr_array) -> Any:
    if importlib.util.find_spec("polars") is None:
        pytest.skip("polars is not installed")
    import polars

    return polars.DataFrame({name: M.toarray()[:, i] for i, name in enumerate(NAMES)})


MODELS = {"classes": np.array(NAMES)[FIRST], "lists": lists(Y), "frame": frame(Y), "sparse": Y, "dense": Y.toarray()}
#: Indicators whose columns are the model's, and forms with names.
COLUMNS: dict[str, Callable[[Any], Any]] = {
    "sparse": lambda M: M,
    "dense": lambda M: M.toarray(),
    "bool": lambda M: M.toarray() > 0,
    "counted frame": lambda M: pd.DataFrame(M.toarray()),
}
BY_NAME: dict[str, Callable[[Any], Any]] = {
    "lists": lists,
    "series of lists": lambda M: pd.Series(lists(M)),
    "arrow lists": lambda M: pa.array(lists(M)),
    "frame": frame,
    "arrow table": lambda M: pa.table(frame(M)),
    "polars frame": polars,
}
BY_NUMBER: dict[str, Callable[[Any], Any]] = {
    "lists": ids,
    "series of lists": lambda M: pd.Series(ids(M)),
    "arrow lists": lambda M: pa.array(ids(M)),
    "backward frame": lambda M: pd.DataFrame(M.toarray()).iloc[:, ::-1],
}
CASES = [(kind, form) for kind in MODELS for form in COLUMNS]
CASES += [(kind, form) for kind in ("classes", "lists", "frame") for form in BY_NAME]
CASES += [(kind, form) for kind in ("sparse", "dense") for form in BY_NUMBER]
WEIGHT = np.arange(40) % 3


@pytest.fixture(scope="module")
def models() -> dict[str, slide.SlideClassifier]:
    return {kind: slide.SlideClassifier(**SMALL).fit(X, y) for kind, y in MODELS.items()}


def in_order(clf: slide.SlideClassifier, M: sp.csr_array) -> sp.csr_array:
    """The columns as this model has them."""
    names = clf.classes_.tolist()
    return M if names[0] == 0 else sp.csr_array(M.toarray()[:, [NAMES.index(name) for name in names]])


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_every_form_of_labels(models: dict[str, slide.SlideClassifier], kind: str, form: str) -> None:
    clf = models[kind]
    columns, train = in_order(clf, Y_TEST), in_order(clf, Y)
    best = clf.predict_topk(X_TEST, 5)[0]
    if form in COLUMNS:
        given, given_train = COLUMNS[form](columns), COLUMNS[form](train)
    else:
        make = (BY_NUMBER if kind in ("sparse", "dense") else BY_NAME)[form]
        given, given_train = make(Y_TEST), make(Y)
    expected = metrics.evaluate(columns, best, train, (1, 5), sample_weight=WEIGHT)
    found = clf.evaluate(X_TEST, given, Y_train=given_train, ks=(1, 5), sample_weight=WEIGHT)
    assert found == pytest.approx(expected)
    assert clf.score(X_TEST, given) == pytest.approx(metrics.precision_at_k(columns, best, k=1))


@pytest.mark.parametrize("kind", ["classes", "lists", "frame"])
def test_one_label_a_row(models: dict[str, slide.SlideClassifier], kind: str) -> None:
    clf = models[kind]
    one = [row[0] for row in lists(Y_TEST)]
    expected = metrics.precision_at_k(one, clf.predict_topk(X_TEST, 1, names=True)[0], k=1)
    for given in (one, np.array(one), pd.Series(one), pa.array(one)):
        assert clf.score(X_TEST, given) == clf.evaluate(X_TEST, given)["p@1"] == pytest.approx(expected)


def test_metrics_of_what_a_model_answers(models: dict[str, slide.SlideClassifier]) -> None:
    clf = models["lists"]
    expected = clf.evaluate(X_TEST, lists(Y_TEST), ks=(1, 3))
    proba = clf.predict_proba(X_TEST)
    for predicted in (clf.predict_topk(X_TEST, 3), clf.predict_topk(X_TEST, 3)[0], proba, sp.csr_array(proba)):
        found = metrics.evaluate(lists(Y_TEST), predicted, ks=(1, 3), labels=clf.classes_)
        assert found == pytest.approx(expected)
    assert metrics.evaluate(lists(Y_TEST), clf.predict_topk(X_TEST, 3, names=True), ks=(1, 3)) == pytest.approx(
        expected
    )
    one = models["classes"].predict(X_TEST)
    assert metrics.precision_at_k(lists(Y_TEST), one, k=1) == pytest.approx(
        models["classes"].score(X_TEST, lists(Y_TEST))
    )


def test_labels_that_the_model_does_not_know_are_missed(models: dict[str, slide.SlideClassifier]) -> None:
    for kind, unknown in (("lists", "owl"), ("classes", "owl"), ("sparse", 17)):
        rows = ids(Y_TEST) if kind == "sparse" else lists(Y_TEST)
        with pytest.warns(
            UserWarning, match=f"y: found a label that is unknown to the model, {unknown!r}, in 40 of 40"
        ):
            found = models[kind].evaluate(X_TEST, [[*row, unknown] for row in rows])
        known = models[kind].evaluate(X_TEST, rows)
        assert found["p@5"] == pytest.approx(known["p@5"])
        assert found["recall@5"] < known["recall@5"]


def test_k_over_the_number_of_labels_and_pairs_left_out(models: dict[str, slide.SlideClassifier]) -> None:
    clf = models["lists"]
    assert clf.evaluate(X_TEST, lists(Y_TEST), ks=[12])["recall@12"] == 1
    pairs = [(row, labels[0]) for row, labels in enumerate(lists(Y_TEST))]
    columns = [(row, clf.classes_.tolist().index(name)) for row, name in pairs]
    best = clf.predict_topk(X_TEST, 6)[0]
    expected = metrics.evaluate(in_order(clf, Y_TEST), best, ks=(2,), filter_labels=np.array(columns))
    assert clf.evaluate(X_TEST, lists(Y_TEST), ks=(2,), filter_labels=[*pairs, (0, "owl")]) == pytest.approx(expected)
    assert models["sparse"].evaluate(X_TEST, Y_TEST, filter_labels=[]) == models["sparse"].evaluate(X_TEST, Y_TEST)


def test_what_cannot_be_scored(models: dict[str, slide.SlideClassifier]) -> None:
    clf = models["lists"]
    for call in (clf.score, clf.evaluate):
        with pytest.raises(ValueError, match=r"^X and y: found 'no rows', wanted at least one to score by"):
            call([], [])
        with pytest.raises(ValueError, match="40 and 3 rows, wanted equal numbers"):
            call(X_TEST, lists(Y_TEST)[:3])
        with pytest.raises(ValueError, match=r"y: found labels that are numbers, .* wanted text"):
            call(X_TEST, ids(Y_TEST))
    for ks, told in [((), "ks: found 'none'"), ((0,), "ks: found 0, wanted whole")]:
        with pytest.raises(ValueError, match=told):
            clf.evaluate(X_TEST, lists(Y_TEST), ks=ks)
    with pytest.raises(ValueError, match=r"filter_labels: found \(40, 'ant'\), wanted a row under 40 and a label"):
        clf.evaluate(X_TEST, lists(Y_TEST), filter_labels=[(40, "ant")])
