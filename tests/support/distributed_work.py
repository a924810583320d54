"""Work for the engines of slide.distributed: the same in threads, processes, actors and under mpirun."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slide.distributed.transport.group import Array, PeerLost, collect, gather_ragged


def check_group(member: Any) -> list[str]:
    """Calls all that a group has, with every dtype that is used; what rank 0 returns is the names of the dtypes."""
    group = member.group
    rank, size = group.rank, group.size
    dtypes = [np.dtype(name) for name in ("float32", "float64", "int32", "int64", "uint8", "uint32")]
    for dtype in dtypes:
        start = np.arange(6).reshape(2, 3).astype(dtype)
        array = start + dtype.type(rank)
        group.all_reduce(array)
        np.testing.assert_array_equal(array, start * dtype.type(size) + dtype.type(size * (size - 1) // 2))
        gathered = group.all_gather(np.full((2, 2), rank, dtype))
        assert gathered.shape == (size, 2, 2)
        assert gathered.dtype == dtype
        np.testing.assert_array_equal(gathered[:, 1, 1], np.arange(size))
        array = np.full(3, rank, dtype)
        group.broadcast(array, size - 1)
        np.testing.assert_array_equal(array, size - 1)
        _pass_on(group, np.arange(5).astype(dtype) + dtype.type(rank))
    group.all_reduce(np.empty((0, 3), np.float32))
    assert group.all_gather(np.empty((0, 3), np.int64)).shape == (size, 0, 3)
    ragged = gather_ragged(group, np.full((rank, 2), rank, np.uint32))
    assert [len(part) for part in ragged] == list(range(size))
    parts = collect(group, np.full(rank + 1, rank, np.int64))
    assert (parts is not None) == (rank == 0)
    ranks = np.full(1001, rank, np.int64)
    under_way = group.iall_reduce(ranks)
    under_way.wait()
    np.testing.assert_array_equal(ranks, size * (size - 1) // 2)
    noise = np.random.default_rng(rank).standard_normal(1001).astype(np.float32)
    group.all_reduce(noise)
    assert len(np.unique(group.all_gather(noise), axis=0)) == 1  # the same bits everywhere
    return [str(dtype) for dtype in dtypes]


def _pass_on(group: Any, array: Array) -> None:
    """Around the ring: even ranks send first."""
    to, source = (group.rank + 1) % group.size, (group.rank - 1) % group.size
    if group.size == 1:
        return
    array.flags.writeable = False
    found = np.empty_like(array)
    for sends in (group.rank % 2 == 0, group.rank % 2 == 1):
        if sends:
            group.send(array, to)
        else:
            group.recv(found, source)
    assert found[0] == source
    assert found.dtype == array.dtype


@dataclass
class Blocks:
    """Stands for a fit that goes on until the group of a generation has done three blocks.

    at: {generation: action}, which every member calls at the third block of that group.
    """

    until: int
    at: dict[int, Callable[[Any], None]] = field(default_factory=dict)

    def __call__(self, member: Any) -> list[tuple[int, int, int]]:
        """(generation, size, block at which it began) for each group that rank 0 has seen."""
        groups: list[tuple[int, int, int]] = []
        block, done, lost = 0, 0, False
        give_up = time.monotonic() + 120
        while True:
            try:
                if not groups or groups[-1][0] != member.group.generation:
                    block = int(member.group.all_gather(np.array([block], np.int64)).max())
                    groups.append((member.group.generation, member.group.size, block))
                    done = 0
                if done == 2 and member.group.generation in self.at:
                    self.at[member.group.generation](member)
                ones = np.ones(4, np.float32)
                member.group.all_reduce(ones)
                assert ones[0] == member.group.size
                block, done = block + 1, done + 1
                if done >= 3 and member.group.generation >= self.until:
                    return groups
                assert time.monotonic() < give_up, groups
                if change := member.wants_change():
                    if change.driver_lost:
                        return groups
                    member.regroup()
            except PeerLost:
                lost = True
            if lost:
                member.regroup(lost=True)
                lost = False


@dataclass
class Do:
    """An action for the worker of one name."""

    name: str
    what: str
    value: Any = None

    def __call__(self, member: Any) -> None:
        if member.name != self.name:
            return
        if self.what == "exit":  # a thread dies
            raise SystemExit
        if self.what == "raise":
            raise KeyError(self.value)
        if self.what in ("SIGKILL", "SIGSTOP"):
            os.kill(os.getpid(), signal.Signals[self.what])
        elif self.what == "leave":
            member.leave()
        elif self.what == "want":
            member.want(self.value)
        else:
            raise AssertionError(self.what)
