"""The C core's kernels on every instruction set, and the reference's, against NumPy in float64, through small networks.

Widths run from 1 to 70, past four vectors of the widest kind, so every remainder of every loop is met.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import engine_oracle as oracle
import engine_strategies as es
import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from engine_strategies import CORE, ENGINES, make_network, random_data, train

import slide

WIDTHS = range(1, 71)
D = 12


def dense_scores(net: slide.Network, X: sp.csr_array) -> npt.NDArray[np.float64]:
    (W, b), (V, c) = oracle.parameters(net)
    return (X.toarray().astype(np.float64) @ W + b) @ V.T + c


def best(scores: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.int64]:
    """Highest first; of equals the lower id."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("engine", ENGINES)
def test_axpy_sums_feature_rows(engine: str) -> None:
    X, _ = random_data(5, D, 3, nnz=7)
    for width in WIDTHS:
        net = make_network([slide.SparseInput(D, width), slide.Dense(3)], engine)
        net.biases(0)[:] = np.arange(width)
        W, b = oracle.parameters(net)[0]
        np.testing.assert_allclose(net.hidden(X), X.toarray().astype(np.float64) @ W + b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_tanh_is_that_of_numpy(engine: str) -> None:
    """Close to 0, where its polynomial ends, far out; and for each number of units, so that none is left out."""
    z = np.concatenate([np.geomspace(1e-30, 100, 57), [0.24999, 0.25, 0.25001, 9.0, 0.0]]).astype(np.float32)
    z = np.concatenate([z, -z])
    for width in (*WIDTHS, len(z)):
        net = make_network([slide.SparseInput(1, width, "tanh"), slide.Dense(2)], engine)
        net.weights(0)[:], net.biases(0)[:] = z[:width], 0
        found = net.hidden(sp.csr_array(np.ones((1, 1), np.float32)))[0]
        np.testing.assert_allclose(found, np.tanh(z[:width].astype(np.float64)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_dot_scores_candidates(engine: str) -> None:
    """With one bucket that holds all neurons, the sampled prediction scores each by a dot product."""
    X, _ = random_data(3, D, 5)
    family = slide.SimHash(K=1, L=1, capacity=64, centred=False)
    for width in WIDTHS:
        net = make_network([slide.SparseInput(D, width), slide.Sampled(5, lsh=family)], engine)
        net.biases(1)[:] = np.arange(5)
        net.weights(1)[:] = np.random.default_rng(width).standard_normal((5, width))
        lsh = net.states[1].lsh
        assert lsh is not None
        lsh.buckets[:, :, 0] = 5
        lsh.buckets[:, :, 1:6] = np.arange(5)
        ids, scores = net.predict_topk(X, 5, n_candidates=5)
        expected = dense_scores(net, X)
        np.testing.assert_array_equal(ids, best(expected, 5))
        np.testing.assert_allclose(scores, np.take_along_axis(expected, ids, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_tiles_score_all_neurons(engine: str) -> None:
    X, _ = random_data(33, D, 11)
    for width in WIDTHS:
        net = make_network([slide.SparseInput(D, width), slide.Dense(11)], engine)
        net.biases(1)[:] = np.arange(11) / 7
        ids, scores = net.predict_topk(X, 11)
        expected = dense_scores(net, X)
        np.testing.assert_allclose(scores, np.take_along_axis(expected, ids, 1), rtol=1e-5, atol=1e-5)
        assert (np.sort(ids, axis=1) == np.arange(11)).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rows", [1, 31, 32, 33, 65])
@pytest.mark.parametrize("n_labels", [1, 3, 7, 8, 9, 100, 2049])
def test_exact_top_k_is_a_sort_of_all_scores(n_labels: int, rows: int, engine: str) -> None:
    """Small whole numbers: every sum is exact and ties are many, which go to the lower id."""
    rng = np.random.default_rng(n_labels)
    X = sp.csr_array(rng.integers(-1, 2, (rows, D)).astype(np.float32))
    net = make_network([slide.SparseInput(D, 5), slide.Dense(n_labels)], engine)
    net.weights(0)[:] = rng.integers(-1, 2, (D, 5))
    net.weights(1)[:] = rng.integers(-1, 2, (n_labels, 5))
    net.biases(1)[:] = rng.integers(-1, 2, n_labels)
    expected = dense_scores(net, X)
    for k in {1, min(5, n_labels), min(n_labels, 130)}:
        ids, scores = net.predict_topk(X, k)
        np.testing.assert_array_equal(ids, best(expected, k))
        np.testing.assert_array_equal(scores, np.take_along_axis(expected, best(expected, k), 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_share_out_prediction(engine: str) -> None:
    X, Y = random_data(150, D, 40)
    one, three = (
        make_network([slide.SparseInput(D, 9), slide.Sampled(40, lsh=es.FAMILIES["simhash"])], engine, n_threads=t)
        for t in (1, 3)
    )
    for net in (one, three):
        net.rebuild_tables()
    for options in ({}, {"n_candidates": 10}):
        for a, b in zip(one.predict_topk(X, 3, **options), three.predict_topk(X, 3, **options), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.hidden(X), three.hidden(X))
    assert Y.shape == (150, 40)


@pytest.mark.parametrize("engine", ENGINES)
def test_predictions_may_run_side_by_side(engine: str) -> None:
    X, _ = random_data(150, D, 40)
    net = make_network([slide.SparseInput(D, 9), slide.Sampled(40, lsh=es.FAMILIES["simhash"])], engine, n_threads=2)
    net.rebuild_tables()
    for options in ({}, {"n_candidates": 10}):
        alone = net.predict_topk(X, 3, **options)
        with ThreadPoolExecutor(4) as pool:
            for together in pool.map(lambda _, options=options: net.predict_topk(X, 3, **options), range(12)):
                for a, b in zip(alone, together, strict=True):
                    np.testing.assert_array_equal(a, b)


OPTIMIZERS = [
    slide.SGD(weight_decay=0.1),
    slide.Adagrad(weight_decay=0.1),
    slide.Adagrad(per_row=False, weight_decay=0.1),
    slide.Adam(weight_decay=0.1),
]


def plain_step(net: slide.Network, x: npt.NDArray[np.float64], labels: npt.NDArray[np.int32]) -> list[oracle.Array]:
    """Gradients of a two-layer network by the chain rule: the bias rows as in oracle.row_view."""
    (W, b), (V, c) = oracle.parameters(net)
    h = x @ W + b
    z = V @ h + c
    dz = np.exp(z - np.logaddexp.reduce(z))
    dz[labels] -= 1 / len(labels)
    dh = V.T @ dz
    return [np.vstack([np.outer(x, dh), dh]), np.hstack([np.outer(dz, h), dz[:, None]])]


@pytest.mark.thorough
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_updates_of_every_width(optimizer: slide.optim.Optimizer, engine: str) -> None:
    """Two steps, so that states that are not zero are met too."""
    X, Y = random_data(2, D, 6, nnz=D)
    for width in WIDTHS:
        net = make_network([slide.SparseInput(D, width), slide.Dense(6)], engine, optimizer=optimizer, seed=width)
        rows = oracle.row_view(net, oracle.parameters(net))
        expected = oracle.Optimizer(optimizer, [r.shape for r in rows])
        for step in range(2):
            gradients = plain_step(net, X[[step]].toarray()[0].astype(np.float64), Y[[step]].indices)
            for i, gradient in enumerate(gradients):
                expected.update(i, rows[i], gradient, oracle.decaying(net, rows)[i], 0.1)
            train(net, X, Y, 1, 0.1, first=step)
            for a, b in zip(oracle.row_view(net, oracle.parameters(net)), rows, strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-4, err_msg=f"width {width}, step {step}")
                b[:] = a


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 100.0, 1e4])
def test_softmax_of_any_size_and_spread(scale: float, engine: str) -> None:
    """exp and its sum, over every number of neurons from 1 to 70 and logits that would overflow."""
    X = sp.csr_array(np.ones((1, 1), np.float32))
    for n in WIDTHS:
        net = make_network([slide.SparseInput(1, 1), slide.Dense(n)], engine, optimizer=slide.SGD())
        net.weights(0)[:] = 0
        z = np.random.default_rng(n).standard_normal(n).astype(np.float32) * np.float32(scale)
        net.biases(1)[:] = z
        Y = sp.csr_array(([1.0], ([0], [n // 2])), shape=(1, n), dtype=np.float32)
        z = z.astype(np.float64)
        log_p = z - np.logaddexp.reduce(z)
        assert train(net, X, Y, 1, 0.0).loss == pytest.approx(-log_p[n // 2], rel=1e-5, abs=1e-5)
        before = net.biases(1).astype(np.float64)
        train(net, X, Y, 1, 1.0)
        gradient = np.exp(log_p) - (np.arange(n) == n // 2)
        rounding = np.abs(before).max() * 1e-7
        np.testing.assert_allclose(before - net.biases(1), gradient, rtol=1e-5, atol=2e-6 + rounding)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_binary_loss_of_any_spread(scale: float, engine: str) -> None:
    X = sp.csr_array(np.ones((1, 1), np.float32))
    n = 40
    net = make_network([slide.SparseInput(1, 1), slide.Dense(n)], engine, optimizer=slide.SGD(), loss="binary")
    net.weights(0)[:] = 0
    z = np.random.default_rng(n).standard_normal(n).astype(np.float32) * np.float32(scale)
    net.biases(1)[:] = z
    Y = sp.csr_array(([1.0], ([0], [7])), shape=(1, n), dtype=np.float32)
    z = z.astype(np.float64)
    assert train(net, X, Y, 1, 0.0).loss == pytest.approx(np.logaddexp(0, z).sum() - z[7], rel=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", es.FAMILIES.values(), ids=es.FAMILIES)
def test_projections_of_every_width(family: slide.lsh.HashFamily, engine: str) -> None:
    """Tables are filled several vectors at a time, queries hashed one at a time: both must give one code."""
    family = replace(family, capacity=64, policy="fifo", centred=False, transform="none")
    if isinstance(family, slide.SimHash | slide.EuclideanHash):
        family = replace(family, L=50)
    for width in range(8, 71):
        n = 1 + width % 9
        net = make_network([slide.SparseInput(D, width), slide.Sampled(n, lsh=family)], engine, seed=width)
        net.engine.rebuild(1, 0)
        vectors = np.hstack([net.weights(1), net.biases(1)[:, None]])
        codes = net.engine.hash_codes(1, vectors)
        lsh = net.states[1].lsh
        assert lsh is not None
        if lsh.K * family.bits_per_hash > lsh.table_bits:
            continue
        for t, table in enumerate(es.used_slots(net, 1)):
            assert all(i in table[code] for i, code in enumerate(codes[:, t]))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_sparse_part_takes_a_step_on_the_squared_hinge(engine: str) -> None:
    """Labels should score over 1, all others under -1; rows longer than 1 take shorter steps."""
    n = 150
    X, Y = random_data(40, D, n, nnz=4)
    layers = [slide.SparseInput(D, 4), slide.Dense(n)]
    net = make_network(layers, engine, wide=slide.Wide(), optimizer=slide.SGD(lr=0.1))
    slide.model.pairs.add_pairs(net.wide_state, slide.model.pairs.PairCounts.of(X, Y))
    state = net.wide_state
    assert state is not None
    rng = np.random.default_rng(0)
    state.weights[:], state.bias[:] = rng.normal(0, 1, len(state.weights)), rng.normal(-1, 0.5, n)
    if engine == "numba":
        net.engine = net._make_engine()
    else:
        assert CORE is not None
        net.engine = CORE.Engine(net.states, state, net.optimizer, net.loss, net.seed, 1, engine)
    W, b = state.matrix().toarray().astype(np.float64), state.bias.astype(np.float64)
    x, y = X[[5]].toarray()[0].astype(np.float64), Y[[5]].toarray()[0]
    z = x @ W + b
    g = np.where(y == 1, -2 * np.maximum(1 - z, 0), 2 * np.maximum(1 + z, 0))
    step = 0.1 * state.lr_ratio / max(x @ x, 1)
    met = state.matrix().toarray() != 0
    stats = train(net, X, Y, 1, 0.1, first=5)
    np.testing.assert_allclose(state.matrix().toarray(), W - step * np.outer(x, g) * met, atol=1e-5)
    np.testing.assert_allclose(state.bias, b - step * state.bias_ratio * g, atol=1e-5)
    assert stats.wide_loss == pytest.approx((np.maximum(1 - z[y == 1], 0) ** 2).sum(), rel=1e-5)
    assert stats.n_wide_active == (g != 0).sum()


@pytest.mark.parametrize("engine", ENGINES)
def test_pairs_of_lists_of_every_length(engine: str) -> None:
    """One step of the sparse linear part: lists of as many labels as there are, and some with gaps in them."""
    for n in WIDTHS:
        rng = np.random.default_rng(n)
        net = make_network([slide.SparseInput(3, 2), slide.Sampled(n)], engine, wide=slide.Wide(lr=0.3, bias_lr=0.1))
        pairs = sp.csr_array((rng.random((3, n)) < [[1.0], [0.7], [0.3]]).astype(np.float32))
        net.add_pairs(slide.model.pairs.PairCounts.of(sp.csr_array(np.eye(3, dtype=np.float32)), pairs))
        es.use_engine(net, engine)
        state = net.wide_state
        assert state is not None
        state.weights[:] = 2 * rng.standard_normal(len(state.weights))
        state.bias[:] = rng.standard_normal(n)
        x, y = np.array([1.5, -0.7, 0.4]), rng.random(n) < 0.2
        y[0] = True
        W, bias = state.matrix().toarray().astype(np.float64), state.bias.astype(np.float64)
        z = x @ W + bias
        gradient = np.where(y, np.minimum(2 * (z - 1), 0), np.maximum(2 * (z + 1), 0))
        step = 0.1 / (x @ x)
        train(net, sp.csr_array(x[None].astype(np.float32)), sp.csr_array(y[None].astype(np.float32)), 1, lr=0.1)
        wanted = np.where(pairs.toarray() > 0, W - step * state.lr_ratio * np.outer(x, gradient), 0)
        np.testing.assert_allclose(state.matrix().toarray(), wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            state.bias, bias - step * state.lr_ratio * state.bias_ratio * gradient, rtol=1e-5, atol=1e-5
        )
