"""The binding's functions for sparse rows (slide/engine/_c_linear.pxi), with the same names and arguments, in Numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples
from slide.engine.reference import linear

_NO_ROWS = linear.Rows(
    np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.float32), 0
)


def linear_negatives(shortlists: IntArray, Y: Examples, first_label: int, n_labels: int, n_threads: int) -> Any:
    """By label from first_label on: rows whose shortlist has it wrongly; indptr int64, rows int32."""
    return linear.negatives(np.ascontiguousarray(shortlists), Y.indptr, Y.indices, first_label, n_labels)


def linear_train(
    X: Examples,
    positives: Any,
    negatives: Any,
    options: Any,
    first_label: int = 0,
    row_weights: FloatArray | None = None,
    warm: Any = None,
) -> Any:
    """Sparse rows of some labels, on one thread: indptr, features, weights, bias, and 0 for the passes, not counted."""
    o = linear.Options(
        n_features=options.n_features,
        C=np.float32(options.C),
        positive_weight=np.float32(options.positive_weight),
        negative_weight=np.float32(options.negative_weight),
        eps=np.float32(options.eps),
        prune=np.float32(options.prune),
        max_passes=options.max_passes,
        shrinks=options.shrinks,
        seed=np.uint64(options.seed),
    )
    weights = np.empty(0, np.float32) if row_weights is None else np.asarray(row_weights, np.float32)
    start = _NO_ROWS if warm is None else _plain(warm)
    return *linear.solve(X, tuple(positives), tuple(negatives), o, first_label, weights, start), 0


def linear_scores(rows: Any, X: Examples, ids: IntArray, n_threads: int) -> FloatArray:
    """float32 [n, m]: w . x + bias of the labels ids [n, m] of each row; -infinity where an id is -1."""
    found: FloatArray = linear.scores(_plain(rows), X, ids)
    return found


def rank_shortlists(ranker: Any, X: Examples, ids: IntArray, logits: FloatArray) -> FloatArray:
    """float32 [n, m]: log odds of the labels ids [n, m] of each row, -infinity where an id is -1."""
    z = linear_scores(ranker.rows, X, ids, 1)
    numbers = (np.float32(v) for v in (ranker.first, ranker.step, ranker.logit_share, ranker.sum_share))
    found: FloatArray = linear.log_odds(ids, logits, z, ranker.curve, *numbers)
    return found


def best_ranked(ranker: Any, X: Examples, k: int, found: tuple[IntArray, FloatArray]) -> tuple[IntArray, FloatArray]:
    """The best k of shortlists, ids and logits, by log odds."""
    scores = rank_shortlists(ranker, X, *found)
    order = np.lexsort((found[0], -scores), axis=1)[:, :k]
    return np.take_along_axis(found[0], order, 1), np.take_along_axis(scores, order, 1)


def _plain(rows: Any) -> linear.Rows:
    return linear.Rows(rows.indptr, rows.features, rows.floats, rows.bias, rows.n_features)
