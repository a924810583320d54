"""How much of a memory budget is left for the cache of a layer's rows, and what a budget is called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slide.checks import require
from slide.engine.layout import DIRECTION_BLOCK, MAX_BATCH
from slide.engine.state import LayerState
from slide.layers import Dense, DenseInput, Layer, Sampled, SparseInput

UNITS = {"B": 1} | {f"{p}{b}": n**i for b, n in (("B", 1000), ("iB", 1024)) for i, p in enumerate("KMGT", 1)}
WANTED = 'a number of bytes like "4GB", "500MB" or "2GiB", or None'
SLOT_BYTES = 12  # of a row that is cached: its number, how often it was used, whether it changed, or is kept or free
ROW_BYTES = (
    11  # of a row wherever it is: its slot, its place, marks of what a window takes and of what a checkpoint lacks
)
FEWEST = 4096  # rows of a cache: about what one prediction asks the tables for
PART_BYTES = 2**23  # rows that are read in sequence, at a time
MOVING_BYTES = 2**21  # rows that are on their way from or to the disk, at most
FILLING_BYTES = 2 * PART_BYTES  # for lists while they are filled, at least
COMPRESSED = "None: a compressed model is held in memory"
LABELS_A_SAMPLE = 8  # of its own, about, in the rows that a batch takes
BLOCK = 2048  # rows that prediction scores at a time (csrc/net/infer.c)


class BudgetError(ValueError):
    """A budget that is too small, or that the model can do nothing with: no fault of a file that it is read from.

    beside : bytes of what stays in memory beside the output rows, where the budget is too small
    """

    def __init__(self, message: str, beside: int = 0) -> None:
        super().__init__(message)
        self.beside = beside


def _require(ok: bool, argument: str, found: Any, wanted: str) -> None:
    if not ok:
        raise BudgetError(f"{argument}: found {found!r}, wanted {wanted}")


def parse_memory(memory: Any) -> int | None:
    """Bytes of a budget: an int, or a text like "4GB" (10^9 bytes each) or "4GiB" (2^30); None is none.

    >>> parse_memory("4GB"), parse_memory("1.5 MiB")
    (4000000000, 1572864)
    """
    if memory is None:
        return None
    if isinstance(memory, int | np.integer) and not isinstance(memory, bool):
        require(bool(memory > 0), "memory", memory, WANTED)
        return int(memory)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B)\s*", memory) if isinstance(memory, str) else None
    if found is None or found[2] not in UNITS:
        require(False, "memory", memory, WANTED)
    assert found is not None
    return int(float(found[1]) * UNITS[found[2]])


def check_storable_rows(layers: Sequence[Layer], batch_size: int | None, backend: str, memory: Any) -> None:
    """Refuses a budget for a network that cannot say what rows it takes before it trains on them."""
    last, family = layers[-1], getattr(layers[-1], "lsh", None)
    _require(backend == "c", "memory", memory, f"None with backend={backend!r}: C alone keeps rows in a file")
    _require(isinstance(last, Sampled), "memory", memory, f"None: the last layer is {last!r}, not a Sampled")
    ok = family is None or family.kind == "query_cells"
    _require(ok, "memory", memory, f"None, or QueryCells: {family!r} hashes the rows themselves")
    hidden = next((layer for layer in layers[1:-1] if isinstance(layer, Sampled)), None)
    _require(hidden is None, "memory", memory, f"None: {hidden!r} is a hidden layer, of which Dense ones alone will do")
    _require(batch_size != 1, "batch_size", batch_size, "2 or more, or None, with memory=")


def check_plain(state: LayerState, memory: int) -> None:
    """Refuses a budget for a layer of weights that only predict."""
    _require(not state.is_compressed, "memory", memory, COMPRESSED)


def in_words(n_bytes: int) -> str:
    """Rounded up to three figures, as `memory` takes it."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if n_bytes >= factor:
            step = max(1, 10 ** (len(str(n_bytes // factor)) - 1)) * factor // 100
            return f"{-(-n_bytes // step) * step / factor:g}{unit}"
    return f"{n_bytes}B"


def rows_a_part(n: int, row_bytes: int) -> int:
    """Of n rows that are gone through in sequence, how many at a time: whole blocks of those that prediction takes."""
    return min(n, max(BLOCK, min(PART_BYTES, n * row_bytes // 8) // row_bytes // BLOCK * BLOCK))


def moving_bytes(n: int, row_bytes: int) -> int:
    """Of n rows, those that are on their way at a time."""
    return max(2**16, min(MOVING_BYTES, rows_a_part(n, row_bytes) * row_bytes // 4))


def filling_bytes(n: int, capacity: int) -> int:
    """Of the lists of a block of 64 cells while they are filled from n neurons (csrc/lsh/lists.c), and of its marks."""
    return DIRECTION_BLOCK * (2 * min(capacity, n) + 16) * 8 + n // 8


def blocks_at_once(n: int, K: int, capacity: int, room: int = FILLING_BYTES) -> int:
    """Of 64 cells each, whose lists are filled in one pass over n rows; room : bytes that this may take."""
    return max(1, min(2**K // DIRECTION_BLOCK, room // filling_bytes(n, capacity)))


@dataclass(frozen=True)
class Needs:
    """What a model asks of a budget.

    lower : bytes of the layers below the last, of tables and sparse part; n, row_bytes : of the last layer's rows
    K, capacity : of its query cells, 0 without; batch_rows : the most rows that one batch takes
    """

    lower: int
    n: int
    row_bytes: int
    K: int
    capacity: int
    batch_rows: int

    @classmethod
    def of_file(cls, layers: Sequence[Layer], batch_size: int | None, array_bytes: Mapping[str, int]) -> Needs:
        """Of a model in a file, of which nothing but the header is read; array_bytes : of its arrays, by name.

        Raises
        ------
        BudgetError
            If its rows cannot be in a file.
        """
        check_storable_rows(layers, batch_size, "c", "a budget")
        last, below, at = layers[-1], layers[-2], len(layers) - 1
        assert isinstance(last, Sampled)
        assert isinstance(below, SparseInput | DenseInput | Dense)
        _require(f"layer{at}.rows" in array_bytes, "memory", "a budget", COMPRESSED)
        lower = sum(array_bytes[f"layer{i}.rows"] for i in range(at)) + sparse_bytes(array_bytes)
        row_bytes, K, capacity = array_bytes[f"layer{at}.rows"] // last.n, 0, 0
        if last.lsh is not None:
            K, capacity = last.lsh.resolved_K(last.n), last.lsh.resolved_capacity(last.n)
            lower += 4 * (int(np.prod(last.lsh.slots_shape(last.n))) + 2**K * (below.n + 1) + last.n)
        return cls(lower, last.n, row_bytes, K, capacity, rows_of_a_batch(last.n_active, last.n_random, last.n))

    @property
    def all_bytes(self) -> int:
        """With all rows in memory."""
        return self.lower + self.n * self.row_bytes

    def beside(self, room: int = FILLING_BYTES) -> int:
        """Bytes of what stays in memory beside the rows, where they are in a file; room : to fill lists in."""
        part = 2 * rows_a_part(self.n, self.row_bytes) * self.row_bytes + moving_bytes(self.n, self.row_bytes)
        held = self.lower + ROW_BYTES * self.n + part
        n_blocks = blocks_at_once(self.n, self.K, self.capacity, room) if self.K else 0
        return held + n_blocks * filling_bytes(self.n, self.capacity)

    @property
    def _slot_bytes(self) -> int:
        """Of a cached row."""
        return self.row_bytes + SLOT_BYTES

    @property
    def least(self) -> int:
        """Bytes of the smallest budget: there is room for two batches and one prediction."""
        return self.beside() + min(self.n, max(2 * self.batch_rows, FEWEST)) * self._slot_bytes

    def split(self, memory: int) -> tuple[int, int]:
        """Rows to be cached so that the whole model takes so many bytes, and bytes to fill the lists of cells in.

        Each 64 cells whose lists are filled at once save a pass over the file: an eighth of what is left goes there.

        Raises
        ------
        BudgetError
            If they are too few; says what the rest takes and what would do.
        """
        if memory < self.least:
            found = in_words(memory) if memory >= 1000 else memory
            beside = self.beside()
            rows = in_words(self.least - beside)
            parts = f"{in_words(beside)} for what stays in memory beside the output rows, {rows} of them"
            raise BudgetError(f"memory: found {found!r}, wanted {in_words(self.least)} or more: {parts}", beside)
        room = FILLING_BYTES + (memory - self.least) // 8
        return min(self.n, (memory - self.beside(room)) // self._slot_bytes), room


def rows_of_a_batch(n_active: int, n_random: int, n: int) -> int:
    """The most output rows that a batch takes, about."""
    return min(n_active, n) + min(n_random, n_active, n) + MAX_BATCH * LABELS_A_SAMPLE


def sparse_bytes(array_bytes: Mapping[str, int]) -> int:
    """Of the sparse part, all of which is in memory; array_bytes : of a model's arrays, by name."""
    return sum(n for name, n in array_bytes.items() if name.startswith(("wide.", "rank.")))


def needs_of(states: Sequence[LayerState], row_bytes: int, n: int, sparse: int) -> Needs:
    """What a model in memory asks of a budget.

    states : the last one's rows are not counted; row_bytes, n : of them; sparse : bytes of the sparse part
    """
    last = states[-1]
    lower = sum(s.n_bytes for s in states[:-1]) + sum(a.nbytes for s in states if s.lsh for a in s.lsh.arrays)
    K, capacity = (0, 0) if last.lsh is None else (last.lsh.K, last.lsh.capacity)
    return Needs(lower + sparse, n, row_bytes, K, capacity, rows_of_a_batch(last.n_active, last.n_random, n))
