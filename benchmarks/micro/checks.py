"""What the checks of matrices cost: X and Y of wordnet-hypernym, and one row, against those of another commit.

    python -m benchmarks.micro.checks --against 82154d6^

Both take turns (A B A B) in one process on one thread; medians of processor time, with the quartiles.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import types
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

import slide
from slide import checks

LAPS = 300
CALLS = 20  # of one row, in a lap


def checks_of(commit: str) -> types.ModuleType:
    """slide/checks.py of a commit, with the rest of the package as it is."""
    source = subprocess.run(["git", "show", f"{commit}:slide/checks.py"], capture_output=True, text=True, check=True)
    module = types.ModuleType("checks_before")
    sys.modules[module.__name__] = module  # where dataclasses look for it
    exec(source.stdout, module.__dict__)
    return module


def medians(*calls: Callable[[], object], laps: int = LAPS, per_lap: int = 1) -> list[np.ndarray]:
    """Quartiles of the seconds of each call, taken in turns."""
    seconds = np.empty((laps + 5, len(calls)))
    for lap in range(len(seconds)):
        for i, call in enumerate(calls):
            begin = time.process_time_ns()
            for _ in range(per_lap):
                call()
            seconds[lap, i] = (time.process_time_ns() - begin) / 1e9 / per_lap
    return list(np.percentile(seconds[5:], [50, 25, 75], axis=0).T)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="COMMIT", required=True)
    before = checks_of(parser.parse_args().against)
    X, Y = slide.datasets.load("wordnet-hypernym")[:2]
    row, matrix = X[[0]], sp.csr_matrix(X[[0]])
    cases = {
        "X and Y, ms": (lambda m: (m.check_X(X), m.check_Y(Y)), 1e3, 1),
        "a row, csr_array, us": (lambda m: m.check_X(row, X.shape[1]), 1e6, CALLS),
        "a row, csr_matrix, us": (lambda m: m.check_X(matrix, X.shape[1]), 1e6, CALLS),
    }
    for name, (call, scale, per_lap) in cases.items():
        found = medians(lambda: call(before), lambda: call(checks), per_lap=per_lap)  # noqa: B023
        told = ["{:.2f} ({:.2f} to {:.2f})".format(*(quartiles * scale)) for quartiles in found]
        print(f"{name:22}  before {told[0]:24}  now {told[1]}")


if __name__ == "__main__":
    main()
