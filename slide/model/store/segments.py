"""Rows in files that last: a base of all of them, and segments of those that changed since, one a checkpoint.

They are in a folder beside the checkpoint's file, ``run.checkpoint.rows/``, whose header says which of them count: it
is their manifest, replaced as a whole (slide/io/atomic.py), and what it does not list was never finished. A file is
written once and never changed: a header, then blocks of up to a mebibyte, each with the CRC-32 of its ids and rows.
Where as many rows are in segments as in the base, the next one is a new base: at most half of the bytes are of rows
that were written anew. Reading goes through all files in their order, so that the last rows written count.

A log-structured store (Zhao et al., MLSys 2020, section 5) trains on such files as well. Here rows that are trained on
are in a file of their own (row_file.py), which keeps their order: tables are rebuilt of all of them in one pass.
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine.layout import IntArray
from slide.errors import ModelFormatError, StoreInUseError
from slide.model.store.rows import RowStore

Rows = npt.NDArray[Any]
HEAD = struct.Struct("<8s16sQQQ")  # what it is, whose, its number, bytes of a row, rows
BLOCK = struct.Struct("<II")  # rows, and the CRC-32 of their ids and bytes
MAGIC = b"slrows1\n"
BLOCK_BYTES = 2**20
TOKEN_BYTES = 16
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype(np.float32), "U16": np.dtype(np.uint16)}
SUFFIX = ".rows"


@dataclass(frozen=True)
class Manifest:
    """Which files of a folder hold the rows of a layer.

    token : of the folder's writer, which every file repeats; files : number and rows of each, the base first
    """

    token: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    files: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Manifest:
        """From JSON values, which may be anything; raises ValueError, TypeError or KeyError for what makes no sense."""
        shape = tuple(map(_whole, value["shape"]))
        files = tuple((_whole(number), _whole(n)) for number, n in value["files"])
        token, dtype = bytes.fromhex(value["token"]), DTYPES[value["dtype"]]
        numbers = [number for number, _ in files]
        ok = len(shape) == 2 and len(token) == TOKEN_BYTES and min(shape) > 0 and len(files) > 0
        ok = ok and numbers == sorted(set(numbers)) and files[0][1] == shape[0] and max(n for _, n in files) <= shape[0]
        require(ok, "rows", value, "a base of all rows, and segments in their order")
        return cls(value["token"], (shape[0], shape[1]), dtype, files)

    @property
    def as_json(self) -> dict[str, Any]:
        """As `of` takes it."""
        name = next(name for name, dtype in DTYPES.items() if dtype == self.dtype)
        return {"token": self.token, "shape": self.shape, "dtype": name, "files": self.files}

    @property
    def row_bytes(self) -> int:
        return self.shape[1] * self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        """Of all rows, each once."""
        return self.shape[0] * self.row_bytes

    def bytes_on_disk(self) -> int:
        """Of the files."""
        rows = max(1, BLOCK_BYTES // self.row_bytes)
        return sum(HEAD.size + -(-n // rows) * BLOCK.size + n * (self.row_bytes + 4) for _, n in self.files)


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"found {value!r}, wanted a whole number")
    return value


def folder_of(path: Any) -> Path:
    """Where the rows of a checkpoint are."""
    return Path(os.path.realpath(os.fsdecode(path)) + SUFFIX)


def file_in(folder: Path, number: int) -> Path:
    """The file of that number."""
    return folder / f"{number:08d}{SUFFIX}"


# -- writing -----------------------------------------------------------------------------------------------------------


class RowFiles:
    """The files of one checkpoint, while a fit writes them: a lock keeps other writers away, until `close`.

    Raises
    ------
    StoreInUseError
        If another process, or another fit of this one, has them.
    """

    def __init__(self, path: Any) -> None:
        self.folder = folder_of(path)
        self.folder.mkdir(exist_ok=True)
        self._lock: int | None = _locked(self.folder / "lock", path)
        self._manifest: Manifest | None = None
        self._store: RowStore | None = None  # whose rows, but for those that changed since, are in the files

    def close(self) -> None:
        """Lets others write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def goes_on(self, manifest: Manifest, store: RowStore) -> None:
        """The manifest is on disk, and says what the store's rows are. Other files were never finished, or are old."""
        store.unsaved[:] = False
        self._manifest, self._store = manifest, store
        self._remove_others(manifest)

    def write(self, store: RowStore) -> Manifest:
        """A manifest of the rows as they are now: those that changed are in a new file. It counts once it is kept."""
        changed, last = int(np.count_nonzero(store.unsaved)), self._manifest
        n = store.shape[0]
        if last is None or self._store is not store or changed + sum(rows for _, rows in last.files[1:]) > n:
            last, changed = Manifest(secrets.token_hex(TOKEN_BYTES), store.shape, store.dtype, ()), n
        if not changed:
            return last
        number = max([0, *(number for number, _ in self._numbered())]) + 1
        blocks = store.blocks(BLOCK_BYTES, store.unsaved if last.files else None)
        self._write(number, last.token, changed, store.row_bytes, blocks)
        return replace(last, files=(*last.files, (number, changed)))

    def _write(self, number: int, token: str, n: int, row_bytes: int, blocks: Iterator[tuple[IntArray, Rows]]) -> None:
        path = file_in(self.folder, number)
        try:
            with open(path, "xb") as file:
                file.write(HEAD.pack(MAGIC, bytes.fromhex(token), number, row_bytes, n))
                for ids, rows in blocks:
                    file.write(BLOCK.pack(len(ids), _checksum(ids, rows)))
                    file.write(ids.data)
                    file.write(rows.reshape(-1).view(np.uint8).data)
                file.flush()
                os.fsync(file.fileno())
            _sync(self.folder)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise

    def _numbered(self) -> list[tuple[int, Path]]:
        names = [path.name.removesuffix(SUFFIX) for path in self.folder.glob("*" + SUFFIX)]
        return [(int(name), file_in(self.folder, int(name))) for name in names if name.isdecimal()]

    def _remove_others(self, manifest: Manifest) -> None:
        listed = {number for number, _ in manifest.files}
        for number, path in self._numbered():
            if number not in listed:
                with suppress(OSError):
                    path.unlink()


def remove_rows(path: Any) -> None:
    """The files of a checkpoint that is gone, or has its rows in it."""
    folder = folder_of(path)
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name == "lock" or (entry.name.endswith(SUFFIX) and entry.name.removesuffix(SUFFIX).isdecimal()):
                os.unlink(entry.path)
        folder.rmdir()


def _locked(lock: Path, path: Any) -> int:
    """The lock file, open and locked: the system gives it free with the process, however that ends."""
    import fcntl

    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
        os.close(handle)
        found = f"found another fit that writes it, in process {owner}, wanted its end, or another path"
        raise StoreInUseError(errno.EAGAIN, found, os.fspath(path)) from None
    except BaseException:
        os.close(handle)
        raise
    return handle


def _sync(folder: Path) -> None:
    with suppress(OSError):  # not every file system syncs folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _checksum(ids: IntArray, rows: Rows) -> int:
    return zlib.crc32(rows.reshape(-1).view(np.uint8).data, zlib.crc32(ids.data))


# -- reading -----------------------------------------------------------------------------------------------------------


def check_sizes(path: Any, manifest: Manifest) -> None:
    """Raises ModelFormatError where a file is missing or shorter than the manifest says; takes no memory."""
    folder = folder_of(path)
    for number, n in manifest.files:
        file = file_in(folder, number)
        wanted = HEAD.size + n * (manifest.row_bytes + 4)
        try:
            found = file.stat().st_size
        except FileNotFoundError:
            raise ModelFormatError(f"{path}: found no {file}, wanted {n:,} rows: move both together") from None
        if found < wanted:
            raise ModelFormatError(f"{file}: ends at byte {found:,}, wanted {n:,} rows, {wanted:,} bytes or more")


def read_rows(path: Any, manifest: Manifest, put: Callable[[IntArray, Rows], Any]) -> None:
    """Gives all rows to put(ids, rows), block after block: the last time that a row comes counts.

    Raises
    ------
    ModelFormatError
        If a file is missing, cut short, of another checkpoint, or altered; names it and the place.
    """
    check_sizes(path, manifest)
    for number, n in manifest.files:
        name = file_in(folder_of(path), number)
        with open(name, "rb") as file:
            head = HEAD.pack(MAGIC, bytes.fromhex(manifest.token), number, manifest.row_bytes, n)
            if file.read(HEAD.size) != head:
                raise ModelFormatError(f"{name}: byte 0: not the head that {path} wants: altered, or of another fit")
            while n:
                n -= _read_block(file, name, n, manifest, put)


def _read_block(file: BinaryIO, name: Path, left: int, manifest: Manifest, put: Callable[..., Any]) -> int:
    """The next of a file's blocks, of `left` rows at most; returns how many it has."""
    at = file.tell()
    head = file.read(BLOCK.size)
    n, checksum = BLOCK.unpack(head) if len(head) == BLOCK.size else (0, 0)
    most = max(1, BLOCK_BYTES // manifest.row_bytes)
    if not 1 <= n <= min(left, most):
        raise ModelFormatError(f"{name}: byte {at:,}: found a block of {n:,} rows, wanted 1 to {min(left, most):,}")
    ids, rows = np.empty(n, np.int32), np.empty((n, manifest.shape[1]), manifest.dtype)
    n_read = file.readinto(ids.data) + file.readinto(rows.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
    if n_read != ids.nbytes + rows.nbytes:
        raise ModelFormatError(f"{name}: byte {at:,}: ends within a block of {n:,} rows")
    if _checksum(ids, rows) != checksum:
        raise ModelFormatError(f"{name}: byte {at:,}: a block of {n:,} rows was altered: its checksum does not match")
    if ids[0] < 0 or ids[-1] >= manifest.shape[0] or (np.diff(ids) <= 0).any():
        raise ModelFormatError(f"{name}: byte {at:,}: ids out of order or range, wanted 0 to {manifest.shape[0] - 1:,}")
    put(ids, rows)
    return n
