"""Adapter for scikit-learn's OneVsRestClassifier over LinearSVC, where that is feasible at all.

Its cost grows with labels times non-zeros and its model is dense: labels times features in float64. Past a limit it
refuses with the figures, rather than run for days.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers.child import Job, Peer, Refused, main

LIMIT_TOUCHES = 2e9  # about two minutes of training on two cores
LIMIT_BYTES = 4e9
PINS = ("scikit-learn==1.7.2", "numpy>=1.26", "scipy>=1.11")
PEERS = [Peer("one-vs-rest", "scikit-learn one-vs-rest", __name__, PINS, note="LinearSVC defaults")]


def run(job: Job) -> None:
    import sklearn
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    X, Y = job.matrix("X_train"), job.matrix("Y_train")
    refuse_if_hopeless(X, Y)
    model = OneVsRestClassifier(LinearSVC(random_state=job.seed), n_jobs=job.threads)
    with job.stage("train"):
        model.fit(X, Y)
    X_test = job.matrix("X_test")
    with job.stage("predict"):
        ids = best_first(model, X_test)
    size = sum(getattr(e, "coef_", X[:0].data).nbytes for e in model.estimators_)
    job.finish(ids, int(size), sklearn.__version__)


def refuse_if_hopeless(X: Any, Y: Any) -> None:
    """Raise Refused with the figures when training would take hours or the model would not fit."""
    touches, model = Y.shape[1] * X.nnz, Y.shape[1] * X.shape[1] * 8
    if touches > LIMIT_TOUCHES or model > LIMIT_BYTES:
        raise Refused(
            f"not feasible: {Y.shape[1]:,} labels x {X.nnz:,} non-zeros = {touches:.1e} a pass"
            f" (limit {LIMIT_TOUCHES:.0e}), dense model {model / 1e9:.1f} GB (limit {LIMIT_BYTES / 1e9:.0f})"
        )


def best_first(model: Any, X: Any, rows: int = 512) -> Any:
    """Five best labels of each row by decision value, a block of rows at a time."""
    import numpy as np

    top = []
    for start in range(0, X.shape[0], rows):
        scores = np.asarray(model.decision_function(X[start : start + rows]))
        top.append(np.argsort(-scores, axis=1, kind="stable")[:, :5])
    return np.concatenate(top)


if __name__ == "__main__":
    main(run)
