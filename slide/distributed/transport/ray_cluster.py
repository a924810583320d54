"""Workers that are Ray actors: Ray starts them and says when one has died, gloo carries the data.

The only module that imports ray. The driver is the process that called run_ray(). On a cluster that was there before,
actors are detached, so that they outlive the driver by their patience and can save what they hold; on one that was
started here they end with it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import ray
from ray._private import ray_constants

from slide.distributed.transport.agent import Agent
from slide.distributed.transport.gloo import Store
from slide.distributed.transport.processes import is_exact, join_and_call
from slide.distributed.transport.supervise import Outcome, Workers, supervise

_TOKEN = secrets.token_hex(32)  # of the Rays that this process starts: it keeps the first that it reads


def run_ray(
    work: Callable[[Any], Any],
    workers: tuple[int, int] = (2, 2),
    threads: int | None = None,
    address: str | None = None,
    timeout: float = 10.0,
    patience: float = 30.0,
) -> Any:
    """Calls work(member), a function that can be pickled, in so many actors; returns what it returned at rank 0.

    workers: the least and the most. threads: processors that each actor asks Ray for; None asks for one. address: None
    starts a Ray of this machine's own, for this call. timeout: seconds of silence after which an actor counts as lost.
    patience: seconds that actors go on without the driver.
    """
    bounds = Workers(*workers)
    with _cluster(address, bounds.most * (threads or 1)) as host:
        store = Store(host)
        agent = Agent(bounds.least, bounds.most, host, timeout, {"store": store.port}, is_exact(work))
        try:
            launcher = _ActorLauncher(agent, work, threads, patience, detached=address is not None)
            return supervise(
                launcher, agent.membership, agent.notices, bounds, reported=getattr(work, "reported", None)
            )
        finally:
            agent.close()


@contextlib.contextmanager
def _cluster(address: str | None, processors: int) -> Iterator[str]:
    """Connects to Ray, unless the process is connected; gives the address of this machine within the cluster."""
    if address is not None and ray.is_initialized():
        yield ray.util.get_node_ip_address()
        return
    if address is None:
        _start_on_loopback(processors)
    else:
        ray.init(address=address, log_to_driver=False)
    try:
        yield ray.util.get_node_ip_address()
    finally:
        ray.shutdown()


def own_address(address: str) -> str:
    """That of this process within the cluster, to which it stays connected."""
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    return str(ray.util.get_node_ip_address())


def _start_on_loopback(processors: int) -> None:
    """A Ray that only this machine's own processes reach, with a token, and which sends no statistics.

    Ray takes the machine's outward address even where it is told 127.0.0.1, except on the systems where it can have no
    second machine: as on those it listens here.
    """
    environment = {"RAY_USAGE_STATS_ENABLED": "0"}
    has_token = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ) or Path(
        "~/.ray/auth_token"
    ).expanduser().exists()
    if not has_token:  # Ray would write one into the home directory
        environment["RAY_AUTH_TOKEN"] = _TOKEN
    with mock.patch.dict(os.environ, environment), mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False):
        ray.init(
            address="local",
            num_cpus=processors,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
        )


class _Worker:
    """The actor: one call, and a process of its own."""

    def run(self, name: str, address: str, token: str, work: Any, threads: int | None, patience: float) -> Outcome:
        return join_and_call(name, address, token, ray.util.get_node_ip_address(), work, threads, patience)


class _ActorLauncher:
    """See Launcher."""

    def __init__(self, agent: Agent, work: Any, threads: int | None, patience: float, detached: bool) -> None:
        self._agent, self._threads, self._patience = agent, threads, patience
        self._work = ray.put(work)
        self._detached = {"lifetime": "detached", "namespace": "slide"} if detached else {}
        self._run = secrets.token_hex(4)
        self._actors: dict[str, Any] = {}
        self._calls: dict[Any, str] = {}

    def start(self, name: str) -> None:
        """See Launcher."""
        options: dict[str, Any] = {"num_cpus": self._threads or 1, "max_restarts": 0, **self._detached}
        if self._detached:
            options["name"] = f"{self._run}-{name}"
        actor = ray.remote(_Worker).options(**options).remote()
        self._actors[name] = actor
        arguments = (name, self._agent.address, self._agent.token, self._work, self._threads, self._patience)
        self._calls[actor.run.remote(*arguments)] = name

    def ended(self, timeout: float) -> list[Outcome]:
        """See Launcher."""
        ended, _ = ray.wait(list(self._calls), timeout=timeout)
        return [self._outcome(call, self._calls.pop(call)) for call in ended]

    def kill(self, name: str) -> None:
        """See Launcher."""
        if name in self._actors:
            ray.kill(self._actors.pop(name))

    def _outcome(self, call: Any, name: str) -> Outcome:
        try:
            outcome: Outcome = ray.get(call)
            self.kill(name)  # it has ended, and its processor is wanted for others
            return outcome
        except ray.exceptions.RayActorError as error:
            self._actors.pop(name, None)
            return Outcome(name, "died", value=str(error).strip().splitlines()[0])
        except ray.exceptions.RayError as error:  # as where its result cannot be pickled
            self.kill(name)
            return Outcome(name, "error", value=error)
