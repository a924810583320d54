"""Sparse rows by label: the solver against its objective and scikit-learn, the C core against its twin, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize

from slide.datasets import synthetic
from slide.model.sparse_rows import SolverOptions, SparseRows, solve

L, D, N = 40, 300, 900
FEW = 100  # rows, for problems that are solved through their inner products
EXACT = SolverOptions(n_features=D, C=1.0, eps=1e-4, prune=0.0, max_passes=1000)


@pytest.fixture(scope="module")
def data():
    X, Y = synthetic(N, D, L, nnz=10, labels_per_row=2, seed=1)
    X, Y = sp.csr_array(X), sp.csr_array(Y)
    X.data /= np.sqrt(10)
    lists = np.random.default_rng(0).integers(-1, L, (N, 12)).astype(np.int32)
    lists = np.sort(lists, axis=1)
    lists[:, 1:][lists[:, 1:] == lists[:, :-1]] = -1  # a label once a row
    return X, Y, lists


def everyone(n: int = N) -> np.ndarray:
    return np.tile(np.arange(L, dtype=np.int32), (n, 1))


def same(a: SparseRows, b: SparseRows) -> bool:
    pairs = ((a.indptr, b.indptr), (a.features, b.features), (a.weights, b.weights), (a.bias, b.bias))
    return all(np.array_equal(x, y) for x, y in pairs)


def objective(w, b, X, y, C):
    return 0.5 * (w @ w + (b + 1) ** 2) + (C * np.maximum(0, 1 - y * (X @ w + b)) ** 2).sum()


def signs(Y, label):
    return np.where(Y[:, [label]].toarray().ravel() > 0, 1.0, -1.0)


@pytest.mark.parametrize("n", [N, FEW])
@pytest.mark.parametrize("C", [1.0, 30.0])
def test_solves_what_another_solver_solves(data, n, C):
    X, Y, _ = data
    X, Y = X[:n], Y[:n]
    rows = solve(X, Y, everyone(n), replace(EXACT, C=C))
    W = rows.matrix().toarray().astype(float)
    for label in (0, 3, 11, 39):
        y = signs(Y, label)

        def loss(v, y=y):
            miss = np.maximum(0, 1 - y * (X @ v[:-1] + v[-1]))
            slope = -2 * C * y * miss
            return objective(v[:-1], v[-1], X, y, C), np.append(v[:-1] + X.T @ slope, v[-1] + 1 + slope.sum())

        options = {"maxiter": 5000, "ftol": 1e-14}
        best = minimize(loss, np.zeros(D + 1), jac=True, method="L-BFGS-B", options=options).fun
        assert objective(W[label], rows.bias[label], X, y, C) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("n", [N, FEW])
def test_is_at_the_least_of_the_objective_with_weights(data, n):
    """The gradient of the primal objective is 0 at the solution, whatever rows and classes weigh."""
    X, Y, _ = data
    X, Y = X[:n], Y[:n]
    weights = np.random.default_rng(2).uniform(0, 2, n).astype(np.float32)
    weights[::7] = 0
    options = replace(EXACT, positive_weight=3.0, negative_weight=0.5, eps=1e-5)
    rows = solve(X, Y, everyone(n), options, row_weights=weights)
    for label in (0, 3, 11):
        y, w = signs(Y, label), rows.matrix().toarray()[label].astype(float)
        C = weights * np.where(y > 0, 3.0, 0.5)
        pull = 2 * C * y * np.maximum(0, 1 - y * (X @ w + rows.bias[label]))
        assert np.abs(w - X.T @ pull).max() < 1e-3
        assert rows.bias[label] == pytest.approx(pull.sum() - 1, abs=1e-3)


@pytest.mark.parametrize("shrinks", [True, False])
def test_same_bits_for_any_number_of_threads_and_blocks(data, shrinks, monkeypatch):
    X, Y, lists = data
    options = SolverOptions(n_features=D, shrinks=shrinks)
    one = solve(X, Y, lists, options)
    for threads in (2, 4):
        assert same(one, solve(X, Y, lists, replace(options, n_threads=threads)))
    monkeypatch.setattr("slide.model.sparse_rows.PAIRS_AT_ONCE", lists.size // 5)
    assert same(one, solve(X, Y, lists, replace(options, n_threads=2)))
    monkeypatch.setattr("slide.model.sparse_rows.ENTRIES_AT_ONCE", 1)
    monkeypatch.setattr("slide.model.sparse_rows.LABELS_A_THREAD", 1)
    blocks: list[int] = []
    assert same(one, solve(X, Y, lists, replace(options, n_threads=2), between=lambda: blocks.append(1)))
    assert len(blocks) >= Y.shape[1] // 2


@pytest.mark.thorough
@pytest.mark.parametrize("n", [N, FEW])
@pytest.mark.parametrize("shrinks", [True, False])
def test_twin_gives_the_same_bits(data, shrinks, n):
    X, Y, lists = (part[:n] for part in data)
    options = SolverOptions(n_features=D, C=0.7, positive_weight=1.5, shrinks=shrinks, seed=5)
    weights = np.random.default_rng(3).uniform(0, 2, n).astype(np.float32)
    c = solve(X, Y, lists, options, row_weights=weights, backend="c")
    numba = solve(X, Y, lists, options, row_weights=weights, backend="numba")
    assert same(c, numba)
    again = [solve(X, Y, lists, replace(options, max_passes=2), warm=c, backend=b) for b in ("c", "numba")]
    assert same(*again)
    assert np.array_equal(c.scores(X, lists, 2, "c"), c.scores(X, lists, 1, "numba"))


def test_hard_negatives_are_the_shortlists_wrong_labels(data):
    from slide.engine import _c
    from slide.engine.protocol import Examples
    from slide.engine.reference import linear_calls

    _X, Y, lists = data
    truth = Y.toarray() > 0
    for core in (_c, linear_calls):
        for threads in (1, 3):
            indptr, rows = core.linear_negatives(lists, Examples.of(Y), 10, 20, threads)
            for label in range(10, 30):
                wanted = np.flatnonzero((lists == label).any(axis=1) & ~truth[:, label])
                assert np.array_equal(rows[indptr[label - 10] : indptr[label - 9]], wanted)


def test_warm_start_begins_near_the_solution(data):
    X, Y, _ = data
    exact = solve(X, Y, everyone(), EXACT)
    one_pass = replace(EXACT, max_passes=1)
    cold = solve(X, Y, everyone(), one_pass)
    warm = solve(X, Y, everyone(), one_pass, warm=exact)
    gap = [np.abs((r.matrix() - exact.matrix()).toarray()).max() for r in (cold, warm)]
    assert gap[1] < 0.05 * gap[0]


def test_pruning_drops_small_weights_and_no_others(data):
    X, Y, lists = data
    options = SolverOptions(n_features=D, prune=0.0)
    whole, some = solve(X, Y, lists, options), solve(X, Y, lists, replace(options, prune=0.1))
    wanted = whole.matrix().toarray()
    wanted[np.abs(wanted) < np.float32(0.1)] = 0
    assert np.array_equal(some.matrix().toarray(), wanted)
    assert np.array_equal(some.bias, whole.bias)
    assert len(some.weights) < len(whole.weights)


def test_labels_without_rows_and_rows_without_features():
    X = sp.csr_array((3, 5), dtype=np.float32)
    Y = sp.csr_array(np.array([[1, 0], [0, 0], [0, 0]], np.float32))
    for backend in ("c", "numba"):
        rows = solve(X, Y, np.zeros((3, 1), np.int32), SolverOptions(n_features=5), backend=backend)
        assert rows.indptr.tolist() == [0, 0, 0]
        assert rows.bias[0] < 0
        assert rows.bias[1] == -1
        none = solve(X, Y, np.empty((3, 0), np.int32), SolverOptions(n_features=5), backend=backend)
        assert none.bias[0] > 0


def test_scores_are_inner_products(data):
    X, Y, lists = data
    rows = solve(X, Y, lists, SolverOptions(n_features=D))
    whole = X @ rows.matrix().T.toarray() + rows.bias
    for threads in (1, 3):
        z = rows.scores(X, lists, threads)
        assert np.isneginf(z[lists < 0]).all()
        found = lists >= 0
        assert np.allclose(z[found], np.take_along_axis(whole, np.maximum(lists, 0), 1)[found], atol=1e-5)
