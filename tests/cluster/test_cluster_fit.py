"""Whole fits over processes: what a lost process, the command line and torchrun leave. `make test-cluster` runs it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import Killer, wait_for, wait_until_gone

import slide

pytest.importorskip("torch", reason="needs torch: make test-cluster makes an environment that has it")

N = 3000
X, Y = slide.datasets.synthetic(4000, 500, 400, nnz=10, labels_per_row=2)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def fitted(cluster: Any, epochs: int = 4, **how: Any) -> slide.SlideClassifier:
    clf = slide.SlideClassifier(hidden=32, epochs=epochs, random_state=1, n_threads=2)
    return clf.fit(X[:N], Y[:N], cluster=cluster, **how)


def p_at_1(clf: slide.SlideClassifier) -> float:
    return clf.evaluate(X[N:], Y[N:])["p@1"]


@pytest.mark.parametrize("worker", [0, 1])
def test_a_process_that_is_killed_is_replaced_and_little_is_lost(worker: int, tmp_path: Path) -> None:
    killer = Killer(worker, 4000)
    checkpoint = slide.Checkpoint(tmp_path / "run", samples=2000, minutes=None)
    clf = fitted(slide.distributed.Torch(workers=2), epochs=40, checkpoint=checkpoint, callback=killer)
    assert killer.done
    assert clf.shared_fit_.changes
    assert clf.shared_fit_.changes[0].lost_labels == 200
    assert p_at_1(clf) > p_at_1(fitted(None, epochs=40)) - 0.06


def test_a_process_that_is_stopped_is_done_without(tmp_path: Path) -> None:
    """It shows by its silence."""
    killer = Killer(1, 4000, signal.SIGSTOP)
    checkpoint = slide.Checkpoint(tmp_path / "run", samples=2000, minutes=None)
    clf = fitted(slide.distributed.Torch(workers=2, timeout=3), epochs=20, checkpoint=checkpoint, callback=killer)
    assert clf.shared_fit_.changes[0].lost_labels == 200
    assert clf.network_.step == 20 * (N - 200)  # that many are kept back for the calibration


def test_a_fit_whose_driver_was_killed_is_saved_and_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("driver.py")), "fit", str(tmp_path)]
    driver = subprocess.Popen(command)
    try:
        wait_for(tmp_path, "started", 2)
    finally:
        driver.kill()
        driver.wait()
    for path in tmp_path.glob("started-*"):
        wait_until_gone(int(path.read_text()))
    checkpoint = slide.Checkpoint(tmp_path / "run", resume=True)
    clf = slide.SlideClassifier(hidden=32, epochs=1000, random_state=1, n_threads=2)
    stopped = Stops()
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y, cluster=slide.distributed.Torch(workers=3), checkpoint=checkpoint, callback=stopped)
    assert stopped.began_at > 2000


class Stops(slide.Callback):
    """At the first block."""

    began_at = 0

    def on_chunk(self, progress: Any, network: Any) -> None:
        self.began_at = progress.done
        raise KeyboardInterrupt


def test_ray_trains_the_same_model_as_torch() -> None:
    pytest.importorskip("ray", reason="needs ray: make test-cluster makes an environment that has it")
    one, other = fitted(slide.distributed.Torch(workers=2)), fitted(slide.distributed.Ray(workers=2))
    assert (one.network_.weights(1) == other.network_.weights(1)).all()


def run(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)


def mpirun() -> str:
    beside = Path(sys.executable).with_name("mpirun")
    return str(beside) if beside.exists() else shutil.which("mpirun") or pytest.skip("no mpirun")


def written(tmp_path: Path) -> str:
    path = tmp_path / "train.txt"
    slide.write_xmc(path, X[:N], Y[:N])
    return str(path)


@pytest.mark.parametrize("engine", ["torch", "torchrun"])
def test_the_command_line_trains_with_two_workers(engine: str, tmp_path: Path) -> None:
    train = ["-m", "slide", "train", written(tmp_path), "--engine", "torch", "--epochs", "2", "--hidden", "32"]
    train += ["--out", "m.slide", "--json"]
    if engine == "torchrun":
        command = [*TORCHRUN, *train]
    else:
        command = [sys.executable, *train, "--workers", "2", "--rows-at-once", "700"]
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1  # the first worker speaks for all
    assert json.loads(lines[0])["n_trained"] > N
    assert slide.load(tmp_path / "m.slide").network_.step > N


@pytest.mark.parametrize("engine", ["torch", "ray", "torchrun", "mpi"])
def test_the_command_line_leaves_a_model_in_parts(engine: str, tmp_path: Path) -> None:
    slide_train = ["-m", "slide", "train", written(tmp_path), "--epochs", "2", "--hidden", "32", "--out", "model/"]
    slide_train += ["--json", "--engine", "torch" if engine == "torchrun" else engine]
    train = [sys.executable, *slide_train]
    if engine == "torchrun":
        command = [*TORCHRUN, *slide_train, "--calibrate", "no"]
    elif engine == "mpi":
        command = [mpirun(), "-n", "2", *train, "--calibrate", "no"]
    else:
        command = [*train, "--workers", "2", "--test", "train.txt"]
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    facts = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    clf = slide.load(tmp_path / "model")
    assert len(list(tmp_path.glob("model/shards-*/part-*.npz"))) == 2
    assert clf.evaluate(X[:N], Y[:N])["p@1"] > 0.1
    if engine in ("torch", "ray"):  # scored by the workers
        assert facts["p@1"] == pytest.approx(100 * clf.evaluate(X[:N], Y[:N], n_candidates=400)["p@1"], abs=0.1)


def test_processes_predict_together_also_when_one_is_killed(tmp_path: Path) -> None:
    clf = fitted(None)
    clf.save_shards(tmp_path / "model", shards=3)
    wanted, _ = clf.predict_topk(X[N:], 5)
    shared = slide.load(tmp_path / "model", cluster=slide.distributed.Torch(workers=2))
    assert (shared.predict_topk(X[N:], 5)[0] == wanted).mean() > 0.999
    for _ in range(2):  # the first worker, and the one that took its place
        child = min(multiprocessing.active_children(), key=lambda child: child.name)
        os.kill(child.pid or 0, signal.SIGKILL)
        assert (shared.predict_topk(X[N:], 5)[0] == wanted).mean() > 0.999
    shared.network_.close()
