"""The retrieval yardsticks: what they count and print, and that a library that is not there is said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

import slide
from benchmarks.harness import data, environment, venvs
from benchmarks.report import plots
from benchmarks.studies import ann_child, retrieval


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> data.Problem:
    X, Y = slide.datasets.synthetic(650, 300, 400, nnz=8, labels_per_row=2)
    made = data.from_matrices("synthetic", (X[:600], Y[:600], X[600:], Y[600:]), tmp_path)
    monkeypatch.setattr(retrieval, "find", lambda _name: made)
    monkeypatch.setattr(ann_child, "SECONDS", 0.0)
    return made


def test_our_tables_are_measured_printed_and_drawn(
    problem: data.Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    out = tmp_path / "retrieval.json"
    monkeypatch.setattr(venvs, "ensure", lambda *_: pytest.fail("no library was asked for"))
    assert retrieval.main(["--epochs", "1", "--peers", "--out", str(out)]) == 0
    result = environment.load(out)
    exact, cells, hashes = result["rows"]
    assert exact["points"][0]["recall"] == 1
    for row in (cells, hashes):
        recalls = [point["recall"] for point in row["points"]]
        assert recalls == sorted(recalls)
        assert recalls[-1] > row["points"][-1]["candidates"]  # chance
    assert all(len(line) == len(retrieval.HEADERS) for line in retrieval.lines_of(result))
    assert "slide, query cells" in capsys.readouterr().out
    names = [name for name, make in plots.plots_of(result) if make().axes[0].lines]
    assert names == ["recall-candidates-synthetic", "recall-rate-synthetic"]


def test_libraries_that_cannot_be_installed_are_named(
    problem: data.Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_args: Any, **_options: Any) -> Path:
        raise venvs.InstallError("no network")

    monkeypatch.setattr(venvs, "ensure", refuse)
    assert retrieval.main(["--epochs", "1", "--peers", "hnswlib", "--out", str(tmp_path / "r.json")]) == 0
    assert "hnswlib HNSW: no network" in capsys.readouterr().out


def test_tables_for_inner_products_are_measured_when_asked(
    problem: data.Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: retrieval.TRANSFORMS[name] for name in ("SimHash", "L2-ALSH")}
    monkeypatch.setattr(retrieval, "TRANSFORMS", few)
    out = tmp_path / "retrieval.json"
    assert retrieval.main(["--epochs", "1", "--peers", "--transforms", "--out", str(out)]) == 0
    found = {row["index"]: row["points"][-1] for row in environment.load(out)["rows"]}
    assert set(few) <= set(found)
    assert all(found[name]["recall"] > found[name]["candidates"] for name in few)  # chance


class Exhaustive:
    """An index that compares with everything, or with a first part."""

    settings = (("first", 50), ("first", 200))
    n_guides = 0

    def __init__(self, vectors: Any, threads: int) -> None:
        self.vectors = vectors

    def search(self, queries: Any, setting: int) -> Any:
        return np.argsort(-queries @ self.vectors[:setting].T, axis=1)[:, : ann_child.TOP]

    def compared(self, queries: Any, setting: int) -> float:
        return setting

    def update(self, vectors: Any, ids: Any) -> bool:
        return len(ids) == 2

    def n_bytes(self) -> int:
        return 7


def test_a_library_is_measured_by_the_exact_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ann_child.INDEXES, "exhaustive", Exhaustive)
    rng = np.random.default_rng(0)
    vectors, queries = (rng.standard_normal((n, 9)).astype(np.float32) for n in (200, 30))
    exact = np.argsort(-queries @ vectors.T, axis=1)[:, :10]
    row = ann_child.measure("exhaustive", vectors, queries, exact, 1)
    part, everything = row["points"]
    assert 0.1 < part["recall"] < 0.5
    assert everything["recall"] == 1
    assert (part["candidates"], everything["candidates"]) == (0.25, 1)
    assert row["update_seconds"] is not None
    assert row["extra_bytes"] == 7
