"""A load generator for HTTP on this machine: so many clients, or so many requests a second, bounded in count and time.

Plain asyncio, one request at a time on a connection. At a given rate, latencies count from the moment at which a
request was due, not from when it could be sent: a server that stalls makes those that wait late as well (coordinated
omission, Tene 2013). A rate that this generator itself cannot keep up with does so too, so those from sending are
kept as well.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
Check = Callable[[int, int, bytes], None]  # of a request's number, the status and the body


@dataclass
class Outcome:
    """What came of a run: milliseconds of each answer by status, from when it was due and from when it was sent, and
    how long it took."""

    seconds: float = 0.0
    times: dict[int, list[float]] = field(default_factory=dict)
    from_sending: dict[int, list[float]] = field(default_factory=dict)
    failed: int = 0  # connections that broke

    def add(self, status: int, ms: float, from_sending: float) -> None:
        self.times.setdefault(status, []).append(ms)
        self.from_sending.setdefault(status, []).append(from_sending)

    def count(self, status: int = 200) -> int:
        return len(self.times.get(status, ()))

    def quantile(self, share: float, status: int = 200, from_sending: bool = False) -> float:
        """Milliseconds under which this share was answered; NaN where nothing was."""
        times = sorted((self.from_sending if from_sending else self.times).get(status, ()))
        return times[min(int(share * len(times)), len(times) - 1)] if times else float("nan")


def run(work: Coroutine[Any, Any, T]) -> T:
    """In a loop of uvloop where that is installed: it takes half the processor from the server beside."""
    try:
        from uvloop import new_event_loop as factory
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


class Connection(asyncio.Protocol):
    """One connection; `ask` sends a request and calls back with status and body."""

    def __init__(self) -> None:
        self.got = b""
        self.then: Callable[[int, bytes], None] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes, then: Callable[[int, bytes], None]) -> None:
        self.then = then
        assert self.transport is not None
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, end, body = self.got.partition(b"\r\n\r\n")
        if not end:
            return
        at = head.index(b"content-length: ") + 16
        if len(body) >= int(head[at : at + 12].split(b"\r\n")[0]):
            self.got, then, self.then = b"", self.then, None
            assert then is not None
            then(int(head[9:12]), body)

    def connection_lost(self, error: Exception | None) -> None:
        if self.then is not None:
            then, self.then = self.then, None
            then(0, b"")


def request_of(path: str, body: bytes) -> bytes:
    """Its bytes."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def _connected(port: int, n: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(n)]


def _close(connections: Sequence[Connection]) -> None:
    for connection in connections:
        assert connection.transport is not None
        connection.transport.close()


async def clients(
    port: int, requests: Sequence[bytes], n_clients: int, count: int, seconds: float = 60.0, check: Check | None = None
) -> Outcome:
    """Clients that each send their next request when the last is answered, until `count` are, or the time is up."""
    outcome, sent = Outcome(), 0
    connections = await _connected(port, n_clients)
    done = asyncio.get_running_loop().create_future()
    running, began = n_clients, time.perf_counter()

    def following(connection: Connection) -> None:
        nonlocal sent, running
        if sent >= count or time.perf_counter() - began > seconds:
            running -= 1
            if not running:
                done.set_result(None)
            return
        number, begin = sent, time.perf_counter()
        sent += 1

        def answered(status: int, body: bytes) -> None:
            nonlocal running
            ms = 1000 * (time.perf_counter() - begin)
            outcome.add(status, ms, ms)
            if check is not None:
                check(number, status, body)
            if status:
                following(connection)
            else:
                outcome.failed += 1
                running -= 1
                if not running:
                    done.set_result(None)

        connection.ask(requests[number % len(requests)], answered)

    for connection in connections:
        following(connection)
    await done
    outcome.seconds = time.perf_counter() - began
    _close(connections)
    return outcome


async def rate(
    port: int, requests: Sequence[bytes], per_second: float, count: int, n_connections: int = 512, seconds: float = 60.0
) -> Outcome:
    """Requests at even distances, whatever becomes of them, as far as there are connections for them."""
    outcome = Outcome()
    connections = await _connected(port, n_connections)
    free, due = deque(connections), deque[tuple[int, float]]()
    done = asyncio.get_running_loop().create_future()
    began = time.perf_counter()
    answered = 0

    def send() -> None:
        while free and due:
            connection = free.popleft()
            number, begin = due.popleft()
            sent = time.perf_counter()

            def then(
                status: int, body: bytes, connection: Connection = connection, begin: float = begin, sent: float = sent
            ) -> None:
                nonlocal answered
                answered += 1
                now = time.perf_counter()
                outcome.add(status, 1000 * (now - begin), 1000 * (now - sent))
                if status:
                    free.append(connection)
                else:
                    outcome.failed += 1
                if answered == count and not done.done():
                    done.set_result(None)
                send()

            connection.ask(requests[number % len(requests)], then)

    async def arrive() -> None:
        asked = 0
        while asked < count and time.perf_counter() - began < seconds:
            now = time.perf_counter() - began
            while asked < count and asked / per_second <= now:
                due.append((asked, began + asked / per_second))
                asked += 1
            send()
            await asyncio.sleep(0.001)
        if asked < count and not done.done():
            done.set_result(None)

    arriving = asyncio.ensure_future(arrive())
    await asyncio.wait([done], timeout=seconds + 10)
    arriving.cancel()
    outcome.seconds = time.perf_counter() - began
    _close(connections)
    return outcome
