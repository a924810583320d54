"""Finds workers that are slower than the others, and gives them less to do.

A worker's own time of a block is what it spends outside of exchanges. All get shares by their speed, once that pays:
when over some last blocks the slowest would have saved as many seconds as moving rows takes, by the shares that their
first half asks for in the second, and the other way round. A worker that seems faster with less to do may only need
less of a processor than it is left, and be as slow as before with more: so that is doubted, each time for longer.

A quota that the system says (a control group's) is believed at once. The worker's time is at least that in which the
quota allows what it used of a processor: one that leaves enough changes nothing. How often it stood still says little
in so few blocks: quotas are those of tenths of a second. No worker gets more than its memory was planned for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.distributed.transport.group import Array, Group, Later, Posted
from slide.engine.threads import processor_limit

Floats = npt.NDArray[np.float64]

PATIENCE, ENOUGH = 16, 10  # blocks that show who is slow, or after the system said that its quota is another
NEWS = 64  # blocks for which what the system says is new
MEMORY = 1024  # blocks
GAIN = 1.05  # in the time of the slowest: what rows move for
AGAIN = 1.2  # what they move for once more after the same news
WAIT = 64  # blocks for which a worker that was slow gets no more; each time that this was right twice as many
#: Of a worker's own time, what is taken to be the same whatever its share: less than was found, so that shares stop
#: short. Processor time of blocks by two workers, at a quarter, a half and three quarters: 4.2, 6.0 and 8.3 ms (670,000
#: labels), 2.4, 3.2 and 4.3 ms (WordNet).
FIXED = 0.25
LEAST = 0.1  # of an equal share: so slow a worker is better replaced
LARGEST = 1.1  # times an equal share: what the others may come to hold
ASKED = 0.1  # seconds after which the system is asked again
OWN, LIMITED, WAITED, PROCESSORS, MOVING = range(5)  # what workers say of a block, in rows
TOLD = 5


class ClockedGroup:
    """A group that counts the seconds spent in it."""

    def __init__(self, group: Group, n_threads: int = 1, moving: float = 0.0) -> None:
        """n_threads : of this worker. moving : seconds that it takes to get another share"""
        self.group, self.seconds, self.moving = group, 0.0, moving
        self._began = self._used = self._waited = 0.0
        self._limit = _Limit(n_threads)
        self.begin_block()

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

    def begin_block(self) -> None:
        """What was before is not counted."""
        self._began, self._used, self._waited = time.perf_counter(), time.process_time(), self.seconds

    def told(self) -> tuple[float, ...]:
        """Of the block, what this worker says: OWN seconds, not spent in the group, and those WAITED in it; the
        PROCESSORS that the system allows, where they are too few for its threads, else 0; LIMITED seconds, in which
        these allow what was used, in the group too; and seconds of MOVING.
        """
        waited = self.seconds - self._waited
        own = time.perf_counter() - self._began - waited
        limit, used = self._limit.now(), time.process_time() - self._used
        return own, used / limit if limit else 0.0, waited, limit, self.moving

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


class _Limit:
    """Processors that the system allows, 0 where they are enough, as it said a moment ago."""

    def __init__(self, n_threads: int) -> None:
        self._n_threads, self._asked, self._found = n_threads, -ASKED, 0.0

    def now(self) -> float:
        if time.monotonic() - self._asked >= ASKED:
            self._asked, self._found = time.monotonic(), processor_limit(self._n_threads) or 0.0
        return self._found


@dataclass
class _Doubt:
    """Of a worker that was slow: until which block, and for how many, it gets no more, however fast it seems."""

    until: int
    wait: int


class Pace:
    """What blocks took of all workers, the same at each of them."""

    def __init__(self, largest: float = LARGEST) -> None:
        """largest : the share that a worker may come to have, in equal ones"""
        self.largest = largest
        self.forget()

    def forget(self) -> None:
        """All that is known: the workers are others now."""
        #: OWN, LIMITED and WAITED of blocks, since rows moved or the system said something new
        self._seconds: list[Floats] = []
        self._block, self._news, self._moving, self._moved = 0, -NEWS, 0.0, False
        self._limits = np.zeros(0)  # that the system said last
        self._shares_before: Floats | None = None  # those while all had the same limits, to come back to
        self._doubts: dict[int, _Doubt] = {}  # by rank

    def take(self, told: Floats) -> None:
        """One block's, [5, workers]: see ClockedGroup.told."""
        limits = told[PROCESSORS]
        if len(self._limits) != len(limits):
            self.forget()
        known = self._limits if len(self._limits) else np.zeros(len(limits))
        if (limits != known).any():
            tells = not self._all_alike(limits) or self._shares_before is not None
            self._news, self._moved = self._block if tells else -NEWS, False
            self._seconds.clear()
            self._doubts.clear()
        self._limits, self._moving = limits, float(told[MOVING].max())
        self._seconds = [*self._seconds[-MEMORY + 1 :], told[[OWN, LIMITED, WAITED]]]
        self._block += 1

    def better(self, shares: Floats) -> list[float] | None:
        """Shares by what each worker would do in equal time, after blocks in which they had these. None where too
        little would be won. Sums: one.
        """
        if len(shares) < 2:
            return None
        now = shares / shares.sum()
        is_news = self._block - self._news <= NEWS
        wanted = self._of_news(now) if is_news else self._that_pay(now)
        if wanted is None:
            return None
        self._seconds.clear()
        self._moved = True
        return wanted.tolist()

    def _of_news(self, now: Floats) -> Floats | None:
        """By the time since the system said something new; those before where it limits all alike again."""
        if self._shares_before is not None and self._all_alike(self._limits):
            wanted, self._shares_before, self._news = self._shares_before, None, -NEWS
            return wanted
        if len(self._seconds) < ENOUGH:
            return None
        found = _Prospect.of(now, np.array(self._seconds), self._most(now))
        if found.gain < (AGAIN if self._moved else GAIN):
            return None
        self._shares_before = now if self._shares_before is None else self._shares_before
        return found.wanted

    @staticmethod
    def _all_alike(limits: Floats) -> bool:
        return bool((limits == limits[0]).all())

    def _that_pay(self, now: Floats) -> Floats | None:
        """By the last blocks, or twice as many, and so on: the fewest over which moving would have paid."""
        n, most, blocks = PATIENCE, self._most(now), np.array(self._seconds)
        while n <= len(blocks):
            if _most_gain(now, blocks[-n:]) >= GAIN:
                found = _Prospect.of(now, blocks[-n:], most)
                if found.gain >= GAIN and found.saved >= self._moving:
                    self._doubt(now, found.wanted)
                    return found.wanted
            n *= 2
        return None

    def _most(self, now: Floats) -> Floats:
        """That each may get: what it has, where it is doubted."""
        most = np.maximum(now, max(self.largest, 1.0) / len(now))
        for rank, doubt in self._doubts.items():
            if self._block < doubt.until:
                most[rank] = now[rank]
        return most

    def _doubt(self, now: Floats, wanted: Floats) -> None:
        """Of who gets less than before and than an equal share."""
        for rank in np.flatnonzero((wanted < now) & (wanted * len(now) < 1)).tolist():
            wait = 2 * self._doubts[rank].wait if rank in self._doubts else WAIT
            self._doubts[rank] = _Doubt(self._block + wait, wait)


@dataclass(frozen=True)
class _Prospect:
    """What other shares promise: in each half of some blocks, those that the other half asks for.

    gain : how many times less the slowest would have taken, in the worse half
    saved : seconds of the slowest, in both
    wanted : shares, by both
    """

    gain: float
    saved: float
    wanted: Floats

    @classmethod
    def of(cls, now: Floats, blocks: Floats, most: Floats) -> _Prospect:
        """blocks : [blocks, 3, workers] seconds OWN, LIMITED and WAITED"""
        whole, first, second = (_own_seconds(some) for some in (blocks, *np.array_split(blocks, 2)))
        took, would, gains = 0.0, 0.0, []
        for seconds, other in ((first, second), (second, first)):
            then = float((seconds * _times_as_long(wanted_shares(now, other, most) / now)).max())
            took, would = took + float(seconds.max()), would + then
            gains.append(float(seconds.max()) / max(then, 1e-9))
        return cls(min(gains), took - would, wanted_shares(now, whole, most))


def _most_gain(now: Floats, blocks: Floats) -> float:
    """That any shares could bring: found in no time, and seldom enough to look closer."""
    seconds = np.maximum(_own_seconds(blocks), 1e-9)
    return float(seconds.max() * (now / seconds).sum())


def _own_seconds(blocks: Floats) -> Floats:
    """Of each worker, those that its quota makes of them included: what is limited is own time and the exchanges, in
    which who is slowest waits least."""
    own, limited, waited = blocks.sum(axis=0)
    return np.asarray(np.maximum(own, limited - waited.min()), np.float64)


def wanted_shares(now: Floats, seconds: Floats, most: Floats) -> Floats:
    """With which all would take as long, but for those that would get more than `most`, or less than LEAST.

    now : shares with which they took so many seconds
    """
    least, seconds = np.minimum(now, LEAST / len(now)), np.maximum(seconds, 1e-9)
    low, high = 0.0, float((seconds * _times_as_long(most / now)).max())
    for _ in range(30):
        middle = (low + high) / 2
        shares = np.clip(now * (middle / seconds - FIXED) / (1 - FIXED), least, most)
        low, high = (middle, high) if shares.sum() < 1 else (low, middle)
    return np.asarray(shares / shares.sum(), np.float64)


def _times_as_long(more: Floats) -> Floats:
    """With so many times the share."""
    return FIXED + (1 - FIXED) * more
