"""Small fits that several test files stop, resume and compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from engine_strategies import planted_data

import slide

D, N, ROWS = 300, 200, 700
HELD = planted_data(200, D, N, seed=5)


class Stopped(Exception):
    """In the place of a kill."""


def classifier(**options: Any) -> slide.SlideClassifier:
    base = {"hidden": (16,), "epochs": 3, "n_active": 30, "n_random": 8, "n_threads": 1, "random_state": 3}
    return slide.SlideClassifier(**(base | {"rebuild": slide.Rebuild(every=90, growth=0.1)} | options))


def stop_at(samples: int) -> Any:
    def stop(progress: Any) -> None:
        if progress.done >= samples:
            raise Stopped

    return stop


def assert_same(a: slide.SlideClassifier, b: slide.SlideClassifier) -> None:
    ours, theirs = (clf.network_.snapshot(tables=True).arrays for clf in (a, b))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert a.network_.layers == b.network_.layers
    assert a.network_.step == b.network_.step
    assert a.threshold_ == b.threshold_
