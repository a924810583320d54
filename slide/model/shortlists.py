"""Where predictions come from: every label, the tables' candidates, or those of the leaves; and in blocks of rows.

For rows that have been checked; Model has the methods that check them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from slide.checks import require, whole
from slide.engine.layout import FloatArray, IntArray
from slide.engine.leaves import Leaves
from slide.engine.protocol import Examples
from slide.model.engine_owner import EngineOwner
from slide.model.store.layer import StoredLayer

FIRST_ROWS = 512  # predicted by one call of the engine until its speed is known
BLOCK_SECONDS = 0.5
TABLES_CANDIDATES = 4000
EVERY_LABEL = 0  # as a number of candidates, in calls of the engine

Found = tuple[IntArray, FloatArray]


def at_most_all(k: Any, n_labels: int, argument: str = "k") -> int:
    """k as an int, or the number of labels where it is more; ValueError for what is no number of labels."""
    ok = isinstance(k, int | np.integer) and not isinstance(k, bool) and k >= 1
    if not ok:
        require(False, argument, k, f"an int, 1 to {n_labels:,}, the number of labels; more is taken for all")
    return min(int(k), n_labels)


def top_labels(model: EngineOwner, X: Examples, k: Any, n_candidates: Any = None) -> Found:
    """The k best labels of each row, k and n_candidates as somebody gave them: see slide.Network.predict_topk."""
    k = at_most_all(k, model.n_labels)
    if n_candidates is not None:
        has_tables, wanted = model.states[-1].lsh is not None, f"k to {model.n_labels:,}"
        require(has_tables, "n_candidates", n_candidates, "None: the last layer has no tables")
        require(k <= whole(n_candidates) <= model.n_labels, "n_candidates", n_candidates, wanted)
    return best_labels(model, X, k, n_candidates)


def best_labels(model: EngineOwner, X: Examples, k: int, n_candidates: int | None) -> Found:
    """The k best labels of each row; see slide.Network.predict_topk.

    What is ranked comes from leaves if n_candidates is None and there are some; a row for which their lists hold fewer
    than k labels is then ranked from all labels.
    """
    ranks, n = model.ranker is not None, n_candidates or EVERY_LABEL
    if model.ranker is not None and n_candidates is None:
        n = leaf_candidates(model, max(k, model.ranker.n))
    elif ranks and n == model.n_labels:
        n = EVERY_LABEL
    ids, scores = _best(model, X, k, n, ranks)
    if n_candidates is None and n != EVERY_LABEL and ids[:, -1].min(initial=0) < 0:
        short = np.flatnonzero(ids[:, -1] < 0)
        ids[short], scores[short] = _best(model, X.take(short), k, EVERY_LABEL, ranks)
    return ids, scores


def best_candidates(model: EngineOwner, X: Examples, n: int, n_candidates: int | None) -> Found:
    """The n best labels of each row by the network's own scores; see Model.shortlist."""
    has_tables = model.states[-1].lsh is not None
    if n_candidates is None:
        wanted = leaf_candidates(model, n) or min(max(2 * n, TABLES_CANDIDATES), model.n_labels)
        n_candidates = wanted if has_tables else model.n_labels
    least = n if has_tables else model.n_labels
    require(least <= n_candidates <= model.n_labels, "n_candidates", n_candidates, f"{least:,} to {model.n_labels:,}")
    return _best(model, X, n, EVERY_LABEL if n_candidates == model.n_labels else int(n_candidates), ranks=False)


def leaf_candidates(model: EngineOwner, n: int) -> int:
    """How many labels from leaves make a good shortlist of n; 0 where there are no leaves, or not for so many."""
    leaves = leaves_for(model, 2 * n)
    return 0 if leaves is None else min(max(2 * n, leaves.n_candidates), model.n_labels)


def leaves_for(model: EngineOwner, n_candidates: int) -> Leaves | None:
    """The leaves, where so many candidates can come from them."""
    leaves = model.leaves if model.wide_state is None else None  # a sparse part nominates labels: the tables' way
    return leaves if leaves is not None and 0 < n_candidates <= leaves.most_candidates else None


def _best(model: EngineOwner, X: Examples, k: int, n_candidates: int, ranks: bool) -> Found:
    leaves, engine = leaves_for(model, n_candidates), model.engine
    if n_candidates == EVERY_LABEL and isinstance(model.states[-1], StoredLayer):
        return engine.predict(X, k, n_candidates, ranks)  # one pass over the file for all rows
    if leaves is None:
        return in_blocks(X, k, model.n_threads, lambda rows: engine.predict(rows, k, n_candidates, ranks))
    return in_blocks(X, k, model.n_threads, lambda rows: engine.shortlist(leaves, rows, k, n_candidates, ranks))


def in_blocks(X: Examples, k: int, n_threads: int, predict: Callable[[Examples], Found]) -> Found:
    """Blocks of rows that take about half a second each, so that Ctrl-C is served in between."""
    n = X.n_rows
    if n <= FIRST_ROWS:
        return predict(X)
    ids, scores = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    first, size = 0, FIRST_ROWS
    while first < n:
        rows = slice(first, min(first + size, n))
        begin = time.perf_counter()
        ids[rows], scores[rows] = predict(X.part(rows.start, rows.stop))
        rate = (rows.stop - first) / max(time.perf_counter() - begin, 1e-6)
        first, size = rows.stop, int(np.clip(rate * BLOCK_SECONDS, 32 * n_threads, 4 * size))
    return ids, scores
