"""What the work of one worker is given: its group, and how to come to the next one. ../engines.py runs such work.

def work(member):
    while True:
        try:
            ...                                       # blocks, with member.group
            if change := member.wants_change():       # at a block's end; all workers get the same answer
                ...                                   # hand over the rows of the ranks in change.leaving
                member.regroup()
        except PeerLost:
            member.regroup(lost=True)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from slide.distributed.transport.group import Group, PeerLost
from slide.distributed.transport.link import DriverLost, Link, packed


class Breakable(Group, Protocol):
    """A group that another thread can break off, so that a call that waits in it raises PeerLost."""

    def break_off(self) -> None:
        """Makes all calls raise PeerLost, those that wait too."""
        ...


MakeGroup = Callable[[int, int, int, Callable[[], bool]], Breakable]  # (generation, rank, size, is it over already?)


class CannotRegroup(RuntimeError):
    """The engine has one group only: after a loss the work has to start again from its checkpoint."""


@dataclass(frozen=True)
class Change:
    """What members agreed on at a block's end; false where there is nothing to do."""

    newcomers: int = 0  # workers that wait to come in
    leaving: tuple[int, ...] = ()  # ranks that will not be in the next group
    driver_lost: bool = False  # for longer than the patience: save and leave; regroup() is of no use

    def __bool__(self) -> bool:
        return bool(self.newcomers or self.leaving or self.driver_lost)


class Member:
    """One worker. `group` is its present group, `workers` the names of all by rank; a name is never used twice.

    `threads` is how many the engine grants it; None leaves it to the work.
    """

    group: Group

    def __init__(self, group: Group, threads: int | None = None) -> None:
        self.group, self.threads = group, threads
        self.name = f"rank-{group.rank}"
        self.workers = tuple(f"rank-{rank}" for rank in range(group.size))

    def regroup(self, lost: bool = False) -> Group:
        """The next group: after PeerLost, with lost=True, of those that live; after wants_change(), of those that stay
        and the newcomers, who have the last ranks. All members call it.

        Raises Dismissed where this worker is not in it, DriverLost where nobody can make it, CannotRegroup where the
        engine has one group only.
        """
        raise CannotRegroup("this engine has one group only: start the work again from its checkpoint")

    def wants_change(self) -> Change:
        """Whether somebody waits to come in, means to leave, or the driver has gone; the same answer at all workers.

        One all_reduce of some 8 bytes a worker.
        """
        return Change()

    def report(self, message: Any) -> None:
        """Tells the driver how the work goes; heard where supervise is told by whom."""

    def finish(self) -> None:
        """Waits until what rank 0 returned has arrived; at the other workers, who are needed if it is lost on the way.

        Raises PeerLost where it was.
        """

    def leave(self) -> None:
        """Says that this worker goes at the next change."""
        raise CannotRegroup("this engine has one group only: nobody can leave it")

    def want(self, workers: int) -> None:
        """Asks for this number of workers, within the bounds of the engine; they come or go at a later change."""
        raise CannotRegroup("this engine has one group only: it can neither grow nor shrink")


class ElasticMember(Member):
    """A member whose engine has a driver that keeps the membership."""

    def __init__(self, link: Link, make: MakeGroup, threads: int | None = None, patience: float = 30.0) -> None:
        """Waits until there is a group that has this worker in it. patience: seconds without a driver before it counts
        as lost.
        """
        self._link, self._make, self.name, self.threads, self.patience = link, make, link.name, threads, patience
        self._generation, self.workers = -1, ()  # type: tuple[int, tuple[str, ...]]
        link.on_driver_gone = self._leave_if_alone
        self._enter(lost=False)

    def regroup(self, lost: bool = False) -> Group:
        """See Member."""
        if lost:
            self._break_off()  # a worker that waits for this one alone hears of the loss by it
        self._link.ready(self._generation, lost)
        self._enter(lost)
        return self.group

    def wants_change(self) -> Change:
        """See Member."""
        link, size = self._link, self.group.size
        seen = np.zeros(2 + size, np.int64)
        gone_at = link.driver_gone_at
        seen[0] = link.pending
        seen[1] = gone_at is not None and time.monotonic() - gone_at >= self.patience
        seen[2:] = [name in link.leaving for name in self.workers]
        votes = np.zeros((size, len(seen)), np.int64)
        votes[self.group.rank] = seen
        self.group.all_reduce(votes)
        newcomers, driver_lost, *leaving = votes.max(axis=0).tolist()
        return Change(newcomers, tuple(rank for rank, leaves in enumerate(leaving) if leaves), bool(driver_lost))

    def report(self, message: Any) -> None:
        """See Member."""
        self._link.send({"report": packed(message)})

    def finish(self) -> None:
        """See Member."""
        if self.group.rank:
            self._link.wait_for_end(self._generation)

    def leave(self) -> None:
        """See Member."""
        self._link.send({"leave": True})

    def want(self, workers: int) -> None:
        """See Member."""
        self._link.send({"want": int(workers)})

    def _enter(self, lost: bool) -> None:
        """Makes the next group, and the one after it where a worker dies meanwhile."""
        while True:
            self._generation, self.workers = generation, workers = self._link.next_group(self._generation)
            try:
                group = self._make(
                    generation, workers.index(self.name), len(workers), partial(self._link.is_over, generation)
                )
            except PeerLost:
                self._link.ready(generation, lost=True)
                continue
            self.group = group
            self._link.on_over(generation, group.break_off)
            return

    def _break_off(self) -> None:
        self.group.break_off()  # type: ignore[attr-defined]

    def _leave_if_alone(self) -> None:
        """Breaks the group off once neither the driver nor the others have been heard of for longer than the patience:
        they do without this worker, whose packets vanish. Runs in the thread that heard of the driver, to the end.
        """
        while hasattr(self, "group") and hasattr(self.group, "waiting_since"):
            time.sleep(min(max(self.patience, 0.01), 1.0))
            since = self.group.waiting_since
            if since is not None and time.monotonic() - since >= self.patience:
                self._break_off()
                return


__all__ = ["CannotRegroup", "Change", "DriverLost", "ElasticMember", "Member"]
