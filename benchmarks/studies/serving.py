"""`python -m benchmarks.studies.serving`: `slide serve` under load, over overload, and while its model is replaced.

A text classifier answers texts of the embedded data on the loopback address. The load generator (harness/load.py) runs
beside the server on the same processors, so its own processor time is given too: with the server's it says what a
machine of its own would do. Parts:

  steady    one client; 16; 64; and requests at a given rate: requests a second, milliseconds
  overload  five times as much as clients who wait got through (64 with one text each, 4 with 16): goodput (what is
            served, of that; and by a second of the server's processor, since the generator takes some of the machine)
  reloads   20 replacements of the model's file, one of them cut short, during many requests whose answers are compared
            with those of the model that the reply names
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import slide
from benchmarks.harness import commands, environment, load, tables

K = 5
NAME = "wordnet"
PATH = f"/v1/models/{NAME}/predict"
BUCKETS, ROUTE = "slide_request_seconds_bucket", 'route="/v1/models/{model}/predict"'
TEXTS = 2000
WARM_UP = 500
FACTOR = 5  # of overload
MANY = 16  # texts of a request that is made of many
RELOADS, BROKEN = 20, 7  # how often, and which of them is cut short
SHIFT = 0.25  # of the second model's scores


class Server:
    """`slide serve` as a process, and the processor time it took."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def cpu(self) -> float:
        """Seconds so far, of the processes that were started by it too."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    def answered_in(self) -> dict[float, float]:
        """Requests to predict by the most seconds they took, by the server's own clock, from the head on; those that
        were refused at the door are not among them."""
        lines = (line for line in self.get("/metrics").decode().splitlines() if line.startswith(BUCKETS))
        return {float(line.split('le="')[1].split('"')[0]): float(line.split()[-1]) for line in lines if ROUTE in line}

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return bytes(answer.read())


@contextmanager
def running(path: Path, *options: str) -> Iterator[Server]:
    """The server of one model."""
    command = [sys.executable, "-m", "slide", "serve", f"{NAME}={path}", "--port", "0", *options]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stderr=log, text=True, cwd=environment.ROOT)
        try:
            yield Server(process, _port(process, log))
        finally:
            process.terminate()
            process.wait(60)


def _port(process: subprocess.Popen[str], log: Any) -> int:
    while process.poll() is None:
        log.seek(0)
        for line in log:
            if '"listening"' in line and line.endswith("\n"):
                return int(json.loads(line)["url"].rstrip("/").rpartition(":")[2])
        time.sleep(0.1)
    log.seek(0)
    raise RuntimeError(f"slide serve ended: {log.read()}")


def requests_of(texts: Sequence[str], n: int = 1) -> list[bytes]:
    """Requests of n texts each."""
    bodies = (json.dumps({"texts": list(texts[i : i + n]), "k": K}).encode() for i in range(0, len(texts) - n + 1, n))
    return [load.request_of(PATH, body) for body in bodies]


def bucket_of(share: float, before: dict[float, float], after: dict[float, float]) -> float:
    """Milliseconds that this share of the requests between two looks took at most, up to a bucket's end."""
    grown = {bound: n - before.get(bound, 0) for bound, n in after.items()}
    whole = grown.get(math.inf, 0)
    return next((1000 * bound for bound in sorted(grown) if whole and grown[bound] >= share * whole), math.nan)


def measured(server: Server, what: str, work: Coroutine[Any, Any, load.Outcome]) -> dict[str, Any]:
    """A run of the load generator in figures."""
    busy, own, before = server.cpu(), time.process_time(), server.answered_in()
    outcome = load.run(work)
    served, answered = outcome.count(200), sum(map(len, outcome.times.values()))
    cpu = server.cpu() - busy
    figures = {
        "what": what,
        "answered": answered,
        "by_status": {str(status): len(times) for status, times in sorted(outcome.times.items())},
        "seconds": outcome.seconds,
        "per_second": served / outcome.seconds,
        "server_cpu_us": 1e6 * cpu / max(answered, 1),
        "served_per_cpu_second": served / max(cpu, 1e-3),
        "client_cpu_us": 1e6 * (time.process_time() - own) / max(answered, 1),
        "refused_p99_ms": outcome.quantile(0.99, 503),
        "sent_p99_ms": outcome.quantile(0.99, from_sending=True),
        "sent_refused_p99_ms": outcome.quantile(0.99, 503, from_sending=True),
        "server_p99_ms": bucket_of(0.99, before, server.answered_in()),
        **{f"p{round(100 * share)}_ms": outcome.quantile(share) for share in (0.5, 0.99)},
    }
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in figures.items()}


def steady(server: Server, texts: Sequence[str], count: int, rates: Sequence[float]) -> list[dict[str, Any]]:
    """Clients that wait for their answers, and requests at given rates."""
    requests = requests_of(texts)
    load.run(load.clients(server.port, requests, 16, WARM_UP))
    found = []
    for n in (1, 16, 64):
        some = count // 4 if n == 1 else count
        found.append(measured(server, f"{n} clients", load.clients(server.port, requests, n, some)))
    for rate in rates:
        some = min(count, round(10 * rate))
        found.append(measured(server, f"{rate:,.0f} a second", load.rate(server.port, requests, rate, some)))
    return found


def overload(server: Server, texts: Sequence[str], count: int) -> list[dict[str, Any]]:
    """Of each size of request: what 16 clients get through, then five times as much at a fixed rate."""
    found = []
    for n in (1, MANY):
        requests = requests_of(texts, n)
        some = max(count // n, 200)
        clients = 64 if n == 1 else 4  # a batch
        what = f"{n} texts, {clients} clients"
        least = measured(server, what, load.clients(server.port, requests, clients, some))
        rate = FACTOR * least["per_second"]
        what = f"{n} texts, {FACTOR} times as much"
        over = measured(server, what, load.rate(server.port, requests, rate, FACTOR * some))
        over["asked_per_second"] = rate
        over["answered_per_second"] = over["answered"] / over["seconds"]
        over["goodput"] = over["per_second"] / least["per_second"]
        over["goodput_of_processor"] = over["served_per_cpu_second"] / least["served_per_cpu_second"]
        found += [least, over]
    return found


# -- reloads -----------------------------------------------------------------------------------------------------------


def shifted(path: Path, target: Path) -> None:
    """The same model with scores that are all higher, so that an answer tells which of the two gave it."""
    model = slide.load(path)
    wide = model.network_.wide_state
    assert wide is not None
    wide.bias[:] += SHIFT
    model.save(target)


class Answers:
    """What each of two models answers, and whether a reply is what the model answers that it names."""

    def __init__(self, paths: Sequence[Path], texts: Sequence[str]) -> None:
        self.right = [slide.load(path).predict_topk(list(texts), K, names=True) for path in paths]
        self.texts, self.holds = texts, {"1": 0}
        self.wrong, self.failed, self.asked = 0, 0, 0

    def check(self, number: int, status: int, body: bytes) -> None:
        self.asked += 1
        if status != 200:
            self.failed += 1
            return
        told = json.loads(body)
        names, scores = self.right[self.holds[told["version"]]]
        row, found = number % len(self.texts), told["predictions"][0]
        # Ties and the last bits of sums may fall another way in a batch of another size: the scores decide.
        same = np.allclose(found["scores"], scores[row], atol=1e-4)
        if not same or found["labels"][0] not in names[row]:
            self.wrong += 1


async def replaced(server: Server, answers: Answers, paths: Sequence[Path], target: Path, count: int) -> list[float]:
    """Replaces the file at even distances of requests; seconds of each until the server had noticed."""
    seconds = []
    for i in range(1, RELOADS + 1):
        while answers.asked < i * count // (RELOADS + 1):
            await asyncio.sleep(0.01)
        before = await asyncio.to_thread(_seen, server)
        version = str(before[0] + 1)
        part = target.with_suffix(".part")
        shutil.copy(paths[i % 2], part)
        if i == BROKEN:
            os.truncate(part, part.stat().st_size // 2)
        else:
            answers.holds[version] = i % 2
        began = time.perf_counter()
        os.replace(part, target)
        while (await asyncio.to_thread(_seen, server)) == before:
            await asyncio.sleep(0.05)
        seconds.append(time.perf_counter() - began)
    return seconds


def _seen(server: Server) -> tuple[int, int]:
    """The version that is served, and how many reloads failed."""
    version = int(json.loads(server.get(f"/v1/models/{NAME}"))["version"])
    failed = [
        line for line in server.get("/metrics").decode().splitlines() if 'result="failed"' in line and "_total" in line
    ]
    return version, int(float(failed[0].split()[-1])) if failed else 0


def reloads(path: Path, texts: Sequence[str], count: int, options: Sequence[str]) -> dict[str, Any]:
    """Requests whose answers are checked, while the model's file is replaced."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [path, Path(folder) / "shifted.slide"]
        shifted(*paths)
        target = Path(folder) / "served.slide"
        shutil.copy(path, target)
        answers = Answers(paths, texts)

        async def both(server: Server) -> tuple[load.Outcome, list[float]]:
            requests = requests_of(texts)
            asking = load.clients(server.port, requests, 16, count, seconds=3600, check=answers.check)
            return await asyncio.gather(asking, replaced(server, answers, paths, target, count))

        with running(target, *options) as server:
            outcome, seconds = load.run(both(server))
            memory = server.memory()
    return {
        "requests": answers.asked,
        "wrong": answers.wrong,
        "failed": answers.failed,
        "replaced": len(seconds),
        "versions_served": len(answers.holds),
        "seconds_to_notice": float(np.median(seconds)),
        "per_second": outcome.count() / outcome.seconds,
        "p50_ms": outcome.quantile(0.5),
        "p99_ms": outcome.quantile(0.99),
        "memory_mb": memory / 1e6,
    }


# -- the command -------------------------------------------------------------------------------------------------------

HEADERS = (
    "", "answered", "200", "503", "a second", "p50 ms", "p99 ms", "503: p99 ms", "p99 from sending", "503 from sending",
    "p99 by the server", "server us", "client us",
)  # fmt: skip
TIMES = ("p50_ms", "p99_ms", "refused_p99_ms", "sent_p99_ms", "sent_refused_p99_ms", "server_p99_ms")


def cells(row: dict[str, Any]) -> list[str]:
    by = row["by_status"]
    times = ["-" if row[name] is None else f"{row[name]:.2f}" for name in TIMES]
    busy = [f"{row[name]:.0f}" for name in ("server_cpu_us", "client_cpu_us")]
    counts = [f"{row['answered']:,}", *(f"{by.get(status, 0):,}" for status in ("200", "503"))]
    return [row["what"], *counts, f"{row['per_second']:,.0f}", *times, *busy]


def trained(folder: Path) -> Path:
    """A text classifier with the defaults, on the embedded texts."""
    text = slide.datasets.load_text("wordnet-hypernym")
    path = folder / "wordnet.slide"
    slide.SlideTextClassifier().fit(text.train_texts, text.train_labels).save(path)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.parser("studies.serving", __doc__)
    p.add_argument("--model", help="a text classifier's file (default: one is trained on the embedded texts)")
    p.add_argument("--optimized", help="a file of `slide optimize`, which the same is asked of after the model")
    p.add_argument("--count", type=int, default=20_000, help="requests of a run (default: %(default)s)")
    p.add_argument("--reload-count", type=int, default=100_000, help="requests during reloads (default: %(default)s)")
    p.add_argument("--rates", default="2000", help="requests a second, with commas (default: %(default)s)")
    p.add_argument("--parts", default="steady,overload,reloads", help="which of them (default: %(default)s)")
    p.add_argument("--server", default="", help="more options of slide serve, in one word")
    commands.add_run_options(p, "serving")
    args = p.parse_args(argv)
    env = environment.describe(args.threads)
    options = ["--n-threads", str(args.threads), "--deadline", "30", *args.server.split()]
    parts, rates = args.parts.split(","), [float(rate) for rate in args.rates.split(",")]
    texts = slide.datasets.load_text("wordnet-hypernym").test_texts[:TEXTS]
    result: dict[str, Any] = {"parts": parts, "options": options}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(args.model) if args.model else trained(Path(folder))
        for some in (path, args.optimized) if set(parts) & {"steady", "overload"} else ():
            if some is not None:
                with running(Path(some), *options) as server:
                    rows = steady(server, texts, args.count, rates) if "steady" in parts else []
                    rows += overload(server, texts, args.count) if "overload" in parts else []
                    name = "rows" if some is path else "optimized"
                    result |= {name: rows, f"{name}_memory_mb": server.memory() / 1e6}
        if "reloads" in parts:
            result["reloads"] = reloads(path, texts, args.reload_count, options)
    path = environment.save("serving", result, env, args.out)
    print(environment.summary(env), end="\n\n")
    told = "{what}: goodput {goodput:.2f}; of the server's processor time {goodput_of_processor:.2f}"
    for name in (name for name in ("rows", "optimized") if name in result):
        print({"rows": "the model:", "optimized": "the optimized model:"}[name], end="\n\n")
        print(tables.markdown(HEADERS, [cells(row) for row in result[name]]), end="\n\n")
        print("\n".join(told.format(**row) for row in result[name] if "goodput" in row), end="\n\n")
    if "reloads" in result:
        print("\nreloads:", ", ".join(f"{name} {tables.count(v)}" for name, v in result["reloads"].items()))
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
