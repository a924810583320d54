"""Refusing at the door: a request that comes while the queue is full is told so from its bytes, before it is parsed.

Refusing must cost next to nothing, or those that are refused take the time of those that are served
(docs/production.md). What is not plainly one whole request to predict goes the long way, where it is refused as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slide.serving.http import refused
from slide.serving.refusal import Refusal

PREDICTS = (b"POST /v1/models/", b"POST /v2/models/", b"POST /v1/projects/")
RELOAD = b"/reload "
LENGTH = b"\r\ncontent-length:"
LONGEST_HEAD = 4096


def is_whole_prediction(data: bytes) -> bool:
    """Whether these bytes are one request to predict and nothing else, on a connection that stays open."""
    if not data.startswith(PREDICTS):
        return False
    end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD)
    if end < 0:
        return False
    head = data[: end + 2].lower()
    at = head.find(LENGTH)
    if at < 0 or b"\r\nconnection:" in head or b"\r\nexpect:" in head or RELOAD in head or b" http/1.1\r\n" not in head:
        return False
    length = head[at + len(LENGTH) : head.index(b"\r\n", at + 2)].strip()
    return length.isdigit() and len(length) < 10 and len(data) == end + 4 + int(length)


def busy_reply(refusal: Refusal) -> bytes:
    """A refusal as the bytes of HTTP."""
    reply = refused(refusal, "")
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return b"HTTP/1.1 %d Service Unavailable\r\n" % reply.status + lines + b"\r\n" + reply.body


def shedding(protocol: type[Any], is_full: Callable[[], bool], reply: Callable[[], bytes]) -> type[Any]:
    """uvicorn's protocol over httptools, which refuses by `reply` while `is_full`, between two requests."""

    class Shedding(protocol):  # type: ignore[misc]
        """Knows whether its parser is between two requests, for only there may bytes be kept from it."""

        is_between = True

        def data_received(self, data: bytes) -> None:
            if self.is_between and is_full() and self._is_idle() and is_whole_prediction(data):
                self.transport.write(reply())
                self._unset_keepalive_if_required()
                wait = self.timeout_keep_alive
                self.timeout_keep_alive_task = self.loop.call_later(wait, self.timeout_keep_alive_handler)
                return
            super().data_received(data)

        def _is_idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def on_message_begin(self) -> None:
            self.is_between = False
            super().on_message_begin()

        def on_message_complete(self) -> None:
            self.is_between = True
            super().on_message_complete()

    return Shedding
