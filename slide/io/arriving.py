"""What comes a piece at a time: standard input and pipes as they arrive, and lines of any file in blocks.

A block ends where enough lines are together, or where what follows has not arrived yet: so a command answers what it
was given so far, as a filter behind ``tail -f`` must. What files are packed in is slide/io/content.py's; rows of
features are made of blocks in slide/io/row_blocks.py, tables of text in slide/text/table_blocks.py.
"""

from __future__ import annotations

import codecs
import io
import os
import select
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from slide.engine.memory import available_memory
from slide.errors import DataFormatError
from slide.io.content import HEAD, Content, Source, opened, read_pieces

ROWS = 1024  # of a block
PIECE = 1 << 22  # bytes read at a time
TEXT_PIECE = 1 << 18  # which become strings of one to four times as many


class Arriving:
    """A stream that `slide.io.content.opened` takes for a file, without waiting for its end.

    What was read can be read again (`seek`) until `release`: by then its kind is known. A read gives what has arrived;
    the first one waits for a whole line, since kinds are told by it.
    """

    def __init__(self, stream: Any, name: str, *, owned: bool = False) -> None:
        self.name, self._owned = name, owned
        self._stream, self._take = stream, getattr(stream, "read1", stream.read)
        self._kept, self._at, self._keeps, self._ended = bytearray(), 0, True, False

    def head(self) -> bytes:
        """The first line that is not blank, or more; less where the stream ends before."""
        while not self._ended and len(self._kept) < HEAD and b"\n" not in self._kept.lstrip():
            self._more(HEAD)
        return bytes(self._kept)

    def read(self, n: int = -1) -> bytes:
        """At most n bytes, those that have arrived; all there will be if n is negative."""
        if n < 0:
            return b"".join(iter(lambda: self.read(PIECE), b""))
        if self._keeps:
            self.head()
        if self._at == len(self._kept):
            self._more(n)
        piece = bytes(self._kept[self._at : self._at + n])
        self._at += len(piece)
        self._forget()
        return piece

    def readline(self, n: int) -> bytes:
        """A line, or n bytes where it is longer."""
        while (end := self._kept.find(b"\n", self._at) + 1) == 0 and len(self._kept) - self._at < n and not self._ended:
            self._more(n)
        return self.read(min(n, (end or len(self._kept)) - self._at))

    def seekable(self) -> bool:
        return self._keeps

    def tell(self) -> int:
        """Of what can be read again."""
        return self._at

    def seek(self, at: int, whence: int = os.SEEK_SET) -> int:
        """Back to what was read."""
        if not self._keeps or whence != os.SEEK_SET or at > len(self._kept):
            raise io.UnsupportedOperation(f"{self.name}: comes once")
        self._at = at
        return at

    def release(self) -> None:
        """From here on what was read is forgotten."""
        self._keeps = False
        self._forget()

    def waits(self) -> bool:
        """Whether a read would have to wait."""
        if self._at < len(self._kept) or self._ended:
            return False
        try:
            return not select.select([self._stream.fileno()], [], [], 0)[0]
        except (OSError, ValueError, AttributeError):  # in memory
            return False

    def close(self) -> None:
        """The stream, if it was opened for this."""
        if self._owned:
            self._stream.close()

    def _more(self, n: int) -> None:
        piece = self._take(n)
        self._ended = not piece
        self._kept += piece

    def _forget(self) -> None:
        if not self._keeps:
            del self._kept[: self._at]
            self._at = 0


@contextmanager
def reading(source: Source | Arriving) -> Iterator[Content]:
    """As `slide.io.content.opened`, of what arrives too."""
    try:
        with opened(source) as content:  # type: ignore[arg-type]
            yield content
    finally:
        if isinstance(source, Arriving):
            source.close()


def waits(file: Any) -> bool:
    """Whether what follows in a file has not arrived yet."""
    return isinstance(file, Arriving) and file.waits()


def release(source: Any) -> None:
    """What can only be read again while it is kept need not be kept: its kind is known."""
    if isinstance(source, Arriving):
        source.release()


def at_once(content: Content) -> Content:
    """What has to be read whole: all that arrives, in memory."""
    if not isinstance(content.file, Arriving):
        return content
    return replace(content, file=io.BytesIO(read_pieces(content.file, content.label, available_memory())), start=0)


def expected_rows(content: Content, n: int) -> int | None:
    """How many rows a file may have, of which n are in what was read of it; None where its length is not known."""
    if not content.whole:
        return None
    size, at = os.fstat(content.file.fileno()).st_size, content.file.tell()
    return n if at >= size else n * size // max(at, 1)


def line_blocks(file: BinaryIO, rows: int, piece_size: int = PIECE) -> Iterator[tuple[bytes, int]]:
    """The rest of a file in pieces of so many lines, fewer where others have not arrived; and how many in each."""
    before: list[bytes] = []  # of the block to come
    missing = rows
    while piece := file.read(piece_size):
        ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n")) + 1
        begin = 0
        for end in ends[missing - 1 :: rows].tolist():
            yield b"".join([*before, piece[begin:end]]), rows
            before, missing, begin = [], rows, end
        before.append(piece[begin:])
        missing -= piece.count(b"\n", begin)
        if missing < rows and waits(file):
            text, end, rest = b"".join(before).rpartition(b"\n")
            yield text + end, rows - missing
            before, missing = [rest], rows
    rest = b"".join(before)
    if rest:
        yield rest, rest.count(b"\n") + (not rest.endswith(b"\n"))


class Lines:
    """The lines of a text in UTF-8, with their ends, which may be those of any system; DataFormatError for others."""

    def __init__(self, file: BinaryIO, label: str) -> None:
        self._file, self._label = file, label
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=False)
        self._lines: deque[str] = deque()
        self._begun: list[str] = []  # of a line whose end has not come
        self._number, self._column, self._ended = 1, 0, False  # of what is read next; column in bytes

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        while not self._lines:
            if self._ended:
                raise StopIteration
            self._read()
        return self._lines.popleft()

    def waits(self) -> bool:
        """Whether the next line has not arrived yet."""
        return not self._lines and waits(self._file)

    def _read(self) -> None:
        piece = self._file.read(TEXT_PIECE)
        self._ended = not piece
        text = self._decoded(piece)
        self._begun.append(text)
        if "\n" in text or "\r" in text or self._ended:
            lines = list(io.StringIO("".join(self._begun), newline=""))
            self._begun = [lines.pop()] if lines and not self._ended and lines[-1][-1] not in "\r\n" else []
            self._lines.extend(lines)

    def _decoded(self, piece: bytes) -> str:
        try:
            text: str = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as e:
            at = e.start - len(e.object) + len(piece)  # in the piece, or before it
            begin = piece.rfind(b"\n", 0, max(at, 0)) + 1
            number = self._number + piece.count(b"\n", 0, begin)
            column = at - begin + 1 if begin else self._column + at + 1
            raise DataFormatError(f"{self._label}: {not_utf8(number, column, e.object[e.start])}") from e
        ends = piece.count(b"\n")
        self._number += ends
        self._column = len(piece) - piece.rfind(b"\n") - 1 if ends else self._column + len(piece)
        return text


def not_utf8(line: int, column: int, byte: int) -> str:
    """What to say of a byte; both count from 1."""
    found = f"the byte 0x{byte:02x}, which is no UTF-8"
    return f"line {line:,}, column {column:,}: found {found}, wanted text saved as UTF-8"
