"""`python -m benchmarks.micro.suite`: kernels and training steps, and how near each is to the machine's limits.

Runs the pytest-benchmark files beside it, measures the limits before and after (`limits.py`), writes one JSON
file and prints one table. Takes a few minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import commands, environment, tables
from benchmarks.micro import limits

FILES = {"kernels": "bench_kernels.py", "training": "bench_training.py"}
HEADERS = ("benchmark", "isa", "thr", "median ms", "+-", "per s", "GFLOP/s", "GB/s")
HEADERS += ("of FMA", "of rows", "of stream")


def run_pytest(names: Sequence[str], threads: int, max_time: float) -> list[dict[str, Any]]:
    """Run the benchmark files and return pytest-benchmark's records. Raises RuntimeError when one fails."""
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise RuntimeError("pytest-benchmark is not installed: pip install 'slide-xmc[test]'")
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts="]
        command += ["--benchmark-quiet", f"--benchmark-max-time={max_time}", "--benchmark-min-rounds=3"]
        command += [f"--benchmark-json={report}", *(str(here / FILES[name]) for name in names)]
        env = {**os.environ, "SLIDE_BENCH_THREADS": str(threads)}
        done = subprocess.run(command, cwd=environment.ROOT, env=env, check=False)
        if done.returncode or not report.exists():
            raise RuntimeError(f"pytest ended with {done.returncode}; see above")
        return json.loads(report.read_text())["benchmarks"]


def row_of(record: dict[str, Any], found: dict[int, dict[str, float]]) -> dict[str, Any]:
    """One benchmark in figures, held against the limits for its number of threads."""
    info, median = record["extra_info"], record["stats"]["median"]
    limit = found[info["threads"]]
    flops, moved = info["flops"] / median, info["bytes"] / median
    return {
        "name": record["name"].removeprefix("test_"),
        "group": record["group"],
        "isa": info["isa"],
        "threads": info["threads"],
        "median_seconds": median,
        "iqr_seconds": record["stats"]["iqr"],
        "rounds": record["stats"]["rounds"],
        "per_second": info["operations"] / median,
        "flops_per_second": flops,
        "bytes_per_second": moved,
        "intensity": flops / moved if moved else None,
        "of_fma": flops / (limit["gflops"] * 1e9),
        "of_rows": moved / (limit["random_gb_per_s"] * 1e9) if moved else None,
        "of_stream": moved / (limit["sequential_gb_per_s"] * 1e9) if moved else None,
    }


def cells(row: dict[str, Any]) -> list[str]:
    return [
        row["name"],
        row["isa"],
        str(row["threads"]),
        f"{1e3 * row['median_seconds']:.3g}",
        f"{100 * row['iqr_seconds'] / row['median_seconds']:.0f}%",
        tables.count(row["per_second"]),
        f"{row['flops_per_second'] / 1e9:.3g}",
        f"{row['bytes_per_second'] / 1e9:.3g}" if row["bytes_per_second"] else tables.NONE,
        *(_share(row[name]) for name in ("of_fma", "of_rows", "of_stream")),
    ]


def _share(value: float | None) -> str:
    return tables.NONE if value is None else f"{100 * value:.0f}%"


def render(document: dict[str, Any]) -> str:
    lines = [environment.summary(document["environment"])]
    for threads, found in document["limits"].items():
        lines += ["", f"limits of this machine with {threads} thread(s), same run", limits.render(found)]
    lines += ["", tables.text(HEADERS, [cells(row) for row in document["rows"]])]
    lines.append(
        "of FMA, of rows, of stream: shares of the multiply-add rate, of the bandwidth of random 512-byte rows and"
        " of a sequential read, for the same threads. Above 100% of rows: some rows came from a cache."
        " +-: interquartile range."
    )
    return "\n".join(lines)


def limits_for(threads: Sequence[int], earlier: dict[int, dict[str, float]] | None = None) -> dict[int, Any]:
    """The limits for each thread count; with `earlier` ones the better of both, since a neighbour only slows."""
    found = {n: limits.measure(n) for n in threads}
    for n, before in (earlier or {}).items():
        found[n] = {name: max(value, before[name]) for name, value in found[n].items()}
    return found


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m benchmarks.micro.suite", description=__doc__)
    p.add_argument("--only", choices=sorted(FILES), help="one of the two parts")
    p.add_argument("--max-time", type=float, default=0.5, help="seconds for each kernel benchmark")
    commands.add_run_options(p, "suite")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    env = environment.describe(args.threads)
    counts = sorted({1, args.threads})
    try:
        before = limits_for(counts)
        records = run_pytest([args.only] if args.only else list(FILES), args.threads, args.max_time)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = limits_for(counts, before)
    document = {"limits": found, "rows": [row_of(record, found) for record in records]}
    path = environment.save("suite", document, env, args.out)
    print(render({**document, "environment": env}))
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
