"""`python -m benchmarks.studies.decisions`: are probabilities right as often as they say, and what do thresholds bring.

Training rows are held out to be judged on; probabilities and thresholds are learned on others that fit keeps back by
itself. `--labels N` keeps the N most frequent labels and the rows that have one, `--one-class` the first label of each
row: of data with a million labels they make a set of tags or of classes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

import slide
from benchmarks.harness import commands, environment, tables
from benchmarks.harness.data import MissingData, resolve
from slide.report.decisions import decisions, sure_of

MEASURED = ("P@1", "ECE", "by chance", "over 50 %: said", "true")
HEADERS = ("seed", *MEASURED, "micro F1: before", "f1", "macro F1: before", "macro-f1")


def frequent(X: Any, Y: Any, columns: Any) -> tuple[Any, Any]:
    """Some of the labels, and the rows that have one of them."""
    Y = sp.csr_array(Y[:, columns])
    rows = np.diff(Y.indptr) > 0
    return X[rows], Y[rows]


def ece_by_chance(bins: Sequence[Any]) -> float:
    """What the ECE of exact probabilities would be on so few rows: in a bin, the mean distance of a share from its own.

    That of a normal variable of the binomial's variance, said (1 - said) / n.
    """
    n = sum(b.n for b in bins)
    return sum(b.n * float(np.sqrt(2 / np.pi * b.said * (1 - b.said) / b.n)) for b in bins) / max(n, 1)


def measure(parts: tuple[Any, Any, Any, Any], seed: int, threads: int, one_class: bool) -> dict[str, Any]:
    """One training, and with several labels a row one that all rows go into: its labels of positive scores."""
    X, Y, X_out, Y_out = parts
    options = {"n_threads": threads, "random_state": seed}
    y = Y.indices[Y.indptr[:-1]] if one_class else Y
    clf = slide.SlideClassifier(**options, threshold=None if one_class else "macro-f1").fit(X, y)
    ids, p = clf.predict_topk(X_out, k=5, proba=True)
    if one_class:
        ids = clf.classes_[ids].astype(np.int64)
        first = Y_out.indices[Y_out.indptr[:-1]]
        Y_out = sp.csr_array((np.ones(len(first)), (np.arange(len(first)), first)), shape=Y_out.shape)
    _, said, true = sure_of(Y_out, ids, p)
    found = {
        "p@1": float(slide.metrics.precision_at_k(Y_out, ids, k=1)),
        "ece": slide.metrics.calibration_error(Y_out, ids, p),
        "by chance": ece_by_chance(slide.metrics.reliability(Y_out, ids, p)),
        "said": said,
        "true": true,
    }
    if one_class:
        return found
    alike = decisions(Y_out, clf.predict(X_out))["macro F1"]
    plain = slide.SlideClassifier(**options).fit(X, Y, calibrate=False)
    before = decisions(Y_out, plain.predict(X_out))
    together = slide.SlideClassifier(**options, threshold="f1").fit(X, Y)
    micro = decisions(Y_out, together.predict(X_out))["micro F1"]
    found |= {"before": before["micro F1"], "f1": micro, "macro before": before["macro F1"], "macro-f1": alike}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.data_parser("studies.decisions", __doc__)
    p.add_argument("--seeds", type=int, default=1, help="trainings")
    p.add_argument("--labels", type=int, metavar="N", help="the most frequent labels only")
    p.add_argument("--one-class", action="store_true", help="the first label of each row")
    commands.add_run_options(p, "decisions")
    args = p.parse_args(argv)
    try:
        problem = resolve(args.data)
    except MissingData as error:
        print(error, file=sys.stderr)
        return 2
    env = environment.describe(args.threads, range(args.seeds))
    parts = problem.held_out()
    if args.labels:
        columns = np.sort(np.argsort(-np.bincount(parts[1].indices, minlength=parts[1].shape[1]))[: args.labels])
        parts = (*frequent(*parts[:2], columns), *frequent(*parts[2:], columns))
    rows = [measure(parts, seed, args.threads, args.one_class) for seed in range(args.seeds)]
    path = environment.save("decisions", {"data": problem.name, "rows": rows}, env, args.out)
    print(f"{problem.name}: {parts[2].shape[0]:,} held-out training rows, in %")
    print(environment.summary(env), end="\n\n")
    shown = [[str(seed), *(f"{100 * value:.1f}" for value in row.values())] for seed, row in enumerate(rows)]
    print(tables.markdown(HEADERS[: len(shown[0])], shown))
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
