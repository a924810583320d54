"""Read-only prediction: exact over all neurons, or over those the tables return. Mirrors csrc/net/infer.c.

Exact: a block of samples meets each row at once, one sample a lane, and a running top-k keeps the score matrix from
ever existing. Sums run in the order of the coordinates, so rows that are equal have equal scores.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.layout import BIAS, ROW_SCALARS
from slide.engine.reference import wide
from slide.engine.reference.active import hash_query, top
from slide.engine.reference.jit import kernel, loop
from slide.engine.reference.layer import input_forward, layer_forward, load_features, logit
from slide.engine.reference.network import output

QUERIES_AT_ONCE = 32
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)


@kernel
def beats(score: Any, neuron: Any, other: Any, other_neuron: Any) -> Any:
    """Higher scores first, then lower ids; an empty place (-1) loses."""
    return score > other or (score == other and (other_neuron < 0 or neuron < other_neuron))


@kernel
def offer(ids: Any, scores: Any, neuron: Any, score: Any) -> None:
    """Inserts into the best k so far, best first."""
    i = len(ids)
    while i > 0 and beats(score, neuron, scores[i - 1], ids[i - 1]):
        i -= 1
        if i + 1 < len(ids):
            ids[i + 1], scores[i + 1] = ids[i], scores[i]
    if i < len(ids):
        ids[i], scores[i] = neuron, score


@kernel
def forward_dense(net: Any, s: Any, X: Any, row: Any, upto: Any) -> Any:
    """The vector that enters layer `upto`: below it every neuron takes part."""
    n = load_features(net.seed, s, X, row, 0, ZERO)
    if net.n_layers == 0:
        return output(s, 0), n
    input_forward(net.layers[0], s, n)
    for i in range(1, upto):
        layer_forward(net.layers[i], output(s, i - 1), output(s, i))
    return output(s, upto - 1), n


@kernel
def add_deep(layer: Any, neuron: Any, queries: Any, share: Any, sums: Any, scores: Any) -> None:
    """scores[q] += share (row . query[q] + bias)"""
    row = layer.rows[neuron]
    bias = row[layer.rows.shape[1] - ROW_SCALARS + BIAS]
    sums[:] = 0
    for d in range(layer.width):
        for q in range(QUERIES_AT_ONCE):
            sums[q] += row[d] * queries[d, q]
    for q in range(QUERIES_AT_ONCE):
        scores[q] += share * (sums[q] + bias)


@kernel
def add_wide(w: Any, X: Any, row: Any, scores: Any) -> None:
    """scores[label] += the sparse part's score."""
    scores += w.bias
    for i in range(X.indptr[row], X.indptr[row + 1]):
        for p in range(w.indptr[X.indices[i]], w.indptr[X.indices[i] + 1]):
            scores[w.labels[p]] += X.data[i] * w.weights[p]


@kernel
def predict_exact(net: Any, s: Any, X: Any, first: Any, last: Any, ids: Any, scores: Any) -> None:
    """The best k of samples [first, last)."""
    layer = net.layers[max(net.n_layers - 1, 0)]
    queries = np.zeros((layer.width, QUERIES_AT_ONCE), np.float32)
    sums = np.empty(QUERIES_AT_ONCE, np.float32)
    block = np.zeros((net.n_labels, QUERIES_AT_ONCE), np.float32)
    for row in range(first, last):
        if net.n_layers > 0:
            queries[:, row - first] = forward_dense(net, s, X, row, net.n_layers - 1)[0].val
    if net.n_layers > 0:
        for neuron in range(net.n_labels):
            add_deep(layer, neuron, queries, net.wide.deep_share, sums, block[neuron])
    for row in range(first, last):
        if net.has_wide:
            add_wide(net.wide, X, row, block[:, row - first])
        for neuron in range(net.n_labels):
            offer(ids[row], scores[row], neuron, block[neuron, row - first])


@kernel
def predict_sampled(net: Any, s: Any, X: Any, row: Any, n_candidates: Any, ids: Any, scores: Any) -> None:
    """The best k among what the tables return and what the sparse part puts on the positive side."""
    layer = net.layers[net.n_layers - 1]
    x, n_features = forward_dense(net, s, X, row, net.n_layers - 1)
    hash_query(layer, s, x)
    candidates = np.empty(n_candidates, np.int32)
    n = top(layer, s, n_candidates, candidates)
    if net.has_wide:
        wide.accumulate(net.wide, s.features[:n_features], s.feature_values[:n_features], s)
    for neuron in candidates[:n]:
        score = logit(layer, neuron, x)
        if net.has_wide:
            score = net.wide.deep_share * score + s.wide_score[neuron] + net.wide.bias[neuron]
            wide.keep_out(s, neuron)
        offer(ids, scores, neuron, score)
    if net.has_wide:
        for i in range(wide.sweep(net.wide, s, 0)):
            neuron = s.wide_ids[i]
            score = s.wide_gradient[i] / TWO - ONE + net.wide.deep_share * logit(layer, neuron, x)
            offer(ids, scores, neuron, score)


@loop
def predict_samples(
    net: Any, s: Any, X: Any, thread: Any, n_threads: Any, n_candidates: Any, ids: Any, scores: Any
) -> None:
    """Fills ids and scores of this thread's blocks of samples; n_candidates 0 is exact."""
    n = len(X.indptr) - 1
    for first in range(thread * QUERIES_AT_ONCE, n, n_threads * QUERIES_AT_ONCE):
        last = min(first + QUERIES_AT_ONCE, n)
        ids[first:last] = -1
        scores[first:last] = -math.inf
        if n_candidates == 0:
            predict_exact(net, s, X, first, last, ids, scores)
            continue
        for row in range(first, last):
            predict_sampled(net, s, X, row, n_candidates, ids[row], scores[row])


@loop
def hidden_samples(net: Any, s: Any, X: Any, layer: Any, thread: Any, n_threads: Any, out: Any) -> None:
    """out[i]: what enters the layer, of this thread's samples."""
    for row in range(thread, len(X.indptr) - 1, n_threads):
        out[row] = forward_dense(net, s, X, row, layer)[0].val
