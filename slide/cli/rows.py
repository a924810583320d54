"""Rows that are predicted a block at a time, whatever they are read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from slide.io.arriving import ROWS


class RowsToPredict(NamedTuple):
    """A block of rows as predict_topk takes them: CSR [n, n_features], or a list of n texts.

    total : how many rows there will be in all blocks, as far as that can be told; it may be an estimate
    ids : what a column of the table calls them, if one was asked for
    """

    X: Any
    total: int | None
    ids: Sequence[Any] | None = None

    @property
    def n_rows(self) -> int:
        """Of this block."""
        return len(self.X) if isinstance(self.X, list) else int(self.X.shape[0])


def cut(X: Any, rows: int = ROWS) -> Iterator[RowsToPredict]:
    """Rows in memory in blocks; a single one where there are none."""
    n = X.shape[0]
    for first in range(0, max(n, 1), rows):
        yield RowsToPredict(X[first : first + rows], n)


def or_none(blocks: Iterable[RowsToPredict], nothing: Any) -> Iterator[RowsToPredict]:
    """The blocks that have rows, or one that has none: what is written of no rows has a header too."""
    filled = (block for block in blocks if block.n_rows)
    first = next(filled, RowsToPredict(nothing, 0))
    return chain([first], filled)


def numbered(blocks: Iterable[RowsToPredict]) -> Iterator[RowsToPredict]:
    """With numbers from 0 for ids, where there are none."""
    first = 0
    for block in blocks:
        yield block if block.ids is not None else block._replace(ids=range(first, first + block.n_rows))
        first += block.n_rows


def gathered(blocks: Iterable[RowsToPredict]) -> tuple[Iterator[RowsToPredict], list[Any]]:
    """All of them in memory, with how many rows there are indeed; and the ids of all."""
    held = list(blocks)
    n = sum(block.n_rows for block in held)
    return (block._replace(total=n) for block in held), [one for block in held for one in block.ids or ()]
