"""`python -m benchmarks.studies.latency`: milliseconds for the best five labels of a row, rows a second in batches.

A network is trained on nine tenths of the training rows. Rows of the last tenth are asked for one at a time, exactly
and among n candidates of the tables; recall is the share of the exact best five. Exact prediction in batches is given
as products with labels, in GFLOP/s; `micro/limits.py` measures what the machine could do. The same for the compressed
network, whose answers are held against the exact ones of the network itself. Test rows are not looked at.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import slide
from benchmarks.harness import commands, environment, tables
from benchmarks.harness.data import MissingData
from benchmarks.harness.shapes import SHAPES, find
from benchmarks.studies.ann_child import recall

K = 5
ROWS, WARM_UP = 2000, 200
SHARES = (None, 0.0007, 0.002, 0.005, 0.01, 0.02)  # of the labels that are candidates; None: all, exactly
HEADERS = ("candidates", "recall@5", "median ms", "99th % ms", "rows/s in a batch")


def milliseconds(net: slide.Network, rows: Any, n_candidates: int | None) -> Any:
    """[n] times of single rows."""
    ones = [rows[i : i + 1] for i in range(rows.shape[0])]
    for row in ones[:WARM_UP]:
        net.predict_topk(row, K, n_candidates=n_candidates)
    times = np.empty(len(ones))
    for i, row in enumerate(ones):
        begin = time.perf_counter()
        net.predict_topk(row, K, n_candidates=n_candidates)
        times[i] = time.perf_counter() - begin
    return 1000 * times


def measure(net: slide.Network, rows: Any, exact: Any) -> list[dict[str, Any]]:
    """A row for all labels, then one for each number of candidates; `exact` are the best labels of each row."""
    found = []
    for share in SHARES:
        n = None if share is None else min(max(round(share * net.n_labels), K), net.n_labels)
        begin = time.perf_counter()
        ids = net.predict_topk(rows, K, n_candidates=n)[0]
        rate = rows.shape[0] / (time.perf_counter() - begin)
        times = milliseconds(net, rows if n else rows[:WARM_UP], n)
        figures = {"median_ms": float(np.median(times)), "p99_ms": float(np.quantile(times, 0.99))}
        found.append({"candidates": n, "recall": recall(exact, ids), **figures, "rows_per_second": rate})
    return found


def cells(row: dict[str, Any]) -> list[str]:
    candidates = "all" if row["candidates"] is None else f"{row['candidates']:,}"
    times = [f"{row[name]:.3f}" for name in ("median_ms", "p99_ms")]
    return [candidates, f"{row['recall']:.3f}", *times, tables.count(row["rows_per_second"])]


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.data_parser("studies.latency", __doc__, f"\nSynthetic shapes: {', '.join(SHAPES)}")
    p.add_argument("--epochs", type=int, default=3)
    commands.add_run_options(p, "latency")
    args = p.parse_args(argv)
    try:
        problem = find(args.data)
    except MissingData as error:
        print(error, file=sys.stderr)
        return 2
    env = environment.describe(args.threads)
    X, Y, X_out, _ = problem.held_out()
    print(f"{problem.name}: training on {X.shape[0]:,} rows ...", file=sys.stderr, flush=True)
    clf = slide.SlideClassifier(wide=False, epochs=args.epochs, n_threads=args.threads).fit(X, Y)
    net = clf.network_
    asked = clf._rows(X_out[:ROWS])
    exact, small = net.predict_topk(asked, K)[0], net.compress()
    rows, small_rows = measure(net, asked, exact), measure(small, asked, exact)
    gflops = 2e-9 * rows[0]["rows_per_second"] * net.n_labels * net.states[-1].fan_in
    result = {"data": problem.name, "labels": net.n_labels, "epochs": args.epochs, "rows": rows, "exact_gflops": gflops}
    result |= {"parameter_bytes": net.n_bytes, "compressed": {"rows": small_rows, "parameter_bytes": small.n_bytes}}
    path = environment.save("latency", result, env, args.out)
    print(f"{problem.name}: the best {K} of {net.n_labels:,} labels, one row at a time and in a batch, network alone")
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [cells(row) for row in rows]))
    print(f"\ncompressed: {small.n_bytes / 1e6:,.0f} MB of parameters instead of {net.n_bytes / 1e6:,.0f}\n")
    print(tables.markdown(HEADERS, [cells(row) for row in small_rows]))
    print(f"\nall labels, in a batch: {gflops:.0f} GFLOP/s")
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
