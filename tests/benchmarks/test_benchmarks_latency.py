"""The latency benchmark: what it measures adds up, and what it writes can be read again."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

import slide
from benchmarks.harness import data, environment
from benchmarks.studies import latency


def test_rows_are_timed_one_by_one_and_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    X, Y = slide.datasets.synthetic(650, 300, 400, nnz=8, labels_per_row=2)
    made = data.from_matrices("synthetic", (X[:600], Y[:600], X[600:], Y[600:]), tmp_path)
    monkeypatch.setattr(latency, "find", lambda _name: made)
    monkeypatch.setattr(latency, "WARM_UP", 5)
    monkeypatch.setattr(latency, "SHARES", (None, 0.02, 1.0))
    out = tmp_path / "latency.json"
    assert latency.main(["--epochs", "1", "--out", str(out)]) == 0
    result = environment.load(out)
    exact, few, everything = result["rows"]
    assert [row["candidates"] for row in result["rows"]] == [None, 8, 400]
    assert exact["recall"] == 1
    assert few["recall"] < everything["recall"] <= 1
    for row in result["rows"]:
        assert 0 < row["median_ms"] <= row["p99_ms"]
    assert result["exact_gflops"] == pytest.approx(2e-9 * exact["rows_per_second"] * 400 * 128)
    small = result["compressed"]
    assert small["parameter_bytes"] < 0.3 * result["parameter_bytes"]
    assert [row["candidates"] for row in small["rows"]] == [None, 8, 400]
    assert 0.8 < small["rows"][0]["recall"] == small["rows"][2]["recall"]
    printed = capsys.readouterr().out
    assert all(" | ".join(latency.cells(row)) in printed for row in result["rows"] + small["rows"])


def test_data_that_are_not_there_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert latency.main(["--data", "nowhere"]) == 2
    assert "'nowhere' is no data set" in capsys.readouterr().err
