"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Before NumPy and the engine are loaded. Threads that wait sleep: to spin would take the time of tests that run beside.
# And NumPy's matrix products, small here, stay in the thread that asks for them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest

# A test that fails only sometimes teaches nothing: in CI the examples are the same each time. No deadlines anywhere,
# because the first call of a Numba function compiles it and machines are busy.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of the Numba twin are thorough: it is compiled for minutes, and changes where the C engine does."""
    for item in items:
        if "numba" in item.nodeid or item.path.name == "test_backends_agree.py":
            item.add_marker("thorough")


#: Files that compile the Numba twin in tests whose names do not say so.
COMPILING = ("test_backends_agree.py", "test_leaves.py", "test_ranker.py", "test_sparse_rows.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which tests one process runs: those of a file, so that what its fixtures train is trained once.

    And all that compile the Numba twin, so that its loops, a minute or two each, are compiled once where they are not
    kept yet: two processes that begin at once would both compile them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "numba" if "numba" in nodeid or file.endswith(COMPILING) else file

    return ByFile(config, log)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The source tree, for tests that build or read it; skips where only the installed package is tested."""
    root = Path(__file__).resolve().parent.parent
    if not (root / "setup.py").exists():
        pytest.skip("needs the source tree, and this run tests an installed package")
    return root


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are no names: some differ between processes (gzip holds the time), which must collect the same tests."""
    return argname if isinstance(val, bytes) else None
