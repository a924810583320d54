"""Few more rows for a trained network: what of its tables and leaves follows at once, and what waits until it is due.

Making tables anew takes as long for one row as for a thousand, and hash functions that were learned from thousands of
queries have nothing to learn from one. So after a short fit the lists of the cells and leaves that its rows fall into
take the rows' labels in, and tables are filled from the weights, by the hash functions they have, once an eighth as
many samples as before have come.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from slide.engine.layout import DIRECTION_BLOCK, IntArray
from slide.engine.leaves import Leaves
from slide.engine.protocol import Examples
from slide.model.model import Model
from slide.model.sorted_lists import inserted

FEW_QUERIES = 32  # a fit is short whose rows are fewer than one in so many of the queries that hash functions want
FEWEST_QUERIES = 256 * FEW_QUERIES  # of hash functions that learn from none
SHARE, LEAST = 8, 256  # tables are due after a share of the samples before, but not before so many


def is_short(net: Model, n_rows: int) -> bool:
    """Whether so many rows are too few to learn from what a trained network knows of its queries."""
    trained = net.step > 0 and net.n_rebuilds > 0
    return trained and FEW_QUERIES * n_rows < max(net.n_queries(final=True), FEWEST_QUERIES)


def are_due(net: Model, interval: int) -> bool:
    """Whether tables should be made anew; interval : samples between rebuilds early in a training."""
    return net.step - net.followed_at >= min(max(net.followed_at // SHARE, LEAST), interval)


def take_in(net: Model, X: Examples, Y: Examples) -> None:
    """The lists of the query cells, and of the leaves, that rows fall into get the rows' labels."""
    last = len(net.states) - 1
    lsh, leaves = net.states[last].lsh, net.leaves
    if lsh is None or lsh.kind != "query_cells" or not len(Y.indices):
        return
    queries = net.engine.hidden(X, last)
    vectors = np.concatenate([queries, np.ones((len(queries), 1), np.float32)], axis=1)
    cells = net.engine.hash_codes(last, vectors)[:, 0].astype(np.int32)
    codes = None if leaves is None else net.engine.leaf_codes(leaves, queries, cells)

    def change() -> None:
        for row, cell in enumerate(cells.tolist()):
            labels = Y.indices[Y.indptr[row] : Y.indptr[row + 1]]
            lsh.label_cells[labels] = cell
            into_list(lsh.buckets[0, cell], labels, lsh.capacity)

    with net.lock:  # a save beside it would find arrays that change under its checksums
        net.engine.change_tables(change)
        if leaves is not None and codes is not None:
            for code, (first, end) in zip(codes.tolist(), pairwise(Y.indptr), strict=True):
                leaves = into_leaf(leaves, code, Y.indices[first:end])
            net.leaves = leaves


def into_leaf(leaves: Leaves, code: int, labels: IntArray) -> Leaves:
    """With labels in a leaf's list: in the same arrays, or in others where they are new to the leaf's block."""
    block = code // DIRECTION_BLOCK
    first, end = leaves.first_label[block : block + 2]
    own = leaves.labels[first:end]
    new = labels[np.isin(labels, own, invert=True)]
    if len(own) + len(new) > np.iinfo(np.uint16).max:
        return leaves
    if len(new) or not leaves.places.flags.writeable:  # whoever reads goes on with the arrays as they were
        first_label = leaves.first_label.copy()
        first_label[block + 1 :] += len(new)
        held = inserted(leaves.labels, np.full(len(new), end), new)
        leaves = replace(leaves, places=leaves.places.copy(), labels=held, first_label=first_label)
        own = np.concatenate([own, new])
    order = np.argsort(own, kind="stable")
    places = order[np.searchsorted(own, labels, sorter=order)].astype(np.uint16)
    into_list(leaves.places[code], places, leaves.capacity)
    return leaves


def into_list(held: Any, labels: Any, capacity: int) -> None:
    """Labels that a list lacks come first, in the place of its last ones; held : its length, then labels."""
    listed = held[1 : 1 + held[0]]
    new = labels[np.isin(labels, listed, invert=True)]
    if len(new):
        ids = np.concatenate([new, listed])[:capacity]
        held[1 : 1 + len(ids)] = ids  # before the length: others may read
        held[0] = len(ids)
