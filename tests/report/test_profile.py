"""``slide bench`` and slide.report.profile: where the time goes, all of it, and nothing else changes by looking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_strategies import planted_data
from fits import assert_same

import slide
from slide.cli.main import main
from slide.engine import select
from slide.engine.layout import PHASES
from slide.report.profile import profile, speed

pytestmark = pytest.mark.skipif("c" not in [select.resolve_backend(None)], reason="the extension is not built")
D, N, ROWS = 300, 200, 2000
CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "batches": ({"batch_size": 16}, set()),
    "one at a time": ({"batch_size": 1}, {"backward"}),
    "SimHash, no sparse part": ({"lsh": slide.SimHash(K=4, L=10), "wide": False}, {"backward", "sparse part"}),
    "uniform samples": ({"lsh": None, "batch_size": 16}, {"hash", "rebuild"}),
    "two hidden layers": ({"hidden": (16, 12), "batch_size": 16}, set()),
}


def classifier(**options: Any) -> slide.SlideClassifier:
    base = {"hidden": (16,), "epochs": 2, "n_active": 40, "n_random": 8, "n_threads": 1, "backend": "c"}
    return slide.SlideClassifier(**(base | options))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_phases_add_up_and_each_takes_its_time(case: str, n_threads: int) -> None:
    options, without = CASES[case]
    found = profile(classifier(**options | {"n_threads": n_threads}), *planted_data(ROWS, D, N))
    assert set(found.phases) == {*PHASES, "rebuild", "other"}
    assert sum(found.phases.values()) == pytest.approx(found.seconds * found.threads)
    assert {name for name in PHASES if found.phases[name] == 0} == without - {"rebuild"}
    assert all(seconds >= 0 for name, seconds in found.phases.items() if name != "other")
    assert sum(found.phases[name] for name in PHASES) <= found.seconds * found.threads
    assert found.samples == 2 * ROWS
    assert found.threads == n_threads


def test_taking_the_time_changes_nothing_and_ends_with_the_fit() -> None:
    data = planted_data(ROWS, D, N)
    watched = classifier()
    profile(watched, *data)
    plain = classifier().fit(*data)
    assert_same(watched, plain)
    watched.partial_fit(*data)
    stats = []

    class Keep(slide.Callback):
        def on_chunk(self, progress: Any, network: Any) -> None:
            stats.append(progress.phase_seconds)

    watched.partial_fit(*data, callback=Keep())
    assert not any(map(any, stats))


def test_the_table_says_what_the_numbers_say() -> None:
    found = profile(classifier(), *planted_data(ROWS, D, N))
    lines = str(found).splitlines()
    assert lines[0].startswith(f"{found.samples:,} samples in {found.seconds:.2f} s")
    assert len(lines) == 3 + len(found.phases)
    for line, (name, seconds) in zip(lines[2:], found.phases.items(), strict=False):
        assert line.startswith(name)
        assert f"{seconds / found.seconds:.1%}" in line


def test_numba_has_no_clocks() -> None:
    with pytest.raises(ValueError, match="backend: found 'numba', wanted 'c'"):
        profile(classifier(backend="numba"), *planted_data(60, 20, 10))


def test_prediction_is_timed_row_by_row() -> None:
    clf = classifier().fit(*planted_data(ROWS, D, N))
    rows = planted_data(60, D, N, seed=2)[0]
    for n_candidates in (None, 50):
        found = speed(clf, rows, n_candidates)
        assert found.rows_per_second > 0
        assert 0 < found.median_ms <= found.p99_ms
    with pytest.raises(ValueError, match="X: found"):
        speed(clf, rows[:0], None)


def test_bench_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide.write_xmc(tmp_path / "a.txt", *planted_data(ROWS, D, N))
    told = ["--epochs", "1", "--hidden", "8", "--n-active", "40", "--threads", "2", "--json"]
    assert main(["bench", f"{tmp_path}/a.txt", *told]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = json.loads(lines[-1])
    assert facts["training"]["samples"] == ROWS
    assert facts["reading"]["bytes"] == (tmp_path / "a.txt").stat().st_size
    assert [way["n_candidates"] for way in facts["predicting"]] == [None, 5]
    assert np.isclose(sum(facts["training"]["phases"].values()), 2 * facts["training"]["seconds"])
    assert "MB/s" in lines[1]
    assert main(["bench", f"{tmp_path}/nothing.txt"]) == 2
    assert main(["bench", f"{tmp_path}/a.txt", "--backend", "numba"]) == 2
    assert "whose threads have clocks" in capsys.readouterr().err
