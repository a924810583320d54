"""Where a fit's rows come from: memory, or blocks of which the next is read while one is trained on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from slide.checks import require
from slide.engine.protocol import Examples
from slide.training.weights import TrainingRows


class Source(Protocol):
    """Where a fit's rows come from: in blocks, of which those of one are shuffled; the same ones in every epoch."""

    @property
    def n_rows(self) -> int: ...

    def blocks(self) -> Iterator[tuple[Examples, Examples]]:
        """Rows and their labels."""

    def counts(self) -> dict[str, float]:
        """What there is to say of the rows before they are trained on: Progress.data."""


@dataclass(frozen=True)
class InMemory:
    """All rows in memory: one block."""

    X: Examples
    Y: Examples

    @property
    def n_rows(self) -> int:
        return len(self.X.indptr) - 1

    def blocks(self) -> Iterator[tuple[Examples, Examples]]:
        """The one."""
        yield self.X, self.Y

    def counts(self) -> dict[str, float]:
        """Of all rows."""
        empty, unlabelled = (int((np.diff(part.indptr) == 0).sum()) for part in (self.X, self.Y))
        return _counts(self.n_rows, len(self.Y.indices), empty, unlabelled)


def _counts(n_rows: int, n_labels: int, empty: int, unlabelled: int) -> dict[str, float]:
    means = {"labels_per_row": n_labels / max(n_rows, 1)}
    return means | {"rows_without_features": empty, "rows_without_labels": unlabelled}


WANTED = "pairs (X, y) to go through several times: a list, slide.XMCBlocks, or a class with __iter__"


class BlockSource:
    """Blocks as a network takes them, a Source; counts what it meets when gone through the first time.

    n_rows, n_empty, n_unlabelled : int, rows, those without a feature, and those without a label
    n_values, n_labels : int, entries of X and of Y
    """

    def __init__(self, blocks: Iterable[Any], prepare: Callable[..., TrainingRows]) -> None:
        """prepare : turns a block's X, Y and weights, if it has any, into checked rows."""
        self._blocks, self._prepare, self._is_counted = blocks, prepare, False
        self.n_rows = self.n_empty = self.n_unlabelled = self.n_values = self.n_labels = 0

    def __iter__(self) -> Iterator[TrainingRows]:
        for number, block in enumerate(self._blocks, 1):
            if not _is_block(block):
                raise ValueError(f"block {number}: found {type(block).__name__}, wanted a pair (X, y)")
            try:
                rows = self._prepare(*block)
            except (ValueError, TypeError) as e:
                raise (TypeError if isinstance(e, TypeError) else ValueError)(f"block {number}: {e}") from e
            if not self._is_counted:
                self.n_rows += rows.X.shape[0]
                self.n_empty += int((np.diff(rows.X.indptr) == 0).sum())
                self.n_unlabelled += int((np.diff(rows.Y.indptr) == 0).sum())
                self.n_values += rows.X.nnz
                self.n_labels += rows.Y.nnz
            if rows.X.shape[0]:
                yield rows
        self._is_counted = True

    def again(self) -> BlockSource:
        """The same blocks, to be counted anew."""
        return BlockSource(self._blocks, self._prepare)

    def first_pass(self, count: Callable[[Any, Any], None] | None, keep_labels: bool) -> sp.csr_array | None:
        """Goes through all blocks, handing each to `count`; the labels of all rows, if they are to be kept.

        Raises
        ------
        ValueError
            If there are none.
        """
        labels = []
        for rows in prefetch(self):
            if count:
                count(rows.X, rows.Y)
            if keep_labels:
                labels.append(rows.Y)
        if not self.n_rows:
            raise ValueError(f"blocks: found none, wanted {WANTED}")
        return sp.vstack(labels, format="csr") if keep_labels else None

    def counts(self) -> dict[str, float]:
        """Of all rows, after a first pass."""
        return _counts(self.n_rows, self.n_labels, self.n_empty, self.n_unlabelled)

    def blocks(self) -> Iterator[tuple[Examples, Examples]]:
        """Rows and labels, after a first pass.

        Raises
        ------
        ValueError
            If there are more rows than the first time, or fewer.
        """
        seen = 0
        with closing(prefetch(self)) as blocks:
            for rows in blocks:
                seen += rows.X.shape[0]
                if seen > self.n_rows:
                    break
                yield Examples.of(rows.X, rows.weights), Examples.of(rows.Y)
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
        require(_is_block(first), "blocks", type(first).__name__, WANTED)
        return first[0], first[1]
    raise ValueError(f"blocks: found none, wanted {WANTED}")


def _is_block(block: Any) -> bool:
    """X and y, and weights where there are some."""
    return isinstance(block, tuple | list) and len(block) in (2, 3)


def prefetch(blocks: Iterable[TrainingRows]) -> Generator[TrainingRows]:
    """The same; each is made by a thread while the one before it is in use."""
    source = iter(blocks)
    with ThreadPoolExecutor(1, "slide-blocks") as pool:
        coming = pool.submit(next, source, None)
        while (block := coming.result()) is not None:
            coming = pool.submit(next, source, None)
            yield block
