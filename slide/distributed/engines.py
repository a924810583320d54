"""Where a distributed fit runs: threads, processes over torch's gloo, MPI or Ray. Each engine's run(work) calls
work(member) at every worker (member.py says what that is) and returns what it returned at rank 0.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from slide.checks import require, whole
from slide.distributed.training.fit import ClusterFits
from slide.distributed.training.pace import LARGEST
from slide.distributed.training.work import Found
from slide.distributed.transport.link import Link
from slide.distributed.transport.local import LocalGroup, Meeting
from slide.distributed.transport.member import Breakable, Member
from slide.distributed.transport.membership import Membership, Message
from slide.distributed.transport.supervise import Outcome, Workers, call, supervise
from slide.distributed.transport.topology import planned
from slide.engine.threads import resolve_threads
from slide.network import Network

Work = Callable[[Any], Any]


class Engine(Protocol):
    """What `cluster=` takes."""

    def run(self, work: Work) -> Any:
        """Calls work(member) at every worker; returns what it returned at rank 0, and None in processes of other ranks
        that somebody else started (torchrun, mpirun).
        """
        ...


class Cluster(ClusterFits):
    """What all engines can do, by their method `run`."""

    def load(self, folder: Any, n_threads: int | None = None) -> Any:
        """The model in a folder that save_shards wrote, whose parts workers hold: see slide.load. They start now.

        n_threads : of this process, which reads rows

        Raises
        ------
        ValueError
            Where the workers were started by somebody else: a process of theirs cannot ask them.
        ModelFormatError
            For a folder that holds no model.
        """
        host = self._listening_host()
        from slide.distributed.prediction.network import load

        return load(self.run, folder, host, self._each(n_threads), n_threads)

    def _each(self, n_threads: int | None) -> int:
        """Threads of a worker."""
        return self.threads or max(1, resolve_threads(n_threads) // self._started())

    @property
    def network_class(self) -> type[Network]:
        """What a classifier's network is while workers train it, and afterwards."""
        from slide.distributed.prediction.network import SharedNetwork

        return Network if self.parts_to is None else SharedNetwork

    def left_in_parts(self, net: Any, found: Found) -> None:
        """See ClusterFits. Whom somebody else started cannot be asked."""
        net.left_in_parts(found)
        if self.workers is not None:
            from slide.distributed.prediction.session import Session

            net.connect(Session(self.run, str(self.parts_to), self._listening_host(), self._each(net.n_threads)))

    def _listening_host(self) -> str:
        """The address of this process that workers reach."""
        found = f"{type(self).__name__}(workers={self.workers})"
        require(self.workers is not None, "cluster", found, "workers that this process starts: of Local, Torch or Ray")
        return "127.0.0.1"


@dataclass(frozen=True)
class Local(Cluster):
    """Threads of this process, for tests and to try things out.

    timeout: seconds that a call waits for the others. recovery, largest_share, parts_to:
    see ClusterFits.
    """

    workers: int | tuple[int, int] = 2
    threads: int | None = None
    timeout: float = 60.0
    recovery: str = "partial"
    largest_share: float = LARGEST
    parts_to: Any = None

    def run(self, work: Work) -> Any:
        """See Engine. work need not be picklable; a thread that raises SystemExit counts as one that died."""
        bounds = _bounds(self.workers)
        notices: queue.Queue[tuple[str, Any]] = queue.Queue()
        membership = Membership(
            bounds.least,
            bounds.most,
            0.05,
            lambda what, value: notices.put((what, value)),
            steady=getattr(work, "exact", False),
        )
        launcher = _ThreadLauncher(membership, work, self.threads, self.timeout)
        return supervise(launcher, membership, notices, bounds, poll=0.01)


@dataclass(frozen=True)
class Torch(Cluster):
    """Processes over torch's gloo: those that torchrun started, or so many started here.

    workers: a number, or the least and the most; None under torchrun. timeout: seconds of silence after which a worker
    counts as lost. patience: seconds that workers go on without the process that started them. recovery,
    largest_share, parts_to: see ClusterFits.
    """

    workers: int | tuple[int, int] | None = None
    threads: int | None = None
    timeout: float = 10.0
    patience: float = 30.0
    recovery: str = "partial"
    largest_share: float = LARGEST
    parts_to: Any = None

    @property
    def is_first(self) -> bool:
        """As torchrun says."""
        return self.workers is not None or os.environ.get("RANK", "0") == "0"

    def run(self, work: Work) -> Any:
        """See Engine. work has to be picklable."""
        if self.workers is None:
            from slide.distributed.transport.gloo import from_torchrun

            group = from_torchrun()
            if not getattr(work, "exact", False):
                group = planned(group, group.host)
            value = work(Member(group, self.threads))
            return value if group.rank == 0 else None
        from slide.distributed.transport.processes import run_gloo

        return run_gloo(work, _pair(self.workers), self.threads, self.timeout, self.patience)


@dataclass(frozen=True)
class MPI(Cluster):
    """The processes that mpirun started. A worker that dies ends the job: start it again from its checkpoint.
    recovery="exact": with as many workers, that gives the same bits.
    """

    threads: int | None = None
    recovery: str = "partial"
    largest_share: float = LARGEST
    parts_to: Any = None

    @property
    def is_first(self) -> bool:
        """As mpirun says, by the variables of MPICH, Open MPI and Slurm."""
        names = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
        return next((os.environ[name] for name in names if name in os.environ), "0") == "0"

    def run(self, work: Work) -> Any:
        """See Engine."""
        from slide.distributed.transport.mpi import run_mpi

        return run_mpi(work, self.threads)


@dataclass(frozen=True)
class Ray(Cluster):
    """Ray actors, each of `threads` processors, over torch's gloo.

    workers: a number, or the least and the most. address: of a Ray cluster, "auto" for the one of this machine; None
    starts one on this machine's loopback and shuts it down. timeout, patience, recovery, largest_share,
    parts_to: as for Torch.
    """

    workers: int | tuple[int, int] = 2
    threads: int | None = None
    address: str | None = None
    timeout: float = 10.0
    patience: float = 30.0
    recovery: str = "partial"
    largest_share: float = LARGEST
    parts_to: Any = None

    def run(self, work: Work) -> Any:
        """See Engine. work has to be picklable."""
        from slide.distributed.transport.ray_cluster import run_ray

        return run_ray(work, _pair(self.workers), self.threads, self.address, self.timeout, self.patience)

    def _listening_host(self) -> str:
        if self.address is None:
            return super()._listening_host()
        from slide.distributed.transport.ray_cluster import own_address

        return own_address(self.address)


def from_name(
    engine: str,
    workers: str | None = None,
    threads: int | None = None,
    address: str | None = None,
    recovery: str = "partial",
    parts_to: str | None = None,
) -> Engine:
    """The engine of a command line: "ray", "torch", "mpi" or "local", and "2" or "2:8" workers."""
    require(engine in ("ray", "torch", "mpi", "local"), "engine", engine, '"ray", "torch", "mpi" or "local"')
    require(address is None or engine == "ray", "address", address, "None, unless the engine is ray")
    numbers = None if workers is None else _parsed(workers)
    how: dict[str, Any] = {"recovery": recovery, "parts_to": parts_to}
    if engine == "mpi":
        require(numbers is None, "workers", workers, "None with mpi: mpirun -n says it")
        return MPI(threads, **how)
    if engine == "ray":
        return Ray(numbers or 2, threads, address, **how)
    if engine == "local":
        return Local(numbers or 2, threads, **how)
    return Torch(numbers if numbers or "RANK" in os.environ else 2, threads, **how)


def _parsed(workers: str) -> int | tuple[int, int]:
    parts = workers.split(":")
    require(
        len(parts) <= 2 and all(part.isdecimal() for part in parts),
        "workers",
        workers,
        'a number, or the least and the most as "2:8"',
    )
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def _pair(workers: int | tuple[int, int]) -> tuple[int, int]:
    bounds = _bounds(workers)
    return bounds.least, bounds.most


def _bounds(workers: int | tuple[int, int]) -> Workers:
    least, most = workers if isinstance(workers, tuple) else (workers, workers)
    require(
        1 <= whole(least) <= whole(most),
        "workers",
        workers,
        "an int, 1 or more, or a pair of them, the least and the most",
    )
    return Workers(least, most)


class _LocalLink(Link):
    """Between a thread and the membership of its process."""

    def __init__(self, name: str, membership: Membership) -> None:
        super().__init__(name)
        self._membership = membership
        membership.join(name, self.hear)

    def send(self, message: Message) -> None:
        """See Link."""
        if "ready" in message:
            self._membership.ready(self.name, message["ready"], message["lost"])
        elif "leave" in message:
            self._membership.leave(self.name)
        elif "want" in message:
            self._membership.want(message["want"])


class _ThreadLauncher:
    """See Launcher. A thread cannot be killed: it ends by PeerLost once its group is over."""

    def __init__(self, membership: Membership, work: Work, threads: int | None, timeout: float) -> None:
        self._membership, self._work, self._threads, self._timeout = membership, work, threads, timeout
        self._outcomes: queue.Queue[Outcome] = queue.Queue()
        self._meetings: dict[int, Meeting] = {}
        self._lock = threading.Lock()

    def start(self, name: str) -> None:
        """See Launcher."""
        threading.Thread(target=self._one, args=(name,), name=f"slide-{name}", daemon=True).start()

    def ended(self, timeout: float) -> list[Outcome]:
        """See Launcher."""
        try:
            return [self._outcomes.get(timeout=timeout)]
        except queue.Empty:
            return []

    def kill(self, name: str) -> None:
        """See Launcher."""

    def _one(self, name: str) -> None:
        try:
            outcome = call(self._work, _LocalLink(name, self._membership), self._make, self._threads)
        except BaseException as error:
            outcome = Outcome(name, "died", value=repr(error))
            self._membership.lost(name)
        self._outcomes.put(outcome)

    def _make(self, generation: int, rank: int, size: int, is_over: Callable[[], bool]) -> Breakable:
        with self._lock:
            meeting = self._meetings.setdefault(generation, Meeting(size, self._timeout))
        return LocalGroup(meeting, rank, generation)
