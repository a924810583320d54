"""Fixtures that tests of the benchmarks share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from benchmarks.harness import data


@pytest.fixture
def problem(tmp_path: Path) -> data.Problem:
    from bench_problems import small

    from benchmarks.harness import data

    return data.from_matrices("small", small(), tmp_path)
