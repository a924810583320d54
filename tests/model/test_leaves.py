"""Leaves: nearest ones and lists against brute force, both back ends alike, shortlists, files, reports."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import slide
from slide.engine.leaves import Leaves
from slide.engine.protocol import Examples
from slide.lsh.query_cells import round_to_12_bits
from slide.metrics import precision_at_k
from slide.model import leaves as module
from slide.model.leaves import learn_leaves, true_recall
from slide.model.ranker import log_sums
from slide.model.resize import resized
from slide.model.shortlists import leaf_candidates
from slide.training.ranking import held_for_calibration, learn_ranker

N_LABELS, HELD_OUT = 600, 500
BEST_AGREES, FIVE_AGREE = 0.98, 0.97  # of eight seeds, on one thread and on two: 0.996 and 0.991 at least
COPIES: dict[str, bytes] = {}


@pytest.fixture(autouse=True)
def _few_labels_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FROM_LABELS", 100)
    monkeypatch.setattr(module, "CAPACITY", 31)


@pytest.fixture(scope="module")
def data() -> Any:
    """Rows of 60 topics: a topic has ten labels and twenty features."""
    rng = np.random.default_rng(3)
    n = 6000 + HELD_OUT
    topic = rng.integers(0, 60, n)
    X = np.zeros((n, 1200), np.float32)
    Y = np.zeros((n, N_LABELS), np.float32)
    for i in range(6):
        X[np.arange(n), topic * 20 + rng.integers(0, 20, n)] = 1 + i / 7
    X[np.arange(n), rng.integers(0, 1200, n)] = 1
    for _ in range(2):
        Y[np.arange(n), topic * 10 + rng.integers(0, 10, n)] = 1
    return *(slide.checks.check_XY(X[:-HELD_OUT], Y[:-HELD_OUT], 1200, N_LABELS)), X[-HELD_OUT:], Y[-HELD_OUT:]


def trained(data: Any, **options: Any) -> slide.Network:
    layers = [slide.SparseInput(1200, 16), slide.Sampled(N_LABELS, n_active=60, n_random=10)]
    net = slide.Network(layers, **{"n_threads": 1, "seed": 1, **options})
    return net.fit(data[0], data[1], epochs=2)


@pytest.fixture
def net(data: Any) -> slide.Network:
    return trained(data)


def leaves_of(net: slide.Network) -> Leaves:
    assert net.leaves is not None
    return net.leaves


def centres_of(directions: Any) -> Any:
    """[n, H + 1]"""
    return directions.transpose(0, 2, 1).reshape(-1, directions.shape[1])


def with_one(queries: Any) -> Any:
    return np.concatenate([round_to_12_bits(queries), np.ones((len(queries), 1), np.float32)], axis=1).astype(
        np.float64
    )


def test_nearest_leaf_of_a_cell_is_that_of_brute_force(net: slide.Network, data: Any) -> None:
    leaves, queries = leaves_of(net), net.hidden(data[2])
    cells = np.arange(len(queries), dtype=np.int32) % len(leaves.blocks)
    found = net.engine.leaf_codes(leaves, queries, cells)
    scores = with_one(queries) @ centres_of(leaves.centres).T.astype(np.float64)
    for row, (cell, leaf) in enumerate(zip(cells, found, strict=True)):
        first, last = 64 * leaves.blocks[cell]
        assert first <= leaf < last
        assert scores[row, leaf] >= scores[row, first:last].max() - 1e-5


def test_lists_hold_the_best_of_what_is_offered(net: slide.Network) -> None:
    leaves, state = leaves_of(net), net.states[-1]
    offered = [np.arange(b, N_LABELS, 2, dtype=np.int32) for b in range(len(leaves.centres))]
    indptr = np.concatenate([[0], np.cumsum([len(o) for o in offered])]).astype(np.int64)
    lists = net.engine.fill_leaves(leaves, indptr, np.concatenate(offered))
    scores = centres_of(leaves.centres)[:, :-1] @ round_to_12_bits(state.weights).T + state.biases
    for leaf, ids in enumerate(lists):
        assert ids[0] == leaves.capacity
        mine = offered[leaf // 64]
        want = np.sort(scores[leaf, mine])[::-1][: ids[0]]
        np.testing.assert_allclose(scores[leaf, ids[1:]], want, atol=1e-4)
        assert np.isin(ids[1:], mine).all()
        assert len(np.unique(ids[1:])) == ids[0]


@pytest.mark.thorough
def test_both_back_ends_alike(net: slide.Network, data: Any, tmp_path: Path) -> None:
    net.save(tmp_path / "n.slide")
    other = slide.load(tmp_path / "n.slide", backend="numba")
    queries, leaves = net.hidden(data[2]), leaves_of(net)
    cells = np.arange(len(queries), dtype=np.int32) % len(leaves.blocks)
    codes = [n.engine.leaf_codes(leaves, queries, cells) for n in (net, other)]
    np.testing.assert_array_equal(*codes)
    ids = np.tile(np.arange(N_LABELS, dtype=np.int32), len(leaves.centres))
    indptr = np.arange(len(leaves.centres) + 1, dtype=np.int64) * N_LABELS
    np.testing.assert_array_equal(*(n.engine.fill_leaves(leaves, indptr, ids) for n in (net, other)))
    (a, b), (c, d) = (n.shortlist(data[2], 20, n_candidates=50) for n in (net, other))
    np.testing.assert_allclose(b, d, rtol=1e-4, atol=1e-4)
    assert (a == c).mean() > 0.99  # logits that differ in the last bits may change places


def test_number_of_threads_changes_nothing(net: slide.Network, data: Any, tmp_path: Path) -> None:
    net.save(tmp_path / "n.slide")
    wanted = net.shortlist(data[2], 20, n_candidates=50)
    for threads in (2, 3):
        many = slide.load(tmp_path / "n.slide", n_threads=threads)
        for a, b in zip(many.shortlist(data[2], 20, n_candidates=50), wanted, strict=True):
            np.testing.assert_array_equal(a, b)
        args = many.engine, 1, many.states[-1], Examples.of(data[0]), Examples.of(data[1])
        again = learn_leaves(*args, np.random.default_rng([net.seed, net.n_rebuilds]))
        assert again is not None
        for a, b in zip(again.arrays.values(), leaves_of(net).arrays.values(), strict=True):
            np.testing.assert_array_equal(a, b)
    one_by_one = [net.shortlist(data[2][i : i + 1], 20, n_candidates=50)[0][0] for i in range(40)]
    np.testing.assert_array_equal(one_by_one, wanted[0][:40])


def test_a_shortlist_holds_the_best_of_its_lists(net: slide.Network, data: Any) -> None:
    ids, logits = net.shortlist(data[2], 20, n_candidates=60)
    state, queries = net.states[-1], net.hidden(data[2])
    exact = queries @ state.weights.T + state.biases
    assert (np.diff(logits, axis=1) <= 0).all()
    np.testing.assert_allclose(np.take_along_axis(exact, ids.astype(np.int64), 1), logits, atol=1e-4)
    assert all(len(np.unique(row)) == 20 for row in ids)
    listed = leaves_of(net).lists[:, 1:]
    assert np.isin(ids, listed).all()


def test_true_labels_are_found_and_reported(net: slide.Network, data: Any) -> None:
    held, exact = net.true_recall(data[2], data[3], 20, n_candidates=60)
    assert held >= 0.95 * exact > 0.9
    report = net.lsh_report(data[2], data[3])
    assert set(report.recall_true) == {100, 300}
    assert report.leaf_bytes == leaves_of(net).n_bytes
    assert "true labels" in str(report)
    assert not net.lsh_report(data[2]).recall_true


def test_predict_topk_asks_leaves_and_then_tables(net: slide.Network, data: Any) -> None:
    ids, scores = net.predict_topk(data[2], 5, n_candidates=60)
    np.testing.assert_array_equal(ids, net.shortlist(data[2], 5, n_candidates=60)[0])
    most = leaves_of(net).most_candidates
    np.testing.assert_array_equal(net.predict_topk(data[2], 5, n_candidates=most + 1)[0].shape, ids.shape)
    assert np.isfinite(scores).all()


def test_shortlists_without_leaves(net: slide.Network, data: Any) -> None:
    net.leaves = None
    exact, _ = net.predict_topk(data[2], 10)
    np.testing.assert_array_equal(net.shortlist(data[2], 10)[0], exact)  # fewer labels than tables are asked for
    assert net.shortlist(data[2], 10, n_candidates=100)[0].shape == exact.shape
    with pytest.raises(ValueError, match="n_candidates"):
        net.shortlist(data[2], 10, n_candidates=9)
    with pytest.raises(ValueError, match="n: found 0"):
        net.shortlist(data[2], 0)


def test_a_sparse_part_has_no_leaves(data: Any) -> None:
    net = trained(data, wide=slide.Wide())
    assert net.leaves is None
    ids, scores = net.shortlist(data[2], 10)  # of its tables
    exact, best = net.predict_topk(data[2], 10)
    assert (ids == exact).mean() > 0.9
    np.testing.assert_allclose(scores[:, 0], best[:, 0], atol=1e-4)


def test_files_pickles_and_compressed_models_keep_them(net: slide.Network, data: Any, tmp_path: Path) -> None:
    wanted = net.shortlist(data[2], 20, n_candidates=50)
    net.save(tmp_path / "n.slide")
    for again in (slide.load(tmp_path / "n.slide"), pickle.loads(pickle.dumps(net))):
        for a, b in zip(again.shortlist(data[2], 20, n_candidates=50), wanted, strict=True):
            np.testing.assert_array_equal(a, b)
        assert leaves_of(again).n_candidates == leaves_of(net).n_candidates
    small = net.compress()
    assert (small.shortlist(data[2], 20, n_candidates=50)[0][:, 0] == wanted[0][:, 0]).mean() > 0.9


def test_other_labels_need_other_leaves(net: slide.Network, data: Any) -> None:
    fewer = resized(net, np.arange(0, N_LABELS, 2, dtype=np.int32), 3)
    assert fewer.leaves is None
    assert fewer.shortlist(data[2], 5)[0].max() < N_LABELS // 2 + 3


@pytest.fixture
def ranked(data: Any) -> slide.Network:
    """Trained as `net`, then taught to rank the best 30 of a shortlist from its leaves; a copy for each test."""
    if "ranked" not in COPIES:
        COPIES["ranked"] = pickle.dumps(with_ranker(trained(data), data))
    again: slide.Network = pickle.loads(COPIES["ranked"])
    return again


def with_ranker(net: slide.Network, data: Any) -> slide.Network:
    apart = held_for_calibration(data[0].shape[0], 0)
    learn_ranker(net, data[0], data[1], apart, slide.Rank(n_negatives=30, C=1.0), 0)
    return net


def test_ranked_labels_come_from_leaves_and_agree_with_exact_ones(ranked: slide.Network, data: Any) -> None:
    ids, scores = ranked.predict_topk(data[2], 5)
    exact, best = ranked.predict_topk(data[2], 5, n_candidates=N_LABELS)
    leaves = leaves_of(ranked)
    direct = ranked.engine.shortlist(leaves, Examples.of(sp.csr_array(data[2])), 5, leaf_candidates(ranked, 30), True)
    np.testing.assert_array_equal(ids, direct[0])
    assert (ids[:, 0] == exact[:, 0]).mean() >= BEST_AGREES
    assert (ids == exact).mean() >= FIVE_AGREE
    assert precision_at_k(sp.csr_array(data[3]), ids, k=1) >= precision_at_k(sp.csr_array(data[3]), exact, k=1) - 0.02
    same = (ids == exact).all(axis=1)
    np.testing.assert_allclose(scores[same], best[same], atol=0.3)  # another shortlist has another sum; 0.17 at most


def test_one_call_ranks_the_shortlist(ranked: slide.Network, data: Any) -> None:
    assert ranked.ranker is not None
    ids, logits = ranked.shortlist(data[2], 30, n_candidates=60)  # as it was before there was a ranker
    found, scores = ranked.predict_topk(data[2], 30, n_candidates=60)
    assert [set(row) for row in ids] == [set(row) for row in found]
    z = ranked.ranker.rows.scores(sp.csr_array(data[2]), found)
    order = [[int(np.flatnonzero(a == label)[0]) for label in b] for a, b in zip(ids, found, strict=True)]
    logits = np.take_along_axis(logits, np.array(order), 1)
    np.testing.assert_allclose(ranked.ranker.log_odds(z, logits, log_sums(logits)), scores, atol=1e-4)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_ranked_labels_are_the_same_for_any_number_of_threads_and_row_by_row(
    ranked: slide.Network, data: Any, tmp_path: Path
) -> None:
    wanted = ranked.predict_topk(data[2], 5)
    ranked.save(tmp_path / "n.slide")
    for threads in (2, 4):
        many = slide.load(tmp_path / "n.slide", n_threads=threads).predict_topk(data[2], 5)
        for a, b in zip(many, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    for i in range(40):
        for a, b in zip(ranked.predict_topk(data[2][i : i + 1], 5), wanted, strict=True):
            np.testing.assert_array_equal(a[0], b[i])


@pytest.mark.thorough
def test_both_back_ends_rank_alike(ranked: slide.Network, data: Any, tmp_path: Path) -> None:
    ranked.save(tmp_path / "n.slide")
    twin = slide.load(tmp_path / "n.slide", backend="numba")
    for asked in (None, 60, N_LABELS):
        ids, scores = ranked.predict_topk(data[2][:100], 5, n_candidates=asked)
        twin_ids, twin_scores = twin.predict_topk(data[2][:100], 5, n_candidates=asked)
        np.testing.assert_allclose(scores, twin_scores, rtol=1e-4, atol=1e-4)
        assert (ids == twin_ids).mean() > 0.99


def test_files_pickles_eight_bits_and_other_labels_go_on_ranking(
    ranked: slide.Network, data: Any, tmp_path: Path
) -> None:
    wanted = ranked.predict_topk(data[2], 5)
    ranked.save(tmp_path / "n.slide")
    for again in (slide.load(tmp_path / "n.slide"), pickle.loads(pickle.dumps(ranked))):
        for a, b in zip(again.predict_topk(data[2], 5), wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    small = ranked.compress()
    assert small.leaves is not None
    assert (small.predict_topk(data[2], 5)[0][:, 0] == wanted[0][:, 0]).mean() > 0.9
    small.save(tmp_path / "s.slide")
    twin = slide.load(tmp_path / "s.slide", backend="numba").predict_topk(data[2][:100], 5)
    np.testing.assert_allclose(twin[1], small.predict_topk(data[2][:100], 5)[1], rtol=1e-3, atol=1e-3)
    fewer = resized(ranked, np.arange(0, N_LABELS, 2, dtype=np.int32), 3)
    assert fewer.leaves is None
    assert fewer.ranker is not None
    assert fewer.predict_topk(data[2], 5)[0].max() < N_LABELS // 2 + 3


def test_a_row_with_short_lists_is_ranked_from_all_labels(ranked: slide.Network, data: Any) -> None:
    exact = ranked.predict_topk(data[2], 5, n_candidates=N_LABELS)
    lists = leaves_of(ranked).lists.copy()
    lists[:, 0] = np.minimum(lists[:, 0], 0)
    ranked.leaves = leaves_of(ranked).with_lists(lists)
    for a, b in zip(ranked.predict_topk(data[2], 5), exact, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (ranked.predict_topk(data[2], 5, n_candidates=60)[0] == -1).all()


def test_calls_side_by_side_answer_as_one_after_the_other(ranked: slide.Network, data: Any) -> None:
    """With other k, and with and without the ranker: what one call leaves for the next does not suit them all."""
    calls = [(i, 1 + i % 4, i % 3 == 0) for i in range(120)]

    def answer(call: tuple[int, int, bool]) -> Any:
        i, k, ranks = call
        return (ranked.predict_topk if ranks else ranked.shortlist)(data[2][i : i + 1], k)[0].tolist()

    wanted = [answer(call) for call in calls]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, calls)) == wanted


def test_leaves_are_of_the_weights_as_they_are(net: slide.Network, data: Any) -> None:
    old, seen = leaves_of(net), []
    net.fit(data[0], data[1], epochs=1, callback=lambda progress: seen.append(net.leaves))
    assert seen
    assert not any(seen)
    assert leaves_of(net) is not old
    now = leaves_of(net)
    net.fit(data[0], data[1], epochs=0)
    assert leaves_of(net) is now


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cells", lambda a: a[:, :-1]),
        ("centres", lambda a: a.astype(np.float64)),
        ("blocks", lambda a: a[:-1]),
        ("blocks", lambda a: a + 1000),
        ("blocks", lambda a: a[:, ::-1]),
        ("places", lambda a: a[:-1]),
        ("places", lambda a: a.astype(np.int32)),
        ("places", lambda a: a + N_LABELS),
        ("places", lambda a: np.where(np.arange(a.shape[1]), a, a.shape[1]).astype(np.uint16)),
        ("labels", lambda a: a + N_LABELS),
        ("labels", lambda a: a - N_LABELS),
        ("first_label", lambda a: a[::-1].copy()),
        ("first_label", lambda a: np.minimum(a, a[-1] - 1)),
        ("n_candidates", lambda a: a * 0),
    ],
)
def test_damaged_arrays_are_refused(net: slide.Network, name: str, change: Any) -> None:
    arrays = dict(leaves_of(net).arrays)
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=f"leaves.{name}"):
        Leaves.from_arrays(arrays, 17, N_LABELS)


@pytest.mark.parametrize("change", [lambda a: a[:-1], lambda a: a + N_LABELS, lambda a: a - 1])
def test_lists_of_older_files(net: slide.Network, change: Any) -> None:
    leaves = leaves_of(net)
    arrays = {name: a for name, a in leaves.arrays.items() if name not in ("places", "labels", "first_label")}
    again = Leaves.from_arrays(arrays | {"lists": leaves.lists}, 17, N_LABELS)
    for a, b in zip(again.arrays.values(), leaves.arrays.values(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"leaves\.lists"):
        Leaves.from_arrays(arrays | {"lists": change(leaves.lists)}, 17, N_LABELS)


def test_lists_of_any_length_come_back(net: slide.Network) -> None:
    leaves, rng = leaves_of(net), np.random.default_rng(0)
    shape = len(leaves.places), leaves.capacity
    labels = rng.permuted(np.tile(np.arange(N_LABELS, dtype=np.int32), (shape[0], 1)), axis=1)[:, : shape[1]]
    lengths = rng.integers(0, shape[1] + 1, (shape[0], 1), dtype=np.int32)
    labels[np.arange(shape[1]) >= lengths] = 0
    lists = np.concatenate([lengths, labels], axis=1)
    again = leaves.with_lists(lists)
    np.testing.assert_array_equal(again.lists, lists)
    for first, last in zip(again.first_label, again.first_label[1:], strict=False):
        assert len(np.unique(again.labels[first:last])) == last - first


def test_none_where_they_do_not_pay_or_fit(net: slide.Network, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    args = net.engine, 1, net.states[-1], Examples.of(data[0]), Examples.of(data[1])
    rng = np.random.default_rng(0)
    assert learn_leaves(*args, rng) is not None
    assert learn_leaves(*args[:3], Examples.of(data[0][:100]), Examples.of(data[1][:100]), rng) is None
    monkeypatch.setattr(module.memory, "available_memory", lambda: 1_000_000)
    assert learn_leaves(*args, rng) is None
    monkeypatch.undo()
    assert learn_leaves(*args, rng) is None  # 4,096 labels or more


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=64), st.integers(1, 20))
def test_packs_are_neighbours_with_blocks_for_all(rows: list[int], n_blocks: int) -> None:
    pack, first = module._packs(np.array(rows), n_blocks)
    assert pack[0] == 0
    assert set(np.diff(pack)) <= {0, 1}
    assert len(first) == pack[-1] + 2
    assert (np.diff(first) >= 1).all()
    assert first[-1] <= 2 * n_blocks + 1


def test_true_recall_counts_labels() -> None:
    ids = np.array([[3, -1], [0, 2]], np.int32)
    Y = Examples(np.array([0, 2, 3]), np.array([3, 4, 2], np.int32), np.ones(3, np.float32))
    assert true_recall(ids, Y) == pytest.approx(2 / 3)
    assert true_recall(ids, Examples(np.zeros(3, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))) == 1
