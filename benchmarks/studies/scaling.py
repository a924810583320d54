"""`python -m benchmarks.studies.scaling`: cost and memory as labels grow, rates as threads grow, a projection.

Synthetic rows of Amazon-670K's density; each point is a process of its own (contenders/slide_net.py). A point that
does not fit in memory is a row that says so. The projection to more cores writes its assumptions down.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.contenders import start
from benchmarks.harness import commands, environment, tables
from benchmarks.harness.shapes import Shape, make
from benchmarks.micro import limits

LABELS = (10_000, 100_000, 1_000_000, 10_000_000)
BASE = Shape("scaling", 100_000, 0, 75.0, 5.4, 20_000)
SERVER_GB_PER_S = 300.0  # eight channels of DDR5-4800, all but what is lost in practice
CORES = 64
HEADERS = ("labels", "thr", "samples/s", "us/sample", "rebuild s", "parameters", "tables", "peak RSS")
Say = Callable[[str], None]


def point(labels: int, threads: int, seconds: float, say: Say) -> dict[str, Any]:
    """One measurement: the default sampled network at that many labels and threads."""
    row: dict[str, Any] = {"labels": labels, "threads": threads}
    problem = make(Shape(**{**BASE.__dict__, "labels": labels}))
    budget = start.Budget(seconds=seconds, epochs=10_000, warmup_seconds=seconds / 4, eval_rows=100)
    network = {"hidden": BASE.hidden, "batch": BASE.batch, "activation": "identity"}
    slide = start.choose("slide", cuda=False)[0]
    out = start.run(slide, problem.folder, budget, threads=threads, seed=0, network=network, timeout=1800, say=say)
    stop = out.last("stop")
    if out.status != "ok" or not stop.get("samples_per_second"):
        return {**row, "status": "failed", "reason": out.reason or "no samples in the time given"}
    rebuilds = max(1, stop["rebuilds"])
    return {
        **row,
        "status": "ok",
        "samples_per_second": stop["samples_per_second"],
        "rebuild_seconds": stop["rebuild_seconds"] / rebuilds,
        "parameter_bytes": stop["parameter_bytes"],
        "table_bytes": stop["table_bytes"],
        "peak_rss_bytes": out.peak_rss_bytes,
    }


def amdahl(rates: dict[int, float]) -> tuple[float, float]:
    """Serial and parallel seconds of a sample from rates by threads, least squares of 1/rate on 1/threads.

    Neither is negative. Raises ValueError with fewer than two thread counts.
    """
    import numpy as np

    if len(rates) < 2:
        raise ValueError(f"rates at {len(rates)} thread count(s), wanted at least 2")
    threads = np.array(sorted(rates), dtype=float)
    cost = 1 / np.array([rates[int(t)] for t in threads])
    parallel, serial = np.polyfit(1 / threads, cost, 1)
    if serial < 0:
        return 0.0, float((cost * threads).mean())
    return float(serial), float(max(parallel, 0.0))


def bytes_per_sample(n_active: int = 512, hidden: int = 128, nnz: int = 75) -> float:
    """Bytes of rows one sample moves with slide's default optimizer: each row read once and written once."""
    return 2.0 * 4.0 * (n_active + nnz) * (hidden + 16)


def project(rates: dict[int, float], server_gb_per_s: float, cores: int = CORES) -> dict[str, Any]:
    """Samples a second on `cores` cores: by Amdahl's law, by memory bandwidth, and the smaller of the two."""
    serial, parallel = amdahl(rates)
    law = 1 / (serial + parallel / cores)
    memory = server_gb_per_s * 1e9 / bytes_per_sample()
    return {
        "cores": cores,
        "serial_seconds": serial,
        "parallel_seconds": parallel,
        "amdahl_samples_per_second": law,
        "memory_samples_per_second": memory,
        "samples_per_second": min(law, memory),
        "assumptions": [
            f"cores like this machine's, {cores} of them on one socket; nothing measured beyond {max(rates)} threads",
            "1 / rate = serial + parallel / threads, fitted to the rates above; few points fit anything",
            f"memory gives {server_gb_per_s:g} GB/s to random rows of half a KB, each active row read and written once",
            "HOGWILD's collisions cost no more time than now, and no accuracy",
            "the slower of the two bounds holds",
        ],
    }


def cells(row: dict[str, Any]) -> list[str]:
    head = [f"{row['labels']:,}", str(row["threads"])]
    if row["status"] != "ok":
        return tables.padded([*head, row["status"]], len(HEADERS))
    return [
        *head,
        tables.count(row["samples_per_second"]),
        f"{1e6 / row['samples_per_second']:.3g}",
        tables.seconds(row["rebuild_seconds"]),
        tables.size(row["parameter_bytes"]),
        tables.size(row["table_bytes"]),
        tables.size(row["peak_rss_bytes"]),
    ]


def render(document: dict[str, Any]) -> str:
    lines = [environment.summary(document["environment"]), ""]
    rows = document["by_labels"] + document["by_threads"]
    lines.append(tables.text(HEADERS, [cells(row) for row in rows]))
    lines += [f"{row['labels']:,} labels: {row['reason']}" for row in rows if row["status"] != "ok"]
    p = document.get("projection")
    if p:
        lines += [
            "",
            f"projected to {p['cores']} cores: {tables.count(p['samples_per_second'])} samples/s"
            f" (Amdahl {tables.count(p['amdahl_samples_per_second'])},"
            f" memory {tables.count(p['memory_samples_per_second'])}). It assumes:",
            *(f"  - {text}" for text in p["assumptions"]),
        ]
    return "\n".join(lines)


def thread_counts(most: int) -> list[int]:
    """1, 2, 4 ... and the most."""
    return sorted({min(2**i, most) for i in range(most.bit_length() + 1)})


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m benchmarks.studies.scaling", description=__doc__)
    p.add_argument("--labels", default=",".join(map(str, LABELS)), help="comma-separated")
    p.add_argument("--thread-labels", type=int, default=100_000, help="labels of the series over threads")
    p.add_argument("--seconds", type=float, default=8, help="training time of a point")
    p.add_argument("--server-gb-per-s", type=float, default=SERVER_GB_PER_S, help="for the projection")
    commands.add_run_options(p, "scaling")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    say = commands.say
    env = environment.describe(args.threads)

    def measured(labels: int, threads: int) -> dict[str, Any]:
        row = point(labels, threads, args.seconds, say)
        rate = tables.count(row.get("samples_per_second"))
        say(f"{labels:,} labels, {threads} thread(s): {rate} samples/s {row.get('reason', '')}".rstrip())
        return row

    by_labels = [measured(int(text), args.threads) for text in args.labels.split(",")]
    by_threads = [measured(args.thread_labels, n) for n in thread_counts(args.threads)]
    document: dict[str, Any] = {"by_labels": by_labels, "by_threads": by_threads}
    document["limits"] = {args.threads: limits.measure(args.threads)}
    rates = {r["threads"]: r["samples_per_second"] for r in by_threads if r["status"] == "ok"}
    document["projection"] = project(rates, args.server_gb_per_s) if len(rates) > 1 else None
    path = environment.save("scaling", document, env, args.out)
    print(render({**document, "environment": env}))
    say(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
