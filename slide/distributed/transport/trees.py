"""All-reduce along trees: sums go up to the root, the result comes down, in chunks that follow each other.

Each tree takes a share of the array. A path, a star, two levels (racks whose leaders meet) and the packed trees of
Blink (Wang et al., MLSys 2020) are trees or sets of trees; topology.py finds those that suit a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from slide.distributed.transport.group import Array, Posted, Posting

CHUNK = 1 << 14  # bytes at least: a message has its price
CHUNKS = 32  # at most; the first has to go all the way up and down alone


@dataclass(frozen=True)
class Tree:
    """parents[r] is the worker that rank r sends its sum to, -1 at the root. share: of the array, from 0 to 1."""

    parents: tuple[int, ...]
    share: float = 1.0

    def children(self, rank: int) -> list[int]:
        """Who sends to this one, by rank."""
        return [child for child, parent in enumerate(self.parents) if parent == rank]

    def depth(self) -> int:
        """Edges from the root to the farthest leaf."""

        def above(rank: int) -> int:
            return 0 if self.parents[rank] < 0 else 1 + above(self.parents[rank])

        return max(above(rank) for rank in range(len(self.parents)))


def direct_all_reduce(group: Posting, array: Array) -> None:
    """Everybody sends its array to everybody: one step, for messages whose bytes cost less than their steps."""
    parts = np.empty((group.size, *array.shape), array.dtype)
    parts[group.rank] = array
    others = [rank for rank in range(group.size) if rank != group.rank]
    posted: list[Posted] = [group.irecv(parts[rank], rank) for rank in others]
    posted += [group.isend(parts[group.rank], rank) for rank in others]
    for message in posted:
        message.wait()
    np.sum(parts, axis=0, out=array, dtype=array.dtype)


def tree_all_reduce(group: Posting, array: Array, trees: Sequence[Tree], chunk: int = CHUNK) -> None:
    """The sum of all workers' arrays, which comes from one place and so has the same bits everywhere."""
    data = array.reshape(-1)
    ends = np.rint(np.cumsum([tree.share for tree in trees]) * len(data)).astype(int)
    ends[-1] = len(data)
    flows = []
    for number, (tree, start, end) in enumerate(zip(trees, (0, *ends[:-1]), ends, strict=True)):
        if end > start:
            flows.append(_Flow(group, data[start:end], tree, number, chunk))
    pending = [flow.steps() for flow in flows]
    while pending:  # a step of each tree in turn, so that none waits for another's end
        pending = [steps for steps in pending if next(steps, None) is not None]
    for flow in flows:
        flow.finish()


class _Flow:
    """One tree's share. All receives are posted at the start, with room of their own: gloo sends only what is awaited,
    and word of that would queue behind the data on a slow link.
    """

    def __init__(self, group: Posting, data: Array, tree: Tree, number: int, chunk: int) -> None:
        self.group, self.parent, self.up_tag, self.down_tag = (
            group,
            tree.parents[group.rank],
            2 * number + 1,
            2 * number + 2,
        )
        count = min(CHUNKS, max(1, data.nbytes // chunk))
        self.parts = np.array_split(data, count)
        self.lag = 2 * tree.depth()  # chunks that are on their way up and down meanwhile
        self.children = tree.children(group.rank)
        self.room = [np.empty_like(data) for _ in self.children]
        self.from_children = [
            [group.irecv(part, child, self.up_tag) for part in np.array_split(room, count)]
            for child, room in zip(self.children, self.room, strict=True)
        ]
        self.additions = [np.array_split(room, count) for room in self.room]
        self.result = np.array_split(np.empty_like(data), count) if self.parent >= 0 else self.parts
        self.from_parent = [group.irecv(part, self.parent, self.down_tag) for part in self.result if self.parent >= 0]
        self.sent_up: list[Posted] = []
        self.sent_down: list[Posted] = []

    def steps(self) -> Iterator[bool]:
        """Step s sends chunk s up, and what has come down of chunk s - lag."""
        for step in range(len(self.parts) + self.lag):
            if step < len(self.parts):
                self._up(step)
            if step >= self.lag:
                self._down(step - self.lag)
            yield True

    def _up(self, chunk: int) -> None:
        part = self.parts[chunk]
        for messages, additions in zip(self.from_children, self.additions, strict=True):
            messages[chunk].wait()
            part += additions[chunk]
        if self.parent >= 0:
            self.sent_up.append(self.group.isend(part, self.parent, self.up_tag))

    def _down(self, chunk: int) -> None:
        if self.parent >= 0:
            self.from_parent[chunk].wait()
        self.sent_down += [self.group.isend(self.result[chunk], child, self.down_tag) for child in self.children]
        if self.parent >= 0:
            self.sent_up[chunk].wait()  # before what was sent is overwritten
            self.parts[chunk][...] = self.result[chunk]

    def finish(self) -> None:
        """Until all that was sent has left."""
        for message in (*self.sent_up, *self.sent_down):
            message.wait()
