"""Fits by several workers in threads, of few rows: what tests of slide.distributed share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slide
from slide.distributed.training.loop import SharedTraining

N = 1500  # rows to train on; the others are scored
HOW = ("checkpoint", "callback", "calibrate", "eval_set", "early_stopping")  # options of fit
X, Y = slide.datasets.synthetic(2000, 300, 200, nnz=10, labels_per_row=2)


def fitted(cluster: Any, **options: Any) -> slide.SlideClassifier:
    how = {name: options.pop(name) for name in HOW if name in options}
    clf = slide.SlideClassifier(**{"hidden": 16, "epochs": 2, "random_state": 1, "n_threads": 1, **options})
    return clf.fit(X[:N], Y[:N], cluster=cluster, **how)


def p_at_1(clf: slide.SlideClassifier) -> float:
    return clf.evaluate(X[N:], Y[N:])["p@1"]


def until_heard(member: Any) -> None:
    """Waits until the first worker has heard that somebody would come in, or is to go: a small fit may else be over."""
    until = time.monotonic() + 60
    while not (member._link.pending or member._link.leaving):
        assert time.monotonic() < until
        time.sleep(0.001)


def dies(rank: int) -> Callable[[SharedTraining], None]:
    """Ends the thread of the worker of that rank, once."""
    done: list[int] = []

    def die(training: SharedTraining) -> None:
        if training.group.rank == rank and not done:
            done.append(rank)
            raise SystemExit

    return die
