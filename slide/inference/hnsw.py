"""A graph index over the output layer, for prediction with finished weights. Alone imports hnswlib (the extra `hnsw`).

Hash tables follow weights that move; a graph is built once, slowly, and then finds more of the best labels for the same
work (Malkov & Yashunin, PAMI 2018). It searches for the largest inner product, with the bias as one more coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import require
from slide.engine import memory
from slide.engine.layout import FloatArray, IntArray
from slide.model.model import Model

BLOCK_FLOATS = 2**23  # weights gathered at a time

Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HnswIndex:
    """The graph over the weights of one moment.

    Attributes
    ----------
    M, ef_construction, ef : int
        As in Network.build_index.
    n : int
        Labels.
    step : int
        Samples that the network had been trained on.
    graph : hnswlib.Index
    """

    M: int
    ef_construction: int
    ef: int
    n: int
    step: int
    graph: Any

    @property
    def n_bytes(self) -> int:
        """Bytes of the graph with its own copy of the weights."""
        return int(self.graph.index_file_size())

    def search(self, queries: FloatArray, n_candidates: int, n_threads: int = 1) -> IntArray:
        """int32 [n, n_candidates]: labels with large inner products, best first, -1 padded."""
        found = np.full((len(queries), n_candidates), -1, np.int32)
        if len(queries):
            _fill(self.graph, _with_one(queries), found, n_threads)
        return found


def build(net: Model, M: int, ef_construction: int, ef: int) -> HnswIndex:
    """See Network.build_index."""
    hnswlib = _library()
    for name, value, least in (("M", M, 2), ("ef_construction", ef_construction, 1), ("ef", ef, 1)):
        ok = isinstance(value, int | np.integer) and least <= value <= 10_000
        require(ok, f"build_index({name}=)", value, f"an int, {least} to 10,000")
    with net.lock:  # the weights of one moment
        _check_memory(net, M)
        last = net.states[-1]
        vectors = np.concatenate([last.weights, last.biases[:, None]], axis=1, dtype=np.float32)
        step = net.step
    n, dim = vectors.shape
    graph = hnswlib.Index(space="ip", dim=dim)
    graph.init_index(max_elements=n, M=int(M), ef_construction=int(ef_construction), random_seed=net.seed % 2**31)
    graph.set_ef(int(ef))
    graph.add_items(vectors, np.arange(n), num_threads=net.n_threads)
    return HnswIndex(int(M), int(ef_construction), int(ef), n, step, graph)


def predict(
    net: Model, index: HnswIndex, X: sp.csr_array, k: int, n_candidates: int | None
) -> tuple[IntArray, FloatArray]:
    """Network.predict_topk among the labels the graph finds, and those on the positive side of the sparse part."""
    wanted_ok = n_candidates is None or k <= n_candidates <= net.n_labels
    require(wanted_ok, "n_candidates", n_candidates, f"k to {net.n_labels:,}")
    ids, scores = np.full((X.shape[0], k), -1, np.int32), np.full((X.shape[0], k), -np.inf, np.float32)
    wanted = min(max(n_candidates or index.ef, k), index.n)
    wide = None if net.wide_state is None else net.wide_state.matrix()
    size = max(1, BLOCK_FLOATS // (wanted * net.states[-1].fan_in))
    for first in range(0, X.shape[0], size):
        block = slice(first, first + size)
        queries = net.hidden(X[block])
        found = index.search(queries, wanted, net.n_threads)
        _rank(*_scored(net, queries, found, None if wide is None else X[block] @ wide), ids[block], scores[block])
    return ids, scores


def _library() -> Any:
    try:
        import hnswlib
    except ImportError as e:
        raise ImportError("index='hnsw' needs hnswlib: pip install 'slide-xmc[hnsw]'") from e
    return hnswlib


def _check_memory(net: Model, M: int) -> None:
    """The graph holds a copy of the weights and, at the lowest level, 2 M neighbours of each label."""
    n, fan_in = net.n_labels, net.states[-1].fan_in
    needed, free = 2 * n * (fan_in + 1) * 4 + n * (2 * M + 4) * 4, memory.available_memory()
    if free is not None and needed > free:
        raise MemoryError(
            f"a graph over {n:,} labels needs {needed:,} bytes, available are {free:,}: score exactly, or by the tables"
        )


def _with_one(queries: FloatArray) -> FloatArray:
    return np.concatenate([queries, np.ones((len(queries), 1), np.float32)], axis=1)


def _fill(graph: Any, vectors: FloatArray, found: IntArray, n_threads: int) -> None:
    """Searches for all rows at once; where the graph reaches too few labels for one of them, row by row and for fewer.

    hnswlib refuses a whole batch then (RuntimeError). Under inner products some labels are nobody's neighbour, so it
    happens when nearly all labels are asked for, or when many of them are equal.
    """
    n, wanted = found.shape
    try:
        found[:] = graph.knn_query(vectors, wanted, num_threads=n_threads)[0]
    except RuntimeError:
        fewer = wanted - max(1, wanted // 8)
        if n > 1:
            for i in range(n):
                _fill(graph, vectors[i : i + 1], found[i : i + 1], 1)
        elif fewer:
            _fill(graph, vectors, found[:, :fewer], 1)


def _scored(
    net: Model, queries: FloatArray, found: IntArray, wide: sp.csr_array | None
) -> tuple[Keys, Keys, FloatArray]:
    """Row, label and exact score of every candidate; a label counts once a row."""
    last, n = net.states[-1], net.n_labels
    rows = np.arange(len(found), dtype=np.int64)[:, None]
    keys = np.unique((rows * n + found)[found >= 0])
    wide_keys = np.empty(0, np.int64)
    if wide is not None:
        assert net.wide_state is not None
        wide.sort_indices()
        wide_keys = np.repeat(rows[:, 0], np.diff(wide.indptr)) * n + wide.indices
        keys = np.union1d(keys, wide_keys[wide.data + net.wide_state.bias[wide.indices] > 0])
    row, label = np.divmod(keys, n)
    scores = np.einsum("nd,nd->n", queries[row], last.weights_of(label)) + last.biases[label]
    if wide is not None and net.wide_state is not None:
        scores = net.wide_state.deep_share * scores + net.wide_state.bias[label]
        at = np.minimum(np.searchsorted(wide_keys, keys), max(len(wide_keys) - 1, 0))
        if len(wide_keys):
            scores += np.where(wide_keys[at] == keys, wide.data[at], 0)
    return row, label, scores.astype(np.float32)


def _rank(row: Keys, label: Keys, scores: FloatArray, ids: IntArray, best: FloatArray) -> None:
    """Writes the highest-scoring labels of each row, best first; ties go to the lower label."""
    order = np.lexsort((label, -scores, row))
    row, label, scores = row[order], label[order], scores[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    kept = place < ids.shape[1]
    ids[row[kept], place[kept]] = label[kept]
    best[row[kept], place[kept]] = scores[kept]
