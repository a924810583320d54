"""Tables: nothing lost while there is room, nothing twice, and what a full bucket keeps."""

from __future__ import annotations

import engine_strategies as es
import numpy as np
import pytest
from engine_strategies import BACKENDS, make_network, used_slots
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import slide


def filled(
    family: slide.lsh.HashFamily, n: int, engine: str, generation: int = 0, n_threads: int = 1, weights: int | None = 0
) -> slide.Network:
    """A network with a sampled layer of n random neurons of 8 + 1 coordinates (weights None: all alike)."""
    layers = [slide.SparseInput(3, 8), slide.Sampled(n, lsh=family)]
    net = make_network(layers, engine, n_threads=n_threads)
    net.weights(1)[:] = 1 if weights is None else np.random.default_rng(weights).standard_normal((n, 8))
    net.engine.rebuild(1, generation)
    return net


@given(
    family=es.hash_families(as_they_are=True),
    n=st.integers(1, 80),
    generation=st.integers(0, 2**40),
    engine=st.sampled_from(BACKENDS),
)
@settings(max_examples=150)
def test_nothing_is_lost_while_there_is_room_and_nothing_is_there_twice(
    family: slide.lsh.HashFamily, n: int, generation: int, engine: str
) -> None:
    net = filled(family, n, engine, generation)
    vectors = np.hstack([net.weights(1), net.biases(1)[:, None]])
    codes = net.engine.hash_codes(1, np.ascontiguousarray(vectors))
    lsh = net.states[1].lsh
    assert lsh is not None
    np.testing.assert_array_equal(lsh.buckets[:, :, 0].sum(axis=1), n)  # every neuron was offered to every table once
    for t, table in enumerate(used_slots(net, 1)):
        place = {neuron: b for b, bucket in enumerate(table) for neuron in bucket}
        assert len(place) == sum(map(len, table)), "a neuron is there twice"
        assert all(0 <= neuron < n for neuron in place)
        for b, bucket in enumerate(table):
            assert len(bucket) == min(lsh.buckets[t, b, 0], family.capacity)
        full = [b for b, bucket in enumerate(table) if lsh.buckets[t, b, 0] > family.capacity]
        if not full:
            assert len(place) == n
        for code in np.unique(codes[:, t]):  # neurons with equal codes share a bucket
            assert len({place[i] for i in np.flatnonzero(codes[:, t] == code) if i in place}) <= 1


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_full_fifo_bucket_keeps_the_latest(engine: str) -> None:
    n, capacity = 50, 7
    starts = set()
    for generation in range(10):
        net = filled(slide.SimHash(K=2, L=3, capacity=capacity, policy="fifo"), n, engine, generation, weights=None)
        (bucket,) = {tuple(b) for table in used_slots(net, 1) for b in table if b}
        newest_last = np.roll(bucket, -(n % capacity))  # place = number seen before, modulo capacity
        assert (np.diff(newest_last) % n == 1).all()
        starts.add((newest_last[-1] + 1) % n)
    assert len(starts) > 5, "insertion always starts at the same neuron: high ids are favoured for ever"


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize(("n", "capacity"), [(2, 1), (5, 4), (40, 8)])
def test_a_full_reservoir_keeps_each_neuron_with_equal_chance(n: int, capacity: int, engine: str) -> None:
    L, generations = 200, 25
    kept = np.zeros(n)
    net = filled(slide.SimHash(K=1, L=L, capacity=capacity), n, engine, weights=None)
    for generation in range(generations):
        net.engine.rebuild(1, generation)
        ids = [neuron for table in used_slots(net, 1) for bucket in table for neuron in bucket]
        kept += np.bincount(ids, minlength=n)
    draws, p = L * generations, capacity / n
    assert kept.sum() == draws * capacity
    assert np.abs(kept - draws * p).max() < 5 * np.sqrt(draws * p * (1 - p))
    # Samples without replacement: counts vary by draws p (1 - p) and are tied by their sum.
    statistic = ((kept - draws * p) ** 2).sum() / (draws * p * (1 - p)) * (n - 1) / n
    assert stats.chi2.sf(statistic, n - 1) > 1e-4


@pytest.mark.parametrize("engine", BACKENDS)
def test_tables_differ_in_what_they_drop(engine: str) -> None:
    net = filled(slide.SimHash(K=1, L=20, capacity=4), 40, engine, weights=None)
    assert len({tuple(b) for table in used_slots(net, 1) for b in table if b}) > 15


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("family", es.FAMILIES.values(), ids=es.FAMILIES)
def test_a_rebuild_does_not_depend_on_the_number_of_threads(family: slide.lsh.HashFamily, engine: str) -> None:
    one, two, three = (used_slots(filled(family, 300, engine, 5, n_threads=t), 1) for t in (1, 2, 3))
    assert one == two == three


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_rebuild_forgets_what_was_there(engine: str) -> None:
    family = slide.SimHash(K=3, L=6, capacity=100, centred=False)
    net = filled(family, 60, engine, weights=1)
    old = used_slots(net, 1)
    net.weights(1)[:] = np.random.default_rng(2).standard_normal((60, 8))
    net.engine.rebuild(1, 0)
    assert used_slots(net, 1) == used_slots(filled(family, 60, engine, weights=2), 1) != old


@pytest.mark.parametrize("engine", BACKENDS)
def test_nothing_is_lost_where_a_layer_is_hashed_in_several_chunks(engine: str) -> None:
    n = 9000  # csrc/lsh/rebuild.c takes 8,192 at a time
    lsh = slide.SimHash(K=1, L=2, capacity=n)
    net = make_network([slide.SparseInput(3, 8), slide.Sampled(n, lsh=lsh)], engine)
    net.rebuild_tables()
    for table in used_slots(net, 1):
        assert sorted(i for bucket in table for i in bucket) == list(range(n))
