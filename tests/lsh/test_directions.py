"""SimHash's trained directions: the gradient, what training finds, and that codes stay reproducible."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from engine_strategies import BACKENDS, make_network, planted_data

import slide
from slide.lsh import trained

D, N = 300, 200
TRAINED = slide.SimHash(K=5, L=12, capacity=32, directions="trained")


@functools.cache
def fitted(lsh: slide.lsh.HashFamily, engine: str, seed: int) -> slide.Network:
    """Read by several tests; none changes it."""
    X, Y = planted_data(1200, D, N)
    net = make_network(
        [slide.SparseInput(D, 24), slide.Sampled(N, lsh=lsh, n_active=40, n_random=15)], engine, seed=seed
    )
    return net.fit(X, Y, epochs=2)


def cross_entropy(r: np.ndarray, xs: np.ndarray, ws: np.ndarray, wanted: np.ndarray) -> float:
    bits_x, bits_w = np.tanh(trained.SHARPNESS * xs @ r), np.tanh(trained.SHARPNESS * ws @ r)
    agreement = trained.TEMPERATURE * bits_x @ bits_w.T / r.shape[1]
    log_p = agreement - np.log(np.exp(agreement).sum(axis=1, keepdims=True))
    return float(-np.mean((log_p * wanted).sum(axis=1) / wanted.sum(axis=1)))


def test_the_gradient_is_that_of_the_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    r, xs, ws = (rng.standard_normal(shape) * 0.3 for shape in ((7, 5), (6, 7), (9, 7)))
    wanted = rng.random((6, 9)) < 0.3
    wanted[np.arange(6), np.arange(6)] = True
    found = trained._gradient(r, xs, ws, wanted)
    for i, j in np.ndindex(*r.shape):
        step = np.zeros_like(r)
        step[i, j] = 1e-5
        slope = (cross_entropy(r + step, xs, ws, wanted) - cross_entropy(r - step, xs, ws, wanted)) / 2e-5
        assert found[i, j] == pytest.approx(slope, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("engine", BACKENDS)
def test_trained_directions_find_more_than_random_ones(engine: str) -> None:
    X, _ = planted_data(400, D, N, seed=9)
    random = slide.SimHash(K=5, L=12, capacity=32, directions="gaussian")
    recalls = [
        np.mean([fitted(lsh, engine, seed).retrieval_recall(X, n_candidates=20)[0] for seed in range(2)])
        for lsh in (random, TRAINED)
    ]
    assert recalls[1] > recalls[0] + 0.05


@pytest.mark.parametrize("engine", BACKENDS)
def test_trained_directions_are_small_whole_numbers_and_are_saved(engine: str, tmp_path: Path) -> None:
    net = fitted(TRAINED, engine, 0)
    trained = net.states[-1].lsh.directions
    np.testing.assert_array_equal(trained, np.rint(trained))
    assert 32 < np.abs(trained).max() <= 127
    X, _ = planted_data(50, D, N, seed=9)
    net.save(tmp_path / "net.slide")
    again = slide.load(tmp_path / "net.slide")
    np.testing.assert_array_equal(again.retrieve(X, 20), net.retrieve(X, 20))


def test_equal_seeds_train_equal_directions() -> None:
    a, b = (fit(TRAINED, BACKENDS[-1], 0).states[-1].lsh.directions for fit in (fitted, fitted.__wrapped__))
    assert a is not b
    np.testing.assert_array_equal(a, b)


def test_directions_without_a_gradient_stay_as_they_are() -> None:
    """All weights zero: nothing is wanted more than anything else, and nothing divides by zero."""
    net = make_network(
        [slide.SparseInput(D, 24), slide.Sampled(N, lsh=TRAINED, n_active=40, n_random=15)], BACKENDS[-1]
    )
    for state in net.states:
        state.rows[:] = 0
    X, _ = planted_data(50, D, N)
    net.rebuild_tables(slide.engine.protocol.Examples.of(X))
    assert np.isfinite(net.states[-1].lsh.directions).all()


def test_transforms_are_refused() -> None:
    with pytest.raises(ValueError, match=r"SimHash\(transform=\): found 'sign-alsh', wanted 'none'"):
        slide.SimHash(directions="trained", transform="sign-alsh")
