"""`python -m benchmarks.studies.dense_rows`: what dense rows get by default, beside what else could be asked for.

The rows of a sparse set become dense: by their largest singular vectors, or by random directions (`--random`). Of its
labels the most frequent stay. Training rows are held out to be judged on. `--logistic C` puts scikit-learn's
LogisticRegression beside it, on the same columns at unit variance, one row for each label of a row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

import slide
from benchmarks.harness import commands, environment, tables
from benchmarks.harness.data import MissingData, resolve
from benchmarks.studies.decisions import frequent

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "wide=False": {"wide": False},
    "wide=Wide()": {"wide": slide.Wide()},
    "activation='tanh'": {"activation": "tanh"},
    "activation='tanh', lr=0.2": {"activation": "tanh", "lr": 0.2},
    "the same, n_active=500, epochs=10": {"activation": "tanh", "lr": 0.2, "n_active": 500, "epochs": 10},
    "hidden=(), lr=0.5, epochs=10": {"hidden": (), "lr": 0.5, "epochs": 10},
}
HEADERS = ("", "train s", "processor s", "P@1", "P@5")


def directions(X: sp.csr_array, n: int, at_random: bool) -> Any:
    """float32 [n_features, n]"""
    rng = np.random.default_rng(0)
    if at_random:
        return rng.standard_normal((X.shape[1], n), np.float32)
    return svds(X, n, random_state=rng)[2].T.astype(np.float32)


def first_labels(Y: sp.csr_array) -> sp.csr_array:
    """The first label of each row; each has one."""
    return sp.csr_array((np.ones(Y.shape[0], np.float32), Y.indices[Y.indptr[:-1]], np.arange(Y.shape[0] + 1)), Y.shape)


def measured(Y: Any, ids: Any, seconds: float, busy: float) -> dict[str, float]:
    p = slide.metrics.precision_at_k(Y, ids, k=[1, 5])
    return {"seconds": seconds, "processor": busy, "p@1": float(p[0]), "p@5": float(p[1])}


def ours(parts: tuple[Any, Any, Any, Any], options: dict[str, Any], threads: int) -> dict[str, float]:
    """One training with these options."""
    X, Y, X_out, Y_out = parts
    before = time.process_time()
    clf = slide.SlideClassifier(**options, n_threads=threads).fit(X, Y)
    busy = time.process_time() - before
    return measured(Y_out, clf.predict_topk(X_out, k=5)[0], clf.fit_seconds_, busy)


def logistic(parts: tuple[Any, Any, Any, Any], C: float) -> dict[str, float]:
    """scikit-learn's."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, Y, X_out, Y_out = parts
    counts = np.diff(Y.indptr)
    row = np.repeat(np.arange(len(counts)), counts)
    begin, before = time.perf_counter(), time.process_time()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    model.fit(X[row], Y.indices, logisticregression__sample_weight=1 / counts[row])
    seconds, busy = time.perf_counter() - begin, time.process_time() - before
    ids = model.classes_[np.argsort(-model.decision_function(X_out), axis=1)[:, :5]]
    return measured(Y_out, ids.astype(np.int32), seconds, busy)


def cells(name: str, found: dict[str, float]) -> list[str]:
    figures = [f"{100 * found[key]:.2f}" for key in ("p@1", "p@5")]
    return [name, tables.seconds(found["seconds"]), tables.seconds(found["processor"]), *figures]


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.data_parser("studies.dense_rows", __doc__)
    p.add_argument("--labels", type=int, default=500, metavar="N", help="the most frequent labels only")
    p.add_argument("--columns", type=int, default=256, metavar="N", help="of the dense rows (default: %(default)s)")
    p.add_argument("--one-class", action="store_true", help="the first label of each row")
    p.add_argument("--random", action="store_true", help="random directions instead of singular vectors")
    p.add_argument("--only", default="", help="only options with this in them")
    p.add_argument("--logistic", type=float, action="append", default=[], metavar="C", help="slow: minutes and more")
    commands.add_run_options(p, "dense_rows")
    args = p.parse_args(argv)
    try:
        problem = resolve(args.data)
    except MissingData as error:
        print(error, file=sys.stderr)
        return 2
    env = environment.describe(args.threads, range(1))
    parts = problem.held_out()
    labels = np.argsort(-np.bincount(parts[1].indices, minlength=parts[1].shape[1]), kind="stable")[: args.labels]
    (X, Y), (X_out, Y_out) = frequent(*parts[:2], labels), frequent(*parts[2:], labels)
    if args.one_class:
        Y, Y_out = first_labels(Y), first_labels(Y_out)
    onto = directions(X, args.columns, args.random)
    dense = X @ onto, Y, X_out @ onto, Y_out
    found = {name: ours(dense, options, args.threads) for name, options in OPTIONS.items() if args.only in name}
    found |= {f"LogisticRegression(C={C:g})": logistic(dense, C) for C in args.logistic}
    facts = {"data": problem.name, "labels": args.labels, "columns": args.columns, "random": args.random, "rows": found}
    path = environment.save("dense_rows", facts, env, args.out)
    print(
        f"{problem.name}: {Y_out.shape[0]:,} held-out training rows of {args.columns} columns, {args.labels:,} labels"
    )
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [cells(name, figures) for name, figures in found.items()]))
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
