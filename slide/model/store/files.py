"""Files of rows that have no name: all rows in their order, mapped for those who read them one after the other."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.engine.binding import c_core
from slide.engine.layout import IntArray
from slide.model.store.size import PART_BYTES, moving_bytes

Rows = npt.NDArray[Any]
PAGE = 4096  # csrc/store/rows.h: SLIDE_DISK_PAGE


class UnnamedFile:
    """A new file of so many bytes in the folder for temporary files, which is gone when nobody has it open.

    Raises
    ------
    OSError
        If the disk has no room; says how much it takes and which environment variable chooses another folder.
    """

    is_direct = False  # open past the system's cache of files

    def __init__(self, n_bytes: int) -> None:
        with tempfile.TemporaryFile(prefix="slide-") as file:
            self._number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._number)
        self.grow(n_bytes)

    def fileno(self) -> int:
        """Its number, as open files have it."""
        return self._number

    def grow(self, n_bytes: int) -> None:
        """To so many bytes, for all of which there is room."""
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._number, 0, max(n_bytes, 1))
            else:
                os.ftruncate(self._number, n_bytes)
        except OSError as e:
            what = f"{e.strerror}: rows need {n_bytes:,} bytes; TMPDIR sets another folder"
            raise OSError(e.errno or errno.ENOSPC, what, tempfile.gettempdir()) from e

    def go_direct(self) -> None:
        """From now on past the system's cache, where the file system can: rows are cached here, and by a better rule.

        A page that is no longer in the system's cache has to be read before a part of it can be written.
        """
        if not hasattr(os, "O_DIRECT"):
            return
        import fcntl

        os.fdatasync(self._number)
        os.posix_fadvise(self._number, 0, 0, os.POSIX_FADV_DONTNEED)
        flags = fcntl.fcntl(self._number, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._number, fcntl.F_SETFL, flags | os.O_DIRECT)
            os.preadv(self._number, [mmap.mmap(-1, PAGE)], 0)
            self.is_direct = True
        except OSError:  # some file systems refuse at once, some what is asked of them then
            with suppress(OSError):
                fcntl.fcntl(self._number, fcntl.F_SETFL, flags)


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


def mapped_rows(shape: tuple[int, int], dtype: Any, fill: Callable[[Callable[[IntArray, Rows], Any]], Any]) -> FileRows:
    """Rows in an unnamed file, all of which fill(put) gives to put(ids, rows), with ascending ids."""
    row_bytes = shape[1] * np.dtype(dtype).itemsize
    core, file = c_core(), UnnamedFile(shape[0] * row_bytes)
    assert core is not None
    mover = core.Mover(moving_bytes(shape[0], row_bytes), False)

    def put(ids: IntArray, rows: Rows) -> None:
        at = ids.astype(np.int64) * row_bytes
        mover.move(True, file.fileno(), False, at, np.arange(len(ids), dtype=np.int32), rows)

    fill(put)
    found = FileRows.of(file, shape, dtype)
    found.spare = file
    return found
