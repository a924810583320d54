"""How many threads are used by default, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slide.engine import threads
from slide.engine.threads import available_threads, resolve_threads


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may use eight cores, and a control group that does not say."""
    monkeypatch.delenv("SLIDE_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_cgroup_limit", lambda: None)


def test_affinity_counts() -> None:
    assert available_threads() == 8


def test_systems_without_affinity_count_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_threads() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_threads() == 1


@pytest.mark.parametrize(("limit", "n"), [(0.25, 1), (1.0, 1), (2.0, 2), (3.6, 4), (64.0, 8)])
def test_the_control_group_limits(monkeypatch: pytest.MonkeyPatch, limit: float, n: int) -> None:
    monkeypatch.setattr(threads, "_cgroup_limit", lambda: limit)
    assert available_threads() == n


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_cgroup_limit", lambda: 2.0)
    monkeypatch.setenv("SLIDE_NUM_THREADS", "12")
    assert available_threads() == resolve_threads(None) == 12
    assert resolve_threads(3) == 3
    monkeypatch.setenv("SLIDE_NUM_THREADS", "")
    assert available_threads() == 2


@pytest.mark.parametrize(("value", "n"), [("1", 1), ("4", 4), ("4,2", 4), ("64", 8), ("0", 8), ("", 8), ("all", 8)])
def test_openmp_limits(monkeypatch: pytest.MonkeyPatch, value: str, n: int) -> None:
    """As pools of workers set it; what OpenMP would not read says nothing. SLIDE_NUM_THREADS comes first."""
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert available_threads() == n
    monkeypatch.setenv("SLIDE_NUM_THREADS", "5")
    assert available_threads() == 5


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "1025"])
def test_a_senseless_environment_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SLIDE_NUM_THREADS", value)
    with pytest.raises(ValueError, match=f"SLIDE_NUM_THREADS: found '{value}', wanted"):
        available_threads()


@pytest.mark.parametrize("value", [0, -3, 1025, "two", [2], 2.5, float("nan"), float("inf")])
def test_a_senseless_argument_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="n_threads: found "):
        resolve_threads(value)  # type: ignore[arg-type]


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


def test_a_limit_counts_where_it_is_less_than_the_threads_would_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, wanted in ((None, None), (0.5, 0.5), (2.0, None), (1.5, 1.5)):
        monkeypatch.setattr(threads, "_cgroup_limit", lambda limit=limit: limit)
        assert threads.processor_limit(2) == wanted


class TestControlGroupFiles:
    """The files that Linux shows; `_cgroup_limit` itself, before the fixture above replaced it."""

    limit = staticmethod(threads._cgroup_limit)

    def test_version_2(self, tmp_path: Path) -> None:
        assert self.limit(write(tmp_path, cpu_dot_max="150000 100000\n")) == 1.5
        assert self.limit(write(tmp_path, cpu_dot_max="max 100000\n")) is None

    def test_version_1(self, tmp_path: Path) -> None:
        files = {"cpu__cpu_dot_cfs_quota_us": "400000\n", "cpu__cpu_dot_cfs_period_us": "100000\n"}
        assert self.limit(write(tmp_path, **files)) == 4
        assert self.limit(write(tmp_path, **(files | {"cpu__cpu_dot_cfs_quota_us": "-1\n"}))) is None

    def test_of_groups_within_groups_the_least(self, tmp_path: Path) -> None:
        version_2, version_1 = tmp_path / "two", tmp_path / "one"
        for group, quota in (("a", "300000"), ("a/b", "max"), ("c", "50000")):
            (version_2 / group).mkdir(parents=True, exist_ok=True)
            (version_2 / group / "cpu.max").write_text(f"{quota} 100000\n")
            (version_1 / "cpu" / group).mkdir(parents=True, exist_ok=True)
            (version_1 / "cpu" / group / "cpu.cfs_quota_us").write_text(f"{quota.replace('max', '-1')}\n")
            (version_1 / "cpu" / group / "cpu.cfs_period_us").write_text("100000\n")
        own = tmp_path / "cgroup"
        own.write_text("0::/a/b\n")
        assert self.limit(version_2, own) == 3
        own.write_text("2:memory:/c\n1:cpu,cpuacct:/a/b\n0::/\n")
        assert self.limit(version_1, own) == 3
        own.write_text("1:cpu:/gone\n\n")
        assert self.limit(version_1, own) is None

    def test_none(self, tmp_path: Path) -> None:
        assert self.limit(tmp_path) is None

    def test_what_it_does_not_understand(self, tmp_path: Path) -> None:
        assert self.limit(write(tmp_path, cpu_dot_max="\n")) is None
        assert self.limit(write(tmp_path, cpu_dot_max="1000 0\n")) is None
