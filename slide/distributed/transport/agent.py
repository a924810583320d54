"""The driver's side of the membership: a socket that workers connect to, one line of JSON a message.

A worker that dies closes its connection, which is noticed at once; one that is stopped, or whose machine or network is
gone, stays silent, which is noticed after `timeout` seconds. link.py is the workers' side.
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import socket
import socketserver
import threading
from typing import Any, cast

from slide._version import __version__
from slide.distributed.transport.membership import Membership, Message

LONGEST_LINE = 1 << 16


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
    agent: Agent


class _Connection(socketserver.StreamRequestHandler):
    """One worker. Runs in a thread of its own until the worker has gone."""

    def handle(self) -> None:
        agent = cast(_Server, self.server).agent
        self.connection.settimeout(agent.timeout)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            hello = self._read()
            refusal = agent.refuses(hello)
            if refusal:
                self._send({"dismissed": refusal})
                return
            name = str(hello["hello"])
            self._send({"beat": agent.timeout / 5, **agent.welcome})
            agent.membership.join(name, self._send)
            while message := self._read():
                self._act(agent.membership, name, message)
        if name is not None:  # does nothing after "done"; a worker that was stopped reads it when it goes on
            agent.membership.dismiss(name, f"the connection broke, or was silent for {agent.timeout:g} s")

    def _read(self) -> Message:
        """The next message; an empty one at the end. TimeoutError after too long a silence."""
        line = self.rfile.readline(LONGEST_LINE)
        return json.loads(line) if line else {}

    def _send(self, message: Message) -> None:
        # Membership calls it under its lock, so two threads never write at the same time; what cannot be sent is not
        # missed, since the connection ends then.
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def _act(self, membership: Membership, name: str, message: Message) -> None:
        if "beat" in message:
            membership.echo(name)
        elif "ready" in message:
            membership.ready(name, int(message["ready"]), bool(message["lost"]))
        elif "leave" in message:
            membership.leave(name)
        elif "want" in message:
            membership.want(int(message["want"]))
        elif "report" in message:
            membership.report(str(message["report"]))
        elif "done" in message:
            membership.done(name)
        elif "fails" in message:
            membership.lost(name, ends_itself=True)


class Agent:
    """Listens from the time it is made; close() ends it. `notices` is what Membership told: (what, value) pairs."""

    def __init__(
        self,
        first: int,
        most: int | None = None,
        host: str = "127.0.0.1",
        timeout: float = 10.0,
        welcome: Message | None = None,
        steady: bool = False,
    ) -> None:
        """timeout: seconds of silence after which a worker counts as lost. welcome: told to each worker that comes.
        first, most, steady: see Membership.
        """
        self.timeout, self.welcome, self.token = timeout, welcome or {}, secrets.token_hex(16)
        self.notices: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.membership = Membership(
            first, most, notice=lambda what, value: self.notices.put((what, value)), steady=steady
        )
        self._server = _Server((host, 0), _Connection)
        self._server.agent = self
        self.address = f"{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="slide-agent", daemon=True
        )
        self._thread.start()

    def refuses(self, hello: Message) -> str | None:
        """Why this worker may not come in."""
        if not secrets.compare_digest(str(hello.get("token", "")), self.token):
            return "the token is not that of this run"
        if hello.get("version") != __version__:
            return f"this worker has slide {hello.get('version')}, the driver {__version__}"
        return None

    def close(self) -> None:
        """Dismisses the workers that are left and stops listening."""
        self.membership.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
