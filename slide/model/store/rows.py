"""A file of rows, and an arena in memory that holds some of them: those that were used last."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.engine import memory
from slide.engine.binding import c_core
from slide.engine.layout import IntArray
from slide.model.store.size import PART_BYTES, rows_a_part, rows_that_leave

Rows = npt.NDArray[Any]
READERS = 8  # threads that wait for the disk at once
LEAST_ROWS = 512  # that are worth another thread
STORES: weakref.WeakSet[RowStore] = weakref.WeakSet()  # of this process; a fork has none of its threads


class FileRows(np.memmap):
    """All rows, mapped from the file, as files and snapshots take them: nothing is read before it is asked for.

    spare : the file, where nobody else has it: a store may take it over
    """

    spare: UnnamedFile | None = None

    @classmethod
    def of(cls, file: UnnamedFile, shape: tuple[int, ...], dtype: Any) -> FileRows:
        """A map of the file, which need not stay open."""
        with open(os.dup(file.fileno()), "rb") as again:
            return cls(again, dtype, "r", 0, shape)

    def detached(self) -> FileRows:
        """The same rows as they are now, in a file of their own."""
        file = UnnamedFile(self.nbytes)
        step = max(1, PART_BYTES // self[:1].nbytes)
        for first in range(0, len(self), step):
            os.pwrite(file.fileno(), np.ascontiguousarray(self[first : first + step]).data, first * self[:1].nbytes)
        return FileRows.of(file, self.shape, self.dtype)


@dataclass
class Traffic:
    """Rows that were asked for, that had to be read, and that were written back; the seconds that this took."""

    wanted: int = 0
    read: int = 0
    written: int = 0
    seconds: float = 0.0


class UnnamedFile:
    """A new file of so many bytes in the folder for temporary files, which is gone when nobody has it open.

    Raises
    ------
    OSError
        If the disk has no room; says how much it takes and which environment variable chooses another folder.
    """

    def __init__(self, n_bytes: int) -> None:
        with tempfile.TemporaryFile(prefix="slide-") as file:
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, max(n_bytes, 1))
                else:
                    os.ftruncate(file.fileno(), n_bytes)
            except OSError as e:
                what = f"{e.strerror}: rows need {n_bytes:,} bytes; TMPDIR sets another folder"
                raise OSError(e.errno or errno.ENOSPC, what, tempfile.gettempdir()) from e
            self._number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._number)

    def fileno(self) -> int:
        """Its number, as open files have it."""
        return self._number


class RowStore:
    """Rows [n, stride] in a file; n_slots of them at a time in `arena`, where slots[i] says row i is, or -1.

    The file is a cache's other half, not a record: only what `whole` gives is complete, and it goes with the process.
    Whoever holds rows and works on them has `lock`. unsaved [n] says which rows changed since somebody cleared it.
    file : with rows in it, which nobody else has; None: a new one
    """

    def __init__(self, shape: tuple[int, int], dtype: Any, n_slots: int, file: UnnamedFile | None = None) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = shape[1] * self.dtype.itemsize
        self.arena = memory.allocate((n_slots, shape[1]), self.dtype, f"a cache of {n_slots:,} rows")
        self.slots = np.full(shape[0], -1, np.int32)
        self.lock, self.traffic = threading.RLock(), Traffic()
        self._row_in = np.full(n_slots, -1, np.int32)
        self._changed = np.zeros(n_slots, np.bool_)
        self._used_at = np.zeros(n_slots, np.int64)
        self._time = 0
        self._leaving = memory.allocate((rows_that_leave(n_slots), shape[1]), self.dtype, "rows on their way to a file")
        self._writes: list[Future[None]] = []  # of those rows
        self.unsaved = np.ones(shape[0], np.bool_)
        self._file, self._pid = file or UnnamedFile(shape[0] * self.row_bytes), os.getpid()
        self._readers = ThreadPoolExecutor(READERS, "slide-rows")
        STORES.add(self)

    @property
    def n_slots(self) -> int:
        """Rows that there is room for."""
        return len(self.arena)

    def hold(self, ids: IntArray, change: bool = False) -> None:
        """Brings rows, ascending and each once, into the arena, n_slots at most; change: they are about to be written.

        They stay until the next call. Those that were used longest ago make room.
        """
        begin = time.perf_counter()
        self._time += 1
        where = self.slots[ids]
        self._used_at[where[where >= 0]] = self._time
        missing = ids[where < 0]
        self.traffic.wanted += len(ids)
        if len(missing):
            places, leave = self._emptied(len(missing))
            try:
                self._move(False, missing, places)
            finally:
                self._writes = self._begin(True, leave, np.arange(len(leave), dtype=np.int32), self._leaving)
            self.slots[missing], self._row_in[places] = places, missing
            self._used_at[places], self._changed[places] = self._time, False
            self.traffic.read += len(missing)
        if change:
            self._changed[self.slots[ids]] = self.unsaved[ids] = True
        self.traffic.seconds += time.perf_counter() - begin

    def settle(self) -> None:
        """Until the rows that left the arena are in the file. One that cannot be written is an error from then on."""
        for write in self._writes:
            write.result()
        self._writes = []

    def _emptied(self, n: int) -> tuple[IntArray, IntArray]:
        """So many slots without a row, and the rows whose copies in `_leaving` are to be written, ascending.

        They are written while the model is trained (hold): where a page of the file is no longer in memory, a part of
        it cannot be written before all of it was read. What is more than there is room for is written at once.
        """
        leave = np.empty(0, np.int32)
        free = np.flatnonzero(self._row_in < 0)[:n]
        n_more = n - len(free)
        if n_more:
            age = np.where(self._row_in < 0, np.iinfo(np.int64).max, self._used_at)
            oldest = np.argpartition(age, n_more - 1)[:n_more]
            changed = oldest[self._changed[oldest]]
            changed = changed[np.argsort(self._row_in[changed])]
            some, rest = np.split(changed, [len(self._leaving)])
            self._write(rest)
            self._check_owner(len(some))
            leave = self._row_in[some]
            self._leaving[: len(some)] = self.arena[some]
            self._changed[some] = False
            self.traffic.written += len(some)
            self.slots[self._row_in[oldest]] = -1
            self._row_in[oldest] = -1
            free = np.concatenate([free, oldest])
        return free.astype(np.int32), leave

    def _check_owner(self, n: int) -> None:
        if n and os.getpid() != self._pid:
            raise RuntimeError(
                "a model with memory= in a forked process: its file of rows belongs to the process that made it, which "
                "alone trains; save the model and load it here"
            )

    def _write(self, places: npt.NDArray[np.intp]) -> None:
        self._check_owner(len(places))
        order = np.argsort(self._row_in[places])
        self._move(True, self._row_in[places[order]], places[order].astype(np.int32))
        self._changed[places] = False
        self.traffic.written += len(places)

    def _move(self, write: bool, ids: IntArray, places: IntArray, arena: Rows | None = None) -> None:
        """By several threads: each waits for the disk by itself. First comes what left the arena before."""
        self.settle()
        core = c_core()
        assert core is not None
        arena, file = self.arena if arena is None else arena, self._file.fileno()
        if os.getpid() != self._pid or len(ids) < 2 * LEAST_ROWS:
            core.move_rows(write, file, ids, places, arena)
            return
        for done in self._begin(write, ids, places, arena):
            done.result()

    def _begin(self, write: bool, ids: IntArray, places: IntArray, arena: Rows) -> list[Future[None]]:
        """The same, under way when this returns."""
        core, n, file = c_core(), min(READERS, -(-len(ids) // LEAST_ROWS)), self._file.fileno()
        assert core is not None
        if not n:
            return []
        some, where = np.array_split(ids, n), np.array_split(places, n)
        return [self._readers.submit(core.move_rows, write, file, some[i], where[i], arena) for i in range(n)]

    # -- all rows, in sequence ------------------------------------------------------------------------------------

    def parts(self) -> Iterator[tuple[int, Rows]]:
        """All rows as they are now, in pairs of the first one's number and rows, which the next pair overwrites."""
        n = rows_a_part(self.shape[0], self.row_bytes)
        buffer = memory.allocate((n, self.shape[1]), self.dtype, "a part of the rows")
        for first in range(0, self.shape[0], len(buffer)):
            rows = buffer[: min(len(buffer), self.shape[0] - first)]
            self._read_straight(first, rows)
            yield first, rows

    def _read_straight(self, first: int, out: Rows) -> None:
        self.settle()
        ids = np.arange(first, first + len(out), dtype=np.int32)
        core = c_core()
        assert core is not None
        core.move_rows(False, self._file.fileno(), ids, ids - np.int32(first), out)
        self._overlay(ids, out)

    def _overlay(self, ids: IntArray, out: Rows) -> None:
        """The file is behind what is in the arena."""
        held = np.flatnonzero(self.slots[ids] >= 0)
        out[held] = self.arena[self.slots[ids[held]]]

    def blocks(self, n_bytes: int, some: npt.NDArray[np.bool_] | None = None) -> Iterator[tuple[IntArray, Rows]]:
        """All rows as they are now, or those that `some` marks, in pairs of ascending ids and copies of such sizes."""
        step = max(1, n_bytes // self.row_bytes)
        for ids in _numbers(self.shape[0], step, some):
            rows = np.empty((len(ids), self.shape[1]), self.dtype)
            self._move(False, ids, np.arange(len(ids), dtype=np.int32), rows)
            self._overlay(ids, rows)
            yield ids, rows

    def write(self, first: int, rows: Rows) -> None:
        """Puts rows into the file, none of which is in the arena: while a model is made."""
        ids = np.arange(first, first + len(rows), dtype=np.int32)
        self._move(True, ids, ids - np.int32(first), np.ascontiguousarray(rows))

    def read(self, rows: Any) -> Rows:
        """A copy of some rows, given by a slice or their numbers."""
        ids = np.arange(self.shape[0], dtype=np.int32)[rows]
        ascending, place = np.unique(ids, return_inverse=True)
        memory.require_memory(len(ascending) * self.row_bytes, f"{len(ascending):,} rows at once need", "ask for fewer")
        with self.lock:
            found = np.empty((len(ascending), self.shape[1]), self.dtype)
            if len(found):
                self._move(False, ascending, np.arange(len(found), dtype=np.int32), found)
                self._overlay(ascending, found)
        return found if len(found) == len(ids) and (ids == ascending).all() else found[place]

    def whole(self) -> FileRows:
        """All rows, mapped: complete until rows change again."""
        with self.lock:
            self._write(np.flatnonzero(self._changed & (self._row_in >= 0)))
            return FileRows.of(self._file, self.shape, self.dtype)


def mapped_rows(shape: tuple[int, int], dtype: Any, fill: Callable[[Callable[[IntArray, Rows], Any]], Any]) -> FileRows:
    """Rows in an unnamed file, all of which fill(put) gives to put(ids, rows), with ascending ids."""
    core, file = c_core(), UnnamedFile(shape[0] * shape[1] * np.dtype(dtype).itemsize)
    assert core is not None
    fill(lambda ids, rows: core.move_rows(True, file.fileno(), ids, np.arange(len(ids), dtype=np.int32), rows))
    found = FileRows.of(file, shape, dtype)
    found.spare = file
    return found


def _numbers(n: int, step: int, some: npt.NDArray[np.bool_] | None) -> Iterator[IntArray]:
    """Those from 0 to n that `some` marks, or all, up to `step` at a time."""
    left, span = np.empty(0, np.int32), max(step, 2**16)
    for first in range(0, n, span):
        end = min(n, first + span)
        new = np.arange(first, end, dtype=np.int32) if some is None else first + np.flatnonzero(some[first:end])
        left = np.concatenate([left, new.astype(np.int32)])
        while len(left) >= step:
            yield left[:step]
            left = left[step:]
    if len(left):
        yield left


def _settle_all() -> None:
    for store in list(STORES):
        with suppress(OSError):  # which whoever asks for a row is told again
            store.settle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_settle_all)
