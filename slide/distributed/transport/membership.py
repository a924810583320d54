"""Who is in the group: one object in the driver that workers tell when they come, leave and are ready for a new group.

It does no input or output: a worker is a name and a function that takes messages. agent.py puts it behind a socket,
engines.py calls it from threads. Messages to a worker, each a dict of one or two keys:

    {"group": generation, "workers": [names by rank]}    the next group; a worker that is not named has left
    {"over": generation}                                 a member was lost: stop waiting for it
    {"pending": number, "leaving": [names]}              newcomers that a change would admit, members that would leave
    {"beat": True}                                       the driver lives
    {"dismissed": reason}                                this worker is no longer wanted
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Send = Callable[[Message], None]

FRUITLESS = 3  # groups in a row that broke without a death, after which the youngest member has to go


class Membership:
    """Decides each group. The first has `first` workers; a later one, all members that live, then newcomers.

    A group follows when every living member is ready for it. Ranks keep the order of the group before. Where a member
    was lost, newcomers wait until the next change that everybody planned.
    """

    def __init__(
        self,
        first: int,
        most: int | None = None,
        settle: float = 0.2,
        notice: Callable[[str, Any], None] | None = None,
        steady: bool = False,
    ) -> None:
        """settle: seconds to wait for word of a death when members say that one was lost and none is known.
        steady: whether a group that lost a member is followed by one of as many, once others have come.

        notice(what, value) is called under the lock: ("joined", name), ("lost", name), ("formed", names),
        ("wanted", number) or ("reported", message).
        """
        self.first, self.most, self.settle, self.steady = first, most, settle, steady
        self._notice = notice or (lambda what, value: None)
        self._lock = threading.RLock()
        self._send: dict[str, Send] = {}  # who is connected, in order of arrival
        self._known: set[str] = set()  # names are never used twice
        self.generation = -1
        self._members: list[str] = []  # of the newest group, by rank, with those that died since
        self._ready: dict[str, bool] = {}  # members that wait for the next group: did they lose somebody?
        self._leaving: set[str] = set()
        self._done: set[str] = set()
        self.target = first  # workers that should be there, with those that are to leave
        self._deaths = self._fruitless = 0
        self._over = self._settled = False

    def join(self, name: str, send: Send) -> None:
        """A worker has come and waits for a group. ValueError where there was one of that name."""
        with self._lock:
            if name in self._known:
                raise ValueError(f"there was a worker {name!r} before; each needs a name of its own")
            self._known.add(name)
            self._send[name] = send
            self._notice("joined", name)
            self._form()
            self._tell_pending()

    def ready(self, name: str, generation: int, lost: bool) -> None:
        """A member waits for the next group, because it lost somebody or because all agreed on a change."""
        with self._lock:
            if generation != self.generation or name not in self._send or name not in self._members:
                return
            self._ready[name] = lost
            if lost:
                self._break_off()
            self._form()

    def leave(self, name: str) -> None:
        """A member will go at the next change: it says so itself, or the driver does."""
        with self._lock:
            if name in self._send:
                self._leaving.add(name)
                self._tell_pending()

    def shrink(self, workers: int) -> None:
        """The youngest members above this number are to leave."""
        with self._lock:
            for name in self.staying()[workers:]:
                self.leave(name)

    def staying(self) -> list[str]:
        """Members that live and do not mean to leave, by rank."""
        with self._lock:
            return [name for name in self._members if name in self._send and name not in self._leaving]

    def echo(self, name: str) -> None:
        """A worker says that it lives; it is told that the driver does."""
        with self._lock:
            if name in self._send:
                self._send[name]({"beat": True})

    def expect(self, first: int) -> None:
        """The first group, or the first after all have died, is to have this number of workers."""
        with self._lock:
            self.first = self.target if self.steady else first
            self._form()

    def want(self, workers: int) -> None:
        """A member asks the driver for this number of workers."""
        with self._lock:
            self._notice("wanted", workers)

    def report(self, message: str) -> None:
        """A member tells the driver how the work goes."""
        self._notice("reported", message)

    def done(self, name: str) -> None:
        """A worker has ended its work, so that its absence is no loss, unless `lost` says so."""
        with self._lock:
            if self._send.pop(name, None) is not None:
                self._done.add(name)
                self._ready.pop(name, None)
                self._form()

    def lost(self, name: str, ends_itself: bool = False) -> None:
        """A worker died, or has not been heard of for too long; or what it had done is lost with it. The second call
        for it does nothing. ends_itself: nobody is told that it may have to be ended
        """
        with self._lock:
            if self._send.pop(name, None) is None and name not in self._done:
                return
            self._done.discard(name)
            self._ready.pop(name, None)
            if name in self._leaving:
                self._leaving.remove(name)
                self.target = max(1, self.target - 1)
            if not ends_itself:
                self._notice("lost", name)
            if name in self._members:
                self._deaths += 1
                self._break_off()
            self._form()
            self._tell_pending()

    def dismiss(self, name: str, reason: str) -> None:
        """Tells a worker that it is not wanted, and goes on without it."""
        with self._lock:
            if name in self._send:
                self._send[name]({"dismissed": reason})
                self.lost(name)

    def close(self, reason: str = "the work has ended") -> None:
        """Dismisses everybody."""
        with self._lock:
            sends, self._send = self._send, {}
            for send in sends.values():
                send({"dismissed": reason})

    def _living(self) -> list[str]:
        return [name for name in self._members if name in self._send]

    def _waiting(self, room_for: int) -> list[str]:
        """Newcomers that may come in beside so many who stay."""
        newcomers = [name for name in self._send if name not in self._members]
        return newcomers if self.most is None else newcomers[: max(0, self.most - room_for)]

    def _break_off(self) -> None:
        if not self._over:
            self._over = True
            for name in self._living():
                self._send[name]({"over": self.generation})

    def _tell_pending(self) -> None:
        message = {"pending": len(self._waiting(len(self.staying()))), "leaving": sorted(self._leaving)}
        for name in self._living():
            self._send[name](message)

    def _form(self) -> None:
        """Forms the next group, if all are ready for it."""
        living = self._living()
        if not living:
            if len(self._send) >= self.first:
                self._announce(self._waiting(0)[: self.first if self.steady else None], [])
            return
        if any(name not in self._ready for name in living):
            return
        said_lost = any(self._ready[name] for name in living)
        if said_lost and not self._deaths:
            if not self._settled:
                timer = threading.Timer(self.settle, self._settle, (self.generation,))
                timer.daemon = True
                timer.start()
                return
            self._fruitless += 1
        stay = self.staying()
        if self._fruitless >= FRUITLESS and len(stay) > 1:
            self._fruitless = 0
            self.dismiss(stay[-1], "the group broke again and again, and this is its youngest worker")
            return  # dismiss() has formed the group
        leavers = [name for name in living if name not in stay]
        newcomers = self._waiting(len(stay))
        if said_lost or self._deaths:
            lacking = max(0, self.target - len(leavers) - len(stay)) if self.steady else 0
            newcomers = newcomers[:lacking]
            if len(newcomers) < lacking:
                return  # until others have come
        self._announce(stay + newcomers, leavers)

    def _settle(self, generation: int) -> None:
        with self._lock:
            if generation == self.generation:
                self._settled = True
                self._form()

    def _announce(self, workers: list[str], leavers: list[str]) -> None:
        if not self._deaths and not any(self._ready.values()):
            self._fruitless = 0
        self.generation += 1
        self._members, self._ready, self._deaths, self._over, self._settled = workers, {}, 0, False, False
        self.target = len(workers)
        message = {"group": self.generation, "workers": workers}
        for name in (*workers, *leavers):
            self._send[name](message)
        for name in leavers:
            del self._send[name]
            self._leaving.discard(name)
        self._notice("formed", workers)
        self._tell_pending()
