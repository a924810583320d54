"""`python -m benchmarks.studies.store_group`: training under a memory limit that the system keeps, as root on Linux.

A model of 3 GB is trained for some windows in memory; then, from its file, with budgets of a half and an eighth of it
(`memory=`), and with a half and all rows mapped by `mmap`. Each has a process of its own, in a memory group (cgroup)
of the budget and 64 MiB: files in the system's cache count too, so that rows come from the disk. Data and the
interpreter are outside. Tables stay as they are while the windows are timed. What both allow is the rate in memory, or
that at which rows were fetched while some were, over the misses of a sample, whichever is less.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import slide
from benchmarks.harness import commands, environment, measure, tables
from benchmarks.harness.shapes import SHAPES
from slide.engine.protocol import Examples
from slide.io.model_file import read_model
from slide.model.store.layer import StoredLayer
from slide.model.store.rows import Traffic
from slide.training.loop import WINDOW

SHAPE = SHAPES["amazon-670k"]
LABELS = 5_300_000
WAYS = (("memory", 1), ("store", 2), ("store", 8), ("mmap", 2))
BATCH, EXTRA = 32, 2**26
PREFIX = "slide-study-"
GROUPS = Path("/sys/fs/cgroup")
HEADERS = (
    "rows",
    "budget",
    "samples/s",
    "of memory's",
    "misses a sample",
    "fetches/s",
    "of what both allow",
    "waiting",
    "one row: cold, warm, ms",
)
POINT = "--point"


def groups() -> Path:
    """The folder of memory groups: of version 1, or of version 2."""
    return GROUPS / "memory" if (GROUPS / "memory").is_dir() else GROUPS


def join_group(n_bytes: int) -> None:
    """This process moves into a new group of so many bytes; what it holds already counts where it was."""
    group = groups() / f"{PREFIX}{os.getpid()}"
    group.mkdir()
    limit = "memory.max" if groups() == GROUPS else "memory.limit_in_bytes"
    (group / limit).write_text(str(n_bytes))
    (group / "cgroup.procs").write_text(str(os.getpid()))


def remove_groups() -> None:
    """Those without a process."""
    for group in groups().glob(PREFIX + "*"):
        with suppress(OSError):
            group.rmdir()


def data(labels: int, rows: int) -> tuple[Any, Any]:
    density = {"nnz": SHAPE.nnz, "labels_per_row": SHAPE.labels_per_row}
    return slide.datasets.synthetic(rows, SHAPE.features, labels, **density)


def make(path: str, labels: int, hidden: int, threads: int) -> None:
    """A model whose tables follow from its weights, in a file."""
    last = slide.Sampled(labels, lsh=slide.lsh.auto(labels, 300, 50), n_active=300, n_random=50)
    net = slide.Network([slide.SparseInput(SHAPE.features, hidden), last], batch_size=BATCH, n_threads=threads)
    X, _ = data(labels, WINDOW)
    net.rebuild_tables(Examples.of(X))
    net.tables_built_at = -1  # so that the file has them, and nobody has to make them again
    net.save(path)


def opened(way: str, path: str, budget: int, threads: int) -> slide.Network:
    if way != "mmap":
        net = slide.load(path, n_threads=threads, memory=budget if way == "store" else None)
        assert isinstance(net, slide.Network)
        return net
    file = read_model(path, map_rows=True)
    rows = file.arrays["layer1.rows"]
    with tempfile.TemporaryFile() as copy:
        for first in range(0, len(rows), WINDOW):
            copy.write(np.ascontiguousarray(rows[first : first + WINDOW]).data)
        copy.flush()
        file.arrays["layer1.rows"] = np.memmap(copy, rows.dtype, "r+", 0, rows.shape)
    return slide.Network.of(file.snapshot, threads, "c")


def train(net: slide.Network, X: Examples, Y: Examples, seconds: float) -> dict[str, Any]:
    """Windows after windows, as a fit trains them; the first one fills the cache and does not count."""
    n, done, spent = len(X.indptr) - 1, 0, 0.0
    last, size = net.states[-1], min(WINDOW, n)
    if not isinstance(last, StoredLayer) and isinstance(last.rows, np.memmap):
        size = 256  # of which one takes long enough
    order, before = np.random.default_rng(5).permutation(n).astype(np.int64), Traffic()
    while spent < seconds:
        begin = time.perf_counter()
        first, following = (at % (n - size + 1) for at in (done, done + size))
        net.expect(X, Y, order[following : following + size], net.step + size, BATCH)
        net.engine.train(X, Y, order[first : first + size], net.step, np.full(size, 0.05, np.float32), BATCH)
        net.step += size
        if done:
            spent += time.perf_counter() - begin
        else:
            before = replace(net.traffic or Traffic())
        done += size
    counted = done - size
    found = (net.traffic or Traffic()).since(before)
    return {
        "samples": counted,
        "seconds": spent,
        "misses": found.read / counted,
        "fetches": found.read / max(found.reading, 1e-9),
        "waiting": found.waiting / spent,
        "summary": found.summary(counted),
    }


def one_row(net: slide.Network, X: Any) -> tuple[float, float]:
    """Milliseconds of a prediction that finds nothing in the cache, and the median of the same ones again."""
    times = []
    for _ in range(2):
        for i in range(20):
            begin = time.perf_counter()
            net.predict_topk(X[[i]], 5, n_candidates=2000)
            times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times[:20])), 1000 * float(np.median(times[20:]))


def point(way: str, share: int, path: str, labels: int, rows: int, threads: int, seconds: float) -> dict[str, Any]:
    X, Y = data(labels, rows)
    budget = os.path.getsize(path) // share
    if way != "memory":
        join_group(budget + EXTRA)
    net = opened(way, path, budget, threads)
    found = train(net, Examples.of(X), Examples.of(Y), seconds)
    found["cold_ms"], found["warm_ms"] = (0, 0) if way == "mmap" else one_row(net, X)
    return {"way": way, "share": share, "budget": budget, **found}


def cells(row: dict[str, Any], memory: dict[str, Any]) -> list[str]:
    if row["status"] != "ok":
        return tables.padded([f"{row['way']} 1/{row['share']}", row["reason"]], len(HEADERS))
    rate = row["samples"] / row["seconds"]
    whole = memory["samples"] / memory["seconds"] if memory["status"] == "ok" else float("nan")
    stored = row["way"] == "store"
    return [
        row["way"] if row["way"] == "memory" else f"{row['way']}, 1/{row['share']}",
        "" if row["way"] == "memory" else tables.size(row["budget"]),
        f"{rate:,.0f}",
        f"{rate / whole:.4f}",
        f"{row['misses']:.2f}" if stored else "",
        f"{row['fetches']:,.0f}" if stored else "",
        f"{rate / min(whole, row['fetches'] / row['misses']):.2f}" if stored and row["misses"] else "",
        f"{row['waiting']:.2f}" if stored else "",
        "" if row["way"] == "mmap" else f"{row['cold_ms']:.2f}, {row['warm_ms']:.2f}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == [POINT]:
        way, share, path, *numbers, seconds = argv[1:]
        labels, rows, threads = map(int, numbers)
        print(json.dumps(point(way, int(share), path, labels, rows, threads, float(seconds))))
        return 0
    p = argparse.ArgumentParser(prog="python -m benchmarks.studies.store_group", description=__doc__)
    p.add_argument("--labels", type=int, default=LABELS, metavar="N")
    p.add_argument("--rows", type=int, default=4 * WINDOW, metavar="N")
    p.add_argument("--hidden", type=int, default=128, metavar="N")
    p.add_argument("--seconds", type=float, default=20, metavar="X", help="of training, each")
    commands.add_run_options(p, "store_group")
    args = p.parse_args(argv)
    env, found = environment.describe(args.threads), []
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.slide"
        commands.say(f"a model of {args.labels:,} labels ...")
        make(path, args.labels, args.hidden, args.threads)
        for way, share in WAYS:
            commands.say(f"{way}, 1/{share} ...")
            numbers = [str(n) for n in (args.labels, args.rows, args.threads, args.seconds)]
            cost = measure.run(
                [sys.executable, "-m", "benchmarks.studies.store_group", POINT, way, str(share), path, *numbers]
            )
            remove_groups()
            ok = cost.returncode == 0
            row = json.loads(cost.output.splitlines()[-1]) if ok else {"reason": cost.last_words()}
            found.append({"way": way, "share": share, **row, "status": "ok" if ok else "failed"})
            out = environment.save("store_group", {"rows": found}, env, args.out)
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [cells(row, found[0]) for row in found]))
    for row in found:
        if row["status"] == "ok" and row["way"] == "store":
            print(f"1/{row['share']}: {row['summary']}")
    commands.say(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
