"""The server itself, on a socket: how it begins and ends, clients that are slow or hang up, several processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serving_client import KINDS, text_model

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (the extra serve)")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (the extra serve)")

from serving_socket import PATIENCE, served, service_of

import slide
from slide.cli.main import main
from slide.serving.app import application
from slide.serving.direct import Door, Heads, direct
from slide.serving.hosted import Hosted
from slide.serving.limits import Limits
from slide.serving.models import Slot
from slide.serving.server import Options, settle
from slide.serving.workers import METRICS_FOLDER, Supervisor

TEXT = json.dumps({"texts": ["a cat"], "k": 1}).encode()


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "things.slide"
    text_model().save(path)
    return path


def ask(port: int, body: bytes = TEXT, path: str = "/v1/models/things/predict") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", path, body)
    answer = connection.getresponse()
    told = answer.status, json.loads(answer.read())
    connection.close()
    return told


REQUEST = f"POST /v1/models/things/predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(TEXT)}\r\n\r\n".encode() + TEXT


@pytest.fixture(scope="module")
def port(model_path: Path) -> Iterator[int]:
    with served(slide.load(model_path, n_threads=1), header_seconds=0.5) as port:
        yield port


def test_it_answers(port: int) -> None:
    status, told = ask(port)
    assert (status, told["predictions"][0]["labels"][0] in (*KINDS, "cat")) == (200, True)
    status, told = ask(port, b"{")
    assert (status, told["error"][:27]) == (400, "body: found what is no JSON")


def test_connections_stay_open_and_requests_may_follow_each_other_at_once(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(3 * REQUEST)
        got = b""
        while got.count(b'"labels"') < 3:
            part = client.recv(65536)
            assert part
            got += part
    assert got.count(b"HTTP/1.1 200 OK") == 3


def test_clients_that_hang_up_at_every_byte(port: int) -> None:
    for n in range(0, len(REQUEST) + 1, 5):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(REQUEST[:n])
    assert ask(port)[0] == 200


def test_heads_that_never_end_are_closed_and_hold_nobody_up(port: int) -> None:
    silent, slow = (socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(2))
    slow.sendall(b"POST /v1/models/things/predict HTTP/1.1\r\nhost: ")
    assert ask(port)[0] == 200
    for client in (silent, slow):
        assert client.recv(1) == b""
        client.close()


def received(client: socket.socket) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the next reply."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += client.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
    while len(body) < int(headers[b"content-length"]):
        body += client.recv(65536)
    return int(lines[0].split()[1]), headers, body


def test_a_full_queue_refuses_at_the_door_and_the_connection_goes_on(model_path: Path) -> None:
    with service_of(slide.load(model_path, n_threads=1)) as (port, service):
        for cut in (0, 30, len(REQUEST) - 3):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                for queued, wanted in ((0, 200), (1000, 503), (1000, 503), (0, 200)):
                    service.batcher.queued_rows += queued
                    client.sendall(REQUEST[:cut])
                    if cut:
                        time.sleep(0.01)
                    client.sendall(REQUEST[cut:])
                    status, headers, body = received(client)
                    assert (status, b"retry-after" in headers) == (wanted, wanted == 503)
                    assert ("error" in json.loads(body)) == (wanted == 503)
                    service.batcher.queued_rows -= queued
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).read().decode()
        assert 'slide_shed_total{reason="queue"} 6.0' in text


def test_a_body_that_looks_like_a_request_is_none(model_path: Path) -> None:
    """Its head was refused and answered before its body came, which is not to be answered once more."""
    outer = REQUEST.replace(b"content-length: %d" % len(TEXT), b"content-length: %d" % len(REQUEST))
    head = outer[: outer.index(b"\r\n\r\n") + 4]
    with (
        service_of(slide.load(model_path, n_threads=1)) as (port, service),
        socket.create_connection(("127.0.0.1", port), PATIENCE) as client,
    ):
        service.batcher.queued_rows += 1000
        client.sendall(head)
        assert received(client)[0] == 503
        client.sendall(REQUEST)
        assert b'slide_shed_total{reason="queue"} 1.0' in fetch(f"http://127.0.0.1:{port}/metrics")
        service.batcher.queued_rows -= 1000
        client.sendall(REQUEST)
        with contextlib.suppress(ConnectionError):  # h11 closes what it answered before the body came
            assert received(client)[0] == 200


BODIES = [
    {"texts": ["a cat"]},
    {"texts": ["a cat", "a dog"], "k": 2, "scores": False},
    {"texts": ["a cat"], "names": False, "mark": True},
    {"texts": ["a cat"], "decide": True},
    {"texts": ["a cat"], "explain": True},
    {"texts": []},
    {"texts": ["a"] * 65},
    {"rows": [[1.0]]},
    {"texts": ["a cat"], "k": 0},
    [],
]


def test_a_request_in_one_piece_is_answered_as_one_in_two(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        for value in BODIES:
            body = json.dumps(value).encode()
            head = b"POST /v1/models/things/predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
            client.sendall(head + body)
            whole = received(client)
            client.sendall(head)
            time.sleep(0.02)
            client.sendall(body)
            parts = received(client)
            assert whole == (parts[0], whole[1], parts[2])
            assert whole[1].keys() == parts[1].keys()


def test_requests_that_follow_too_soon_wait_for_their_turn(model_path: Path) -> None:
    with service_of(slide.load(model_path, n_threads=1)) as (port, service):
        service.batcher.pace.add(1, 1000.0)  # so slow that the thread predicts
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            got = b""
            for _ in range(200):
                client.sendall(REQUEST)
            while got.count(b'"labels"') < 200:
                part = client.recv(65536)
                assert part
                got += part
        assert got.count(b"HTTP/1.1 200 OK") == 200


@pytest.mark.parametrize(
    ("changed", "whole"),
    [
        (lambda r: r, True),
        (lambda r: r.replace(b"content-length", b"Content-Length"), True),
        (lambda r: r.replace(b"/v1/models", b"/v2/models"), True),
        (lambda r: r[:-1], False),
        (lambda r: r + b"x", False),
        (lambda r: r + r, False),
        (lambda r: r.replace(b"POST", b"PUT"), False),
        (lambda r: r.replace(b"/predict", b"/reload"), False),
        (lambda r: r.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (lambda r: r.replace(b"host: x", b"connection: close"), False),
        (lambda r: r.replace(b"host: x", b"expect: 100-continue"), False),
        (lambda r: r.replace(b"content-length: ", b"content-length: -"), False),
        (lambda r: r.replace(b"content-length", b"transfer-encoding"), False),
        (lambda r: r.replace(b"host: x", b"host: x\r\ncontent-length: 3"), False),
        (lambda r: r.replace(b"host: x", b"host : x"), False),
        (lambda r: r.replace(b"host: x", b"host: x\r\n folded"), False),
        (lambda r: r.replace(b"host: x", b"host: x\nother: y"), False),
        (lambda r: r.replace(b"host: x", b"authorization: Bearer x"), True),
    ],
)
def test_what_is_plainly_one_whole_request(changed: Any, whole: bool) -> None:
    assert (Heads()(changed(REQUEST)) is not None) == whole


class Protocol:
    """Of uvicorn, as far as Direct asks it: what comes the long way is in `parsed`, what was sent at once in `sent`."""

    cycle = None

    def __init__(self, write_paused: bool) -> None:
        self.parsed, self.sent = [], []  # type: list[bytes], list[bytes]
        self.flow = SimpleNamespace(write_paused=write_paused)
        self.transport = SimpleNamespace(is_closing=lambda: False, write=self.sent.append)
        self.server_state = SimpleNamespace(default_headers=[], total_requests=0)
        self.loop, self.timeout_keep_alive = SimpleNamespace(call_later=lambda *_: None), 1

    def _unset_keepalive_if_required(self) -> None: ...

    def on_message_begin(self) -> None: ...

    def data_received(self, data: bytes) -> None:
        self.parsed.append(data)


@pytest.mark.parametrize("write_paused", [False, True])
def test_who_does_not_read_goes_the_long_way(write_paused: bool) -> None:
    """Which waits for the client; what is sent at once would pile up in the server's memory."""
    service = application([Slot("things", Hosted(text_model()))])
    service.batcher.queued_rows = 1000  # so that each request is answered at the door
    connection = direct(Protocol, Door(service))(write_paused)
    connection.data_received(REQUEST)
    assert (len(connection.sent), len(connection.parsed)) == ((0, 1) if write_paused else (1, 0))


def test_too_many_connections(model_path: Path) -> None:
    with served(slide.load(model_path, n_threads=1), limits=Limits(max_connections=3)) as port:
        idle = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(3)]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("POST", "/v1/models/things/predict", TEXT)
        assert connection.getresponse().status == 503
        connection.close()
        for client in idle:
            client.close()


def test_what_is_under_way_when_it_ends_is_answered(model_path: Path) -> None:
    model, may, begun = slide.load(model_path, n_threads=1), threading.Event(), threading.Event()
    predict = model.predict_topk

    def slowly(*args: Any) -> Any:
        begun.set()
        assert may.wait(PATIENCE)
        return predict(*args)

    model.predict_topk = slowly
    found: list[Any] = []
    with served(model) as port:
        client = threading.Thread(target=lambda: found.append(ask(port)))
        client.start()
        assert begun.wait(PATIENCE)
        threading.Timer(0.1, may.set).start()
    client.join()
    assert found[0][0] == 200


# -- the command -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def command(*args: Any) -> Iterator[tuple[subprocess.Popen[str], list[dict[str, Any]], str]]:
    """The process, its log until it listens, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "slide", "serve", *map(str, args), "--port", "0", "--n-threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(slide.__file__).parent.parent,
        env=os.environ | {"SLIDE_SERVE_TOKEN": "secret"},
    )
    assert process.stderr is not None
    said: list[dict[str, Any]] = []
    try:
        for line in process.stderr:
            said.append(json.loads(line))
            if said[-1]["event"] == "listening":
                break
        yield process, said, said[-1]["url"]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def fetch(url: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, body, {"authorization": "Bearer secret"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read()


def test_the_command_serves_reloads_and_ends_on_sigterm(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.slide"
    path.write_bytes(model_path.read_bytes())
    with command(f"things={path}") as (process, said, url):
        assert [one["event"] for one in said] == ["loaded", "listening"]
        assert url.startswith("http://127.0.0.1:")
        assert json.loads(fetch(f"{url}v1/models/things/predict", TEXT))["version"] == "1"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}v1/models", timeout=PATIENCE)
        os.utime(path, (1, 1))
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        assert json.loads(process.stderr.readline())["event"] == "reloaded"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert [json.loads(line)["event"] for line in process.stderr] == ["ended"]


@pytest.mark.slow
def test_several_processes_share_a_socket_and_their_counts(model_path: Path) -> None:
    with command(model_path, "--workers", 2) as (process, _, url):
        assert process.stderr is not None
        workers = {json.loads(process.stderr.readline())["process"] for _ in range(2)}
        assert len(workers) == 2
        for _ in range(20):
            fetch(f"{url}v1/models/things/predict", TEXT)
        counted = fetch(f"{url}metrics").decode()
        assert 'slide_requests_total{route="/v1/models/{model}/predict",status="200"} 20.0' in counted
        time.sleep(6)  # longer than a life that is too short to be repeated
        os.kill(min(workers), signal.SIGKILL)
        assert json.loads(process.stderr.readline())["event"] == "worker_died"
        assert json.loads(process.stderr.readline())["event"] == "loaded"
        fetch(f"{url}v1/models/things/predict", TEXT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


class Ended:
    """A process that is over."""

    pid, exitcode = 2**22 + 1, 0

    def is_alive(self) -> bool:
        return False

    def join(self) -> None: ...


def test_what_a_process_said_of_now_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(METRICS_FOLDER, str(tmp_path))
    kept, gone = tmp_path / f"counter_{Ended.pid}.db", tmp_path / f"gauge_livesum_{Ended.pid}.db"
    kept.touch(), gone.touch()
    supervisor, started = Supervisor(Options([]), None), []  # type: Any, list[None]
    monkeypatch.setattr(supervisor, "_start", lambda: started.append(None))
    supervisor._began[Ended()] = -100.0
    supervisor._look()
    assert (kept.exists(), gone.exists(), len(started)) == (True, False, 1)


def test_ctrl_c_ends_all_processes_and_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor: Any = Supervisor(Options([]), None)  # type: ignore[arg-type]
    monkeypatch.setattr(supervisor, "_start", lambda: supervisor._began.update({Ended(): time.monotonic()}))
    monkeypatch.setattr("slide.serving.workers.announce", lambda *_: None)
    monkeypatch.setattr("slide.serving.workers.log.start", lambda: None)
    monkeypatch.setattr("slide.serving.workers.time.sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert supervisor.run()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["nothing.slide"], "nothing.slide: No such file or directory"),
        (["MODEL", "--workers", "0"], "--workers: found 0, wanted 1 to 1,024"),
        (["MODEL", "--port", "70000"], "--port: found 70000, wanted 0 to 65,535"),
        (["MODEL", "--max-k", "0"], "max_k: found 0, wanted a whole number, 1 or more"),
        (["MODEL", "MODEL"], "MODEL: found 'things', wanted a name for each model"),
    ],
)
def test_what_cannot_be_served_is_said(
    args: list[str], sentence: str, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(model_path) if arg == "MODEL" else arg for arg in args]
    assert main(["serve", *given, *([] if "--port" in args else ["--port", "0"])]) == 2
    assert f"slide: error: {sentence}" in capsys.readouterr().err.replace(os.getcwd() + "/", "")


def test_an_address_that_is_taken_is_named(port: int, model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(model_path), "--port", str(port)]) == 2
    assert f"slide: error: 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


def test_many_clients_at_once_each_get_their_own(port: int, model_path: Path) -> None:
    model = slide.load(model_path, n_threads=1)
    texts = [f"a {word} that is {age}" for word in ("cat", "oak", "red", "iron", "tin") for age in ("old", "new")]
    right = dict(zip(texts, model.predict_topk(texts, 2, names=True)[0].tolist(), strict=True))

    async def one(text: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(5):
            body = json.dumps({"texts": [text], "k": 2}).encode()
            head = f"POST /v1/models/things/predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            found = await reader.readuntil(b"\r\n\r\n")
            length = int(found.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            told = json.loads(await reader.readexactly(length))
            assert told["predictions"][0]["labels"] == right[text]
        writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(one(text) for text in texts * 2))

    asyncio.run(all_of_them())


def test_a_settled_process_frees_what_is_left_of_a_model() -> None:
    """Nothing is looked at again by the garbage collector, and a cycle is found when it settles anew."""

    class Part:
        pass

    part = Part()
    part.itself = part  # type: ignore[attr-defined]
    gone = weakref.ref(part)
    try:
        settle()
        assert gc.get_freeze_count() > 10_000
        del part
        gc.collect()
        assert gone() is not None
        settle()
        assert gone() is None
    finally:
        gc.unfreeze()
