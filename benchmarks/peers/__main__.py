"""`python -m benchmarks.peers`: train and judge slide and its competitors on one data set, print one table.

Leaves the running to `run.py` and the list of competitors to `registry.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.harness import commands, environment, tables
from benchmarks.harness.data import MissingData, resolve
from benchmarks.peers import registry, run

HEADERS = ("library", "train s", "CPU s", "predict s", "train RSS", "peak RSS", "model")
HEADERS += ("P@1", "P@3", "P@5", "PSP@1", "PSP@3", "PSP@5")
LOWER_IS_BETTER = {
    "train_seconds": "training time",
    "predict_seconds": "prediction time",
    "train_peak_rss_bytes": "training memory",
    "model_bytes": "model size",
}
HIGHER_IS_BETTER = {name: name.upper() for name in run.METRICS}


def cells(row: dict[str, Any]) -> list[str]:
    """A row's cells; one that failed has its status in the second and its reason under the table."""
    if row["status"] != "ok":
        return tables.padded([row["title"], row["status"]], len(HEADERS))
    return [
        row["title"],
        tables.seconds(row["train_seconds"]),
        tables.seconds(row["train_cpu_seconds"]),
        tables.seconds(row["predict_seconds"]),
        tables.size(row["train_peak_rss_bytes"]),
        tables.size(row["peak_rss_bytes"]),
        tables.size(row["model_bytes"]),
        *(tables.percent(row[name]) for name in run.METRICS),
    ]


def losses(rows: Sequence[dict[str, Any]], ours: str = "slide") -> list[str]:
    """Every column in which a competitor beats us, the best one named, in words and figures."""
    good = [row for row in rows if row["status"] == "ok"]
    mine = next((row for row in good if row["peer"] == ours), None)
    if mine is None:
        return []
    others = [row for row in good if row is not mine]
    found = []
    for key, words in HIGHER_IS_BETTER.items():
        best = max(others, key=lambda row: row[key], default=None)
        if best and best[key] > mine[key]:
            gap = 100 * (best[key] - mine[key])
            found.append(f"{words} by {gap:.1f} points to {best['title']}")
    for key, words in LOWER_IS_BETTER.items():
        best = min(others, key=lambda row: row[key], default=None)
        if best and best[key] < mine[key]:
            factor = mine[key] / max(best[key], 1e-9)
            found.append(f"{words} by a factor of {factor:.1f} to {best['title']}")
    return found


def rounds_of(seeds: Sequence[int]) -> str:
    """How many rounds stand behind a figure, and with which seeds."""
    if len(seeds) == 1:
        return f"one round, seed {seeds[0]}"
    return f"medians of {len(seeds)} rounds, seeds {', '.join(map(str, seeds))} where a library takes one"


def render(document: dict[str, Any], style: str = "text") -> str:
    """The whole answer: head line, table, reasons, losses."""
    rows, shape = document["rows"], document["shape"]
    draw = tables.markdown if style == "markdown" else tables.text
    lines = [
        f"{document['data']}: {shape['train_rows']:,} training rows, {shape['test_rows']:,} test rows,"
        f" {shape['features']:,} features, {shape['labels']:,} labels",
        environment.summary(document["environment"]),
        rounds_of(document["environment"]["seeds"]),
        "",
        draw(HEADERS, [cells(row) for row in rows]),
        "",
    ]
    lines += [f"{r['title']}: {r['status']}: {r['reason']}" for r in rows if r["status"] != "ok"]
    if any(row["peer"] == "slide" and row["status"] == "ok" for row in rows):
        lost = losses(rows)
        lines.append("slide loses on: " + ("; ".join(lost) if lost else "nothing in this table"))
    lines.append(
        "P@k and PSP@k in % over all test rows. Training time is inside the library (omikuji's holds its"
        " reading of the file); peak RSS is the whole process; omikuji predicts one row a call."
    )
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    p = commands.data_parser("peers", __doc__)
    p.add_argument("--peers", help=f"comma-separated, from: {', '.join(x.name for x in registry.ALL)}")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--rounds", type=int, default=1, help="interleaved repeats; the table shows medians")
    p.add_argument("--timeout", type=float, default=3600, help="seconds before a peer is stopped")
    commands.add_run_options(p, "peers")
    p.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    say = commands.say
    try:
        peers, problem = registry.choose(args.peers), resolve(args.data)
    except (MissingData, ValueError) as error:
        say(f"error: {error}")
        return 2
    start = time.perf_counter()
    env = environment.describe(args.threads, seeds=range(args.seed, args.seed + args.rounds))
    rows = run.run_all(peers, problem, args.threads, args.seed, args.rounds, args.timeout, say)
    document = {"data": problem.name, "shape": problem.shape(), "rows": run.merge(rows), "all_rounds": rows}
    path = environment.save("peers", document, env, args.out)
    print(render({**document, "environment": env}, "markdown" if args.markdown else "text"))
    say(f"took {time.perf_counter() - start:.0f} s; written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
