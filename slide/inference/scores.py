"""Scores of every label for every row, where that matrix is small enough to exist, and what they say as probabilities.

Everything else goes through predict_topk, which never makes the matrix. Sums are in float64 and row by row, so a row's
scores do not depend on the rows beside it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.model.model import Model
from slide.model.ranker import Ranker, log_sums

LIMIT = 2**30  # bytes of the largest matrix that is made
ROWS_AT_ONCE = 256
LABELS_AT_ONCE = 65_536
SAMPLE, MIN_K = 512, 16  # rows, and labels of each, that a threshold is found on
LOG_ODDS = 36.0  # beyond, 1 - p is 0 in float64

Floats = npt.NDArray[np.float64]


def check_size(n_rows: int, n_labels: int, method: str) -> None:
    """Refuses an output [n_rows, n_labels] of float64 over the limit."""
    n_bytes = 8 * n_rows * n_labels
    if n_bytes > LIMIT:
        raise ValueError(
            f"{method}: found {n_rows:,} rows x {n_labels:,} labels, {n_bytes / 2**30:,.1f} GiB, wanted at most "
            f"{LIMIT / 2**30:g} GiB: take predict_topk, which returns the best labels only, or fewer rows at once"
        )


def all_scores(net: Model, X: sp.csr_array) -> Floats:
    """float64 [n, n_labels]: the scores by which predict_topk ranks."""
    last, wide = net.states[-1], net.wide_state
    scores = np.empty((X.shape[0], last.n))
    hidden, biases = net.hidden(X).astype(np.float64), last.biases
    for first in range(0, last.n, LABELS_AT_ONCE):
        some = slice(first, first + LABELS_AT_ONCE)
        scores[:, some] = hidden @ last.weights_of(some).T.astype(np.float64) + biases[some]
    if net.ranker is not None:
        return _ranked(net.ranker, X, scores)
    if wide is not None:
        scores *= wide.deep_share
        scores += wide.bias
        _add_wide(scores, X, wide.matrix())
    return scores


def _ranked(ranker: Ranker, X: sp.csr_array, logits: Floats) -> Floats:
    """Log odds; labels that are not of a row's shortlist come behind those that are."""
    weights = ranker.rows.matrix().T.tocsr()
    for first in range(0, X.shape[0], ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        some = logits[rows]
        z = (X[rows] @ weights).toarray().astype(np.float64) + ranker.rows.bias
        n = min(ranker.n, some.shape[1])
        short = np.argpartition(-some, n - 1, axis=1)[:, :n]
        found = ranker.log_odds(z, some, log_sums(np.take_along_axis(some, short, 1)))
        ranked = np.take_along_axis(found, short, 1)
        logits[rows] = np.minimum(found, ranked.min(axis=1, keepdims=True))
        np.put_along_axis(logits[rows], short, ranked, 1)
    return logits


def _add_wide(scores: Floats, X: sp.csr_array, pairs: sp.csr_array) -> None:
    for first in range(0, X.shape[0], ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        found = sp.coo_array(X[rows] @ pairs)
        scores[rows][found.row, found.col] += found.data


#: Steepness of probabilities where the linear part takes part, whose scores live around a margin of 1. On held-out rows
#: of six sets, of 2 to 19,862 labels, values of 2 to 8 had the least log loss; 5 is the middle (docs/estimator.md).
STEEPNESS = 5.0


def steepness(net: Model) -> float:
    """Factor between scores and log odds: a network alone gives log odds as they are."""
    return STEEPNESS if net.wide_state is not None else 1.0


def label_probabilities(decisions: Floats, slope: float) -> Floats:
    """Each label by itself, over 0 and under 1: probability 1/2 where the decision is 0."""
    return np.asarray(1 / (1 + np.exp(-np.clip(slope * decisions, -LOG_ODDS, LOG_ODDS))))


def softmax(scores: Floats, slope: float) -> Floats:
    """One label a row: rows add up to 1."""
    shifted = np.exp(slope * (scores - scores.max(axis=1, keepdims=True)))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def threshold(net: Model, rows: sp.csr_array, Y: sp.csr_array) -> float:
    """The score over which a label is predicted: 0, the middle of the linear part's margin and of a binary loss.

    A softmax alone says nothing of single labels: there it is the score that gives a sample of the training rows as
    many labels as they have.
    """
    if net.wide_state is not None or net.ranker is not None or net.loss == "binary":
        return 0.0
    some = np.linspace(0, rows.shape[0] - 1, min(rows.shape[0], SAMPLE)).astype(np.int64)
    n_labels = int(np.diff(Y.indptr)[some].sum())
    most = -(-n_labels // len(some))
    k = int(min(net.n_labels, max(4 * most, MIN_K)))
    scores = net.predict_topk(rows[some], k)[1].reshape(-1)
    if n_labels >= len(scores):
        return float(scores.min())
    return float(np.partition(scores, -n_labels)[-n_labels] if n_labels else scores.max())
