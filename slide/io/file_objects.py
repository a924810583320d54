"""File objects that are handed over in place of a path: written to and read from where they stand, and left open.

They may be in memory, compressed, or streams without positions; nothing is asked of them but `write`, or `read`.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from typing import Any

from slide.errors import ModelFormatError

PIECE = 1 << 24  # bytes that are handed over at a time


def is_file_object(target: Any) -> bool:
    """Whether this is no path, but can be written to or read from."""
    return hasattr(target, "write") or hasattr(target, "read")


def name_of(target: Any) -> str:
    """What a message calls a path or a file object."""
    if not is_file_object(target):
        return str(target)
    name = getattr(target, "name", None)
    return name if isinstance(name, str) and name else f"<{type(target).__name__}>"


class Writer(io.RawIOBase):
    """Writes everything that it is given: objects without a buffer may take a part of it only.

    Raises
    ------
    TypeError
        For an object that takes text.
    ValueError
        For one that was not opened for writing.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        if not _may(target, "write", "writable"):
            raise ValueError(f"{name_of(target)}: found a file that can only be read, wanted one opened for writing")
        if isinstance(target, io.TextIOBase):
            raise self._is_text()

    def _is_text(self) -> TypeError:
        return TypeError(f"{name_of(self._target)}: found a file opened for text, wanted one for bytes: mode 'wb'")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """In pieces, each a copy: an object may keep what it is given, and a model goes on changing."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), PIECE):
            self._write_all(bytes(view[start : start + PIECE]))
        return len(view)

    def _write_all(self, piece: bytes) -> None:
        while piece:
            try:
                n = self._target.write(piece)
            except TypeError as e:
                raise self._is_text() from e
            if n == 0:
                raise OSError(f"{name_of(self._target)}: takes no more bytes")
            piece = piece[n:] if isinstance(n, int) else b""  # many return nothing, and took it all

    def flush(self) -> None:
        """What was written is where its reader looks for it."""
        if hasattr(self, "_target") and hasattr(self._target, "flush") and not getattr(self._target, "closed", False):
            self._target.flush()

    def close(self) -> None:
        """The object is its owner's: left open."""


class Reader:
    """Reads so many bytes in turn; ModelFormatError for what a decompressor cannot unpack."""

    def __init__(self, source: Any) -> None:
        if not _may(source, "read", "readable"):
            raise ValueError(f"{name_of(source)}: found a file that can only be written, wanted one opened for reading")
        self._source = source

    def read(self, n: int) -> bytes:
        """n bytes, or those that are left."""
        data = bytearray()
        while len(data) < n and (piece := self._piece(min(n - len(data), PIECE))):
            data += piece
        return bytes(data)

    def readinto(self, view: memoryview) -> int:
        """Fills the view; how many bytes there were."""
        done = 0
        while done < len(view) and (piece := self._piece(min(len(view) - done, PIECE))):
            view[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def _piece(self, n: int) -> bytes:
        try:
            piece = self._source.read(n)
        except (EOFError, zlib.error, gzip.BadGzipFile, _lzma_error()) as e:
            raise ModelFormatError(f"{name_of(self._source)}: truncated or altered compressed data ({e})") from e
        if isinstance(piece, str):
            raise TypeError(f"{name_of(self._source)}: found a file opened for text, wanted one for bytes: mode 'rb'")
        return piece or b""


def _may(target: Any, method: str, question: str) -> bool:
    """Whether it has the method, and says that it can where it can be asked; a closed file says so itself."""
    can = getattr(target, question, None)
    return hasattr(target, method) and (getattr(target, "closed", False) or not callable(can) or bool(can()))


def _lzma_error() -> type[Exception]:
    """The error of a module that need not be loaded."""
    found: type[Exception] = getattr(sys.modules.get("lzma"), "LZMAError", EOFError)
    return found
