"""No rows have no predictions: empty results of the right type, whatever X is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import slide

X, Y = slide.datasets.synthetic(60, 20, 6, nnz=6, labels_per_row=1)
SMALL: dict[str, Any] = {"hidden": (4,), "epochs": 1, "n_threads": 1}
NAMES = np.array(list("abcdef"))[Y.indices]
NO_ROWS = [[], (), np.array([]), np.empty((0, 20)), sp.csr_array((0, 20)), X[:0], sp.coo_matrix((0, 20))]
NO_TEXTS = [[], (), np.array([], dtype=str), iter([])]


@pytest.mark.parametrize("empty", NO_ROWS, ids=lambda value: f"{type(value).__name__}-{np.ndim(value)}")
@pytest.mark.parametrize(
    "y", [NAMES, Y, Y.toarray(), [[name] for name in NAMES]], ids=["classes", "csr", "dense", "lists"]
)
def test_rows_of_features(y: Any, empty: Any) -> None:
    clf = slide.SlideClassifier(**SMALL).fit(X, y)
    found, one = clf.predict(empty), clf.predict(X[:1])
    assert type(found) is type(one)
    assert len(found) == 0 if isinstance(found, list) else (found.shape[0], found.shape[1:]) == (0, one.shape[1:])
    assert isinstance(found, list) or found.dtype == one.dtype
    for how in ({}, {"n_candidates": 3}):
        ids, scores = clf.predict_topk(empty, 2, **how)
        assert (ids.shape, ids.dtype, scores.shape, scores.dtype) == ((0, 2), np.int32, (0, 2), np.float32)
    assert clf.predict_topk(empty, 2, names=True)[0].shape == (0, 2)
    assert clf.predict_proba(empty).shape == clf.decision_function(empty).shape == (0, 6)
    assert clf.network_.predict_topk(empty, 2)[0].shape == (0, 2)
    with pytest.raises(ValueError, match=r"^X has 0 features|found '0 rows', wanted one row"):
        clf.explain(empty, 0)


@pytest.mark.parametrize("empty", NO_TEXTS, ids=lambda value: type(value).__name__)
def test_texts(empty: Any) -> None:
    clf = slide.SlideTextClassifier(**SMALL).fit(["one", "two"] * 5, ["a", "b"] * 5)
    found = clf.predict(empty)
    assert (found.shape, found.dtype) == ((0,), clf.classes_.dtype)


def test_texts_in_lists() -> None:
    clf = slide.SlideTextClassifier(**SMALL).fit(["one", "two"] * 5, [["a"], ["a", "b"]] * 5)
    assert clf.predict([]) == []
    assert clf.predict_topk([], 2)[0].shape == clf.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize("classifier", [slide.SlideClassifier, slide.SlideTextClassifier])
def test_nothing_is_learned_of_them(classifier: Any) -> None:
    with pytest.raises(ValueError, match="X: found "):
        classifier(**SMALL).fit([], [])


def test_tables_are_not_asked_by_them() -> None:
    net = slide.SlideClassifier(**SMALL).fit(X, Y).network_
    with pytest.raises(ValueError, match="X: found 'no rows', wanted at least one"):
        net.lsh_report(X[:0])
