"""`python -m benchmarks.studies.retrieval`: our tables beside hnswlib and faiss over the same weights.

A network is trained on nine tenths of the training rows; rows of the last tenth ask for the ten labels with the largest
logits. Recall of those against labels compared and against queries a second, time to build, time to put 1 % of the rows
in again, and memory beyond the weights. The libraries run in processes and an environment of their own
(`ann_child.py`). Test rows are not looked at.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import slide
from benchmarks.harness import commands, environment, measure, tables, venvs
from benchmarks.harness.data import MissingData
from benchmarks.harness.shapes import SHAPES, find
from benchmarks.studies.ann_child import PINS, TITLES, TOP, recall, timed

SHARES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)  # of the labels, compared with a query
QUERIES = 2000
FAMILIES = {"slide, query cells": slide.QueryCells(), "slide, 50 SimHash tables": slide.SimHash()}
#: With --transforms: tables whose angles or distances follow the inner product (docs/families.md).
TRANSFORMS = {
    "SimHash": slide.SimHash(K=6),
    "SimHash, Simple-LSH": slide.SimHash(K=6, transform="norm-augmented"),
    "SimHash, Sign-ALSH": slide.SimHash(K=6, transform="sign-alsh"),
    "L2-ALSH": slide.EuclideanHash(),
    "L2-ALSH, K = 6, width 3": slide.EuclideanHash(K=6, width=3),
    "SimHash, not centred": slide.SimHash(K=6, centred=False),
    "SimHash, Simple-LSH, not centred": slide.SimHash(K=6, transform="norm-augmented", centred=False),
    "SimHash, Sign-ALSH, not centred": slide.SimHash(K=6, transform="sign-alsh", centred=False),
    "L2-ALSH, not centred": slide.EuclideanHash(centred=False),
    "Euclidean distance, width 20": slide.EuclideanHash(transform="none", width=20),
}
MEASURED = ("index", "setting", "labels compared %", "recall@10", "queries/s")
HEADERS = (*MEASURED, "guides", "build s", "update 1% s", "extra memory")
TIMEOUT = 3600.0
Say = Callable[[str], None]
Row = dict[str, Any]


# -- ours --------------------------------------------------------------------------------------------------------------


def with_tables(net: slide.Network, lsh: slide.lsh.HashFamily) -> slide.Network:
    """A network with the same parameters, untrained tables of another family and no sparse part."""
    last = dataclasses.replace(net.layers[-1], lsh=lsh)
    arrays = {f"layer{i}.rows": state.rows for i, state in enumerate(net.states)}
    options = {"optimizer": net.optimizer, "n_threads": net.n_threads, "seed": net.seed, "backend": net.backend}
    return slide.Network([*net.layers[:-1], last], arrays=arrays, **options)


def ours(net: slide.Network, learn_from: Any, rows: Any, exact: Any) -> Row:
    """Build, search at each size, refill: nothing less than all tables can be brought up to date."""
    examples = slide.engine.protocol.Examples.of(learn_from)
    begin = time.perf_counter()
    net.rebuild_tables(examples, final=True)
    build_seconds = time.perf_counter() - begin
    lsh = net.states[-1].lsh
    assert lsh is not None
    points = []
    for n in sorted({max(TOP, round(share * net.n_labels)) for share in SHARES}):
        found, seconds = timed(lambda n=n: net.predict_topk(rows, TOP, n_candidates=n)[0])
        compared = float((net.retrieve(rows, n) >= 0).sum(axis=1).mean()) / net.n_labels
        point = {"setting": f"{n:,} candidates", "candidates": compared, "recall": recall(exact, found)}
        points.append({**point, "queries_per_second": rows.shape[0] / seconds})
    _, update_seconds = timed(net.rebuild_tables)
    return {
        "status": "ok",
        "build_seconds": build_seconds,
        "update_seconds": update_seconds,
        "extra_bytes": lsh.buckets.nbytes + lsh.directions.nbytes + lsh.positions.nbytes,
        "guides": guides(lsh),
        "points": points,
    }


def guides(lsh: Any) -> int:
    """Products with a query that say where to look: centres of cells, or the directions of a hash."""
    cells = lsh.kind == slide.QueryCells.kind
    return 2**lsh.K if cells else lsh.K * lsh.L


def everything(net: slide.Network, rows: Any) -> tuple[Any, Row]:
    """The exact ids [n, 10], and what finding them by all labels costs."""
    exact, seconds = timed(lambda: net.predict_topk(rows, TOP)[0])
    point = {"setting": "all labels", "candidates": 1.0, "recall": 1.0, "queries_per_second": rows.shape[0] / seconds}
    row = {
        "status": "ok",
        "build_seconds": None,
        "update_seconds": None,
        "extra_bytes": 0,
        "guides": 0,
        "points": [point],
    }
    return exact, {"index": "slide, exact", **row}


# -- theirs ------------------------------------------------------------------------------------------------------------


def theirs(net: slide.Network, rows: Any, exact: Any, threads: int, only: Sequence[str], say: Say) -> list[Row]:
    """A row for each library's index; one that cannot be installed or dies says why."""
    if not only:
        return []
    named = [{"index": TITLES[name]} for name in only]
    try:
        python = venvs.ensure("ann", PINS, say=say)
    except (venvs.InstallError, OSError) as error:
        return [{**row, "status": "not installed", "reason": str(error)} for row in named]
    with tempfile.TemporaryDirectory(prefix="slide-ann-") as folder:
        problem = Path(folder) / "problem.npz"
        queries = net.hidden(rows)
        ones = np.ones((len(queries), 1), np.float32)
        vectors = np.concatenate([net.weights(-1), net.biases(-1)[:, None]], axis=1, dtype=np.float32)
        np.savez(problem, vectors=vectors, queries=np.concatenate([queries, ones], axis=1), exact=exact)
        found = []
        for name, row in zip(only, named, strict=True):
            say(f"{row['index']} ...")
            found.append(row | _child(python, name, problem, threads))
        return found


def _child(python: Path, name: str, problem: Path, threads: int) -> Row:
    out = problem.parent / f"{name}.json"
    command = [str(python), "-m", "benchmarks.studies.ann_child", name, str(problem), str(out), str(threads)]
    cost = measure.run(command, cwd=environment.ROOT, env=venvs.child_environment(threads), timeout=TIMEOUT)
    if cost.returncode != 0 or not out.exists():
        return {"status": "failed", "reason": cost.last_words()}
    row: Row = json.loads(out.read_text())
    return row


# -- the table ---------------------------------------------------------------------------------------------------------


def cells(row: Row) -> list[list[str]]:
    """A line for each point; what belongs to the index as a whole stands in the first."""
    if row["status"] != "ok":
        return [tables.padded([row["index"], row["status"]], len(HEADERS))]
    once = [
        f"{row['guides']:,}",
        tables.seconds(row["build_seconds"]),
        tables.seconds(row["update_seconds"]),
        tables.size(row["extra_bytes"]),
    ]
    lines = []
    for i, point in enumerate(row["points"]):
        share = tables.NONE if point["candidates"] is None else f"{100 * point['candidates']:.2f}"
        figures = [share, f"{point['recall']:.3f}", tables.count(point["queries_per_second"])]
        lines.append(
            [row["index"] if i == 0 else "", point["setting"], *figures, *(once if i == 0 else [""] * len(once))]
        )
    return lines


def lines_of(result: Row) -> list[list[str]]:
    """The whole table."""
    return [line for row in result["rows"] for line in cells(row)]


NOTE = (
    "Our queries are sparse rows and pass the input layer within the time; the libraries get finished vectors. "
    "Our update fills all tables anew; hnswlib and faiss IVF put 1 % of the rows in again; faiss HNSW can only be "
    "built again. hnswlib does not say how many labels it compares. Memory is what comes on top of the weights."
)


# -- the command -------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    p = commands.data_parser("studies.retrieval", __doc__, f"\nSynthetic shapes: {', '.join(SHAPES)}")
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--peers", nargs="*", choices=sorted(TITLES), default=list(TITLES), help="which libraries")
    p.add_argument("--transforms", action="store_true", help="also tables that were made for inner products")
    commands.add_run_options(p, "retrieval")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        problem = find(args.data)
    except MissingData as error:
        print(error, file=sys.stderr)
        return 2

    say = commands.say
    env = environment.describe(args.threads)
    X, Y, X_out, _ = problem.held_out()
    say(f"{problem.name}: training on {X.shape[0]:,} rows ...")
    clf = slide.SlideClassifier(wide=False, epochs=args.epochs, n_threads=args.threads).fit(X, Y)
    rows, learn_from = clf._rows(X_out[:QUERIES]), clf._rows(X)
    exact, row = everything(clf.network_, rows)
    found = [row]
    for name, lsh in (FAMILIES | (TRANSFORMS if args.transforms else {})).items():
        say(f"{name} ...")
        net = with_tables(clf.network_, lsh)
        some = np.random.default_rng(0).permutation(learn_from.shape[0])[: net.n_queries(final=True)]
        found.append({"index": name, **ours(net, learn_from[np.sort(some)], rows, exact)})
    found += theirs(clf.network_, rows, exact, args.threads, args.peers, say)
    shape = {"labels": Y.shape[1], "dimension": clf.network_.states[-1].fan_in + 1, "queries": rows.shape[0]}
    result = {"data": problem.name, **shape, "epochs": args.epochs, "rows": found, "note": NOTE}
    path = environment.save("retrieval", result, env, args.out)
    print(
        f"{problem.name}: {shape['labels']:,} labels in {shape['dimension']} dimensions, {shape['queries']:,} queries"
    )
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, lines_of(result)))
    for bad in (row for row in found if row["status"] != "ok"):
        print(f"{bad['index']}: {bad['reason']}")
    print(f"\n{NOTE}")
    say(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
