"""Which workers are slow, and how much they get: by clocks that are made up."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from shared_fits import fitted, p_at_1

from slide.distributed.engines import Local
from slide.distributed.training import pace
from slide.distributed.training.loop import SharedTraining
from slide.distributed.training.moving import Piece, join_lists, move_lists
from slide.distributed.training.pace import ClockedGroup, Floats, Pace
from slide.distributed.transport.local import LocalGroup, Meeting

pytestmark = pytest.mark.usefixtures("small_windows")

WINDOW = 16  # blocks, between which rows may move
FIXED, SHARED = 0.002, 0.004  # seconds of a processor a block, whatever the share, and times it
EXCHANGE = 0.0015  # seconds, of which there are two
PERIOD = 0.1  # of a quota


@dataclass
class Processor:
    """Computes for so much of a period."""

    quota: float | None = None
    used: float = 0.0
    period: int = -1

    def after(self, now: float, seconds: float) -> float:
        """When it has computed for so long."""
        while self.quota and seconds > 1e-9:
            if self.period != int(now / PERIOD + 1e-6):
                self.period, self.used = int(now / PERIOD + 1e-6), 0.0
            some = min(seconds, self.quota * PERIOD - self.used, (self.period + 1) * PERIOD - now)
            if some <= 1e-9:
                now = (self.period + 1) * PERIOD
                continue
            now, seconds, self.used = now + some, seconds - some, self.used + some
        return now + seconds


@dataclass
class Workers:
    """Train blocks together, as fast as the slowest. noise : of the logarithm of what a block takes"""

    n: int = 2
    largest: float = 1.5
    moving: float = 0.5
    noise: float = 0.1
    hiccups: float = 0.0  # share of blocks that take 20 ms longer, more or less
    latency: float = 0.0  # of an exchange, in which nobody computes
    says_quota: bool = True  # whether workers can ask for it
    balance: bool = True
    seed: int = 0
    now: float = 0.0
    block: int = 0
    moves: list[tuple[int, Floats]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pace, self.shares = Pace(self.largest), np.full(self.n, 1 / self.n)
        self.processors = [Processor() for _ in range(self.n)]
        self.rng, self.slower = np.random.default_rng(self.seed), np.ones(self.n)

    def train(self, blocks: int) -> float:
        """Blocks a second."""
        began = self.now
        for _ in range(blocks):
            self._train_one()
        return blocks / (self.now - began)

    def _train_one(self) -> None:
        cost = (FIXED + SHARED * self.n * self.shares) * self.slower * self.rng.lognormal(0, self.noise, self.n)
        cost += self.rng.exponential(0.02, self.n) * (self.rng.random(self.n) < self.hiccups)
        own = np.array([one.after(self.now, c) for one, c in zip(self.processors, cost, strict=True)]) - self.now
        began = self.now
        self.now += own.max() + EXCHANGE + self.latency
        self.now = max(one.after(self.now, EXCHANGE) for one in self.processors)
        waited = self.now - began - own
        quotas = np.array([one.quota or 0.0 for one in self.processors]) * self.says_quota
        limited = np.divide(cost + 2 * EXCHANGE, quotas, out=np.zeros(self.n), where=quotas > 0)
        self.pace.take(np.array([own, limited, waited, quotas, np.full(self.n, self.moving)]))
        self.block += 1
        if self.balance and self.block % WINDOW == 0:
            found = self.pace.better(self.shares)
            if found is not None:
                self.shares, self.now = np.array(found), self.now + self.moving
                self.moves.append((self.block, self.shares))


@pytest.mark.parametrize("block", range(100, 116))
def test_a_worker_with_half_a_processor_is_found_and_most_is_won_back(block: int) -> None:
    rates = []
    for balance in (False, True):
        workers = Workers(balance=balance, seed=block)
        before = workers.train(block)
        assert not workers.moves
        workers.processors[1].quota = 0.5
        workers.train(200)
        rates.append(workers.train(400))
    assert block < workers.moves[0][0] <= block + 30
    assert len(workers.moves) <= 2
    assert (rates[1] - rates[0]) / (0.75 * before - rates[0]) > 0.8
    workers.processors[1].quota = None
    free, n = workers.block, len(workers.moves)
    workers.train(200)
    assert [at <= free + 30 for at, _ in workers.moves[n:]] == [True]
    np.testing.assert_allclose(workers.shares, 0.5)


def test_a_quota_that_leaves_enough_moves_nothing() -> None:
    workers = Workers(latency=0.02)
    workers.train(96)
    workers.processors[1].quota = 0.5
    workers.train(320)
    assert not workers.moves


def test_quotas_that_all_have_move_nothing_and_are_come_back_to() -> None:
    workers = Workers(3)
    for one in workers.processors:
        one.quota = 0.6
    workers.train(160)
    assert not workers.moves
    workers.processors[0].quota = 0.3
    workers.train(64)
    assert workers.shares[0] < 0.25
    workers.processors[0].quota = 0.6
    workers.train(64)
    np.testing.assert_allclose(workers.shares, 1 / 3)


def test_one_that_is_throttled_unseen_gets_more_seldom_and_seldom_again() -> None:
    """What it could do more with less of a share looks as if it were fast again."""
    even = Workers(balance=False, says_quota=False, noise=0.3)
    workers = Workers(says_quota=False, noise=0.3, moving=0.03)
    for one in (even, workers):
        one.train(96)
        one.processors[1].quota = 0.5
    assert workers.train(2400) > 1.15 * even.train(2400)
    assert workers.moves[0][0] <= 96 + 64
    assert len(workers.moves) <= 16
    back = [
        at for (at, shares), (_, before) in zip(workers.moves[1:], workers.moves, strict=False) if shares[1] > before[1]
    ]
    assert 1 <= len(back) <= 8


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize(("noise", "hiccups"), [(0.3, 0.0), (0.1, 0.1), (0.3, 0.1)])
def test_chance_moves_nothing(n: int, noise: float, hiccups: float) -> None:
    for seed in range(2):
        workers = Workers(n, noise=noise, hiccups=hiccups, seed=seed)
        workers.train(640)
        assert not workers.moves


def test_a_slower_machine_gets_less_and_what_is_won_pays_for_the_moves() -> None:
    even = Workers(3, noise=0.05, balance=False)
    workers = Workers(3, noise=0.05, moving=0.2)
    for one in (even, workers):
        one.slower[2] = 2
    assert workers.train(800) > 1.1 * even.train(800)
    assert workers.shares[2] < 0.25
    assert 1 <= len(workers.moves) <= 3
    workers.slower[2] = 1
    n = len(workers.moves)
    workers.train(800)
    assert workers.shares[2] > workers.moves[n - 1][1][2] + 0.02


def test_nobody_comes_to_hold_more_than_is_allowed() -> None:
    for largest in (1.0, 1.1):
        workers = Workers(largest=largest)
        workers.train(96)
        workers.processors[1].quota = 0.5
        workers.train(320)
        assert workers.shares.max() == pytest.approx(largest / 2)
        assert len(workers.moves) == (largest > 1)


def test_other_workers_are_not_judged_by_what_those_before_did() -> None:
    clock = Pace()
    for n in (2, 3):
        for _ in range(pace.PATIENCE - 1):
            clock.take(told([*[1.0] * (n - 1), 3.0]))
        assert clock.better(np.full(n, 1 / n)) is None
    clock.take(told([1.0, 1.0, 3.0]))
    assert clock.better(np.full(3, 1 / 3)) is not None
    assert Pace().better(np.array([1.0])) is None


def told(seconds: list[float], limited: list[float] | None = None, quotas: list[float] | None = None) -> Floats:
    """Of a block."""
    nothing = [0.0] * len(seconds)
    return np.array([seconds, limited or nothing, nothing, quotas or nothing, nothing])


def test_a_worker_says_its_own_seconds_and_those_that_its_quota_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = [None, 0.5, None]
    monkeypatch.setattr(pace, "processor_limit", lambda n_threads: limits[n_threads])
    meeting = Meeting(1, 60)
    free, half = (ClockedGroup(LocalGroup(meeting, 0, 0), n, moving=7.0) for n in (0, 1))
    for group in (free, half):
        group.begin_block()
        began, used = time.perf_counter(), time.process_time()
        while time.process_time() - used < 0.02:
            pass
        group.all_reduce(np.zeros(1))
        own, limited, waited, quota, moving = group.told()
        elapsed, computed = time.perf_counter() - began, time.process_time() - used
        assert 0 < own <= elapsed + 0.001
        assert moving == 7.0
        assert own + waited <= elapsed + 0.001
        if group is free:
            assert (limited, quota) == (0.0, 0.0)
        else:
            assert quota == 0.5
            assert 0.04 <= limited <= 2 * computed + 0.001


def test_seconds_in_the_group_are_not_its_own() -> None:
    class Slow:
        def all_reduce(self, array: Floats) -> None:
            time.sleep(0.05)

    group = ClockedGroup(Slow())  # type: ignore[arg-type]
    began = time.perf_counter()
    group.all_reduce(np.zeros(1))
    assert group.told()[pace.OWN] <= time.perf_counter() - began - 0.05
    group.begin_block()
    assert group.told()[pace.OWN] <= time.perf_counter() - began - 0.05


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_shares_are_those_with_which_all_take_as_long() -> None:
    def took(shares: Floats) -> Floats:
        return np.array([1.0, 1.0, 1.5, 20.0]) * (pace.FIXED / 4 + (1 - pace.FIXED) * shares)

    equal = np.full(4, 0.25)
    found = pace.wanted_shares(equal, took(equal), np.ones(4))
    assert found.sum() == pytest.approx(1)
    assert found[3] == pytest.approx(pace.LEAST / 4)
    np.testing.assert_allclose(took(found)[:3], took(found)[0], rtol=1e-6)
    for largest in (1.0, 1.1, 1.3):
        found = pace.wanted_shares(equal, took(equal), np.full(4, largest / 4))
        assert found.sum() == pytest.approx(1)
        assert found.max() <= largest / 4 + 1e-9
    each = pace.wanted_shares(equal, np.ones(4), np.array([0.1, 0.3, 1.0, 1.0]))
    np.testing.assert_allclose(each, [0.1, 0.3, 0.3, 0.3])


def test_rows_move_only_where_something_is_won() -> None:
    clock = Pace(largest=1.1)
    for shares, wanted in (([0.5, 0.5], [0.55, 0.45]), ([0.55, 0.45], None)):
        for _ in range(pace.PATIENCE):
            clock.take(told([1.0, 2.0]))
        found = clock.better(np.array(shares))
        assert found is None if wanted is None else found == pytest.approx(wanted)
        if found:
            assert clock.better(np.array(shares)) is None  # of blocks with these shares nothing is known


# -- what moves --------------------------------------------------------------------------------------------------------


def test_lists_go_with_their_labels() -> None:
    """In three workers' hands, before and after: each cell lists the same labels, but for those beyond a capacity."""
    rng, cells, capacity = np.random.default_rng(0), 64, 24
    before, after = [(0, 100), (100, 200), (200, 300)], [(0, 140), (140, 160), (160, 300)]
    lists = [np.zeros((cells, 32), np.int32) for _ in before]
    listed: list[set[int]] = [set() for _ in range(cells)]
    for (first, end), own in zip(before, lists, strict=True):
        own[:, 0] = rng.integers(0, 9, cells)
        for cell, n in enumerate(own[:, 0].tolist()):
            own[cell, 1 : 1 + n] = rng.choice(end - first, n, replace=False)
            listed[cell] |= set((own[cell, 1 : 1 + n] + first).tolist())
    meeting, pieces = Meeting(3, 60), [Piece(rank, one) for rank, one in enumerate(before)]

    def move(rank: int, most: int) -> np.ndarray:
        own = [lists[i] if i == rank else None for i in range(3)]
        into = np.full((cells, 32), 7, np.int32)
        join_lists(move_lists(LocalGroup(meeting, rank, 0), pieces, after, own), after[rank], most, into)
        return into

    with ThreadPoolExecutor(3) as pool:
        whole = list(pool.map(lambda rank: move(rank, capacity), range(3)))
        short = list(pool.map(lambda rank: move(rank, 2), range(3)))
    for cell in range(cells):
        found = [row[cell, 1 : 1 + row[cell, 0]] for row in whole]
        assert all(
            (ids >= 0).all() and (ids < end - first).all() for ids, (first, end) in zip(found, after, strict=True)
        )
        labels = [int(label) + first for ids, (first, _) in zip(found, after, strict=True) for label in ids]
        assert len(labels) == len(set(labels))
        assert set(labels) == listed[cell]
    for all_of, first_of in zip(whole, short, strict=True):
        assert (first_of[:, 0] == np.minimum(all_of[:, 0], 2)).all()
        both = first_of[:, 0] == 2
        assert (first_of[both, 1:3] == all_of[both, 1:3]).all()


def test_a_fit_whose_rows_move_learns_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"epochs": 4, "wide": False, "n_active": 64}
    alone = p_at_1(fitted(Local(2), **options))
    real, shares = SharedTraining.train_block, iter([[0.7, 0.3], [0.4, 0.6], [0.55, 0.45]])
    listed: dict[tuple[int, int], float] = {}  # of each range of labels, the share of them that a list has

    def train_block(self: SharedTraining, fit: Any) -> Any:
        found, (first, end), lsh = real(self, fit), self.shard.labels, self.shard.output.lsh
        assert lsh is not None
        listed[first, end] = lsh.buckets[0, :, 0].mean() / (end - first)
        return found

    def refill_from_lists(self: SharedTraining) -> None:
        self.shard.head.engine.rebuild(1, self.at.n_rebuilds, True)  # as of many labels

    monkeypatch.setattr(SharedTraining, "refill", refill_from_lists)
    monkeypatch.setattr(Pace, "better", lambda self, now: next(shares, None))
    monkeypatch.setattr(SharedTraining, "train_block", train_block)
    assert p_at_1(fitted(Local(2), **options)) > alone - 0.08
    assert len(listed) == 8
    assert min(listed.values()) > 0.95  # so few labels are all in every list
