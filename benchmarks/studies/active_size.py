"""`python -m benchmarks.studies.active_size`: P@1 against the size of the active set, by how its neurons are chosen.

The network alone (no sparse part) is trained with active sets of each size and judged on training rows held out: what
it learns then depends on which neurons it is shown. Prediction is exact, so that only training is compared.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import slide
from benchmarks.harness import commands, environment, tables
from benchmarks.harness.data import MissingData, resolve
from benchmarks.studies import ladder

SIZES = (50, 100, 250, 500, 1000)
ROW_SCALARS = 6  # one in so many active neurons is drawn at random, as in the defaults

Options = dict[str, Any]


def random(size: int) -> Options:
    return {"lsh": None, "n_active": size, "n_random": size}


def listed(size: int) -> Options:
    return {"n_active": size, "n_random": 0}


def listed_and_tail(size: int) -> Options:
    return {"n_active": size, "n_random": max(size // ROW_SCALARS, 1)}


def hashed_and_tail(size: int) -> Options:
    return {**listed_and_tail(size), "lsh": slide.SimHash()}


WAYS = {
    "random": random,
    "slide: query cells and a uniform tail": listed_and_tail,
    "query cells alone": listed,
    "SimHash tables and a uniform tail": hashed_and_tail,
}


def measure(parts: tuple[Any, Any, Any, Any], way: str, size: int, seed: int, threads: int) -> dict[str, Any]:
    """One training with active sets of that size."""
    found = ladder.measure(parts, {"wide": False, **WAYS[way](size)}, seed, threads)
    return {"way": way, "n_active": size, "seed": seed, **found}


def measure_full(parts: tuple[Any, Any, Any, Any], seed: int, threads: int) -> dict[str, Any]:
    """One training with every label active."""
    n = parts[1].shape[1]
    found = ladder.measure(parts, {"wide": False, "lsh": None, "n_active": n, "n_random": 0}, seed, threads)
    return {"way": "all labels", "n_active": n, "seed": seed, **found}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """P@1 in %, means over seeds: a line a way, a column a size, with the seconds of a training in brackets."""
    ways, sizes = ([*dict.fromkeys(row[key] for row in rows)] for key in ("way", "n_active"))

    def cell(way: str, size: int) -> str:
        runs = [row for row in rows if (row["way"], row["n_active"]) == (way, size)]
        if not runs:
            return ""
        p, seconds = (sum(run[key] for run in runs) / len(runs) for key in ("p@1", "seconds"))
        return f"{100 * p:.1f} ({tables.seconds(seconds)} s)"

    return tables.markdown(
        ("", *(f"{size:,}" for size in sizes)), [[way, *(cell(way, s) for s in sizes)] for way in ways]
    )


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.data_parser("studies.active_size", __doc__)
    p.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="active neurons (default: %(default)s)")
    p.add_argument("--seeds", type=int, default=1, help="trainings of each")
    commands.add_run_options(p, "active_size")
    args = p.parse_args(argv)
    if min(args.sizes) < 1:
        print(f"--sizes: found {min(args.sizes)}, wanted 1 or more", file=sys.stderr)
        return 2
    try:
        problem = resolve(args.data)
    except MissingData as error:
        print(error, file=sys.stderr)
        return 2
    env = environment.describe(args.threads, range(args.seeds))
    parts = problem.held_out()
    rows = []
    for seed in range(args.seeds):
        for way in WAYS:
            for size in args.sizes:
                rows.append(measure(parts, way, size, seed, args.threads))
                print(f"{way}, {size}: {100 * rows[-1]['p@1']:.2f}", file=sys.stderr, flush=True)
        rows.append(measure_full(parts, seed, args.threads))
    result = {"data": problem.name, "held_out_rows": parts[2].shape[0], "rows": rows}
    path = environment.save("active_size", result, env, args.out)
    print(f"{problem.name}: P@1 in % on held-out training rows, (seconds of training), by active neurons a sample")
    print(environment.summary(env), end="\n\n")
    print(table(rows))
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
