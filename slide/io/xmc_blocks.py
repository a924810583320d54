"""Training on more rows than fit memory: they come in blocks, and while one is trained on the next is read.

What a fit holds of the rows it has seen is what it counts of them: the pairs of the sparse part, and how often labels
were met.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from slide.checks import require
from slide.engine.threads import resolve_threads, usable_threads
from slide.engine.xmc_fault import Fault, Kind
from slide.errors import DataFormatError
from slide.io.content import check_there, opened
from slide.io.xmc import Pair, describe, matrices, parse

ROWS = 30_000
PIECE = 1 << 22  # read at a time


class XMCBlocks:
    """Files in the extreme classification repository's text format, read in blocks of rows as often as asked.

    Parameters
    ----------
    paths : path, or several
        Plain text or packed, as for read_xmc; files whose headers agree in features and labels follow each other.
    rows : int
        Rows of a block; the last one of a file may have fewer. What reading takes grows with them: measured at 76
        features a row, 100 MB for 10,000 rows and 530 MB for 100,000.
    n_threads : int or None
        Threads that parse; None for as many as this process may use.

    Attributes
    ----------
    n_features, n_labels : int
    n_rows : int
        As the headers say.

    Iterating gives pairs (X, Y) as `read_xmc` does; each pass reads the files anew.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DataFormatError
        A file is malformed, when that part of it is read; or headers do not agree.

    Examples
    --------
    >>> import tempfile, slide
    >>> X, Y = slide.datasets.synthetic(1000, 300, 50, nnz=8, labels_per_row=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     slide.write_xmc(folder + "/train.txt", X, Y)
    ...     blocks = slide.XMCBlocks(folder + "/train.txt", rows=400)
    ...     sizes = [X.shape[0] for X, Y in blocks]
    ...     clf = slide.SlideClassifier(hidden=(16,), epochs=2).fit_blocks(blocks)
    >>> sizes
    [400, 400, 200]
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        rows: int = ROWS,
        *,
        n_threads: int | None = None,
    ) -> None:
        one = isinstance(paths, str | os.PathLike)
        self.paths = [Path(paths)] if one else [Path(p) for p in paths]  # type: ignore[arg-type, union-attr]
        require(len(self.paths) > 0, "paths", paths, "at least one file")
        require(isinstance(rows, int) and rows >= 1, "rows", rows, "a whole number, 1 or more")
        self.rows, self._n_threads = rows, usable_threads(resolve_threads(n_threads))
        headers = [self._header(path) for path in self.paths]
        self.n_features, self.n_labels = headers[0][1:]
        for path, (_, *columns) in zip(self.paths, headers, strict=True):
            if columns != [self.n_features, self.n_labels]:
                found = f"{columns[0]:,} features and {columns[1]:,} labels"
                wanted = f"the {self.n_features:,} and {self.n_labels:,} of {self.paths[0]}"
                raise DataFormatError(f"{path}, line 1: found {found}, wanted {wanted}")
        self.n_rows = sum(n for n, *_ in headers)

    def __iter__(self) -> Iterator[Pair]:
        for path in self.paths:
            yield from self._blocks(path)

    def __repr__(self) -> str:
        return f"XMCBlocks({[str(p) for p in self.paths]}, rows={self.rows})"

    def _header(self, path: Path) -> tuple[int, int, int]:
        """Rows, features and labels."""
        check_there(path)
        if not path.is_file():
            raise ValueError(f"{path}: found no regular file, wanted one that can be read several times")
        with opened(path) as content:
            line = content.file.readline(PIECE)
        n = _rows_of(line)
        text = line.replace(b"%d" % n, b"0", 1)
        try:
            *_, n_features, n_labels = parse(text, 1)
        except Fault as fault:
            raise DataFormatError(describe(fault, os.fspath(path), text)) from None
        return n, n_features, n_labels

    def _blocks(self, path: Path) -> Iterator[Pair]:
        with opened(path) as content:
            wanted, seen = _rows_of(content.file.readline(PIECE)), 0
            for text, n in _line_blocks(content.file, self.rows):
                n = min(n, wanted - seen)  # blank lines may follow the last row
                head = b"%d %d %d\n" % (n, self.n_features, self.n_labels)
                try:
                    pair = matrices(parse(head + text, self._n_threads))
                except Fault as fault:
                    if fault.kind is Kind.ROWS:
                        raise _wrong_rows(path, "more", wanted) from None
                    fault.line += seen
                    raise DataFormatError(describe(fault, os.fspath(path), head + text)) from None
                if n:
                    yield pair
                seen += n
        if seen < wanted:
            raise _wrong_rows(path, f"{seen:,}", wanted)


def _wrong_rows(path: Path, found: str, wanted: int) -> DataFormatError:
    return DataFormatError(f"{path}: found {found} rows, wanted the {wanted:,} that the header promises")


def _rows_of(header: bytes) -> int:
    """The first number of a header; 0 where there is none, which is for the parser to say."""
    words = header.removeprefix(codecs.BOM_UTF8).split()
    return int(words[0]) if words and words[0].isdigit() and len(words[0]) <= 18 else 0


def _line_blocks(file: BinaryIO, rows: int) -> Iterator[tuple[bytes, int]]:
    """The rest of a file in pieces of so many lines, and how many there are in each."""
    before: list[bytes] = []  # of the block to come
    missing = rows
    while piece := file.read(PIECE):
        ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n")) + 1
        begin = 0
        for end in ends[missing - 1 :: rows].tolist():
            yield b"".join([*before, piece[begin:end]]), rows
            before, missing, begin = [], rows, end
        before.append(piece[begin:])
        missing -= piece.count(b"\n", begin)
    rest = b"".join(before)
    if rest:
        yield rest, rest.count(b"\n") + (not rest.endswith(b"\n"))
