"""Rebuilds that hash only what has changed: the tables are those of a full rebuild, and the rest is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_strategies import BACKENDS, ENGINES, FAMILIES, family_of, make_network, planted_data, used_slots

import slide
from slide.engine.protocol import Examples
from slide.training.background_tables import BackgroundTables

D, N = 300, 200
INCREMENTAL = slide.Rebuild(every=40, growth=0, incremental=True)
FULL = slide.Rebuild(every=40, growth=0)


def network(engine: str, lsh: slide.lsh.HashFamily, **options: Any) -> slide.Network:
    sampled = slide.Sampled(N, lsh=lsh, n_active=40, n_random=15)
    return make_network([slide.SparseInput(D, 24), sampled], engine, **options)


def tables(net: slide.Network) -> slide.engine.state.LshState:
    lsh = net.states[-1].lsh
    assert lsh is not None
    return lsh


class Counting(slide.lsh.HashFamily):
    """Signs of the first K coordinates; remembers how many vectors it was given, and can be told to fail."""

    def prepare(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        return {"K": K, "hashed": 0, "fails": False}

    def codes(self, vectors: Any, choices: dict[str, Any]) -> Any:
        choices["hashed"] += len(vectors)
        if choices["fails"]:
            raise RuntimeError("no codes today")
        K = choices["K"]
        return np.repeat((vectors[:, :K] > 0) @ (1 << np.arange(K)), self.L).reshape(-1, self.L)


def counting_network(engine: str) -> tuple[slide.Network, dict[str, Any]]:
    net = network(engine, Counting(K=4, L=3, capacity=32), rebuild=INCREMENTAL)
    custom = tables(net).custom
    assert custom is not None
    return net, custom.choices


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("engine", ENGINES)
def test_tables_are_those_of_a_full_rebuild(engine: str, family: str, n_threads: int) -> None:
    nets = [network(engine, FAMILIES[family], rebuild=r, n_threads=n_threads) for r in (INCREMENTAL, FULL)]
    rng = np.random.default_rng(1)
    for changed in (N, 1, 7, 50, 0):
        rows = rng.choice(N, changed, replace=False)
        change = rng.standard_normal((changed, 24), np.float32)
        for net in nets:
            net.weights(-1)[rows] += change
            net.rebuild_tables()
        np.testing.assert_array_equal(tables(nets[0]).buckets, tables(nets[1]).buckets)
    assert tables(nets[0]).row_digests.all()
    assert not tables(nets[1]).codes.size


@pytest.mark.parametrize("engine", BACKENDS)
def test_only_rows_that_changed_are_hashed(engine: str) -> None:
    net, seen = counting_network(engine)
    for change, expected in (
        (lambda w, b: None, N),
        (lambda w, b: None, 0),
        (lambda w, b: w.__setitem__(5, -w[5]), 1),
        (lambda w, b: b.__setitem__(slice(0, 9), 0.5), 9),
        (lambda w, b: w.__setitem__((7, 23), np.nextafter(w[7, 23], np.float32(9))), 1),
        (lambda w, b: w.__setitem__((slice(0, 4), [2, 3]), w[:4][:, [3, 2]]), 4),
    ):
        change(net.weights(-1), net.biases(-1))
        before = seen["hashed"]
        net.rebuild_tables()
        assert seen["hashed"] - before == expected


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_fit_comes_to_the_same_bits(engine: str) -> None:
    X, Y = planted_data(600, D, N)
    lsh = slide.SimHash(K=4, L=10, capacity=32, centred=False)
    nets = [network(engine, lsh, rebuild=r).fit(X, Y, epochs=2) for r in (INCREMENTAL, FULL)]
    np.testing.assert_array_equal(nets[0].states[-1].rows, nets[1].states[-1].rows)
    np.testing.assert_array_equal(tables(nets[0]).buckets, tables(nets[1]).buckets)


def test_hash_functions_learn_at_rebuilds_1_2_4_8_and_at_the_end() -> None:
    X, _ = planted_data(600, D, N)
    net = network(BACKENDS[-1], slide.SimHash(K=4, L=10, capacity=32), rebuild=INCREMENTAL)
    learned = []
    for generation in range(10):
        net.weights(-1)[:] += 0.1
        before = tables(net).frame.copy()
        net.rebuild_tables(Examples.of(X))
        if not np.array_equal(before, tables(net).frame):
            learned.append(generation)
    assert learned == [0, 1, 2, 4, 8]
    before = tables(net).frame.copy()
    net.weights(-1)[:] += 0.1
    net.rebuild_tables(Examples.of(X), final=True)
    assert not np.array_equal(before, tables(net).frame)


def filled_fully(net: slide.Network, engine: str) -> list[list[list[int]]]:
    """What a full fill with the network's rows and hash functions lists, in the order of its last rebuild."""
    plain = network(engine, family_of(net))
    plain.states[-1].rows[:] = net.states[-1].rows
    tables(plain).frame[:], tables(plain).directions[:] = tables(net).frame, tables(net).directions
    plain.n_rebuilds = net.n_rebuilds - 1
    plain.rebuild_tables()
    return used_slots(plain)


@pytest.mark.parametrize("directions", ["signs", "trained"])
@pytest.mark.parametrize("engine", BACKENDS)
def test_after_a_lesson_everything_is_hashed_again(engine: str, directions: str) -> None:
    X, _ = planted_data(600, D, N)
    net = network(engine, slide.SimHash(K=4, L=10, capacity=32, directions=directions), rebuild=INCREMENTAL)
    for _ in range(5):
        net.weights(-1)[:20] += 0.3
        net.rebuild_tables(Examples.of(X))
        assert used_slots(net) == filled_fully(net, engine)


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_second_set_notices_what_the_first_has_learned(engine: str) -> None:
    X, _ = planted_data(600, D, N)
    net = network(engine, slide.SimHash(K=4, L=10, capacity=32), rebuild=INCREMENTAL)
    net.rebuild_tables(Examples.of(X))
    second = BackgroundTables(net)
    for generation in (3, 5, 6):
        net.n_rebuilds = generation
        second.start(Examples.of(X))
        second.swap()
        assert used_slots(net) == filled_fully(net, engine)
        net.weights(-1)[:20] += 0.3
        net.rebuild_tables(Examples.of(X), final=True)


@pytest.mark.parametrize("engine", BACKENDS)
def test_what_a_second_set_learns_is_its_own_until_it_is_swapped_in(engine: str) -> None:
    X, _ = planted_data(600, D, N)
    net = network(engine, slide.SimHash(K=4, L=10, capacity=32), rebuild=INCREMENTAL)
    net.rebuild_tables(Examples.of(X))
    net.weights(-1)[:20] += 0.3
    second = BackgroundTables(net)
    second.start(Examples.of(X))  # rebuild 2, which learns
    second.wait()
    net.rebuild_tables()
    assert used_slots(net) == filled_fully(net, engine)


@pytest.mark.parametrize("engine", BACKENDS)
def test_after_a_failed_rebuild_nothing_is_taken_for_known(engine: str) -> None:
    net, seen = counting_network(engine)
    seen["fails"] = True
    with pytest.raises(RuntimeError, match="no codes today"):
        net.rebuild_tables()
    seen["fails"] = False
    net.rebuild_tables()
    plain = network(engine, Counting(K=4, L=3, capacity=32))
    plain.n_rebuilds = net.n_rebuilds - 1
    plain.rebuild_tables()
    assert used_slots(net) == used_slots(plain)


@pytest.mark.parametrize("engine", BACKENDS)
def test_in_the_background_too(engine: str) -> None:
    X, Y = planted_data(600, D, N)
    background = slide.Rebuild(every=40, growth=0, incremental=True, background=True)
    net = network(engine, slide.SimHash(K=4, L=10, capacity=32), rebuild=background).fit(X, Y, epochs=2)
    assert used_slots(net) == filled_fully(net, engine)


def test_a_saved_network_goes_on_without_the_codes(tmp_path: Path) -> None:
    X, Y = planted_data(600, D, N)
    net = network(BACKENDS[-1], slide.SimHash(K=4, L=10, capacity=32), rebuild=INCREMENTAL).fit(X, Y)
    net.save(tmp_path / "net.slide")
    again = slide.load(tmp_path / "net.slide", n_threads=1)
    assert again.rebuild == INCREMENTAL
    np.testing.assert_array_equal(tables(again).codes, tables(net).codes)
    for one in (net, again):
        one.fit(X, Y)
    assert used_slots(again) == used_slots(net)


def test_query_cells_have_no_codes_to_remember() -> None:
    assert not tables(network(BACKENDS[-1], slide.QueryCells(K=7, capacity=20), rebuild=INCREMENTAL)).codes.size


def test_it_is_a_bool() -> None:
    with pytest.raises(ValueError, match=r"Rebuild\(incremental=\): found 'yes', wanted a bool"):
        slide.Rebuild(incremental="yes")  # type: ignore[arg-type]
