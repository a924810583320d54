"""Learns leaves: centres by k-means within the cells, lists from what those hold and from labels of training rows.

What leaves are is in slide/engine/leaves.py. Training goes on with the cells' own lists, so leaves are made once, after
the last rebuild.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine import memory
from slide.engine.layout import DIRECTION_BLOCK, LANES, FloatArray, IntArray
from slide.engine.leaves import Leaves
from slide.engine.memory import allocate_plain
from slide.engine.protocol import Engine, Examples
from slide.engine.state import LayerState
from slide.lsh.query_cells import round_to_12_bits

ROWS_A_LEAF = 8  # training rows: fewer say little of what a leaf wants, more leave the leaf too wide
MOST_ROWS = 2**19  # that leaves are learned from
STEPS = 3  # of k-means
CAPACITY = 383  # labels of a list: with its length whole cache lines
FROM_LABELS = 4096  # fewer are scored as fast without leaves
MEMORY = 2**28  # bytes that lists may take
KEPT_BACK = 1024  # rows that leaves are not learned from: they say how many candidates are enough
CANDIDATES = (300, 500, 700, 1000, 1500, 2000)
NEARLY = 0.003
PREFIX = "leaves."  # of the arrays' names in a file


def stored_leaves(last: LayerState, arrays: Mapping[str, npt.NDArray[Any]]) -> Leaves | None:
    """Those over the last layer that are among a snapshot's arrays."""
    own = {name.removeprefix(PREFIX): a for name, a in arrays.items() if name.startswith(PREFIX)}
    return Leaves.from_arrays(own, last.fan_in + 1, last.n) if own else None


def learn_leaves(
    engine: Engine, index: int, state: LayerState, X: Examples, Y: Examples, rng: np.random.Generator
) -> Leaves | None:
    """Leaves of the last layer, `state`, from training rows and their labels; None where they do not pay or fit.

    None for fewer than 4,096 labels, other tables than query cells, cells that are not learned yet, too few rows, or
    where a quarter of the free memory would not hold them.
    """
    if state.n < FROM_LABELS or state.lsh is None or state.lsh.kind != "query_cells" or state.is_compressed:
        return None
    n_rows = min(len(X.indptr) - 1, MOST_ROWS)
    n_blocks, capacity = _sizes(n_rows, state)
    if not n_blocks or not state.lsh.directions.any():
        return None
    order = rng.permutation(len(X.indptr) - 1)[:n_rows]
    kept_back, rows = (np.sort(part) for part in np.split(order, [min(KEPT_BACK, n_rows // 20)]))
    queries = engine.hidden(X.take(rows), index)
    if not np.isfinite(queries).all():
        return None
    leaves = _learn(engine, index, state, queries, _labels_of(Y, rows), n_blocks, capacity, rng)
    return replace(leaves, n_candidates=_enough(engine, leaves, X.take(kept_back), _labels_of(Y, kept_back), state.n))


def _enough(engine: Engine, leaves: Leaves, X: Examples, Y: Examples, n_labels: int) -> int:
    """The fewest candidates whose best 100 hold nearly as many true labels of these rows as those of the most do."""
    most = min(leaves.most_candidates, n_labels)
    sizes = sorted({min(size, most) for size in CANDIDATES})
    held = [true_recall(engine.shortlist(leaves, X, min(100, size), size)[0], Y) for size in sizes]
    return next(size for size, recall in zip(sizes, held, strict=True) if recall >= held[-1] - NEARLY)


def true_recall(ids: IntArray, Y: Examples) -> float:
    """Share of the rows' labels that are among their ids [rows, n]; 1 where there are none."""
    of_row = np.repeat(np.arange(len(ids)), np.diff(Y.indptr))
    held = [(ids[of_row[at]] == Y.indices[at, None]).any(axis=1) for at in _parts(len(of_row))]
    return float(np.concatenate(held).mean()) if held else 1.0


def _parts(n: int, size: int = 4096) -> list[slice]:
    return [slice(first, first + size) for first in range(0, n, size)]


def _sizes(n_rows: int, state: LayerState) -> tuple[int, int]:
    """Blocks of 64 leaves and the labels of a list: as many leaves as rows ask for, within memory. (0, 0): none."""
    wanted = n_rows // (ROWS_A_LEAF * DIRECTION_BLOCK)
    capacity = min(CAPACITY, -(-state.n // LANES) * LANES - 1)
    free = memory.available_memory()
    most = MEMORY if free is None else min(MEMORY, free // 4 - 4 * n_rows * (2 * state.fan_in))
    a_block = 4 * DIRECTION_BLOCK * (capacity + 1 + state.fan_in + 1)
    n_blocks = min(wanted, most // a_block)
    return (n_blocks, capacity) if n_blocks > 0 else (0, 0)


def _learn(
    engine: Engine,
    index: int,
    state: LayerState,
    queries: FloatArray,
    Y: Examples,
    n_blocks: int,
    capacity: int,
    rng: np.random.Generator,
) -> Leaves:
    lsh = state.lsh
    assert lsh is not None
    vectors = np.ones((len(queries), lsh.dim), np.float32)
    vectors[:, :-1] = queries
    cell = engine.hash_codes(index, vectors)[:, 0].astype(np.int32)
    del vectors
    pack_of_cell, first_block = _packs(np.bincount(cell, minlength=2**lsh.K), n_blocks)
    pack = pack_of_cell[cell]
    centres = _first_centres(queries, pack, np.diff(first_block) * DIRECTION_BLOCK, rng)
    blocks = np.stack([first_block[pack_of_cell], first_block[pack_of_cell + 1]], axis=1).astype(np.int32)
    cells = allocate_plain(lsh.directions.shape, np.float32)
    cells[:] = lsh.directions
    leaves = Leaves.empty(cells, as_directions(centres), blocks, capacity)
    for _ in range(STEPS):
        codes = engine.leaf_codes(leaves, queries, cell)
        centres = _means(queries, codes, centres)
        leaves = replace(leaves, centres=as_directions(centres))
    offered = _offered(lsh.buckets[0], pack_of_cell, pack, Y, state.n)
    of_block = np.repeat(np.arange(len(first_block) - 1), np.diff(first_block))
    sizes = np.array([len(offered[p]) for p in of_block])
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return leaves.with_lists(engine.fill_leaves(leaves, indptr, np.concatenate([offered[p] for p in of_block])))


def refilled(engine: Engine, leaves: Leaves) -> Leaves:
    """With lists from the present rows of the labels that each block of 64 leaves holds."""
    parts = [np.sort(leaves.labels[a:b]) for a, b in pairwise(leaves.first_label)]
    return leaves.with_lists(engine.fill_leaves(leaves, leaves.first_label, np.concatenate(parts)))


def _packs(rows: npt.NDArray[np.int64], n_blocks: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pack of each cell, and the first block of each pack: neighbours until they have the rows of a block between them.

    A cell of more rows than that has several blocks.
    """
    a_block = max(1.0, rows.sum() / n_blocks)
    pack_of_cell, n_of = np.zeros(len(rows), np.int64), [0]
    held = 0.0
    for cell, n in enumerate(rows):
        if held and held + n > 1.5 * a_block:
            n_of.append(0)
            held = 0.0
        held += float(n)
        pack_of_cell[cell], n_of[-1] = len(n_of) - 1, max(1, round(held / a_block))
    return pack_of_cell, np.concatenate([[0], np.cumsum(n_of)])


def _first_centres(
    queries: FloatArray, pack: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64], rng: np.random.Generator
) -> FloatArray:
    """Random queries of each pack, some twice where it has few; of a pack without queries, of all."""
    order = rng.permutation(len(queries))
    order = order[np.argsort(pack[order], kind="stable")]
    first = np.concatenate([[0], np.cumsum(np.bincount(pack, minlength=len(wanted)))])
    chosen = [
        order[first[p] + np.arange(n) % (first[p + 1] - first[p])]
        if first[p + 1] > first[p]
        else rng.integers(0, len(queries), n)
        for p, n in enumerate(wanted)
    ]
    return queries[np.concatenate(chosen)]


def _means(queries: FloatArray, codes: IntArray, centres: FloatArray) -> FloatArray:
    """Mean query of each leaf; a leaf without queries stays."""
    n = np.bincount(codes, minlength=len(centres))
    order = np.argsort(codes, kind="stable")
    parts = np.ones(len(codes), np.float32), order, np.concatenate([[0], np.cumsum(n)])
    members = sp.csr_array(parts, shape=(len(centres), len(queries)))
    full = np.flatnonzero(n)
    means = centres.copy()
    means[full] = (members @ queries)[full] / n[full, None]
    return means


def as_directions(centres: FloatArray) -> FloatArray:
    """[n / 64, H + 1, 64]: centres [n, H] and minus half their squared lengths, of 12 significant bits."""
    rounded = round_to_12_bits(centres)
    halves = (-0.5 * np.square(rounded, dtype=np.float64).sum(axis=1)).astype(np.float32)
    columns = np.concatenate([rounded, round_to_12_bits(halves)[:, None]], axis=1)
    out = allocate_plain((len(centres) // DIRECTION_BLOCK, columns.shape[1], DIRECTION_BLOCK), np.float32)
    out[:] = columns.reshape(-1, DIRECTION_BLOCK, columns.shape[1]).transpose(0, 2, 1)
    return out


def _offered(
    buckets: IntArray, pack_of_cell: npt.NDArray[np.int64], pack: npt.NDArray[np.int64], Y: Examples, n: int
) -> list[IntArray]:
    """Labels that the lists of each pack's cells hold and those that its training rows have, ascending."""
    n_packs = int(pack_of_cell[-1]) + 1
    of_entry = np.repeat(pack, np.diff(Y.indptr))
    order = np.argsort(of_entry, kind="stable")
    labels, first = Y.indices[order], np.searchsorted(of_entry[order], np.arange(n_packs + 1))
    cells = np.searchsorted(pack_of_cell, np.arange(n_packs + 1))
    is_in = np.zeros(n, np.bool_)
    offered = []
    for p in range(n_packs):
        parts = [labels[first[p] : first[p + 1]]]
        parts += [buckets[c, 1 : 1 + buckets[c, 0]] for c in range(cells[p], cells[p + 1])]
        some = np.concatenate(parts)
        is_in[some] = True
        offered.append(np.flatnonzero(is_in).astype(np.int32))
        is_in[some] = False
    return offered


def _labels_of(Y: Examples, rows: npt.NDArray[np.int64]) -> Examples:
    """Y.take for an indicator whose data may not be kept."""
    return Examples(Y.indptr, Y.indices, np.ones(len(Y.indices), np.float32)).take(rows)
