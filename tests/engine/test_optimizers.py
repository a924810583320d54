"""Row updates against the formulas of the papers, over several steps in which rows sleep and wake."""

from __future__ import annotations

import engine_oracle as oracle
import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import BACKENDS, FAMILIES, make_network, random_data, rows_of, train

import slide
from slide.engine.layout import BIAS, ROW_COUNT, pad

D, N = 9, 15
OPTIMIZERS = [
    slide.SGD(),
    slide.SGD(weight_decay=0.1),
    slide.Adagrad(weight_decay=0.1),
    slide.Adagrad(per_row=False, weight_decay=0.1),
    slide.Adam(),
    slide.Adam(beta1=0.8, beta2=0.95, eps=1e-4, weight_decay=0.1),
]
STACKS = {
    "sampled": [slide.SparseInput(D, 6), slide.Sampled(N, lsh=None, n_active=5, n_random=3)],
    "sampled below": [
        slide.SparseInput(D, 7),
        slide.Sampled(11, lsh=FAMILIES["simhash"], n_active=5, n_random=2, activation="tanh"),
        slide.Sampled(N, lsh=None, n_active=5, n_random=3),
    ],
}


@pytest.mark.thorough
@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_steps_follow_the_formulas(
    optimizer: slide.optim.Optimizer, stack: list[slide.layers.Layer], engine: str
) -> None:
    net = make_network(stack, engine, optimizer=optimizer, loss="binary", seed=2)
    net.rebuild_tables()
    X, Y = random_data(6, D, N, nnz=3, labels=2, seed=4)
    rows = oracle.row_view(net, oracle.parameters(net))
    expected = oracle.Optimizer(optimizer, [r.shape for r in rows])
    asleep = 0
    for step in range(6):
        x, labels = X[[step]].toarray()[0].astype(np.float64), Y[[step]].indices
        sets = oracle.active_sets(net, x, labels, step)
        gradient = oracle.row_view(net, oracle.gradients(net, x, labels, sets))
        columns = oracle.columns_taking_part(net, sets)
        asleep += sum(int((np.abs(g).max(axis=1) == 0).sum()) for g in gradient)
        for i, matrix in enumerate(rows):
            expected.update(i, matrix, gradient[i], oracle.decaying(net, rows)[i], 0.1, columns[i])
        train(net, X, Y, 1, 0.1, first=step)
        found = oracle.row_view(net, oracle.parameters(net))
        for i, (a, b) in enumerate(zip(found, rows, strict=True)):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5, err_msg=f"layer {i} after step {step}")
            b[:] = a  # float32's rounding must not add up over the steps
    assert asleep > 6, "no row slept: laziness was not tested"


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_row_that_wakes_late_takes_a_first_step_of_adam(engine: str) -> None:
    """Its bias correction counts its own updates: the size of a first step is the learning rate, whenever it comes."""
    layers = [slide.SparseInput(D, 6, bias=False), slide.Sampled(N, lsh=None, n_active=1, n_random=0)]
    net = make_network(layers, engine, optimizer=slide.Adam(), loss="binary")
    labels = np.repeat([3, 8], [50, 1])
    X, _ = random_data(51, D, N, nnz=D)
    Y = sp.csr_array((np.ones(51, np.float32), (np.arange(51), labels)), shape=(51, N))
    train(net, X, Y, 50, 1e-3)
    before = net.weights(1).copy()
    assert (net.states[1].row_scalars[[3, 8], ROW_COUNT] == [50, 0]).all()
    train(net, X, Y, 1, 1e-3, first=50)
    np.testing.assert_allclose(np.abs(net.weights(1)[8] - before[8]), 1e-3, rtol=1e-3)
    np.testing.assert_array_equal(np.delete(net.weights(1), 8, axis=0), np.delete(before, 8, axis=0))


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_only_rows_of_the_sample_are_touched(optimizer: slide.optim.Optimizer, engine: str) -> None:
    layers = [slide.SparseInput(D, 6), slide.Sampled(N, lsh=None, n_active=4, n_random=2)]
    net = make_network(layers, engine, optimizer=optimizer)
    X, Y = random_data(1, D, N, nnz=3)
    x = X.toarray()[0]
    chosen = oracle.active_sets(net, x.astype(np.float64), Y.indices, 0)[1]
    assert chosen is not None
    before = rows_of(net)
    train(net, X, Y, 1, 0.1)
    changed = [np.flatnonzero((a != b).any(axis=1)) for a, b in zip(before, rows_of(net), strict=True)]
    np.testing.assert_array_equal(changed[0], [*np.flatnonzero(x), D])  # the last row holds the biases
    np.testing.assert_array_equal(changed[1], np.sort(chosen[0]))


@pytest.mark.parametrize("engine", BACKENDS)
def test_weight_decay_shrinks_weights_and_spares_biases(engine: str) -> None:
    """At a tiny learning rate and a huge decay, what is left of a step is the decay."""
    net = make_network([slide.SparseInput(D, 6), slide.Dense(N)], engine, optimizer=slide.SGD(weight_decay=5e5))
    for state in net.states:
        state.biases[:] = 1
    before = oracle.parameters(net)
    X, Y = random_data(1, D, N, nnz=D)
    train(net, X, Y, 1, 1e-6)
    for (W0, b0), (W, b) in zip(before, oracle.parameters(net), strict=True):
        np.testing.assert_allclose(W, W0 / 2, atol=1e-5)
        np.testing.assert_allclose(b, b0, atol=1e-5)


@pytest.mark.parametrize("engine", BACKENDS)
def test_padding_stays_zero(engine: str) -> None:
    """Kernels run over whole vectors, so what lies behind the last coordinate must never become anything."""
    layers = [slide.SparseInput(D, 5, activation="tanh"), slide.Dense(3, activation="tanh"), slide.Dense(N)]
    for optimizer in OPTIMIZERS:
        net = make_network(layers, engine, optimizer=optimizer)
        X, Y = random_data(20, D, N)
        train(net, X, Y, 20, 0.05)
        for state in net.states:
            n_states = (state.rows.shape[1] - 16) // pad(state.width)
            for k in range(n_states):
                block = state.rows[:, k * state.padded : (k + 1) * state.padded]
                assert (block[:, state.width :] == 0).all()
            assert (state.row_scalars[:, BIAS + 5 :] == 0).all()
