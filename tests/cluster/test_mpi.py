"""Processes under mpirun. `make test-cluster` runs this."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mpi4py", reason="make test-cluster has mpi4py")
MPIRUN = Path(sys.executable).with_name("mpirun")
SCRIPT = Path(__file__).with_name("driver.py")


def mpirun(what: str, processes: int) -> subprocess.CompletedProcess[str]:
    program = str(MPIRUN) if MPIRUN.exists() else shutil.which("mpirun") or pytest.skip("no mpirun")
    command = [program, "-n", str(processes), sys.executable, str(SCRIPT), what]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_group_under_mpirun_does_what_groups_do() -> None:
    out = mpirun("mpi", 3)
    assert out.returncode == 0, out.stderr
    assert sorted(out.stdout.replace("None", " None ").split()) == ["6", "None", "None"]


def test_what_a_process_raises_ends_the_job() -> None:
    out = mpirun("mpi-fails", 2)
    assert out.returncode != 0
    assert "KeyError: 'mine'" in out.stderr
