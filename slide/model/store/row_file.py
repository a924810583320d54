"""Rows on a disk, so that those of a window are written as few stretches, and all of them are read in their order.

The file begins with all rows in the order of their numbers. They are divided into parts of some mebibytes; each part
has a place of half its size behind them all, where rows of it that change are appended: a window writes one stretch a
part, and nothing has to be read for it. A map says where a row is. A part whose place is full is merged: read, put in
order, written as a whole. A log-structured store (Zhao et al., MLSys 2020, section 5) appends to one end and collects
what became garbage; here the order of the rows is kept as well, since tables are rebuilt in passes over all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.engine import memory
from slide.engine.binding import c_core
from slide.engine.layout import IntArray
from slide.model.store.files import PAGE, FileRows, Rows, UnnamedFile
from slide.model.store.size import moving_bytes, rows_a_part

READERS = 8  # threads that wait for the disk at once, where the kernel has no queue for that
LEAST_ROWS = 512  # that are worth another thread
LINE = 64  # bytes in which places are counted: rows are whole ones


class RowFile:
    """Rows [n, stride] in a file; one call at a time, by whatever thread.

    file : with rows in it, which nobody else has; None: a new one
    """

    def __init__(self, shape: tuple[int, int], dtype: Any, file: UnnamedFile | None = None) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = shape[1] * self.dtype.itemsize
        self.part_rows = rows_a_part(shape[0], self.row_bytes)
        n_parts = -(-shape[0] // self.part_rows)
        self._ordered_bytes = _pages(shape[0] * self.row_bytes)
        self._place_bytes = _pages(self.part_rows * self.row_bytes // 2)
        self._place = np.full(shape[0], -1, np.int32)  # in the place of its part, in lines; -1: it is in order
        self._used = np.zeros(n_parts, np.int64)  # bytes of each place
        n_bytes = self._ordered_bytes + n_parts * self._place_bytes
        self._file = file or UnnamedFile(n_bytes)
        if file:
            file.grow(n_bytes)
        self._changes = False
        self._pid, self._movers = os.getpid(), self._new_movers(True)
        self._pool = ThreadPoolExecutor(READERS, "slide-rows") if len(self._movers) > 1 else None

    def _new_movers(self, wants_queue: bool) -> list[Any]:
        core, room = c_core(), moving_bytes(self.shape[0], self.row_bytes)
        assert core is not None
        mover = core.Mover(room, wants_queue)
        if mover.has_queue or not wants_queue:
            return [mover]
        return [core.Mover(max(2 * PAGE, room // READERS), False) for _ in range(READERS)]

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, ids: IntArray, slots: IntArray, out: Rows) -> None:
        """Rows, ascending, to out[slots]."""
        at = self._at(ids)
        order = np.argsort(at)
        self._move(False, at[order], slots[order], out)

    def _at(self, ids: IntArray) -> npt.NDArray[np.int64]:
        """Their bytes in the file."""
        place = self._place[ids].astype(np.int64)
        appended = self._begin(ids // self.part_rows) + place * LINE
        return np.where(place < 0, self._in_order(ids), appended)

    def _in_order(self, ids: IntArray) -> npt.NDArray[np.int64]:
        """Where they are in a file that is in order."""
        return ids.astype(np.int64) * self.row_bytes

    def _begin(self, part: IntArray) -> npt.NDArray[np.int64]:
        """Where the places of parts begin."""
        return self._ordered_bytes + part.astype(np.int64) * self._place_bytes

    # -- writing --------------------------------------------------------------------------------------------------

    def write(self, first: int, rows: Rows) -> None:
        """Puts rows in their order: while a model is made, before anything else."""
        at = (first + np.arange(len(rows), dtype=np.int64)) * self.row_bytes
        self._move(True, at, np.arange(len(rows), dtype=np.int32), np.ascontiguousarray(rows))

    def begin_changes(self) -> None:
        """From now on rows change: whole pages are written, past the system's cache of files where that is possible."""
        if not self._changes:
            self._file.go_direct()
            self._changes = True

    def append(self, ids: IntArray, slots: IntArray, arena: Rows) -> None:
        """Writes rows, ascending, of slots in an arena."""
        self.begin_changes()
        part, begin, n = np.unique(ids // self.part_rows, return_index=True, return_counts=True)
        size = _pages(n * self.row_bytes)
        fits = self._used[part] + size <= self._place_bytes
        rank = np.arange(len(ids)) - np.repeat(begin, n)
        lines = np.repeat(self._used[part], n) // LINE + rank * (self.row_bytes // LINE)
        some = np.repeat(fits, n)
        self._move(True, (self._begin(ids // self.part_rows) + lines * LINE)[some], slots[some], arena)
        self._place[ids[some]] = lines[some]
        self._used[part[fits]] += size[fits]
        for i in np.flatnonzero(~fits):
            its = slice(begin[i], begin[i] + n[i])
            self._merge(int(part[i]), ids[its], slots[its], arena)

    def merge_one(self) -> bool:
        """Puts the part with most appended rows in order, if half of all room is used: so few are full at once."""
        if 2 * self._used.sum() < len(self._used) * self._place_bytes:
            return False
        self._merge(int(np.argmax(self._used)))
        return True

    def merge_all(self, changed: npt.NDArray[np.bool_], patch: Callable[[IntArray, Rows], None]) -> None:
        """Puts all rows in order; patch(ids, rows) exchanges those of a part that are `changed` [n] for newer ones."""
        for part in range(len(self._used)):
            ids = self._ids_of(part)
            if self._used[part] or changed[ids].any():
                rows = self._ordered(ids)
                patch(ids, rows)
                self._put_in_order(part, ids, rows)

    def _merge(self, part: int, newer: IntArray | None = None, slots: Any = None, arena: Any = None) -> None:
        ids = self._ids_of(part)
        rows = self._ordered(ids)
        if newer is not None:
            rows[newer - ids[0]] = arena[slots]
        self._put_in_order(part, ids, rows)

    def _ids_of(self, part: int) -> IntArray:
        first = part * self.part_rows
        return np.arange(first, min(self.shape[0], first + self.part_rows), dtype=np.int32)

    def _ordered(self, ids: IntArray) -> Rows:
        rows = memory.allocate((len(ids), self.shape[1]), self.dtype, "a part of the rows")
        self.read(ids, ids - ids[0], rows)
        return rows

    def _put_in_order(self, part: int, ids: IntArray, rows: Rows) -> None:
        self._move(True, self._in_order(ids), ids - ids[0], rows)
        self._place[ids], self._used[part] = -1, 0

    def mapped(self) -> FileRows:
        """All rows, of which those that are in order are right."""
        return FileRows.of(self._file, self.shape, self.dtype)

    def _move(self, write: bool, at: npt.NDArray[np.int64], slots: IntArray, arena: Rows) -> None:
        """By the queue, or by several threads, each of which waits for the disk by itself."""
        if os.getpid() != self._pid:  # a fork has neither
            self._pid, self._movers, self._pool = os.getpid(), self._new_movers(False), None
        file, by_pages = self._file.fileno(), self._file.is_direct or (write and self._changes)
        n = 1 if write or self._pool is None else min(READERS, max(1, len(at) // LEAST_ROWS))
        if n == 1:
            self._movers[0].move(write, file, by_pages, at, slots, arena)
            return
        assert self._pool is not None
        some, where = np.array_split(at, n), np.array_split(slots, n)
        moves = [
            self._pool.submit(self._movers[i].move, write, file, by_pages, some[i], where[i], arena) for i in range(n)
        ]
        for move in moves:
            move.exception()  # all have ended
        for move in moves:
            move.result()


def _pages(n_bytes: Any) -> Any:
    return -(-n_bytes // PAGE) * PAGE
