"""The group of the processes that mpirun started, over mpi4py, which this module alone imports.

MPI has one group only here: under MPICH a process that dies ends the job, which then has to be started again and goes
on from its checkpoint.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

from slide.distributed.transport.group import Array, PeerLost, SendsByPosts
from slide.distributed.transport.member import Member

CHUNK = 1 << 30  # bytes sent at once: MPI counts in 32 bits


def run_mpi(work: Callable[[Any], Any], threads: int | None = None) -> Any:
    """Calls work(member) in each process that mpirun started; what it returned at rank 0, None at the others.

    One that raises ends the job, since the others would wait for it for ever.
    """
    group = MpiGroup()
    try:
        value = work(Member(group, threads))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        time.sleep(0.5)  # until mpirun has passed it on: it ends with the job
        MPI.COMM_WORLD.Abort(1)
        raise
    return value if group.rank == 0 else None


class MpiGroup(SendsByPosts):
    """See Group. bytes_sent counts what this worker handed to the network, as the usual algorithms do it."""

    def __init__(self, communicator: Any = None) -> None:
        """communicator: of mpi4py; None takes all processes."""
        self._mpi = (MPI.COMM_WORLD if communicator is None else communicator).Dup()
        self._mpi.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank, self.size, self.generation, self.bytes_sent = self._mpi.Get_rank(), self._mpi.Get_size(), 0, 0

    def all_reduce(self, array: Array) -> None:
        """See Group. The algorithms of MPICH and Open MPI give all ranks the same bits."""
        data = array.reshape(-1)
        step = max(1, CHUNK // array.itemsize)
        for start in range(0, len(data), step):
            self._do("Allreduce", MPI.IN_PLACE, data[start : start + step], MPI.SUM)
        self.bytes_sent += 2 * array.nbytes * (self.size - 1) // self.size

    def all_gather(self, array: Array) -> Array:
        """See Group."""
        found = np.empty((self.size, *array.shape), array.dtype)
        mine, all_of_it = array.reshape(-1), found.reshape(self.size, -1)
        step = max(1, CHUNK // max(1, array.itemsize * self.size))
        for start in range(0, len(mine), step):
            part = np.empty((self.size, len(mine[start : start + step])), array.dtype)
            self._do("Allgather", mine[start : start + step], part)
            all_of_it[:, start : start + step] = part
        self.bytes_sent += array.nbytes * (self.size - 1)
        return found

    def broadcast(self, array: Array, root: int = 0) -> None:
        """See Group."""
        for part in _parts(array):
            self._do("Bcast", part, root)
        self.bytes_sent += array.nbytes if self.rank == root else 0

    def isend(self, array: Array, to: int, tag: int = 0) -> _Posted:
        """See Posting."""
        self.bytes_sent += array.nbytes
        return _Posted([self._mpi.Isend(part, to, tag) for part in _parts(array)])

    def irecv(self, array: Array, source: int, tag: int = 0) -> _Posted:
        """See Posting."""
        return _Posted([self._mpi.Irecv(part, source, tag) for part in _parts(array)])

    def reordered(self, order: list[int]) -> MpiGroup:
        """A group of the same workers in which rank r is the one that is order[r] here. All call it."""
        return MpiGroup(self._mpi.Split(0, order.index(self.rank)))

    def _do(self, call: str, *arguments: Any) -> None:
        try:
            getattr(self._mpi, call)(*arguments)
        except MPI.Exception as error:
            raise PeerLost(f"a worker does not answer: {error}") from error


class _Posted:
    """Of isend or irecv."""

    def __init__(self, requests: list[Any]) -> None:
        self._requests = requests

    def wait(self) -> None:
        """Until it has been sent or received."""
        try:
            for request in self._requests:
                request.Wait()
        except MPI.Exception as error:
            raise PeerLost(f"a worker does not answer: {error}") from error


def _parts(array: Array) -> list[Array]:
    data = array.reshape(-1).view(np.uint8)
    return [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
