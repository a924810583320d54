"""`python -m benchmarks.studies.optimizing`: what `clf.optimize` gains, and how often it breaks its promise.

A classifier with the defaults is trained on nine tenths of the training rows and optimized with the last tenth. Then
the choice is made again and again, on rows drawn with replacement from those: what a plan loses on all of them is then
the truth, and a choice whose plan loses more than was allowed is a broken promise. Test rows are not looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import slide
from benchmarks.harness import commands, environment, tables
from benchmarks.harness.data import MissingData
from benchmarks.harness.shapes import SHAPES, find
from slide.estimator import optimizing
from slide.estimator.paired_loss import RowMetric, confirmed, in_order
from slide.estimator.speed_report import SpeedReport

METRICS, ALLOWED = ("p@1", "agreement@5"), (0.005, 0.002)
HEADERS = ("metric", "allowed", "plan", "ms", "before", "times", "in batches", "lost", "at most")
SPLIT_HEADERS = ("metric", "allowed", "splits", "broken", "broken, % (5 at most)", "declined", "times, median")


def gained(clf: slide.SlideClassifier, X: Any, Y: Any) -> list[dict[str, Any]]:
    """A row for each metric and each loss that is allowed."""
    found = []
    for metric in METRICS:
        for most in ALLOWED:
            report = clf.optimize(X, Y, metric=metric, max_loss=most)
            found.append({"plan": str(report.plan_), "speedup": report.report_.speedup, **report.report_.config()})
    return found


def cells(row: dict[str, Any]) -> list[str]:
    if row["declined"]:
        return [row["metric"], f"{100 * row['max_loss']:g}", f"declined: {row['declined']}", *[""] * 6]
    batch = row["base_batch_ms"] / row["batch_ms"]
    times = [f"{row['ms']:.3f}", f"{row['base_ms']:.3f}", f"{row['speedup']:.1f}", f"{batch:.1f}"]
    return [
        row["metric"],
        f"{100 * row['max_loss']:g}",
        row["plan"],
        *times,
        *(f"{100 * row[n]:.2f}" for n in ("loss", "bound")),
    ]


def losses_of_plans(clf: slide.SlideClassifier, X: Any, Y: Any, metric: str) -> tuple[Any, list[float], float]:
    """Of all plans [plans, n], how long they take, and how long the model as it is takes."""
    net, measured = clf.network_, RowMetric.of(metric, clf.n_labels_)
    rows, report = optimizing._Rows(clf._encoding, X, Y, 0), SpeedReport(metric, 0.5, 0.95, 0, 0)
    groups = optimizing.Groups()
    search = optimizing._Search(net, clf._encoding, rows, measured, report, groups, lambda _: None)
    plans = [optimizing._Tried(plan, search.network(plan)) for plan in [optimizing.ServingPlan(), *search._plans()]]
    search._time(plans)
    everything = np.arange(X.shape[0])
    ids = [search._topk(tried.net, everything) for tried in plans]
    losses = np.array([measured.losses(ids[0], after, Y) for after in ids[1:]])
    return losses, [tried.ms for tried in plans[1:]], plans[0].ms


def split(losses: Any, ms: list[float], base: float, most: float, n_splits: int, confidence: float) -> dict[str, Any]:
    """Choices on rows drawn anew, as many as there are; how many lose more than was allowed."""
    rng, n = np.random.default_rng(0), losses.shape[1]
    fast = [i for i, taken in enumerate(ms) if base >= optimizing.LEAST_SPEEDUP * taken]
    broken, speedups = 0, []
    for _ in range(n_splits):
        rows = rng.integers(n, size=n)
        earlier = [losses[i, rows[: n // 2]] for i in fast]
        held = [losses[i, rows[n // 2 :]] for i in fast]
        order = in_order(earlier, [ms[i] for i in fast], most)
        passed = confirmed(order, held, earlier, most, confidence)
        if passed:
            chosen = fast[order[passed - 1]]
            broken += bool(losses[chosen].mean() > most)
            speedups.append(base / ms[chosen])
    return {
        "splits": n_splits,
        "broken": broken,
        "declined": n_splits - len(speedups),
        "speedup": float(np.median(speedups)) if speedups else 1.0,
    }


def split_cells(row: dict[str, Any]) -> list[str]:
    share = f"{100 * row['broken'] / row['splits']:.1f}"
    counts = [str(row["splits"]), str(row["broken"]), share, str(row["declined"])]
    return [row["metric"], f"{100 * row['max_loss']:g}", *counts, f"{row['speedup']:.1f}"]


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.data_parser("studies.optimizing", __doc__, f"\nSynthetic shapes: {', '.join(SHAPES)}")
    p.add_argument("--splits", type=int, default=200)
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--rank", action="store_true", help="with slide.Rank instead of what fit chooses")
    commands.add_run_options(p, "optimizing")
    args = p.parse_args(argv)
    try:
        problem = find(args.data)
    except MissingData as error:
        print(error, file=sys.stderr)
        return 2
    env = environment.describe(args.threads)
    X, Y, X_out, Y_out = problem.held_out()
    print(f"{problem.name}: training on {X.shape[0]:,} rows ...", file=sys.stderr, flush=True)
    wide = slide.Rank() if args.rank else True
    clf = slide.SlideClassifier(wide=wide, epochs=args.epochs, n_threads=args.threads).fit(X, Y)
    rows = gained(clf, X_out, Y_out)
    print(f"{problem.name}: optimized with {X_out.shape[0]:,} rows, ms of one row, points of 100")
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [cells(row) for row in rows]), flush=True)
    splits = []
    for metric in METRICS:
        losses, ms, base = losses_of_plans(clf, X_out, Y_out, metric)
        splits += [
            {"metric": metric, "max_loss": most, **split(losses, ms, base, most, args.splits, 0.95)} for most in ALLOWED
        ]
    result = {"data": problem.name, "labels": clf.n_labels_, "ranks": args.rank, "rows": rows, "splits": splits}
    path = environment.save("optimizing", result, env, args.out)
    print()
    print(tables.markdown(SPLIT_HEADERS, [split_cells(s) for s in splits]))
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
