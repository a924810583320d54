"""pytest-benchmark: the C engine's leaves, one thread, on every instruction set this machine runs.

`cache`: a few rows that stay near the core. `memory`: rows in random order from 400 MB, as training meets them. What
the figures are held against is `suite.py`'s business.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.micro import kernels

MEMORY_ROWS = 700_000


def _time(benchmark: Any, case: kernels.Case, where: str) -> None:
    benchmark.group = f"kernels, {where}"
    benchmark.extra_info.update(
        isa=case.isa, flops=case.flops, bytes=case.bytes, threads=1, where=where, operations=case.visits
    )
    total = benchmark(case.run)
    assert total == total, f"{case.isa} is not usable here"


@pytest.mark.parametrize("isa", kernels.isa_available())
@pytest.mark.parametrize("name", kernels.NAMES)
def test_cache(benchmark: Any, name: str, isa: str) -> None:
    visits = {"tile": 200, "project": 1000}.get(name, 20_000)
    _time(benchmark, kernels.Case(name, isa, visits=visits), "cache")


@pytest.mark.parametrize("name", ["dot", "axpy", "sgd", "adagrad"])
def test_memory(benchmark: Any, name: str) -> None:
    isa = kernels.isa_available()[0]
    _time(benchmark, kernels.Case(name, isa, rows=MEMORY_ROWS, visits=200_000), "memory")
