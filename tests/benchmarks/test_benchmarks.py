"""The benchmark harness: what a result carries, how peers are run, measured, judged and shown. No clock is judged."""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

import slide
from benchmarks.contenders import start
from benchmarks.harness import commands, data, environment, measure, tables, venvs
from benchmarks.peers import __main__ as peers_main
from benchmarks.peers import registry, run
from benchmarks.peers.child import Peer, Refused, pad
from benchmarks.peers.one_vs_rest import refuse_if_hopeless
from benchmarks.report import compare
from benchmarks.report import page as report
from benchmarks.studies import active_size, ladder, scaling, seeds, torch_baselines
from benchmarks.studies import time_to_quality as ttq

PYTHON = sys.executable


def small() -> tuple[Any, Any, Any, Any]:
    """Sixty training rows and twenty test rows whose label is their strongest feature."""
    rng = np.random.default_rng(0)
    parts = []
    for n in (60, 20):
        X = sp.random(n, 12, 0.5, "csr", dtype=np.float32, random_state=rng)
        best = np.asarray(X.argmax(axis=1)).ravel() % 4
        parts += [X, sp.csr_matrix((np.ones(n, np.float32), (np.arange(n), best)), shape=(n, 4))]
    return tuple(parts)  # type: ignore[return-value]


@pytest.fixture
def problem(tmp_path: Path) -> data.Problem:
    return data.from_matrices("small", small(), tmp_path)


def row(name: str, **changes: Any) -> dict[str, Any]:
    """A good row of the peers table."""
    figures = dict.fromkeys(run.METRICS, 0.5)
    sizes = {"train_peak_rss_bytes": 2e8, "peak_rss_bytes": 3e8, "model_bytes": 1e7}
    times = {"train_seconds": 10.0, "train_cpu_seconds": 18.0, "predict_seconds": 1.0}
    head = {"peer": name, "title": name, "note": "", "seed": 0, "status": "ok", "round": 0}
    return {**head, **times, **sizes, **figures, **changes}


def peers_result(*rows: dict[str, Any]) -> dict[str, Any]:
    shape = {"train_rows": 60, "test_rows": 20, "features": 12, "labels": 4}
    env = environment.describe(2)
    return {"kind": "peers", "schema": 1, "environment": env, "data": "small", "shape": shape, "rows": list(rows)}


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


class TestPeers:
    def test_every_adapter_is_a_page_or_less(self) -> None:
        for module in registry.MODULES:
            assert len(Path(str(module.__file__)).read_text().splitlines()) <= 80, module.__name__

    def test_unknown_peer_is_named(self) -> None:
        with pytest.raises(ValueError, match="unknown peer 'liblinear'"):
            registry.choose("slide,liblinear")

    def test_a_crash_is_a_row_and_the_rest_goes_on(self, problem: data.Problem) -> None:
        broken = [Peer(name, name, "benchmarks.no_such_adapter", ours=True) for name in ("first", "second")]
        rows = run.run_all(broken, problem, threads=1, say=lambda line: None)
        assert [r["status"] for r in rows] == ["failed", "failed"]
        assert "no_such_adapter" in rows[0]["reason"]

    def test_a_failed_install_is_a_row(self, problem: data.Problem, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_args: Any) -> Path:
            raise venvs.InstallError("x did not install: no wheel")

        monkeypatch.setattr(venvs, "ensure", refuse)
        found = run.run_peer(Peer("x", "X", "benchmarks.peers.x", ("x==1",)), problem, 1, 0, None, lambda line: None)
        assert found["status"] == "not installed"
        assert "no wheel" in found["reason"]

    def test_one_vs_rest_refuses_with_figures(self) -> None:
        X = sp.csr_matrix((np.ones(1000, np.float32), np.zeros(1000, np.int32), np.arange(1001)), (1000, 10))
        refuse_if_hopeless(X, sp.csr_matrix((1000, 100)))
        with pytest.raises(Refused, match=r"10,000,000 labels x 1,000 non-zeros"):
            refuse_if_hopeless(X, sp.csr_matrix((1000, 10_000_000)))

    @pytest.mark.parametrize("ids", [np.zeros((19, 5), np.int32), np.full((20, 5), 4, np.int32)])
    def test_an_impossible_answer_is_no_score(self, problem: data.Problem, tmp_path: Path, ids: np.ndarray) -> None:
        np.save(tmp_path / "ids.npy", ids)
        with pytest.raises(ValueError, match=r"\bids?\b"):
            run.score(problem, tmp_path / "ids.npy")

    def test_one_metrics_module_scores_the_truth_as_perfect(self, problem: data.Problem, tmp_path: Path) -> None:
        Y = problem.load()["Y_test"]
        np.save(tmp_path / "ids.npy", pad([Y[i].indices.tolist() for i in range(Y.shape[0])]))
        found = run.score(problem, tmp_path / "ids.npy")
        assert found["p@1"] == pytest.approx(1.0)
        assert found["psp@1"] == pytest.approx(1.0)
        assert found["p@5"] == pytest.approx(0.2)

    def test_short_answers_are_padded(self) -> None:
        assert pad([[3], [], [1, 2, 3, 4, 5, 6]]).tolist() == [
            [3, -1, -1, -1, -1],
            [-1, -1, -1, -1, -1],
            [1, 2, 3, 4, 5],
        ]

    def test_rounds_give_medians_of_the_good_ones(self) -> None:
        rows = [row("a", train_seconds=s) for s in (9.0, 1.0, 3.0)]
        rows.append({"peer": "a", "title": "a", "status": "failed", "reason": "x"})
        (merged,) = run.merge(rows)
        assert merged["train_seconds"] == 3.0
        assert merged["train_seconds_range"] == [1.0, 9.0]
        assert (merged["good_rounds"], merged["rounds"]) == (3, 4)

    def test_losses_are_named_with_the_winner(self) -> None:
        rows = [row("slide", train_seconds=30.0), row("tree", train_seconds=10.0, **{"p@1": 0.6}), row("worse")]
        rows[2].update(dict.fromkeys(run.METRICS, 0.1))
        words = "; ".join(peers_main.losses(rows))
        assert "P@1 by 10.0 points to tree" in words
        assert "training time by a factor of 3.0 to tree" in words
        assert "worse" not in words.replace("training", "")

    @pytest.mark.parametrize("style", ["text", "markdown"])
    def test_the_table_shows_failures_and_losses(self, style: str) -> None:
        bad = {"peer": "b", "title": "B", "status": "failed", "reason": "exit 1: boom"}
        text = peers_main.render(peers_result(row("slide"), row("tree", **{"p@1": 0.9}), bad), style)
        assert "exit 1: boom" in text
        assert "slide loses on: P@1 by 40.0 points to tree" in text
        assert "one round, seed 0" in text

    def test_the_head_says_which_seeds(self) -> None:
        assert peers_main.rounds_of([3, 4, 5]) == "medians of 3 rounds, seeds 3, 4, 5 where a library takes one"

    @pytest.mark.slow
    def test_slide_itself_through_the_harness(self, problem: data.Problem) -> None:
        (found,) = run.run_all(registry.choose("slide"), problem, threads=1, say=lambda line: None)
        assert found["status"] == "ok", found.get("reason")
        assert found["train_seconds"] > 0
        assert found["model_bytes"] > 0
        assert found["p@1"] > 0.25  # chance


class TestTimeToQuality:
    def test_the_fastest_and_the_slowest_do_not_count(self) -> None:
        assert ttq.olympic_mean([5.0, 1.0, 2.0, 3.0, 100.0]) == pytest.approx(10 / 3)

    def test_one_failure_is_the_slowest_and_two_fail_the_score(self) -> None:
        assert ttq.olympic_mean([1.0, 2.0, math.inf]) == 2.0
        assert ttq.olympic_mean([1.0, math.inf, math.inf, 2.0]) is None

    def test_two_runs_make_no_score(self) -> None:
        with pytest.raises(ValueError, match="2 runs, wanted at least 3"):
            ttq.olympic_mean([1.0, 2.0])

    def test_a_crash_counts_as_not_reached_even_above_the_target(self) -> None:
        event = {"event": "eval", "epoch": 1, "samples": 10, "seconds": 1.0, "quality": 0.9}
        judged = ttq.judge(start.Outcome("failed", "exit 1", [event]), 0.5)
        assert not judged["reached"]
        assert judged["seconds"] is None

    def test_time_runs_from_ready_to_the_end_of_the_evaluation(self) -> None:
        times = {"ready": 1000, "eval": 4000, "eval_stop": 5000, "stop": 9000}
        events = [{"event": e, "time_ms": t, "samples": 1, "quality": 0.5} for e, t in times.items()]
        assert ttq.judge(start.Outcome("ok", events=events), 0.5)["seconds"] == 4.0


class TestCompare:
    def test_ratios_by_name_not_by_place(self) -> None:
        a = peers_result(row("x", train_seconds=10.0), row("y", train_seconds=4.0))
        b = peers_result(row("y", train_seconds=2.0), row("x", train_seconds=10.0))
        found = {name: ratio for name, _, _, ratio in compare.pairs(a, b)}
        assert found["y train_seconds"] == "0.500"
        assert found["x train_seconds"] == "1.000"

    def test_different_kinds_do_not_compare(self) -> None:
        with pytest.raises(ValueError, match="nothing to compare"):
            compare.pairs(peers_result(), {**peers_result(), "kind": "suite"})

    def test_what_else_changed_is_said(self) -> None:
        a, b = peers_result(row("x")), peers_result(row("x"))
        b["environment"] = {**b["environment"], "threads": 64}
        assert "threads: 2 / 64" in compare.differences(a, b)


class TestScaling:
    def test_amdahl_finds_what_made_the_rates(self) -> None:
        rates = {t: 1 / (1e-5 + 4e-5 / t) for t in (1, 2, 4, 8)}
        assert scaling.amdahl(rates) == pytest.approx((1e-5, 4e-5))

    def test_better_than_perfect_rates_leave_no_negative_share(self) -> None:
        serial, parallel = scaling.amdahl({1: 10.0, 2: 25.0})
        assert serial == 0.0
        assert parallel > 0

    def test_the_slower_bound_holds(self) -> None:
        found = scaling.project({1: 1e5, 2: 2e5}, server_gb_per_s=1.0)
        assert found["samples_per_second"] == found["memory_samples_per_second"]
        assert found["samples_per_second"] < found["amdahl_samples_per_second"]
        assert found["assumptions"]

    def test_threads_double_up_to_the_most(self) -> None:
        assert scaling.thread_counts(6) == [1, 2, 4, 6]
        assert scaling.thread_counts(1) == [1]


class TestLadder:
    def test_the_held_out_rows_are_a_tenth_and_no_training_rows(self) -> None:
        X, Y, *_ = small()
        X_in, Y_in, X_out, Y_out = data.hold_out(X, Y)
        assert (X_in.shape[0], X_out.shape[0]) == (X.shape[0] - X.shape[0] // 10, X.shape[0] // 10)
        assert (Y_in.shape[0], Y_out.shape[0]) == (X_in.shape[0], X_out.shape[0])
        together = np.vstack([X_in.toarray(), X_out.toarray()])
        assert sorted(map(tuple, together)) == sorted(map(tuple, X.toarray()))

    def test_rungs_are_trained_and_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        X, Y = slide.datasets.synthetic(250, 60, 20, nnz=8, labels_per_row=2)
        problem = data.from_matrices("synthetic", (X[:200], Y[:200], X[200:], Y[200:]), tmp_path)
        monkeypatch.setattr(ladder, "resolve", lambda _name: problem)
        out = tmp_path / "ladder.json"
        assert ladder.main(["--seeds", "2", "--only", "pruning", "--out", str(out)]) == 0
        (rung,) = environment.load(out)["rungs"]
        assert [0 <= run["p@1"] <= 1 for run in rung["runs"]] == [True, True]
        assert "aside: no pruning" in capsys.readouterr().out

    def test_active_sizes_are_trained_written_and_drawn(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        X, Y = slide.datasets.synthetic(250, 60, 20, nnz=8, labels_per_row=2)
        problem = data.from_matrices("synthetic", (X[:200], Y[:200], X[200:], Y[200:]), tmp_path)
        monkeypatch.setattr(active_size, "resolve", lambda _name: problem)
        out = tmp_path / "active_size.json"
        assert active_size.main(["--sizes", "4", "8", "--out", str(out)]) == 0
        result = environment.load(out)
        assert [row["n_active"] for row in result["rows"]] == [4, 8] * len(active_size.WAYS) + [20]
        assert all(0 <= row["p@1"] <= 1 for row in result["rows"])
        printed = capsys.readouterr().out
        assert all(way in printed for way in [*active_size.WAYS, "all labels"])
        assert active_size.main(["--sizes", "0"]) == 2

    def test_a_rung_that_does_not_exist_and_data_that_is_not_there(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: data.Problem
    ) -> None:
        assert ladder.main(["--data", "nowhere"]) == 2
        monkeypatch.setattr(ladder, "resolve", lambda _name: problem)
        assert ladder.main(["--only", "magic"]) == 2
        assert "--only: found 'magic'" in capsys.readouterr().err


class TestSeeds:
    def test_every_fit_is_written_like_any_result(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(seeds, "precision", lambda seed, n_threads, epochs: 50.0 + seed + n_threads)
        out = tmp_path / "seeds.json"
        assert seeds.main(["--seeds", "3", "--threads", "1", "2", "--out", str(out)]) == 0
        result = environment.load(out)
        assert result["p@1"] == {"1": [51.0, 52.0, 53.0], "2": [52.0, 53.0, 54.0]}
        assert result["environment"]["seeds"] == [0, 1, 2]
        assert capsys.readouterr().out.splitlines()[-1].split() == ["2", "53.00", "1.00", "52.00", "54.00"]

    def test_one_seed_has_no_spread(self) -> None:
        assert seeds.summary([3.0]) == {"mean": 3.0, "sd": 0.0, "min": 3.0, "max": 3.0}


def test_names_are_picked_in_their_order_and_an_unknown_one_is_named() -> None:
    known = {"a": 1, "b": 2}
    assert commands.pick(" b, a,", known, "letter") == [2, 1]
    with pytest.raises(ValueError, match="unknown letter 'c'; known: a, b"):
        commands.pick("a,c", known, "letter")


def test_a_row_that_ends_early_is_padded() -> None:
    assert tables.padded(["x", "failed"], 4) == ["x", "failed", "-", "-"]


def test_a_contender_that_died_is_a_row() -> None:
    (contender,) = start.choose("torch-full", cuda=False)
    found = torch_baselines.row_of(contender, [start.Outcome("failed", "signal 9")])
    assert found["status"] == "failed"
    assert "signal 9" in torch_baselines.render(
        {
            "environment": environment.describe(1),
            "parts": [
                {
                    "data": "x",
                    "network": {"hidden": 8, "batch": 4},
                    "shape": {"features": 1, "labels": 1, "features_per_row": 1, "labels_per_row": 1},
                    "rows": [found],
                }
            ],
        }
    )


class TestReport:
    def test_the_page_needs_nothing_else(self) -> None:
        pytest.importorskip("matplotlib")
        page = report.page([peers_result(row("slide"), row("tree <b>"))])
        assert page.count("<svg") == 1
        assert "tree &lt;b&gt;" in page
        for outside in ("src=", "<link", "@import", "url(http"):
            assert outside not in page

    def test_without_matplotlib_there_are_tables_and_a_word(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        page = report.page([peers_result(row("slide"))])
        assert "<svg" not in page
        assert "matplotlib is not installed" in page
        assert "<td>slide" in page

    def test_the_newest_of_each_kind(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for day, seconds in (("2026-01-02", 2.0), ("2026-01-01", 1.0)):
            result = peers_result(row("slide", train_seconds=seconds))
            result["environment"]["time_utc"] = f"{day}T00:00:00Z"
            (tmp_path / f"{day}.json").write_text(json.dumps(result))
        (tmp_path / "odd.json").write_text("{}")
        (found,) = report.newest(tmp_path)
        assert found["rows"][0]["train_seconds"] == 2.0
        assert "odd.json" in capsys.readouterr().err


def test_tables_line_up() -> None:
    text = tables.text(("a", "bb"), [["x", "1"], ["long", "22"]])
    assert text.splitlines() == ["a     bb", "----  --", "x      1", "long  22"]
    assert tables.markdown(("a", "b"), [["1", "2"]]).splitlines()[1] == "| --- | ---: |"


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (5.0, "5"), (31e6, "31M"), (17_234, "17.2k"), (2.5e9, "2.5G"), (0.25, "0.25")]
)
def test_counts_are_short(value: float | None, shown: str) -> None:
    assert tables.count(value) == shown


def test_a_synthetic_shape_may_be_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ttq, "make", lambda shape: (shape.name, shape.rows))
    assert ttq.problem_of(ttq.TASKS["amazon-670k"], None) == ("amazon-670k", 100_000)
