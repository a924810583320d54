"""Leaves: the nearest ones of a query, and shortlists from their lists. As csrc/lsh/leaves.c and csrc/net/shortlist.c.

The order in which rows are visited is left out: it changes no result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.layout import DIRECTION_BLOCK
from slide.engine.reference.infer import forward_dense
from slide.engine.reference.jit import kernel, loop
from slide.engine.reference.layer import logit
from slide.engine.reference.query_cells import best_of, neuron_scores, round_to_12_bits, score_cells


@kernel
def round_query(x: Any, dim: Any) -> Any:
    """{query, 1} of 12 significant bits."""
    vector = np.ones(dim, np.float32)
    round_to_12_bits(x[: dim - 1].copy(), vector[: dim - 1])
    return vector


@kernel
def leaves_of(centres: Any, blocks: Any, cells: Any, rounded: Any, wanted: Any, out: Any) -> None:
    """out = the `wanted` nearest leaves of these cells, of equals the first met; -1 where there are fewer."""
    n_blocks = 0
    for cell in cells:
        n_blocks += blocks[cell, 1] - blocks[cell, 0]
    ids = np.empty(n_blocks * DIRECTION_BLOCK, np.int32)
    scores = np.empty(n_blocks * DIRECTION_BLOCK, np.float32)
    n = 0
    for i in range(len(cells)):
        first, last = blocks[cells[i], 0], blocks[cells[i], 1]
        seen = False
        for j in range(i):
            seen |= blocks[cells[j], 0] == first
        if seen:
            continue
        size = (last - first) * DIRECTION_BLOCK
        score_cells(centres[first:last], rounded, len(rounded), scores[n : n + size])
        ids[n : n + size] = np.arange(first * DIRECTION_BLOCK, last * DIRECTION_BLOCK)
        n += size
    order = np.argsort(-scores[:n], kind="mergesort")[:wanted]
    out[:] = -1
    out[: len(order)] = ids[order]


@loop
def leaf_codes(centres: Any, blocks: Any, vectors: Any, cells: Any, thread: Any, n_threads: Any, out: Any) -> None:
    """out[i] = the nearest leaf of this thread's vectors, of the leaves of its cell."""
    for i in range(thread, len(vectors), n_threads):
        rounded = round_query(vectors[i], centres.shape[1])
        leaves_of(centres, blocks, cells[i : i + 1], rounded, 1, out[i : i + 1])


@loop
def fill_leaves(layer: Any, centres: Any, lists: Any, indptr: Any, ids: Any, thread: Any, n_threads: Any) -> None:
    """Fills the lists of this thread's blocks from the neurons that each is offered."""
    wanted = min(lists.shape[1] - 1, layer.n)
    for block in range(thread, len(centres), n_threads):
        offered = ids[indptr[block] : indptr[block + 1]]
        scores = neuron_scores(layer, centres[block : block + 1], offered)
        for c in range(DIRECTION_BLOCK):
            best = offered[best_of(scores[:, c].copy(), wanted)]
            leaf = lists[block * DIRECTION_BLOCK + c]
            leaf[0] = len(best)
            leaf[1 : 1 + len(best)] = best


@kernel
def take(places: Any, labels: Any, first_label: Any, leaves: Any, is_in: Any, wanted: Any, ids: Any) -> Any:
    """Candidates from these leaves' lists in turn, best first. Returns how many."""
    n = 0
    for rank in range(1, places.shape[1]):
        for leaf in leaves:
            if n == wanted or leaf < 0 or rank > places[leaf, 0]:
                continue
            label = labels[first_label[leaf // DIRECTION_BLOCK] + places[leaf, rank]]
            if not is_in[label]:
                ids[n] = label
                is_in[label] = True
                n += 1
    for i in range(n):
        is_in[ids[i]] = False
    return n


@loop
def shortlist_samples(
    net: Any,
    s: Any,
    X: Any,
    cells: Any,
    centres: Any,
    blocks: Any,
    places: Any,
    labels: Any,
    first_label: Any,
    n_cells: Any,
    n_leaves: Any,
    n_candidates: Any,
    thread: Any,
    n_threads: Any,
    ids: Any,
    logits: Any,
) -> None:
    """The best labels of this thread's rows, of n_candidates from the lists of their nearest leaves."""
    layer = net.layers[net.n_layers - 1]
    dim, scores = centres.shape[1], np.empty(len(blocks), np.float32)
    near, candidates, is_in = (
        np.empty(n_leaves, np.int32),
        np.empty(n_candidates, np.int32),
        np.zeros(layer.n, np.bool_),
    )
    for row in range(thread, len(X.indptr) - 1, n_threads):
        x, _ = forward_dense(net, s, X, row, net.n_layers - 1)
        rounded = round_query(x.val, dim)
        score_cells(cells, rounded, dim, scores)
        nearest = np.argsort(-scores, kind="mergesort")[:n_cells].astype(np.int32)
        leaves_of(centres, blocks, nearest, rounded, n_leaves, near)
        n = take(places, labels, first_label, near, is_in, n_candidates, candidates)
        some = np.sort(candidates[:n])
        found = np.empty(n, np.float32)
        for i in range(n):
            found[i] = logit(layer, some[i], x)
        best = np.argsort(-found, kind="mergesort")[: ids.shape[1]]
        ids[row], logits[row] = -1, -math.inf
        ids[row, : len(best)], logits[row, : len(best)] = some[best], found[best]
