"""Leaves: a finer partition of the queries below the query cells, whose lists shortlists are made from.

A two-level inverted file (a coarse quantiser over cells, as in Jegou et al., PAMI 2011), solved for the maximum inner
product. Here are its arrays; slide/model/leaves.py learns them, csrc/lsh/leaves.c and csrc/net/shortlist.c read
them, and slide/engine/reference/leaves.py is the twin of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine.layout import DIRECTION_BLOCK, FloatArray, IntArray
from slide.engine.memory import allocate_plain

CELLS, MOST_LEAVES = 3, 8  # csrc/lsh/leaves.h
MOST_LISTED = 2**16 // DIRECTION_BLOCK  # in a list, so that 16 bits tell the labels of a block apart

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
    places : uint16 [n_leaves, capacity + 1]
        Of a leaf's list: its length, then the places of its labels among those of its block, best first.
    labels : int32 [listed]
        Of one block of 64 leaves behind the other; in a block, those come first that stand higher in some list.
    first_label : int64 [n_leaves / 64 + 1]
        Where the labels of each block begin.
    n_candidates : int
        That a query scores by default: the fewest that hold nearly all true labels of rows kept back.
    """

    cells: FloatArray
    centres: FloatArray
    blocks: IntArray
    places: npt.NDArray[np.uint16]
    labels: IntArray
    first_label: npt.NDArray[np.int64]
    n_candidates: int = 1000

    @classmethod
    def empty(cls, cells: FloatArray, centres: FloatArray, blocks: IntArray, capacity: int) -> Leaves:
        """With lists of no labels, and room for so many in each."""
        require(1 <= capacity <= MOST_LISTED, "capacity", capacity, f"1 to {MOST_LISTED:,}")
        places = np.zeros((len(centres) * DIRECTION_BLOCK, capacity + 1), np.uint16)
        return cls(cells, centres, blocks, places, np.empty(0, np.int32), np.zeros(len(centres) + 1, np.int64))

    def with_lists(self, lists: IntArray) -> Leaves:
        """The same with lists int32 [n_leaves, capacity + 1] of length, then labels, best first."""
        places, found = np.zeros(lists.shape, np.uint16), []
        place_of = np.zeros(int(lists[:, 1:].max(initial=0)) + 1, np.int32)
        in_use = np.arange(1, lists.shape[1]) <= lists[:, :1]
        for first in range(0, len(lists), DIRECTION_BLOCK):
            block = slice(first, first + DIRECTION_BLOCK)
            listed = lists[block, 1:].T[in_use[block].T]
            place_of[listed[::-1]] = np.arange(len(listed))[::-1]  # where a label is met first: the last one written
            labels = listed[place_of[listed] == np.arange(len(listed))]
            place_of[labels] = np.arange(len(labels))
            places[block, 1:] = np.where(in_use[block], place_of[lists[block, 1:]], 0)
            found.append(labels)
        places[:, 0] = lists[:, 0]
        first_label = np.concatenate([[0], np.cumsum([len(labels) for labels in found])]).astype(np.int64)
        return replace(self, places=places, labels=np.concatenate(found).astype(np.int32), first_label=first_label)

    @property
    def lists(self) -> IntArray:
        """int32 [n_leaves, capacity + 1], made at each call: length, then labels, best first; 0 behind the last."""
        lists = self.places.astype(np.int32)
        of_block = self.first_label[np.arange(len(lists)) // DIRECTION_BLOCK, None]
        used = np.arange(1, lists.shape[1]) <= lists[:, :1]
        lists[:, 1:][used] = self.labels[(of_block + self.places[:, 1:])[used]]
        return lists

    @property
    def capacity(self) -> int:
        """Labels a list holds."""
        return self.places.shape[1] - 1

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
        named = ("cells", "centres", "blocks", "places", "labels", "first_label")
        return {name: getattr(self, name) for name in named} | {"n_candidates": np.array([self.n_candidates], np.int32)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], dim: int, n_labels: int) -> Leaves:
        """Of a file; raises ValueError where the C core could not trust them."""
        cells, centres, blocks = (arrays[name] for name in ("cells", "centres", "blocks"))  # KeyError: none is left out
        for name, a, n_dim in (("cells", cells, 3), ("centres", centres, 3)):
            ok = a.ndim == n_dim and a.dtype == np.float32 and a.shape[1:] == (dim, DIRECTION_BLOCK) and len(a) > 0
            require(ok, f"leaves.{name}", (a.shape, a.dtype), f"float32 [blocks, {dim}, {DIRECTION_BLOCK}]")
        ok = blocks.shape == (len(cells) * DIRECTION_BLOCK, 2) and blocks.dtype == np.int32
        require(ok, "leaves.blocks", (blocks.shape, blocks.dtype), "int32, a pair a cell")
        inside = (blocks[:, 0] >= 0).all() and (blocks[:, 0] < blocks[:, 1]).all() and blocks.max() <= len(centres)
        require(bool(inside), "leaves.blocks", "a block out of range", f"0 to {len(centres):,}, ascending")
        wanted = arrays["n_candidates"]
        require(wanted.shape == (1,) and wanted[0] > 0, "leaves.n_candidates", wanted, "a number over 0")
        aligned = allocate_plain(cells.shape, np.float32), allocate_plain(centres.shape, np.float32)
        aligned[0][:], aligned[1][:] = cells, centres
        if "lists" in arrays:  # of files before version 4
            lists = arrays["lists"]
            _check_lists("lists", lists, len(centres), np.int32)
            inside = lists.min() >= 0 and lists[:, 0].max() < lists.shape[1] and lists[:, 1:].max() < n_labels
            require(bool(inside), "leaves.lists", "an id out of range", "known labels")
            made = cls.empty(*aligned, np.ascontiguousarray(blocks), lists.shape[1] - 1).with_lists(lists)
            return replace(made, n_candidates=int(wanted[0]))
        places, labels, first_label = (np.ascontiguousarray(arrays[n]) for n in ("places", "labels", "first_label"))
        _check_lists("places", places, len(centres), np.uint16)
        ok = labels.ndim == 1 and labels.dtype == np.int32
        ok = ok and bool(labels.min(initial=0) >= 0 and labels.max(initial=-1) < n_labels)
        require(ok, "leaves.labels", (labels.shape, labels.dtype), "int32, known labels")
        ok = first_label.shape == (len(centres) + 1,) and first_label.dtype == np.int64 and first_label[0] == 0
        ok = ok and bool((np.diff(first_label) >= 0).all() and first_label[-1] == len(labels))
        require(ok, "leaves.first_label", "one out of order", f"0 to {len(labels):,}, ascending")
        most = places.reshape(len(centres), DIRECTION_BLOCK, -1)
        beyond = (most[:, :, 1:].max(axis=(1, 2)) >= np.diff(first_label)) & (most[:, :, 0].max(axis=1) > 0)
        ok = bool(not beyond.any() and most[:, :, 0].max() < places.shape[1])
        require(ok, "leaves.places", "one out of range", "lengths within a list, places within a block's labels")
        blocks = np.ascontiguousarray(blocks)
        return cls(*aligned, blocks, places, labels, first_label, int(wanted[0]))


def _check_lists(name: str, lists: Array, n_blocks: int, dtype: type[Any]) -> None:
    ok = lists.ndim == 2 and len(lists) == n_blocks * DIRECTION_BLOCK and lists.dtype == dtype
    wanted = f"{np.dtype(dtype)}, a list a leaf, of at most {MOST_LISTED:,} labels"
    require(ok and 1 < lists.shape[1] <= MOST_LISTED + 1, f"leaves.{name}", (lists.shape, lists.dtype), wanted)
