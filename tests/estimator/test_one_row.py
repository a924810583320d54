"""One row by the short way: the same bits as among others, and faults are found all the same."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from strategies import FLOAT32, csr

import slide
from slide.checks import check_X
from slide.engine.binding import c_core
from slide.engine.one_row import one_row, unit_row
from slide.engine.protocol import Examples
from slide.estimator.scaling import Scaling, unit_rows

pytestmark = pytest.mark.skipif(c_core() is None, reason="the short way is the C extension's, which was not built")

SMALL: dict[str, Any] = {"hidden": (8,), "epochs": 3, "n_threads": 1, "random_state": 0}


@pytest.fixture(scope="module")
def sparse_model() -> tuple[slide.SlideClassifier, sp.csr_array]:
    X, Y = slide.datasets.synthetic(200, 60, 12, nnz=6, labels_per_row=2)
    return slide.SlideClassifier(**SMALL).fit(X, Y), X


@pytest.fixture(scope="module")
def table_model() -> tuple[slide.SlideClassifier, np.ndarray[Any, Any]]:
    X = np.random.default_rng(0).normal(3, 2, (60, 5))
    X[::7, 2] = 0
    return slide.SlideClassifier(**SMALL).fit(X, X[:, 0] > 3), X


def equal(a: Examples, b: Examples) -> None:
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype


@given(csr(rows=st.just(1)), st.sampled_from([np.float32, np.float64]))
def test_a_row_is_what_the_checks_make_of_it(X: sp.csr_array, dtype: Any) -> None:
    expected = check_X(X)
    for form in (X, sp.csr_matrix(X), X.astype(dtype), X.toarray().astype(dtype)):
        found = one_row(form, X.shape[1])
        stores_zeros = sp.issparse(form) and not form.data.all()
        assert (found is None) == stores_zeros
        if found is not None:
            np.testing.assert_array_equal(found[0], expected.indices)
            np.testing.assert_array_equal(found[1], expected.data)


@given(
    st.lists(FLOAT32.filter(lambda v: v != 0 and abs(v) < 1e18), max_size=12), st.sampled_from([1.0, 1.00005, 0.9998])
)
def test_a_row_is_scaled_as_several_are(values: list[float], length: float) -> None:
    """Rows that are of length 1 already, within a rounding, are left as they are."""
    array = np.array(values, np.float32)
    for data in (array, (array / (np.linalg.norm(array.astype(float)) or 1) * length).astype(np.float32)):
        X = sp.csr_array((data, np.arange(len(data), dtype=np.int32), [0, len(data)]), shape=(1, 12))
        found = unit_row((X.indices, X.data))
        assert found is not None
        np.testing.assert_array_equal(found[1], unit_rows(X).data)


def test_sparse_rows_one_by_one(sparse_model: tuple[slide.SlideClassifier, sp.csr_array]) -> None:
    clf, X = sparse_model
    ids, scores = clf.predict_topk(X, 3)
    several = clf.predict(X)
    for row in range(20):
        for form in (X[row : row + 1], X[row : row + 1].astype(np.float64), X[row : row + 1].toarray()):
            found = clf.predict_topk(form, 3)
            np.testing.assert_array_equal(found[0], ids[row : row + 1])
            np.testing.assert_array_equal(found[0], clf.network_.predict_topk(clf._rows(form), 3)[0])
            np.testing.assert_allclose(found[1], scores[row : row + 1], rtol=1e-5)
            assert (clf.predict(form) != several[row : row + 1]).sum() == 0
        equal(clf._examples(X[row : row + 1]), Examples.of(clf._rows(X[row : row + 1])))


def test_rows_of_a_table_one_by_one(table_model: tuple[slide.SlideClassifier, np.ndarray[Any, Any]]) -> None:
    clf, X = table_model
    assert clf._encoding.scaling.kind == "standard"
    for row in range(20):
        for form in (X[row : row + 1], sp.csr_array(X[row : row + 1])):
            equal(clf._examples(form), Examples.of(clf._rows(form)))
    np.testing.assert_array_equal(np.concatenate([clf.predict(row[None]) for row in X]), clf.predict(X))


BAD = {
    "value": lambda X: X.data.__setitem__(0, np.nan),
    "infinity": lambda X: X.data.__setitem__(0, np.inf),
    "column": lambda X: X.indices.__setitem__(-1, 60),
    "negative": lambda X: X.indices.__setitem__(0, -1),
    "indptr": lambda X: X.indptr.__setitem__(1, X.nnz - 1),
    "begin": lambda X: X.indptr.__setitem__(0, 1),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_fault_of_one_row_is_named(sparse_model: tuple[slide.SlideClassifier, sp.csr_array], fault: str) -> None:
    clf, X = sparse_model
    row = X[:1].copy()
    BAD[fault](row)
    for ask in (clf.predict_topk, clf.predict, clf.network_.predict_topk):
        with pytest.raises(ValueError, match="X: found"):
            ask(row)


def test_a_row_that_is_not_canonical_is_put_in_order(sparse_model: tuple[slide.SlideClassifier, sp.csr_array]) -> None:
    clf, X = sparse_model
    row = X[:1]
    backwards = sp.csr_array((row.data[::-1].copy(), row.indices[::-1].copy(), row.indptr), shape=row.shape)
    twice = sp.csr_array((np.repeat(row.data / 2, 2), np.repeat(row.indices, 2), 2 * row.indptr), shape=row.shape)
    for form in (backwards, twice):
        np.testing.assert_array_equal(clf.predict_topk(form, 3)[0], clf.predict_topk(row, 3)[0])


def test_a_row_of_another_width_is_refused(sparse_model: tuple[slide.SlideClassifier, sp.csr_array]) -> None:
    clf, _ = sparse_model
    for X in (np.ones((1, 59)), sp.csr_array(np.ones((1, 61), np.float32))):
        with pytest.raises(ValueError, match="features, but SlideClassifier is expecting 60 features"):
            clf.predict_topk(X)


def test_without_c_rows_go_the_long_way(
    sparse_model: tuple[slide.SlideClassifier, sp.csr_array], monkeypatch: pytest.MonkeyPatch
) -> None:
    clf, X = sparse_model
    expected = clf.predict_topk(X[:1], 3)
    monkeypatch.setattr("slide.engine.one_row.core", lambda: None)
    assert one_row(X[:1], 60) is None
    for a, b in zip(clf.predict_topk(X[:1], 3), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert Scaling("unit", np.empty(0), np.empty(0)).row((X.indices, X.data)) is None


@pytest.mark.parametrize("wide", [True, False])
def test_what_a_prediction_leaves_for_the_next_changes_nothing(wide: bool) -> None:
    """Calls of other sizes in between, rows longer than there was room for, and several threads at once."""
    X, Y = slide.datasets.synthetic(300, 400, 90, nnz=6, labels_per_row=2)
    full = sp.csr_array(np.linspace(-1, 1, 400, dtype=np.float32)[None])
    clf = slide.SlideClassifier(wide=wide, **SMALL | {"n_threads": 2}).fit(X, Y)
    asked = [(rows, k, n) for rows in (X[:1], full, X[:3], X[:80]) for k in (1, 4) for n in (None, 30)]
    expected = [copy.deepcopy(clf).predict_topk(rows, k, n_candidates=n) for rows, k, n in asked]
    order = np.random.default_rng(0).permutation(np.tile(np.arange(len(asked)), 4)).tolist()

    def ask(i: int) -> Any:
        rows, k, n = asked[i]
        return clf.predict_topk(rows, k, n_candidates=n)

    with ThreadPoolExecutor(3) as pool:
        for found in (map(ask, order), pool.map(ask, order)):
            for i, answer in zip(order, found, strict=True):
                for a, b in zip(answer, expected[i], strict=True):
                    np.testing.assert_array_equal(a, b)
