"""Workers come, go, fail and die, in threads; over processes, MPI and Ray the same is in tests/cluster."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import numpy as np
import pytest
from distributed_work import Blocks, Do, check_group

from slide.distributed.engines import MPI, Local, Ray, Torch, from_name
from slide.distributed.transport import link as links
from slide.distributed.transport.agent import Agent
from slide.distributed.transport.group import PeerLost
from slide.distributed.transport.link import Dismissed, DriverLost, SocketLink
from slide.distributed.transport.local import LocalGroup, Meeting
from slide.distributed.transport.member import ElasticMember
from slide.distributed.transport.membership import Membership


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_group_of_threads_does_what_groups_do(workers: int) -> None:
    assert "uint32" in Local(workers).run(check_group)


def test_a_worker_that_dies_is_lost_and_replaced() -> None:
    groups = Local(3).run(Blocks(2, {0: Do("worker-1", "exit")}))
    assert groups[:2] == [(0, 3, 0), (1, 2, 2)]  # the others go on at the block that was broken off
    assert [size for _, size, _ in groups[2:]] == [3]  # and take in the one that replaces it at a later block's end


def test_rank_0_may_die() -> None:
    assert [size for _, size, _ in Local(2).run(Blocks(2, {0: Do("worker-0", "exit")}))] == [2, 1, 2]


def test_all_may_die() -> None:
    def dies_first(member: Any) -> str:
        if member.group.generation == 0:
            raise SystemExit
        return f"{member.group.generation} {member.group.size}"

    assert Local(2).run(dies_first) == "1 2"


def test_a_worker_that_dies_each_time_is_not_replaced_for_ever() -> None:
    def dies(member: Any) -> None:
        raise SystemExit

    with pytest.raises(RuntimeError, match="replaced too often"):
        Local(1).run(dies)


def test_a_fit_grows_and_shrinks() -> None:
    at = {0: Do("worker-0", "want", 3), 1: Do("worker-1", "want", 1)}
    groups = Local((2, 3)).run(Blocks(2, at))
    assert [size for _, size, _ in groups] == [2, 3, 2]  # never under the least


def test_a_worker_leaves_politely() -> None:
    assert [size for _, size, _ in Local(3).run(Blocks(1, {0: Do("worker-2", "leave")}))] == [3, 2]
    assert Local(3).run(Blocks(1, {0: Do("worker-0", "leave")}))[-1][:2] == (1, 2)  # rank 0 too


def test_what_a_worker_raises_is_raised_unless_the_others_can_go_on() -> None:
    assert [size for _, size, _ in Local(2).run(Blocks(1, {0: Do("worker-1", "raise", "its own")}))] == [2, 1]

    def fails(member: Any) -> None:
        member.group.all_reduce(np.zeros(1))
        if member.group.rank == 1:
            raise KeyError("the first cause")
        member.group.all_reduce(np.zeros(1))

    with pytest.raises(KeyError, match="the first cause"):
        Local(3).run(fails)


class Post:
    """Notes what a Membership tells each worker."""

    def __init__(self, membership: Membership, *names: str) -> None:
        self.membership, self.told = membership, {}  # type: Membership, dict[str, list[dict[str, Any]]]
        for name in names:
            self.join(name)

    def join(self, name: str) -> None:
        self.told[name] = []
        self.membership.join(name, self.told[name].append)

    def groups(self, name: str) -> list[tuple[str, ...]]:
        return [tuple(message["workers"]) for message in self.told[name] if "group" in message]


def test_ranks_keep_their_order_and_newcomers_are_last() -> None:
    membership = Membership(first=2, most=3)
    post = Post(membership, "b", "a")
    assert post.groups("a") == [("b", "a")]
    post.join("c")
    post.join("d")
    assert {"pending": 1, "leaving": []} in post.told["a"]  # for one alone is there room
    membership.ready("a", 0, lost=False)
    assert len(post.groups("b")) == 1  # b is not ready yet
    membership.ready("b", 0, lost=False)
    assert post.groups("c") == [("b", "a", "c")]
    assert not post.groups("d")
    membership.lost("b")
    assert {"over": 1} in post.told["a"]
    assert {"over": 1} in post.told["c"]
    membership.ready("c", 1, lost=True)
    membership.ready("a", 0, lost=True)  # of a group that has gone: not heard
    assert len(post.groups("c")) == 1
    membership.ready("a", 1, lost=True)
    assert post.groups("c")[-1] == ("a", "c")
    assert not post.groups("d")
    assert post.told["a"][-1] == {"pending": 1, "leaving": []}
    with pytest.raises(ValueError, match="a name of its own"):
        post.join("b")


def test_a_connection_that_breaks_again_and_again_costs_the_youngest_its_place() -> None:
    membership = Membership(first=3, settle=0.0)
    post = Post(membership, "a", "b", "c")
    for generation in range(3):
        for name in "abc":
            membership.ready(name, generation, lost=True)
        deadline = time.monotonic() + 60
        while membership.generation == generation and time.monotonic() < deadline:
            time.sleep(0.001)  # the timer that waits for word of a death
    assert post.groups("a") == [("a", "b", "c")] * 3 + [("a", "b")]
    assert "dismissed" in post.told["c"][-1]


def test_the_agent_refuses_strangers_and_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(1)
    try:
        with pytest.raises(Dismissed, match="token"):
            SocketLink("a", agent.address, "a guess")
        for line in (b"GET / HTTP/1.1\n", b"[]\n", b"\n", b'{"hello": 1}\n', b"{" * 70000):
            host, port = agent.address.split(":")
            with socket.create_connection((host, int(port)), timeout=60) as stranger:
                stranger.sendall(line)
                answer = stranger.recv(1000)
                assert not answer or "dismissed" in json.loads(answer)
        monkeypatch.setattr(links, "__version__", "0.0.1")
        with pytest.raises(Dismissed, match=r"has slide 0\.0\.1"):
            SocketLink("b", agent.address, agent.token)
        assert agent.notices.empty()
    finally:
        agent.close()
    with pytest.raises(DriverLost, match="nobody answers"):
        SocketLink("c", agent.address, agent.token)


def test_a_silent_worker_is_lost_and_a_driver_that_goes_is_noticed() -> None:
    agent = Agent(2, timeout=1.0)

    def make(generation: int, rank: int, size: int, is_over: Any) -> LocalGroup:
        return LocalGroup(Meeting(size, 60), rank, generation)

    try:
        one, silent = (SocketLink(name, agent.address, agent.token) for name in ("one", "silent"))
        member = ElasticMember(one, make, patience=0.0)
        assert member.workers == ("one", "silent")
        silent.send = lambda message: None  # type: ignore[method-assign]  # its beats too
        with pytest.raises(PeerLost):
            member.group.all_reduce(np.zeros(1))
        with pytest.raises(Dismissed, match=r"silent for 1 s"):
            silent.next_group(0)
        member.regroup(lost=True)
        assert member.workers == ("one",)
        assert member.group.generation == 1
        assert not member.wants_change()
        one._socket.shutdown(socket.SHUT_RD)  # as where the driver has crashed
        while one.driver_gone_at is None:  # another thread hears of it
            time.sleep(0.01)
        with pytest.raises(DriverLost):
            member.regroup()
        assert member.wants_change().driver_lost
    finally:
        agent.close()


def test_the_command_line_names_engines() -> None:
    assert from_name("ray", "2:8", 1, "auto") == Ray((2, 8), 1, "auto")
    assert from_name("torch", "3") == Torch(3)
    assert from_name("local") == Local(2)
    assert from_name("mpi") == MPI()
    for wrong in (("horovod",), ("ray", "8:2:1"), ("ray", "two"), ("mpi", "2"), ("torch", None, None, "auto")):
        with pytest.raises(ValueError, match=r"engine|workers|address"):
            from_name(*wrong)
    for workers in (0, (3, 2), "2"):
        with pytest.raises((ValueError, TypeError), match=r"workers|int"):
            Local(workers).run(check_group)  # type: ignore[arg-type]
