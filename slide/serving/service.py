"""The ASGI application: finds a request's route and model, lets in who may come in, and answers what goes wrong.

Routes are in native.py, open_inference.py, annif.py and pages.py. Since the models' names are known when it starts, a
path is found in a dictionary.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from slide.serving.batching import RETRY_AFTER, Batcher
from slide.serving.http import ClientGone, Receive, Reply, Scope, Send, header, read_body, refused
from slide.serving.limits import Limits
from slide.serving.metrics import Metrics
from slide.serving.models import Slot
from slide.serving.refusal import Refusal

logger = logging.getLogger("slide.serving")
access = logging.getLogger("slide.serving.access")

FOLLOW_SECONDS = 1.0
MAX_EXPLAINING = 8  # requests that wait for explanations; each takes milliseconds
NOT_LET_IN = (b"www-authenticate", b'Bearer realm="slide"')


def failed(error: Exception, path: str) -> Reply:
    """Logs an error of the server's own, and says that there was one."""
    logger.error("failed", exc_info=error, extra={"path": path})
    return refused(Refusal(500, "server: found an error of its own; its log has it"), path)


@dataclass(slots=True)
class Call:
    """A request on its way to a route."""

    scope: Scope
    receive: Receive
    service: Service
    model: Slot | None = None

    @property
    def slot(self) -> Slot:
        """The model that the path names."""
        assert self.model is not None
        return self.model

    async def body(self) -> bytes:
        """The body, whole and not too long: slide.serving.http.read_body."""
        return await read_body(self.scope, self.receive, self.service.limits)


Endpoint = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True)
class Route:
    """A method and a path, {model} in it for a model's name, and who answers.

    is_open : whether it needs no token
    predicts : whether it is refused before its body is read while the queue is full
    """

    method: str
    path: str
    endpoint: Endpoint
    is_open: bool = False
    predicts: bool = False


class Service:
    """Models behind HTTP, for an ASGI server.

    Parameters
    ----------
    slots : the models
    routes : sequence of Route
    limits : Limits or None
    token : str or None
        What requests carry as "Authorization: Bearer TOKEN"; None: nothing.
    metrics : Metrics or None
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        routes: Sequence[Route],
        limits: Limits | None = None,
        token: str | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.slots, self.limits, self.routes = list(slots), limits or Limits(), list(routes)
        self.metrics = metrics or Metrics()
        self.batcher = Batcher(self.limits, self.metrics.batch)
        self.explainer = ThreadPoolExecutor(1, "slide-explain")
        self.explaining = 0
        self._token = None if token is None else b"Bearer " + token.encode()
        self._paths: dict[str, dict[str, tuple[Route, Slot | None]]] = {}
        for route in routes:
            for slot in self.slots if "{model}" in route.path else (None,):
                path = route.path.replace("{model}", slot.name) if slot else route.path
                self._paths.setdefault(path, {})[route.method] = route, slot
        for slot in self.slots:
            slot.on_reload = self.metrics.reload
            self.metrics.loaded(slot)
        self._following: asyncio.Task[None] | None = None
        self.on_reload_all: Callable[[], None] = lambda: None  # to other processes

    @property
    def is_open(self) -> bool:
        """Whether requests need no token."""
        return self._token is None

    # -- ASGI -------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def start(self) -> None:
        """Begins to predict and to follow the files, in the running event loop."""
        self.batcher.start()
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Ends when what is queued is answered."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        await self.batcher.stop()
        self.explainer.shutdown(wait=False, cancel_futures=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            await self.follow()

    async def follow(self) -> None:
        """Loads the files that were replaced."""
        for slot in self.slots:
            try:
                await slot.follow()
            except Exception:
                logger.exception("reload_failed", extra={"model": slot.name})

    # -- a request --------------------------------------------------------------------------------------------------

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        route: Route | None = None
        try:
            route, slot = self._find(scope)
            if not route.is_open:
                self._let_in(scope)
            if route.predicts and self.batcher.is_full:
                raise self.batcher.full()
            reply = await route.endpoint(Call(scope, receive, self, slot))
        except Refusal as refusal:
            reply = refused(refusal, scope["path"])
        except ClientGone:
            return
        except Exception as error:
            reply = failed(error, scope["path"])
        name = "none" if route is None else route.path
        seconds = time.perf_counter() - began
        self.metrics.request(name, reply.status, seconds)
        if access.isEnabledFor(logging.INFO):
            told = {"method": scope["method"], "path": scope["path"], "status": reply.status, "seconds": seconds}
            access.info("request", extra=told)
        await reply.send(send)

    def _find(self, scope: Scope) -> tuple[Route, Slot | None]:
        path, method = scope["path"], scope["method"]
        methods = self._paths.get(path)
        if methods is None:
            raise Refusal(404, self._not_found(path))
        found = methods.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = ", ".join(sorted(methods))
            headers = [(b"allow", allowed.encode())]
            raise Refusal(405, f"method: found {method[:20]}, wanted {allowed} for {path}", headers)
        return found

    def _not_found(self, path: str) -> str:
        parts = path.split("/")
        names = ", ".join(slot.name for slot in self.slots)
        if len(parts) > 3 and parts[2] in ("models", "projects") and parts[3] not in [s.name for s in self.slots]:
            return f"model: found {parts[3][:100]!r}, wanted one of {names}"
        return f"path: found {path[:100]!r}, wanted one of those that /docs lists"

    def _let_in(self, scope: Scope) -> None:
        """The token is compared in a time that says nothing of where it differs."""
        if self._token is None:
            return
        given = header(scope, b"authorization")
        if not hmac.compare_digest(given, self._token):
            found = "another one" if given else "none"
            raise Refusal(401, f"token: found {found}, wanted the header Authorization: Bearer TOKEN", [NOT_LET_IN])

    async def aside(self, work: Callable[[], Any]) -> Any:
        """Runs what takes long beside the predictions; Refusal 503 where too many wait for that."""
        if self.explaining >= MAX_EXPLAINING:
            found = f"found {self.explaining} requests waiting, wanted at most {MAX_EXPLAINING}"
            raise Refusal(503, f"explain: {found}; try again in a second", [RETRY_AFTER])
        self.explaining += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.explainer, work)
        finally:
            self.explaining -= 1
