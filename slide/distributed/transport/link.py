"""A worker's side of the membership: what the driver last said, and how to answer. membership.py lists the messages."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from slide._version import __version__
from slide.distributed.transport.group import PeerLost
from slide.distributed.transport.membership import Message


def packed(message: Any) -> str:
    """An object as text. Workers and driver know each other by a token, so it is pickled."""
    return base64.b64encode(pickle.dumps(message)).decode()


def unpacked(text: str) -> Any:
    """The inverse."""
    return pickle.loads(base64.b64decode(text))


class DriverLost(ConnectionError):
    """The driver does not answer any more, so no new group can be made."""


class Dismissed(Exception):
    """This worker has left the group, of its own will or because it was not heard of for too long."""


class Link:
    """Keeps what has been said. A subclass delivers: it calls hear() and has send()."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._heard = threading.Condition()
        self._generation, self._workers = -1, ()  # type: tuple[int, tuple[str, ...]]
        self._over = -1
        self._breaks: tuple[int, Callable[[], None]] | None = None
        self._dismissed: str | None = None
        self.pending, self.leaving = 0, ()  # type: tuple[int, tuple[str, ...]]
        self.driver_gone_at: float | None = None  # time.monotonic()
        self.on_driver_gone: Callable[[], None] = lambda: None

    def send(self, message: Message) -> None:
        """To the driver; does nothing where it has gone."""
        raise NotImplementedError

    def hear(self, message: Message) -> None:
        """From the driver."""
        breaks = None
        with self._heard:
            if "group" in message:
                self._generation, self._workers = message["group"], tuple(message["workers"])
            elif "over" in message:
                self._over = max(self._over, message["over"])
                breaks = self._breaks
            elif "pending" in message:
                self.pending, self.leaving = message["pending"], tuple(message["leaving"])
            elif "dismissed" in message:
                self._dismissed = message["dismissed"]
                breaks = self._breaks
            self._heard.notify_all()
        if breaks is not None and (self._dismissed is not None or breaks[0] <= self._over):
            breaks[1]()

    def driver_gone(self) -> None:
        """The connection has ended."""
        with self._heard:
            if self.driver_gone_at is None:
                self.driver_gone_at = time.monotonic()
            self._heard.notify_all()
        self.on_driver_gone()

    def is_over(self, generation: int) -> bool:
        """Whether the group is known to have lost a member."""
        return generation <= self._over or self._dismissed is not None

    def on_over(self, generation: int, break_off: Callable[[], None]) -> None:
        """break_off is called, from another thread, as soon as the group of this generation has lost a member."""
        with self._heard:
            self._breaks = generation, break_off
        if self.is_over(generation):
            break_off()

    def ready(self, generation: int, lost: bool) -> None:
        """Asks for the group after this one."""
        self.send({"ready": generation, "lost": lost})

    def next_group(self, after: int) -> tuple[int, tuple[str, ...]]:
        """Waits for a group newer than `after`: its generation and its workers by rank.

        Raises DriverLost, and Dismissed where this worker is not in it.
        """
        with self._heard:
            while self._generation <= after and self._dismissed is None:
                if self.driver_gone_at is not None:
                    raise DriverLost("the driver does not answer: no new group can be made")
                self._heard.wait()
            if self._generation > after and self.name in self._workers:
                return self._generation, self._workers
            raise Dismissed(self._dismissed or f"{self.name} has left the group")

    def wait_for_end(self, generation: int) -> None:
        """Until this worker is dismissed, or the driver has gone. PeerLost where the group loses a member before."""
        with self._heard:
            while self._dismissed is None and self.driver_gone_at is None:
                if generation <= self._over:
                    raise PeerLost("a worker was lost after the work had been done")
                self._heard.wait()


class SocketLink(Link):
    """Over a connection to the driver's agent (agent.py)."""

    def __init__(self, name: str, address: str, token: str) -> None:
        """address: "host:port". Raises DriverLost where nobody answers, Dismissed where the agent refuses."""
        super().__init__(name)
        host, _, port = address.rpartition(":")
        try:
            self._socket = socket.create_connection((host, int(port)), timeout=30)
        except OSError as error:
            raise DriverLost(f"nobody answers at {address}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._sending = threading.Lock()
        try:
            self.welcome = self._introduce(token)
        except BaseException:
            self._shut()
            raise
        self._beat = float(self.welcome["beat"])
        self._socket.settimeout(10 * self._beat)  # twice the time after which the agent says why
        for work in (self._listen, self._keep_beating):
            threading.Thread(target=work, name=f"slide-{work.__name__}", daemon=True).start()

    def send(self, message: Message) -> None:
        """See Link."""
        with contextlib.suppress(OSError), self._sending:
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def close(self, done: bool) -> None:
        """Ends the connection. done: the work was, so that the others need not call it a loss. Else the driver will
        hear why, and need not end this process.
        """
        self.send({"done": True} if done else {"fails": True})
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _introduce(self, token: str) -> Message:
        self.send({"hello": self.name, "token": token, "version": __version__})
        try:
            answer: Message = json.loads(self._file.readline() or b'{"dismissed": "the agent refused this worker"}')
        except OSError as error:
            raise DriverLost(f"the driver accepted the connection and ended it: {error}") from error
        if "dismissed" in answer:
            raise Dismissed(answer["dismissed"])
        return answer

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self._socket.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # a line cut short is an end too
            while line := self._file.readline():
                self.hear(json.loads(line))
        self._shut()
        self.driver_gone()

    def _keep_beating(self) -> None:
        while self.driver_gone_at is None:
            self.send({"beat": True})
            time.sleep(self._beat)
