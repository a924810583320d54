"""What a trained network answers: the best labels, hidden vectors, what its tables return and what they are worth.

How a network is made and trained is in slide/network.py.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import scipy.sparse as sp

from slide._state import Engine, Examples, FloatArray, IntArray, LayerState
from slide.checks import check_X
from slide.layers import Dense, Layer, Sampled, SparseInput
from slide.lsh import require

if TYPE_CHECKING:
    from slide.hnsw import HnswIndex
    from slide.leaves import Leaves
    from slide.lsh_report import LshReport
    from slide.network import Network
    from slide.wide import Wide

FIRST_ROWS = 512  # predicted by one call of the engine until its speed is known
BLOCK_SECONDS = 0.5
TABLES_CANDIDATES = 4000


class Answers:
    """The part of a network that reads its weights and tables."""

    layers: tuple[Layer, ...]
    states: list[LayerState]
    index: HnswIndex | None
    leaves: Leaves | None
    wide: Wide | None
    n_threads: int
    _engine: Engine

    @property
    def n_features(self) -> int:
        """Columns of X."""
        first = self.layers[0]
        assert isinstance(first, SparseInput)
        return first.n_features

    @property
    def n_labels(self) -> int:
        """Columns of Y: neurons of the last layer."""
        last = self.layers[-1]
        assert isinstance(last, Dense | Sampled)
        return last.n

    def predict_topk(
        self, X: Any, k: int = 5, *, n_candidates: int | None = None, index: str | None = None
    ) -> tuple[IntArray, FloatArray]:
        """The k highest-scoring labels of each row of X.

        Parameters
        ----------
        X : sparse [n, n_features]
        k : int
            1 to n_labels.
        n_candidates : int or None
            None scores every label exactly, in blocks: the n x n_labels matrix never exists. Else only that many labels
            which the last layer's tables return are scored.
        index : {"hnsw", None}
            Where the labels to score come from instead: a graph, built with the defaults of ``build_index`` where there
            is none of the present weights. n_candidates is then how many it looks for.

        Returns
        -------
        ids : int32 [n, k]
            Best first; -1 where the tables or the graph returned fewer than k.
        scores : float32 [n, k]
            Logits.
        """
        require(isinstance(k, int | np.integer) and 1 <= k <= self.n_labels, "k", k, f"an int, 1 to {self.n_labels:,}")
        if index is not None:
            from slide.hnsw import predict

            require(index == "hnsw", "index", index, "'hnsw' or None")
            return predict(cast("Network", self), check_X(X, self.n_features), int(k), n_candidates)
        if n_candidates is not None:
            has_tables = self.states[-1].lsh is not None
            require(has_tables, "n_candidates", n_candidates, "None: the last layer has no tables")
            require(k <= n_candidates <= self.n_labels, "n_candidates", n_candidates, f"k to {self.n_labels:,}")
        X = check_X(X, self.n_features)
        return self._predict(X, int(k), int(n_candidates or 0))

    def _predict(self, X: sp.csr_array, k: int, n_candidates: int) -> tuple[IntArray, FloatArray]:
        """Blocks of rows that take about half a second each, so that Ctrl-C is served in between."""
        n = X.shape[0]
        ids, scores = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
        leaves = self._leaves_for(n_candidates)
        first, size = 0, FIRST_ROWS
        while first < n:
            rows = slice(first, min(first + size, n))
            begin = time.perf_counter()
            some = Examples.of(X[rows])
            if leaves is not None:
                ids[rows], scores[rows] = self._engine.shortlist(leaves, some, k, n_candidates)
            else:
                ids[rows], scores[rows] = self._engine.predict(some, k, n_candidates)
            rate = (rows.stop - first) / max(time.perf_counter() - begin, 1e-6)
            first, size = rows.stop, int(np.clip(rate * BLOCK_SECONDS, 32 * self.n_threads, 4 * size))
        return ids, scores

    def _leaves_for(self, n_candidates: int) -> Leaves | None:
        """The leaves, where so many candidates can come from them."""
        ok = self.leaves is not None and self.wide is None and 0 < n_candidates <= self.leaves.most_candidates
        return self.leaves if ok else None

    def shortlist(self, X: Any, n: int = 100, *, n_candidates: int | None = None) -> tuple[IntArray, FloatArray]:
        """The n best labels of each row of X among those that the leaves of its query list, for a ranker.

        Equal for any number of threads, as far as the leaves are (slide.leaves). Without leaves the tables are asked,
        and without tables every label is scored.

        Parameters
        ----------
        X : sparse [rows, n_features]
        n : int
            1 to n_labels.
        n_candidates : int or None
            Labels that are scored, n or more. None: what held nearly all true labels of rows kept back when the leaves
            were learned, and never under twice n; 4,000 of tables.

        Returns
        -------
        ids : int32 [rows, n]
            Best first; -1 where fewer were found.
        logits : float32 [rows, n]

        Raises
        ------
        ValueError
            Of a network with a sparse part, whose scores are no logits.
        """
        require(self.wide is None, "shortlist of a network with wide", self.wide, "None")
        require(isinstance(n, int | np.integer) and 1 <= n <= self.n_labels, "n", n, f"an int, 1 to {self.n_labels:,}")
        if n_candidates is None:
            leaves = self._leaves_for(2 * n)
            wanted = max(2 * n, leaves.n_candidates) if leaves else max(2 * n, TABLES_CANDIDATES)
            n_candidates = min(wanted, self.n_labels) if self.states[-1].lsh is not None else self.n_labels
        least = n if self.states[-1].lsh is not None else self.n_labels
        require(least <= n_candidates <= self.n_labels, "n_candidates", n_candidates, f"{least:,} to {self.n_labels:,}")
        return self._predict(check_X(X, self.n_features), int(n), int(n_candidates) % self.n_labels)

    def true_recall(self, X: Any, Y: Any, n: int = 100, *, n_candidates: int | None = None) -> tuple[float, float]:
        """Share of the true labels of rows that their shortlist holds, and that the exact best n hold."""
        from slide.leaves import true_recall

        labels = Examples.of(sp.csr_array(Y))
        exact = self._predict(check_X(X, self.n_features), n, 0)[0]
        return true_recall(self.shortlist(X, n, n_candidates=n_candidates)[0], labels), true_recall(exact, labels)

    def build_index(self, kind: str = "hnsw", *, M: int = 16, ef_construction: int = 200, ef: int = 100) -> HnswIndex:
        """Builds the graph that ``predict_topk(index="hnsw")`` searches, and keeps it until training goes on.

        Worth its time where weights are final and labels are many (docs/retrieval.md). Not saved with the model. With
        one thread, equal weights give equal graphs.

        Parameters
        ----------
        kind : {"hnsw"}
            Hierarchical navigable small worlds (Malkov & Yashunin, PAMI 2018); needs the extra `hnsw`.
        M : int
            Neighbours of a label; twice as many at the lowest level.
        ef_construction, ef : int
            Candidates held while a label is added, and while one is searched for unless n_candidates says otherwise.

        Raises
        ------
        ImportError
            Without hnswlib.
        MemoryError
            If the graph would not fit; says the bytes needed and available.
        """
        from slide.hnsw import build

        require(kind == "hnsw", "kind", kind, "'hnsw'")
        self.index = build(cast("Network", self), M, ef_construction, ef)
        return self.index

    def hidden(self, X: Any, layer: int = -1) -> FloatArray:
        """float32 [n, fan_in]: the vectors that enter a layer (the last by default), every neuron below taking part."""
        index = range(len(self.layers))[layer]
        require(index > 0, "layer", layer, "a layer after the first")
        return self._engine.hidden(Examples.of(check_X(X, self.n_features)), index)

    def retrieve(self, X: Any, n_candidates: int, layer: int = -1) -> IntArray:
        """int32 [n, n_candidates]: the neurons a sampled layer's tables return, most wanted first, -1 padded."""
        index = range(len(self.layers))[layer]
        require(self.states[index].lsh is not None, "layer", layer, "a Sampled layer with tables")
        return self._engine.retrieve(index, self.hidden(X, index), n_candidates)

    def retrieval_recall(self, X: Any, *, k: int = 10, n_candidates: int | None = None) -> tuple[float, float]:
        """Share of the exact top k that the last layer's tables return, labels not forced, and its chance level.

        The exact top k are the neurons with the largest logits of the network itself, a sparse linear part left out.

        Chance is a random set of the same size: n_candidates / n_labels (n_candidates defaults to the tables' part of
        the active set).
        """
        last = self.states[-1]
        wanted = n_candidates or max(last.n_active - last.n_random, k)
        exact = self._top_neurons(self.hidden(X), k)
        found = self.retrieve(X, wanted)
        hits = [np.isin(e, f).sum() for e, f in zip(exact, found, strict=True)]
        sizes = (found >= 0).sum(axis=1)
        return float(np.mean(hits) / k), float(np.mean(sizes) / self.n_labels)

    def _top_neurons(self, queries: FloatArray, k: int) -> IntArray:
        """Neurons of the last layer with the k largest logits for each query, in any order."""
        last = self.states[-1]
        rows = max(1, 2**24 // last.n)
        blocks = [queries[i : i + rows] @ last.weights.T + last.biases for i in range(0, len(queries), rows)]
        return np.concatenate([np.argpartition(-b, min(k, last.n) - 1, axis=1)[:, :k] for b in blocks]).astype(np.int32)

    def lsh_report(self, X: Any = None, Y: Any = None, *, layer: int = -1) -> LshReport:
        """What a sampled layer's tables are worth: print it, or take its fields (slide.lsh_report.LshReport).

        Parameters
        ----------
        X : sparse [n, n_features] or None
            Rows that were not trained on, whose first 1,000 are the queries for recall. None: no recall.
        Y : sparse [n, n_labels] or None
            Their labels, for the recall of true labels.
        layer : int
            A Sampled layer with tables; the last by default.
        """
        from slide.lsh_report import lsh_report

        return lsh_report(cast("Network", self), None if X is None else check_X(X, self.n_features), layer, Y)
