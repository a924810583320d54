"""What workers of a distributed fit need of whatever carries their messages: eight methods over NumPy arrays.

`Local` (local.py) is one process with a thread a worker, for tests; torch's gloo (gloo.py) and MPI (mpi.py) are between
processes. A group is of one generation: when workers come or go, those that stay make the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class PeerLost(ConnectionError):
    """A worker does not answer: it died, or the network between is down. The group that raised it is of no more use."""


class Group(Protocol):
    """Workers 0 to size - 1 that run the same program: each call is made by all of them, in the same order.

    Arrays are C-contiguous, and of the same shape and dtype at all workers. All calls raise PeerLost.
    """

    @property
    def rank(self) -> int:
        """The number of this worker."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    @property
    def generation(self) -> int:
        """How many groups there were before this one."""
        ...

    def all_reduce(self, array: Array) -> None:
        """Every worker's array becomes the sum of all, with the same bits everywhere."""
        ...

    def all_gather(self, array: Array) -> Array:
        """[size, *shape]: the arrays of all workers, by rank."""
        ...

    def broadcast(self, array: Array, root: int = 0) -> None:
        """Every worker's array becomes that of the root."""
        ...

    def send(self, array: Array, to: int) -> None:
        """To one worker, which calls recv."""
        ...

    def recv(self, array: Array, source: int) -> None:
        """Fills the array with what the source sends."""
        ...


class Posted(Protocol):
    """A message under way."""

    def wait(self) -> None:
        """Until it has been sent or received; only then may its array be touched."""
        ...


class Posting(Group, Protocol):
    """A group that can have several messages under way, which collectives of one's own need (trees.py)."""

    def iall_reduce(self, array: Array) -> Posted:
        """As all_reduce, but returns at once, where the group can: the array is the sum after wait(), and is not to be
        touched before."""
        ...

    def isend(self, array: Array, to: int, tag: int = 0) -> Posted:
        """As send, but returns at once."""
        ...

    def irecv(self, array: Array, source: int, tag: int = 0) -> Posted:
        """As recv, but returns at once. Messages of one sender and tag arrive in order."""
        ...


class Later:
    """What is done when it is waited for."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self.wait = wait


class SendsByPosts:
    """Messages that are waited for, of a group that can post them (Posting), and a sum that cannot be."""

    def iall_reduce(self, array: Array) -> Posted:
        """See Posting. Here all is done at wait()."""
        return Later(lambda: self.all_reduce(array))  # type: ignore[attr-defined]

    def send(self, array: Array, to: int) -> None:
        """See Group."""
        self.isend(array, to).wait()  # type: ignore[attr-defined]

    def recv(self, array: Array, source: int) -> None:
        """See Group."""
        self.irecv(array, source).wait()  # type: ignore[attr-defined]


def gather_ragged(group: Group, array: Array) -> list[Array]:
    """The arrays of all workers, whose lengths may differ and whose other dimensions and dtypes do not."""
    lengths = group.all_gather(np.array([len(array)], np.int64))[:, 0]
    padded = np.zeros((int(lengths.max(initial=0)), *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return [part[:n] for part, n in zip(group.all_gather(padded), lengths, strict=True)]


def collect(group: Group, array: Array, root: int = 0) -> list[Array] | None:
    """At the root: the arrays of all workers by rank, as gather_ragged; elsewhere None. Sent one after the other."""
    lengths = group.all_gather(np.array([len(array)], np.int64))[:, 0]
    if group.rank != root:
        if len(array):
            group.send(np.ascontiguousarray(array), root)
        return None
    parts = []
    for rank, n in enumerate(lengths.tolist()):
        part = array if rank == root else np.empty((n, *array.shape[1:]), array.dtype)
        if rank != root and n:
            group.recv(part, rank)
        parts.append(part)
    return parts
