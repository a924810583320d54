"""Collision rates of the hash families against their theory, and the vectors that are hashed for inner products."""

from __future__ import annotations

import doctest
from math import comb, erf, exp, pi, sqrt
from typing import Any

import engine_strategies as es
import numpy as np
import numpy.typing as npt
import pytest
from engine_strategies import BACKENDS, ENGINES, make_network

import slide
import slide.lsh.euclidean
import slide.lsh.family
from slide.lsh.centring import update_frame

Array = npt.NDArray[Any]
L = 1000


def hasher(family: slide.lsh.HashFamily, dim: int, engine: str, seed: int = 0) -> slide.Network:
    layers = [slide.SparseInput(3, dim - 1), slide.Sampled(64, lsh=family)]
    return make_network(layers, engine, seed=seed)


def codes_of(net: slide.Network, vectors: npt.ArrayLike) -> Array:
    return net.engine.hash_codes(1, np.ascontiguousarray(vectors, np.float32))


def agreement(net: slide.Network, x: Array, y: Array) -> float:
    """Share of the tables in which two vectors have one code."""
    codes = codes_of(net, [x, y])
    return float(np.mean(codes[0] == codes[1]))


def within(found: list[float], expected: list[float], tables: int = L) -> bool:
    """Whether the mean over pairs is within four standard deviations; pairs share their hashes: no more than one."""
    p = float(np.mean(expected))
    return abs(float(np.mean(found)) - p) <= 4 * np.sqrt(p * (1 - p) / tables) + 1e-9


# -- winner-take-all ---------------------------------------------------------------------------------------------------


def wta_rate(x: Array, y: Array) -> float:
    """Sum over i of C(r_i, 7) / C(dim, 8): one coordinate beats the other seven of a window in both vectors."""
    below = (x[None] < x[:, None]) & (y[None] < y[:, None])
    return sum(comb(int(r), 7) for r in below.sum(axis=1)) / comb(len(x), 8)


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("kind", [slide.WTA, slide.DWTA])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5, 1.0, 4.0])
def test_winners_agree_as_ranks_do(noise: float, kind: type[slide.WTA], engine: str) -> None:
    """Without zeros DWTA is WTA with windows that do not overlap within a permutation."""
    dim = 64
    rng = np.random.default_rng(3)
    net = hasher(kind(K=1, L=L), dim, engine)
    found, expected = [], []
    for _ in range(20):
        x = rng.standard_normal(dim)
        y = x + noise * rng.standard_normal(dim)
        found.append(agreement(net, x, y))
        expected.append(wta_rate(x, y))
    assert within(found, expected)


def sets_with(shared: int, own: int, dim: int, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """Two zero-one vectors and the Jaccard similarity of their supports."""
    chosen = rng.choice(dim, shared + 2 * own, replace=False)
    x, y = np.zeros(dim, np.float32), np.zeros(dim, np.float32)
    x[chosen[: shared + own]] = 1
    y[chosen[:shared]] = y[chosen[shared + own :]] = 1
    return x, y, shared / (shared + 2 * own)


SUPPORTS = [(30, 0), (27, 3), (20, 10), (10, 20), (0, 30), (2, 1), (1, 0), (0, 1)]


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize(("shared", "own"), SUPPORTS)
def test_minhash_agrees_with_the_jaccard_similarity(shared: int, own: int, engine: str) -> None:
    """Most bins stay empty and borrow, which must not tell on the rate."""
    dim, rng = 500, np.random.default_rng(shared)
    found, expected = [], []
    for seed in range(20):
        net = hasher(slide.MinHash(K=1, L=L, size=32), dim, engine, seed)
        x, y, jaccard = sets_with(shared, own, dim, rng)
        found.append(agreement(net, x, y))
        expected.append(jaccard + (1 - jaccard) / 16)
    filled = L // 32 * min(32, shared + own)  # no more bins than this are independent
    assert within(found, expected, filled)


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize(("shared", "own"), SUPPORTS)
def test_dwta_agrees_with_the_jaccard_similarity_on_sparse_sets(shared: int, own: int, engine: str) -> None:
    """Winners of equal value go by their place: a minwise hash of 8 values, which others have by chance."""
    dim, rng = 800, np.random.default_rng(shared)
    found, jaccards = [], []
    for seed in range(20):
        net = hasher(slide.DWTA(K=1, L=L), dim, engine, seed)
        x, y, jaccard = sets_with(shared, own, dim, rng)
        found.append(agreement(net, x, y))
        jaccards.append(jaccard)
    p, chance = np.mean(jaccards), 1 / 8 + 1 / 16  # low places win more often
    bound = 4 * np.sqrt(p * (1 - p) / L + chance * (1 - p) / (L // 100 * (shared + own)))
    assert p - bound <= np.mean(found) <= p + (1 - p) * chance + bound


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize(
    "family", [slide.DWTA(K=1, L=L), slide.MinHash(K=1, L=L), slide.MinHash(K=1, L=100, size=30_000)], ids=repr
)
def test_one_coordinate_fills_all_bins(family: slide.lsh.HashFamily, engine: str) -> None:
    """No bin is left with a code of its own that all sparse vectors would share."""
    dim = 800
    net = hasher(family, dim, engine)
    codes = codes_of(net, np.eye(dim, dtype=np.float32)[:300])
    zeros = (codes == 0).mean()
    assert zeros == pytest.approx(2.0**-family.bits_per_hash, abs=0.05)
    assert not codes_of(net, np.zeros((1, dim))).any()


# -- cells of one width ------------------------------------------------------------------------------------------------


def euclidean_rate(spread: float) -> float:
    """The chance to agree at a distance of so many widths: Datar et al.'s p, its integral over cells that fold."""
    z = np.linspace(-12 * spread, 12 * spread, 400_001)
    density = np.exp(-(z**2) / (2 * spread**2)) / (np.sqrt(2 * np.pi) * spread)
    apart = np.abs(z - 4 * np.round(z / 4))  # of a cell's number and the nearest one that is called the same
    return float(np.sum(np.maximum(1 - apart, 0) * density) * (z[1] - z[0]))


def datar_rate(spread: float) -> float:
    """The closed form of the paper (section 3.2), for cells that are all told apart."""
    cut = 1 - erf(1 / (spread * sqrt(2)))
    return 1 - cut - 2 * spread / sqrt(2 * pi) * (1 - exp(-1 / (2 * spread**2)))


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("width", [0.5, 2.5, 8])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5, 1.0, 2.0, 5.0])
def test_euclidean_hashes_agree_as_the_distance_says(spread: float, width: float, engine: str) -> None:
    dim = 100
    rng = np.random.default_rng(int(10 * spread))
    net = hasher(slide.EuclideanHash(K=1, L=L, width=width, transform="none", centred=False), dim, engine)
    found = []
    for _ in range(20):
        x, step = rng.standard_normal((2, dim))
        found.append(agreement(net, x, x + spread * width * step / np.linalg.norm(step)))
    p = 1.0 if spread == 0 else euclidean_rate(spread)
    assert within(found, [p])
    assert slide.EuclideanHash(width=width).collision_probability(spread * width) == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize(("spread", "folding"), [(0.2, 0.0), (0.75, 1e-4), (1.0, 8e-4), (2.0, 0.0575)])
def test_folding_costs_little_up_to_one_width(spread: float, folding: float) -> None:
    found = slide.EuclideanHash(width=3).collision_probability(3 * spread)
    assert found - datar_rate(spread) == pytest.approx(folding, abs=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_euclidean_codes_are_the_cells_of_the_projections(engine: str) -> None:
    dim, width = 33, 0.7
    net = hasher(slide.EuclideanHash(K=3, L=20, width=width, transform="none", centred=False), dim, engine)
    lsh = net.states[1].lsh
    assert lsh is not None
    x = np.random.default_rng(0).standard_normal((40, dim)).astype(np.float32)
    offsets = lsh.positions.ravel() / 2**24
    assert np.ptp(offsets) > 0.9
    cells = x.astype(np.float64) @ directions_of(net) / 32 / width + offsets
    sure = (np.abs(cells - np.round(cells)) > 1e-4).reshape(40, 20, 3)
    found = codes_of(net, x)[:, :, None] >> np.array([4, 2, 0]) & 3
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(found[sure], (np.floor(cells) % 4).reshape(40, 20, 3)[sure])


# -- MinHash by its definition -----------------------------------------------------------------------------------------


def plain_minhash(lsh: slide.engine.state.LshState, x: Array) -> Array:
    """The least rank in each bin, -1 where a bin is empty."""
    strongest = sorted((d for d in range(lsh.dim) if x[d] != 0), key=lambda d: (-abs(x[d]), d))[: lsh.window]
    winners = np.full(lsh.K * lsh.L, -1, np.int64)
    bins = -(-len(winners) // lsh.permutations)
    for d in strongest:
        for p, rank in enumerate(lsh.positions[2 * d + (x[d] < 0)].tolist()):
            b = p * bins + rank * bins // 2**31
            if b < len(winners) and (winners[b] < 0 or rank < winners[b]):
                winners[b] = rank
    return winners


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_minhash_takes_the_strongest_coordinates(size: int, engine: str) -> None:
    dim = 45
    net = hasher(slide.MinHash(K=3, L=12, size=size), dim, engine)
    lsh = net.states[1].lsh
    assert lsh is not None
    rng = np.random.default_rng(size)
    for density in (0.05, 0.3, 1.0):
        x = np.round(2 * rng.standard_normal(dim) * (rng.random(dim) < density)).astype(np.float32)  # with ties
        winners = plain_minhash(lsh, x)
        (codes,) = codes_of(net, [x])
        found = (codes[:, None] >> np.array([8, 4, 0]) & 15).ravel()
        filled = winners >= 0
        np.testing.assert_array_equal(found[filled], winners[filled] & 15)
        assert set(found[~filled]) <= (set(winners[filled] & 15) or {0})


# -- SimHash's directions ----------------------------------------------------------------------------------------------


def directions_of(net: slide.Network) -> Array:
    """[dim, K L], as the family says it makes them."""
    lsh = net.states[1].lsh
    assert lsh is not None
    n = lsh.K * lsh.L
    if lsh.kind == "simhash_sparse":
        result = np.zeros((lsh.dim, n))
        for b, at in enumerate(lsh.positions.tolist()):
            for d in at:
                result[~d if d < 0 else d, b] = -1 if d < 0 else 1
        return result
    if lsh.kind == "simhash_hadamard":
        H = np.ones((1, 1))
        while len(H) < lsh.window:
            H = np.block([[H, H], [H, -H]])
        order = [int(f"{i:0{len(H).bit_length() - 1}b}"[::-1], 2) for i in range(len(H))]
        turns = [H @ np.diag(c) @ H @ np.diag(b) @ H @ np.diag(a) for a, b, c in lsh.directions.astype(np.float64)]
        assert all((np.abs(t @ t.T - len(H) ** 3 * np.eye(len(H))) < 1e-6).all() for t in turns)
        assert sorted(order) == list(range(len(H)))
        return np.vstack(turns)[:n, : lsh.dim].T
    return lsh.directions.transpose(1, 0, 2).reshape(lsh.dim, -1)[:, :n].astype(np.float64)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("directions", ["gaussian", "sparse", "hadamard"])
def test_bits_are_the_sides_of_the_directions(directions: str, engine: str) -> None:
    dim = 40
    net = hasher(slide.SimHash(K=5, L=30, centred=False, directions=directions), dim, engine)
    x = np.random.default_rng(0).standard_normal((40, dim)).astype(np.float32)
    projections = x.astype(np.float64) @ directions_of(net)
    sure = np.abs(projections) > 1e-4 * np.abs(projections).max()
    bits = (codes_of(net, x)[:, :, None] >> np.arange(5)[::-1] & 1).reshape(40, 150)
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(bits[sure], (projections > 0)[sure])


def test_directions_have_the_distribution_of_their_name() -> None:
    gaussian = directions_of(hasher(slide.SimHash(K=10, L=100, directions="gaussian"), 100, BACKENDS[0]))
    assert np.abs(gaussian).max() <= 127
    assert gaussian.std() == pytest.approx(32, rel=0.02)
    assert (np.abs(gaussian) > 64).mean() == pytest.approx(0.0436, abs=0.005)  # beyond 64.5 / 32 standard deviations
    sparse = directions_of(hasher(slide.SimHash(K=10, L=100, directions="sparse"), 100, BACKENDS[0]))
    assert (np.count_nonzero(sparse, axis=0) == 10).all()
    assert abs(sparse.sum()) < 5 * np.sqrt(10 * 1000)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", es.FAMILIES.values(), ids=es.FAMILIES)
def test_a_code_does_not_depend_on_its_companions(family: slide.lsh.HashFamily, engine: str) -> None:
    dim = 30
    net = hasher(family, dim, engine)
    hashed = dim + slide.lsh.APPENDED[family.transform]
    x = np.random.default_rng(0).standard_normal((23, hashed)).astype(np.float32)
    x[::3, 5:] = 0
    together = codes_of(net, x)
    np.testing.assert_array_equal(together, np.vstack([codes_of(net, [row]) for row in x]))
    np.testing.assert_array_equal(together[::-1], codes_of(net, x[::-1]))


# -- what is hashed ----------------------------------------------------------------------------------------------------


class Camera(slide.lsh.HashFamily):
    """Keeps what it is asked to hash."""

    sees_distances = True

    def prepare(self, K: int, dim: int, rng: np.random.Generator) -> list[Array]:
        return []

    def codes(self, vectors: Array, choices: list[Array]) -> Array:
        choices.extend(vectors.copy())
        return np.zeros((len(vectors), self.L), np.int64)


def seen_by_camera(net: slide.Network) -> list[Array]:
    """What its family has hashed so far; the list goes on."""
    lsh = net.states[1].lsh
    assert lsh is not None
    assert lsh.custom is not None
    return lsh.custom.choices


def hashed_vectors(transform: str, centred: bool, engine: str) -> tuple[slide.Network, Array, Array, Array]:
    """A network, queries, and the vectors that it hashes of its neurons and of the queries."""
    n, h = 300, 9
    family = Camera(K=2, L=3, capacity=400, transform=transform, centred=centred)
    net = slide.Network(
        [slide.SparseInput(5, h), slide.Sampled(n, lsh=family)],
        n_threads=1,
        backend="numba" if engine == "numba" else "c",
    )
    rng = np.random.default_rng(0)
    net.weights(1)[:] = rng.normal(0.5, 1, (n, h)) * rng.lognormal(0, 1, (n, 1))
    net.biases(1)[:] = rng.normal(2, 1, n)
    queries = rng.normal(-1, 1, (20, h)).astype(np.float32)
    state = net.states[1]
    update_frame(state, queries)
    seen = seen_by_camera(net)
    net.engine.rebuild(1, 0)
    neurons = np.array(seen)
    first = 0 if engine == "numba" else es.used_slots(net, 1)[0][0][0]  # the C core hashes in the order of insertion
    neurons = np.roll(neurons, first, axis=0)
    seen.clear()
    net.engine.retrieve(1, queries, 3)
    return net, queries, neurons, np.array(seen)


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("transform", sorted(set(slide.lsh.APPENDED) - {"l2-alsh"}))
def test_inner_products_outlive_every_transform(transform: str, centred: bool, engine: str) -> None:
    """Up to a factor and, where the frame is centred, a constant for each query."""
    net, queries, neurons, hashed = hashed_vectors(transform, centred, engine)
    logits = queries.astype(np.float64) @ net.weights(1).T.astype(np.float64) + net.biases(1)
    inner = hashed.astype(np.float64) @ neurons.T.astype(np.float64)
    assert inner.shape == logits.shape
    lsh = net.states[1].lsh
    assert lsh is not None
    if transform == "sign-alsh":
        inner *= float(lsh.norms[0])
    difference = inner - logits
    if centred:
        difference -= difference[:, :1]
    np.testing.assert_allclose(difference, 0, atol=2e-5 * np.abs(logits).max())


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("centred", [False, True])
def test_transforms_are_those_of_their_papers(centred: bool, engine: str) -> None:
    _, _, plain, _ = hashed_vectors("none", centred, engine)
    lengths = np.linalg.norm(plain.astype(np.float64), axis=1)
    _, _, augmented, queries = hashed_vectors("norm-augmented", centred, engine)
    np.testing.assert_array_equal(augmented[:, :-1], plain)
    np.testing.assert_allclose(np.linalg.norm(augmented, axis=1), lengths.max(), rtol=1e-5)
    assert (queries[:, -1] == 0).all()

    net, _, ranged, _ = hashed_vectors("norm-ranging", centred, engine)
    lsh = net.states[1].lsh
    assert lsh is not None
    assert len(lsh.norms) == 32
    group = np.searchsorted(lsh.norms, lengths * (1 - 1e-6))
    np.testing.assert_allclose(np.linalg.norm(ranged, axis=1), lsh.norms[np.minimum(group, 31)], rtol=1e-5)
    assert np.bincount(group).max() <= 300 / 32 + 2

    _, _, alsh, queries = hashed_vectors("sign-alsh", centred, engine)
    scaled = plain * (0.75 / lengths.max())
    squares = np.square(scaled).sum(axis=1)
    np.testing.assert_allclose(alsh[:, :-2], scaled, rtol=1e-5)
    np.testing.assert_allclose(alsh[:, -2:], np.stack([0.5 - squares, 0.5 - squares**2], axis=1), atol=1e-6)
    assert (queries[:, -2:] == 0).all()


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("centred", [False, True])
def test_the_distance_of_l2_alsh_ranks_by_the_inner_product(centred: bool, engine: str) -> None:
    """It is 1 + m / 4 - 2 q . w + |w|^16: the last term, under 0.051, can only swap what is as near to a tie."""
    net, _, neurons, queries = hashed_vectors("l2-alsh", centred, engine)
    _, _, plain, plain_queries = hashed_vectors("none", centred, engine)
    plain, plain_queries, lengths = (
        plain.astype(np.float64),
        plain_queries.astype(np.float64),
        np.linalg.norm(plain, axis=1),
    )
    lsh = net.states[1].lsh
    assert lsh is not None
    assert lsh.norms == pytest.approx(lengths.max() / 0.83)
    scaled = plain * (0.83 / lengths.max())
    squares = np.square(scaled).sum(axis=1)
    np.testing.assert_allclose(neurons[:, :-3], scaled, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(neurons[:, -3:], np.stack([squares, squares**2, squares**4], axis=1), atol=1e-6)
    unit = plain_queries / np.linalg.norm(plain_queries, axis=1, keepdims=True)
    np.testing.assert_allclose(queries, np.hstack([unit, np.full((len(unit), 3), 0.5)]), atol=1e-6)
    apart = np.square(queries[:, None].astype(np.float64) - neurons[None]).sum(axis=2)
    np.testing.assert_allclose(apart, 1.75 - 2 * unit @ scaled.T + squares**8, atol=1e-5)
    inner = unit @ scaled.T
    assert (inner.max(axis=1) - inner[np.arange(len(inner)), apart.argmin(axis=1)]).max() <= 0.83**16 / 2


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_neuron_that_outgrew_the_norm_of_l2_alsh_counts_as_the_longest(engine: str) -> None:
    """|w|^16 would move it away from every query, and beyond float32."""
    net, *_ = hashed_vectors("l2-alsh", False, engine)
    net.weights(1)[:] *= 1e9
    seen_by_camera(net).clear()
    net.engine.rebuild(1, 0)
    assert (np.array(seen_by_camera(net))[:, -3:] == 1).all()


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_query_of_zeros_stays_one(engine: str) -> None:
    """Only where the frame takes its bias away; it has no direction to keep."""
    net, *_ = hashed_vectors("l2-alsh", True, engine)
    lsh = net.states[1].lsh
    assert lsh is not None
    lsh.centre[-1] = 0
    seen_by_camera(net).clear()
    net.engine.retrieve(1, lsh.centre[10:-1][None].copy(), 3)
    np.testing.assert_array_equal(seen_by_camera(net), [[0] * 10 + [0.5] * 3])


def test_the_angle_of_augmented_vectors_ranks_by_inner_product() -> None:
    """Where a query collides most often is where its inner product is largest; without the norms it is not."""
    found = {}
    for transform in ("none", "norm-augmented", "sign-alsh"):
        net, queries, neurons, hashed = hashed_vectors(transform, False, BACKENDS[-1])
        cosines = hashed @ neurons.T / np.linalg.norm(neurons, axis=1)
        logits = queries @ net.weights(1).T + net.biases(1)
        found[transform] = np.mean(cosines.argmax(axis=1) == logits.argmax(axis=1))
    assert found["norm-augmented"] == 1
    assert found["none"] < found["sign-alsh"]


class OwnCodes(slide.SimHash):
    def codes(self, vectors: Any, choices: Any) -> Any:
        return np.zeros((len(vectors), self.L), np.int64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: slide.SimHash(directions="cauchy"), r"SimHash\(directions=\): found 'cauchy'"),
        (lambda: slide.WTA(transform="square"), r"WTA\(transform=\): found 'square', wanted one of \('none'"),
        (lambda: slide.MinHash(size=0), r"MinHash\(size=\): found 0, wanted 1 to 65,536"),
        (lambda: slide.WTA(selection="best"), r"WTA\(selection=\): found 'best', wanted one of \('count', 'vanilla'"),
        (
            lambda: slide.SimHash(L=5, selection="threshold", min_count=6),
            r"\(min_count=\): found 6, wanted 1 to 5 tables",
        ),
        (lambda: slide.SimHash(min_count=0), r"SimHash\(min_count=\): found 0, wanted 1 to 1022"),
        (lambda: slide.SimHash(probes=2.5), r"SimHash\(probes=\): found 2.5, wanted 1 to 8 buckets a table"),
        (lambda: slide.SimHash(probes=9), r"SimHash\(probes=\): found 9, wanted 1 to 8 buckets a table"),
        (lambda: slide.DWTA(probes=2), r"DWTA\(probes=\): found 2, wanted 1: only SimHash's own bits have margins"),
        (lambda: OwnCodes(probes=2), r"OwnCodes\(probes=\): found 2, wanted 1: only SimHash's own bits have margins"),
        (lambda: slide.QueryCells(selection="count"), r"QueryCells\(selection=\): found 'count', wanted 'lists'"),
        (
            lambda: slide.SimHash(transform="l2-alsh"),
            r"SimHash\(transform=\): found 'l2-alsh', wanted another: this is for",
        ),
        (lambda: slide.EuclideanHash(width=0), r"EuclideanHash\(width=\): found 0, wanted a number, 1e-06 to 1e\+06"),
        (lambda: slide.EuclideanHash(width=float("nan")), r"EuclideanHash\(width=\): found nan, wanted a number"),
        (lambda: slide.EuclideanHash(K=16), r"EuclideanHash\(K=\): found 16, wanted 1 to 15"),
        (lambda: slide.EuclideanHash(probes=2), r"EuclideanHash\(probes=\): found 2, wanted 1: only SimHash's own"),
        (lambda: slide.MinHash(K=8), r"MinHash\(K=\): found 8, wanted 1 to 7"),
    ],
)
def test_options_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("family", es.FAMILIES.values(), ids=es.FAMILIES)
def test_a_saved_family_is_the_same_family(family: slide.lsh.HashFamily, tmp_path: Any) -> None:
    X, Y = es.random_data(60, 20, 40)
    net = slide.Network([slide.SparseInput(20, 11), slide.Sampled(40, lsh=family, n_active=12, n_random=2)])
    net.fit(X, Y, epochs=1)
    net.save(tmp_path / "model")
    again = slide.load(tmp_path / "model")
    assert isinstance(again, slide.Network)
    assert again.layers == net.layers
    np.testing.assert_array_equal(again.retrieve(X, 20), net.retrieve(X, 20))
    assert net.states[1].lsh is not None
    assert again.states[1].lsh is not None
    np.testing.assert_array_equal(again.states[1].lsh.frame, net.states[1].lsh.frame)


@pytest.mark.parametrize("module", [slide.lsh.family, slide.lsh.simhash, slide.lsh.query_cells, slide.lsh.euclidean])
def test_the_examples_in_the_docstrings(module: Any) -> None:
    tried = doctest.testmod(module)
    assert tried.attempted > 0
    assert tried.failed == 0
