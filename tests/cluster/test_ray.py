"""Ray actors on a Ray that is started here, on the loopback. `make test-cluster` runs this."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed_work import Blocks, Do, check_group

from slide.distributed.engines import Ray

ray = pytest.importorskip("ray", reason="make test-cluster has Ray")


def listening() -> set[str]:
    """Addresses in hexadecimal at which processes started by this one listen."""
    mine = {os.getpid()} | {int(p) for p in _descendants(os.getpid())}
    inodes = set()
    for process in mine:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
            except OSError:  # closed meanwhile
                continue
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and line[9] in inodes}


def _descendants(process: int) -> Iterator[int]:
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text().split():
            yield int(child)
            yield from _descendants(int(child))


def test_actors_do_what_groups_do_and_listen_on_the_loopback_only() -> None:
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            seen.update(listening())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        assert "uint32" in Ray(2).run(check_group)
    finally:
        ended.set()
        thread.join()
    assert seen
    assert seen <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert not ray.is_initialized()


def test_a_killed_actor_is_lost_and_replaced() -> None:
    groups = Ray(2).run(Blocks(2, {0: Do("worker-1", "SIGKILL")}))
    assert [size for _, size, _ in groups] == [2, 1, 2]


def test_actors_are_added_and_taken_away_on_a_cluster_that_was_there_before() -> None:
    from slide.distributed.transport.ray_cluster import _start_on_loopback

    _start_on_loopback(3)
    try:
        at = {0: Do("worker-0", "want", 3), 1: Do("worker-1", "want", 1)}
        groups = Ray((2, 3), address=ray.get_runtime_context().gcs_address).run(Blocks(2, at))
        assert [size for _, size, _ in groups] == [2, 3, 2]
        assert ray.is_initialized()  # it is not this run's to shut down
        assert ray.util.list_named_actors(all_namespaces=True) == []
    finally:
        ray.shutdown()
