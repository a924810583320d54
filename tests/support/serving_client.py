"""A served model and a client for it, in one process and without a socket: requests go straight to the application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

import numpy as np

import slide
from slide.serving.app import application
from slide.serving.hosted import Hosted
from slide.serving.limits import Limits
from slide.serving.models import Slot
from slide.serving.service import Service

T = TypeVar("T")

THINGS = (
    "cat dog bird fish horse",
    "oak pine fern moss birch",
    "red blue green white black",
    "iron gold zinc lead tin",
)
KINDS = ("animal", "plant", "colour", "metal")


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert self.status >= 400
        return self.json["error"]


class Client:
    """Sends requests to an application."""

    def __init__(self, service: Service, token: str | None = None) -> None:
        self.service, self.token = service, token

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, parts: Any = None
    ) -> Answer:
        """parts: messages that bring the body, in place of one that does; None in them never comes."""
        given = dict(headers or {})
        if self.token is not None:
            given["authorization"] = f"Bearer {self.token}"
        waiting = list(parts) if parts is not None else [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            message = waiting.pop(0)
            if message is None:
                await asyncio.Event().wait()
            return message

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        }
        await self.service(scope, receive, send)
        if not sent:
            return Answer(0, {}, b"")
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        answer = Answer(sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"])
        assert int(answer.headers[b"content-length"]) == len(answer.body)
        return answer

    async def get(self, path: str) -> Answer:
        return await self.ask("GET", path)

    async def post(self, path: str, value: Any) -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return await self.ask("POST", path, body)

    async def predict(self, value: Any, model: str = "things") -> Answer:
        return await self.post(f"/v1/models/{model}/predict", value)

    async def form(self, path: str, **fields: Any) -> Answer:
        return await self.ask("POST", path, urlencode(fields).encode())


def run(work: Coroutine[Any, Any, T]) -> T:
    """In an event loop that logs what went wrong in it to the test."""

    async def watched() -> T:
        wrong: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
        result = await work
        assert wrong == []
        return result

    return asyncio.run(watched())


@asynccontextmanager
async def serving(
    *models: Any, limits: Limits | None = None, token: str | None = None, **named: Any
) -> AsyncIterator[Client]:
    """A client of a service of these: a model, or a Hosted; the first is called things."""
    given = dict(zip(("things", "others"), models, strict=False)) | named
    slots = [Slot(name, m if hasattr(m, "best") else Hosted(m)) for name, m in given.items()]
    service = application(slots, limits or Limits(deadline=60.0), token)  # machines that test are busy
    service.start()
    try:
        yield Client(service, token)
    finally:
        await service.stop()


def text_model(seed: int = 0) -> slide.SlideTextClassifier:
    """What kind of thing a word is, and which word it is: 4 + 20 labels."""
    words = [line.split() for line in THINGS]
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(240):
        kind = int(rng.integers(len(KINDS)))
        word = str(rng.choice(words[kind]))
        texts.append(f"a {word} that is {rng.choice(['old', 'new', 'small'])}")
        labels.append([KINDS[kind], word])
    return slide.SlideTextClassifier(hidden=(16,), epochs=3, n_threads=1, random_state=seed).fit(texts, labels)


def deciding_model() -> slide.SlideTextClassifier:
    """With thresholds: of its labels' own, and one for the others."""
    clf = text_model(seed=1)
    asked = [(f"a {word}", [kind, word]) for kind, line in zip(KINDS, THINGS, strict=True) for word in line.split()]
    X, y = zip(*asked * 2, strict=True)
    return clf.calibrate(list(X), list(y)).tune_threshold(list(X), list(y), "macro-f1")


def row_model(columns: list[str] | None = None) -> slide.SlideClassifier:
    """On 6 features; with columns, on a data frame."""
    rng = np.random.default_rng(0)
    X: Any = rng.random((200, 6)).astype(np.float32)
    y = X.argmax(axis=1)
    if columns is not None:
        import pandas as pd

        X = pd.DataFrame(X, columns=columns)
    return slide.SlideClassifier(hidden=(8,), epochs=3, n_threads=1).fit(X, y)


def all_texts() -> list[str]:
    """One for each word."""
    return [f"a {word}" for line in THINGS for word in line.split()]
