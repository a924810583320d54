"""The driver's loop: starts workers, replaces those that die, starts more or lets some go, and waits for the result.

What a worker is (a thread, a process, a Ray actor) is the launcher's business: engines.py, processes.py and
ray_cluster.py have one each.
"""

from __future__ import annotations

import itertools
import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from slide.distributed.transport.group import PeerLost
from slide.distributed.transport.link import Dismissed, DriverLost, Link, unpacked
from slide.distributed.transport.member import ElasticMember, MakeGroup
from slide.distributed.transport.membership import Membership

log = logging.getLogger("slide.distributed")

PATIENCE = 15.0  # seconds that other workers have to end after rank 0 has


@dataclass(frozen=True)
class Outcome:
    """How a worker ended. value: what its work returned, or the exception that it raised, or how it died."""

    name: str
    kind: Literal["result", "error", "left", "died"]
    rank: int = -1
    value: Any = None


class Launcher(Protocol):
    """Starts workers, each of which connects to the membership under its name and calls the work."""

    def start(self, name: str) -> None:
        """Returns at once."""
        ...

    def ended(self, timeout: float) -> list[Outcome]:
        """The workers that have ended since the last call; waits up to so many seconds for one."""
        ...

    def kill(self, name: str) -> None:
        """Ends it, if it has not; its outcome need not come."""
        ...


@dataclass(frozen=True)
class Workers:
    """How many there are: `least` at the start, at most `most`; so many that die are replaced."""

    least: int
    most: int
    replacements: int = 10


def call(work: Any, link: Link, make: MakeGroup, threads: int | None = None, patience: float = 30.0) -> Outcome:
    """In a worker: joins, calls work(member) and says how it ended. The value of ranks above 0 is not kept."""
    try:
        member = ElasticMember(link, make, threads, patience)
        value = work(member)
        rank = member.group.rank
        return Outcome(link.name, "result", rank, value if rank == 0 else None)
    except Dismissed as error:
        return Outcome(link.name, "left", value=str(error))
    except Exception as error:
        return Outcome(link.name, "error", value=error)


def supervise(
    launcher: Launcher,
    membership: Membership,
    notices: queue.Queue[tuple[str, Any]],
    workers: Workers,
    poll: float = 0.05,
    reported: Callable[[Any], None] | None = None,
) -> Any:
    """Runs to the end and returns what the work returned at rank 0.

    A worker that dies is replaced. One that raises is not; the others go on without it, and where none returns, the
    first error that was not the loss of another worker is raised. RuntimeError where all died. Of a steady membership
    all are needed: what one raises is raised, and RuntimeError where one may not be replaced any more.

    reported: hears what the work tells by member.report
    """
    return _Supervisor(launcher, membership, notices, workers, reported).run(poll)


class _Supervisor:
    def __init__(
        self,
        launcher: Launcher,
        membership: Membership,
        notices: queue.Queue[tuple[str, Any]],
        workers: Workers,
        reported: Callable[[Any], None] | None = None,
    ) -> None:
        self._reported = reported
        self.launcher, self.membership, self.notices, self.workers = launcher, membership, notices, workers
        self.wanted, self.replacements = workers.least, workers.replacements
        self.names = (f"worker-{n}" for n in itertools.count())
        self.running: dict[str, None] = {}  # names, in order
        self.errors: list[BaseException] = []
        self.deaths: list[str] = []
        self.silent: set[str] = set()  # who were given up, and may not know
        self.fatal: BaseException | None = None
        self.results: dict[int, Any] = {}
        self.ending_at: float | None = None

    def run(self, poll: float) -> Any:
        try:
            for _ in range(self.wanted):
                self._start()
            while self.running and self.fatal is None and not self._overdue():
                for outcome in self.launcher.ended(poll):
                    self._ended(outcome)
                    self.membership.expect(min(self.workers.least, max(1, len(self.running))))
                self._listen()
            return self._result()
        finally:
            self.membership.close()
            for name in self.running:
                self.launcher.kill(name)

    def _start(self) -> None:
        name = next(self.names)
        self.running[name] = None
        self.launcher.start(name)

    def _overdue(self) -> bool:
        return self.ending_at is not None and time.monotonic() > self.ending_at

    def _ended(self, outcome: Outcome) -> None:
        name = outcome.name
        self._listen()
        if name not in self.running:
            return
        del self.running[name]
        if outcome.kind == "result":
            self.results[outcome.rank] = outcome.value
            self.membership.done(name)
            if self.ending_at is None:  # newcomers that wait will not be needed
                self.ending_at = time.monotonic() + PATIENCE
                self._dismiss_newcomers()
            if outcome.rank == 0:  # for which the others have waited
                self.membership.close()
            return
        self.membership.lost(name)
        if outcome.kind == "error":
            log.warning("%s has failed, the others go on: %.500r", name, outcome.value)
            self.errors.append(outcome.value)
            self.wanted = max(1, self.wanted - 1)
            if self.membership.steady:
                self.fatal = outcome.value
        elif outcome.kind == "died" or (name in self.silent and self.ending_at is None):
            log.warning("%s has died: %s", name, outcome.value)
            self.deaths.append(f"{name}: {outcome.value}")
            self._replace()

    def _replace(self) -> None:
        steady = self.membership.steady
        wanted = max(self.wanted, self.membership.target) if steady else self.wanted
        if self.ending_at is not None or self.errors or len(self.running) >= wanted:
            return
        if self.replacements > 0:
            self.replacements -= 1
            self._start()
        elif steady:
            self.fatal = RuntimeError(
                f"{self.deaths[-1]}; {self.workers.replacements} workers were replaced, and no more will be. All are "
                "needed: the last checkpoint stands, and the fit goes on from it with resume=True (--resume)"
            )

    def _dismiss_newcomers(self) -> None:
        staying = self.membership.staying()
        for name in self.running:
            if name not in staying:
                self.membership.dismiss(name, "the work has ended")

    def _listen(self) -> None:
        while True:
            try:
                what, value = self.notices.get_nowait()
            except queue.Empty:
                return
            if what == "wanted":
                self._resize(value)
            elif what == "reported" and self._reported is not None:
                self._reported(unpacked(value))
            elif what == "lost" and value in self.running:  # silent: it has to be ended before another takes its place
                self.silent.add(value)
                self.launcher.kill(value)

    def _resize(self, wanted: int) -> None:
        self.wanted = min(max(wanted, self.workers.least), self.workers.most)
        if self.ending_at is None:
            for _ in range(self.wanted - len(self.running)):
                self._start()
            self.membership.shrink(self.wanted)

    def _result(self) -> Any:
        if self.fatal is not None:
            raise self.fatal
        if 0 in self.results:
            return self.results[0]
        told = [e for e in self.errors if not isinstance(e, PeerLost | DriverLost)]
        if self.errors:
            raise (told or self.errors)[0]
        if self.deaths:
            raise RuntimeError(
                f"all workers have died, the last ones replaced too often: {'; '.join(self.deaths[-3:])}"
            )
        raise RuntimeError("no worker returned a result: rank 0 was lost after the others had ended")
