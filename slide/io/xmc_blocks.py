"""Training on more rows than fit memory: they come in blocks, and while one is trained on the next is read.

What a fit holds of the rows it has seen is what it counts of them: the pairs of the sparse part, and how often labels
were met.
"""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from slide.checks import require
from slide.engine.protocol import Examples
from slide.engine.threads import resolve_threads, usable_threads
from slide.engine.xmc_fault import Fault, Kind
from slide.errors import DataFormatError
from slide.io.xmc import GZIP_MAGIC, check_there, describe, matrices, parse

Pair = tuple[sp.csr_array, sp.csr_array]
ROWS = 30_000
PIECE = 1 << 22  # read at a time
WANTED = "pairs (X, y) to go through several times: a list, slide.XMCBlocks, or a class with __iter__"


class XMCBlocks:
    """Files in the extreme classification repository's text format, read in blocks of rows as often as asked.

    Parameters
    ----------
    paths : path, or several
        Plain text or gzip, told apart by content; files whose headers agree in features and labels follow each other.
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
        with _opened(path) as file:
            line = _whole(path, lambda: file.readline(PIECE))
        n = _rows_of(line)
        text = line.replace(b"%d" % n, b"0", 1)
        try:
            *_, n_features, n_labels = parse(text, 1)
        except Fault as fault:
            raise DataFormatError(describe(fault, os.fspath(path), text)) from None
        return n, n_features, n_labels

    def _blocks(self, path: Path) -> Iterator[Pair]:
        with _opened(path) as file:
            wanted, seen = _rows_of(_whole(path, lambda: file.readline(PIECE))), 0
            for text, n in _line_blocks(path, file, self.rows):
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


def _opened(path: Path) -> BinaryIO:
    with open(path, "rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    return gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[return-value]


def _whole(path: Path, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataFormatError(f"{path}: truncated or altered gzip file ({error})") from error


def _line_blocks(path: Path, file: BinaryIO, rows: int) -> Iterator[tuple[bytes, int]]:
    """The rest of a file in pieces of so many lines, and how many there are in each."""
    before: list[bytes] = []  # of the block to come
    missing = rows
    while piece := _whole(path, lambda: file.read(PIECE)):
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


class Prepared:
    """Blocks as a network takes them, a slide.training.loop.Source; counts what it meets when gone through the first time.

    n_rows, n_unlabelled : int, rows, and those without a label
    n_values, n_labels : int, entries of X and of Y
    """

    def __init__(self, blocks: Iterable[Any], prepare: Callable[[Any, Any], Pair]) -> None:
        self._blocks, self._prepare, self._is_counted = blocks, prepare, False
        self.n_rows = self.n_unlabelled = self.n_values = self.n_labels = 0

    def __iter__(self) -> Iterator[Pair]:
        for number, block in enumerate(self._blocks, 1):
            if not isinstance(block, tuple | list) or len(block) != 2:
                raise ValueError(f"block {number}: found {type(block).__name__}, wanted a pair (X, y)")
            try:
                X, Y = self._prepare(*block)
            except ValueError as e:
                raise ValueError(f"block {number}: {e}") from e
            if not self._is_counted:
                self.n_rows += X.shape[0]
                self.n_unlabelled += int((np.diff(Y.indptr) == 0).sum())
                self.n_values += X.nnz
                self.n_labels += Y.nnz
            yield X, Y
        self._is_counted = True

    def blocks(self) -> Iterator[tuple[Examples, Examples]]:
        """Rows and labels, after a first pass.

        Raises
        ------
        ValueError
            If there are more rows than the first time, or fewer.
        """
        seen = 0
        with closing(ahead(self)) as pairs:
            for X, Y in pairs:
                seen += X.shape[0]
                if seen > self.n_rows:
                    break
                yield Examples.of(X), Examples.of(Y)
        if seen != self.n_rows:
            found = "more" if seen > self.n_rows else f"{seen:,}"
            raise ValueError(f"blocks: found {found} rows in a later pass, wanted the {self.n_rows:,} of the first")


def check_blocks(blocks: Any) -> None:
    """Refuses what can be gone through only once."""
    ok = isinstance(blocks, Iterable) and not isinstance(blocks, Iterator)
    require(ok, "blocks", type(blocks).__name__, WANTED)


def first_of(blocks: Any) -> tuple[Any, Any]:
    """The first pair; refuses what has none."""
    check_blocks(blocks)
    for first in blocks:
        is_pair = isinstance(first, tuple | list) and len(first) == 2
        require(is_pair, "blocks", type(first).__name__, WANTED)
        return first[0], first[1]
    raise ValueError(f"blocks: found none, wanted {WANTED}")


def ahead(pairs: Iterable[Pair]) -> Generator[Pair]:
    """The same; each is made by a thread while the one before it is in use."""
    source = iter(pairs)
    with ThreadPoolExecutor(1, "slide-blocks") as pool:
        coming = pool.submit(next, source, None)
        while (pair := coming.result()) is not None:
            coming = pool.submit(next, source, None)
            yield pair
