"""The report on a layer's tables: its numbers against what the arrays hold, its advice, its command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine_strategies import make_network, planted_data, used_slots

import slide
from slide.cli.main import main
from slide.inference.lsh_report import coverage

D, N = 300, 200
FAMILIES = {"query cells": slide.QueryCells(K=6, capacity=16), "simhash": slide.SimHash(K=4, L=10, capacity=16)}


def trained(lsh: slide.lsh.HashFamily) -> slide.Network:
    net = make_network([slide.SparseInput(D, 24), slide.Sampled(N, lsh=lsh, n_active=30, n_random=6)])
    return net.fit(*planted_data(1000, D, N), epochs=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_are_those_of_the_tables(family: str) -> None:
    net = trained(FAMILIES[family])
    X, _ = planted_data(100, D, N, seed=1)
    report = net.lsh_report(X)
    buckets = [bucket for table in used_slots(net) for bucket in table]
    assert report.n_tables * report.n_buckets == len(buckets)
    assert report.empty == pytest.approx(np.mean([not b for b in buckets]))
    assert report.full == pytest.approx(np.mean([len(b) == 16 for b in buckets]))
    assert report.mean_size == pytest.approx(np.mean([len(b) for b in buckets if b]))
    assert report.unreachable == pytest.approx(1 - len({i for b in buckets for i in b}) / N)
    assert report.n_candidates == 24
    assert report.chance == pytest.approx(24 / N)
    assert report.recall[10] == pytest.approx(net.retrieval_recall(X)[0], abs=1e-6)
    assert report.recall[10] > 2 * report.chance
    assert 0 < report.rebuild_share < 1  # type: ignore[operator]


@pytest.mark.parametrize("family", FAMILIES)
def test_stale_entries_are_those_that_a_refill_would_not_make(family: str) -> None:
    net = trained(FAMILIES[family])
    before = used_slots(net)
    assert net.lsh_report().stale == 0
    net.weights(-1)[:] = np.random.default_rng(0).standard_normal(net.weights(-1).shape)
    assert net.lsh_report().stale > 0.3
    assert used_slots(net) == before  # looking changes nothing
    assert any("out of date" in advice for advice in net.lsh_report().advice())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_compressed_model_is_reported_on_too(family: str) -> None:
    layers = [slide.SparseInput(D, 24), slide.Sampled(N, lsh=FAMILIES[family], n_active=30, n_random=6)]
    net = slide.Network(layers, n_threads=1).fit(*planted_data(1000, D, N), epochs=2)
    X, _ = planted_data(100, D, N, seed=1)
    report, wanted = net.compress().lsh_report(X), net.lsh_report(X)
    assert report.stale is None
    assert "out of date" not in str(report)
    assert report.recall[10] == pytest.approx(wanted.recall[10], abs=0.1)
    assert report.unreachable == wanted.unreachable


def test_advice_names_what_is_wrong() -> None:
    sparse, crowded = slide.SimHash(K=8, L=4, capacity=16), slide.SimHash(K=1, L=4, capacity=4)
    assert any("K is too large" in a for a in trained(sparse).lsh_report().advice())
    assert any("too small" in a for a in trained(crowded).lsh_report().advice())


def test_a_few_candidates_have_no_recall_of_ten() -> None:
    net = make_network([slide.SparseInput(D, 24), slide.Sampled(N, n_active=10, n_random=4)])
    X, Y = planted_data(300, D, N)
    report = net.fit(X, Y).lsh_report(X)
    assert set(report.recall) == {1}
    assert isinstance(report.advice(), list)


def test_without_queries_there_is_no_recall() -> None:
    report = trained(FAMILIES["query cells"]).lsh_report()
    assert report.recall == {}
    assert "  recall  " not in str(report)
    assert "  recall  " in str(trained(FAMILIES["query cells"]).lsh_report(planted_data(300, D, N)[0]))


def test_a_layer_without_tables_is_refused() -> None:
    net = make_network([slide.SparseInput(D, 8), slide.Dense(N)])
    with pytest.raises(ValueError, match="layer: found -1, wanted a Sampled layer with tables"):
        net.lsh_report()


def test_coverage_counts_the_buckets_of_each_neuron() -> None:
    net = trained(FAMILIES["query cells"])
    lsh = net.states[-1].lsh
    assert lsh is not None
    held = [
        set(bucket[1 : 1 + min(bucket[0], lsh.capacity)].tolist())
        for bucket in lsh.buckets.reshape(-1, lsh.buckets.shape[2])
    ]
    often = [sum(neuron in bucket for bucket in held) for neuron in range(N)]
    shares = coverage(net.states[-1])
    assert shares.tolist() == [sum(n >= least for n in often) / N for least in range(1, max(often) + 1)]
    assert shares[0] == pytest.approx(1 - net.lsh_report().unreachable)


def test_the_command_prints_draws_and_dumps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    X, Y = planted_data(300, D, N)
    slide.SlideClassifier(hidden=(8,), epochs=1, n_active=30, n_threads=1).fit(X, Y).save(tmp_path / "m.slide")
    slide.write_xmc(tmp_path / "x.txt", X, Y)
    picture = tmp_path / "tables.png"
    assert main(["lsh", str(tmp_path / "m.slide"), str(tmp_path / "x.txt"), "--plot", str(picture), "--json"]) == 0
    out = capsys.readouterr().out
    facts = json.loads(out.splitlines()[-1])
    assert facts["n_neurons"] == N
    assert set(facts["recall"]) == {"1", "10"}
    assert "recall       top 1" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
