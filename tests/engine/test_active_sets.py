"""Active sets against a plain count of collisions: labels, then what the tables return, then a uniform tail."""

from __future__ import annotations

import engine_strategies as es
import numpy as np
import numpy.typing as npt
import pytest
from engine_strategies import BACKENDS, make_network
from hypothesis import given, settings
from hypothesis import strategies as st

import slide

H = 8


def colliding(net: slide.Network, query: npt.NDArray[np.float32], outside: list[int]) -> list[int]:
    """What the tables return. By count: neurons that share a bucket with the query, most often first, ties in the order
    in which they are met; by threshold: those that do so often enough, in that order; vanilla: all, in that order.
    """
    lsh = net.states[1].lsh
    if lsh is None:
        return []
    x = np.append(query, np.float32(1))
    if lsh.centre.size:
        x[:-1] -= lsh.centre[len(x) : -1]
        x[-1] = lsh.centre[-1]
    is_scaled = lsh.transform == "l2-alsh"  # to length 1; its sum of squares runs in order
    if is_scaled and (length := np.float32(np.sqrt(np.cumsum(np.square(x, dtype=np.float64))[-1]))) > 0:
        x /= length
    x = np.append(x, np.full(lsh.dim - len(x), 0.5 if is_scaled else 0, np.float32))
    codes = net.engine.hash_codes(1, x[None])[0].astype(object)
    counts: dict[int, int] = {}
    for table, code in zip(es.used_slots(net, 1), codes, strict=True):
        folded = (code * 0x9E3779B97F4A7C15 % 2**64) >> (64 - lsh.table_bits)
        for neuron in table[code if lsh.code_bits <= lsh.table_bits else folded]:
            counts[neuron] = counts.get(neuron, 0) + (neuron not in outside)
    met = [neuron for neuron in counts if neuron not in outside]
    rule = es.family_of(net).selection
    if rule == "threshold":
        return [neuron for neuron in met if counts[neuron] >= lsh.min_count]
    return sorted(met, key=lambda neuron: -counts[neuron]) if rule == "count" else met


def make(layer: slide.Sampled, engine: str, seed: int = 0) -> slide.Network:
    net = make_network([slide.SparseInput(3, H), layer], engine, seed=seed)
    net.rebuild_tables(
        slide.engine.protocol.Examples(np.array([0, 1, 2]), np.array([0, 1], np.int32), np.ones(2, np.float32))
    )
    return net


@given(
    layer=es.sampled_layers(),
    labels=st.lists(st.integers(0, 59), max_size=8),
    step=st.integers(0, 2**40),
    seed=st.integers(0, 3),
    engine=st.sampled_from(BACKENDS),
)
@settings(max_examples=300)
def test_an_active_set_is_what_it_should_be(
    layer: slide.Sampled, labels: list[int], step: int, seed: int, engine: str
) -> None:
    net = make(layer, engine, seed)
    n, n_active, n_random = layer.n, net.states[1].n_active, net.states[1].n_random
    labels = [label % n for label in labels]
    query = np.random.default_rng(step).standard_normal(H).astype(np.float32)
    ids, corrections = net.engine.active_set(1, query, np.array(labels, np.int32), step)

    distinct = list(dict.fromkeys(labels))
    if n_active == n:  # all take part: no table is asked
        assert ids.tolist() == distinct + [neuron for neuron in range(n) if neuron not in distinct]
        assert (corrections == 0).all()
        return
    wanted = max(n_active - n_random - len(distinct), 0)
    found = colliding(net, query, distinct)
    sure = len(distinct) + min(wanted, len(found))
    tail = min(max(n_active - sure, n_random), n - sure)
    assert ids[: len(distinct)].tolist() == distinct
    if layer.lsh is not None and layer.lsh.selection == "vanilla":  # which of them, the order of the tables decides
        assert set(ids[len(distinct) : sure].tolist()) <= set(found)
    else:
        assert ids[len(distinct) : sure].tolist() == found[:wanted]
    assert len(ids) == sure + tail
    assert len(set(ids.tolist())) == len(ids)
    assert ids.min() >= 0
    assert ids.max() < n
    assert (corrections[:sure] == 0).all()
    if tail:
        np.testing.assert_allclose(corrections[sure:], -np.log(tail / (n - sure)), rtol=1e-6, atol=1e-7)


@given(layer=es.sampled_layers(), candidates=st.integers(1, 70), engine=st.sampled_from(BACKENDS))
@settings(max_examples=100)
def test_retrieval_follows_the_rule(layer: slide.Sampled, candidates: int, engine: str) -> None:
    if layer.lsh is None:
        return
    net = make(layer, engine)
    queries = np.random.default_rng(candidates).standard_normal((4, H)).astype(np.float32)
    for query, found in zip(queries, net.engine.retrieve(1, queries, candidates), strict=True):
        expected = colliding(net, query, [])
        n = min(candidates, len(expected))
        assert found[n:].tolist() == [-1] * (candidates - n)
        if layer.lsh.selection == "vanilla":
            assert len(set(found[:n].tolist()) & set(expected)) == n
        else:
            assert found[:n].tolist() == expected[:n]


@pytest.mark.parametrize("engine", BACKENDS)
def test_the_tail_is_uniform_over_the_neurons_outside(engine: str) -> None:
    n, tail, steps = 30, 6, 6000
    net = make(slide.Sampled(n, lsh=None, n_active=8, n_random=tail), engine)
    labels = np.array([4, 21], np.int32)
    query, drawn = np.zeros(H, np.float32), np.zeros(n)
    for step in range(steps):
        ids, _ = net.engine.active_set(1, query, labels, step)
        drawn[ids[2:]] += 1
    assert (drawn[labels] == 0).all()
    p = tail / (n - 2)
    others = np.delete(drawn, labels)
    assert np.abs(others - steps * p).max() < 4.5 * np.sqrt(steps * p * (1 - p))


@pytest.mark.parametrize("engine", BACKENDS)
def test_the_tail_follows_from_seed_layer_and_step(engine: str) -> None:
    layer = slide.Sampled(1000, lsh=None, n_active=20, n_random=20)
    query, labels = np.zeros(H, np.float32), np.empty(0, np.int32)

    def tail(seed: int, step: int, index: int = 1) -> list[int]:
        net = make_network([slide.SparseInput(3, H), layer, slide.Sampled(1000, lsh=None)], engine, seed=seed)
        size = net.states[index].fan_in
        return net.engine.active_set(index, np.zeros(size, np.float32), labels, step)[0][:20].tolist()

    assert tail(0, 5) == tail(0, 5)
    assert len({tuple(t) for t in (tail(0, 5), tail(0, 6), tail(1, 5), tail(0, 5, index=2))}) == 4
    assert len(query) == H


@pytest.mark.parametrize("engine", BACKENDS)
def test_labels_are_forced_in_the_last_layer_alone(engine: str) -> None:
    """Neuron 3 of a hidden sampled layer is no label 3."""
    hidden = slide.Sampled(500, lsh=None, n_active=5, n_random=5)
    net = make_network(
        [slide.SparseInput(4, H), hidden, slide.Sampled(500, lsh=None, n_active=5, n_random=2)],
        engine,
        optimizer=slide.SGD(),
    )
    X, Y = es.random_data(1, 4, 500, nnz=4, labels=1)
    before = es.rows_of(net)
    es.train(net, X, Y, 1, 0.1)
    moved = [set(np.flatnonzero((a != b).any(axis=1))) for a, b in zip(before, es.rows_of(net), strict=True)]
    label = int(Y.indices[0])
    assert label in moved[2]
    assert label not in moved[1]
    assert (len(moved[1]), len(moved[2])) == (5, 5)


@pytest.mark.parametrize("engine", BACKENDS)
def test_more_labels_than_room_keep_all_labels_and_the_tail(engine: str) -> None:
    net = make(slide.Sampled(50, lsh=es.FAMILIES["simhash"], n_active=6, n_random=2), engine)
    labels = np.arange(30, 40, dtype=np.int32)
    ids, corrections = net.engine.active_set(1, np.zeros(H, np.float32), labels, 0)
    assert ids[:10].tolist() == labels.tolist()
    assert len(ids) == 12
    np.testing.assert_allclose(corrections[10:], np.log(40 / 2), rtol=1e-6)


@pytest.mark.parametrize("engine", BACKENDS)
def test_labels_that_leave_less_than_a_tail(engine: str) -> None:
    """18 of 20 neurons are labels: the other two are all that can be drawn."""
    net = make(slide.Sampled(20, lsh=es.FAMILIES["simhash"], n_active=15, n_random=5), engine)
    labels = np.arange(1, 19, dtype=np.int32)
    ids, corrections = net.engine.active_set(1, np.zeros(H, np.float32), labels, 0)
    assert ids[:18].tolist() == labels.tolist()
    assert sorted(ids[18:].tolist()) == [0, 19]
    np.testing.assert_array_equal(corrections, 0)


def test_a_layer_too_wide_to_count_directly_has_room_for_every_candidate() -> None:
    """Beyond SLIDE_DIRECT_LIMIT neurons are counted in a hash table of a size that follows from the tables'."""
    lsh = slide.SimHash(K=1, L=12, capacity=400)
    net = make(slide.Sampled(300_000, lsh=lsh, n_active=100, n_random=10), BACKENDS[-1])
    query = np.ones((1, H), np.float32)
    ids = net.engine.retrieve(1, query, 5000)[0]
    assert ids[ids >= 0].tolist() == colliding(net, query[0], [])
    assert (ids >= 0).sum() > 4000
    labels = np.array([7, 299_999], np.int32)
    members, _ = net.engine.active_set(1, query[0], labels, 0)
    assert members[:2].tolist() == labels.tolist()
    assert len(set(members.tolist())) == len(members) == 100
    assert members[2:90].tolist() == colliding(net, query[0], labels.tolist())[:88]
