"""Requests and replies over plain ASGI: the few lines between the server and a route, which every request goes through.

No framework stands here, because each of its layers would cost as much as a prediction (docs/production.md).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from slide.serving.limits import Limits
from slide.serving.refusal import Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode  # json.dumps would make one each time
PROBLEM = (b"content-type", b"application/problem+json")


class ClientGone(Exception):
    """The client closed its connection before its request was complete."""


@dataclass(slots=True)
class Reply:
    """What is sent back."""

    body: bytes
    status: int = 200
    headers: Headers = (JSON,)

    @classmethod
    def of(cls, value: Any, status: int = 200, headers: Headers = (JSON,)) -> Reply:
        """A JSON value."""
        return cls(ENCODE(value).encode(), status, headers)

    async def send(self, send: Send) -> None:
        """As ASGI's two messages."""
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """The body, whole.

    Raises
    ------
    Refusal
        413 where it is too long, 408 where it does not come within the deadline.
    ClientGone
    """
    check_length(header(scope, b"content-length"), limits)
    message = await _part(receive, limits.deadline, limits)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        check_size(len(body), limits)
        return body
    parts, size = [body], len(body)
    now = asyncio.get_running_loop().time
    until = now() + limits.deadline
    while message.get("more_body", False):
        check_size(size, limits)
        message = await _part(receive, until - now(), limits)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    check_size(size, limits)
    return b"".join(parts)


async def _part(receive: Receive, seconds: float, limits: Limits) -> MutableMapping[str, Any]:
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
    except TimeoutError:
        wanted = f"the whole of it within {limits.deadline:g} s"
        raise Refusal(408, f"body: found a part, wanted {wanted}", [(b"connection", b"close")]) from None
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of this name, in lower case; empty where there is none."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def check_length(length: bytes, limits: Limits) -> None:
    """Refuses a body by its header, before any of it is read."""
    if length and length.isdigit():
        check_size(int(length[:20]), limits)


def check_size(size: int, limits: Limits) -> None:
    """Refuses a body that is too long, and closes the connection: its rest is not read."""
    if size > limits.max_body:
        wanted = f"at most {limits.max_body:,} bytes"
        raise Refusal(413, f"body: found {size:,} bytes, wanted {wanted}", [(b"connection", b"close")])


def refused(refusal: Refusal, path: str) -> Reply:
    """A refusal as JSON, in the form that the clients of a path know: Annif's speak RFC 7807."""
    if not path.startswith("/v1/projects"):
        return Reply.of({"error": refusal.sentence}, refusal.status, (JSON, *refusal.headers))
    title = HTTPStatus(refusal.status).phrase
    told = {"title": title, "status": refusal.status, "detail": refusal.sentence}
    return Reply.of(told, refusal.status, (PROBLEM, *refusal.headers))
