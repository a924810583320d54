"""Training on more rows than fit memory: they come in blocks, and while one is trained on the next is read.

What a fit holds of the rows it has seen is what it counts of them: the pairs of the sparse part, and how often labels
were met.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from slide.checks import require
from slide.engine.threads import resolve_threads, usable_threads
from slide.engine.xmc_fault import Fault, Kind
from slide.errors import DataFormatError
from slide.io.arriving import PIECE, line_blocks
from slide.io.content import Content, check_there, opened
from slide.io.xmc import Pair, describe, matrices, parse

ROWS = 30_000


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
            return read_header(content)

    def _blocks(self, path: Path) -> Iterator[Pair]:
        with opened(path) as content:
            yield from blocks_of(content, read_header(content), self.rows, self._n_threads)


def read_header(content: Content) -> tuple[int, int, int]:
    """Rows, features and labels, of a file at its start."""
    line = content.file.readline(PIECE)
    n = _rows_of(line)
    text = line.replace(b"%d" % n, b"0", 1)
    try:
        *_, n_features, n_labels = parse(text, 1)
    except Fault as fault:
        raise DataFormatError(describe(fault, content.label, text)) from None
    return n, n_features, n_labels


def blocks_of(content: Content, header: tuple[int, int, int], rows: int, n_threads: int) -> Iterator[Pair]:
    """X and Y of what follows the header, so many rows at a time, or those that have arrived."""
    wanted, n_features, n_labels = header
    seen = 0
    for text, n in line_blocks(content.file, rows, PIECE):
        n = min(n, wanted - seen)  # blank lines may follow the last row
        head = b"%d %d %d\n" % (n, n_features, n_labels)
        try:
            pair = matrices(parse(head + text, n_threads))
        except Fault as fault:
            if fault.kind is Kind.ROWS:
                raise _wrong_rows(content.label, "more", wanted) from None
            fault.line += seen
            raise DataFormatError(describe(fault, content.label, head + text)) from None
        if n:
            yield pair
        seen += n
    if seen < wanted:
        raise _wrong_rows(content.label, f"{seen:,}", wanted)


def _wrong_rows(label: str, found: str, wanted: int) -> DataFormatError:
    return DataFormatError(f"{label}: found {found} rows, wanted the {wanted:,} that the header promises")


def _rows_of(header: bytes) -> int:
    """The first number of a header; 0 where there is none, which is for the parser to say."""
    words = header.removeprefix(codecs.BOM_UTF8).split()
    return int(words[0]) if words and words[0].isdigit() and len(words[0]) <= 18 else 0
