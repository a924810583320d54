"""Environments for other people's packages, made when first asked for and kept under `.venvs/`.

A peer pins what it needs; two peers whose needs collide simply have two environments. Which peers there are is said in
`peers/registry.py`. Nothing here imports a peer.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness.environment import ROOT

VENVS = ROOT / ".venvs"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "SLIDE_NUM_THREADS",
)


class InstallError(RuntimeError):
    """An environment could not be made; the message is short enough for a cell of a table."""


def base_python() -> str:
    """The interpreter environments are made from; `SLIDE_BENCH_PYTHON` names another (for peers without new wheels)."""
    return os.environ.get("SLIDE_BENCH_PYTHON", sys.executable)


def ensure(
    name: str,
    requirements: Sequence[str],
    without_dependencies: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Path:
    """Return the interpreter of environment `name`, installing it when it is missing or its pins changed.

    `without_dependencies` are installed with `--no-deps`: a package that asks for more than we use (PECOS for torch).
    Raises InstallError with pip's own last words.
    """
    folder = VENVS / name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = _fingerprint(requirements, without_dependencies)
    stamp = folder / "pins.json"
    if python.exists() and stamp.exists() and json.loads(stamp.read_text()).get("fingerprint") == wanted:
        return python
    say(f"{name}: making its environment (.venvs/{name})")
    shutil.rmtree(folder, ignore_errors=True)
    _run([base_python(), "-m", "venv", str(folder)], name)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if requirements:
        _run([*pip, *requirements], name)
    if without_dependencies:
        _run([*pip, "--no-deps", *without_dependencies], name)
    pins = {"fingerprint": wanted, "requirements": [*requirements, *without_dependencies]}
    stamp.write_text(json.dumps(pins, indent=1) + "\n")
    return python


def child_environment(threads: int) -> dict[str, str]:
    """This environment with the thread count in every variable a library may read."""
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


def _fingerprint(requirements: Sequence[str], without_dependencies: Sequence[str]) -> str:
    text = json.dumps([base_python(), list(requirements), list(without_dependencies)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _run(command: Sequence[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    lines = (done.stderr + done.stdout).strip().splitlines()
    errors = [line for line in lines if line.lower().startswith("error")] or lines[-1:] or ["no output"]
    raise InstallError(f"{name} did not install: {errors[0][:200]}")
