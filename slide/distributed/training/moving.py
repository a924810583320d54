"""Moves rows between workers when their ranges change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.distributed.transport.group import Array, Group
from slide.engine.state import WideState

Range = tuple[int, int]
MESSAGE = 2**24  # bytes of rows that are sent at a time


def overlap(a: Range, b: Range) -> Range:
    """What two ranges have in common; where it is nothing, a range without length."""
    first, end = max(a[0], b[0]), min(a[1], b[1])
    return (first, end) if first < end else (0, 0)


def missing(wanted: Range, held: Sequence[Range]) -> list[Range]:
    """Those parts of a range that are in none of the others, which do not overlap."""
    found, at = [], wanted[0]
    for first, end in sorted(overlap(wanted, one) for one in held):
        if end > first:
            if first > at:
                found.append((at, first))
            at = end
    return [*found, (at, wanted[1])] if at < wanted[1] else found


@dataclass(frozen=True)
class Piece:
    """A range of rows that a worker has."""

    rank: int
    range: Range


def move_rows(
    group: Group, pieces: Sequence[Piece], new: Sequence[Range], own: Sequence[Array | None], to: Array
) -> None:
    """Fills `to`, the rows of new[rank], with what the workers have: own[i] is pieces[i], None if it is another's."""

    def send(piece: int, target: int, part: Range) -> None:
        held = own[piece]
        assert held is not None
        begin = part[0] - pieces[piece].range[0]
        rows = held[begin : begin + part[1] - part[0]]
        if pieces[piece].rank == target:
            to[part[0] - new[target][0] : part[1] - new[target][0]] = rows
            return
        for some in _messages(rows):
            group.send(np.ascontiguousarray(some), target)

    def receive(piece: int, target: int, part: Range) -> None:
        rows = to[part[0] - new[target][0] : part[1] - new[target][0]]
        for some in _messages(rows):
            got = np.empty_like(some)
            group.recv(got, pieces[piece].rank)
            some[...] = got

    _each_pair(group, pieces, new, send, receive)


def move_pairs(
    group: Group, pieces: Sequence[Piece], new: Sequence[Range], own: Sequence[WideState | None]
) -> list[tuple[Range, dict[str, Array]]]:
    """The pairs of the labels new[rank], as (range, arrays by name) from each piece that has some."""
    found = []

    def send(piece: int, target: int, part: Range) -> None:
        state = own[piece]
        assert state is not None
        first = pieces[piece].range[0]
        arrays = pairs_of(state, part[0] - first, part[1] - first)
        if pieces[piece].rank == target:
            found.append((part, arrays))
            return
        for array in arrays.values():
            group.send(np.array([len(array)], np.int64), target)
            if len(array):
                group.send(array, target)

    def receive(piece: int, target: int, part: Range) -> None:
        arrays, source = {}, pieces[piece].rank
        for name, dtype in PAIR_ARRAYS.items():
            length = np.empty(1, np.int64)
            group.recv(length, source)
            arrays[name] = np.empty(int(length[0]), dtype)
            if length[0]:
                group.recv(arrays[name], source)
        found.append((part, arrays))

    _each_pair(group, pieces, new, send, receive)
    return found


PAIR_ARRAYS: dict[str, npt.DTypeLike] = {
    "indptr": np.int64,
    "labels": np.int32,
    "weights": np.float32,
    "bias": np.float32,
}


def pairs_of(state: WideState, first: int, end: int) -> dict[str, Array]:
    """Those of labels first to end - 1, numbered from 0: CSR by feature. The state's own, where these are all."""
    if (first, end) == (0, len(state.bias)):
        return {name: getattr(state, name) for name in PAIR_ARRAYS}
    inside = (state.labels >= first) & (state.labels < end)
    indptr = np.concatenate([[0], np.cumsum(inside, dtype=np.int64)])[state.indptr]
    labels = (state.labels[inside] - first).astype(np.int32)
    return {"indptr": indptr, "labels": labels, "weights": state.weights[inside], "bias": state.bias[first:end].copy()}


def joined_pairs(parts: Sequence[tuple[Range, dict[str, Array]]], whole: Range, into: WideState) -> None:
    """Puts pairs of parts of the labels `whole` into a state, in place of those that it has."""
    counts = np.zeros(len(into.indptr) - 1, np.int64)
    for _, arrays in parts:
        counts += np.diff(arrays["indptr"])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    labels, weights = np.empty(int(indptr[-1]), np.int32), np.empty(int(indptr[-1]), np.float32)
    begin = indptr[:-1].copy()  # of each feature: where the next part's pairs go
    for (first, _), arrays in sorted(parts, key=lambda one: one[0]):
        at, own = first - whole[0], np.diff(arrays["indptr"])
        to = np.arange(len(arrays["labels"])) + np.repeat(begin - arrays["indptr"][:-1], own)
        labels[to], weights[to] = arrays["labels"] + np.int32(at), arrays["weights"]
        into.bias[at : at + len(arrays["bias"])] = arrays["bias"]
        begin += own
    into.indptr, into.labels, into.weights = indptr, labels, weights


def move_lists(
    group: Group, pieces: Sequence[Piece], new: Sequence[Range], own: Sequence[Array | None]
) -> list[tuple[Array, Array]]:
    """The entries of lists that are labels of new[rank], from each piece that has some: how many of each cell, and the
    labels, cell by cell. own[i] : int32 [cells, stride] lists of pieces[i] (QueryCells), None if it is another's
    """
    found = []

    def send(piece: int, target: int, part: Range) -> None:
        lists = own[piece]
        assert lists is not None
        entries = _entries(lists, pieces[piece].range[0], part)
        if pieces[piece].rank == target:
            found.append(entries)
            return
        for array in entries:
            group.send(np.array([len(array)], np.int64), target)
            if len(array):
                group.send(array, target)

    def receive(piece: int, target: int, part: Range) -> None:
        source, length = pieces[piece].rank, np.empty(1, np.int64)
        arrays = []
        for _ in range(2):
            group.recv(length, source)
            arrays.append(np.empty(int(length[0]), np.int32))
            if length[0]:
                group.recv(arrays[-1], source)
        found.append((arrays[0], arrays[1]))

    _each_pair(group, pieces, new, send, receive)
    return found


def _entries(lists: Array, first: int, part: Range) -> tuple[Array, Array]:
    """Those of lists of labels from `first` that are of this part, by their numbers among all."""
    labels = lists[:, 1:] + np.int32(first)
    inside = (np.arange(labels.shape[1]) < lists[:, :1]) & (labels >= part[0]) & (labels < part[1])
    return inside.sum(axis=1, dtype=np.int32), labels[inside]


def join_lists(parts: Sequence[tuple[Array, Array]], whole: Range, capacity: int, into: Array) -> None:
    """Puts what move_lists found of the labels `whole` into lists int32 [cells, stride]: in each cell the first parts'
    entries first, as many as there is room for."""
    cells = np.concatenate([np.repeat(np.arange(len(counts)), counts) for counts, _ in parts])
    labels = np.concatenate([found for _, found in parts])
    order = np.argsort(cells, kind="stable")
    cells, labels = cells[order], labels[order]
    counts = np.bincount(cells, minlength=len(into))
    place = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
    fits = place < capacity
    into[:, 0] = np.minimum(counts, capacity)
    into[cells[fits], 1 + place[fits]] = labels[fits] - np.int32(whole[0])


def stacked(blocks: Sequence[sp.csr_array]) -> sp.csr_array:
    """Entries of matrices that have none in common, zeros kept, columns ascending."""
    rows = np.concatenate([np.repeat(np.arange(b.shape[0]), np.diff(b.indptr)) for b in blocks])
    columns, data = np.concatenate([b.indices for b in blocks]), np.concatenate([b.data for b in blocks])
    order = np.lexsort((columns, rows))
    counts = np.bincount(rows, minlength=blocks[0].shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return sp.csr_array((data[order], columns[order], indptr), shape=blocks[0].shape)


def _messages(rows: Array) -> list[Array]:
    step = max(1, MESSAGE // max(rows[:1].nbytes, 1))
    return [rows[i : i + step] for i in range(0, len(rows), step)]


def _each_pair(
    group: Group,
    pieces: Sequence[Piece],
    new: Sequence[Range],
    send: Callable[[int, int, Range], None],
    receive: Callable[[int, int, Range], None],
) -> None:
    """Calls what this worker has to do for each piece and each target of it, in an order that all keep."""
    for number, piece in enumerate(pieces):
        for target, wanted in enumerate(new):
            part = overlap(piece.range, wanted)
            if part[1] == part[0]:
                continue
            if group.rank == piece.rank:
                send(number, target, part)
            elif group.rank == target:
                receive(number, target, part)
