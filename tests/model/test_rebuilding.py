"""Tables that are rebuilt behind the back of training."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from engine_strategies import BACKENDS, make_network, planted_data

import slide
from slide.engine.protocol import Examples
from slide.model import rebuild
from slide.training import background_tables
from slide.training.background_tables import BackgroundTables, in_background

D, N = 300, 200
BACKGROUND = slide.Rebuild(every=40, growth=0, background=True)
FAMILIES = {
    "query cells": slide.QueryCells(K=7, capacity=20),
    "SimHash": slide.SimHash(K=4, L=10, capacity=32),
    "trained": slide.SimHash(K=4, L=10, capacity=32, directions="trained"),
}


class Recorder:
    """An engine that remembers what was asked of it."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.called.append(name)
        return getattr(self._engine, name)


def network(engine: str, lsh: slide.lsh.HashFamily, **options: Any) -> slide.Network:
    return make_network(
        [slide.SparseInput(D, 24), slide.Sampled(N, lsh=lsh, n_active=40, n_random=15)], engine, **options
    )


@pytest.mark.thorough
@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_set_becomes_what_a_rebuild_on_the_spot_makes(engine: str, family: str) -> None:
    X, Y = planted_data(600, D, N)
    nets = [network(engine, FAMILIES[family]).fit(X, Y) for _ in range(2)]
    for net in nets:
        net.weights(-1)[:] += np.random.default_rng(3).standard_normal(net.weights(-1).shape) * 0.1
    second = BackgroundTables(nets[0])
    nets[0].engine = live = Recorder(nets[0].engine)
    for _ in range(2):
        second.start(Examples.of(X))
        assert second.is_filling
        second.swap()
        assert not second.is_filling
        nets[1].rebuild_tables(Examples.of(X), refresh=True)
    there, here = (net.states[-1].lsh for net in nets)
    np.testing.assert_array_equal(there.buckets, here.buckets)
    np.testing.assert_array_equal(there.directions, here.directions)
    np.testing.assert_array_equal(there.frame, here.frame)
    np.testing.assert_array_equal(there.label_cells, here.label_cells)
    assert nets[0].n_rebuilds == nets[1].n_rebuilds
    assert live.called == ["change_tables"] * 2  # else others could read half of a swap


def test_labels_seen_during_a_fill_get_their_cells_new_numbers() -> None:
    before = np.array([0, 3, 1, -1, 2], np.int32)
    after = np.array([2, 0, 3, -1, 1], np.int32)  # cell 0 became 2, 3 became 0, 1 became 3, 2 became 1
    seen = np.array([0, 1, 1, 3, -1], np.int32)
    np.testing.assert_array_equal(background_tables._renumbered(seen, before, after, 4), [2, 3, 3, 0, -1])
    known_no_more = background_tables._renumbered(np.array([5], np.int32), before, after, 8)
    np.testing.assert_array_equal(known_no_more, [-1])


@pytest.mark.parametrize("engine", BACKENDS)
def test_training_goes_on_while_tables_are_filled(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = planted_data(1000, D, N)
    net = network(engine, FAMILIES["query cells"], rebuild=BACKGROUND, batch_size=1)
    went_on, waited = threading.Event(), []
    original = rebuild.rebuild

    def slow(*args: Any, **options: Any) -> bool:
        if threading.current_thread() is not threading.main_thread():
            waited.append(went_on.wait(60))
        return original(*args, **options)

    monkeypatch.setattr(background_tables, "rebuild", slow)
    progress = []
    net.fit(X, Y, epochs=2, callback=lambda p: (progress.append(p), went_on.set() if p.done > 500 else None))
    assert waited
    assert all(waited)
    assert net.step == 2000
    assert net.retrieval_recall(X[:200], n_candidates=20)[0] > 0.6
    assert progress[-1].rebuilds >= 3


def test_an_error_of_a_fill_ends_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = planted_data(1000, D, N)
    net = network(BACKENDS[-1], FAMILIES["query cells"], rebuild=BACKGROUND)
    learn = slide.QueryCells.learn

    def fails(*args: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise OSError("the disk is on fire")
        learn(*args)

    monkeypatch.setattr(slide.QueryCells, "learn", fails)
    with pytest.raises(OSError, match="on fire"):
        net.fit(X, Y, epochs=20)
    assert not [t for t in threading.enumerate() if t.name == background_tables.THREAD_NAME]


def test_a_fit_that_is_interrupted_leaves_no_thread() -> None:
    X, Y = planted_data(1000, D, N)
    net = network(BACKENDS[-1], FAMILIES["query cells"], rebuild=BACKGROUND, batch_size=1)

    def stop(progress: Any) -> None:
        if progress.done > 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=5, callback=stop)
    assert not [t for t in threading.enumerate() if t.name == background_tables.THREAD_NAME]
    net.fit(X, Y)
    assert net.retrieval_recall(X[:200], n_candidates=20)[0] > 0.5


def test_a_fill_of_rows_that_are_gone_is_dropped() -> None:
    X, Y = planted_data(300, D, N)
    net = network(BACKENDS[-1], FAMILIES["query cells"]).fit(X, Y)
    second, before = BackgroundTables(net), net.states[-1].lsh.buckets.copy()
    net.weights(-1)[:] += np.random.default_rng(3).standard_normal(net.weights(-1).shape)
    second.start(Examples.of(X))
    net.states[-1].rows = net.states[-1].rows.copy()
    second.swap()
    np.testing.assert_array_equal(net.states[-1].lsh.buckets, before)


def test_large_layers_are_rebuilt_in_the_background_where_threads_train() -> None:
    def answer(n: int, threads: int, background: bool | None = None) -> bool:
        layers = [slide.SparseInput(5, 8), slide.Sampled(n, n_active=8, n_random=2)]
        return in_background(slide.Network(layers, n_threads=threads, rebuild=slide.Rebuild(background=background)))

    assert [answer(99_999, 2), answer(100_000, 1), answer(100_000, 2)] == [False, False, True]
    assert answer(100, 1, background=True)
    assert not answer(100_000, 2, background=False)
    with pytest.raises(ValueError, match=r"Rebuild\(background=\): found 'yes', wanted a bool or None"):
        slide.Rebuild(background="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["query cells", "SimHash"])
def test_others_predict_while_tables_are_swapped(family: str) -> None:
    """Lists that are half of one fill and half of another would hold neurons twice."""
    X, Y = planted_data(1500, D, N)
    options = {"rebuild": slide.Rebuild(every=20, growth=0, background=True), "n_threads": 2, "batch_size": 1}
    net = network(BACKENDS[-1], FAMILIES[family], **options)
    net.rebuild_tables(Examples.of(X))
    over, wrong = threading.Event(), []

    def predict() -> None:
        while not over.is_set():
            ids, scores = net.predict_topk(X[:64], 5, n_candidates=20)
            found = [row[row >= 0].tolist() for row in ids]
            wrong.extend(row for row in found if len(set(row)) < len(row) or max(row, default=0) >= N)
            wrong.extend(s for s in scores[ids >= 0] if not np.isfinite(s))

    others = [threading.Thread(target=predict) for _ in range(2)]
    for thread in others:
        thread.start()
    try:
        net.fit(X, Y, epochs=3)
    finally:
        over.set()
        for thread in others:
            thread.join()
    assert wrong == []
    assert net.n_rebuilds >= 3  # the fill before, one behind, the last: how many more hangs on the machine


@pytest.mark.skipif(BACKENDS[-1] == "numba", reason="the C extension was not built")
def test_tables_change_while_nobody_reads_them() -> None:
    """A change waits for readers, and readers for a change."""
    X, Y = planted_data(600, D, N)
    net = network(BACKENDS[-1], FAMILIES["SimHash"]).fit(X, Y)
    inside, may_end, seen = threading.Event(), threading.Event(), []

    def change() -> None:
        inside.set()
        may_end.wait(60)
        seen.append("changed")

    changing = threading.Thread(target=net.engine.change_tables, args=(change,))
    changing.start()
    assert inside.wait(60)
    reading = threading.Thread(target=lambda: (net.predict_topk(X[:5], 5, n_candidates=20), seen.append("read")))
    reading.start()
    reading.join(0.3)
    assert seen == []
    may_end.set()
    changing.join()
    reading.join()
    assert seen == ["changed", "read"]
