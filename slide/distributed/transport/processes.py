"""Workers that are processes of this machine, over gloo. The driver is the process that called run_gloo()."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

from slide.distributed.transport.agent import Agent
from slide.distributed.transport.link import SocketLink
from slide.distributed.transport.member import Breakable
from slide.distributed.transport.supervise import Outcome, Workers, call, supervise
from slide.distributed.transport.topology import planned


def run_gloo(
    work: Callable[[Any], Any],
    workers: int | tuple[int, int] = 2,
    threads: int | None = None,
    timeout: float = 10.0,
    patience: float = 30.0,
) -> Any:
    """Calls work(member), a function that can be pickled, in so many processes; returns what it returned at rank 0.

    workers: a number, or the least and the most. timeout: seconds of silence after which a process counts as lost.
    patience: seconds that workers go on without the driver.
    """
    from slide.distributed.transport.gloo import Store

    bounds = Workers(workers, workers) if isinstance(workers, int) else Workers(*workers)
    store = Store()
    welcome = {"store": store.port}
    agent = Agent(bounds.least, bounds.most, timeout=timeout, welcome=welcome, steady=is_exact(work))
    try:
        launcher = ProcessLauncher(agent, work, threads, patience)
        return supervise(launcher, agent.membership, agent.notices, bounds, reported=getattr(work, "reported", None))
    finally:
        agent.close()


def is_exact(work: Any) -> bool:
    """Whether it is to have the same bits whoever is lost: then groups keep their size, and sums their order."""
    return bool(getattr(work, "exact", False))


def gloo_maker(link: SocketLink, store_host: str, host: str, plans: bool = True) -> Callable[..., Breakable]:
    """What ElasticMember makes its groups with. plans: whether collectives are chosen by what they take."""
    from slide.distributed.transport.gloo import GlooGroup, join_store

    def make(generation: int, rank: int, size: int, is_over: Callable[[], bool]) -> Breakable:
        store = join_store(store_host, link.welcome["store"], f"slide/{generation}")
        group = GlooGroup(store, rank, size, generation, host, is_over=is_over)
        link.on_over(generation, group.break_off)  # planned() waits for the others
        return planned(group, host) if plans else group

    return make


def join_and_call(
    name: str, address: str, token: str, host: str, work: Any, threads: int | None, patience: float
) -> Outcome:
    """In a worker: connects to the agent and does the work. host: the address by which the others reach this one."""
    import slide.distributed.transport.gloo  # noqa: F401  # seconds, before the others wait for this worker

    link = SocketLink(name, address, token)
    make = gloo_maker(link, address.rpartition(":")[0], host, plans=not is_exact(work))
    outcome = call(work, link, make, threads, patience)
    link.close(outcome.kind == "result")
    return outcome


class ProcessLauncher:
    """See Launcher. Each process has a pipe for its outcome."""

    def __init__(self, agent: Agent, work: Any, threads: int | None, patience: float) -> None:
        self._arguments = (agent.address, agent.token, "127.0.0.1", work, threads, patience)
        # Each process is a copy of one that has imported torch already, which takes seconds, and has done nothing else.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["slide.distributed.transport.gloo"])
        self._children: dict[str, tuple[Any, connection.Connection]] = {}

    def start(self, name: str) -> None:
        """See Launcher."""
        ours, theirs = self._context.Pipe(duplex=False)
        child = self._context.Process(target=_child, args=(theirs, name, *self._arguments), name=f"slide-{name}")
        child.daemon = True
        child.start()
        theirs.close()
        self._children[name] = child, ours

    def ended(self, timeout: float) -> list[Outcome]:
        """See Launcher."""
        waiting = connection.wait([pipe for _, pipe in self._children.values()], timeout)
        names = [name for name, (_, pipe) in self._children.items() if pipe in waiting]
        return [self._outcome(name, *self._children.pop(name)) for name in names]

    def kill(self, name: str) -> None:
        """See Launcher. SIGKILL ends a process that is stopped, too."""
        if name in self._children:
            self._children[name][0].kill()

    def _outcome(self, name: str, child: Any, pipe: connection.Connection) -> Outcome:
        with pipe:
            try:
                outcome: Outcome = pipe.recv()
            except EOFError:
                child.join(5)
                outcome = Outcome(name, "died", value=f"exit code {child.exitcode}")
        child.join(5)
        return outcome


def _child(pipe: connection.Connection, name: str, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver is interrupted too, and ends its children
    outcome = join_and_call(name, *arguments)
    try:
        pipe.send(outcome)
    except OSError:  # the driver has gone, and nobody wants to know
        pass
    except Exception as error:  # what cannot be pickled is said
        pipe.send(
            Outcome(
                name,
                "error",
                value=RuntimeError(f"{outcome.kind} of {name} cannot be pickled: {error}; {outcome.value!r}"),
            )
        )
    pipe.close()
    if threading.active_count() > 1:  # gloo's may wait for a worker that has died
        os._exit(0)
