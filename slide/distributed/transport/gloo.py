"""Groups over torch's gloo: bare process groups, one a generation, beside whatever default group the process has.

The only module that imports torch. Processes find each other through a TCPStore in the driver, or torchrun's.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import queue
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from slide.distributed.transport.group import Array, Later, PeerLost, SendsByPosts

CHUNK = 1 << 26  # bytes sent at once
CONNECTING = 10.0  # seconds
STUCK = 3.0  # seconds after which a call that does not return from a broken group never will
WAITING = 1800.0  # seconds that a call waits for a peer of which nothing is heard; an engine's driver knows earlier
_BREAKING = 0xB0FF  # a tag under which nobody sends
_SUMMABLE = {np.dtype(name) for name in ("float16", "float32", "float64", "int8", "uint8", "int32", "int64")}
_SIGNED = {np.dtype(np.uint32): np.int32, np.dtype(np.uint64): np.int64}  # whose sums have the same bits


class Store:
    """A TCPStore in this process, which listens at `host` alone."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        listening = socket.create_server((host, 0))
        self.port = listening.getsockname()[1]
        self._store = dist.TCPStore(
            host,
            self.port,
            None,
            True,
            _seconds(CONNECTING),
            wait_for_workers=False,
            master_listen_fd=listening.detach(),
        )


class GlooGroup(SendsByPosts):
    """See Group. bytes_sent counts what this worker handed to the network, as the usual algorithms do it."""

    def __init__(
        self,
        store: Any,
        rank: int,
        size: int,
        generation: int = 0,
        host: str = "127.0.0.1",
        timeout: float = WAITING,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """host: the address of this machine that the others connect to. Raises PeerLost where they do not come, at
        once where is_over() says so.
        """
        self.rank, self.size, self.generation, self.bytes_sent = rank, size, generation, 0
        self._store, self.host, self._timeout, self._broken = store, host, timeout, False
        self.waiting_since: float | None = None  # time.monotonic(), while a call waits for others
        self._waiter = _Waiter()
        self._torch = _connect(store, rank, size, host, is_over) if size > 1 else None
        if self._torch is not None:
            self._torch.set_timeout(_seconds(timeout))

    def all_reduce(self, array: Array) -> None:
        """See Group. float16 to float64, int8, uint8 and integers of 32 and 64 bits."""
        self.iall_reduce(array).wait()

    def iall_reduce(self, array: Array) -> Later:
        """See Posting."""
        dtype = np.dtype(_SIGNED.get(array.dtype, array.dtype))
        if dtype not in _SUMMABLE:
            raise TypeError(f"array is {array.dtype}; all_reduce adds up {', '.join(sorted(map(str, _SUMMABLE)))}")
        self.bytes_sent += 2 * array.nbytes * (self.size - 1) // self.size
        with self._breaking():
            work = None if self._torch is None else self._torch.allreduce([_tensor(array.view(dtype))])
            return Later(lambda: self._end(work))

    def all_gather(self, array: Array) -> Array:
        """See Group."""
        found = np.empty((self.size, *array.shape), array.dtype)
        if self.size == 1:
            found[0] = array
        self._do("_allgather_base", _tensor(_bytes(found)), _tensor(_bytes(array)))
        self.bytes_sent += array.nbytes * (self.size - 1)
        return found

    def broadcast(self, array: Array, root: int = 0) -> None:
        """See Group."""
        options = dist.BroadcastOptions()
        options.rootRank = root
        self._do("broadcast", [_tensor(_bytes(array))], options)
        self.bytes_sent += array.nbytes if self.rank == root else 0

    def isend(self, array: Array, to: int, tag: int = 0) -> _Posted:
        """See Posting."""
        self.bytes_sent += array.nbytes
        return self._post("send", array, to, tag)

    def irecv(self, array: Array, source: int, tag: int = 0) -> _Posted:
        """See Posting."""
        return self._post("recv", array, source, tag)

    def reordered(self, order: list[int]) -> GlooGroup:
        """A group of the same workers in which rank r is the one that is order[r] here. All call it."""
        name = "order-" + "-".join(map(str, order))
        store = dist.PrefixStore(name, self._store)
        return GlooGroup(store, order.index(self.rank), self.size, self.generation, self.host, self._timeout)

    def break_off(self) -> None:
        """Makes all calls raise PeerLost, here and at the others, those that wait too."""
        first, self._broken = not self._broken, True
        if self._torch is None:
            return
        # A receive that is out of time closes the connections of its group, which its abort() does not. One from a
        # worker that has died is not even begun.
        for other in range(self.size):
            with contextlib.suppress(RuntimeError):
                never = torch.empty(1, dtype=torch.uint8)
                if other != self.rank:
                    self._torch.recv([never], other, _BREAKING).wait(_seconds(0.001))
        if first:
            timer = threading.Timer(STUCK, self._end_if_stuck)
            timer.daemon = True
            timer.start()

    def _end_if_stuck(self) -> None:
        """Ends this process where gloo does not return: it does not always wake who sends to a worker that died.
        The engine starts another."""
        if self.waiting_since is not None:
            sys.stderr.write(f"slide: worker {self.rank} is stuck in a group that has lost another, and ends\n")
            sys.stderr.flush()
            os._exit(1)

    def wait_for(self, work: Any, tensor: torch.Tensor) -> None:
        """Until a message has been sent or received. RuntimeError where the group breaks meanwhile."""
        mail = self._waiter.begin(work, tensor, self._timeout)
        while not mail.ended.wait(0.05):
            if self._broken:
                raise RuntimeError("the group has lost a worker")
        if mail.error is not None:
            raise mail.error

    def _do(self, call: str, *arguments: Any) -> None:
        with self._breaking():
            work = None if self._torch is None else getattr(self._torch, call)(*arguments)
        self._end(work)

    def _end(self, work: Any) -> None:
        """Waits for a collective, which a broken group ends."""
        with self._breaking():
            if work is not None:
                work.wait()

    def _post(self, call: str, array: Array, other: int, tag: int) -> _Posted:
        with self._breaking():
            tensors = [_tensor(part) for part in _parts(array)]
            return _Posted(self, [(getattr(self._torch, call)([part], other, tag), part) for part in tensors])

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        """Turns what torch raises into PeerLost."""
        if self._broken:
            raise PeerLost("this group has lost a worker")
        self.waiting_since = time.monotonic()
        try:
            yield
        except RuntimeError as error:
            self.break_off()
            raise PeerLost(f"a worker does not answer: {error}") from error
        finally:
            self.waiting_since = None


class _Mail:
    """A message under way."""

    def __init__(self, work: Any, tensor: torch.Tensor, timeout: float) -> None:
        self._work, self._tensor = work, tensor  # type: Any, Any  # the memory, for as long as gloo may use it
        self._timeout = timeout
        self.ended, self.error = threading.Event(), None  # type: threading.Event, RuntimeError | None

    def wait(self) -> None:
        """Sets `ended`, and `error` if there was one."""
        try:
            self._work.wait(_seconds(self._timeout))  # else that for connecting
        except RuntimeError as error:
            self.error = error
        self._work = self._tensor = None  # no thread of Python's may keep what is gloo's when the process ends
        self.ended.set()


class _Waiter:
    """A thread that waits for messages, because it may be for ever: see GlooGroup._end_if_stuck."""

    def __init__(self) -> None:
        self._mail: queue.SimpleQueue[_Mail | None] = queue.SimpleQueue()
        self._begun = False

    def begin(self, work: Any, tensor: torch.Tensor, timeout: float) -> _Mail:
        """Waits for it, after those before."""
        if not self._begun:
            self._begun = True
            threading.Thread(target=_wait_for_each, args=(self._mail,), name="slide-waiting", daemon=True).start()
            weakref.finalize(self, self._mail.put, None)
        mail = _Mail(work, tensor, timeout)
        self._mail.put(mail)
        return mail


def _wait_for_each(mails: queue.SimpleQueue[_Mail | None]) -> None:
    while (mail := mails.get()) is not None:
        mail.wait()


class _Posted:
    """Of isend or irecv. It keeps the memory that the network reads or writes."""

    def __init__(self, group: GlooGroup, works: list[tuple[Any, torch.Tensor]]) -> None:
        self._group, self._works = group, works

    def wait(self) -> None:
        """Until it has been sent or received; a second call returns at once."""
        works, self._works = self._works, []
        with self._group._breaking():
            for work, tensor in works:
                self._group.wait_for(work, tensor)


def join_store(host: str, port: int, prefix: str) -> Any:
    """A connection to a store; one a generation, since a call that waits for a dead worker holds its connection."""
    try:
        store = dist.TCPStore(host, port, None, False, _seconds(CONNECTING), wait_for_workers=False)
    except RuntimeError as error:  # it went with the driver
        raise PeerLost(f"no store at {host}:{port}: {error}") from error
    return dist.PrefixStore(prefix, store)


def from_torchrun(timeout: float = WAITING) -> GlooGroup:
    """The group of the processes that torchrun started, from the environment that it gives them.

    When one dies torchrun starts all of them again, so the work goes on from its checkpoint.
    """
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} not set: start this with torchrun")
    master, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = join_store(master, port, f"slide/{attempt}")
    return GlooGroup(
        store,
        int(os.environ["RANK"]),
        int(os.environ["WORLD_SIZE"]),
        generation=int(attempt),
        host=_address_towards(master, port),
        timeout=timeout,
    )


def _connect(store: Any, rank: int, size: int, host: str, is_over: Callable[[], bool]) -> Any:
    """A process group. It is made in a thread, because nothing else ends the wait for a worker that died meanwhile."""
    options = dist.ProcessGroupGloo._Options()
    options._devices = [_device(host)]
    options._timeout = _seconds(CONNECTING)
    made: list[Any] = []
    done = threading.Event()

    def make() -> None:
        try:
            made.append(dist.ProcessGroupGloo(store, rank, size, options))
        except RuntimeError as error:
            made.append(error)
        done.set()

    threading.Thread(target=make, name="slide-connecting", daemon=True).start()
    while not done.wait(0.01):
        if is_over():
            raise PeerLost("a worker was lost while its group was made")
    if isinstance(made[0], RuntimeError):
        raise PeerLost(f"not all workers came: {made[0]}") from made[0]
    return made[0]


@lru_cache
def _device(host: str) -> Any:
    with _batch_scheduling():
        return dist.ProcessGroupGloo.create_device(hostname=host)


@contextlib.contextmanager
def _batch_scheduling() -> Iterator[None]:
    """Threads that are made meanwhile do not take the processor from one that runs (SCHED_BATCH).

    The library's thread for messages, woken while this one sends, would do so, find the connection locked by it, and
    ask again and again for as long as the scheduler lets it: some 3 ms.
    """
    if not hasattr(os, "SCHED_BATCH") or os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _address_towards(host: str, port: int) -> str:
    """The address of this machine on the way to another."""
    with socket.create_connection((host, port), timeout=CONNECTING) as connection:
        return str(connection.getsockname()[0])


def _seconds(seconds: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=seconds)


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def _parts(array: Array) -> list[Array]:
    data = _bytes(array)
    return [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]


def _tensor(array: Array) -> torch.Tensor:
    """Of the same memory; of a copy where the array is read-only, which torch would warn of."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())
