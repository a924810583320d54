"""Few rows for a trained model: tables and leaves follow at once where the rows fall, and as a whole when it is due."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import planted_data
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import sparse_rows

import slide
from slide.model.pairs import PairCounts, add_few_pairs, add_pairs, make_state
from slide.model.sorted_lists import inserted, lower_bound
from slide.model.sparse_rows import SparseRows
from slide.training.small_updates import LEAST, are_due, into_leaf, into_list, is_short

D, N, ROWS = 400, 300, 900
X, Y = planted_data(ROWS, D, N)
MORE = planted_data(400, D, N, seed=9)
FAMILIES = {"cells": "auto", "SimHash": slide.SimHash(K=4, L=8), "none": None}


def fitted(**options: Any) -> slide.SlideClassifier:
    base: dict[str, Any] = {"hidden": 16, "epochs": 3, "n_active": 40, "n_threads": 1}
    return slide.SlideClassifier(**(base | options)).fit(X, Y)


def tables(clf: slide.SlideClassifier) -> tuple[Any, Any]:
    lsh = clf.network_.states[-1].lsh
    assert lsh is not None
    return lsh.directions.copy(), lsh.buckets.copy()


def one(i: int) -> tuple[sp.csr_array, sp.csr_array]:
    return MORE[0][[i]], MORE[1][[i]]


@pytest.mark.parametrize("lsh", FAMILIES.values(), ids=FAMILIES)
def test_one_row_makes_no_tables_anew(lsh: Any) -> None:
    clf = fitted(lsh=lsh)
    made, before = clf.network_.n_rebuilds, clf.network_.followed_at
    clf.partial_fit(*one(0))
    assert (clf.network_.step, clf.network_.n_rebuilds, clf.network_.followed_at) == (3 * ROWS + 1, made, before)
    assert clf.history_[-1]["rebuilds"] == 0


def test_lists_take_in_the_labels_of_rows_that_fall_into_their_cell() -> None:
    clf = fitted()
    directions, before = tables(clf)
    row, labels = one(3)
    x = clf._encoding.rows(row)
    cell = int(
        clf.network_.engine.hash_codes(1, np.append(clf.network_.hidden(x)[0], 1)[None].astype(np.float32))[0, 0]
    )
    clf.partial_fit(row, labels)
    after = tables(clf)
    np.testing.assert_array_equal(after[0], directions)
    assert np.isin(labels.indices, after[1][0, cell, 1 : 1 + after[1][0, cell, 0]]).all()
    others = np.arange(after[1].shape[1]) != cell
    np.testing.assert_array_equal(after[1][0, others], before[0, others])


def test_labels_that_are_new_are_found_among_candidates() -> None:
    clf = fitted(wide=False).add_labels(1)
    row = MORE[0][[5]]
    new = sp.csr_array(([1.0], ([0], [N])), shape=(1, N + 1))
    for _ in range(30):
        clf.partial_fit(row, new)
    assert clf.predict_topk(row, k=1, n_candidates=60)[0][0, 0] == N


def test_tables_follow_when_an_eighth_as_many_samples_have_come() -> None:
    clf = fitted()
    net, due = clf.network_, 3 * ROWS // 8
    assert due > LEAST
    directions, _ = tables(clf)
    made = net.n_rebuilds
    for first in range(0, due - 30, 30):
        clf.partial_fit(MORE[0][first : first + 30], MORE[1][first : first + 30])
    assert net.n_rebuilds == made
    clf.partial_fit(MORE[0][:60], MORE[1][:60])
    assert (net.n_rebuilds, net.followed_at) == (made + 1, net.step)
    after = tables(clf)
    np.testing.assert_array_equal(after[0], directions)  # so few queries teach nothing
    net.rebuild_tables()
    np.testing.assert_array_equal(tables(clf)[1], after[1])


def test_many_rows_teach_the_hash_functions_as_ever() -> None:
    clf = fitted()
    directions, _ = tables(clf)
    clf.partial_fit(*planted_data(600, D, N, seed=3))
    assert (tables(clf)[0] != directions).any()
    assert clf.network_.followed_at == clf.network_.step


def test_what_is_short_and_what_is_due() -> None:
    net = fitted().network_
    assert [is_short(net, n) for n in (1, 255, 256)] == [True, True, False]
    assert not is_short(slide.Network([slide.SparseInput(D, 4), slide.Sampled(N)]), 1)
    for interval, step, due in ((8192, 336, False), (8192, 337, True), (50, 49, False), (50, 50, True)):
        net.step = net.followed_at + step
        assert are_due(net, interval) == due


def test_a_stream_of_single_rows_keeps_what_the_lists_find() -> None:
    clf = fitted(wide=False)
    rows = clf._encoding.rows(MORE[0])
    recall, score = clf.network_.retrieval_recall(rows, k=10)[0], clf.score(MORE[0][:40], MORE[1][:40])
    for i in range(40):
        clf.partial_fit(*one(i))
    assert clf.network_.retrieval_recall(rows, k=10)[0] > 0.9 * recall
    assert clf.score(MORE[0][:40], MORE[1][:40]) > score


def test_the_count_of_samples_stays_with_the_model(tmp_path: Path) -> None:
    clf = fitted()
    for i in range(5):
        clf.partial_fit(*one(i)).save(tmp_path / "m.slide")
        clf = slide.load(tmp_path / "m.slide", n_threads=1)
    assert (clf.network_.step, clf.network_.followed_at) == (3 * ROWS + 5, 3 * ROWS)


def test_leaves_stay_and_take_in_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FROM_LABELS", 1), ("ROWS_A_LEAF", 1)):
        monkeypatch.setattr(f"slide.model.leaves.{name}", value)
    clf = fitted(wide=slide.Rank(n_negatives=10, C=1.0))
    leaves = clf.network_.leaves
    assert leaves is not None
    before = leaves.lists.copy()
    clf.partial_fit(*one(1))
    leaves = clf.network_.leaves
    assert leaves is not None
    held = [row[1 : 1 + row[0]] for row in leaves.lists]
    assert any(np.isin(one(1)[1].indices, ids).all() for ids in held)
    assert (leaves.lists != before).any(axis=1).sum() <= 1
    more = into_leaf(leaves, 70, np.array([7, 299], np.int32)).lists
    assert set(more[70, 1:3]) <= {7, 299, *leaves.lists[70, 1:3]}
    assert {7, 299} <= set(more[70, 1 : 1 + more[70, 0]])
    np.testing.assert_array_equal(np.delete(more, 70, 0), np.delete(leaves.lists, 70, 0))
    clf.partial_fit(MORE[0][:200], MORE[1][:200]).partial_fit(MORE[0][200:], MORE[1][200:])
    again = clf.network_.leaves
    assert again is not None
    assert again is not leaves


# -- what makes it quick: pairs and sparse rows are looked up ----------------------------------------------------------


def problem(seed: int, n: int) -> tuple[sp.csr_array, sp.csr_array]:
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(n, 12)) * (rng.random((n, 12)) < 0.4)
    return sp.csr_array(dense.astype(np.float32)), sp.csr_array((rng.random((n, 9)) < 0.3).astype(np.float32))


@settings(max_examples=20)
@given(st.integers(0, 500), st.integers(1, 4), st.sampled_from([0, 1000]))
def test_pairs_of_few_rows_are_those_that_all_rows_would_bring(seed: int, n: int, row_pairs: int) -> None:
    states = [make_state(slide.Wide(), 12, 9, 0.1, {}) for _ in range(2)]
    for state in states:
        add_pairs(state, PairCounts.of(*problem(seed, 6)))
        state.weights = np.arange(len(state.weights), dtype=np.float32)
    few = problem(seed + 1000, n)
    few[1].data[few[1].indptr[n - 1] :] = 0  # a row without labels
    few[1].eliminate_zeros()
    assert add_few_pairs(states[0], *few, row_pairs) == add_pairs(states[1], PairCounts.of(*few))
    for name in ("indptr", "labels", "weights"):
        ours, theirs = (getattr(state, name) for state in states)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_the_limit_of_pairs_a_row_is_for_others_to_keep() -> None:
    state = make_state(slide.Wide(), 12, 9, 0.1, {})
    rows, labels = problem(1, 6)
    assert add_few_pairs(state, rows, labels, 3) is None
    assert not len(state.labels)


@settings(max_examples=20)
@given(st.integers(0, 500))
def test_sparse_rows_move_as_matrices_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    old, steps = (sparse_rows(5, 20, 0.2, rng) for _ in range(2))
    rows = SparseRows(old.indptr.astype(np.int64), old.indices.astype(np.int32), old.data, np.zeros(5, np.float32), 20)
    moved = rows.moved(steps, np.ones(5, np.float32))
    np.testing.assert_array_equal(moved.matrix().toarray(), (old + steps).toarray())
    np.testing.assert_array_equal(moved.bias, np.ones(5))
    np.testing.assert_array_equal(rows.matrix().toarray(), old.toarray())
    assert (np.diff(moved.features)[np.setdiff1d(np.arange(len(moved.features) - 1), moved.indptr[1:-1] - 1)] > 0).all()


@settings(max_examples=20)
@given(st.lists(st.integers(0, 30), max_size=20, unique=True), st.lists(st.integers(-1, 31), min_size=1, max_size=5))
def test_lower_bounds_are_those_of_numpy(values: list[int], wanted: list[int]) -> None:
    held, asked = np.array(sorted(values), np.int32), np.array(wanted, np.int32)
    ends = np.full(len(asked), len(held), np.int64)
    at, known = lower_bound(held, asked, np.zeros_like(ends), ends)
    np.testing.assert_array_equal(at, np.searchsorted(held, asked))
    np.testing.assert_array_equal(known, np.isin(asked, held))


@pytest.mark.parametrize("few", [0, 1000])
def test_what_is_inserted_stands_before_its_place(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slide.model.sorted_lists.FEW", few)
    found = inserted(np.array([1, 2, 3]), np.array([0, 1, 1, 3]), np.array([10, 20, 30, 40]))
    np.testing.assert_array_equal(found, [10, 1, 20, 30, 2, 3, 40])


def test_a_full_list_lets_its_last_ones_go() -> None:
    held = np.array([3, 5, 6, 7, 99], np.int32)
    into_list(held, np.array([6], np.int32), 3)
    np.testing.assert_array_equal(held, [3, 5, 6, 7, 99])
    into_list(held, np.array([8, 6], np.int32), 3)
    np.testing.assert_array_equal(held, [3, 8, 5, 6, 99])
