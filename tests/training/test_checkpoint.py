"""Fits that were stopped and go on from a checkpoint: the same bits with one thread, whatever the moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_strategies import BACKENDS, planted_data
from fits import ROWS, D, N, Stopped, assert_same

import slide
from slide.cli.main import main
from slide.lsh import query_cells
from slide.training import loop
from slide.training.checkpoint import Checkpoint

CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "batches": {"batch_size": 8},
    "SimHash": {"lsh": slide.SimHash(K=4, L=10, capacity=32)},
    "trained directions": {"lsh": slide.SimHash(K=4, L=10, capacity=32, directions="trained")},
    "cells that grow": {"lsh": slide.QueryCells(K=6, capacity=12, recall=1.0)},
    "no sparse part, Adam, dropout": {"wide": False, "optimizer": slide.Adam(0.01), "dropout": 0.2},
    "two hidden layers, binary": {"hidden": (12, 10), "loss": "binary"},
}


def classifier(case: str, backend: str = BACKENDS[-1], **options: Any) -> slide.SlideClassifier:
    base = {"hidden": (16,), "epochs": 3, "n_active": 30, "n_random": 8, "n_threads": 1, "random_state": 3}
    rebuild = slide.Rebuild(every=90, growth=0.1)
    name = "numba" if backend == "numba" else "c"
    return slide.SlideClassifier(**(base | {"rebuild": rebuild, "backend": name} | CASES[case] | options))


def stopped_at(clf: slide.SlideClassifier, at: int, checkpoint: Checkpoint) -> None:
    def stop(progress: Any) -> None:
        if progress.done >= at:
            raise Stopped

    with pytest.raises(Stopped):
        clf.fit(*planted_data(ROWS, D, N), callback=stop, checkpoint=checkpoint)


def of_eleven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of so many samples, however fast the machine is: the checkpoints after them are what takes long."""
    train_chunk = loop._train_chunk

    def taking(*args: Any) -> float:
        train_chunk(*args)
        return len(args[3]) / 11 * loop.CHUNK_SECONDS

    monkeypatch.setattr(loop, "FIRST_CHUNK", 11)
    monkeypatch.setattr(loop, "_train_chunk", taking)


@pytest.mark.thorough
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_a_resumed_fit_ends_in_the_same_bits(
    case: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slide.training.loop.WINDOW", 100)
    of_eleven(monkeypatch)  # where chunks end has no influence: many checkpoints
    through = classifier(case, backend).fit(*planted_data(ROWS, D, N))
    checkpoint = Checkpoint(tmp_path / "run.checkpoint", samples=1, resume=True)
    for at in (150, 500, 699, 701, 1500, 2050):  # 500: after recall was measured, before cells are split for it
        stopped_at(classifier(case, backend), at, checkpoint)
        assert checkpoint.path.exists()
    resumed = classifier(case, backend)
    assert_same(resumed.fit(*planted_data(ROWS, D, N), checkpoint=checkpoint), through)
    assert 1900 < resumed.network_.samples_resumed < 2100


def test_refreshed_lists_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refreshes hang on where labels were seen last."""
    monkeypatch.setattr(query_cells, "REFRESH_FROM", 100)
    through = classifier("defaults").fit(*planted_data(ROWS, D, N))
    checkpoint = Checkpoint(tmp_path / "run.checkpoint", samples=100, resume=True)
    stopped_at(classifier("defaults"), 1200, checkpoint)
    assert_same(classifier("defaults").fit(*planted_data(ROWS, D, N), checkpoint=checkpoint), through)


def test_several_threads_reach_the_same_accuracy(tmp_path: Path) -> None:
    X, Y = planted_data(300, D, N, seed=5)
    checkpoint = Checkpoint(tmp_path / "run.checkpoint", samples=200, resume=True)
    stopped_at(classifier("defaults", n_threads=2), 1000, checkpoint)
    resumed = classifier("defaults", n_threads=2).fit(*planted_data(ROWS, D, N), checkpoint=checkpoint)
    through = classifier("defaults", n_threads=2).fit(*planted_data(ROWS, D, N))
    a, b = (slide.metrics.precision_at_k(Y, clf.predict_topk(X, 1)[0], k=1) for clf in (resumed, through))
    assert abs(a - b) < 0.1
    assert resumed.network_.step == 3 * ROWS


def test_a_checkpoint_is_the_model_so_far(tmp_path: Path) -> None:
    X, Y = planted_data(300, D, N, seed=5)
    stopped_at(classifier("defaults"), 1400, Checkpoint(tmp_path / "run.checkpoint", samples=100))
    so_far = slide.load(tmp_path / "run.checkpoint")
    assert isinstance(so_far, slide.SlideClassifier)
    assert slide.metrics.precision_at_k(Y, so_far.predict_topk(X, 1)[0], k=1) > 0.3
    assert so_far.network_.step > 1000


def test_what_does_not_belong_to_the_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.checkpoint", samples=100, resume=True)
    stopped_at(classifier("defaults"), 1000, checkpoint)
    before = checkpoint.path.read_bytes()
    X, Y = planted_data(ROWS, D, N)
    with pytest.raises(ValueError, match="epochs: found 4, wanted 3, with which"):
        classifier("defaults", epochs=4).fit(X, Y, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="data: found others, wanted those, with which"):
        classifier("defaults").fit(*planted_data(ROWS, D, N, seed=1), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="seed: found 4, wanted 3"):
        classifier("defaults", random_state=4).fit(X, Y, checkpoint=checkpoint)
    with pytest.raises(ValueError, match=r"layers: \d: \w+: found"):
        classifier("defaults", hidden=(8,)).fit(X, Y, checkpoint=checkpoint)
    assert checkpoint.path.read_bytes() == before
    classifier("defaults").fit(X, Y).save(checkpoint.path)
    with pytest.raises(slide.ModelFormatError, match="found a finished model, wanted a checkpoint"):
        classifier("defaults").fit(X, Y, checkpoint=checkpoint)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.checkpoint", samples=100, resume=True)
    stopped_at(classifier("defaults"), 1000, checkpoint)
    data = bytearray(checkpoint.path.read_bytes())
    data[-100] ^= 1
    checkpoint.path.write_bytes(data)
    with pytest.raises(slide.ModelFormatError, match="was altered"):
        classifier("defaults").fit(*planted_data(ROWS, D, N), checkpoint=checkpoint)


def test_without_resume_a_fit_starts_from_scratch(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    stopped_at(classifier("defaults"), 1000, Checkpoint(path, samples=100))
    again = classifier("defaults").fit(*planted_data(ROWS, D, N), checkpoint=Checkpoint(path, samples=100))
    assert again.network_.samples_resumed == 0
    assert_same(again, classifier("defaults").fit(*planted_data(ROWS, D, N)))


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slide.training.checkpoint.save_model", full)
    with pytest.warns(UserWarning, match=r"no checkpoint could be written, training goes on: .*No space left"):
        clf = classifier("defaults").fit(*planted_data(ROWS, D, N), checkpoint=Checkpoint(tmp_path / "c", samples=700))
    assert clf.network_.step == 3 * ROWS


@pytest.mark.parametrize(
    ("options", "told"),
    [({"minutes": -1}, "minutes"), ({"samples": 0}, "samples"), ({"path": "nowhere/to/be/c"}, "path")],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=rf"Checkpoint\({told}=\): found"):
        Checkpoint(**({"path": "c"} | options))


# -- the command -------------------------------------------------------------------------------------------------------


def train(folder: Path, *more: str) -> list[str]:
    args = ["train", str(folder / "train.txt"), "--hidden", "8", "--epochs", "40", "--threads", "1", *more]
    return [*args, "--out", str(folder / "model.slide"), "--checkpoint", str(folder / "run.checkpoint")]


@pytest.mark.parametrize("seed", [pytest.param(s, marks=[] if s < 3 else pytest.mark.slow) for s in range(20)])
def test_a_training_that_is_killed_again_and_again_ends_in_the_same_model(seed: int, tmp_path: Path) -> None:
    slide.write_xmc(tmp_path / "train.txt", *planted_data(1500, D, N))
    assert main(train(tmp_path)) == 0
    whole = (tmp_path / "model.slide").read_bytes()
    (tmp_path / "model.slide").unlink()
    rng, kills = np.random.default_rng(seed), 0
    while not (tmp_path / "model.slide").exists():
        command = train(tmp_path, "--resume", "--checkpoint-minutes", "0")
        with subprocess.Popen([sys.executable, "-m", "slide", *command], stderr=subprocess.PIPE) as child:
            while child.poll() is None and not (tmp_path / "run.checkpoint").exists():
                time.sleep(0.01)
            if kills < 3:
                time.sleep(float(rng.uniform(0, 1.5)))
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
            _, said = child.communicate(timeout=120)
        assert child.returncode in (0, -signal.SIGKILL), said.decode()
    assert kills
    assert weights(tmp_path / "model.slide") == weights_of(whole, tmp_path)
    assert not list(tmp_path.glob("*.checkpoint"))
    assert not list(tmp_path.glob(".*.part"))


def weights(path: Path) -> list[bytes]:
    return [a.tobytes() for a in slide.load(path).network_.snapshot(tables=True).arrays.values()]


def weights_of(data: bytes, folder: Path) -> list[bytes]:
    (folder / "whole.slide").write_bytes(data)
    return weights(folder / "whole.slide")


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide.write_xmc(tmp_path / "train.txt", *planted_data(100, D, N))
    assert main(["train", str(tmp_path / "train.txt"), "--resume"]) == 2
    assert "--resume: found no --checkpoint FILE" in capsys.readouterr().err
    (tmp_path / "run.checkpoint").write_text("mine")
    assert main(train(tmp_path)) == 2
    assert "is there already: go on from it with --resume, or remove it" in capsys.readouterr().err
    assert (tmp_path / "run.checkpoint").read_text() == "mine"
    assert main(train(tmp_path, "--resume")) == 2
    assert "run.checkpoint: no slide model" in capsys.readouterr().err
