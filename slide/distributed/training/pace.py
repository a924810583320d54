"""Finds workers that are slower than the others, and gives them less to do.

A worker's own time of a block is what it spends outside of exchanges. Whoever takes LIMIT times the median for PATIENCE
blocks in a row gets a share by its speed, as do all; but no worker gets more than its memory was planned for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.distributed.transport.group import Array, Group, Later, Posted

LIMIT, PATIENCE = 1.25, 20
LEAST = 0.1  # of an equal share: so slow a worker is better replaced
LARGEST = 1.1  # times an equal share: what the others may come to hold
WORTH = 0.02  # of an equal share: moving rows for less than this costs more than it brings


class ClockedGroup:
    """A group that counts the seconds spent in it."""

    def __init__(self, group: Group) -> None:
        self.group, self.seconds = group, 0.0
        self._asked, self._waited = time.perf_counter(), 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.group, name)

    @property
    def rank(self) -> int:
        """See Group."""
        return self.group.rank

    @property
    def size(self) -> int:
        """See Group."""
        return self.group.size

    @property
    def generation(self) -> int:
        """See Group."""
        return self.group.generation

    def own_seconds(self) -> float:
        """Since it was last asked, those that were not spent in it."""
        now, waited = time.perf_counter(), self.seconds - self._waited
        found = now - self._asked - waited
        self._asked, self._waited = now, self.seconds
        return found

    def _clocked(self, call: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            self.seconds += time.perf_counter() - begin

    def all_reduce(self, array: Array) -> None:
        """See Group."""
        self._clocked(self.group.all_reduce, array)

    def iall_reduce(self, array: Array) -> Posted:
        """See Posting. What is counted is the wait."""
        posted: Posted = self.group.iall_reduce(array)  # type: ignore[attr-defined]
        return Later(lambda: self._clocked(posted.wait))

    def all_gather(self, array: Array) -> Array:
        """See Group."""
        found: Array = self._clocked(self.group.all_gather, array)
        return found

    def broadcast(self, array: Array, root: int = 0) -> None:
        """See Group."""
        self._clocked(self.group.broadcast, array, root)

    def send(self, array: Array, to: int) -> None:
        """See Group."""
        self._clocked(self.group.send, array, to)

    def recv(self, array: Array, source: int) -> None:
        """See Group."""
        self._clocked(self.group.recv, array, source)


class Pace:
    """What blocks took of all workers, the same at each of them."""

    def __init__(self, largest: float = LARGEST) -> None:
        """largest : the share that a worker may come to have, in equal ones"""
        self.largest = largest
        self.seconds: list[npt.NDArray[np.float64]] = []  # of the last blocks, by rank

    def take(self, seconds: npt.NDArray[np.float64]) -> None:
        """One block's, by rank."""
        if self.seconds and len(self.seconds[0]) != len(seconds):
            self.seconds.clear()
        self.seconds = [*self.seconds[-PATIENCE + 1 :], seconds]

    def straggles(self) -> bool:
        """Whether one worker was too slow in each of the last blocks."""
        if len(self.seconds) < PATIENCE or len(self.seconds[0]) < 2:
            return False
        recent = np.array(self.seconds)
        slow = recent > LIMIT * _of_others(recent)
        return bool(slow.all(axis=0).any())

    def better(self, shares: npt.NDArray[np.float64]) -> list[float] | None:
        """Shares by what each worker would do in equal time, after blocks in which they had these. None where nobody
        is slow, or nothing would be won. Sums: one.
        """
        if not self.straggles():
            return None
        typical = np.median(np.array(self.seconds), axis=0)
        self.seconds.clear()
        now = shares / shares.sum()
        wanted = limited(now / np.maximum(typical, 1e-9), LEAST / len(now), max(self.largest, 1.0) / len(now))
        return wanted.tolist() if np.abs(wanted - now).max() >= WORTH / len(now) else None


def limited(speeds: npt.NDArray[np.float64], least: float, most: float) -> npt.NDArray[np.float64]:
    """Shares as the speeds, but for those that would be less or more than these; their sum is one."""
    shares = np.full(len(speeds), np.nan)
    while np.isnan(shares).any():  # whoever is out of bounds gets the bound, and the others share the rest
        free = np.isnan(shares)
        wanted = speeds[free] / speeds[free].sum() * (1 - np.nansum(shares))
        bounded = np.clip(wanted, least, most)
        excess = (bounded - wanted).sum()
        fixed = bounded != wanted
        if excess > 0:
            fixed &= wanted < least
        elif excess < 0:
            fixed &= wanted > most
        shares[np.flatnonzero(free)[fixed]] = bounded[fixed]
        if not fixed.any():
            shares[free] = wanted
    return shares


def _of_others(recent: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[blocks, workers]: of each worker, the median of the others'."""
    n = recent.shape[1]
    found = [np.median(np.delete(recent, worker, axis=1), axis=1) for worker in range(n)]
    return np.stack(found, axis=1)
