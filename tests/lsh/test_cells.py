"""Query cells: codes are nearest centres, lists are exact, a refresh loses little, centres follow queries; batches."""

from __future__ import annotations

import pickle

import engine_strategies as es
import numpy as np
import pytest
from engine_strategies import BACKENDS, ENGINES, make_network, planted_data, random_data

import slide
from slide.lsh.query_cells import _reorder, round_to_12_bits
from slide.lsh.query_cells import centres as centres_of

D, H = 40, 20


def filled(engine: str, n: int, lsh: slide.QueryCells, seed: int = 0) -> slide.Network:
    """Random rows with a few large biases, centres learned from random queries, lists filled."""
    net = make_network([slide.SparseInput(D, H), slide.Sampled(n, lsh=lsh, n_active=20, n_random=4)], engine)
    rng = np.random.default_rng(seed)
    net.weights(-1)[:] = rng.standard_normal((n, H))
    net.biases(-1)[:] = 2 * rng.standard_normal(n)
    queries = queries_of(4 * net.states[-1].lsh.directions.shape[0] * 64, seed)
    lsh.learn(net.states[-1], slide.lsh.LearnContext(queries, rng, lambda v: net.engine.hash_codes(1, v)))
    net.engine.rebuild(1, 0)
    return net


def queries_of(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    middles = 2 * np.random.default_rng(9).standard_normal((30, H))
    return (middles[rng.integers(0, 30, n)] + 0.3 * rng.standard_normal((n, H))).astype(np.float32)


def with_one(queries: np.ndarray) -> np.ndarray:
    return np.concatenate([queries, np.ones((len(queries), 1), np.float32)], axis=1)


def exact_scores(net: slide.Network) -> np.ndarray:
    """[cells, neurons], in the order in which the engines sum: products are exact."""
    centres, weights = centres_of(net.states[-1].lsh), round_to_12_bits(net.weights(-1))
    scores = np.zeros((len(centres), len(weights)), np.float32)
    for d in range(H):
        scores += centres[:, d, None] * weights[None, :, d]
    return scores + net.biases(-1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_code_is_the_nearest_centre(engine: str) -> None:
    net = filled(engine, 100, slide.QueryCells(K=7))
    queries = queries_of(300, 5)
    codes = net.engine.hash_codes(1, with_one(queries))[:, 0]
    squares = np.square(queries[:, None] - centres_of(net.states[-1].lsh)[None]).sum(axis=2)
    rounding = 2.0**-10 * np.square(queries).sum(axis=1)  # 12 bits: a tie may go to either
    assert (squares[np.arange(300), codes] <= squares.min(axis=1) + rounding).all()
    assert len(np.unique(codes)) > 20


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [1, 3, 4, 31, 32, 33, 66])
def test_codes_are_those_of_the_largest_score_and_of_equals_the_first(engine: str, n: int) -> None:
    """Whatever number of queries is hashed at once; every centre is there twice, in its own block and in another."""
    net = filled(engine, 100, slide.QueryCells(K=8))
    directions, queries = net.states[-1].lsh.directions, round_to_12_bits(queries_of(n, 5))
    directions[2:] = directions[:2]
    directions[:, :, 32:] = directions[:, :, :32]
    scores = np.zeros((n, 256), np.float32)
    for d in range(H + 1):
        scores += with_one(queries)[:, d, None] * directions[:, d].reshape(1, -1)
    np.testing.assert_array_equal(net.engine.hash_codes(1, with_one(queries))[:, 0], scores.argmax(axis=1))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [5, 100, 501])
def test_lists_are_the_best_neurons_in_order(engine: str, n: int) -> None:
    net = filled(engine, n, slide.QueryCells(K=6, capacity=12))
    scores = exact_scores(net)
    for cell, found in enumerate(es.used_slots(net)[0]):
        best = np.lexsort((np.arange(n), -scores[cell]))[: min(12, n)]
        assert found == best.tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refresh_looks_at_the_listed_and_at_the_labels_of_a_block(engine: str) -> None:
    """Two blocks of cells; rows move at random, so that many neurons rise, but only some have a home."""
    n, capacity = 300, 4
    net = filled(engine, n, slide.QueryCells(K=7, capacity=capacity))
    rng, homes, before = np.random.default_rng(4), net.states[-1].lsh.label_cells, es.used_slots(net)[0]
    net.weights(-1)[:] = rng.standard_normal((n, H))
    homes[:] = np.where(rng.random(n) < 0.3, rng.integers(0, 128, n), -1)
    scores = exact_scores(net)
    net.engine.rebuild(1, 1, True)
    for cell, found in enumerate(es.used_slots(net)[0]):
        block = cell // 64
        may_rise = set(np.flatnonzero((homes >= 0) & (homes // 64 == block))).union(*before[64 * block :][:64])
        best = sorted(may_rise, key=lambda i: (-scores[cell, i], i))[:capacity]
        assert found == best
    assert len(may_rise) < n


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_label_is_at_home_in_its_last_cell(engine: str, batch_size: int) -> None:
    X, Y = planted_data(256, 300, 200)
    net = network(engine, batch_size, n_threads=1)
    net.rebuild_tables(slide.engine.protocol.Examples.of(X))
    net.fit(X, Y)
    homes = net.states[-1].lsh.label_cells
    np.testing.assert_array_equal(homes >= 0, np.bincount(Y.indices, minlength=200) > 0)
    assert len(np.unique(homes)) > 5


def test_cells_keep_lists_and_labels_when_they_are_numbered_anew() -> None:
    net = filled(BACKENDS[-1], 300, slide.QueryCells(K=8, capacity=6))
    state = net.states[-1].lsh
    state.label_cells[:] = np.where(np.arange(300) % 3, np.arange(300) % 256, -1)
    centres, lists, homes = centres_of(state), state.buckets[0].copy(), state.label_cells.copy()
    order = np.random.default_rng(0).permutation(256)
    _reorder(state, order)
    np.testing.assert_array_equal(centres_of(state), centres[order])
    np.testing.assert_array_equal(state.buckets[0], lists[order])
    settled = homes >= 0
    np.testing.assert_array_equal(order[state.label_cells[settled]], homes[settled])
    assert (state.label_cells[~settled] == -1).all()


def test_training_of_many_neurons_refreshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of neurons that have been labels are as good as those of a full fill."""
    monkeypatch.setattr(slide.lsh.query_cells, "REFRESH_FROM", 100)
    X, Y = planted_data(4000, 300, 200)
    lsh = slide.QueryCells(K=7, capacity=20)
    layers = [slide.SparseInput(300, 24), slide.Sampled(200, lsh=lsh, n_active=40, n_random=10)]
    net = make_network(layers, BACKENDS[-1], batch_size=4, rebuild=slide.Rebuild(every=500))
    refreshes, can_refresh = [], slide.QueryCells.can_refresh
    monkeypatch.setattr(
        slide.QueryCells, "can_refresh", lambda *a: (refreshes.append(can_refresh(*a)), refreshes[-1])[1]
    )
    net.fit(X, Y, epochs=2)
    assert len(refreshes) > 4
    assert all(refreshes)
    queries = net.hidden(X[:300])
    refreshed = net.engine.retrieve(1, queries, 10)
    net.biases(-1)[7] += 100  # a full fill would list it everywhere: a copy must have the lists as they are
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.engine.retrieve(1, queries, 10), refreshed)
    net.biases(-1)[7] -= 100
    net.rebuild_tables()
    full = net.engine.retrieve(1, queries, 10)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(full, refreshed, strict=True)]) > 0.9


@pytest.mark.parametrize("engine", BACKENDS)
def test_neighbouring_cells_fill_up_what_one_list_lacks(engine: str) -> None:
    net = filled(engine, 200, slide.QueryCells(K=6, capacity=10, probes=1))
    queries = queries_of(20, 5)
    codes = net.engine.hash_codes(1, with_one(queries))[:, 0]
    few, many = (net.engine.retrieve(1, queries, n) for n in (10, 25))
    for i, code in enumerate(codes):
        assert few[i].tolist() == es.used_slots(net)[0][code]
        assert many[i, :10].tolist() == few[i].tolist()
        found = many[i][many[i] >= 0]
        assert len(found) == len(set(found.tolist())) > 10


@pytest.mark.parametrize("engine", BACKENDS)
def test_norms_and_biases_count(engine: str) -> None:
    """Neurons of one direction: the longest leads its list, unless a bias makes up for it."""
    net = filled(engine, 50, slide.QueryCells(K=6, capacity=5))
    query = centres_of(net.states[-1].lsh)[:1]
    net.weights(-1)[:10], net.biases(-1)[:] = query * np.linspace(1, 2, 10)[:, None], 0
    net.engine.rebuild(1, 0)
    assert net.engine.retrieve(1, query, 1)[0, 0] == 9
    net.biases(-1)[3] = 100
    net.engine.rebuild(1, 0)
    assert net.engine.retrieve(1, query, 1)[0, 0] == 3


def test_centres_follow_the_queries() -> None:
    net = filled(BACKENDS[-1], 50, slide.QueryCells(K=6))
    state, lsh = net.states[-1], net.layers[-1].lsh

    def error(queries: np.ndarray) -> float:
        codes = net.engine.hash_codes(1, with_one(queries))[:, 0]
        return float(np.linalg.norm(queries - centres_of(state.lsh)[codes], axis=1).mean())

    moved = queries_of(1000, 3) + 5
    before, rng = error(moved), np.random.default_rng(0)
    for _ in range(3):
        lsh.learn(state, slide.lsh.LearnContext(moved, rng, lambda v: net.engine.hash_codes(1, v)))
    assert error(moved) < before / 3


@pytest.mark.parametrize("engine", BACKENDS)
def test_without_examples_there_are_lists_all_the_same(engine: str) -> None:
    net = make_network([slide.SparseInput(D, H), slide.Sampled(80, n_active=20, n_random=4)], engine)
    net.rebuild_tables()
    assert min(len(found) for found in es.used_slots(net)[0]) == 80


# -- batches ----------------------------------------------------------------------------------------------------------


def network(engine: str, batch_size: int | None, **options: object) -> slide.Network:
    layers = [slide.SparseInput(300, 24), slide.Sampled(200, n_active=40, n_random=10)]
    return make_network(layers, engine, batch_size=batch_size, **options)


@pytest.mark.parametrize("engine", BACKENDS)
def test_batches_learn_what_single_samples_learn(engine: str) -> None:
    X, Y = planted_data(4000, 300, 200)
    X_new, Y_new = planted_data(500, 300, 200, seed=1)
    single, batched = (network(engine, size).fit(X, Y, epochs=3) for size in (1, 4))
    assert es.precision_at_1(batched, X_new, Y_new) > es.precision_at_1(single, X_new, Y_new) - 0.05 > 0.5


@pytest.mark.parametrize("engine", BACKENDS)
def test_samples_without_labels_or_features_change_nothing_in_a_batch(engine: str) -> None:
    X, _ = random_data(64, 300, 200)
    nothing = slide.engine.protocol.Examples(np.zeros(65, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    net = network(engine, 32)
    net.rebuild_tables()
    before = es.rows_of(net)
    order, lr = np.arange(64), np.full(64, 0.1, np.float32)
    net.engine.train(slide.engine.protocol.Examples.of(X), nothing, order, 0, lr, 32)
    assert all(np.array_equal(a, b) for a, b in zip(before, es.rows_of(net), strict=True))


def test_rebuilds_come_where_they_are_asked_for_in_batches_too(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(BACKENDS[-1], 8, rebuild=slide.Rebuild(every=300, growth=0))
    at, rebuild = [], net.rebuild_tables
    monkeypatch.setattr(net, "rebuild_tables", lambda x=None, **how: (at.append(net.step), rebuild(x, **how)))
    net.fit(*planted_data(1000, 300, 200))
    assert at == [0, 300, 600, 900, 1000]


@pytest.mark.parametrize("n", [100, 5000, 50_000])
def test_batches_grow_with_the_data(n: int) -> None:
    assert network(BACKENDS[-1], None).resolved_batch_size(n) == min(max(n // 1000, 1), 32)
    assert network(BACKENDS[-1], 4).resolved_batch_size(n) == 4


def test_hash_tables_train_sample_by_sample() -> None:
    layers = [slide.SparseInput(30, 8), slide.Sampled(50, lsh=slide.SimHash(K=2, L=3), n_active=10, n_random=2)]
    for engine in BACKENDS:
        assert make_network(layers, engine, batch_size=16).resolved_batch_size(10**6) == 1


@pytest.mark.parametrize("size", [0, 33, 2.0, "all"])
def test_batch_sizes_that_make_no_sense(size: object) -> None:
    with pytest.raises(ValueError, match=r"batch_size: found .*, wanted an int, 1 to 32"):
        network(BACKENDS[-1], size)  # type: ignore[arg-type]
