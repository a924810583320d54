"""The driver that times the C leaves calls what it says it calls, on every instruction set of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

from benchmarks.micro import kernels, suite


@pytest.fixture(autouse=True)
def built(checkout: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    kernels.library()


def isas() -> list[str]:
    return ["generic", "avx2", "avx512", "neon"]


@pytest.mark.thorough
@pytest.mark.parametrize("isa", isas())
def test_dot_and_axpy_are_what_they_say(isa: str) -> None:
    if isa not in kernels.isa_available():
        pytest.skip(f"{isa} does not run here")
    rng = np.random.default_rng(0)
    case = kernels.Case("dot", isa, visits=16)
    case.table[:] = rng.standard_normal(case.table.shape)
    case.x[:] = rng.standard_normal(case.x.shape)
    wanted = sum(float(case.table[i, :128] @ case.x[:128]) for i in case.order)
    assert case.run() == pytest.approx(wanted, rel=1e-4, abs=1e-3)
    case = kernels.Case("axpy", isa, visits=1)
    case.table[:] = rng.standard_normal(case.table.shape)
    case.run()
    assert case.dx[:128] == pytest.approx(1e-6 * case.table[0, :128], rel=1e-4)


@pytest.mark.parametrize("name", kernels.NAMES)
def test_every_kernel_runs_and_is_counted(name: str) -> None:
    case = kernels.Case(name, kernels.isa_available()[0], visits=8)
    assert np.isfinite(case.run())
    assert case.flops > 0
    assert case.bytes == 0


def test_an_unknown_instruction_set_is_not_silently_another() -> None:
    assert np.isnan(kernels.Case("dot", "mmx", visits=1).run())


def test_shares_of_the_limits() -> None:
    limits = {1: {"gflops": 100.0, "random_gb_per_s": 10.0, "sequential_gb_per_s": 40.0}}
    info = {"isa": "x", "threads": 1, "flops": 5e9, "bytes": 8e9, "operations": 10}
    stats = {"median": 1.0, "iqr": 0.1, "rounds": 3}
    row = suite.row_of({"name": "test_a", "group": "g", "stats": stats, "extra_info": info}, limits)
    assert (row["of_fma"], row["of_rows"], row["of_stream"]) == pytest.approx((0.05, 0.8, 0.2))
    assert row["intensity"] == pytest.approx(5 / 8)
    assert suite.cells(row)[-3:] == ["5%", "80%", "20%"]


def test_a_slow_moment_does_not_lower_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.micro.limits.measure", lambda n: {"gflops": 10.0 * n, "x": 1.0})
    assert suite.limits_for([1, 2], {1: {"gflops": 50.0, "x": 0.5}}) == {
        1: {"gflops": 50.0, "x": 1.0},
        2: {"gflops": 20.0, "x": 1.0},
    }
