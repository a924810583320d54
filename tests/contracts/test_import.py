"""What `import slide` costs and promises: nothing heavy, nothing changed in the process, every public name there."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import slide

HEAVY = frozenset({"llvmlite", "matplotlib", "numba", "pandas", "sklearn", "torch", "tqdm"})


def run(code: str) -> str:
    """What a fresh interpreter prints, run where it finds the same slide as these tests do."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(slide.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def loaded_by(statement: str, watched: Iterable[str] = HEAVY) -> set[str]:
    """Those of the watched modules that the statement loads, beyond what the interpreter's start-up did."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    return set(run(code).split()) & set(watched)


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import slide") == set()


def test_a_heavy_module_would_be_seen() -> None:
    assert loaded_by("import numba") >= {"numba", "llvmlite"}


def test_public_names_resolve_and_load_no_optional_package() -> None:
    watched = HEAVY - {"sklearn", "tqdm"}
    assert loaded_by("import slide; [getattr(slide, name) for name in slide.__all__]", watched) == set()


def test_import_starts_no_thread_and_leaves_the_environment() -> None:
    told = run(
        "import os, threading; before = dict(os.environ); import slide; "
        "print(threading.active_count(), dict(os.environ) == before)"
    )
    assert told == "1 True"


def test_subnormal_numbers_survive_the_extension() -> None:
    """A library linked with unsafe floating-point flags turns them to zero for the whole process."""
    pytest.importorskip("slide.engine._c", reason="the C extension was not built")
    code = "import numpy as np, slide.engine._c; print(np.float32(1e-40) * np.float32(0.5) > 0)"
    assert run(code) == "True"


def test_version_is_the_distributions() -> None:
    assert slide.__version__ == importlib.metadata.version("slide-xmc")
