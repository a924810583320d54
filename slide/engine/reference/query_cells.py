"""Query cells: the nearest centre of a query, and the neurons that score highest there. As csrc/lsh/query_cells.c.

Centres and neurons are rounded to 12 significant bits, so that products are exact and sums, taken in the order of the
coordinates, have equal bits everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.layout import BIAS, DIRECTION_BLOCK, KINDS, ROW_SCALARS
from slide.engine.reference.jit import kernel, loop

QUERY_CELLS = KINDS["query_cells"]
_HALF, _MASK = np.uint32(0x800), np.uint32(0xFFFFF000)


@kernel
def round_to_12_bits(x: Any, out: Any) -> None:
    """out = x with 12 significant bits."""
    bits, rounded = x.view(np.uint32), out.view(np.uint32)
    for d in range(len(x)):
        rounded[d] = (bits[d] + _HALF) & _MASK


@kernel
def score_cells(directions: Any, x: Any, dim: Any, scores: Any) -> None:
    """scores[c] = the first dim coordinates of centre c . x."""
    scores[:] = 0
    for block in range(directions.shape[0]):
        sums = scores[block * DIRECTION_BLOCK : (block + 1) * DIRECTION_BLOCK]
        for d in range(dim):
            for c in range(DIRECTION_BLOCK):
                sums[c] += x[d] * directions[block, d, c]


@kernel
def nearest_cell(lsh: Any, x: Any, s: Any) -> None:
    """s.codes of the vector {query, 1}; the scores of all cells stay in s.projection."""
    rounded = np.empty(lsh.dim, np.float32)
    scores = s.projection[: lsh.directions.shape[0] * DIRECTION_BLOCK]
    round_to_12_bits(x[: lsh.dim].copy(), rounded)
    score_cells(lsh.directions, rounded, lsh.dim, scores)
    s.codes[0] = np.argmax(scores)


@kernel
def neuron_scores(layer: Any, directions: Any, ids: Any) -> Any:
    """[len(ids), cells] inner products, bias included."""
    scores = np.empty((len(ids), directions.shape[0] * DIRECTION_BLOCK), np.float32)
    x = np.empty(layer.fan_in, np.float32)
    for i in range(len(ids)):
        row = layer.rows[ids[i]]
        round_to_12_bits(row[: layer.fan_in].copy(), x)
        score_cells(directions, x, layer.fan_in, scores[i])
        scores[i] += row[layer.rows.shape[1] - ROW_SCALARS + BIAS]
    return scores


@kernel
def best_of(scores: Any, wanted: Any) -> Any:
    """Places of the largest scores, largest first, of equals the first; what is not a number is left out."""
    order = np.argsort(-scores, kind="mergesort")
    n = 0
    for place in order[:wanted]:
        n += not math.isnan(scores[place])
    return order[:n]


@kernel
def candidates(layer: Any, block: Any) -> Any:
    """The neurons that a refresh of a block looks at: those on its lists, and those that were last a label there."""
    lsh = layer.lsh
    marked = np.zeros(layer.n, np.bool_)
    for i in range(layer.n):
        marked[i] = lsh.label_cells[i] >= 0 and lsh.label_cells[i] // DIRECTION_BLOCK == block
    for c in range(DIRECTION_BLOCK):
        bucket = lsh.buckets[0, block * DIRECTION_BLOCK + c]
        for i in range(1, bucket[0] + 1):
            marked[bucket[i]] = True
    return np.flatnonzero(marked)


@kernel
def settle_labels(lsh: Any, labels: Any, cell: Any) -> None:
    """The cell of a query becomes the home of its labels."""
    if len(lsh.label_cells):
        for label in labels:
            lsh.label_cells[label] = cell


@loop
def fill_cells(layer: Any, thread: Any, n_threads: Any, refresh: Any) -> None:
    """Fills the lists of this thread's blocks of cells, from all neurons or from those that can have risen."""
    lsh = layer.lsh
    n_blocks, wanted = lsh.directions.shape[0], min(lsh.capacity, layer.n)
    for block in range(thread, n_blocks, n_threads):
        offered = candidates(layer, block) if refresh else np.arange(layer.n)
        scores = neuron_scores(layer, lsh.directions[block : block + 1], offered)
        for c in range(DIRECTION_BLOCK):
            best = offered[best_of(scores[:, c].copy(), wanted)]
            bucket = lsh.buckets[0, block * DIRECTION_BLOCK + c]
            bucket[0] = len(best)
            bucket[1 : 1 + len(best)] = best
