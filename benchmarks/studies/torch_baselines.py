"""`python -m benchmarks.studies.torch_baselines`: slide beside PyTorch's full and sampled softmax, CPU and GPU.

Same rows, hidden width, batch and time for each; rounds are interleaved (A B C A B C) and the table shows
medians and ranges. GPU contenders join when PyTorch finds a CUDA device: all rows lie in its memory, its batches are
larger and its products in bfloat16. `SLIDE_BENCH_TORCH` names a Python that has PyTorch, where the pinned one is not
what the device wants. The training is in `contenders/`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.contenders import start
from benchmarks.harness import commands, environment, tables, venvs
from benchmarks.harness.data import MissingData, Problem, resolve
from benchmarks.harness.shapes import SHAPES, make, scaled

HEADERS = ("contender", "device", "samples/s", "range", "vs first", "P@1 then", "peak RSS", "rounds")
Say = Callable[[str], None]


def has_cuda(say: Say) -> bool:
    """Whether the pinned PyTorch finds a CUDA device; installs it if need be, no when it cannot."""
    try:
        python = start.interpreter(start.ALL[-1], say)
    except (venvs.InstallError, OSError) as error:
        say(f"PyTorch: {error}")
        return False
    code = "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 1)"
    return subprocess.run([str(python), "-c", code], capture_output=True, check=False).returncode == 0


def compare(
    problem: Problem,
    contenders: Sequence[start.Contender],
    budget: start.Budget,
    network: dict[str, Any],
    *,
    threads: int,
    rounds: int,
    say: Say,
) -> list[dict[str, Any]]:
    """Rows in the order of `contenders`, from interleaved rounds."""
    runs: dict[str, list[start.Outcome]] = {c.name: [] for c in contenders}
    for turn in range(rounds):
        for c in contenders:
            limit = (budget.seconds or 60) * 4 + 600
            options = {"threads": threads, "seed": turn, "network": network, "timeout": limit, "say": say}
            out = start.run(c, problem.folder, budget, **options)
            rate = out.last("stop").get("samples_per_second")
            say(f"round {turn + 1}, {c.title}: {tables.count(rate)} samples/s {out.reason}".rstrip())
            runs[c.name].append(out)
    return [row_of(c, runs[c.name]) for c in contenders]


def row_of(contender: start.Contender, runs: Sequence[start.Outcome]) -> dict[str, Any]:
    """Medians over the good rounds, or the first reason why there is none."""
    row: dict[str, Any] = {"contender": contender.name, "title": contender.title, "rounds": len(runs)}
    good = [r for r in runs if r.status == "ok" and r.last("stop").get("samples_per_second")]
    if not good:
        bad = next((r for r in runs if r.status != "ok"), None)
        reason = bad.reason if bad else "ended before its warm-up did: give it more seconds"
        return {**row, "status": bad.status if bad else "failed", "reason": reason, "good_rounds": 0}
    rates = [r.last("stop")["samples_per_second"] for r in good]
    ready = good[0].last("ready")
    return {
        **row,
        "status": "ok",
        "good_rounds": len(good),
        "samples_per_second": statistics.median(rates),
        "samples_per_second_range": [min(rates), max(rates)],
        "p@1": statistics.median(r.last("eval")["quality"] for r in good),
        "trained_samples": statistics.median(r.last("stop")["samples"] for r in good),
        "peak_rss_bytes": max(r.peak_rss_bytes for r in good),
        "device_peak_bytes": good[0].last("stop").get("device_peak_bytes"),
        "isa": good[0].last("stop").get("isa"),
        **{key: ready.get(key) for key in ("device", "precision", "version", "model")},
    }


def cells(row: dict[str, Any], first: float | None) -> list[str]:
    if row["status"] != "ok":
        return tables.padded([row["title"], row["status"]], len(HEADERS))
    low, high = row["samples_per_second_range"]
    rate = row["samples_per_second"]
    return [
        row["title"],
        str(row["device"]),
        tables.count(rate),
        f"{tables.count(low)} to {tables.count(high)}",
        f"{rate / first:.3g}x" if first else tables.NONE,
        tables.percent(row["p@1"]),
        tables.size(row["peak_rss_bytes"]),
        f"{row['good_rounds']}/{row['rounds']}",
    ]


def render(document: dict[str, Any]) -> str:
    lines = [environment.summary(document["environment"])]
    for part in document["parts"]:
        s = part["shape"]
        good = [r for r in part["rows"] if r["status"] == "ok"]
        first = good[0]["samples_per_second"] if good else None
        lines += [
            "",
            f"{part['data']}: {s['features']:,} features, {s['labels']:,} labels,"
            f" {s['features_per_row']} features and {s['labels_per_row']} labels a row;"
            f" hidden {part['network']['hidden']}, batch {part['network']['batch']}",
            tables.text(HEADERS, [cells(row, first) for row in part["rows"]]),
        ]
        lines += [f"{r['title']}: {r['reason']}" for r in part["rows"] if r["status"] != "ok"]
    lines.append(
        "samples/s after warm-up, table rebuilds included; P@1 after the same training seconds, on synthetic rows"
        " unless a folder was given. float32 unless the result file says otherwise."
    )
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    p = commands.parser("studies.torch_baselines", __doc__)
    p.add_argument("--shape", default="amazon-670k", help=f"comma-separated: {', '.join(SHAPES)}, all")
    p.add_argument("--scale", default="small", choices=("small", "full"))
    p.add_argument("--data", help="a data set instead of a synthetic shape (see below)")
    p.add_argument("--contenders", help=f"comma-separated: {', '.join(c.name for c in start.ALL)}")
    p.add_argument("--seconds", type=float, default=15, help="training time of each run")
    p.add_argument("--warmup", type=float, default=3, help="seconds of it not counted in the rate")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--hidden", type=int, help="default: the shape's")
    p.add_argument("--batch", type=int, help="default: the shape's (slide updates after each sample)")
    p.add_argument("--gpu-batch", type=int, default=start.GPU_BATCH)
    p.add_argument("--activation", default="identity", choices=("identity", "relu", "tanh"))
    commands.add_run_options(p, "torch")
    return p


def problems(args: argparse.Namespace) -> list[tuple[Problem, dict[str, Any]]]:
    """What to run on, with the network's sizes for each."""
    given = {"hidden": args.hidden or 128, "batch": args.batch or 128, "activation": args.activation}
    if args.data:
        return [(resolve(args.data), given)]
    names = list(SHAPES) if args.shape == "all" else args.shape.split(",")
    unknown = [name for name in names if name not in SHAPES]
    if unknown:
        raise ValueError(f"unknown shape {unknown[0]!r}; known: {', '.join(SHAPES)}, all")
    found = []
    for name in names:
        shape = scaled(SHAPES[name], args.scale)
        sizes = {"hidden": args.hidden or shape.hidden, "batch": args.batch or shape.batch}
        found.append((make(shape), {**given, **sizes}))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    say = commands.say
    try:
        chosen = start.choose(args.contenders, not args.contenders and has_cuda(say))
        contenders = [c.with_options(batch=args.gpu_batch) if c.device == "cuda" else c for c in chosen]
        work = problems(args)
    except (MissingData, ValueError) as error:
        say(f"error: {error}")
        return 2
    env = environment.describe(args.threads, seeds=range(args.rounds))
    budget = start.Budget(seconds=args.seconds, epochs=10_000, warmup_seconds=args.warmup, eval_rows=2000)
    parts = []
    for problem, network in work:
        say(f"{problem.name}: {len(contenders)} contenders, {args.rounds} rounds of {args.seconds:g} s")
        rows = compare(problem, contenders, budget, network, threads=args.threads, rounds=args.rounds, say=say)
        shape = problem.shape()
        parts.append({"data": problem.name, "shape": shape, "network": network, "rows": rows})
    document = {"scale": args.scale, "seconds": args.seconds, "parts": parts}
    path = environment.save("torch", document, env, args.out)
    print(render({**document, "environment": env}))
    say(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
