"""The harness: what a result carries, how processes and data are found, measured and shown. No clock is judged."""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

from bench_problems import small

import slide
from benchmarks.harness import commands, data, environment, measure, tables, venvs

PYTHON = sys.executable


FLOORS = (("harness",), ("micro", "peers", "contenders"), ("studies",), ("report",))


def test_folders_import_only_what_lies_below_them() -> None:
    floor = {folder: height for height, folders in enumerate(FLOORS) for folder in folders}
    top = environment.ROOT / "benchmarks"
    assert {path.parent.name for path in top.glob("*/__init__.py")} == set(floor)
    for path in top.glob("*/*.py"):
        own = path.parent.name
        for name in re.findall(r"^\s*from benchmarks\.(\w+)", path.read_text(), re.MULTILINE):
            assert name == own or floor[name] < floor[own], f"{path.relative_to(top)} imports from {name}/"
        assert "from benchmarks import" not in path.read_text(), path


class TestMeasure:
    def test_a_large_parent_is_not_charged_to_a_small_child(self) -> None:
        ballast = np.ones(40_000_000)  # 320 MB
        cost = measure.run([PYTHON, "-S", "-c", "pass"])
        assert cost.returncode == 0
        assert cost.peak_rss_bytes < 100e6 < ballast.nbytes

    def test_a_child_is_charged_its_own(self) -> None:
        cost = measure.run([PYTHON, "-S", "-c", "b = bytearray(200_000_000); b[::4096] = b'1' * len(b[::4096])"])
        assert 200e6 < cost.peak_rss_bytes < 400e6
        assert cost.cpu_seconds > 0

    def test_lines_arrive_and_failure_keeps_the_last_words(self) -> None:
        seen: list[str] = []
        cost = measure.run([PYTHON, "-S", "-c", "print('one'); raise SystemExit('two')"], on_line=seen.append)
        assert cost.returncode == 1
        assert sorted(seen) == ["one", "two"]
        assert cost.last_words().startswith("exit 1: ")

    def test_a_killed_child_says_by_which_signal(self) -> None:
        cost = measure.run([PYTHON, "-S", "-c", "import os; os.kill(os.getpid(), 9)"])
        assert cost.returncode == -9
        assert "signal 9" in cost.last_words()

    def test_a_child_that_hangs_is_stopped_with_its_children(self) -> None:
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
        cost = measure.run([PYTHON, "-c", code], timeout=1)
        assert cost.timed_out
        assert "stopped after" in cost.last_words()

    def test_a_command_that_does_not_exist_is_a_failure_not_an_exception(self) -> None:
        cost = measure.run(["/nonexistent/program"])
        assert cost.returncode == 127


class TestEnvironment:
    def test_absolute_paths_are_cut_in_the_command(self) -> None:
        script = str(environment.ROOT / "benchmarks" / "peers" / "__main__.py")
        command = environment.command_line([script, "--data", "/home/someone/sets/depends", "--out=/tmp/x.json"])
        assert command == "python -m benchmarks.peers --data .../depends --out=.../x.json"

    def test_a_result_comes_back(self, tmp_path: Path) -> None:
        env = environment.describe(2, seeds=range(3))
        path = environment.save("suite", {"rows": [np.float32(1.5)]}, env, tmp_path / "r.json")
        back = environment.load(path)
        assert back["rows"] == [1.5]
        for key in ("machine", "versions", "threads", "seeds", "commit", "command", "time_utc"):
            assert key in back["environment"]

    def test_a_result_says_which_build_of_slide_made_it(self, tmp_path: Path) -> None:
        path = environment.save("suite", {"rows": []}, environment.describe(2), tmp_path / "r.json")
        said = environment.load(path)["environment"]["slide"]
        assert said["backend"] in ("c", "numba")
        wanted = slide.show_config(print=False)
        for key in ("backend", "isa", "openmp", "compiler", "versions"):
            assert said[key] == wanted[key]

    @pytest.mark.parametrize("text", ['{"a": 1}', "[]", '{"kind": "x", "environment": {}, "schema": 99}'])
    def test_a_file_that_is_no_result_is_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(ValueError, match=r"odd\.json"):
            environment.load(tmp_path / "odd.json")

    def test_a_busy_machine_is_said_above_the_table(self) -> None:
        env = environment.describe(2)
        for load, said in ((0.0, False), (float(env["machine"]["usable_cores"]), True)):
            env["machine"]["load_average_at_start"] = [load, 0.0, 0.0]
            assert ("BUSY" in environment.summary(env)) is said


class TestVenvs:
    def test_made_once_and_again_when_pins_change(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[list[str]] = []

        def fake(command: list[str], _name: str) -> None:
            calls.append(command)
            python = tmp_path / "x" / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()

        monkeypatch.setattr(venvs, "VENVS", tmp_path)
        monkeypatch.setattr(venvs, "_run", fake)
        say = lambda line: None  # noqa: E731
        venvs.ensure("x", ["a==1"], ["b==2"], say)
        first = len(calls)
        assert first == 3
        assert "--no-deps" in calls[-1]
        venvs.ensure("x", ["a==1"], ["b==2"], say)
        assert len(calls) == first
        venvs.ensure("x", ["a==2"], ["b==2"], say)
        assert len(calls) == 2 * first

    def test_a_failed_install_says_why(self) -> None:
        code = "import sys; sys.exit('noise\\nERROR: no such version')"
        with pytest.raises(venvs.InstallError, match="omikuji did not install: ERROR: no such version"):
            venvs._run([PYTHON, "-c", code], "omikuji")


class TestData:
    def test_an_unknown_name_says_how_to_get_it(self, tmp_path: Path) -> None:
        with pytest.raises(data.MissingData, match="extreme classification repository"):
            data.resolve(str(tmp_path / "nowhere"), tmp_path)

    def test_a_folder_without_a_test_file_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "train.txt").write_text("0 1 1\n")
        with pytest.raises(data.MissingData, match=r"neither test\.txt nor test\.txt\.gz"):
            data.resolve(str(tmp_path), tmp_path)

    def test_an_optional_set_is_found_beside_the_checkout(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(data, "BESIDE", tmp_path / "beside")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(data.MissingData, match=r"'debian-sources' is not in .*beside the checkout"):
            data.resolve("debian-sources", tmp_path / "cache")
        folder, matrices = tmp_path / "beside" / "debian-sources", small()
        folder.mkdir(parents=True)
        data.write_xmc(folder / "train.txt", *matrices[:2])
        data.write_xmc(folder / "test.txt", *matrices[2:])
        found = data.resolve("debian-sources", tmp_path / "cache")
        assert found.name == "debian-sources"
        assert found.shape()["train_rows"] == 60

    @pytest.mark.parametrize("zipped", [False, True])
    def test_a_folder_is_laid_out_as_it_was(self, tmp_path: Path, zipped: bool) -> None:
        source, matrices = tmp_path / "source", small()
        source.mkdir()
        for part, X, Y in (("train", *matrices[:2]), ("test", *matrices[2:])):
            data.write_xmc(source / f"{part}.txt", X, Y)
            if zipped:
                text = (source / f"{part}.txt").read_bytes()
                (source / f"{part}.txt.gz").write_bytes(gzip.compress(text))
                (source / f"{part}.txt").unlink()
        found = data.resolve(str(source), tmp_path / "cache")
        assert found.name == "source"
        assert found.shape()["labels"] == 4
        assert (found.folder / "train.txt").read_text().startswith("60 12 4\n")
        for name, wanted in zip(data.MATRICES, matrices, strict=True):
            assert (found.load()[name] != wanted).nnz == 0


def test_names_are_picked_in_their_order_and_an_unknown_one_is_named() -> None:
    known = {"a": 1, "b": 2}
    assert commands.pick(" b, a,", known, "letter") == [2, 1]
    with pytest.raises(ValueError, match="unknown letter 'c'; known: a, b"):
        commands.pick("a,c", known, "letter")


def test_a_row_that_ends_early_is_padded() -> None:
    assert tables.padded(["x", "failed"], 4) == ["x", "failed", "-", "-"]


def test_tables_line_up() -> None:
    text = tables.text(("a", "bb"), [["x", "1"], ["long", "22"]])
    assert text.splitlines() == ["a     bb", "----  --", "x      1", "long  22"]
    assert tables.markdown(("a", "b"), [["1", "2"]]).splitlines()[1] == "| --- | ---: |"


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (5.0, "5"), (31e6, "31M"), (17_234, "17.2k"), (2.5e9, "2.5G"), (0.25, "0.25")]
)
def test_counts_are_short(value: float | None, shown: str) -> None:
    assert tables.count(value) == shown
