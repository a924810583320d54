"""Ctrl-C and SIGTERM: a fit with a checkpoint saves its state before it stops, and goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_strategies import planted_data
from fits import ROWS, D, N, assert_same

import slide
from slide.training.checkpoint import Checkpoint, CheckpointWriter
from slide.training.interrupts import Interrupts
from slide.training.progress import Progress

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture(autouse=True)
def python_handles_ctrl_c() -> Iterator[None]:
    """A shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def classifier() -> slide.SlideClassifier:
    return slide.SlideClassifier(hidden=(8,), epochs=4, n_active=30, n_threads=1, random_state=3)


def raised_at(at: int, number: int = signal.SIGINT) -> Any:
    """A callback that brings the signal once."""
    came = []

    def bring(progress: Progress) -> None:
        if progress.done >= at and not came:
            came.append(progress.done)
            signal.raise_signal(number)

    return bring


@pytest.mark.parametrize("at", [1, ROWS + 100, 2 * ROWS, 4 * ROWS])
def test_what_ctrl_c_stopped_ends_in_the_same_bits(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slide.training.loop.FIRST_CHUNK", 20)  # where chunks end has no influence
    monkeypatch.setattr("slide.training.loop.CHUNK_SECONDS", 1e-4)
    data, checkpoint = planted_data(ROWS, D, N), Checkpoint(tmp_path / "c", minutes=None, resume=True)
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(*data, callback=raised_at(at), checkpoint=checkpoint)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    so_far = slide.load(checkpoint.path)
    assert isinstance(so_far, slide.SlideClassifier)
    assert at <= so_far.network_.step < at + 100
    assert_same(classifier().fit(*data, checkpoint=checkpoint), classifier().fit(*data))


def test_a_signal_whose_handler_returns_only_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr("slide.training.loop.WINDOW", 100)
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        clf, path = classifier(), tmp_path / "c"
        clf.fit(*planted_data(ROWS, D, N), callback=raised_at(300, signal.SIGTERM), checkpoint=Checkpoint(path, None))
        assert heard == [signal.SIGTERM]
        assert path.exists()
        assert clf.network_.step == 4 * ROWS
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_second_signal_counts_at_once() -> None:
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interrupts.received == 0


def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.received == 0


# -- when there is a checkpoint ----------------------------------------------------------------------------------------


def moments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, minutes: float | None, took: float = 0.0) -> list[int]:
    """Seconds, of 1,000 with an epoch's end after each 200, at which a checkpoint is written; each takes so long."""
    clock, saved = [0.0], []
    monkeypatch.setattr("slide.training.checkpoint.time.monotonic", lambda: clock[0])

    def save(*_: Any, **__: Any) -> None:
        saved.append(int(clock[0]))
        clock[0] += took

    monkeypatch.setattr("slide.training.checkpoint.save_model", save)
    writer = CheckpointWriter(Checkpoint(tmp_path / "c", minutes=minutes), {}, dict)
    net = slide.Network([slide.SparseInput(4, 2), slide.Sampled(3, lsh=None)])
    for second in range(1, 1001):
        clock[0] = max(clock[0], float(second))
        writer.save_if_due(net, Progress(5, 1000, done=second, epoch_ended=second % 200 == 0))
    return saved


def test_the_first_comes_soon_and_one_at_each_epochs_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert moments(monkeypatch, tmp_path, 5) == [30, 200, 400, 600, 800, 1000]
    assert moments(monkeypatch, tmp_path, 2) == [30, 150, 200, 320, 400, 520, 600, 720, 800, 920, 1000]
    assert moments(monkeypatch, tmp_path, 0.1)[:4] == [6, 12, 18, 24]
    assert moments(monkeypatch, tmp_path, None) == []


def test_saving_at_the_ends_of_epochs_takes_little_of_the_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert moments(monkeypatch, tmp_path, 5, took=50) == [30, 330, 630, 930]


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), STOPS)
def test_train_saves_its_state_and_says_how_to_go_on(number: int, code: int, tmp_path: Path) -> None:
    slide.write_xmc(tmp_path / "t.txt", *planted_data(ROWS, D, N))
    command = [sys.executable, "-m", "slide", "train", "t.txt", "--epochs", "100000", "--hidden", "8", "--threads", "1"]
    command += ["--checkpoint", "run.checkpoint", "--out", "m.slide"]
    root, steps = Path(slide.__file__).parent.parent, []
    for more in [[]] if number == signal.SIGINT else [[], ["--resume"]]:
        with subprocess.Popen(
            command + more, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
        ) as process:
            assert process.stderr is not None
            assert any(line.startswith("epoch") for line in process.stderr)
            process.send_signal(number)
            err = process.communicate()[1]
        assert process.returncode == code
        assert "the same command with --resume goes on from run.checkpoint" in err.splitlines()[-1]
        assert "Traceback" not in err
        for name in ("run.checkpoint", "m.slide"):
            clf = slide.load(tmp_path / name)
            assert isinstance(clf, slide.SlideClassifier)
            steps.append(clf.network_.step)
    assert 0 < steps[0] == steps[1]
    assert len(steps) == 2 or steps[1] < steps[2] == steps[3]


def test_a_script_that_sigterm_ends_leaves_its_state(tmp_path: Path) -> None:
    code = (
        "import signal, slide\n"
        "def bring(progress):\n"
        "    if progress.done >= 1000: signal.raise_signal(signal.SIGTERM)\n"
        "X, Y = slide.datasets.synthetic(2000, 50, 20, nnz=8)\n"
        "clf = slide.SlideClassifier((4,), epochs=9, n_threads=1)\n"
        f"clf.fit(X, Y, callback=bring, checkpoint=slide.Checkpoint({str(tmp_path / 'c')!r}))\n"
    )
    root = Path(slide.__file__).parent.parent
    run = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert run.returncode == -signal.SIGTERM
    clf = slide.load(tmp_path / "c")
    assert isinstance(clf, slide.SlideClassifier)
    assert clf.network_.step >= 1000
