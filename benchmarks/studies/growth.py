"""`python -m benchmarks.studies.growth`: what SlideClassifier's defaults cost a row as the labels become more.

The same number of synthetic rows, of Amazon-670K's density, for each number of labels. Everything that `fit` does is
counted: choosing the sparse part, tables, the network, ranking. Each point is a process of its own, so that its peak of
memory is its own. Rows with planted labels: P@1 says that the model learned, not how good it would be on real rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import slide
from benchmarks.harness import commands, environment, measure, tables
from benchmarks.harness.shapes import SHAPES

LABELS = (10_000, 100_000, 1_000_000)
ROWS, TEST_ROWS = 50_000, 2_000
DENSITY = SHAPES["amazon-670k"]
HEADERS = ("labels", "fit s", "CPU s", "us a row and epoch", "peak RSS", "P@1", "sparse part")
POINT = "--point"


def point(labels: int, rows: int, threads: int, epochs: int) -> dict[str, Any]:
    """One fit with the defaults."""
    density = {"nnz": DENSITY.nnz, "labels_per_row": DENSITY.labels_per_row}
    X, Y = slide.datasets.synthetic(rows, DENSITY.features, labels, **density)
    asked, truth = slide.datasets.synthetic(TEST_ROWS, DENSITY.features, labels, **density, split="test")
    wall, cpu = time.perf_counter(), time.process_time()
    clf = slide.SlideClassifier(epochs=epochs, n_threads=threads).fit(X, Y)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    ids, _ = clf.predict_topk(asked, 1)
    return {
        "labels": labels,
        "rows": rows,
        "epochs": epochs,
        "fit_seconds": wall,
        "fit_cpu_seconds": cpu,
        "p@1": slide.metrics.precision_at_k(truth, ids, k=1),
        "sparse_part": type(clf.network_.wide).__name__ if clf.network_.ranker is None else "Rank",
        "plan": str(clf.plan_),
    }


def measured(labels: int, rows: int, threads: int, epochs: int) -> dict[str, Any]:
    """The same in a process of its own, with its peak of memory; or why there is none."""
    numbers = [str(n) for n in (labels, rows, threads, epochs)]
    cost = measure.run([sys.executable, "-m", "benchmarks.studies.growth", POINT, *numbers])
    if cost.returncode:
        return {"labels": labels, "rows": rows, "status": "failed", "reason": cost.last_words()}
    found: dict[str, Any] = json.loads(cost.output.splitlines()[-1])
    return {**found, "status": "ok", "peak_rss_bytes": cost.peak_rss_bytes}


def cells(row: dict[str, Any]) -> list[str]:
    if row["status"] != "ok":
        return tables.padded([f"{row['labels']:,}", "failed"], len(HEADERS))
    return [
        f"{row['labels']:,}",
        tables.seconds(row["fit_seconds"]),
        tables.seconds(row["fit_cpu_seconds"]),
        f"{1e6 * row['fit_seconds'] / (row['rows'] * row['epochs']):.0f}",
        tables.size(row["peak_rss_bytes"]),
        tables.percent(row["p@1"]),
        row["sparse_part"],
    ]


def growth(rows: Sequence[dict[str, Any]]) -> str:
    """How the cost of the most labels compares with that of the fewest, in a sentence."""
    good = [row for row in rows if row["status"] == "ok"]
    if len(good) < 2:
        return "fewer than two sizes ran: no growth to tell"
    few, many = min(good, key=lambda row: row["labels"]), max(good, key=lambda row: row["labels"])
    factors = [many[key] / many["rows"] / (few[key] / few["rows"]) for key in ("fit_seconds", "fit_cpu_seconds")]
    times = many["labels"] / few["labels"]
    return (
        f"{times:,.0f} times the labels cost {factors[0]:.1f} times the seconds a row ({factors[1]:.1f} of CPU seconds)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == [POINT]:
        labels, rows, threads, epochs = map(int, argv[1:])
        print(json.dumps(point(labels, rows, threads, epochs)))
        return 0
    p = argparse.ArgumentParser(prog="python -m benchmarks.studies.growth", description=__doc__)
    p.add_argument("--labels", type=int, nargs="+", default=list(LABELS), metavar="N")
    p.add_argument("--rows", type=int, default=ROWS, metavar="N")
    p.add_argument("--epochs", type=int, default=5, metavar="N")
    commands.add_run_options(p, "growth")
    args = p.parse_args(argv)
    env, found = environment.describe(args.threads), []
    for labels in args.labels:
        commands.say(f"{labels:,} labels, {args.rows:,} rows ...")
        found.append(measured(labels, args.rows, args.threads, args.epochs))
        path = environment.save("growth", {"rows": found}, env, args.out)
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [cells(row) for row in found]))
    for row in found:
        if row["status"] != "ok":
            print(f"{row['labels']:,} labels: {row['reason']}")
    print(f"\n{growth(found)}")
    commands.say(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
