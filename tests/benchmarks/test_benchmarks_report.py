"""Result files made into a page, and two of them side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

from bench_problems import peers_result, row

from benchmarks.report import compare, docs
from benchmarks.report import page as report


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


class TestReport:
    def test_the_page_needs_nothing_else(self) -> None:
        pytest.importorskip("matplotlib", reason="matplotlib is not installed")
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

    def test_without_results_of_this_machine_the_published_ones_are_shown(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("benchmarks.harness.environment.RESULTS", tmp_path / "none")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert report.main(["--out", str(tmp_path / "page.html")]) == 0
        n = len(list(report.PUBLISHED.glob("*.json")))
        assert f"{n} results on one page" in capsys.readouterr().out
        assert (tmp_path / "page.html").read_text().count("<td>PECOS XR-Linear") == n


class TestDocs:
    def test_the_page_of_results_is_what_the_published_runs_say(self) -> None:
        for path, text in docs.written(docs.DOCS).items():
            assert path.read_text() == text, f"{path.name}: run python -m benchmarks.report.docs"

    def test_the_newest_run_comes_first_and_each_library_once(self) -> None:
        runs = []
        for day, rows in (("2026-01-02", [row("slide")]), ("2026-01-01", [row("slide"), row("tree <b>")])):
            result = peers_result(*rows)
            result["environment"]["time_utc"] = f"{day}T00:00:00Z"
            result["data"] = "debian-depends"
            runs.append(result)
        (mine,) = docs.by_data(runs[::-1]).values()
        assert mine == runs
        svg = docs.picture(runs)
        assert (svg.count("<rect"), svg.count("tree &lt;b&gt;")) == (3, 1)
