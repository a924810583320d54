"""A cache of the rows of a file: an arena in memory that holds those of a window, and of the next one before it comes.

While a window is trained, one thread makes room in the arena, appends to the file what was changed, and reads what the
next window is expected to take. Nobody else touches the cache meanwhile: whoever wants something waits for it first.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.engine import memory
from slide.engine.layout import IntArray
from slide.model.store.files import FileRows, Rows, UnnamedFile
from slide.model.store.row_file import RowFile
from slide.model.store.size import rows_a_part

Marks = npt.NDArray[np.bool_]
MOST_USES = 3  # that are remembered of a row
SPARE = 16  # slots to one that is kept free for what nobody expected
STORES: weakref.WeakSet[RowStore] = weakref.WeakSet()  # of this process; a fork has none of its threads


@dataclass
class Traffic:
    """What came of rows that are in a file, since their model was made or loaded.

    wanted, read, ahead, written : rows that were asked for, that had to be read, how many of those before they were
    asked for, and that were written. Seconds that training took: planning (which samples share a batch, and what rows
    they take), waiting (for these rows), training. Meanwhile the disk took: reading, writing, merging
    """

    wanted: int = 0
    read: int = 0
    ahead: int = 0
    written: int = 0
    planning: float = 0.0
    waiting: float = 0.0
    training: float = 0.0
    reading: float = 0.0
    writing: float = 0.0
    merging: float = 0.0

    def since(self, before: Traffic) -> Traffic:
        """What came since then."""
        return Traffic(*(now - then for now, then in zip(vars(self).values(), vars(before).values(), strict=True)))

    def summary(self, samples: int) -> str:
        """Of so many samples."""
        total = max(self.planning + self.waiting + self.training, 1e-9)
        ahead = f"{self.read / max(samples, 1):.2f} read a sample, {self.ahead / max(self.read, 1):.0%} of them ahead"
        stages = (
            f"{self.planning / total:.0%} planning, {self.waiting / total:.0%} waiting, {self.training / total:.0%}"
        )
        disk = f"the disk read {self.reading / total:.0%}, wrote {(self.writing + self.merging) / total:.0%}"
        return f"{ahead}; {stages} training; of that time {disk}"


class RowStore:
    """Rows [n, stride] in a file; n_slots of them at a time in `arena`, where slots[i] says row i is, or -1.

    The file is a cache's other half, not a record: only what `whole` gives is complete, and it goes with the process.
    Whoever holds rows and works on them has `lock`. unsaved [n] says which rows changed since somebody cleared it.
    file : with rows in it, which nobody else has; None: a new one
    """

    def __init__(self, shape: tuple[int, int], dtype: Any, n_slots: int, file: UnnamedFile | None = None) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = shape[1] * self.dtype.itemsize
        self.slots = np.full(shape[0], -1, np.int32)
        self.lock, self.traffic = threading.RLock(), Traffic()
        self.unsaved = np.ones(shape[0], np.bool_)
        self._empty_cache(n_slots)
        self._file, self._pid = RowFile(shape, dtype, file), os.getpid()
        self._thread = ThreadPoolExecutor(1, "slide-ahead")
        self._task: Future[None] | None = None
        self._hurry = False
        STORES.add(self)

    def _empty_cache(self, n_slots: int) -> None:
        self.arena = memory.allocate((n_slots, self.shape[1]), self.dtype, f"a cache of {n_slots:,} rows")
        self.slots[:] = -1
        self._row_in = np.full(n_slots, -1, np.int32)
        self._changed, self._kept = np.zeros(n_slots, np.bool_), np.zeros(n_slots, np.bool_)
        self._kept_lists: list[IntArray] = []
        self._uses = np.zeros(n_slots, np.uint8)
        self._free = np.arange(n_slots - 1, -1, -1, dtype=np.int32)  # those without a row, the next one last
        self._hand = 0

    @property
    def n_slots(self) -> int:
        """Rows that there is room for."""
        return len(self.arena)

    # -- the cache ------------------------------------------------------------------------------------------------

    def hold(self, ids: IntArray, chosen: Marks | None = None, change: bool = False) -> None:
        """Brings rows, ascending and each once, into the arena, n_slots at most; change: they are about to be written.

        They stay until the next call. chosen : those likely to be asked for again, which stay longer; None: all
        """
        begin = time.perf_counter()
        self.settle()
        for slots in self._kept_lists:
            self._kept[slots] = False
        self._kept_lists = []
        missing = self._keep(ids)
        self.traffic.wanted += len(ids)
        self._bring(missing)
        where = self.slots[ids]
        some = where if chosen is None else where[chosen]
        self._uses[some] = np.minimum(self._uses[some] + 1, MOST_USES)
        if change:
            self._changed[where] = self.unsaved[ids] = True
        self.traffic.waiting += time.perf_counter() - begin

    def expect(self, ids: IntArray) -> None:
        """Rows, ascending, that the next call of `hold` will want, most of all: they are fetched from now on.

        Those that were held last stay where they are; of what there is no room for beside them, nothing is fetched.
        """
        self.settle()
        if os.getpid() == self._pid:
            self._hurry = False
            self._task = self._thread.submit(self._fetch_ahead, ids)

    def shrink(self, n_slots: int) -> None:
        """Gives back memory: another arena has room for so many rows, none of which is there yet."""
        with self.lock:
            self.settle()
            if n_slots < self.n_slots:
                slots = np.flatnonzero(self._changed).astype(np.int32)
                slots = slots[np.argsort(self._row_in[slots])]
                self._append(self._row_in[slots], slots)
                del self.arena
                self._empty_cache(n_slots)

    def settle(self) -> None:
        """Until nothing is done in the background. What went wrong there is an error from then on."""
        if self._task is not None:
            self._hurry = True
            self._task.result()
            self._task = None

    def _fetch_ahead(self, ids: IntArray) -> None:
        self._file.begin_changes()
        missing = self._keep(ids)
        room = self.n_slots - int(np.count_nonzero(self._kept))
        missing = missing[:room]
        self.traffic.ahead += len(missing)
        self._bring(missing, min(self.n_slots // SPARE, room - len(missing)))
        begin = time.perf_counter()
        while not self._hurry and self._file.merge_one():
            pass
        self.traffic.merging += time.perf_counter() - begin

    def _keep(self, ids: IntArray) -> IntArray:
        """Those of these rows that are in the arena stay there; the others."""
        where = self.slots[ids]
        self._keep_slots(where[where >= 0])
        return ids[where < 0]

    def _keep_slots(self, slots: IntArray) -> None:
        """Until the next call of `hold`."""
        self._kept[slots] = True
        self._kept_lists.append(slots)

    def _bring(self, missing: IntArray, spare: int = 0) -> None:
        """Reads rows into slots of their own, and leaves so many free ones for the next time."""
        if len(self._free) < len(missing) + spare:
            self._make_room(len(missing) + spare - len(self._free))
        if not len(missing):
            return
        begin, end = time.perf_counter(), len(self._free) - len(missing)
        places = self._free[end:][::-1]
        self._file.read(missing, places, self.arena)
        self._free = self._free[:end]
        self.slots[missing], self._row_in[places] = places, missing
        self._keep_slots(places)
        self._uses[places] = 0
        self.traffic.read += len(missing)
        self.traffic.reading += time.perf_counter() - begin

    def _make_room(self, n: int) -> None:
        """Frees n slots, of rows that are not kept; the file has what was changed of them."""
        leave = self._victims(n)
        rows = self._row_in[leave]
        order = np.argsort(rows)
        leave, rows = leave[order], rows[order]
        changed = self._changed[leave]
        self._append(rows[changed], leave[changed])
        self.slots[rows], self._row_in[leave], self._changed[leave] = -1, -1, False
        self._free = np.concatenate([self._free, leave])

    def _append(self, rows: IntArray, slots: IntArray) -> None:
        if not len(rows):
            return
        if os.getpid() != self._pid:
            raise RuntimeError(
                "a model with memory= in a forked process: its file of rows belongs to the process that made it, which "
                "alone trains; save the model and load it here"
            )
        begin = time.perf_counter()
        self._file.append(rows, slots, self.arena)
        self.traffic.written += len(rows)
        self.traffic.writing += time.perf_counter() - begin

    def _victims(self, n: int) -> IntArray:
        """n slots with rows that are not kept. A hand goes round: it takes those without uses, others lose one.

        So rows that were drawn by chance leave when it comes by, and others when nobody chose them for some rounds.
        """
        found: list[IntArray] = []
        while n:
            step = max(2 * n, 1024)
            some = np.arange(self._hand, min(self.n_slots, self._hand + step), dtype=np.int32)
            some = some[(self._row_in[some] >= 0) & ~self._kept[some]]
            takes = np.flatnonzero(self._uses[some] == 0)[:n]
            if len(takes) == n:
                some = some[: takes[-1] + 1]
                step = int(some[-1]) + 1 - self._hand
            self._hand = 0 if self._hand + step >= self.n_slots else self._hand + step
            found.append(some[takes])
            self._kept[some[takes]] = True  # each once
            self._uses[some] -= self._uses[some] > 0
            n -= len(takes)
        leave = np.concatenate(found) if found else np.empty(0, np.int32)
        self._kept[leave] = False
        return leave

    # -- all rows, in sequence ------------------------------------------------------------------------------------

    def parts(self) -> Iterator[tuple[int, Rows]]:
        """All rows as they are now, in pairs of the first one's number and rows, which the next pair overwrites."""
        n = rows_a_part(self.shape[0], self.row_bytes)
        buffer = memory.allocate((n, self.shape[1]), self.dtype, "a part of the rows")
        for first in range(0, self.shape[0], n):
            ids = np.arange(first, min(first + n, self.shape[0]), dtype=np.int32)
            yield first, self._read(ids, buffer[: len(ids)])

    def _read(self, ids: IntArray, out: Rows) -> Rows:
        """Rows, ascending, as they are now."""
        self.settle()
        self._file.read(ids, np.arange(len(ids), dtype=np.int32), out)
        self._overlay(ids, out)
        return out

    def _overlay(self, ids: IntArray, out: Rows) -> None:
        """The file is behind what is in the arena."""
        held = np.flatnonzero(self.slots[ids] >= 0)
        out[held] = self.arena[self.slots[ids[held]]]

    def blocks(self, n_bytes: int, some: Marks | None = None) -> Iterator[tuple[IntArray, Rows]]:
        """All rows as they are now, or those that `some` marks, in pairs of ascending ids and copies of such sizes."""
        step = max(1, n_bytes // self.row_bytes)
        for ids in _numbers(self.shape[0], step, some):
            yield ids, self._read(ids, np.empty((len(ids), self.shape[1]), self.dtype))

    def write(self, first: int, rows: Rows) -> None:
        """Puts rows into the file: while a model is made, before any is in the arena."""
        self._file.write(first, rows)

    def read(self, rows: Any) -> Rows:
        """A copy of some rows, given by a slice or their numbers."""
        ids = np.arange(self.shape[0], dtype=np.int32)[rows]
        ascending, place = np.unique(ids, return_inverse=True)
        memory.require_memory(len(ascending) * self.row_bytes, f"{len(ascending):,} rows at once need", "ask for fewer")
        with self.lock:
            found = self._read(ascending, np.empty((len(ascending), self.shape[1]), self.dtype))
        return found if len(found) == len(ids) and (ids == ascending).all() else found[place]

    def whole(self) -> FileRows:
        """All rows, mapped: complete until rows change again."""
        with self.lock:
            self.settle()
            changed = np.zeros(self.shape[0], np.bool_)
            changed[self._row_in[self._changed]] = True
            self._file.merge_all(changed, self._overlay)
            self._changed[:] = False
            return self._file.mapped()


def _numbers(n: int, step: int, some: Marks | None) -> Iterator[IntArray]:
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
