"""How much a result moves: P@1 over seeds with one thread, and with several, whose races add to it.

    python -m benchmarks.studies.seeds --seeds 5 --threads 1 2 4 8

Rows of the table: threads, P@1 as mean, standard deviation, least and most over the seeds. With one thread the spread
is the seed's alone; what several threads add to it is HOGWILD's. More threads than cores are worth a row: a thread that
is put to sleep in the middle of an update comes back with older numbers than any other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

import slide
from benchmarks.harness import commands, environment

DATA = "wordnet-hypernym"


def precision(seed: int, n_threads: int, epochs: int) -> float:
    """P@1 in % on the test part of wordnet-hypernym after a fit with the defaults."""
    X, Y, X_test, Y_test = slide.datasets.load(DATA)
    clf = slide.SlideClassifier(epochs=epochs, n_threads=n_threads, random_state=seed).fit(X, Y)
    return 100 * clf.score(X_test, Y_test)


def summary(values: list[float]) -> dict[str, float]:
    """Mean, sample standard deviation, least and most."""
    a = np.array(values)
    return {"mean": a.mean(), "sd": a.std(ddof=1) if len(a) > 1 else 0.0, "min": a.min(), "max": a.max()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.seeds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N")
    parser.add_argument("--epochs", type=int, default=5, metavar="N")
    parser.add_argument("--out", metavar="FILE", help="result file (default: results/seeds-TIME.json)")
    args = parser.parse_args(argv)
    env = environment.describe(max(args.threads), range(args.seeds))
    found: dict[int, list[float]] = {n: [] for n in args.threads}
    for seed in range(args.seeds):  # seeds outside: an interrupted run has all numbers of threads
        for n_threads in args.threads:
            found[n_threads].append(precision(seed, n_threads, args.epochs))
            print(f"seed {seed}, {n_threads} threads: P@1 {found[n_threads][-1]:.2f}", flush=True)
        path = environment.save("seeds", {"data": DATA, "epochs": args.epochs, "p@1": found}, env, args.out)
    print(f"\n{'threads':>8}{'mean':>8}{'sd':>8}{'min':>8}{'max':>8}")
    for n_threads, values in found.items():
        s = summary(values)
        print(f"{n_threads:>8}{s['mean']:>8.2f}{s['sd']:>8.2f}{s['min']:>8.2f}{s['max']:>8.2f}")
    commands.say(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
