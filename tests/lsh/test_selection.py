"""What tables return under each rule: probes, vanilla's order, labels as queries, and their probabilities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import engine_strategies as es
import numpy as np
import numpy.typing as npt
import pytest
from engine_strategies import BACKENDS, make_network

import slide

H = 8
NO_LABELS = np.empty(0, np.int32)


def make(lsh: slide.lsh.HashFamily, engine: str, n: int = 60, seed: int = 0, **options: Any) -> slide.Network:
    layer = slide.Sampled(n, lsh=lsh, **({"n_active": 30, "n_random": 5} | options))
    net = make_network([slide.SparseInput(3, H), layer], engine, seed=seed)
    net.biases(1)[:] = np.random.default_rng(seed).normal(0, 0.3, n)
    net.rebuild_tables()
    return net


def queries(n: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, H)).astype(np.float32)


# -- probes ------------------------------------------------------------------------------------------------------------


def probed_codes(net: slide.Network, query: npt.NDArray[np.float32], probes: int) -> list[list[int]]:
    """Of each table the `probes` codes with the least sums of squared margins over the bits that are not the query's.

    All codes are tried. Projections are added up in float32 in the order of the coordinates, as the engines do.
    """
    lsh = net.states[1].lsh
    assert lsh is not None
    x = np.append(query, np.float32(1))
    directions = lsh.directions.transpose(0, 2, 1).reshape(-1, lsh.dim)[: lsh.K * lsh.L]
    margins = np.cumsum(directions * x, axis=1, dtype=np.float32)[:, -1].reshape(lsh.L, lsh.K).astype(np.float64)
    found = []
    for own in margins:
        costs = {}
        for code in range(2**lsh.K):
            bits = [code >> (lsh.K - 1 - k) & 1 for k in range(lsh.K)]
            costs[code] = sum(m * m for m, bit in zip(own, bits, strict=True) if bit != (m > 0))
        found.append(sorted(costs, key=lambda code: costs[code])[:probes])
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize(("K", "n"), [(1, 60), (4, 60), (8, 10)], ids=["two buckets", "all codes", "folded codes"])
@pytest.mark.parametrize("probes", [2, 3, 8])
def test_probes_are_the_least_certain_codes(probes: int, K: int, n: int, engine: str) -> None:
    """And a neuron counts once a table, however many probes lead to its bucket."""
    net = make(slide.SimHash(K=K, L=5, capacity=64, centred=False, probes=probes), engine, n, n_active=n - 1)
    lsh, tables = net.states[1].lsh, es.used_slots(net)
    assert lsh is not None
    for query in queries(20):
        counts = np.zeros(n, np.int64)
        for table, codes in zip(tables, probed_codes(net, query, probes), strict=True):
            folded = [(code * 0x9E3779B97F4A7C15 % 2**64) >> (64 - lsh.table_bits) for code in codes]
            places = codes if lsh.code_bits <= lsh.table_bits else folded
            counts[[neuron for place in set(places) for neuron in table[place]]] += 1
        found = net.engine.retrieve(1, query[None], n)[0]
        found = found[found >= 0]
        assert set(found.tolist()) == set(np.flatnonzero(counts).tolist())
        assert (np.diff(counts[found]) <= 0).all()


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("directions", ["signs", "gaussian", "sparse", "hadamard"])
def test_more_probes_find_more_of_the_best(directions: str, engine: str) -> None:
    """Recall of the exact top 10 of 2,000 neurons, from the same few tables: a neuron in no bucket cannot be found."""
    n, recall = 2000, {}
    for probes in (1, 4):
        net = make(slide.SimHash(K=7, L=6, capacity=256, directions=directions, probes=probes), engine, n)
        x = queries(100)
        exact = net.states[-1].top(x, 10)
        found = net.engine.retrieve(1, x, n // 10)
        recall[probes] = np.mean([np.isin(e, f).mean() for e, f in zip(exact, found, strict=True)])
    assert recall[4] > recall[1] + 0.15, recall


# -- vanilla -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", BACKENDS)
def test_vanilla_takes_whole_tables_in_random_order(engine: str) -> None:
    """The first neurons are one table's bucket, each table's as often; equal steps see equal orders."""
    steps, L = 3000, 4
    lsh = slide.SimHash(K=2, L=L, capacity=64, centred=False, selection="vanilla")
    net = make(lsh, engine, n_active=40, n_random=0)
    query = queries(1)[0]
    codes = net.engine.hash_codes(1, np.append(query, np.float32(1))[None])[0]
    buckets = [table[code] for table, code in zip(es.used_slots(net), codes, strict=True)]
    assert len({tuple(b) for b in buckets}) == L
    first = np.zeros(L)
    for step in range(steps):
        ids, _ = net.engine.active_set(1, query, NO_LABELS, step)
        first[[ids[: len(b)].tolist() == b for b in buckets].index(True)] += 1
    assert np.abs(first - steps / L).max() < 4.5 * np.sqrt(steps / L * (1 - 1 / L))
    again = [net.engine.active_set(1, query, NO_LABELS, 7)[0].tolist() for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize("engine", BACKENDS)
def test_the_size_of_a_vanilla_set_does_not_hang_on_the_order(engine: str) -> None:
    net = make(slide.SimHash(K=4, L=4, capacity=64, selection="vanilla"), engine, 200, n_active=45, n_random=5)
    for query in queries(10):
        retrieved = [np.sum(net.engine.active_set(1, query, NO_LABELS, step)[1] == 0) for step in range(20)]
        assert len(set(retrieved)) == 1
        assert retrieved[0] == min(40, np.sum(net.engine.retrieve(1, query[None], 200) >= 0))


# -- labels as queries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_label_asks_for_the_neurons_of_its_own_buckets(engine: str) -> None:
    lsh = slide.SimHash(K=3, L=6, capacity=64)
    net = make(lsh, engine, n_active=20, n_random=2, query="label")
    tables = [{neuron: place for place, b in enumerate(table) for neuron in b} for table in es.used_slots(net)]

    def shared(label: int) -> npt.NDArray[np.int64]:
        return np.array([sum(t[i] == t[label] for t in tables) for i in range(60)])

    for label in range(0, 60, 7):
        sets = [net.engine.active_set(1, q, np.array([label], np.int32), 3)[0].tolist() for q in queries(2)]
        assert sets[0] == sets[1]  # whatever the input
        with_label = np.delete(shared(label), label)
        retrieved = shared(label)[sets[0][1:18]]
        assert retrieved.tolist() == np.sort(with_label)[::-1][:17].tolist()


@pytest.mark.parametrize("engine", BACKENDS)
def test_one_of_the_labels_asks_and_without_labels_the_input(engine: str) -> None:
    lsh = slide.SimHash(K=3, L=6, capacity=64)
    by_label = make(lsh, engine, n_active=20, n_random=2, query="label")
    by_input = make(lsh, engine, n_active=20, n_random=2)
    x, labels = queries(1)[0], np.array([4, 9], np.int32)
    nothing = [net.engine.active_set(1, x, NO_LABELS, 5)[0].tolist() for net in (by_label, by_input)]
    assert nothing[0] == nothing[1]
    assert (by_label.engine.retrieve(1, x[None], 20) == by_input.engine.retrieve(1, x[None], 20)).all()
    seen = {tuple(by_label.engine.active_set(1, x, labels, step)[0][:18].tolist()) for step in range(40)}
    assert len(seen) == 2
    assert {ids[:2] for ids in seen} == {(4, 9)}


# -- probabilities -----------------------------------------------------------------------------------------------------

RULES = {
    "count": slide.SimHash(K=3, L=4, capacity=64, probes=2),
    "vanilla": slide.SimHash(K=3, L=4, capacity=64, selection="vanilla"),
    "threshold": slide.WTA(K=1, L=4, capacity=64, selection="threshold"),
}


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("query", ["input", "label"])
@pytest.mark.parametrize("rule", RULES)
def test_the_corrected_sum_is_unbiased_under_every_rule(rule: str, query: str, engine: str) -> None:
    """The mean over steps of the sum of exp(logit - log q) over the set is the sum of exp(logit) over all neurons."""
    net = make(RULES[rule], engine, n_active=20, n_random=6, query=query)
    x, labels = queries(1)[0], np.array([4, 9], np.int32)
    weights = np.exp(net.weights(1) @ x + net.biases(1)).astype(np.float64)
    sums = []
    for step in range(1500):
        ids, corrections = net.engine.active_set(1, x, labels, step)
        sums.append(np.sum(weights[ids] * np.exp(corrections, dtype=np.float64)))
    assert np.std(sums) > 0
    assert abs(np.mean(sums) - weights.sum()) < 4.5 * np.std(sums) / math.sqrt(len(sums))


@pytest.mark.thorough
@pytest.mark.parametrize(("selection", "min_count"), [("count", 2), ("vanilla", 2), ("threshold", 2), ("threshold", 3)])
def test_retrieval_probability_over_draws_of_the_hash_functions(selection: str, min_count: int) -> None:
    lsh = slide.SimHash(K=2, L=4, centred=False, directions="gaussian", selection=selection, min_count=min_count)
    found, draws, angle = 0, 600, 1.2
    w = np.zeros(H)
    w[0], bias = math.sin(angle), math.cos(angle)  # the query is {0, ..., 0, 1}
    for seed in range(draws):
        net = make_network([slide.SparseInput(3, H), slide.Sampled(2, lsh=lsh)], BACKENDS[-1], seed=seed)
        net.weights(1)[:], net.biases(1)[:] = w, bias
        net.rebuild_tables()
        found += 0 in net.engine.retrieve(1, np.zeros((1, H), np.float32), 2)
    p = lsh.retrieval_probability(angle, 2)
    assert 0.1 < p < 0.95
    assert abs(found - draws * p) < 4.5 * math.sqrt(draws * p * (1 - p))


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: slide.Sampled(9, query="labels"), r"Sampled\(query=\): found 'labels', wanted one of \('input', 'lab"),
        (
            lambda: slide.Sampled(9, lsh=None, query="label"),
            r"Sampled\(query=\): found 'label', wanted 'input': lsh=None",
        ),
        (lambda: slide.Sampled(9, lsh=slide.QueryCells(), query="label"), r"wanted 'input': lsh=QueryCells\("),
        (
            lambda: slide.Network(
                [slide.SparseInput(3, 4), slide.Sampled(9, lsh=slide.SimHash(), query="label"), slide.Dense(5)]
            ),
            r"layers\[1\]: found Sampled\(.*wanted query='input': only the last layer's neurons are labels",
        ),
    ],
)
def test_queries_that_make_no_sense(make_it: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_it()


def test_a_saved_layer_asks_as_before(tmp_path: Path) -> None:
    X, Y = es.random_data(60, 20, 40)
    lsh = slide.SimHash(K=3, L=6, selection="threshold", min_count=3, probes=4)
    net = slide.Network([slide.SparseInput(20, H), slide.Sampled(40, lsh=lsh, n_active=12, n_random=2, query="label")])
    net.fit(X, Y, epochs=1)
    net.save(tmp_path / "model")
    again = slide.load(tmp_path / "model")
    assert isinstance(again, slide.Network)
    assert again.layers == net.layers
    x, labels = queries(1)[0], np.array([4, 9], np.int32)
    sets = [[a.tolist() for a in n.engine.active_set(1, x, labels, 3)] for n in (net, again)]
    assert sets[0] == sets[1]
