"""An engine over a layer whose rows are in a file: before each call it fetches the rows that the call takes.

A window of samples is planned first (its batches and their active sets follow from tables and labels), then trained
in as few parts as the cache allows. Whatever the parts, the steps and their order are those of an engine in memory:
with one thread, the bits too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import require
from slide.engine import select
from slide.engine.layout import DIRECTION_BLOCK, FloatArray, IntArray
from slide.engine.leaves import Leaves
from slide.engine.protocol import Examples, TrainStats
from slide.engine.state import LayerState, WideState
from slide.model.ranker import Ranker, log_sums
from slide.model.store.layer import BestOf, StoredLayer
from slide.model.store.size import PART_BYTES, blocks_at_once, in_words

Found = tuple[IntArray, FloatArray]
ROW_DRAWN = 1  # csrc/slide.h: SLIDE_ROW_DRAWN


class StoredEngine:
    """The engine `inner` over `states`, the last of which is a StoredLayer; what is not said here is as there."""

    def __init__(
        self, inner: Any, states: list[LayerState], wide: Any, make: Callable[[list[LayerState], Any], Any]
    ) -> None:
        """make : another engine over other states and another sparse part"""
        self._inner, self._states, self._wide, self._make = inner, states, wide, make
        last = states[-1]
        assert isinstance(last, StoredLayer)
        self._layer, self._store, self._index = last, last.store, len(states) - 1
        self._arena = last.store.arena  # that the inner engine reads
        self._ranker: Ranker | None = None
        self._marks = np.zeros(-(-last.n // 8) * 8, np.uint8)  # of rows that batches take: _taken
        self._next: tuple[Examples, Examples, npt.NDArray[np.int64], int, int] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    # -- training -------------------------------------------------------------------------------------------------

    def train(
        self,
        X: Examples,
        Y: Examples,
        order: npt.NDArray[np.int64],
        first_step: int,
        lr: FloatArray,
        batch_size: int,
    ) -> TrainStats:
        """As Engine.train; raises ValueError where the rows of one batch are more than the cache holds."""
        with self._store.lock:
            begin = time.perf_counter()
            plan = self._inner.plan(X, Y, order, first_step, lr, batch_size)
            first, total = 0, TrainStats(0.0, 0, 0, -1, -1)
            size, (ids, chosen) = self._part(plan, 0, plan.n_batches)
            self._store.traffic.planning += time.perf_counter() - begin
            while size and total.bad_step < 0:
                self._store.hold(ids, chosen, change=True)
                following, begin = first + size, time.perf_counter()
                if following < plan.n_batches:
                    next_size, (ids, chosen) = self._part(plan, following, size)
                    self._store.expect(ids)
                else:
                    next_size = 0
                    self._expect_next()
                middle = time.perf_counter()
                total = _added(total, self._inner.train_plan(plan, first, size))
                first, size = following, next_size
                self._store.traffic.planning += middle - begin
                self._store.traffic.training += time.perf_counter() - middle
            return total

    def expect(self, X: Examples, Y: Examples, order: npt.NDArray[np.int64], first_step: int, batch_size: int) -> None:
        """What the call of `train` after the next one will be given: its rows are fetched while the next one trains."""
        self._next = X, Y, order, first_step, batch_size

    def _expect_next(self) -> None:
        """Labels, and what is drawn: what the lists of the cells have follows from weights that are still to change."""
        if self._next is None:
            return
        self._inner.mark_ahead(*self._next, self._marks)
        self._next = None
        self._store.expect(_taken(self._marks)[0])

    def _part(self, plan: Any, first: int, size: int) -> tuple[int, tuple[IntArray, npt.NDArray[np.bool_]]]:
        """How many batches from `first` on, up to `size`, the cache has room for; and their rows: see RowStore.hold."""
        size = min(size, plan.n_batches - first)
        if not size:
            return 0, (np.empty(0, np.int32), np.empty(0, np.bool_))
        while True:
            self._inner.mark_plan(plan, first, size, self._marks)
            ids, marks = _taken(self._marks)
            if len(ids) <= self._store.n_slots:
                return size, (ids, marks != ROW_DRAWN)
            self._check_one(size, len(ids))
            size = max(1, size * self._store.n_slots // (2 * len(ids)))

    def _check_one(self, size: int, needed: int) -> None:
        held = self._store.n_slots
        more = in_words((needed - held) * self._store.row_bytes)
        wanted = f"room for the {needed:,} that one batch takes: {more} more"
        require(size > 1, "memory", f"a cache of {held:,} rows", wanted)

    # -- tables ---------------------------------------------------------------------------------------------------

    def rebuild(self, layer: int, generation: int, refresh: bool = False) -> None:
        """As Engine.rebuild; rows are read in sequence, once for as many cells as there is memory to list."""
        lsh = self._states[layer].lsh
        if layer != self._index or lsh is None:
            self._inner.rebuild(layer, generation, refresh)
            return
        n_blocks = 2**lsh.K // DIRECTION_BLOCK
        step = blocks_at_once(self._layer.n, lsh.K, lsh.capacity, self._layer.filling_bytes)
        with self._store.lock:
            for first in range(0, n_blocks, step):
                parts = ((begin, rows.view(np.float32)) for begin, rows in self._store.parts())
                self._inner.rebuild_from(layer, refresh, first, min(step, n_blocks - first), parts)

    def fill_leaves(self, leaves: Leaves, indptr: npt.NDArray[np.int64], ids: IntArray) -> IntArray:
        """As Engine.fill_leaves, from copies of the rows of a block of leaves, or of several."""
        lists, first, room = [], 0, PART_BYTES // self._store.row_bytes
        while first < len(leaves.centres):
            end = first + 1
            held = np.unique(ids[indptr[first] : indptr[end]])
            while end < len(leaves.centres):
                more = np.union1d(held, ids[indptr[end] : indptr[end + 1]])
                if len(more) > room:
                    break
                held, end = more, end + 1
            part = indptr[first : end + 1] - indptr[first]
            places = np.searchsorted(held, ids[indptr[first] : indptr[end]]).astype(np.int32)
            found = self._filled(leaves, first, end, part, places, held)
            lists.append(found)
            first = end
        return np.concatenate(lists)

    def _filled(
        self, leaves: Leaves, first: int, end: int, indptr: npt.NDArray[np.int64], places: IntArray, held: IntArray
    ) -> IntArray:
        """Lists of some blocks of leaves from the rows `held`, ascending, of which each block is offered places."""
        some = replace(
            leaves,
            centres=leaves.centres[first:end],
            places=leaves.places[first * DIRECTION_BLOCK : end * DIRECTION_BLOCK],
        )
        engine = self._make([*self._states[:-1], self._layer.part(self._store.read(held))], None)
        lists: IntArray = engine.fill_leaves(some, indptr, places)
        used = np.arange(1, lists.shape[1]) <= lists[:, :1]
        lists[:, 1:][used] = held[lists[:, 1:][used]]
        return lists

    def _with_rows(self, ids: IntArray, call: Callable[[], Any]) -> Any:
        with self._store.lock:
            self._follow_arena()
            held = self._store.n_slots
            wanted = f"room for {len(ids):,}: {in_words((len(ids) - held) * self._store.row_bytes)} more"
            require(len(ids) <= held, "memory", f"a cache of {held:,} rows", wanted)
            self._store.hold(ids.astype(np.int32))
            return call()

    def _follow_arena(self) -> None:
        """Whoever still has this engine when the cache was given another arena reads that."""
        if self._arena is not self._store.arena:
            self._arena, self._inner = self._store.arena, self._make(self._states, self._wide)
            if self._ranker is not None:
                self._inner.rank_by(self._ranker)

    # -- answers --------------------------------------------------------------------------------------------------

    def rank_by(self, ranker: Ranker | None) -> None:
        """As Engine.rank_by."""
        self._ranker = ranker
        self._inner.rank_by(ranker)

    def predict(self, X: Examples, k: int, n_candidates: int, ranked: bool = True) -> Found:
        """As Engine.predict: all labels in one pass over the file for all rows of X, or those that tables return.

        Beside a sparse part, which nominates labels of its own while it predicts, all of them whatever n_candidates is.
        """
        if n_candidates and self._wide is None:
            queries = self._inner.hidden(X, self._index)
            retrieved = self._inner.retrieve(self._index, queries, n_candidates)
            return self._in_parts(
                X,
                lambda some, first, end: _distinct(retrieved[first:end]),
                lambda some: self._inner.predict(some, k, n_candidates, ranked),
            )
        if self._ranker is None or not ranked:
            return self._exact(X, k)
        ids, logits = self._exact(X, min(max(k, self._ranker.n), self._layer.n))
        return _ranked(self._ranker, X, ids, logits, k)

    def shortlist(self, leaves: Leaves, X: Examples, k: int, n_candidates: int, ranked: bool = False) -> Found:
        """As Engine.shortlist."""

        def rows_of(some: Examples, first: int, end: int) -> IntArray:
            marks = np.zeros(self._layer.n, np.uint8)
            self._inner.mark_shortlist(leaves, some, n_candidates, marks)
            return np.flatnonzero(marks).astype(np.int32)

        return self._in_parts(X, rows_of, lambda some: self._inner.shortlist(leaves, some, k, n_candidates, ranked))

    def _in_parts(
        self,
        X: Examples,
        rows_of: Callable[[Examples, int, int], IntArray],
        answer: Callable[[Examples], Found],
    ) -> Found:
        """Answers of as many samples at a time as the cache has room for the rows of."""
        first, size, found = 0, X.n_rows, []
        if X.n_rows == 0:
            return answer(X)
        while first < X.n_rows:
            size = min(size, X.n_rows - first)
            some = X.part(first, first + size)
            ids = rows_of(some, first, first + size)
            if len(ids) > self._store.n_slots and size > 1:
                size = max(1, size * self._store.n_slots // (2 * len(ids)))
                continue
            found.append(self._with_rows(ids, lambda some=some: answer(some)))  # type: ignore[misc]
            first += size
        return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])

    def _exact(self, X: Examples, k: int) -> Found:
        best = BestOf(X.n_rows, k)
        with self._store.lock:
            for first, part in self._layer.parts():
                wide = None if self._wide is None else _labels_of(self._wide, first, first + part.n)
                engine = self._make([*self._states[:-1], part], wide)
                ids, scores = engine.predict(X, min(k, part.n), 0, False)
                best.offer(np.where(ids < 0, ids, ids + np.int32(first)), scores)
        return best.ids, best.scores


def _distinct(ids: IntArray) -> IntArray:
    """Ascending; those of -1 are none. For the few of one prediction NumPy's own takes most of the time."""
    ascending = np.sort(ids, axis=None)
    ascending = ascending[np.searchsorted(ascending, 0) :]
    return ascending[np.diff(ascending, prepend=-1) > 0]


def _taken(marks: npt.NDArray[np.uint8]) -> tuple[IntArray, npt.NDArray[np.uint8]]:
    """Which marks are set, ascending, and the marks; none is set any more. Few are: eight are seen at a time."""
    words = marks.view(np.uint64)
    some = np.flatnonzero(words)
    found = words[some].view(np.uint8)
    words[some] = 0
    at = np.flatnonzero(found)
    return (8 * some[at // 8] + at % 8).astype(np.int32), found[at]


def _added(a: TrainStats, b: TrainStats) -> TrainStats:
    seconds = b.phase_seconds
    if a.phase_seconds and seconds:
        seconds = tuple(x + y for x, y in zip(a.phase_seconds, seconds, strict=True))
    return b._replace(
        loss=a.loss + b.loss,
        n_loss=a.n_loss + b.n_loss,
        n_active=a.n_active + b.n_active,
        wide_loss=a.wide_loss + b.wide_loss,
        n_wide_active=a.n_wide_active + b.n_wide_active,
        phase_seconds=seconds,
    )


def _labels_of(wide: WideState, first: int, end: int) -> WideState:
    """The pairs of some labels, numbered from 0."""
    inside = (wide.labels >= first) & (wide.labels < end)
    kept = np.concatenate([[0], np.cumsum(inside, dtype=np.int64)])
    return WideState(
        indptr=kept[wide.indptr],
        labels=wide.labels[inside] - np.int32(first),
        bias=wide.bias[first:end],
        lr_ratio=wide.lr_ratio,
        bias_ratio=wide.bias_ratio,
        deep_share=wide.deep_share,
        weights=wide.weights[inside],
    )


def _ranked(ranker: Ranker, X: Examples, ids: IntArray, logits: FloatArray, k: int) -> Found:
    """The best k of shortlists by log odds; as csrc/linear/rank.c up to rounding."""
    matrix = sp.csr_array((X.data, X.indices, X.indptr), shape=(X.n_rows, ranker.rows.n_features))
    z = ranker.rows.scores(matrix, ids, 1, "c")
    used = ids >= 0
    odds = ranker.log_odds(np.where(used, z, 0), np.where(used, logits, 0), log_sums(np.where(used, logits, -np.inf)))
    best = BestOf(len(ids), k)
    best.offer(ids, np.where(used, odds, -np.inf).astype(np.float32))
    return best.ids, best.scores


def stored_engine(
    backend: str, states: list[LayerState], wide: Any, optimizer: Any, loss: str, seed: int, n_threads: int
) -> Any:
    """An engine over states, whether or not the rows of the last are all in memory."""

    def make(states: list[LayerState], wide: Any) -> Any:
        return select.make_engine(backend, states, wide, optimizer, loss, seed, n_threads)

    inner = make(states, wide)
    return StoredEngine(inner, states, wide, make) if isinstance(states[-1], StoredLayer) else inner
