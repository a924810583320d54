"""Processes that are killed with -9, and a network that has the same bits all the same. `make test-cluster` runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import Killer

import slide

pytest.importorskip("torch", reason="needs torch: make test-cluster makes an environment that has it")

X, Y = slide.datasets.synthetic(2000, 500, 400, nnz=10, labels_per_row=2)


def fitted(folder: Path, workers: int, epochs: int = 4, **how: Any) -> slide.SlideClassifier:
    clf = slide.SlideClassifier(hidden=32, epochs=epochs, random_state=1, n_threads=1, wide=False)
    cluster = slide.distributed.Torch(workers=workers, threads=1, recovery="exact")
    return clf.fit(X, Y, cluster=cluster, checkpoint=slide.Checkpoint(folder, samples=1000, minutes=None), **how)


def assert_same(one: slide.SlideClassifier, other: slide.SlideClassifier) -> None:
    arrays, same = one.network_.snapshot().arrays, other.network_.snapshot().arrays
    assert arrays.keys() == same.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, same[name], name)


@pytest.mark.parametrize(("workers", "who"), [(2, 0), (3, 1)])
def test_a_fit_that_lost_a_process_has_the_same_bits(workers: int, who: int, tmp_path: Path) -> None:
    whole = fitted(tmp_path / "whole", workers, epochs=20)
    killer = Killer(who, 15000)
    lost = fitted(tmp_path / "lost", workers, epochs=20, callback=killer)
    assert killer.done
    assert [change.after for change in lost.shared_fit_.changes] == [workers]
    assert_same(whole, lost)


def test_a_job_that_torchrun_started_again_has_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("driver.py")), "dies", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "restarts").read_text() == "1"
    assert_same(fitted(tmp_path / "whole", 2), slide.load(tmp_path / "m.slide"))
