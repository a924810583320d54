"""show_config: what it says is what the engine does."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy

import slide
from slide.engine import binding, threads
from slide.engine.info import config, default_threads, huge_pages


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIDE_ISA", raising=False)
    monkeypatch.delenv("SLIDE_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def tiny_network() -> slide.Network:
    return slide.Network([slide.SparseInput(5, 8), slide.Dense(3)])


def test_versions() -> None:
    told = config()["versions"]
    assert (told["slide"], told["python"]) == (slide.__version__, platform.python_version())
    assert (told["numpy"], told["scipy"]) == (np.__version__, scipy.__version__)


def test_facts_are_json() -> None:
    facts = config()
    assert json.loads(json.dumps(facts)) == facts


def test_isa_and_threads_are_those_of_a_network() -> None:
    pytest.importorskip("slide.engine._c", reason="the C extension was not built")
    facts, net = config(), tiny_network()
    assert (facts["backend"], facts["isa"], facts["threads"]) == (net.backend, net.isa, net.n_threads)
    assert facts["isa_available"][-1] == "generic"


def test_a_forced_isa_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("slide.engine._c", reason="the C extension was not built")
    monkeypatch.setenv("SLIDE_ISA", "generic")
    assert slide.show_config()["isa"] == tiny_network().isa == "generic"
    assert "forced by SLIDE_ISA" in capsys.readouterr().out


def test_an_impossible_isa_is_told_and_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("slide.engine._c", reason="the C extension was not built")
    monkeypatch.setenv("SLIDE_ISA", "mmx")
    assert slide.show_config()["isa"] is None
    assert "SLIDE_ISA=mmx is not usable here" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"SLIDE_ISA: found 'mmx'.*generic"):
        tiny_network()


def test_without_the_extension(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(binding, "c_core", lambda: None)
    facts = slide.show_config()
    assert (facts["backend"], facts["isa"], facts["openmp"], facts["compiler"]) == ("numba", None, None, None)
    assert "C extension was not built" in capsys.readouterr().out


def test_print_false_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = slide.show_config(print=False)
    assert quiet["versions"] == config()["versions"]
    assert capsys.readouterr().out == ""
    slide.show_config()
    assert f"slide {slide.__version__}" in capsys.readouterr().out


def test_threads_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDE_NUM_THREADS", "3")
    assert default_threads() == (3, "SLIDE_NUM_THREADS=3")
    monkeypatch.setenv("SLIDE_NUM_THREADS", "many")
    n, why = default_threads()
    assert n is None
    assert "SLIDE_NUM_THREADS" in why
    assert "'many'" in why


def test_threads_from_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_cgroup_limit", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert default_threads() == (3, "OMP_NUM_THREADS=3,2")


def test_threads_from_the_control_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_cgroup_limit", lambda: None)
    assert default_threads() == (8, "8 of 16 cores by affinity")
    monkeypatch.setattr(threads, "_cgroup_limit", lambda: 2.0)
    assert default_threads() == (2, "the control group allows 2 of 8 cores")


@pytest.mark.parametrize("setting", ["always", "madvise", "never"])
def test_huge_pages(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "enabled"
    path.write_text("always madvise never\n".replace(setting, f"[{setting}]"))
    assert huge_pages(path) == setting
    assert huge_pages(tmp_path / "missing") is None


def test_asking_loads_neither_numba_nor_tqdm() -> None:
    code = "import slide, sys; slide.show_config(); print(*({'numba', 'tqdm'} & set(sys.modules)), sep='', end='!')"
    root = Path(slide.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "!"
