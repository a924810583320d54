"""`python -m benchmarks.studies.ladder`: from plain SLIDE to the defaults, one change a row, on held-out training rows.

For deciding, never for reporting: the test rows are not looked at. Each rung is trained with every seed, always on the
same rows.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import slide
from benchmarks.harness import commands, environment, tables
from benchmarks.harness.data import HELD_OUT, MissingData, resolve

PLAIN = {"wide": False, "activation": "relu"}
LINEAR_ALONE = {
    "hidden": (8,),
    "n_active": 16,
    "n_random": 16,
    "lsh": None,
}  # the network is there, and counts for nothing

#: What changes, and what it is then: each rung stands for itself, those under "aside" leave the defaults in one thing.
RUNGS: dict[str, dict[str, Any]] = {
    "network alone, ReLU, active labels drawn at random": {**PLAIN, "lsh": None, "batch_size": 1},
    "+ hash tables": {**PLAIN, "lsh": slide.SimHash(centred=False)},
    "+ hashed relative to the means": {**PLAIN, "lsh": slide.SimHash()},
    "+ query cells instead": {**PLAIN, "batch_size": 1},
    "+ batches that share an active set": PLAIN,
    "+ no activation": {"wide": False},
    "linear part alone": {**LINEAR_ALONE, "wide": slide.Wide(deep_share=0)},
    "both, added: the defaults": {},
    "aside: active labels drawn at random": {"lsh": None},
    "aside: 50 SimHash tables": {"lsh": slide.SimHash()},
    "aside: one sample at a time": {"batch_size": 1},
    "aside: 1,000 active labels": {"n_active": 1000},
    "aside: every pair that meets": {"wide": slide.Wide(row_pairs=0)},
    "aside: no pruning": {"wide": slide.Wide(prune=0)},
    "aside: linear part twice as fast": {"wide": slide.Wide(lr=0.3, bias_lr=0.03)},
    "aside: hidden width 256": {"hidden": (256,)},
    "aside: 10 epochs": {"epochs": 10},
}
HEADERS = ("", "train s", "P@1", "P@3", "P@5", "spread")


def measure(parts: tuple[Any, Any, Any, Any], options: dict[str, Any], seed: int, threads: int) -> dict[str, float]:
    """One training: seconds and precision on the held-out rows."""
    X, Y, X_out, Y_out = parts
    clf = slide.SlideClassifier(**options, n_threads=threads, random_state=seed).fit(X, Y)
    p = slide.metrics.precision_at_k(Y_out, clf.predict_topk(X_out, k=5)[0], k=[1, 3, 5])
    return {"seconds": clf.fit_seconds_, "p@1": float(p[0]), "p@3": float(p[1]), "p@5": float(p[2])}


def cells(rung: dict[str, Any]) -> list[str]:
    runs = rung["runs"]
    mean = {key: statistics.fmean(run[key] for run in runs) for key in runs[0]}
    ones = [run["p@1"] for run in runs]
    figures = [f"{100 * mean[key]:.2f}" for key in ("p@1", "p@3", "p@5")]
    return [rung["name"], tables.seconds(mean["seconds"]), *figures, f"{100 * (max(ones) - min(ones)):.2f}"]


def parser() -> argparse.ArgumentParser:
    p = commands.data_parser("studies.ladder", __doc__)
    p.add_argument("--seeds", type=int, default=3, help="trainings of each rung")
    p.add_argument("--only", help="only rungs with this in their name")
    commands.add_run_options(p, "ladder")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        problem = resolve(args.data)
    except MissingData as error:
        print(error, file=sys.stderr)
        return 2
    env = environment.describe(args.threads, range(args.seeds))
    parts = problem.held_out()
    rungs = []
    for name, options in RUNGS.items():
        if args.only and args.only not in name:
            continue
        runs = [measure(parts, options, seed, args.threads) for seed in range(args.seeds)]
        rungs.append({"name": name, "options": {k: repr(v) for k, v in options.items()}, "runs": runs})
        print("  ".join(cells(rungs[-1])), file=sys.stderr, flush=True)
    if not rungs:
        print(f"--only: found {args.only!r}, wanted a part of one of {list(RUNGS)}", file=sys.stderr)
        return 2
    path = environment.save(
        "ladder", {"data": problem.name, "held_out_rows": parts[2].shape[0], "rungs": rungs}, env, args.out
    )
    print(f"{problem.name}: one training row in {HELD_OUT} held out, means over {args.seeds} seeds, P@k in %")
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [cells(rung) for rung in rungs]))
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
