"""Workers in network namespaces, of which one loses all packets, for test_half_open.py.

`half_open.py driver SWITCH HOST ...` supervises a worker in each host but the first, in which it runs; `half_open.py
worker ...` is one. The youngest takes its port of the switch down, which nobody is told: connections stay half open.
"""

from __future__ import annotations

import json
import pickle
import queue
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slide.distributed.transport.agent import Agent
from slide.distributed.transport.gloo import Store
from slide.distributed.transport.group import PeerLost
from slide.distributed.transport.link import DriverLost
from slide.distributed.transport.processes import join_and_call
from slide.distributed.transport.supervise import Outcome, Workers, supervise

TIMEOUT, PATIENCE = 2.0, 3.0


@dataclass
class Adds:
    """Adds up until the group of the third generation has done so for a while; what rank 0 returns is their sizes."""

    switch: str
    port: str
    comes_back: bool

    def __call__(self, member: Any) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        rounds = 0
        while rounds < 100:
            try:
                if (member.group.generation, member.group.size) not in seen:
                    seen.append((member.group.generation, member.group.size))
                    rounds = 0
                member.group.all_reduce(np.zeros(1000))
                rounds += 1
                if rounds == 20 and member.group.generation == 0 and member.group.rank == 2:
                    self._port("down")
                if rounds == 50 and member.group.generation == 1 and member.group.rank == 0 and self.comes_back:
                    self._port("up")
                if rounds == 100 and member.group.generation == 0:
                    rounds = 0  # not yet lost
                time.sleep(0.02)
            except PeerLost:
                member.regroup(lost=True)
        return seen

    def _port(self, state: str) -> None:
        subprocess.run(["ip", "-n", self.switch, "link", "set", self.port, state], check=True)


class Launcher:
    """Starts no replacement, and ends nobody: the machine of the lost one cannot be reached."""

    def __init__(self, agent: Agent, hosts: list[str], work: Adds) -> None:
        self._agent, self._hosts, self._work = agent, list(enumerate(hosts, 2)), work
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.outcomes: dict[str, Outcome] = {}

    def start(self, name: str) -> None:
        """See Launcher."""
        number, host = self._hosts.pop(0)
        address = f"10.77.0.{number}"
        command = ["ip", "netns", "exec", host, sys.executable, __file__, "worker", name, self._agent.address]
        command += [self._agent.token, address, pickle.dumps(self._work).hex()]
        self.processes[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def ended(self, timeout: float) -> list[Outcome]:
        """See Launcher."""
        time.sleep(timeout)
        return [
            self.outcome(n) for n, one in self.processes.items() if one.poll() is not None and n not in self.outcomes
        ]

    def outcome(self, name: str) -> Outcome:
        """What it wrote, when it has ended."""
        if name not in self.outcomes:
            self.outcomes[name] = pickle.loads(bytes.fromhex(self.processes[name].communicate(timeout=60)[0].strip()))
        return self.outcomes[name]

    def kill(self, name: str) -> None:
        """See Launcher."""


def drive(switch: str, hosts: list[str], comes_back: bool) -> dict[str, Any]:
    store = Store("10.77.0.1")
    agent = Agent(3, 3, "10.77.0.1", TIMEOUT, {"store": store.port})
    launcher = Launcher(agent, hosts, Adds(switch, "port3", comes_back))
    notices: queue.Queue[tuple[str, Any]] = agent.notices
    try:
        groups = supervise(launcher, agent.membership, notices, Workers(3, 3, replacements=0))
    finally:
        agent.close()
    lost = launcher.outcome("worker-2")
    return {"groups": groups, "lost": lost.kind, "why": str(lost.value)}


def main(what: str, *arguments: str) -> None:
    if what == "worker":
        name, address, token, host, work = arguments
        outcome = join_and_call(name, address, token, host, pickle.loads(bytes.fromhex(work)), 1, PATIENCE)
        if isinstance(outcome.value, PeerLost | DriverLost):
            outcome = Outcome(outcome.name, outcome.kind, outcome.rank, str(outcome.value))
        sys.stdout.write(pickle.dumps(outcome).hex())
    else:
        switch, comes_back, *hosts = arguments
        print(json.dumps(drive(switch, hosts, comes_back == "True")))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    sys.modules["half_open"] = sys.modules["__main__"]
    Adds.__module__ = "half_open"
    main(*sys.argv[1:])
