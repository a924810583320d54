"""Processes over torch's gloo on this machine: they come, go, stop and are killed. `make test-cluster` runs this."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed_work import Blocks, Do, check_group
from waiting import wait_for, wait_until_gone

from slide.distributed.engines import Torch
from slide.distributed.transport.group import PeerLost

pytest.importorskip("torch", reason="make test-cluster has torch")
SCRIPT = Path(__file__).with_name("driver.py")


def test_a_group_of_processes_does_what_groups_do() -> None:
    assert "uint32" in Torch(3).run(check_group)


@pytest.mark.parametrize("who", ["worker-0", "worker-1"])
def test_a_killed_process_is_lost_and_replaced(who: str) -> None:
    groups = Torch(3).run(Blocks(2, {0: Do(who, "SIGKILL")}))
    assert groups[-3:][0] in ((0, 3, 0), (1, 2, 2))
    assert [size for _, size, _ in groups[-2:]] == [2, 3]


def test_a_stopped_process_is_lost_after_the_timeout() -> None:
    groups = Torch(3, timeout=3).run(Blocks(2, {0: Do("worker-2", "SIGSTOP")}))
    assert [size for _, size, _ in groups] == [3, 2, 3]


def test_processes_are_added_and_taken_away() -> None:
    groups = Torch((2, 3)).run(Blocks(2, {0: Do("worker-0", "want", 3), 1: Do("worker-1", "want", 1)}))
    assert [size for _, size, _ in groups] == [2, 3, 2]


def test_what_a_process_raises_is_raised() -> None:
    with pytest.raises(KeyError, match="mine"):
        Torch(2).run(Fails())


class Fails:
    def __call__(self, member: Any) -> None:
        if member.group.rank == 1:
            raise KeyError("mine")
        member.group.all_reduce(np.zeros(1))


@pytest.mark.parametrize("dies", ["SIGKILL", "SIGSTOP"])
def test_a_process_that_dies_while_its_group_is_made_does_not_hold_the_others(dies: str) -> None:
    groups = Torch(3, timeout=3).run(DiesInside(dies))
    assert groups[0] > 0  # the first group never came to be


@dataclass
class DiesInside:
    """The youngest of the first group does not come to connect to the others."""

    dies: str

    def __call__(self, member: Any) -> tuple[int, int]:
        member.group.all_reduce(np.zeros(1))
        return member.group.generation, member.group.size

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In the worker, before it joins."""
        from slide.distributed.transport import gloo

        self.__dict__ |= state
        connect, dies = gloo._connect, self.dies

        def connect_or_die(store: Any, rank: int, *rest: Any) -> Any:
            if store_generation(store) == 0 and rank == 2:
                os.kill(os.getpid(), signal.Signals[dies])
            return connect(store, rank, *rest)

        gloo._connect = connect_or_die


def store_generation(store: Any) -> int:
    return int(store.prefix.split("/")[-1]) if hasattr(store, "prefix") else 0


def test_workers_save_and_leave_when_the_driver_is_killed(tmp_path: Path) -> None:
    driver = subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path)])
    try:
        wait_for(tmp_path, "started", 2)
    finally:
        driver.kill()
        driver.wait()
    wait_for(tmp_path, "saved", 2)
    for path in tmp_path.glob("started-*"):
        wait_until_gone(int(path.read_text()))


def test_torchrun_starts_the_processes(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=2"]
    endpoint = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
    out = subprocess.run([*torchrun, *endpoint, str(SCRIPT), "torch"], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert sorted(out.stdout.replace("None", " None ").split()) == ["6", "None"]  # two may write one line


@dataclass
class Waits:
    """Longer for another worker than connecting may take."""

    connecting: float = 1.0

    def __call__(self, member: Any) -> str:
        group, array = member.group, np.ones(4)
        for wait in (group.all_reduce, lambda a: group.broadcast(a, 1), lambda a: self._receive(group, a)):
            time.sleep(1.5 * group.rank)
            wait(array)
        return "came"

    def _receive(self, group: Any, array: Any) -> None:
        if group.rank:
            group.send(array, 0)
        else:
            group.recv(array, 1)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In the worker, before it joins."""
        from slide.distributed.transport import gloo

        self.__dict__ |= state
        gloo.CONNECTING = self.connecting


def policies(member: Any) -> dict[str, int]:
    """Of the threads of the first worker, by name."""
    threads = [path for path in Path("/proc/self/task").iterdir() if (path / "comm").exists()]
    return {(path / "comm").read_text().strip(): os.sched_getscheduler(int(path.name)) for path in threads}


def test_the_thread_for_messages_takes_no_processor_from_others() -> None:
    found = Torch(2).run(policies)
    assert found["gloo_tcp_loop"] == os.SCHED_BATCH
    assert all(policy == os.SCHED_OTHER for name, policy in found.items() if "gloo" not in name)


def test_a_slow_worker_is_waited_for() -> None:
    assert Torch(2).run(Waits()) == "came"


def test_a_group_that_broke_says_so_at_once() -> None:
    from slide.distributed.transport.gloo import GlooGroup

    group = GlooGroup(None, 0, 1)
    array = np.ones(3, np.float32)
    group.all_reduce(array)
    np.testing.assert_array_equal(group.all_gather(array), [array])
    with pytest.raises(TypeError, match="complex64"):
        group.all_reduce(np.ones(1, np.complex64))
    group.break_off()
    with pytest.raises(PeerLost):
        group.all_reduce(array)


def test_a_message_that_gloo_never_ends_is_given_up() -> None:
    """As one to a worker that died while it was written."""
    from slide.distributed.transport.gloo import GlooGroup

    class Never:
        def wait(self, timeout: Any) -> None:
            ended.wait(60)

    ended, group = threading.Event(), GlooGroup(None, 0, 1)
    threading.Timer(0.1, group.break_off).start()
    with pytest.raises(PeerLost), group._breaking():
        group.wait_for(Never(), None)
    assert not ended.is_set()
    ended.set()


def test_a_process_that_is_stuck_in_a_broken_group_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from slide.distributed.transport import gloo

    codes: list[int] = []
    monkeypatch.setattr(gloo.os, "_exit", codes.append)
    group = gloo.GlooGroup(None, 0, 1)
    group._end_if_stuck()
    assert not codes  # it waits for nobody
    with group._breaking():
        group._end_if_stuck()
    assert codes == [1]
