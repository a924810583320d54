"""pytest-benchmark: what a user waits for: a training step, a rebuild of the tables, exact and sampled prediction.

Synthetic rows, 200,000 labels, all threads. Bytes and flops are estimates from the rows a sample must touch; README.md
says how they are counted.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

ROWS, FEATURES, LABELS, NNZ = 20_000, 200_000, 200_000, 75  # rows of both layers overflow the caches
HIDDEN = 128


def threads() -> int:
    from benchmarks.harness.environment import default_threads

    return int(os.environ.get("SLIDE_BENCH_THREADS", default_threads()))


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    from slide.datasets import synthetic

    X, Y = synthetic(ROWS, FEATURES, LABELS, nnz=NNZ, labels_per_row=5.4, seed=0)
    return X, Y


@pytest.fixture(scope="module")
def net(data: tuple[Any, Any]) -> Any:
    import slide

    layers = [slide.SparseInput(FEATURES, HIDDEN), slide.Sampled(LABELS)]
    return slide.Network(layers, n_threads=threads()).fit(*data)


def _describe(benchmark: Any, net: Any, samples: int, flops: float, moved: float) -> None:
    benchmark.group = "training and prediction"
    benchmark.extra_info.update(
        isa=net.isa, threads=threads(), flops=flops, bytes=moved, operations=samples, where="memory"
    )


def _touched(net: Any) -> tuple[float, float]:
    """Rows of the output and input layers one sample reads and writes, in bytes: (output, input)."""
    inner, outer = net.states[0], net.states[-1]
    return outer.n_active * 4.0 * outer.rows.shape[1], NNZ * 4.0 * inner.rows.shape[1]


def test_train(benchmark: Any, net: Any, data: tuple[Any, Any]) -> None:
    """One epoch, checks and rebuilds included. Forward reads each row, backward writes it: twice its bytes."""
    flops = 6.0 * HIDDEN * (net.states[-1].n_active + NNZ)
    _describe(benchmark, net, ROWS, ROWS * flops, ROWS * 2 * sum(_touched(net)))
    benchmark.pedantic(net.fit, args=data, kwargs={"epochs": 1}, rounds=5, warmup_rounds=1)


def test_rebuild(benchmark: Any, net: Any) -> None:
    """Hash every neuron and refill the tables."""
    lsh = net.states[-1].lsh
    flops = 2.0 * LABELS * (HIDDEN + 1) * lsh.K * lsh.L
    _describe(benchmark, net, LABELS, flops, LABELS * 4.0 * HIDDEN)
    benchmark.pedantic(net.rebuild_tables, rounds=5, warmup_rounds=1)


def test_predict_exact(benchmark: Any, net: Any, data: tuple[Any, Any]) -> None:
    """Every label scored, 2,000 rows."""
    X = data[0][:2000]
    _describe(benchmark, net, 2000, 2.0 * 2000 * HIDDEN * LABELS, 0.0)
    benchmark.pedantic(net.predict_topk, args=(X,), rounds=5, warmup_rounds=1)


def test_predict_sampled(benchmark: Any, net: Any, data: tuple[Any, Any]) -> None:
    """Only the 512 labels the tables return, 2,000 rows."""
    X = data[0][:2000]
    moved = 2000.0 * 512 * 4 * net.states[-1].rows.shape[1]
    _describe(benchmark, net, 2000, 2.0 * 2000 * HIDDEN * 512, moved)
    benchmark.pedantic(net.predict_topk, args=(X,), kwargs={"n_candidates": 512}, rounds=5, warmup_rounds=1)
