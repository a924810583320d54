"""Hash codes against the theory of their families, and against plain Python."""

from __future__ import annotations

import engine_strategies as es
import numpy as np
import numpy.typing as npt
import pytest
from engine_strategies import BACKENDS, ENGINES, make_network
from hypothesis import given, settings
from hypothesis import strategies as st

import slide
from slide.lsh.centring import update_frame


def hasher(family: slide.lsh.HashFamily, dim: int, engine: str, n: int = 64, seed: int = 0) -> slide.Network:
    """A network whose layer 1 hashes vectors of `dim` coordinates, the bias being the last."""
    return make_network([slide.SparseInput(3, dim - 1), slide.Sampled(n, lsh=family)], engine, seed=seed)


def codes_of(net: slide.Network, vectors: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    return net.engine.hash_codes(1, np.ascontiguousarray(vectors, np.float32))


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("directions", ["signs", "gaussian", "sparse", "hadamard"])
@pytest.mark.parametrize("degrees", [0, 10, 45, 90, 120, 180])
def test_simhash_bits_agree_with_probability_1_minus_angle_over_pi(degrees: int, directions: str, engine: str) -> None:
    dim, L, pairs, angle = 200, 1000, 20, np.radians(degrees)
    rng = np.random.default_rng(degrees)
    net = hasher(slide.SimHash(K=1, L=L, centred=False, directions=directions), dim, engine)
    agreements = []
    for _ in range(pairs):
        u, v = np.linalg.qr(rng.standard_normal((dim, 2)))[0].T
        codes = codes_of(net, [u, np.cos(angle) * u + np.sin(angle) * v])
        agreements.append(np.mean(codes[0] == codes[1]))
    p = 1 - angle / np.pi
    # Directions are shared by the pairs, so the bound is that of one pair; signs are nearly Gaussian at this width.
    assert abs(np.mean(agreements) - p) <= 4 * np.sqrt(p * (1 - p) / L) + 1e-9


@pytest.mark.parametrize("engine", BACKENDS)
def test_simhash_bits_are_the_signs_of_the_projections(engine: str) -> None:
    net = hasher(slide.SimHash(K=5, L=30, centred=False), 33, engine)
    lsh = net.states[1].lsh
    assert lsh is not None
    x = np.random.default_rng(0).standard_normal((40, 33)).astype(np.float32)
    directions = lsh.directions.transpose(1, 0, 2).reshape(33, -1)[:, :150].astype(np.float64)
    assert set(np.unique(directions)) == {-1, 1}
    projections = x.astype(np.float64) @ directions
    bits = (projections > 0).reshape(40, 30, 5)
    assert np.abs(projections).min() > 1e-5, "too near a border for float32: choose another seed"
    np.testing.assert_array_equal(codes_of(net, x), bits @ (1 << np.arange(5)[::-1]))


@pytest.mark.parametrize("engine", BACKENDS)
def test_wta_codes_name_the_winners(engine: str) -> None:
    net = hasher(slide.WTA(K=3, L=10), 20, engine)
    lsh = net.states[1].lsh
    assert lsh is not None
    x = np.random.default_rng(0).standard_normal((30, 20)).astype(np.float32)
    winners = x[:, lsh.positions].argmax(axis=2).reshape(30, 10, 3)
    np.testing.assert_array_equal(codes_of(net, x), winners @ np.array([64, 8, 1]))


@pytest.mark.parametrize("family", [slide.WTA(K=3, L=20), slide.DWTA(K=3, L=20)], ids=lambda f: f.kind)
@given(order=st.permutations(range(1, 25)), engine=st.sampled_from(BACKENDS))
@settings(max_examples=20)
def test_winner_take_all_sees_ranks_alone(family: slide.lsh.HashFamily, order: list[int], engine: str) -> None:
    x = np.array(order, np.float64)
    maps = [x, 3 * x + 1, x**3, np.exp(x / 4), np.sqrt(x)]
    codes = codes_of(hasher(family, 24, engine), maps)
    assert (codes == codes[0]).all()
    assert (codes_of(hasher(family, 24, engine), [-x]) != codes[0]).any()


@pytest.mark.parametrize("engine", BACKENDS)
def test_equal_coordinates_are_won_by_the_first(engine: str) -> None:
    assert not codes_of(hasher(slide.WTA(K=4, L=8), 16, engine), np.ones((1, 16))).any()
    assert not codes_of(hasher(slide.DWTA(K=4, L=8), 16, engine), np.ones((1, 16))).any()


def plain_dwta(lsh: slide.engine.state.LshState, x: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Winners of bins, -1 where a bin is empty, by the definition."""
    bins = lsh.dim // lsh.window
    winners = []
    for b in range(lsh.K * lsh.L):
        p, window = divmod(b, bins)
        place = lsh.positions.reshape(-1, lsh.dim)[p]
        competing = [(-x[d], place[d] % 8) for d in range(lsh.dim) if place[d] // 8 == window and x[d] != 0]
        winners.append(min(competing)[1] if competing else -1)
    return np.array(winners)


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("density", [0.0, 0.02, 0.1, 0.5, 1.0])
def test_dwta_ignores_zeros_and_fills_empty_bins(density: float, engine: str) -> None:
    dim = 45  # not a multiple of 8: the last coordinates of an order are left out
    net = hasher(slide.DWTA(K=3, L=12), dim, engine)
    lsh = net.states[1].lsh
    assert lsh is not None
    rng = np.random.default_rng(3)
    for _ in range(10):
        x = (rng.standard_normal(dim) * (rng.random(dim) < density)).astype(np.float32)
        winners = plain_dwta(lsh, x)
        (codes,) = codes_of(net, [x])
        found = (codes[:, None] >> np.array([6, 3, 0]) & 7).ravel()
        filled = winners >= 0
        np.testing.assert_array_equal(found[filled], winners[filled])
        if filled.any():  # an empty bin borrows a winner of another
            assert set(found[~filled]) <= set(winners[filled])
        else:
            assert not codes.any()


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize(
    "family",
    [
        slide.SimHash(K=5, L=30, capacity=4),
        slide.SimHash(K=20, L=60, capacity=4, centred=False),
        slide.WTA(K=4, L=60, capacity=4),
        slide.DWTA(K=4, L=60, capacity=4),
    ],
    ids=["simhash whole", "simhash folded", "wta folded", "dwta folded"],
)
def test_every_bucket_is_reached(family: slide.lsh.HashFamily, engine: str) -> None:
    """The authors' code reached 3 % of its buckets. A code with more bits than the tables have is folded."""
    n = 200
    net = make_network([slide.SparseInput(3, 40), slide.Sampled(n, lsh=family)], engine)
    lsh = net.states[1].lsh
    assert lsh is not None
    inserted = np.zeros(2**lsh.table_bits, np.int64)
    for generation in range(3):
        net.weights(1)[:] = np.random.default_rng(generation).standard_normal((n, 40))
        net.engine.rebuild(1, generation)
        inserted += lsh.buckets[:, :, 0].sum(axis=0)
    assert inserted.sum() == 3 * n * lsh.L
    assert len(inserted) == (32 if family.K == 5 else 512)
    assert (inserted > 0).all()
    assert inserted.max() < 8 * inserted.mean()


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("family", es.FAMILIES.values(), ids=es.FAMILIES)
def test_codes_follow_from_the_seed(family: slide.lsh.HashFamily, engine: str) -> None:
    dim = 30 + slide.lsh.APPENDED[family.transform]
    x = np.random.default_rng(0).standard_normal((20, dim)).astype(np.float32)
    first, again, other = (codes_of(hasher(family, 30, engine, seed=s), x) for s in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("engine", ENGINES)
def test_centred_vectors_keep_every_ranking(engine: str) -> None:
    """The frame moves w . x + b by a constant for each query; both vectors are then hashed on those coordinates."""
    n, h = 50, 9
    net = make_network([slide.SparseInput(5, h), slide.Sampled(n, lsh=slide.SimHash(K=6, L=40))], engine)
    rng = np.random.default_rng(0)
    net.weights(1)[:] = rng.normal(0.5, 1, (n, h))
    net.biases(1)[:] = rng.normal(2, 1, n)
    queries = rng.normal(-1, 1, (30, h)).astype(np.float32)
    state = net.states[1]
    update_frame(state, queries)
    assert state.lsh is not None
    frame, dim = state.lsh.frame.astype(np.float64), h + 1
    w = net.weights(1) - frame[:h]
    b = (net.biases(1) - frame[h] + w @ frame[dim:-1]) / frame[-1]
    x = np.hstack([queries - frame[dim:-1], np.full((30, 1), frame[-1])])
    moved = x @ np.hstack([w, b[:, None]]).T - (queries @ net.weights(1).T.astype(np.float64) + net.biases(1))
    np.testing.assert_allclose(moved - moved[:, :1], 0, atol=1e-5)
    net.engine.rebuild(1, 0)
    own = net.engine.hash_codes(1, np.hstack([w, b[:, None]]).astype(np.float32))
    buckets = es.used_slots(net, 1)
    whole = [[i in buckets[t][own[i, t]] for t in range(40)] for i in range(n)]
    assert np.mean(whole) > 0.99  # a projection may fall on the other side of a border by float32's rounding
