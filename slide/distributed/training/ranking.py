"""Learning to rank by several workers: each solves the sparse rows of its own labels, the same as one process would.

Shortlists are found by all together: each lists the best of its labels, and all get the best of those lists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.distributed.training.answers import best_of_all, by_blocks, matrix_of
from slide.distributed.training.loop import SharedTraining
from slide.distributed.training.shard import Range, dense_rows
from slide.distributed.training.step import agreed
from slide.distributed.transport.group import Array, collect
from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples
from slide.io.shards import ranked_of
from slide.model.ranker import NO_ROWS, Ranker
from slide.model.sparse_rows import SolverOptions, SparseRows, solve
from slide.training.ranking import RankingSource, shortlists

LEAVES_ROWS = 2**17  # rows that leaves are learned from, at most


@dataclass(frozen=True)
class OwnRows:
    """A ranker, but for its rows, of which `arrays` has those of this worker's labels (slide.io.shards.RANKED)."""

    ranker: Ranker
    labels: Range
    arrays: dict[str, Array]

    @classmethod
    def of(cls, ranker: Ranker, labels: Range) -> OwnRows:
        """Of a ranker whose other labels have no rows here."""
        arrays = {f"rank.{name}": array for name, array in ranker.arrays.items()}
        return cls(replace(ranker, rows=NO_ROWS), labels, ranked_of(arrays, *labels))

    def has_rows_of(self, other: OwnRows) -> bool:
        """Whether nothing was learned in between."""
        return self.labels == other.labels and all(np.array_equal(a, other.arrays[n]) for n, a in self.arrays.items())


class SharedRanking(RankingSource):
    """Shortlists of a network in parts, and sparse rows in parts: called by all workers at once."""

    def __init__(self, training: SharedTraining, merge: bool) -> None:
        """merge : whether rankers of all labels are put together at the first worker, in `rankers`; else `own` has
        this worker's. The first of them has learned nothing of held rows."""
        self._training, self._merge = training, merge
        self.rankers: list[Ranker] = []
        self.own: list[OwnRows] = []
        self.n_labels, self.n_features = training.spec.output.n, training.spec.input.n_features
        self._learn_leaves()

    def _learn_leaves(self) -> None:
        """Of the labels that are here, after tables were made with care."""
        training = self._training
        n = min(training.n_rows, LEAVES_ROWS)
        drawn = np.random.default_rng([training.spec.seed, 34]).permutation(training.n_rows)[:n]
        rows = np.sort(drawn).astype(np.int64)
        vectors = training.hidden_of(training.rows.X.take(rows))
        training.shard.head.learn_leaves(dense_rows(vectors), training.rows.Y.take(rows))

    def shortlists(self, X: sp.csr_array, m: int, at_most: int | None = None) -> tuple[IntArray, FloatArray]:
        """As slide.training.ranking.shortlists, of all labels."""
        return by_blocks(X, lambda some: self._some(some, m, at_most))

    def _some(self, X: sp.csr_array, m: int, at_most: int | None) -> tuple[IntArray, FloatArray]:
        training = self._training
        first, end = training.shard.labels
        own = Examples.of(training.features.columns(X, *training.shard.features))
        rows = dense_rows(training.hidden_of(own))
        matrix = matrix_of(rows, training.spec.input.n)
        ids, logits = shortlists(training.shard.head, matrix, min(m, end - first), at_most)
        ids, none = np.where(ids < 0, -1, training.labels.inverse[first + np.maximum(ids, 0)]), ids < 0
        return best_of_all(training.group, (ids, np.where(none, np.float32(-np.inf), logits)), m)

    def solve(
        self, X: sp.csr_array, Y: sp.csr_array, lists: IntArray, options: SolverOptions, **more: Any
    ) -> SparseRows:
        """Rows of this worker's labels; others are empty."""
        here = own_range(self._work(Y, lists), self._training.group.rank, self._training.group.size)
        options = replace(options, n_threads=self._training.n_threads)
        rows = solve(X, Y, lists, options, backend="c", some_labels=here, **more)
        agreed(self._training.group, True)  # so that who waits for others is seen to be alive
        self._ranges = {Y.shape[1]: here} | {n: r for n, r in getattr(self, "_ranges", {}).items() if n != Y.shape[1]}
        return rows

    def _work(self, Y: sp.csr_array, lists: IntArray) -> npt.NDArray[np.int64]:
        """int64 [n_labels]: pairs that each label learns on, about."""
        positives = np.bincount(Y.indices, minlength=Y.shape[1])
        return positives + np.bincount(lists[lists >= 0], minlength=Y.shape[1]) + 1

    def scores(self, rows: SparseRows, X: sp.csr_array, ids: IntArray) -> FloatArray:
        """As SparseRows.scores: each worker scores its labels."""
        first, end = self._ranges[len(rows.bias)]
        own = np.where((ids >= first) & (ids < end), ids, np.int32(-1))
        z = rows.scores(X, own, self._training.n_threads, "c")
        z[own < 0] = 0
        self._training.group.all_reduce(z)
        z[ids < 0] = -np.inf
        return z

    def n_weights(self, rows: SparseRows) -> int:
        """Of those of all workers."""
        total = np.array([len(rows.features)], np.int64)
        self._training.group.all_reduce(total)
        return int(total[0])

    def rank_by(self, ranker: Ranker) -> None:
        """Brings the sparse rows of all workers together at the first, or keeps them here."""
        if not self._merge:
            self.own.append(OwnRows.of(ranker, self._ranges[self.n_labels]))
            return
        whole = self._merged(ranker.rows)
        if whole is not None:
            self.rankers.append(replace(ranker, rows=whole))

    def _merged(self, rows: SparseRows) -> SparseRows | None:
        group, (first, end) = self._training.group, self._ranges[self.n_labels]
        assert rows.weights is not None
        lengths = np.diff(rows.indptr)[first:end]
        parts = [collect(group, array) for array in (lengths, rows.features, rows.weights, rows.bias[first:end])]
        if any(part is None for part in parts):
            return None
        counts, features, weights, bias = (np.concatenate(part) for part in parts if part is not None)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return replace(rows, indptr=indptr, features=features, weights=weights, bias=bias)


def own_range(work: npt.NDArray[np.int64], rank: int, size: int) -> tuple[int, int]:
    """The labels of one worker, so that all have about as much to do."""
    total = np.cumsum(work)
    cut = np.searchsorted(total, total[-1] * np.arange(1, size) / size)
    edges = [0, *np.maximum.accumulate(cut).tolist(), len(work)]
    return edges[rank], edges[rank + 1]
