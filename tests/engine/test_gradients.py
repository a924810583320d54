"""One SGD step moves every weight and bias by -lr times the derivative of the loss, taken numerically in float64."""

from __future__ import annotations

import engine_oracle as oracle
import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import BACKENDS, FAMILIES, make_network, random_data, train

import slide

D, N = 9, 17
STACKS = {
    "dense": [slide.SparseInput(D, 6), slide.Dense(N)],
    "deep dense": [slide.SparseInput(D, 5, activation="tanh"), slide.Dense(7, activation="relu"), slide.Dense(N)],
    "all of a sampled layer": [slide.SparseInput(D, 8, activation="relu"), slide.Sampled(N, n_active=N, n_random=0)],
    "tables and tail": [
        slide.SparseInput(D, 7),
        slide.Sampled(N, lsh=FAMILIES["simhash"], n_active=9, n_random=3),
    ],
    "over dense rows": [slide.DenseInput(D), slide.Sampled(N, lsh=FAMILIES["simhash"], n_active=9, n_random=3)],
    "deep over dense rows": [slide.DenseInput(D), slide.Dense(7, activation="tanh"), slide.Dense(N)],
    "tail alone": [slide.SparseInput(D, 7), slide.Sampled(N, lsh=None, n_active=6, n_random=6)],
    "sampled below dense": [
        slide.SparseInput(D, 7, activation="tanh"),
        slide.Sampled(13, lsh=FAMILIES["wta"], n_active=6, n_random=2, activation="relu"),
        slide.Dense(5, activation="tanh"),
        slide.Sampled(N, lsh=FAMILIES["simhash"], n_active=8, n_random=3),
    ],
    "sampled below sampled": [
        slide.SparseInput(D, 7),
        slide.Sampled(12, lsh=FAMILIES["dwta"], n_active=7, n_random=2, activation="tanh"),
        slide.Sampled(N, lsh=FAMILIES["simhash"], n_active=8, n_random=3),
    ],
}


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_a_step_is_minus_lr_times_the_gradient(stack: list[slide.layers.Layer], loss: str, engine: str) -> None:
    net = make_network(stack, engine, loss=loss, optimizer=slide.SGD(), seed=5)
    for state in net.states:
        state.biases[:] = np.random.default_rng(1).normal(0, 0.3, state.n)
    net.rebuild_tables()
    X, Y = random_data(3, D, N, nnz=4, labels=3)
    x, labels = X[[2]].toarray()[0].astype(np.float64), Y[[2]].indices
    sets = oracle.active_sets(net, x, labels, 2)
    expected = oracle.gradients(net, x, labels, sets)
    before = oracle.parameters(net)
    stats = train(net, X, Y, 1, 1.0, first=2)
    assert stats.loss == pytest.approx(oracle.loss(net, before, x, labels, sets), rel=2e-6)
    for layer, ((W, b), (W0, b0), (gW, gb)) in enumerate(zip(oracle.parameters(net), before, expected, strict=True)):
        if net.states[layer].kind == "dense_input":
            continue
        assert np.abs(gW).max() > 1e-3, "a gradient of zero would prove nothing"
        np.testing.assert_allclose(W0 - W, gW, rtol=1e-5, atol=1e-6, err_msg=f"weights of layer {layer}")
        np.testing.assert_allclose(b0 - b, gb, rtol=1e-5, atol=1e-6, err_msg=f"biases of layer {layer}")


@pytest.mark.parametrize("engine", BACKENDS)
def test_the_sampled_loss_is_an_unbiased_estimate_of_the_full_sum(engine: str) -> None:
    """exp(loss) is the corrected sum over the active set over the label's own term: its mean is the full sum's."""
    layers = [slide.SparseInput(D, 6), slide.Sampled(40, lsh=None, n_active=9, n_random=8)]
    sampled = make_network(layers, engine, optimizer=slide.SGD(), seed=3)
    full = make_network([layers[0], slide.Dense(40)], engine, optimizer=slide.SGD(), seed=3)
    X, Y = random_data(1, D, 40, nnz=4, labels=1)
    losses = [train(sampled, X, Y, 1, 0.0, first=step).loss for step in range(2000)]
    exact = np.exp(train(full, X, Y, 1, 0.0).loss)
    sums = np.exp(losses)
    assert abs(sums.mean() - exact) < 4 * sums.std() / np.sqrt(len(sums))
    assert sums.std() / exact < 0.5


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("loss", ["softmax", "binary"])
def test_a_sample_without_labels(loss: str, engine: str) -> None:
    """Softmax has no target and leaves all as it was; the binary loss pushes every active neuron down."""
    net = make_network([slide.SparseInput(D, 6), slide.Dense(N)], engine, loss=loss, optimizer=slide.SGD())
    X, Y = random_data(1, D, N)
    before = oracle.parameters(net)
    stats = train(net, X, sp.csr_array(Y.shape, dtype=np.float32), 1, 1.0)
    after = oracle.parameters(net)
    moved = [not np.array_equal(a, b) for pair in zip(before, after, strict=True) for a, b in zip(*pair, strict=True)]
    assert stats.n_loss == (loss == "binary")
    assert any(moved) == (loss == "binary")
    if loss == "binary":
        assert (after[1][1] < before[1][1]).all()
