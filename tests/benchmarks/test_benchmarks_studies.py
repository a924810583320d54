"""The studies: what they compute from their runs, and that small ones train, write and print."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

from bench_problems import small

import slide
from benchmarks.contenders import start
from benchmarks.harness import data, environment
from benchmarks.studies import (
    active_size,
    decisions,
    dense_rows,
    growth,
    ladder,
    scaling,
    seeds,
    store,
    store_group,
    torch_baselines,
)
from benchmarks.studies import time_to_quality as ttq
from slide.estimator import calibrating


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


class TestGrowth:
    def test_a_point_is_a_fit_of_everything(self) -> None:
        row = growth.point(labels=50, rows=300, threads=1, epochs=1)
        assert row["fit_cpu_seconds"] > 0
        assert row["p@1"] > 0.1  # chance: 0.1, five labels of fifty
        assert row["sparse_part"] in ("Wide", "Rank", "NoneType")

    def test_growth_is_that_of_a_row_not_of_the_rows(self) -> None:
        few = {"status": "ok", "labels": 10, "rows": 100, "fit_seconds": 1.0, "fit_cpu_seconds": 2.0}
        many = few | {"labels": 1000, "rows": 200, "fit_seconds": 6.0, "fit_cpu_seconds": 8.0}
        failed = {"status": "failed", "labels": 10_000, "reason": "no memory"}
        assert (
            growth.growth([few, many, failed])
            == "100 times the labels cost 3.0 times the seconds a row (2.0 of CPU seconds)"
        )
        assert "fewer than two" in growth.growth([few, failed])


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

    @pytest.mark.parametrize("more", [["--labels", "10"], ["--one-class"]], ids=["tags", "classes"])
    def test_decisions_are_measured_written_and_drawn(
        self, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        X, Y = slide.datasets.synthetic(650, 60, 20, nnz=8, labels_per_row=2)
        problem = data.from_matrices("synthetic", (X[:600], Y[:600], X[600:], Y[600:]), tmp_path)
        monkeypatch.setattr(decisions, "resolve", lambda _name: problem)
        monkeypatch.setattr(calibrating, "LEAST_ROWS", 100)
        out = tmp_path / "decisions.json"
        assert decisions.main([*more, "--threads", "1", "--out", str(out)]) == 0
        (row,) = environment.load(out)["rows"]
        assert all(math.isnan(value) or 0 <= value <= 1 for value in row.values())
        assert ("f1" in row) == ("--labels" in more)
        assert "ECE" in capsys.readouterr().out

    def test_chance_alone_shows_an_ece(self) -> None:
        rng = np.random.default_rng(0)
        p = rng.random((400, 1))
        drawn = []
        for _ in range(200):
            Y = sp.csr_array(rng.random((400, 1)) < p)
            drawn.append(slide.metrics.calibration_error(Y, np.zeros((400, 1), int), p))
        bins = slide.metrics.reliability(Y, np.zeros((400, 1), int), p)
        assert decisions.ece_by_chance(bins) == pytest.approx(np.mean(drawn), rel=0.05)

    def test_a_rung_that_does_not_exist_and_data_that_is_not_there(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: data.Problem
    ) -> None:
        assert ladder.main(["--data", "nowhere"]) == 2
        monkeypatch.setattr(ladder, "resolve", lambda _name: problem)
        assert ladder.main(["--only", "magic"]) == 2
        assert "--only: found 'magic'" in capsys.readouterr().err


class TestDenseRows:
    def test_rows_become_dense_and_are_trained_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        X, Y = slide.datasets.synthetic(250, 60, 20, nnz=8, labels_per_row=2)
        problem = data.from_matrices("synthetic", (X[:200], Y[:200], X[200:], Y[200:]), tmp_path)
        monkeypatch.setattr(dense_rows, "resolve", lambda _name: problem)
        out = tmp_path / "dense.json"
        for way in ([], ["--random", "--one-class"]):
            options = ["--labels", "10", "--columns", "8", "--only", "hidden", "--logistic", "1", "--threads", "1"]
            assert dense_rows.main([*options, "--out", str(out), *way]) == 0
            rows = environment.load(out)["rows"]
            assert list(rows) == ["hidden=(), lr=0.5, epochs=10", "LogisticRegression(C=1)"]
            assert all(0.1 < row["p@1"] <= 1 for row in rows.values())  # chance: 0.1, one of ten
        assert "10 labels" in capsys.readouterr().out


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


def test_a_synthetic_shape_may_be_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ttq, "make", lambda shape: (shape.name, shape.rows))
    assert ttq.problem_of(ttq.TASKS["amazon-670k"], None) == ("amazon-670k", 100_000)


def test_a_store_costs_what_its_traffic_says() -> None:
    whole = store.point(1.0, 9000, 300, 8, 1) | {"status": "ok", "peak_rss_bytes": 5 * 10**8}
    some = store.point(0.6, 9000, 300, 8, 1) | {"status": "ok", "peak_rss_bytes": 5 * 10**8}
    assert whole["traffic"] is None
    assert some["traffic"]["read"] > 0
    assert some["p@1"] == whole["p@1"]
    assert store.cells(some, whole)[6] == f"{some['traffic']['read'] / 600:.2f}"
    assert store.cells({"share": 0.5, "status": "failed"}, whole)[1] == "failed"


def test_a_store_in_a_group_is_measured_by_windows(tmp_path: Path) -> None:
    path = str(tmp_path / "model.slide")
    store_group.make(path, 9000, 8, 1)
    for way in ("memory", "mmap"):
        row = store_group.point("memory", 1, path, 9000, 600, 1, 1e-3)
        assert row["samples"] > 0
        assert store_group.cells(row | {"way": way, "status": "ok"}, row | {"status": "ok"})[3] == "1.0000"
    net = store_group.opened("mmap", path, 0, 1)
    assert isinstance(net.states[-1].rows, np.memmap)
    stored = row | {"way": "store", "status": "ok", "misses": 2.0, "fetches": row["samples"] / row["seconds"]}
    assert store_group.cells(stored, row | {"status": "ok"})[6] == "2.00"  # fetches would allow half of that rate
    assert store_group.cells({"way": "store", "share": 8, "status": "failed", "reason": "why"}, row)[1] == "why"
