"""Runs the application under uvicorn, in this process or in several that share a socket; imports uvicorn, alone.

SIGTERM and Ctrl-C end it when the requests under way are answered, SIGHUP loads the models whose files have changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from slide.serving import log
from slide.serving.app import application
from slide.serving.direct import Door, direct
from slide.serving.limits import Limits
from slide.serving.models import Loading, Slot, open_slots
from slide.serving.service import Service

logger = logging.getLogger("slide.serving")

GRACE_SECONDS = 10  # for requests under way, when it is told to end
IDLE_SECONDS = 30  # after a reply, a connection stays open so long
SWEEP_SECONDS = 1.0
BACKLOG = 1024


@dataclass(frozen=True)
class Options:
    """What the command line says.

    models : PATH or NAME=PATH of each
    token : that requests must carry, or None
    header_seconds : in which a connection has to bring its next request's head, once it has begun or been opened
    """

    models: Sequence[str]
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    workers: int = 1
    access_log: bool = False
    header_seconds: float = 10.0
    limits: Limits = field(default_factory=Limits)
    loading: Loading = field(default_factory=Loading)


def uvicorn() -> Any:
    """The third party; ImportError that says how to get it."""
    try:
        import uvicorn
    except ImportError as e:
        raise ImportError("slide serve needs uvicorn: pip install 'slide-xmc[serve]'") from e
    return uvicorn


def listening(options: Options) -> socket.socket:
    """A socket at host and port; port 0 is any that is free.

    Raises
    ------
    OSError
        If the address is taken or not this machine's; names it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.ExitStack() as opened:
            sock = opened.enter_context(socket.socket(family, kind, protocol))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            opened.pop_all()
    except OSError as e:
        raise OSError(e.errno, e.strerror, f"{options.host}:{options.port}") from None
    sock.set_inheritable(True)
    return sock


def announce(options: Options, sock: socket.socket) -> None:
    """Logs where it listens."""
    host, port = sock.getsockname()[:2]
    url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    logger.info("listening", extra={"url": url, "workers": options.workers, "token": options.token is not None})


def run_alone(options: Options, sock: socket.socket, supervisor: int | None = None) -> None:
    """Loads the models and answers until a signal ends it. supervisor: process to tell of reloads, or None."""
    log.start(access=options.access_log)
    uvicorn()
    service = application(open_slots(options.models, options.loading), options.limits, options.token)
    for slot in service.slots:
        logger.info("loaded", extra={"model": slot.name, "path": slot.hosted.path, "n_labels": slot.hosted.n_labels})
    if supervisor is None:
        announce(options, sock)
    else:
        service.on_reload_all = lambda: os.kill(supervisor, signal.SIGHUP)
    server = make_server(service, options)
    settle()
    server.run(sockets=[sock])
    logger.info("ended")


def settle() -> None:
    """Takes all that is alive now out of the sight of Python's garbage collector.

    A look at everything takes tens of milliseconds, every few thousand requests, and those that come meanwhile are
    late by as much: of 2,000 a second one in a hundred. What nobody holds any more is freed as ever, and cycles in what
    was a model are found when everything settles again, after the next one has come in its place.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def make_server(service: Service, options: Options) -> Any:
    """uvicorn's server, with an end that is no error and no patience for clients who never finish a head."""
    module = uvicorn()

    class Server(module.Server):  # type: ignore[misc, name-defined]
        """Of uvicorn, but a signal that ended it is not raised again when it has ended."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            if threading.current_thread() is threading.main_thread():
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGHUP, lambda: asyncio.ensure_future(service.follow()))
            for slot in service.slots:
                slot.on_reload = settling(slot.on_reload, options.limits.deadline)
            self.sweeping = asyncio.ensure_future(sweep(self.server_state.connections, options.header_seconds))

        async def shutdown(self, sockets: Any = None) -> None:
            self.sweeping.cancel()
            await super().shutdown(sockets=sockets)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.should_exit = True

    limits = options.limits
    config = module.Config(
        service,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.max_connections,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
    )
    config.load()
    config.http_protocol_class = direct(config.http_protocol_class, Door(service))
    return Server(config)


def settling(tell: Callable[[Slot, bool], None], deadline: float) -> Callable[[Slot, bool], None]:
    """`tell`, and everything settles anew when the requests to the old model are over."""

    def told(slot: Slot, ok: bool) -> None:
        tell(slot, ok)
        if ok:
            asyncio.get_running_loop().call_later(deadline + 1, settle)

    return told


async def sweep(connections: set[Any], seconds: float) -> None:
    """Closes connections that have been in the middle of a head, or silent since they opened, for so many seconds.

    uvicorn has a limit for idle ones only. A look at all of them each second costs a request nothing.
    """
    since: dict[Any, tuple[Any, float]] = {}
    now = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        waiting = {}
        for connection in list(connections):
            cycle = connection.cycle
            answered = (cycle is None or cycle.response_complete) and connection.asked is None
            if not answered or connection.timeout_keep_alive_task is not None:
                continue
            before, began = since.get(connection, (None, now()))
            waiting[connection] = cycle, began if before is cycle else now()
            if now() - waiting[connection][1] > seconds:
                connection.transport.close()
        since = waiting
