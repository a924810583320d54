"""How the peers are run, judged and shown, whatever goes wrong with one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

from bench_problems import peers_result, row

from benchmarks.harness import data, venvs
from benchmarks.peers import __main__ as peers_main
from benchmarks.peers import registry, run
from benchmarks.peers.child import Peer, Refused, pad
from benchmarks.peers.one_vs_rest import refuse_if_hopeless


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
