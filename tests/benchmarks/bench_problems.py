"""A problem and a result, both small, that tests of the benchmarks share."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.harness import environment
from benchmarks.peers import run


def small() -> tuple[Any, Any, Any, Any]:
    """Sixty training rows and twenty test rows whose label is their strongest feature."""
    rng = np.random.default_rng(0)
    parts = []
    for n in (60, 20):
        X = sp.random(n, 12, 0.5, "csr", dtype=np.float32, random_state=rng)
        best = np.asarray(X.argmax(axis=1)).ravel() % 4
        parts += [X, sp.csr_matrix((np.ones(n, np.float32), (np.arange(n), best)), shape=(n, 4))]
    return tuple(parts)  # type: ignore[return-value]


def row(name: str, **changes: Any) -> dict[str, Any]:
    """A good row of the peers table."""
    figures = dict.fromkeys(run.METRICS, 0.5)
    sizes = {"train_peak_rss_bytes": 2e8, "peak_rss_bytes": 3e8, "model_bytes": 1e7}
    times = {"train_seconds": 10.0, "train_cpu_seconds": 18.0, "predict_seconds": 1.0}
    head = {"peer": name, "title": name, "note": "", "seed": 0, "status": "ok", "round": 0}
    return {**head, **times, **sizes, **figures, **changes}


def peers_result(*rows: dict[str, Any]) -> dict[str, Any]:
    shape = {"train_rows": 60, "test_rows": 20, "features": 12, "labels": 4}
    env = environment.describe(2)
    return {"kind": "peers", "schema": 1, "environment": env, "data": "small", "shape": shape, "rows": list(rows)}
