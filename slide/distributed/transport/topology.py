"""Which all-reduce suits the network: measured between all pairs, planned, and timed beside the library's own.

`PlannedGroup(group)` is a group whose all_reduce is the fastest found for each size of array, all else being the
group's own. Candidates: the library's, in the order of ranks as it is and in the best order; everybody to everybody,
for small arrays; and trees (trees.py), which are two levels where workers stand in racks, and packed trees in the
manner of Blink (Wang et al., MLSys 2020). Where nothing beats the library by a tenth, it is the library's.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.distributed.transport.group import Array, Later, Posted
from slide.distributed.transport.trees import Tree, direct_all_reduce, tree_all_reduce

Floats = npt.NDArray[np.float64]

PROBE = 1 << 18  # bytes that a pair sends each other first; a link of 100 Mbit takes 20 ms
LONG_ENOUGH = 0.04  # seconds that the measured message takes, so that those of the scheduler do not count,
LARGEST = 1 << 24  # bytes of it at most
SMALL = 1 << 16  # bytes up to which everybody to everybody is tried
MARGIN = 0.9  # of the library's time that another has to stay below, as predicted and as timed
TIMINGS = 3  # of each of the best candidates; the fastest counts
SHARED = 0.6  # pairs that reach less of their own bandwidth when all are at work share a link

# What each tree beside the first adds to the time, as their chunks wait for each other: over a trunk of 40 Mbit one
# took 250 ms and two 300 (tests/cluster/test_namespaces.py).
ANOTHER_TREE = 0.15


@dataclass(frozen=True)
class Network:
    """What was measured between workers a and b. seconds[a, b]: for a message of no length; alone[a, b] and together[a,
    b]: bytes a second, of the pair alone and while other pairs are at work.
    """

    seconds: Floats
    alone: Floats
    together: Floats

    @cached_property
    def hosts(self) -> Floats:
        """[W] Bytes a second that each worker reaches at best."""
        return self.alone.max(axis=1)

    @cached_property
    def racks(self) -> list[list[int]]:
        """Workers between whom bandwidth is not shared: those that reach each other well when all are at work.

        One rack where all do; a worker that reaches nobody well is slow itself, and no rack of its own.
        """
        size = len(self.together)
        limit = np.minimum.outer(self.hosts, self.hosts)
        near = self.together >= SHARED * limit
        racks: list[list[int]] = []
        for worker in range(size):
            for rack in racks:
                if all(near[worker, other] for other in rack):
                    rack.append(worker)
                    break
            else:
                racks.append([worker])
        return racks


@dataclass(frozen=True)
class Plan:
    """One way to add up: `order` of ranks for the library, or trees, or everybody to everybody."""

    name: str
    order: tuple[int, ...] | None = None
    trees: tuple[Tree, ...] = ()


LIBRARY = Plan("library")
DIRECT = Plan("direct")


def measure(group: Any, size: int = PROBE) -> Network:
    """Sends between all pairs, one pair after the other and then in rounds of a tournament. All workers call it."""
    workers = group.size
    seconds, alone, together = (np.zeros((workers, workers)) for _ in range(3))
    enough = np.full((workers, workers), size)
    for a, b in itertools.combinations(range(workers), 2):
        _settle(group)
        if group.rank in (a, b):
            other = a + b - group.rank
            seconds[a, b] = _exchange(group, other, 1, 5)
            rate = size / max(_exchange(group, other, size, 2) - seconds[a, b], 1e-9)
            enough[a, b] = _agreed(group, other, min(LARGEST, max(size, int(rate * LONG_ENOUGH))))
            alone[a, b] = enough[a, b] / max(_exchange(group, other, enough[a, b]) - seconds[a, b], 1e-9)
    for pairs in tournament(workers):
        _settle(group)
        for a, b in pairs:
            if group.rank in (a, b):
                taken = _exchange(group, a + b - group.rank, enough[a, b]) - seconds[a, b]
                together[a, b] = enough[a, b] / max(taken, 1e-9)
    found = np.stack([seconds, alone, together])
    found = group.all_gather(found).max(axis=0)  # both of a pair have measured; what they say has to be one
    found += found.transpose(0, 2, 1)
    return Network(*found)


def _agreed(group: Any, other: int, number: int) -> int:
    """The larger of what two workers say."""
    theirs = np.empty(1, np.int64)
    posted = group.irecv(theirs, other), group.isend(np.array([number], np.int64), other)
    for message in posted:
        message.wait()
    return max(number, int(theirs[0]))


def tournament(workers: int) -> list[list[tuple[int, int]]]:
    """Rounds of pairs in which each worker meets each other once, as many at the same time as there can be."""
    seats = [*range(workers), *([-1] if workers % 2 else [])]
    rounds = []
    for _ in range(len(seats) - 1):
        half = len(seats) // 2
        pairs = zip(seats[:half], reversed(seats[half:]), strict=True)
        rounds.append([(min(pair), max(pair)) for pair in pairs if -1 not in pair])
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return rounds


def _settle(group: Any) -> None:
    """All begin at the same time."""
    group.all_reduce(np.zeros(1, np.float32))


def _exchange(group: Any, other: int, size: int, times: int = 3) -> float:
    """Seconds in which two workers send each other so many bytes: the best of some; the first fills buffers."""
    best = math.inf
    mine, theirs = np.zeros(size, np.uint8), np.empty(size, np.uint8)
    for _ in range(times):
        began = time.perf_counter()
        posted = group.irecv(theirs, other), group.isend(mine, other)
        for message in posted:
            message.wait()
        best = min(best, time.perf_counter() - began)
    return best


def predicted(network: Network, plan: Plan, size: int) -> float:
    """Seconds that a plan takes for so many bytes: the busiest of hosts and of links between racks, and its steps."""
    workers = len(network.alone)
    if plan == DIRECT:
        traffic = np.full((workers, workers), float(size))
        steps = 1
    elif plan.trees:
        traffic = sum(tree.share * size * _edges(tree) for tree in plan.trees)  # type: ignore[assignment]
        steps = 2 * max(tree.depth() for tree in plan.trees)
    else:
        order = plan.order or tuple(range(workers))
        traffic = np.zeros((workers, workers))
        for a, b in zip(order, (*order[1:], order[0]), strict=True):
            traffic[a, b] += 2 * size * (workers - 1) / workers
        steps = 2 * (workers - 1)
    np.fill_diagonal(traffic, 0)
    waits = 1 + ANOTHER_TREE * max(0, len(plan.trees) - 1)
    return waits * _busiest(network, traffic) + steps * float(network.seconds[network.seconds > 0].mean())


def _edges(tree: Tree) -> Floats:
    """[W, W] 1 where an edge of the tree carries the array, which it does both ways."""
    edges = np.zeros((len(tree.parents), len(tree.parents)))
    for child, parent in enumerate(tree.parents):
        if parent >= 0:
            edges[child, parent] = edges[parent, child] = 1
    return edges


def _busiest(network: Network, traffic: Floats) -> float:
    """Seconds of the resource that needs the longest: a pair's way, a host, or what leaves a rack for another."""
    hosts, racks = network.hosts, network.racks
    with np.errstate(divide="ignore", invalid="ignore"):
        ways = np.nan_to_num(traffic / network.alone, nan=0.0, posinf=0.0)
    times = [ways.max(), (traffic.sum(axis=1) / hosts).max(), (traffic.sum(axis=0) / hosts).max()]
    for one, other in itertools.permutations(racks, 2):
        across = np.ix_(one, other)
        capacity = network.alone[across].mean()
        if capacity >= SHARED * min(hosts[one].mean(), hosts[other].mean()):  # one pair alone does not fill the trunk
            capacity = max(capacity, network.together[across].mean() * min(len(one), len(other)))
        times.append(traffic[across].sum() / capacity)
    return float(max(times))


def candidates(network: Network, size: int) -> list[Plan]:
    """Plans for arrays of so many bytes, the most promising first; the library's own is not among them."""
    plans = [Plan("order", order=best_order(network))]
    if size <= SMALL:
        plans.append(DIRECT)
    racks = network.racks
    if len(racks) > 1:
        plans.append(Plan("two levels", trees=(two_levels(network, racks, 0),)))
        count = min(len(rack) for rack in racks)
        if count > 1:
            share = 1 / count
            turns = tuple(two_levels(network, racks, turn, share) for turn in range(count))
            plans.append(Plan("two levels in turns", trees=turns))
    plans.append(Plan("packed trees", trees=packed_trees(network, size)))
    seconds = {plan: predicted(network, plan, size) for plan in plans}
    limit = MARGIN * predicted(network, LIBRARY, size)  # what noise alone sets apart is not worth its timing
    return sorted((plan for plan in plans if seconds[plan] < limit), key=lambda plan: seconds[plan])


def best_order(network: Network) -> tuple[int, ...]:
    """An order of ranks in which a ring crosses few bad links: racks one after the other, then what swaps improve."""
    order = [worker for rack in network.racks for worker in rack]

    def cost(order: Sequence[int]) -> float:
        return predicted(network, Plan("order", order=tuple(order)), PROBE)

    return tuple(_improved(order, cost))


def _improved(order: list[int], cost: Callable[[Sequence[int]], float]) -> list[int]:
    """Swaps two at a time while that helps."""
    best, found = cost(order), True
    while found:
        found = False
        for a, b in itertools.combinations(range(len(order)), 2):
            tried = order.copy()
            tried[a], tried[b] = tried[b], tried[a]
            if cost(tried) < 0.999 * best:
                order, best, found = tried, cost(tried), True
    return order


def two_levels(network: Network, racks: list[list[int]], turn: int, share: float = 1.0) -> Tree:
    """In each rack all send to one, the leader; the leaders send to that of the first rack. turn: which one leads."""
    hosts = network.hosts
    parents = [-1] * len(hosts)
    leaders = []
    for rack in racks:
        by_speed = sorted(rack, key=lambda worker: -hosts[worker])
        leader = by_speed[turn % len(rack)]
        leaders.append(leader)
        for worker in rack:
            if worker != leader:
                parents[worker] = leader
    root = leaders[turn % len(leaders)]
    for leader in leaders:
        if leader != root:
            parents[leader] = root
    return Tree(tuple(parents), share)


def packed_trees(network: Network, size: int, most: int = 3) -> tuple[Tree, ...]:
    """Trees that share the array out: each the best beside those before it, while one more is predicted to help."""
    trees: list[Tree] = []
    best = math.inf
    while len(trees) < most:
        share = 1 / (len(trees) + 1)
        others = [Tree(tree.parents, share) for tree in trees]
        tree = _best_tree(network, others, share, size)
        time_now = predicted(network, Plan("packed trees", trees=(*others, tree)), size)
        if time_now >= 0.97 * best:
            break
        trees, best = [*others, tree], time_now
    return tuple(trees)


def _best_tree(network: Network, others: list[Tree], share: float, size: int) -> Tree:
    """From paths and stars, moving one worker to another parent at a time while that helps."""
    workers = len(network.alone)

    def cost(parents: Sequence[int]) -> float:
        return predicted(network, Plan("packed trees", trees=(*others, Tree(tuple(parents), share))), size)

    def path(order: Sequence[int]) -> list[int]:
        parents = [-1] * workers
        for before, after in itertools.pairwise(order):
            parents[after] = before
        return parents

    fast = sorted(range(workers), key=lambda worker: -network.hosts[worker])
    starts = [path(best_order(network)), path(fast)]
    starts += [[-1 if worker == hub else hub for worker in range(workers)] for hub in range(workers)]
    best = min((_grafted(start, cost) for start in starts), key=cost)
    return Tree(tuple(best), share)


def _grafted(parents: list[int], cost: Callable[[Sequence[int]], float]) -> list[int]:
    best, found = cost(parents), True
    while found:
        found = False
        for worker, parent in itertools.product(range(len(parents)), repeat=2):
            if parents[worker] < 0 or parent in (worker, parents[worker]) or _is_above(parents, worker, parent):
                continue
            tried = parents.copy()
            tried[worker] = parent
            if cost(tried) < 0.999 * best:
                parents, best, found = tried, cost(tried), True
    return parents


def _is_above(parents: Sequence[int], worker: int, other: int) -> bool:
    """Whether `other` sends its sum by way of `worker`."""
    while other >= 0:
        if other == worker:
            return True
        other = parents[other]
    return False


def planned(group: Any, host: str) -> Any:
    """The group, as a PlannedGroup where its workers are on several hosts. host: this worker's address."""
    if group.size <= 2 or host.startswith("127."):  # two have nothing to choose
        return group
    digest = int.from_bytes(hashlib.blake2b(host.encode(), digest_size=7).digest())
    hosts = tuple(group.all_gather(np.array([digest], np.int64))[:, 0].tolist())
    return PlannedGroup(group, hosts) if len(set(hosts)) > 1 else group


_CACHE: dict[tuple[tuple[int, ...], int], Plan] = {}  # by hosts in the order of ranks, and size


class PlannedGroup:
    """See Group. A plan is made when an array of a new size (to a factor of four) is first added up."""

    def __init__(self, group: Any, hosts: tuple[int, ...] | None = None) -> None:
        """group: one with isend and irecv. hosts: what is known of the workers' hosts, for plans to be found again."""
        self._group, self._hosts = group, hosts
        self.rank, self.size, self.generation = group.rank, group.size, group.generation
        self.all_gather, self.broadcast, self.send, self.recv = (
            group.all_gather,
            group.broadcast,
            group.send,
            group.recv,
        )
        self._network: Network | None = None
        self._plans: dict[int, Plan] = {}
        self._ordered: dict[tuple[int, ...], Any] = {}

    @property
    def bytes_sent(self) -> int:
        """As the group's, with what its reordered ones have sent."""
        return int(self._group.bytes_sent + sum(group.bytes_sent for group in self._ordered.values()))

    @property
    def waiting_since(self) -> float | None:
        """As the group's, or that of one of its reordered ones."""
        found = [getattr(group, "waiting_since", None) for group in (self._group, *self._ordered.values())]
        return max((since for since in found if since is not None), default=None)

    def break_off(self) -> None:
        """Makes all calls raise PeerLost, those that wait too."""
        for group in (self._group, *self._ordered.values()):
            group.break_off()

    def all_reduce(self, array: Array) -> None:
        """See Group."""
        self._run(self.plan_for(array.nbytes), array)

    def iall_reduce(self, array: Array) -> Posted:
        """See Posting. A plan of our own is carried out at wait()."""
        if self.plan_for(array.nbytes) is LIBRARY:
            posted: Posted = self._group.iall_reduce(array)
            return posted
        return Later(lambda: self.all_reduce(array))

    def plan_for(self, size: int) -> Plan:
        """The plan for arrays of so many bytes. All workers call it."""
        if self.size <= 2 or size == 0:  # two have nothing to choose
            return LIBRARY
        kind = int(math.log(size, 4))
        if kind not in self._plans:
            self._plans[kind] = self._known(kind) or self._fastest(size)
            if self._hosts is not None:
                _CACHE[self._hosts, kind] = self._plans[kind]
        return self._plans[kind]

    def _known(self, kind: int) -> Plan | None:
        """A plan of an earlier group of the same hosts, if all workers remember it."""
        plan = None if self._hosts is None else _CACHE.get((self._hosts, kind))
        remember = np.array([plan is not None], np.int64)
        self._group.all_reduce(remember)
        return plan if remember[0] == self.size else None

    def _fastest(self, size: int) -> Plan:
        """Times the library and the two most promising candidates."""
        if self._network is None:
            self._network = measure(self._group)
        plans = [LIBRARY, *candidates(self._network, size)[:2]]
        if len(plans) == 1:
            return LIBRARY
        array = np.zeros(max(1, size // 4), np.float32)
        seconds = np.full((TIMINGS, len(plans)), np.inf)
        for turn, (number, plan) in itertools.product(range(TIMINGS), enumerate(plans)):
            _settle(self._group)
            began = time.perf_counter()
            self._run(plan, array)
            seconds[turn, number] = time.perf_counter() - began
        slowest = self._group.all_gather(seconds).max(axis=0).min(axis=0)  # the slowest worker's, of the best turn
        best = int(np.argmin(slowest))
        return plans[best] if slowest[best] < MARGIN * slowest[0] else LIBRARY

    def _run(self, plan: Plan, array: Array) -> None:
        if plan.trees:
            tree_all_reduce(self._group, array, plan.trees)
        elif plan == DIRECT:
            direct_all_reduce(self._group, array)
        elif plan.order is not None:
            if plan.order not in self._ordered:
                self._ordered[plan.order] = self._group.reordered(list(plan.order))
            self._ordered[plan.order].all_reduce(array)
        else:
            self._group.all_reduce(array)
