"""Faults of the world around it, a few times each; `make faults` repeats them a hundred times (tests/faults/run.py)."""

from __future__ import annotations

import gzip
import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faults import soak
from faults.run import FAULTS

import slide
from slide.engine import memory, threads
from slide.io import content

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="forks and limits as Linux has them, and not under the address sanitizer, which reserves terabytes",
)
SLOW = {"stop_by_signal", "little_memory"}


@pytest.mark.thorough
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in FAULTS])
def test_nothing_is_lost(name: str, tmp_path: Path) -> None:
    FAULTS[name](3, tmp_path)


@pytest.fixture
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 20 << 20)


@pytest.mark.usefixtures("_little")
def test_a_gzip_bomb_is_left_when_it_grows_too_large(tmp_path: Path) -> None:
    path = tmp_path / "bomb.txt.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(b"1 1 1\n")
        for _ in range(100):
            file.write(b" " * (1 << 20))
    assert path.stat().st_size < 1 << 18
    with pytest.raises(
        MemoryError, match=r"bomb\.txt\.gz: found more than 1\d,\d{3},\d{3} bytes, too many for the 20,.*: read it in"
    ):
        slide.read_xmc(path)


@pytest.mark.usefixtures("_little")
def test_a_stream_without_end_is_left_when_it_grows_too_large() -> None:
    with pytest.raises(MemoryError, match=r"/dev/zero: found more than"):
        slide.read_xmc("/dev/zero")


@pytest.mark.usefixtures("_little")
def test_lines_that_cost_more_than_they_hold(tmp_path: Path) -> None:
    """Sixteen bytes of row pointers for a newline: asked for before they are taken."""
    path = tmp_path / "lines.txt"
    path.write_bytes(b"2000000 1 1\n" + b"\n" * 2_000_000)
    with pytest.raises(MemoryError, match=r"the rows need [\d,]+ bytes, available are"):
        slide.read_xmc(path)


def test_text_beyond_its_share_of_memory_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(b"1 2 2\n1 1:0.5\n")
    with content.opened(path) as file:
        assert isinstance(file.buffer(), memoryview)
        monkeypatch.setattr(memory, "available_memory", lambda: 20)
        assert isinstance(file.buffer(), mmap.mmap)


def test_memory_of_a_control_group(tmp_path: Path) -> None:
    assert memory._group_memory(str(tmp_path)) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("100\n")
    assert memory._group_memory(str(tmp_path)) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory._group_memory(str(tmp_path)) == 900
    (tmp_path / "memory.max").write_text("50\n")
    assert memory._group_memory(str(tmp_path)) == 0


def test_one_thread_may_fork_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads._Pool, "started", False)
    monkeypatch.setattr(threads._Pool, "left_behind", False)
    assert threads.usable_threads(1) == 1
    threads._in_child()
    assert threads.usable_threads(4) == 4  # nothing was started before the fork
    threads._in_child()
    assert threads.usable_threads(1) == 1
    with pytest.warns(RuntimeWarning, match="1 thread instead of 4"):
        assert threads.usable_threads(4) == 1


@pytest.mark.thorough
def test_terminated_training_saves_what_it_learned(tmp_path: Path) -> None:
    """SIGTERM as service managers send it."""
    out = tmp_path / "model.slide"
    command = [sys.executable, "-m", "slide", "train", "wordnet-hypernym", "--epochs", "500", "--hidden", "8"]
    path = os.pathsep.join([str(Path(slide.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [*command, "--out", str(out)], stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        assert process.stderr is not None
        seen = ""
        while "epoch" not in seen:  # it is training
            seen += process.stderr.read(1)
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    assert process.returncode == 143, said
    assert "the model so far is in" in said
    assert slide.load(out).network_.step > 0


def test_headers_may_promise_two_billion_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from slide.cli.main import main

    path = tmp_path / "promises.txt"
    path.write_text("2 2147483647 2147483647\n5,6 1:1\n5 2:1\n")
    assert main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert "2,147,483,645" in told  # labels without samples
    np.testing.assert_equal(slide.read_xmc(path)[1].shape, (2, 2**31 - 1))


def test_nothing_grows_while_a_fit_goes_on() -> None:
    found = soak.soak(4.0, every=0.3, n=5000)
    assert found["files_left"] == ["c", "log.csv"]
    assert found["checkpoints"] > 2
    assert found["rebuilds"] > 2
    assert {line["files"] for line in found["lines"][1:]} == {found["lines"][1]["files"]}
    assert {line["threads"] for line in found["lines"][1:]} == {found["lines"][1]["threads"]}


@pytest.mark.parametrize(
    ("name", "factor"), [("megabytes", 1.05), ("files", 1.2), ("threads", 1.5), ("samples_per_second", 0.5)]
)
def test_what_grows_or_slows_down_is_noticed(name: str, factor: float) -> None:
    lines = [{"megabytes": 100.0, "files": 9, "threads": 3, "samples_per_second": 5e4 + i} for i in range(16)]
    assert soak.verdict(lines) == []
    lines[-4:] = [line | {name: line[name] * factor} for line in lines[-4:]]
    (wrong,) = soak.verdict(lines)
    assert name.replace("_per_", " a ")[:7] in wrong
