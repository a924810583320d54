"""Leaves: a finer partition of the queries below the query cells, whose lists shortlists are made from.

A two-level inverted file (a coarse quantiser over cells, as in Jegou et al., PAMI 2011), solved for the maximum inner
product. Here are its arrays; slide/model/leaves.py learns them, csrc/lsh/leaves.c and csrc/net/shortlist.c read
them, and slide/engine/reference/leaves.py is the twin of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine.layout import DIRECTION_BLOCK, FloatArray, IntArray
from slide.engine.memory import allocate_plain

CELLS, MOST_LEAVES = 3, 8  # csrc/lsh/leaves.h

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Leaves:
    """Arrays as csrc/lsh/leaves.h has them.

    Attributes
    ----------
    cells : float32 [n_cells / 64, H + 1, 64]
        Centres, and minus half their squared lengths, of 12 significant bits.
    centres : float32 [n_leaves / 64, H + 1, 64]
        The same of leaves.
    blocks : int32 [n_cells, 2]
        The first block of a cell's leaves and one past its last.
    lists : int32 [n_leaves, capacity + 1]
        Length, then labels, best first.
    n_candidates : int
        That a query scores by default: the fewest that hold nearly all true labels of rows kept back.
    """

    cells: FloatArray
    centres: FloatArray
    blocks: IntArray
    lists: IntArray
    n_candidates: int = 1000

    @property
    def capacity(self) -> int:
        """Labels a list holds."""
        return self.lists.shape[1] - 1

    @property
    def n_bytes(self) -> int:
        """Of all arrays."""
        return sum(a.nbytes for a in self.arrays.values())

    @property
    def most_candidates(self) -> int:
        """That a query can ask for; lists overlap, so a few less are found."""
        return MOST_LEAVES * self.capacity

    def leaves_for(self, n_candidates: int) -> int:
        """Leaves whose lists are read in turn for so many: those that hold them, and one for what they share."""
        return min(MOST_LEAVES, -(-n_candidates // self.capacity) + 1)

    @property
    def arrays(self) -> dict[str, Array]:
        """What a file holds, by name."""
        named = {"cells": self.cells, "centres": self.centres, "blocks": self.blocks, "lists": self.lists}
        return named | {"n_candidates": np.array([self.n_candidates], np.int32)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], dim: int, n_labels: int) -> Leaves:
        """Of a file; raises ValueError where the C core could not trust them."""
        names = "cells", "centres", "blocks", "lists"
        cells, centres, blocks, lists = (arrays[name] for name in names)  # KeyError: none is left out
        for name, a, n_dim in (("cells", cells, 3), ("centres", centres, 3)):
            ok = a.ndim == n_dim and a.dtype == np.float32 and a.shape[1:] == (dim, DIRECTION_BLOCK) and len(a) > 0
            require(ok, f"leaves.{name}", (a.shape, a.dtype), f"float32 [blocks, {dim}, {DIRECTION_BLOCK}]")
        ok = blocks.shape == (len(cells) * DIRECTION_BLOCK, 2) and blocks.dtype == np.int32
        require(ok, "leaves.blocks", (blocks.shape, blocks.dtype), "int32, a pair a cell")
        inside = (blocks[:, 0] >= 0).all() and (blocks[:, 0] < blocks[:, 1]).all() and blocks.max() <= len(centres)
        require(bool(inside), "leaves.blocks", "a block out of range", f"0 to {len(centres):,}, ascending")
        ok = lists.ndim == 2 and len(lists) == len(centres) * DIRECTION_BLOCK and lists.dtype == np.int32
        require(ok and lists.shape[1] > 1, "leaves.lists", (lists.shape, lists.dtype), "int32, a list a leaf")
        inside = lists.min() >= 0 and lists[:, 0].max() < lists.shape[1] and lists[:, 1:].max() < n_labels
        require(bool(inside), "leaves.lists", "an id out of range", "known labels")
        wanted = arrays["n_candidates"]
        require(wanted.shape == (1,) and wanted[0] > 0, "leaves.n_candidates", wanted, "a number over 0")
        aligned = allocate_plain(cells.shape, np.float32), allocate_plain(centres.shape, np.float32)
        aligned[0][:], aligned[1][:] = cells, centres
        return cls(*aligned, np.ascontiguousarray(blocks), np.ascontiguousarray(lists), int(wanted[0]))
