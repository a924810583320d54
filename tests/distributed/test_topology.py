"""Plans for networks that are written down, and their execution in threads; tests/cluster measures real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slide.distributed.transport import topology
from slide.distributed.transport.group import PeerLost
from slide.distributed.transport.local import run_local
from slide.distributed.transport.topology import (
    LIBRARY,
    Network,
    Plan,
    PlannedGroup,
    best_order,
    candidates,
    packed_trees,
    predicted,
)
from slide.distributed.transport.trees import Tree, direct_all_reduce, tree_all_reduce

MBIT = 1e6 / 8


def network(workers: int, slow: dict[int, float], racks: list[list[int]] | None = None, trunk: float = 0.0) -> Network:
    """Hosts of 1 Gbit but for slow ones, and a trunk that racks share."""
    hosts = np.array([slow.get(worker, 1000.0) for worker in range(workers)]) * MBIT
    alone = np.minimum.outer(hosts, hosts)
    together = alone.copy()
    if racks is not None:
        for worker, other in np.ndindex(workers, workers):
            if not any(worker in rack and other in rack for rack in racks):
                alone[worker, other] = trunk * MBIT
                together[worker, other] = trunk * MBIT / min(map(len, racks))
    np.fill_diagonal(alone, 0)
    np.fill_diagonal(together, 0)
    return Network(np.full((workers, workers), 1e-4), alone, together)


def test_racks_are_found_and_a_slow_host_is_none() -> None:
    assert network(4, {}).racks == [[0, 1, 2, 3]]
    assert network(4, {2: 100.0}).racks == [[0, 1, 2, 3]]
    assert network(4, {}, [[0, 2], [1, 3]], 200).racks == [[0, 2], [1, 3]]


def test_the_best_order_crosses_the_trunk_once_each_way() -> None:
    order = best_order(network(6, {}, [[0, 2, 4], [1, 3, 5]], 200))
    crossings = sum(a % 2 != b % 2 for a, b in zip(order, (*order[1:], order[0]), strict=True))
    assert crossings == 2


def test_on_two_racks_two_levels_beat_the_ring_and_a_slow_host_is_a_leaf() -> None:
    racks = network(4, {}, [[0, 2], [1, 3]], 200)
    two_levels = next(plan for plan in candidates(racks, 1 << 22) if plan.name == "two levels")
    assert predicted(racks, two_levels, 1 << 22) < 0.8 * predicted(racks, LIBRARY, 1 << 22)
    slow = network(4, {2: 100.0})
    trees = packed_trees(slow, 1 << 19)
    assert all(not tree.children(2) and tree.parents[2] >= 0 for tree in trees)
    assert predicted(slow, Plan("packed trees", trees=trees), 1 << 19) < 0.75 * predicted(slow, LIBRARY, 1 << 19)


def test_where_all_links_are_equal_no_tree_is_predicted_to_beat_the_ring() -> None:
    uniform = network(5, {})
    assert candidates(uniform, 1 << 22) == []
    assert topology.DIRECT in candidates(uniform, 1 << 10)


@pytest.mark.parametrize("workers", range(1, 8))
def test_in_a_tournament_each_pair_meets_once(workers: int) -> None:
    rounds = topology.tournament(workers)
    pairs = [pair for one in rounds for pair in one]
    assert len(pairs) == len(set(pairs)) == workers * (workers - 1) // 2
    for one in rounds:
        busy = [worker for pair in one for worker in pair]
        assert len(busy) == len(set(busy))


TREES = [
    [Tree((-1, 0, 1, 2))],
    [Tree((1, -1, 1, 1))],
    [Tree((1, -1, 1, 2), 0.3), Tree((3, 3, 3, -1), 0.5), Tree((-1, 0, 0, 2), 0.2)],
]


@pytest.mark.parametrize("trees", TREES)
@pytest.mark.parametrize("length", [0, 1, 3, 1000])
def test_trees_add_up(trees: list[Tree], length: int) -> None:
    def work(group: Any) -> None:
        array = np.arange(length, dtype=np.float32) + group.rank
        tree_all_reduce(group, array, trees, chunk=64)
        np.testing.assert_array_equal(array, 4 * np.arange(length) + 6)
        table = np.arange(6).reshape(2, 3) + group.rank
        direct_all_reduce(group, table)
        np.testing.assert_array_equal(table, 4 * np.arange(6).reshape(2, 3) + 6)
        noise = np.random.default_rng(group.rank).standard_normal(1001).astype(np.float32)
        tree_all_reduce(group, noise, trees, chunk=64)
        assert len(np.unique(group.all_gather(noise), axis=0)) == 1

    run_local(4, work)


@pytest.mark.parametrize("name", ["library", "direct", "order", "packed trees"])
def test_a_planned_group_adds_up_whatever_it_chooses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = {
        "library": LIBRARY,
        "direct": topology.DIRECT,
        "order": Plan("order", order=(2, 0, 1)),
        "packed trees": Plan("packed trees", trees=(Tree((1, -1, 0)),)),
    }
    monkeypatch.setattr(topology, "LONG_ENOUGH", 0.0)
    monkeypatch.setattr(topology, "_CACHE", {})

    def work(group: Any) -> tuple[str, str, PlannedGroup]:
        planned = PlannedGroup(group, hosts=(7, 7, 9))
        chosen = planned.plan_for(4000).name  # measures, and times
        again = PlannedGroup(group, hosts=(7, 7, 9)).plan_for(4000).name  # remembers
        planned._plans = dict.fromkeys(range(20), plans[name])
        array = np.arange(1000, dtype=np.float32) + group.rank
        planned.all_reduce(array)
        np.testing.assert_array_equal(array, 3 * np.arange(1000) + 3)
        assert planned.bytes_sent > 0
        return chosen, again, planned

    for chosen, again, planned in run_local(3, work):
        assert chosen == again
        planned.break_off()
        with pytest.raises(PeerLost):
            planned.all_reduce(np.zeros(1000, np.float32))
