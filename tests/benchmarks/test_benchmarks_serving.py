"""The load generator counts and times what a server answers; the study of `slide serve` runs, in small."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

import slide
from benchmarks.harness import environment, load
from benchmarks.studies import serving


class Server:
    """Answers each third request 503, closes the connection at a body of X, and says what it got otherwise."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.open: set[asyncio.Task[Any] | None] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(asyncio.current_task())
        try:
            await self.answer(reader, writer)
        finally:
            writer.close()
            self.open.discard(asyncio.current_task())

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            body = await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            if body == b"X":
                break
            self.got.append(body)
            status = 503 if len(self.got) % 3 == 0 else 200
            writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n" % (status, len(body)))
            await asyncio.sleep(0)
            writer.write(body)  # in a part of its own


def run(server: Server, work: Any) -> Any:
    async def both() -> Any:
        listening = await asyncio.start_server(server, "127.0.0.1", 0)
        async with listening:
            found = await work(listening.sockets[0].getsockname()[1])
            if server.open:  # they end when they notice that the clients are gone
                await asyncio.wait([task for task in server.open if task], timeout=60)
            return found

    made: Coroutine[Any, Any, Any] = both()
    return load.run(made)


REQUESTS = [load.request_of("/", str(i).encode()) for i in range(7)]


def test_clients_ask_so_many_and_each_answer_is_checked() -> None:
    server, seen = Server(), []
    check = lambda number, status, body: seen.append((number, status, body))  # noqa: E731
    outcome = run(server, lambda port: load.clients(port, REQUESTS, 4, 60, check=check))
    assert (outcome.count(200), outcome.count(503), outcome.failed) == (40, 20, 0)
    assert sorted(number for number, _, _ in seen) == list(range(60))
    assert all(body == str(number % 7).encode() for number, _, body in seen)
    assert 0 < outcome.quantile(0.5) <= outcome.quantile(0.99) <= 1000 * outcome.seconds


def test_a_rate_is_kept_and_times_count_from_when_a_request_was_due() -> None:
    server = Server()
    outcome = run(server, lambda port: load.rate(port, REQUESTS, 300, 60, n_connections=8))
    assert (outcome.count(200), outcome.count(503)) == (40, 20)
    assert outcome.seconds >= 59 / 300

    late = run(Server(), lambda port: load.rate(port, REQUESTS, 1e9, 300, n_connections=1))
    assert late.count(200) == 200
    assert late.times[200] == sorted(late.times[200])  # all are due at once, and one is asked at a time


def test_connections_that_break_are_counted_and_end_the_run() -> None:
    broken = [*REQUESTS, load.request_of("/", b"X")]
    outcome = run(Server(), lambda port: load.clients(port, broken, 2, 60))
    assert outcome.failed == 2
    assert outcome.count(0) == 2


@pytest.mark.slow
def test_the_study_runs_and_finds_no_wrong_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("uvicorn", "prometheus_client"):
        pytest.importorskip(name, reason=f"{name} is not installed (the extra serve)")
    text = slide.datasets.load_text("wordnet-hypernym")
    clf = slide.SlideTextClassifier(hidden=(8,), epochs=1).fit(text.train_texts[:3000], text.train_labels[:3000])
    clf.save(tmp_path / "m.slide")
    monkeypatch.setattr(serving, "WARM_UP", 5)
    monkeypatch.setattr(serving, "RELOADS", 2)
    monkeypatch.setattr(serving, "BROKEN", 1)
    out = tmp_path / "serving.json"
    args = ["--model", str(tmp_path / "m.slide"), "--count", "40", "--reload-count", "300", "--rates", "100"]
    assert serving.main([*args, "--out", str(out)]) == 0
    result = environment.load(out)
    found = result["reloads"]
    assert (found["requests"], found["wrong"], found["failed"]) == (300, 0, 0)
    assert (found["replaced"], found["versions_served"]) == (2, 2)
    assert len(result["rows"]) == 8
    assert all(row["answered"] for row in result["rows"])
    printed = capsys.readouterr().out
    assert all(" | ".join(serving.cells(row)) in printed for row in result["rows"])
    assert json.dumps(result)
