"""`python -m benchmarks.studies.store`: what a model costs whose output rows are in a file (`memory=`).

The same fit with all rows in memory and with room for a half, a quarter and an eighth of them, each in a process of its
own, so that its peak of memory is its own. Rows of Amazon-670K's shape with planted labels: P@1 says that the models
learned the same, not how good they would be on real rows. Rows come from the disk, past the system's cache of files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import slide
from benchmarks.harness import commands, environment, measure, tables
from benchmarks.harness.shapes import SHAPES
from slide.model.store.layer import StoredLayer
from slide.model.store.size import SLOT_BYTES, BudgetError

SHAPE = SHAPES["amazon-670k"]
SHARES = (1.0, 0.5, 0.25, 0.125)
ROWS, TEST_ROWS = 100_000, 2_000
HEADERS = (
    "rows in memory",
    "budget",
    "peak RSS",
    "of it the model",
    "samples/s",
    "of memory's",
    "misses a sample",
    "P@1",
)
POINT = "--point"


def network(labels: int, hidden: int, threads: int, memory: int | None) -> slide.Network:
    last = slide.Sampled(labels, lsh=slide.lsh.auto(labels, 300, 50), n_active=300, n_random=50)
    layers = [slide.SparseInput(SHAPE.features, hidden), last]
    return slide.Network(
        layers, batch_size=32, n_threads=threads, memory=memory, rebuild=slide.Rebuild(background=False)
    )


def budget_for(share: float, labels: int, hidden: int) -> int | None:
    """Bytes that hold this share of the output rows; None for all."""
    if share >= 1:
        return None
    try:
        network(labels, hidden, 1, 1)
    except BudgetError as error:
        n, row_bytes = int(share * labels), 4 * (hidden + 16)
        return error.beside + n * (row_bytes + SLOT_BYTES)
    raise AssertionError("a budget of one byte was enough")


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def point(share: float, labels: int, rows: int, hidden: int, threads: int) -> dict[str, Any]:
    """One fit of two passes."""
    density = {"nnz": SHAPE.nnz, "labels_per_row": SHAPE.labels_per_row}
    X, Y = slide.datasets.synthetic(rows, SHAPE.features, labels, **density)
    asked, truth = slide.datasets.synthetic(TEST_ROWS, SHAPE.features, labels, **density, split="test")
    memory = budget_for(share, labels, hidden)
    before = resident()
    net = network(labels, hidden, threads, memory)
    begin = time.perf_counter()
    net.fit(X, Y, epochs=2)
    seconds = time.perf_counter() - begin
    last = net.states[-1]
    traffic = vars(last.store.traffic) if isinstance(last, StoredLayer) else None
    begin = time.perf_counter()
    ids, _ = net.predict_topk(asked, 1)
    return {
        "share": share,
        "labels": labels,
        "rows": rows,
        "hidden": hidden,
        "budget": memory,
        "output_bytes": last.n_bytes,
        "bytes_before": before,
        "fit_seconds": seconds,
        "rebuild_share": net.rebuild_share,
        "traffic": traffic,
        "predict_seconds": time.perf_counter() - begin,
        "p@1": slide.metrics.precision_at_k(truth, ids, k=1),
    }


def measured(share: float, args: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own, with its peak of memory; or why there is none."""
    numbers = [str(n) for n in (share, args.labels, args.rows, args.hidden, args.threads)]
    cost = measure.run([sys.executable, "-m", "benchmarks.studies.store", POINT, *numbers])
    if cost.returncode:
        return {"share": share, "status": "failed", "reason": cost.last_words()}
    found: dict[str, Any] = json.loads(cost.output.splitlines()[-1])
    return {**found, "status": "ok", "peak_rss_bytes": cost.peak_rss_bytes}


def rate(row: dict[str, Any]) -> float:
    """Samples a second, what tables and leaves take left out."""
    return float(2 * row["rows"] / (row["fit_seconds"] * (1 - row["rebuild_share"])))


def cells(row: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    if row["status"] != "ok":
        return tables.padded([f"{row['share']:g}", "failed"], len(HEADERS))
    return [
        f"{row['share']:g}",
        tables.size(row["budget"]) if row["budget"] else "",
        tables.size(row["peak_rss_bytes"]),
        tables.size(row["peak_rss_bytes"] - row["bytes_before"]),
        f"{rate(row):,.0f}",
        f"{rate(row) / rate(whole):.2f}" if whole["status"] == "ok" else "",
        f"{row['traffic']['read'] / (2 * row['rows']):.2f}" if row["traffic"] else "",
        tables.percent(row["p@1"]),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == [POINT]:
        share, *numbers = argv[1:]
        labels, rows, hidden, threads = map(int, numbers)
        print(json.dumps(point(float(share), labels, rows, hidden, threads)))
        return 0
    p = argparse.ArgumentParser(prog="python -m benchmarks.studies.store", description=__doc__)
    p.add_argument("--labels", type=int, default=SHAPE.labels, metavar="N")
    p.add_argument("--rows", type=int, default=ROWS, metavar="N")
    p.add_argument("--hidden", type=int, default=128, metavar="N")
    commands.add_run_options(p, "store")
    args = p.parse_args(argv)
    env, found = environment.describe(args.threads), []
    for share in SHARES:
        commands.say(f"{share:g} of {args.labels:,} output rows in memory, {args.rows:,} rows ...")
        found.append(measured(share, args))
        path = environment.save("store", {"rows": found}, env, args.out)
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [cells(row, found[0]) for row in found]))
    for row in found:
        if row["status"] != "ok":
            print(f"{row['share']:g}: {row['reason']}")
    commands.say(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
