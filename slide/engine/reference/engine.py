"""The Numba engine: holds the arrays, deals samples out to threads, and calls the loops; the twin of _c.pyx.

Arguments are checked in slide/network.py; this trusts them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from slide.engine.layout import MAX_BATCH, FloatArray, IntArray
from slide.engine.leaves import CELLS, Leaves
from slide.engine.protocol import Examples, StepRule, TrainStats
from slide.engine.reference import active, batch, infer, query_cells, tables, train
from slide.engine.reference import leaves as tree
from slide.engine.reference.linear_calls import best_ranked
from slide.engine.reference.network import SAMPLED, Plan, Scratch, describe, longest, make_scratch
from slide.engine.reference.query_cells import QUERY_CELLS
from slide.engine.state import LayerState, WideState

T = TypeVar("T")


class Engine:
    """A network over arrays that Python owns; same interface and, with one thread, same trajectory as the C core's.

    Calls that train or fill tables wait for each other; prediction brings its own scratch.
    """

    def __init__(
        self,
        layers: list[LayerState],
        wide: WideState | None,
        optimizer: StepRule,
        loss: str,
        seed: int,
        n_threads: int,
    ) -> None:
        self.net = describe(layers, wide, optimizer, loss, seed)
        self.n_threads = n_threads
        self._lock = threading.Lock()
        self._scratch: list[Scratch] = []
        self._ranker: Any = None

    def rank_by(self, ranker: Any) -> None:
        """From now on `predict` ranks by a slide.model.ranker.Ranker; None: by the network's scores again."""
        self._ranker = ranker

    @property
    def isa(self) -> str:
        """Stands in the place of an instruction set: LLVM chooses."""
        return "numba"

    def handed_out(self) -> None:
        """Nothing is derived from the weights here."""

    def train(
        self,
        X: Examples,
        Y: Examples,
        order: npt.NDArray[np.int64],
        first_step: int,
        lr: FloatArray,
        batch_size: int = 1,
    ) -> TrainStats:
        """Visits the rows in order once. bad_step >= 0 tells where a loss was not finite."""
        if batch_size > 1 and self.trains_batches:
            return self._train_batches(X, Y, order, first_step, lr, min(batch_size, MAX_BATCH))
        stop = np.zeros(1, np.bool_)

        def share(thread: int) -> TrainStats:
            scratch = self._scratch[thread]
            stats = train.train_samples(self.net, scratch, X, Y, order, first_step, lr, thread, self.n_threads, stop)
            return TrainStats(*stats)

        with self._lock:
            self._reserve(longest(X, order), longest(Y, order))
            return _sum(self._on_threads(share))

    def time(self, on: bool) -> None:
        """This back end takes no time down."""
        if on:
            raise ValueError("backend: found 'numba', wanted 'c', whose threads have clocks")

    @property
    def trains_batches(self) -> bool:
        """Whether a batch_size over 1 has an effect: samples can share the last layer's active set."""
        kinds = [layer.kind for layer in self.net.layers[1 : self.net.n_layers]]
        if not kinds or kinds[-1] != SAMPLED or SAMPLED in kinds[:-1]:
            return False
        last = self.net.layers[len(kinds)]
        return last.lsh.L == 0 or last.lsh.kind == QUERY_CELLS or last.n_active >= last.n

    def _train_batches(
        self,
        X: Examples,
        Y: Examples,
        order: npt.NDArray[np.int64],
        first_step: int,
        lr: FloatArray,
        batch_size: int,
    ) -> TrainStats:
        last = self.net.layers[self.net.n_layers - 1]
        its_cells, stop = np.zeros(len(order), np.uint32), np.zeros(1, np.bool_)

        def find_share(thread: int) -> None:
            batch.find_cells(self.net, self._scratch[thread], X, order, first_step, thread, self.n_threads, its_cells)

        with self._lock:
            self._reserve(longest(X, order), MAX_BATCH * longest(Y, order))
            if last.lsh.L > 0 and last.n_active < last.n:
                self._on_threads(find_share)
                for row, cell in zip(order, its_cells, strict=True):
                    last.lsh.label_cells[Y.indices[Y.indptr[row] : Y.indptr[row + 1]]] = cell
            n_batches = -(-len(order) // batch_size)
            shuffled = batch.batches_in_order(self.net.seed, n_batches, first_step)
            plan = Plan(order, first_step, np.argsort(its_cells, kind="stable").astype(np.int64), its_cells, shuffled)

            def share(thread: int) -> TrainStats:
                scratch = self._scratch[thread]
                return TrainStats(
                    *batch.train_batches(self.net, scratch, X, Y, plan, lr, batch_size, thread, self.n_threads, stop)
                )

            return _sum(self._on_threads(share))

    def rebuild(self, layer: int, generation: int, refresh: bool = False) -> None:
        """Empties and refills the tables of a sampled layer. refresh: only from neurons that can have risen."""
        described = self.net.layers[layer]
        if described.lsh.kind == QUERY_CELLS:
            with self._lock:
                self._on_threads(lambda thread: query_cells.fill_cells(described, thread, self.n_threads, refresh))
            return
        remembered = described.lsh.codes
        codes = remembered if remembered.size else np.empty((described.n, described.lsh.L), np.uint32)
        number = np.uint64(generation)

        def hash_share(thread: int) -> None:
            tables.hash_neurons(described, self._scratch[thread], thread, self.n_threads, codes)

        def fill_share(thread: int) -> None:
            tables.fill_tables(self.net.seed, described, number, codes, thread, self.n_threads)

        with self._lock:
            self._reserve(0, 0)
            self._on_threads(hash_share)
            self._on_threads(fill_share)

    def change_tables(self, change: Callable[[], None]) -> None:
        """Calls change(), which writes into tables, while nobody trains."""
        with self._lock:
            change()

    def predict(self, X: Examples, k: int, n_candidates: int, ranked: bool = True) -> tuple[IntArray, FloatArray]:
        """ids int32 [n, k], scores float32 [n, k], best first; n_candidates 0 scores all neurons.

        ranked: by the ranker, if there is one (rank_by); else by the network's own scores.
        """
        if self._ranker is None or not ranked:
            return self._predict(X, k, n_candidates)
        return best_ranked(self._ranker, X, k, self._predict(X, max(k, self._ranker.n), n_candidates))

    def _predict(self, X: Examples, k: int, n_candidates: int) -> tuple[IntArray, FloatArray]:
        """By the network's own scores."""
        n = len(X.indptr) - 1
        ids, scores = np.empty((n, k), np.int32), np.empty((n, k), np.float32)

        def share(thread: int) -> None:
            scratch = make_scratch(self.net, longest(X), 1, dense=True)
            infer.predict_samples(self.net, scratch, X, thread, self.n_threads, n_candidates, ids, scores)

        self._on_threads(share)
        return ids, scores

    def hidden(self, X: Examples, layer: int) -> FloatArray:
        """float32 [n, fan_in of the layer]: the vectors that enter it."""
        out = np.zeros((len(X.indptr) - 1, self.net.layers[layer].fan_in), np.float32)

        def share(thread: int) -> None:
            scratch = make_scratch(self.net, longest(X), 1, dense=True)
            infer.hidden_samples(self.net, scratch, X, layer, thread, self.n_threads, out)

        self._on_threads(share)
        return out

    def hash_codes(self, layer: int, vectors: FloatArray) -> npt.NDArray[np.uint32]:
        """uint32 [n, L] codes of vectors float32 [n, dim] as they are hashed: see slide_lsh in csrc/slide.h."""
        described = self.net.layers[layer]
        codes = np.empty((len(vectors), described.lsh.L), np.uint32)

        def share(thread: int) -> None:
            tables.hash_vectors(described, self._scratch[thread], vectors, thread, self.n_threads, codes)

        with self._lock:
            self._reserve(0, 0)
            self._on_threads(share)
        return codes

    def retrieve(self, layer: int, queries: FloatArray, n_candidates: int) -> IntArray:
        """int32 [n, n_candidates]: neurons the tables return for each query float32 [n, fan_in], padded with -1."""
        ids = np.empty((len(queries), n_candidates), np.int32)
        with self._lock:
            self._reserve(0, 0)
            active.retrieve(self.net.layers[layer], self._scratch[0], queries, n_candidates, ids)
        return ids

    def leaf_codes(self, leaves: Leaves, vectors: FloatArray, cells: IntArray) -> IntArray:
        """int32 [n]: the nearest leaf of each vector float32 [n, H], of those of its cell."""
        codes = np.empty(len(vectors), np.int32)

        def share(thread: int) -> None:
            tree.leaf_codes(leaves.centres, leaves.blocks, vectors, cells, thread, self.n_threads, codes)

        self._on_threads(share)
        return codes

    def fill_leaves(self, leaves: Leaves, indptr: npt.NDArray[np.int64], ids: IntArray) -> IntArray:
        """int32 [n_leaves, capacity + 1]: leaves' lists from the last layer's rows, of block b from its ids."""
        last = self.net.layers[self.net.n_layers - 1]
        lists = np.zeros(leaves.places.shape, np.int32)

        def share(thread: int) -> None:
            tree.fill_leaves(last, leaves.centres, lists, indptr, ids, thread, self.n_threads)

        with self._lock:
            self._on_threads(share)
        return lists

    def shortlist(
        self, leaves: Leaves, X: Examples, k: int, n_candidates: int, ranked: bool = False
    ) -> tuple[IntArray, FloatArray]:
        """ids int32 [n, k], scores float32 [n, k], best first, of n_candidates labels from the leaves' lists.

        Scores are logits; ranked: the ranker's, if there is one, of those that are best by logit.
        """
        if self._ranker is None or not ranked:
            return self._shortlist(leaves, X, k, n_candidates)
        return best_ranked(self._ranker, X, k, self._shortlist(leaves, X, max(k, self._ranker.n), n_candidates))

    def _shortlist(self, leaves: Leaves, X: Examples, k: int, n_candidates: int) -> tuple[IntArray, FloatArray]:
        ids, logits = np.empty((len(X.indptr) - 1, k), np.int32), np.empty((len(X.indptr) - 1, k), np.float32)
        n_leaves = leaves.leaves_for(n_candidates)

        def share(thread: int) -> None:
            scratch = make_scratch(self.net, longest(X), 1, dense=True)
            arrays = leaves.cells, leaves.centres, leaves.blocks, leaves.places, leaves.labels, leaves.first_label
            numbers = CELLS, n_leaves, n_candidates, thread, self.n_threads
            tree.shortlist_samples(self.net, scratch, X, *arrays, *numbers, ids, logits)

        self._on_threads(share)
        return ids, logits

    def active_set(self, layer: int, query: FloatArray, labels: IntArray, step: int) -> tuple[IntArray, FloatArray]:
        """For inspection: ids int32 [A] that this step would choose, and their neg_log_q float32 [A] (-log q)."""
        with self._lock:
            self._reserve(0, len(labels))
            s = self._scratch[0]
            n, _ = active.inspect(self.net.layers[layer], layer, s, query, labels, self.net.seed, step)
            return s.ids[layer, :n].copy(), s.neg_log_q[:n].copy()

    def _reserve(self, max_features: int, max_labels: int) -> None:
        """Grows the threads' scratch to samples of that size."""
        if self._scratch:
            old = self._scratch[0]
            had_labels = len(old.wide_ids) - len(old.wide_score)
            if max_features <= len(old.features) and max_labels <= had_labels:
                return
            max_features, max_labels = max(max_features, len(old.features)), max(max_labels, had_labels)
        self._scratch = [make_scratch(self.net, max_features, max_labels, dense=False) for _ in range(self.n_threads)]

    def _on_threads(self, share: Callable[[int], T]) -> list[T]:
        """share(thread) for every thread, side by side; all have ended when this returns or raises."""
        if self.n_threads == 1:
            return [share(0)]
        with ThreadPoolExecutor(self.n_threads) as pool:
            return list(pool.map(share, range(self.n_threads)))


def _sum(stats: list[TrainStats]) -> TrainStats:
    """Of all threads; the earliest bad step is the one reported."""
    columns: list[Any] = [sum(column) for column in zip(*(s[:-1] for s in stats), strict=True)]
    total = TrainStats(*columns)
    bad = min((s for s in stats if s.bad_step >= 0), key=lambda s: s.bad_step, default=None)
    where = (bad.bad_step, bad.bad_layer, bad.bad_update) if bad else (-1, -1, False)
    return total._replace(bad_step=where[0], bad_layer=where[1], bad_update=where[2])
