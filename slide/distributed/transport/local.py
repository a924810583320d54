"""A group of threads of one process: the same program as between machines, for tests and to try things out."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from slide.checks import require, whole
from slide.distributed.transport.group import Array, Group, Later, PeerLost, Posted, SendsByPosts

T = TypeVar("T")


class Meeting:
    """What the threads of a group share."""

    def __init__(self, size: int, timeout: float) -> None:
        self.size, self.timeout = size, timeout
        self.barrier = threading.Barrier(size, timeout=timeout)
        self.arrays: list[Array | None] = [None] * size
        self.lock, self.others = threading.Lock(), {}  # type: threading.Lock, dict[tuple[int, ...], Meeting]
        self.mail: dict[tuple[int, int, int], queue.Queue[Array]] = defaultdict(queue.Queue)  # (from, to, tag)

    def reordered(self, order: tuple[int, ...]) -> Meeting:
        """The one meeting of the same threads in this order."""
        with self.lock:
            if order not in self.others:
                self.others[order] = Meeting(self.size, self.timeout)
            return self.others[order]

    def wait(self) -> None:
        """Until all are here."""
        try:
            self.barrier.wait()
        except threading.BrokenBarrierError:
            raise PeerLost("a worker's thread has ended, or did not come in time") from None


class LocalGroup(SendsByPosts):
    """One thread's view of its group."""

    def __init__(self, meeting: Meeting, rank: int, generation: int = 0) -> None:
        self._meeting, self.rank, self.generation = meeting, rank, generation
        self.size = meeting.size
        self.bytes_sent = 0

    def all_gather(self, array: Array) -> Array:
        """See Group."""
        meeting = self._meeting
        meeting.arrays[self.rank] = array
        meeting.wait()
        found = np.stack([np.asarray(a) for a in meeting.arrays])
        meeting.wait()
        return found

    def all_reduce(self, array: Array) -> None:
        """See Group; added up by rank."""
        parts = self.all_gather(array)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        array[...] = total
        self.bytes_sent += 2 * array.nbytes * (self.size - 1) // self.size

    def broadcast(self, array: Array, root: int = 0) -> None:
        """See Group."""
        array[...] = self.all_gather(array)[root]

    def isend(self, array: Array, to: int, tag: int = 0) -> Posted:
        """See Posting."""
        if self._meeting.barrier.broken:
            raise PeerLost("this group has lost a worker")
        self._meeting.mail[self.rank, to, tag].put(array.copy())
        self.bytes_sent += array.nbytes
        return Later(lambda: None)

    def irecv(self, array: Array, source: int, tag: int = 0) -> Posted:
        """See Posting."""
        return Later(lambda: self._take(array, source, tag))

    def reordered(self, order: list[int]) -> LocalGroup:
        """A group of the same workers in which rank r is the one that is order[r] here. All call it."""
        return LocalGroup(self._meeting.reordered(tuple(order)), order.index(self.rank), self.generation)

    def _take(self, array: Array, source: int, tag: int) -> None:
        box = self._meeting.mail[source, self.rank, tag]
        for _ in range(max(1, int(self._meeting.timeout * 10))):
            if self._meeting.barrier.broken:
                break
            try:
                array[...] = box.get(timeout=0.1)
                return
            except queue.Empty:
                continue
        raise PeerLost(f"worker {source} sent nothing")

    def break_off(self) -> None:
        """Makes all calls of this group's threads raise PeerLost, those that wait too."""
        self._meeting.barrier.abort()


def run_local(size: int, work: Callable[[Group], T], timeout: float = 60.0) -> list[T]:
    """Calls work(group) in `size` threads and returns what each returned, by rank.

    Raises what the first of them raised that was not PeerLost, which the others then see.
    """
    require(whole(size) >= 1, "workers", size, "an int, 1 or more")
    meeting = Meeting(size, timeout)
    results: list[Any] = [None] * size
    errors: list[BaseException | None] = [None] * size

    def one(rank: int) -> None:
        try:
            results[rank] = work(LocalGroup(meeting, rank))
        except BaseException as error:
            errors[rank] = error
            meeting.barrier.abort()

    threads = [threading.Thread(target=one, args=(rank,), name=f"slide-worker-{rank}") for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [e for e in errors if e is not None]
    if found:
        raise next((e for e in found if not isinstance(e, PeerLost)), found[0])
    return results
