"""`python -m benchmarks.studies.serving_soak`: does the memory of `slide serve` stay where it is?

For some minutes clients ask for predictions of one text and of many, send bodies that are no JSON or wrong JSON, hang
up in the middle of a request, and open connections that they never use. Resident memory is read as it goes; what counts
is its slope over the second half, when all that is kept for reuse has been made.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import slide
from benchmarks.harness import commands, environment
from benchmarks.studies.serving import PATH, TEXTS, Server, requests_of, running, trained

CLIENTS, LOOKS = 4, 40
HEADERS = {"content-type": "application/json"}


class Clients:
    """Threads that ask, each in its own order, until they are told to end; how each kind of request was answered."""

    def __init__(self, port: int, texts: Sequence[str], pause: float) -> None:
        self.port, self.texts, self.pause = port, texts, pause
        self.counts: Counter[str] = Counter()
        self.ends = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(i,), daemon=True) for i in range(CLIENTS)]

    def _ask(self, seed: int) -> None:
        rng = random.Random(seed)
        kinds = [self._good, self._good, self._many, self._fuzzed, self._hang_up, self._silent]
        while not self.ends.wait(self.pause):
            kind = rng.choice(kinds)
            try:
                found = kind(rng)
            except OSError as error:
                found = type(error).__name__
            self.counts[f"{kind.__name__[1:]}: {found}"] += 1

    def _posted(self, body: bytes) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", PATH, body, HEADERS)
            reply = connection.getresponse()
            reply.read()
            return reply.status

    def _good(self, rng: random.Random) -> int:
        return self._posted(json.dumps({"texts": [rng.choice(self.texts)], "k": rng.randint(1, 50)}).encode())

    def _many(self, rng: random.Random) -> int:
        return self._posted(json.dumps({"texts": rng.sample(self.texts, rng.randint(2, 64))}).encode())

    def _fuzzed(self, rng: random.Random) -> str:
        body = bytearray(json.dumps({"texts": [rng.choice(self.texts)], "k": 5}).encode())
        for _ in range(rng.randint(1, 9)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        status = self._posted(bytes(body))
        return f"{status // 100}xx" if status < 500 else str(status)

    def _hang_up(self, rng: random.Random) -> str:
        request = rng.choice(requests_of(self.texts[:50]))
        with socket.create_connection(("127.0.0.1", self.port), 60) as client:
            client.sendall(request[: rng.randint(0, len(request))])
        return "gone"

    def _silent(self, rng: random.Random) -> str:
        with socket.create_connection(("127.0.0.1", self.port), 60):
            time.sleep(rng.random() / 10)
        return "gone"


def soaked(server: Server, texts: Sequence[str], minutes: float, pause: float) -> dict[str, Any]:
    """Megabytes at even distances, and their slope over the second half."""
    clients = Clients(server.port, texts, pause)
    for thread in clients.threads:
        thread.start()
    megabytes, seconds, began = [], [], time.perf_counter()
    for _ in range(LOOKS):
        time.sleep(60 * minutes / LOOKS)
        megabytes.append(server.memory() / 1e6)
        seconds.append(time.perf_counter() - began)
    clients.ends.set()
    for thread in clients.threads:
        thread.join()
    half = LOOKS // 2
    slope = float(np.polyfit(seconds[half:], megabytes[half:], 1)[0])
    counts = dict(sorted(clients.counts.items()))
    return {"minutes": minutes, "requests": counts, "megabytes": megabytes, "mb_an_hour": 3600 * slope}


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.parser("studies.serving_soak", __doc__)
    p.add_argument("--model", help="a text classifier's file (default: one is trained on the embedded texts)")
    p.add_argument("--minutes", type=float, default=10)
    p.add_argument("--pause", type=float, default=0.01, help="seconds between a client's requests")
    commands.add_run_options(p, "serving_soak")
    args = p.parse_args(argv)
    env = environment.describe(args.threads)
    texts = slide.datasets.load_text("wordnet-hypernym").test_texts[:TEXTS]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(args.model) if args.model else trained(Path(folder))
        with running(path, "--n-threads", str(args.threads)) as server:
            result = soaked(server, texts, args.minutes, args.pause)
    path = environment.save("serving_soak", result, env, args.out)
    print(environment.summary(env), end="\n\n")
    print("\n".join(f"{n:9,} {kind}" for kind, n in result["requests"].items()))
    megabytes = result["megabytes"]
    print(f"\nMB at the start, in the middle and at the end: {megabytes[0]:.1f}, {megabytes[LOOKS // 2]:.1f}, "
          f"{megabytes[-1]:.1f}; second half: {result['mb_an_hour']:+.1f} an hour")  # fmt: skip
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
