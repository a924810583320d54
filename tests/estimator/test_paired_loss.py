"""The promise of `optimize` on made-up losses: how often it is broken, and how often it can be kept."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.estimator.paired_loss import (
    RowMetric,
    confirmed,
    fewest_rows,
    in_order,
    is_confirmed,
    log_fortune,
    upper_bound,
)

MOST = 0.005
SPLITS = 200


def drawn(rng: np.random.Generator, n: int, mean: float, changed: float) -> np.ndarray:
    """Losses of -1, 0 and 1, of such a mean, with such a share of rows that are not 0."""
    return rng.choice([1.0, 0.0, -1.0], n, p=[(changed + mean) / 2, 1 - changed, (changed - mean) / 2])


def pool(rng: np.random.Generator, n: int, mean: float, changed: float) -> np.ndarray:
    """The same with exactly that mean."""
    up, down = round(n * (changed + mean) / 2), round(n * (changed - mean) / 2)
    return rng.permutation(np.r_[np.ones(up), -np.ones(down), np.zeros(n - up - down)])


@pytest.mark.parametrize("changed", [0.006, 0.02, 0.2])
def test_the_promise_is_broken_in_at_most_one_of_twenty_splits(changed: float) -> None:
    """Of a pool of rows with six plans, five of which lose just more than was allowed; the faster, the more."""
    rng = np.random.default_rng(5)
    n = 10_000
    plans = [pool(rng, n, mean, changed) for mean in (0.001, 0.0052, 0.0052, 0.0054, 0.0056, 0.0056)]
    means = [plan.mean() for plan in plans]
    times = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    broken = 0
    for _ in range(SPLITS):
        rows = rng.integers(n, size=4_000)  # with replacement: the pool is what they are drawn from
        first, second = rows[:1_500], rows[1_500:]
        earlier, held = [plan[first] for plan in plans], [plan[second] for plan in plans]
        order = in_order(earlier, times, MOST)
        n_passed = confirmed(order, held, earlier, MOST, 0.95)
        broken += bool(n_passed) and means[order[n_passed - 1]] > MOST
    assert min(means[1:]) > MOST
    assert broken <= 0.05 * SPLITS


def test_a_plan_that_loses_just_what_is_allowed_passes_rarely() -> None:
    """The bound itself, at its worst: a mean of exactly `most`."""
    rng = np.random.default_rng(6)
    passed = sum(
        is_confirmed(drawn(rng, 3_000, MOST, 0.01), drawn(rng, 1_000, MOST, 0.01), MOST, 0.95) for _ in range(400)
    )
    assert passed <= 0.05 * 400 + 2.5 * np.sqrt(0.05 * 0.95 * 400)


def test_a_plan_that_loses_little_passes_nearly_always() -> None:
    rng = np.random.default_rng(7)
    found = [
        is_confirmed(drawn(rng, 12_000, 0.001, 0.01), drawn(rng, 2_000, 0.001, 0.01), MOST, 0.95) for _ in range(50)
    ]
    assert np.mean(found) > 0.9


def test_as_few_rows_as_are_asked_for_are_enough_if_none_loses() -> None:
    n = fewest_rows(MOST, 0.95)
    assert is_confirmed(np.zeros(n), np.zeros(n), MOST, 0.95)
    assert not is_confirmed(np.zeros(n - 1), np.zeros(n), MOST, 0.95)


def test_stakes_know_earlier_rows_only() -> None:
    """A row's own loss must not change what is staked on it: that alone makes the bet fair."""
    earlier = np.zeros(100)
    most = 0.1
    alone = [log_fortune(np.array([loss]), earlier, most) for loss in (0.0, -1.0)]
    stake = (np.exp(alone[0]) - 1) / most
    assert np.exp(alone[1]) == pytest.approx(1 + stake * (most + 1))
    assert log_fortune(np.array([1.0]), earlier, most) == 0  # lost, and the fortune of the beginning was the largest


def test_the_bound_is_over_the_mean_and_falls_with_the_rows() -> None:
    rng = np.random.default_rng(8)
    losses = drawn(rng, 8_000, 0.002, 0.02)
    bounds = [upper_bound(losses[:n], losses[:500], 0.95) for n in (500, 2_000, 8_000)]
    assert bounds[0] > bounds[1] >= bounds[2] > losses.mean()
    assert bounds[2] < 0.01


def test_plans_that_another_one_beats_in_both_are_not_tested() -> None:
    sure, slow, fast = np.zeros(100), np.r_[np.full(1, 0.4), np.zeros(99)], np.r_[np.full(2, 0.2), np.zeros(98)]
    assert in_order([sure, slow, fast], [2.0, 3.0, 1.0], MOST) == [0, 2]
    assert in_order([np.full(100, 0.5)], [1.0], MOST) == []


@pytest.mark.parametrize("metric", ["p@1", "p@3", "recall@3", "ndcg@3"])
def test_losses_are_those_of_the_metric(metric: str) -> None:
    rng = np.random.default_rng(9)
    Y = sp.csr_array((rng.random((40, 12)) < 0.2).astype(np.float32))
    before, after = (np.argsort(rng.random((40, 12)), axis=1)[:, :3].astype(np.int32) for _ in range(2))
    name, k = metric.split("@")
    scored = {"p": slide.metrics.precision_at_k, "recall": slide.metrics.recall_at_k, "ndcg": slide.metrics.ndcg_at_k}
    expected = scored[name](Y, before, k=int(k)) - scored[name](Y, after, k=int(k))
    losses = RowMetric.of(metric, 12).losses(before, after, Y)
    assert losses.mean() == pytest.approx(expected)
    assert abs(losses).max() <= 1


def test_agreement_is_the_share_of_labels_that_stay() -> None:
    before, after = np.array([[1, 2], [3, 4], [5, -1]], np.int32), np.array([[2, 1], [3, 9], [-1, 5]], np.int32)
    assert RowMetric.of("agreement@2", 10).losses(before, after, None).tolist() == [0, 0.5, 0]


@pytest.mark.parametrize("metric", ["p@0", "p@11", "psp@1", "p", "", None, 1, "p@1 "])
def test_other_metrics_are_refused(metric: object) -> None:
    with pytest.raises(ValueError, match=r"metric: found .* wanted one of p, recall, ndcg, agreement and @k"):
        RowMetric.of(metric, 10)
