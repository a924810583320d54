"""Tables that grow while they find too little, within their memory, and the tables that "auto" stands for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_strategies import BACKENDS, make_network, planted_data, used_slots

import slide
from slide.lsh import auto
from slide.model.recall import is_time, measured_recall

D, N = 300, 200
SMALL = slide.QueryCells(K=6, capacity=12, recall=0)
OFTEN = slide.Rebuild(every=100, growth=0)


def fitted(lsh: slide.lsh.HashFamily, engine: str = BACKENDS[-1], **options: Any) -> slide.Network:
    X, Y = planted_data(1200, D, N)
    layers = [slide.SparseInput(D, 24), slide.Sampled(N, lsh=lsh, n_active=20, n_random=8)]
    return make_network(layers, engine, **({"rebuild": OFTEN} | options)).fit(X, Y, epochs=2)


def cells(net: slide.Network) -> int:
    lsh = net.states[-1].lsh
    assert lsh is not None
    assert lsh.buckets.shape[1] == 2**lsh.K
    return len(lsh.buckets[0])


@pytest.mark.parametrize("engine", BACKENDS)
def test_cells_are_split_while_recall_is_short(engine: str) -> None:
    X, _ = planted_data(400, D, N, seed=9)
    few, more = fitted(SMALL, engine), fitted(replace(SMALL, recall=1.0), engine)
    assert few.recalls == {}
    assert few.layers[-1].lsh == SMALL
    assert more.recalls == {}
    assert cells(few) == 64
    assert cells(more) == 512  # by rebuilds 5, 9 and 17
    assert more.layers[-1].lsh == replace(SMALL, recall=1.0, K=int(np.log2(cells(more))))
    assert more.retrieval_recall(X, n_candidates=10)[0] > few.retrieval_recall(X, n_candidates=10)[0] + 0.02


def test_cells_that_find_enough_stay() -> None:
    net = fitted(replace(SMALL, recall=0.05))
    assert 0.05 < net.recalls[1] <= 1
    assert cells(net) == 64


def test_memory_bounds_cells_and_lists() -> None:
    limit = 2**17
    net = fitted(slide.QueryCells(K=6, capacity=100, recall=1.0, memory=limit))
    assert cells(net) == 256  # 512 bytes a list
    assert net.states[-1].lsh.buckets.nbytes <= limit
    for memory in (2**16, 2**20, 2**24):
        family = slide.QueryCells(memory=memory)
        tables, n_cells, stride = family.slots_shape(10**6)
        assert tables * n_cells * stride * 4 <= memory
        assert family.resolved_capacity(10**6) < stride
    assert slide.QueryCells().slots_shape(10**6) == slide.QueryCells(memory=2**25).slots_shape(10**6)


def test_grown_tables_are_what_a_fill_makes_and_are_saved(tmp_path: Path) -> None:
    X, _ = planted_data(50, D, N, seed=9)
    net = fitted(replace(SMALL, recall=1.0))
    net.save(tmp_path / "net.slide")
    again = slide.load(tmp_path / "net.slide")
    assert again.layers[-1].lsh == net.layers[-1].lsh
    np.testing.assert_array_equal(
        again.predict_topk(X, 5, n_candidates=20)[0], net.predict_topk(X, 5, n_candidates=20)[0]
    )
    before = used_slots(net)
    net.rebuild_tables()
    assert used_slots(net) == before


def test_growth_keeps_lists_and_homes() -> None:
    net = fitted(SMALL)
    family = SMALL.grown(N)
    assert family == replace(SMALL, K=7)
    old = net.states[-1].lsh
    assert old is not None
    new = family.make(25, N, np.random.default_rng(0), np.zeros(family.slots_shape(N), np.int32))
    family.grow(old, new)
    np.testing.assert_array_equal(new.buckets[0, ::2], old.buckets[0])
    np.testing.assert_array_equal(new.buckets[0, 1::2], old.buckets[0])
    settled = old.label_cells >= 0
    assert settled.any()
    np.testing.assert_array_equal(new.label_cells[settled] // 2, old.label_cells[settled])
    assert (new.label_cells[~settled] == -1).all()
    assert slide.QueryCells(K=14).grown(N) is None
    assert slide.SimHash().grown(N) is None


def test_recall_is_measured_on_the_best_ten() -> None:
    X, _ = planted_data(64, D, N, seed=9)
    net = fitted(SMALL)
    queries = net.hidden(X)
    found = measured_recall(net.states[-1], net.engine, 1, queries)
    assert found == pytest.approx(net.retrieval_recall(X, n_candidates=12)[0])


def test_recall_is_measured_at_powers_of_two() -> None:
    assert [g for g in range(40) if is_time(g)] == [4, 8, 16, 32]


def test_auto_takes_cells_for_inputs_and_simhash_for_labels() -> None:
    assert auto(10_000, 300, 50) == slide.QueryCells()
    assert auto(10_000, 3000, 50) == slide.QueryCells(capacity=2950)
    assert auto(100, 3000, 50) == slide.QueryCells()
    assert auto(120_000, 300, 50) == slide.QueryCells()
    assert auto(120_000, 300, 50, training_only=True) == slide.QueryCells(capacity=512)
    assert auto(120_000, 800, 50, training_only=True) == slide.QueryCells(capacity=1500)
    assert auto(120_000, 3000, 50, training_only=True) == slide.QueryCells(capacity=2950)
    assert auto(10_000, 300, 50, training_only=True) == slide.QueryCells()
    assert auto(10_000, 300, 50, memory=2**17).slots_shape(10_000)[1] < slide.QueryCells().slots_shape(10_000)[1]
    labels = auto(10_000, 300, 50, query="label", memory=2**22)
    assert isinstance(labels, slide.SimHash)
    assert np.prod(labels.slots_shape(10_000)) * 4 <= 2**22
    assert (labels.L, labels.probes) == (30, 2)
    assert auto(10_000, 300, 50, query="label") == slide.SimHash()
    with pytest.raises(ValueError, match=r"auto\(memory=\): found 10, wanted 65,536 bytes"):
        auto(10_000, 300, 50, memory=10)


@pytest.mark.parametrize("option", [{"recall": 1.5}, {"memory": 1000}])
def test_what_makes_no_sense_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"QueryCells\({next(iter(option))}=\)"):
        slide.QueryCells(**option)
