"""Requests to predict that arrive whole are answered here, without the server's parser and an ASGI task for each.

Those cost more than a prediction does. What is not plainly one whole request to predict, on a connection where nothing
else is under way, goes the long way (service.py), and is answered there with the same bytes. While the queue is full,
requests are refused before their body is parsed: refusing must cost next to nothing, or those that are refused take the
time of those that are served (docs/production.md).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

from slide.serving.batching import RETRY_AFTER, Job
from slide.serving.hosted import Best
from slide.serving.http import Reply, refused
from slide.serving.inputs import read_question
from slide.serving.models import Slot
from slide.serving.native import PREDICT, answer
from slide.serving.refusal import Refusal
from slide.serving.service import Service, access, failed

PREDICTS = (b"POST /v1/models/", b"POST /v2/models/", b"POST /v1/projects/")
LONGEST_HEAD = 4096
KEPT = 1 << 16  # bytes of requests that follow before their client is made to wait
KNOWN_HEADS = 1024  # that are remembered: a client's requests begin alike

#: Header lines as RFC 9110 has them, and nothing that another program might read otherwise.
HEAD = re.compile(rb"POST (/[!-~]*) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)+)\r\n")
LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,9})[ \t]*\r$", re.MULTILINE)
#: Headers that say how a request is to be read: the long way knows them.
OTHERS = re.compile(rb"^(?:connection|expect|transfer-encoding|content-encoding|upgrade|trailer):", re.MULTILINE)

STATUS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Head(NamedTuple):
    """Of a request that may be read here: where its body begins, and how long it is."""

    path: bytes
    begin: int
    length: int


def read_head(data: bytes) -> Head | None:
    """None of what is not plainly the head of a request to predict, on a connection that stays open."""
    end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD) + 4
    if end < 4 or not data.startswith(PREDICTS):
        return None
    found = HEAD.fullmatch(data, 0, end)
    if found is None or found[1].endswith(b"/reload"):
        return None
    headers = found[2].lower()
    lengths = LENGTH.findall(headers)
    if len(lengths) != 1 or headers.count(b"content-length") != 1 or OTHERS.search(headers):
        return None
    return Head(found[1], end, int(lengths[0]))


class Heads:
    """Reads heads, and remembers them."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head | None] = {}

    def __call__(self, data: bytes) -> Head | None:
        """That of a whole request and nothing else, or None."""
        end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD) + 4
        if end < 4:
            return None
        raw = data[:end]
        head = self._known.get(raw)
        if head is None:
            head = read_head(raw)
            if head is None:
                return None
            if len(self._known) >= KNOWN_HEADS:
                self._known.clear()
            self._known[raw] = head
        return head if len(data) == end + head.length else None


def as_bytes(reply: Reply, default_headers: Any = ()) -> bytes:
    """A reply in the bytes of HTTP."""
    lines = b"".join([name + b": " + value + b"\r\n" for name, value in (*default_headers, *reply.headers)])
    head = b"HTTP/1.1 %d %s\r\n%bcontent-length: %d\r\n\r\n" % (
        reply.status, STATUS[reply.status], lines, len(reply.body)
    )  # fmt: skip
    return head + reply.body


class Door:
    """What all connections of a service share."""

    def __init__(self, service: Service) -> None:
        self.service, self.batcher = service, service.batcher
        self.heads = Heads()
        self.slots: dict[bytes, Slot] = {}
        if service.is_open:
            paths = {PREDICT.path.replace("{model}", slot.name): slot for slot in service.slots}
            self.slots = {path.encode(): slot for path, slot in paths.items()}
        full = Refusal(503, "queue: found it full, wanted fewer rows waiting; try again in a second", [RETRY_AFTER])
        self._full = refused(full, "")
        self._said: tuple[Any, bytes] = (None, b"")

    def full(self, default_headers: Any) -> bytes:
        """What is said while the queue is full; it is counted."""
        self.service.metrics.refused_at_the_door()
        if self._said[0] is not default_headers:  # they have the time, in seconds
            self._said = default_headers, as_bytes(self._full, default_headers)
        return self._said[1]


class Asked:
    """A request under way: hands its reply to `then`."""

    def __init__(self, door: Door, slot: Slot, then: Callable[[Reply], None]) -> None:
        self.door, self.slot, self.then = door, slot, then
        self.began = time.perf_counter()
        self.job: Job | None = None

    def ask(self, body: bytes) -> bool:
        """Reads a request's body and queues it; False: it is one for the long way."""
        hosted, service = self.slot.hosted, self.door.service
        try:
            self.question = question = read_question(body, hosted, service.limits)
            if question.explain:
                return False
            self.hosted = hosted
            self.job = self.door.batcher.submit(hosted, question.rows, question.k, self._found, len(body))
        except Refusal as refusal:
            self._reply(refused(refusal, ""))
        except Exception as error:
            self._reply(failed(error, PREDICT.path))
        return True

    def _found(self, found: Best | Exception) -> None:
        try:
            if isinstance(found, Exception):
                raise found
            reply = answer(self.slot, self.hosted, self.question, found)
        except Refusal as refusal:
            reply = refused(refusal, "")
        except Exception as error:
            reply = failed(error, PREDICT.path)
        self._reply(reply)

    def _reply(self, reply: Reply) -> None:
        seconds = time.perf_counter() - self.began
        self.door.service.metrics.request(PREDICT.path, reply.status, seconds)
        if access.isEnabledFor(logging.INFO):
            path = PREDICT.path.replace("{model}", self.slot.name)
            access.info("request", extra={"method": "POST", "path": path, "status": reply.status, "seconds": seconds})
        self.then(reply)


def direct(protocol: type[Any], door: Door) -> type[Any]:
    """uvicorn's protocol, over httptools or h11, that answers whole requests to predict by itself."""
    by_events = hasattr(protocol, "on_message_begin")  # of httptools; h11 says where it is

    class Direct(protocol):  # type: ignore[misc]
        """Knows whether its parser is between two requests, for only there may bytes be kept from it."""

        is_between = True
        asked: Asked | None = None
        kept = b""
        ends = False

        def data_received(self, data: bytes) -> None:
            if self.asked is not None:  # the next request, before this one is answered
                self.kept += data
                if len(self.kept) > KEPT:
                    self.transport.pause_reading()
            elif not (self._is_idle() and self._answers(data)):
                super().data_received(data)

        def _is_idle(self) -> bool:
            if self.cycle is not None and not self.cycle.response_complete:
                return False
            if self.flow.write_paused:  # the client does not read: the long way makes it wait
                return False
            if by_events:
                return self.is_between
            states = str(self.conn.their_state), str(self.conn.our_state)
            return states == ("IDLE", "IDLE") and not self.conn.trailing_data[0]

        def _answers(self, data: bytes) -> bool:
            head = door.heads(data)
            if head is None or self.transport.is_closing():
                return False
            if door.batcher.is_full:
                self._write(door.full(self.server_state.default_headers))
                return True
            slot = door.slots.get(head.path)
            too_many = self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency
            if slot is None or head.length > door.service.limits.max_body or too_many:
                return False
            self.asked = asked = Asked(door, slot, self._replied)
            if not asked.ask(data[head.begin :]):
                self.asked = None
                return False
            return True

        def _replied(self, reply: Reply) -> None:
            self.asked = None
            if self.transport.is_closing():
                return
            self._write(as_bytes(reply, self.server_state.default_headers))
            if self.ends:
                self.transport.close()
            elif self.kept:
                self.loop.call_soon(self._go_on)

        def _go_on(self) -> None:
            data, self.kept = self.kept, b""
            self.transport.resume_reading()
            if data and not self.transport.is_closing():
                self.data_received(data)

        def _write(self, data: bytes) -> None:
            self.transport.write(data)
            self.server_state.total_requests += 1
            self._unset_keepalive_if_required()
            wait = self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(wait, self.timeout_keep_alive_handler)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.asked is not None and self.asked.job is not None:
                self.asked.job.is_over = True  # nobody waits for it
            super().connection_lost(exc)

        def shutdown(self) -> None:
            self.ends = True
            if self.asked is None:
                super().shutdown()

        def timeout_keep_alive_handler(self) -> None:
            if self.asked is None:
                super().timeout_keep_alive_handler()

        def on_message_begin(self) -> None:
            self.is_between = False
            super().on_message_begin()

        def on_message_complete(self) -> None:
            self.is_between = True
            super().on_message_complete()

    return Direct
