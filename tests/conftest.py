"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# A test that fails only sometimes teaches nothing: in CI the examples are the same each time. No deadlines anywhere,
# because the first call of a Numba function compiles it and machines are busy.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The source tree, for tests that build or read it; skips where only the installed package is tested."""
    root = Path(__file__).resolve().parent.parent
    if not (root / "setup.py").exists():
        pytest.skip("needs the source tree, and this run tests an installed package")
    return root
