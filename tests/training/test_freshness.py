"""When tables are rebuilt by drift of the rows, and whether a fit's account of rebuild time is right."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from engine_strategies import BACKENDS, make_network, planted_data

import slide
import slide.training.loop
from slide.training.drift import DriftMeter

D, N = 300, 200


def network(engine: str, **options: Any) -> slide.Network:
    lsh = slide.SimHash(K=4, L=10, capacity=32)
    sampled = slide.Sampled(N, lsh=lsh, n_active=40, n_random=15)
    return make_network([slide.SparseInput(D, 24), sampled], engine, **options)


def rebuild_steps(net: slide.Network, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the step of every rebuild to come."""
    at: list[int] = []
    rebuild = net.rebuild_tables
    monkeypatch.setattr(net, "rebuild_tables", lambda x=None, **how: (at.append(net.step), rebuild(x, **how)))
    return at


@pytest.mark.parametrize("engine", BACKENDS)
def test_rows_that_barely_move_leave_the_tables_alone(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = planted_data(600, D, N)
    for lr, expected in ((1e-6, [0, 600]), (0.5, [0, 100, 200, 300, 400, 500, 600])):
        rebuild = slide.Rebuild(every=100, growth=0, drift=0.01)
        net = network(engine, rebuild=rebuild, optimizer=slide.Adagrad(lr))
        at = rebuild_steps(net, monkeypatch)
        net.fit(X, Y)
        assert at == expected


def test_equal_seeds_rebuild_at_equal_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = planted_data(800, D, N)
    seen = []
    for _ in range(2):
        net = network(BACKENDS[-1], rebuild=slide.Rebuild(every=20, growth=0, drift=0.2), seed=5)
        at = rebuild_steps(net, monkeypatch)
        net.fit(X, Y, epochs=2)
        seen.append((at, net.weights(1).copy()))
    assert seen[0][0] == seen[1][0]
    assert 3 < len(seen[0][0]) < 2 * 800 // 20
    np.testing.assert_array_equal(seen[0][1], seen[1][1])


def test_drift_is_the_share_by_which_rows_changed() -> None:
    net = network(BACKENDS[-1])
    meter = DriftMeter(net)
    assert meter.measure() == float("inf")
    meter.mark()
    assert meter.measure() == 0
    net.weights(1)[:] *= 2
    net.biases(1)[:] *= 2
    assert meter.measure() == pytest.approx(0.5)


def test_rebuild_seconds_are_those_spent_in_rebuilds(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(BACKENDS[-1], rebuild=slide.Rebuild(every=100, growth=0))
    rebuild, clock, now = net.rebuild_tables, time.perf_counter, [0.0]
    monkeypatch.setattr("slide.training.loop.time.perf_counter", lambda: clock() + now[0])

    def slow(examples: Any = None, **how: Any) -> None:
        rebuild(examples, **how)
        now[0] += 1000.0

    monkeypatch.setattr(net, "rebuild_tables", slow)
    seen: list[slide.training.progress.Progress] = []
    net.fit(*planted_data(300, D, N), callback=seen.append)
    assert seen[-1].rebuilds == 4
    assert 4000 <= seen[-1].rebuild_seconds <= seen[-1].seconds < 5000


@pytest.mark.parametrize("drift", [0.0, -1.0, float("nan"), float("inf")])
def test_a_drift_that_makes_no_sense_is_named(drift: float) -> None:
    with pytest.raises(ValueError, match=r"Rebuild\(drift=\)"):
        slide.Rebuild(drift=drift)
