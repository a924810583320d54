"""Prediction through a graph index: what it returns against exact scores, when it is built, what it refuses.

Most tests run with a stand-in for hnswlib that compares with everything; those marked so also with hnswlib itself,
where it is installed.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import types
from typing import Any

import numpy as np
import pytest
from engine_strategies import make_network, planted_data

import slide
from slide.inference import hnsw

D, N = 300, 200
INSTALLED = importlib.util.find_spec("hnswlib") is not None


class Exhaustive:
    """The part of hnswlib.Index that slide uses, by brute force; refuses batches as it does."""

    built = 0

    def __init__(self, space: str, dim: int) -> None:
        assert space == "ip"
        self.reachable = 10**9
        self.asked: list[int] = []

    def init_index(self, max_elements: int, **options: int) -> None:
        type(self).built += 1

    def set_ef(self, ef: int) -> None:
        pass

    def add_items(self, vectors: Any, ids: Any, num_threads: int) -> None:
        self.vectors = vectors

    def index_file_size(self) -> int:
        return int(self.vectors.nbytes)

    def knn_query(self, queries: Any, k: int, num_threads: int) -> tuple[Any, Any]:
        self.asked.append(k)
        if k > self.reachable:
            raise RuntimeError("Cannot return the results in a contiguous 2D array")
        products = queries @ self.vectors.T
        ids = np.argsort(-products, axis=1, kind="stable")[:, :k]
        return ids.astype(np.uint64), 1 - np.take_along_axis(products, ids, 1)


def library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "stand-in":
        monkeypatch.setitem(sys.modules, "hnswlib", types.SimpleNamespace(Index=Exhaustive))  # type: ignore[arg-type]
    elif not INSTALLED:
        pytest.skip("hnswlib is not installed (the extra hnsw)")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    library("stand-in", monkeypatch)


def trained(wide: bool = False, **options: Any) -> slide.Network:
    layers = [slide.SparseInput(D, 24), slide.Sampled(N, n_active=60, n_random=10)]
    net = make_network(layers, wide=slide.Wide() if wide else None, **options)
    return net.fit(*planted_data(1000, D, N), epochs=2)


QUERIES = planted_data(150, D, N, seed=1)[0]


@pytest.mark.parametrize("wide", [False, True])
def test_with_all_candidates_it_is_the_exact_answer(
    stand_in: None, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = trained(wide)
    monkeypatch.setattr(hnsw, "BLOCK_FLOATS", 24 * N * 7)  # blocks of seven rows, the last one shorter
    ids, scores = net.predict_topk(QUERIES, 10, index="hnsw", n_candidates=N)
    exact_ids, exact_scores = net.predict_topk(QUERIES, 10)
    np.testing.assert_allclose(scores, exact_scores, rtol=1e-4, atol=1e-4)
    assert (ids == exact_ids).mean() > 0.99  # the rest are ties but for rounding
    assert ids.dtype == np.int32
    assert scores.dtype == np.float32


@pytest.mark.skipif(not INSTALLED, reason="hnswlib is not installed (the extra hnsw)")
def test_the_graph_finds_far_more_than_chance() -> None:
    net = trained()
    ids, _ = net.predict_topk(QUERIES, 10, index="hnsw", n_candidates=20)
    exact, _ = net.predict_topk(QUERIES, 10)
    recall = np.mean([np.isin(e, f).mean() for e, f in zip(exact, ids, strict=True)])
    assert recall > 0.8  # chance: 0.1


@pytest.mark.parametrize("name", ["stand-in", "hnswlib"])
def test_scores_are_exact_for_whatever_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library(name, monkeypatch)
    net = trained(wide=True)
    ids, scores = net.predict_topk(QUERIES, 3, index="hnsw", n_candidates=3)
    every_id, every_score = net.predict_topk(QUERIES, N)
    for found, told, all_ids, all_scores in zip(ids, scores, every_id, every_score, strict=True):
        exact = dict(zip(all_ids.tolist(), all_scores.tolist(), strict=True))
        assert told == pytest.approx([exact[i] for i in found.tolist()], abs=1e-4)
        assert len(set(found.tolist())) == 3


def test_labels_that_only_the_sparse_part_wants_are_found(stand_in: None) -> None:
    net = trained(wide=True)
    assert net.wide_state is not None
    net.wide_state.deep_share = 0.0
    net.engine = net._make_engine()
    found = net.predict_topk(QUERIES, 1, index="hnsw", n_candidates=1)[0][:, 0]
    exact, scores = net.predict_topk(QUERIES, 1)
    wanted = scores[:, 0] > 0.01
    assert wanted.sum() > 20
    np.testing.assert_array_equal(found[wanted], exact[:, 0][wanted])


def test_a_graph_is_built_once_and_again_after_training(stand_in: None) -> None:
    net = trained()
    before = Exhaustive.built
    for _ in range(2):
        net.predict_topk(QUERIES, 5, index="hnsw")
    assert Exhaustive.built == before + 1
    net.fit(*planted_data(1000, D, N), epochs=1)
    ids, _ = net.predict_topk(QUERIES, 1, index="hnsw")
    assert Exhaustive.built == before + 2
    np.testing.assert_array_equal(ids, net.predict_topk(QUERIES, 1)[0])


def test_an_index_of_ones_own_is_kept_and_described(stand_in: None) -> None:
    net = trained()
    index = net.build_index("hnsw", M=8, ef_construction=50, ef=30)
    assert (index.M, index.ef_construction, index.ef, index.n, index.step) == (8, 50, 30, N, net.step)
    assert index.n_bytes == N * 25 * 4
    net.predict_topk(QUERIES, 5, index="hnsw")
    assert index.graph.asked == [30]
    net.predict_topk(QUERIES, 5, index="hnsw", n_candidates=70)
    net.predict_topk(QUERIES, 40, index="hnsw")
    assert index.graph.asked[1:] == [70, 40]


def test_labels_out_of_reach_leave_minus_one(stand_in: None) -> None:
    net = trained()
    net.build_index(ef=16).graph.reachable = 5  # asked for 16, 14, 13, ... 5
    ids, scores = net.predict_topk(QUERIES, 8, index="hnsw")
    assert (ids[:, :5] >= 0).all()
    assert (ids[:, 5:] == -1).all()
    assert np.isneginf(scores[:, 5:]).all()
    np.testing.assert_array_equal(ids[:, :5], net.predict_topk(QUERIES, 5)[0])


@pytest.mark.skipif(not INSTALLED, reason="hnswlib is not installed (the extra hnsw)")
def test_all_labels_may_be_asked_for() -> None:
    net = trained()
    ids, _ = net.predict_topk(QUERIES, N, index="hnsw")  # hnswlib itself refuses: not all can be reached
    assert ((ids >= 0).sum(axis=1) > N // 2).all()


@pytest.mark.skipif(not INSTALLED, reason="hnswlib is not installed (the extra hnsw)")
def test_equal_labels_do_not_stop_it() -> None:
    net = trained()
    net.weights(-1)[:] = net.weights(-1)[0]
    net.biases(-1)[:] = 0
    ids, _ = net.predict_topk(QUERIES, 10, index="hnsw", n_candidates=N)
    for row in ids:
        found = row[row >= 0]
        assert len(set(found.tolist())) == len(found) > 0


def test_the_classifier_passes_it_on(stand_in: None) -> None:
    X, Y = planted_data(1000, D, N)
    clf = slide.SlideClassifier(hidden=(16,), epochs=2, n_threads=1).fit(X, Y)
    found = clf.predict_topk(QUERIES, k=5, index="hnsw", n_candidates=N)
    np.testing.assert_allclose(found[1], clf.predict_topk(QUERIES, k=5)[1], rtol=1e-4, atol=1e-4)


def test_no_rows(stand_in: None) -> None:
    ids, scores = trained().predict_topk(QUERIES[:0], 5, index="hnsw")
    assert ids.shape == scores.shape == (0, 5)


def test_a_network_without_tables_can_have_one(stand_in: None) -> None:
    net = make_network([slide.SparseInput(D, 24), slide.Sampled(N, lsh=None, n_active=60, n_random=60)])
    net.fit(*planted_data(500, D, N))
    np.testing.assert_array_equal(net.predict_topk(QUERIES, 1, index="hnsw")[0], net.predict_topk(QUERIES, 1)[0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"index": "faiss"}, r"index: found 'faiss', wanted 'hnsw' or None"),
        ({"index": "hnsw", "n_candidates": 4}, r"n_candidates: found 4, wanted k to 200"),
        ({"index": "hnsw", "n_candidates": 201}, r"n_candidates: found 201, wanted k to 200"),
    ],
)
def test_what_prediction_refuses(stand_in: None, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        trained().predict_topk(QUERIES, 5, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "flat"}, r"kind: found 'flat', wanted 'hnsw'"),
        ({"M": 1}, r"build_index\(M=\): found 1, wanted an int, 2 to 10,000"),
        ({"ef": 0}, r"build_index\(ef=\): found 0"),
        ({"ef_construction": 2.5}, r"build_index\(ef_construction=\): found 2.5"),
    ],
)
def test_what_building_refuses(stand_in: None, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        trained().build_index(**options)


def test_without_hnswlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hnswlib", None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=r"slide-xmc\[hnsw\]"):
        trained().predict_topk(QUERIES, 5, index="hnsw")


def test_too_little_memory_is_said_before_it_is_taken(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    net, before = trained(), Exhaustive.built
    monkeypatch.setattr(hnsw.memory, "available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match=r"200 labels needs [\d,]+ bytes, available are 1,000"):
        net.build_index()
    assert Exhaustive.built == before


def test_threads_may_ask_at_once(stand_in: None) -> None:
    net = trained()
    net.build_index()
    exact = net.predict_topk(QUERIES, 5, index="hnsw")[0]
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(net.predict_topk(QUERIES, 5, index="hnsw")[0])) for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 4
    for ids in found:
        np.testing.assert_array_equal(ids, exact)


def test_no_rows_have_no_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    library("stand-in", monkeypatch)
    X, Y = planted_data(60, D, N)[:2]
    clf = slide.SlideClassifier(hidden=(8,), epochs=1, n_threads=1).fit(X, Y)
    for model in (clf, clf.network_):
        for empty in (X[:0], []):
            ids, scores = model.predict_topk(empty, 3, index="hnsw")
            assert (ids.shape, ids.dtype, scores.shape, scores.dtype) == ((0, 3), np.int32, (0, 3), np.float32)
