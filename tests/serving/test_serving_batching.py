"""Batches of whatever waits: who is predicted with whom, what is refused, and that each gets its own answer."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from serving_client import run

from slide.serving.batching import Batcher, Pace
from slide.serving.hosted import Best
from slide.serving.limits import Limits
from slide.serving.refusal import Refusal


class Echo:
    """A model whose best label of row n is n. It predicts when it may, and fails where a row is negative."""

    kind = "rows"

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may = threading.Event()
        self.may.set()
        self.begun = threading.Event()

    def best(self, rows: Sequence[int], k: int) -> Best:
        self.calls.append(list(rows))
        self.begun.set()
        assert self.may.wait(60)
        if min(rows) < 0:
            raise ValueError("a negative row")
        ids = np.repeat(np.array(rows, np.int32)[:, None], k, axis=1)
        return Best(ids, ids.astype(np.float32))


@asynccontextmanager
async def batching(**limits: Any) -> AsyncIterator[Batcher]:
    """However slow this machine is, unless a test says what may take how long."""
    batcher = Batcher(Limits(**{"deadline": 60.0, "queue_seconds": 1e9} | limits))
    batcher.start()
    try:
        yield batcher
    finally:
        await batcher.stop()
    assert batcher.queued_rows == 0


async def held(model: Echo, batcher: Batcher) -> asyncio.Task[Best]:
    """A request that is being predicted until the model may."""
    model.may.clear()
    model.begun.clear()
    first = asyncio.ensure_future(batcher.predict(model, [0], 1))  # type: ignore[arg-type]
    await asyncio.to_thread(model.begun.wait, 60)
    return first


async def several(batcher: Batcher, model: Echo, rows: Sequence[Sequence[int]], k: int = 1) -> list[Any]:
    asked = [batcher.predict(model, list(some), k) for some in rows]  # type: ignore[arg-type]
    return await asyncio.gather(*asked, return_exceptions=True)


async def queued(batcher: Batcher, model: Echo, rows: Sequence[Sequence[int]], k: int = 1) -> asyncio.Future[list[Any]]:
    """They wait when this returns."""
    wanted = batcher.queued_rows + sum(map(len, rows))
    waiting = asyncio.ensure_future(several(batcher, model, rows, k))
    while batcher.queued_rows < wanted:
        await asyncio.sleep(0)
    return waiting


def test_what_came_meanwhile_is_one_batch_and_each_gets_its_own() -> None:
    async def main() -> None:
        model = Echo()
        async with batching() as batcher:
            first = await held(model, batcher)
            rows = [[10 * i, 10 * i + 1][: 1 + i % 2] for i in range(1, 21)]
            waiting = await queued(batcher, model, rows)
            model.may.set()
            assert (await first).ids.tolist() == [[0]]
            assert [best.ids[:, 0].tolist() for best in await waiting] == rows
        assert model.calls == [[0], [row for some in rows for row in some]]

    run(main())


def test_a_batch_holds_no_more_rows_than_it_may_and_keeps_their_order() -> None:
    async def main() -> None:
        model = Echo()
        async with batching(batch_rows=8, max_rows=8) as batcher:
            first = await held(model, batcher)
            rows = [[i] * n for i, n in enumerate((5, 4, 4, 8, 1, 7, 3), 1)]
            waiting = await queued(batcher, model, rows)
            model.may.set()
            await asyncio.gather(first, waiting)
        assert [len(call) for call in model.calls] == [1, 5, 8, 8, 8, 3]
        assert [row for call in model.calls for row in call] == [0] + [row for some in rows for row in some]

    run(main())


def test_a_full_queue_refuses_at_once_and_then_takes_again() -> None:
    async def main() -> None:
        model = Echo()
        async with batching(batch_rows=4, max_rows=4, queue_rows=6) as batcher:
            first = await held(model, batcher)
            waiting = await queued(batcher, model, [[1, 2, 3], [4, 5]])
            with pytest.raises(Refusal, match="found 6 rows waiting, wanted at most 6") as refused:
                await batcher.predict(model, [6], 1)  # type: ignore[arg-type]
            assert refused.value.status == 503
            assert refused.value.headers == ((b"retry-after", b"1"),)
            model.may.set()
            await asyncio.gather(first, waiting)
            assert (await batcher.predict(model, [7], 1)).ids.tolist() == [[7]]  # type: ignore[arg-type]
        assert [6] not in model.calls

    run(main())


def test_what_is_late_is_told_so_and_not_predicted() -> None:
    async def main() -> None:
        model = Echo()
        async with batching(deadline=0.05) as batcher:
            first = await held(model, batcher)
            late = await several(batcher, model, [[1], [2]])
            assert [error.status for error in late] == [504, 504]
            assert batcher.queued_rows == 3  # the thread has not seen that they are late
            model.may.set()
            with pytest.raises(Refusal):
                await first
            assert (await batcher.predict(model, [3], 1)).ids.tolist() == [[3]]  # type: ignore[arg-type]
        assert model.calls == [[0], [3]]

    run(main())


def test_one_bad_row_among_63_good_ones() -> None:
    async def main() -> None:
        model = Echo()
        async with batching() as batcher:
            first = await held(model, batcher)
            rows = [[i if i != 20 else -1] for i in range(64)]
            waiting = await queued(batcher, model, rows)
            model.may.set()
            await first
            found = await waiting
        assert isinstance(found[20], Refusal)
        assert (found[20].status, found[20].sentence) == (400, "rows: a negative row")
        assert [best.ids.tolist() for i, best in enumerate(found) if i != 20] == [[[i]] for i in range(64) if i != 20]

    run(main())


def test_models_and_k_are_not_mixed() -> None:
    async def main() -> None:
        model, other = Echo(), Echo()
        async with batching() as batcher:
            first = await held(model, batcher)
            waiting = [await queued(batcher, m, [[i], [i + 1]], k) for i, (m, k) in enumerate(((model, 1), (other, 3)))]
            more = await queued(batcher, model, [[9]], 2)
            model.may.set()
            one, two = [await some for some in waiting]
            assert [best.ids.shape for best in (*one, *two, *await more)] == [(1, 1), (1, 1), (1, 3), (1, 3), (1, 2)]
            await first
        assert model.calls == [[0], [0, 1], [9]]
        assert other.calls == [[1, 2]]

    run(main())


def test_clients_that_go_away_leave_the_others_alone() -> None:
    async def main() -> None:
        model = Echo()
        async with batching() as batcher:
            first = await held(model, batcher)
            asked = [asyncio.ensure_future(batcher.predict(model, [i], 1)) for i in range(8)]  # type: ignore[arg-type]
            await asyncio.sleep(0)
            for one in asked[::2]:
                one.cancel()
            model.may.set()
            await first
            found = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False] * 4
        assert [one.ids.tolist() for one in found[1::2]] == [[[1]], [[3]], [[5]], [[7]]]

    run(main())


def test_it_ends_when_all_that_is_queued_is_answered() -> None:
    async def main() -> None:
        model = Echo()
        batcher = Batcher(Limits(batch_rows=2, max_rows=2))
        batcher.start()
        first = await held(model, batcher)
        waiting = await queued(batcher, model, [[1, 2], [3], [4, 5]])
        end = asyncio.ensure_future(batcher.stop())
        await asyncio.sleep(0)
        model.may.set()
        await asyncio.gather(first, end)
        assert [best.ids[:, 0].tolist() for best in await waiting] == [[1, 2], [3], [4, 5]]

    run(main())


def test_the_queue_is_no_longer_than_the_pace_allows() -> None:
    async def main() -> None:
        model = Echo()
        async with batching(batch_rows=4, max_rows=4, queue_rows=1000, queue_seconds=1e-9) as batcher:
            assert batcher.most_rows == 1000
            await batcher.predict(model, [1], 1)  # type: ignore[arg-type]
            assert (batcher.most_rows, batcher.batch_rows) == (1, 1)
            assert not batcher.is_full
            first = await held(model, batcher)
            waiting = await queued(batcher, model, [[3, 4]])  # one request in any case
            assert batcher.is_full
            with pytest.raises(Refusal):
                await batcher.predict(model, [5], 1)  # type: ignore[arg-type]
            model.may.set()
            await asyncio.gather(first, waiting)
            batcher.limits = Limits(batch_rows=4, max_rows=4, queue_rows=1000, queue_seconds=3600.0)
            await batcher.predict(model, [2], 1)  # type: ignore[arg-type]
            assert batcher.most_rows == 1000

    run(main())


def test_what_is_quick_and_alone_is_predicted_by_the_event_loop() -> None:
    async def main() -> None:
        model, threads = Echo(), []
        best = model.best
        model.best = lambda rows, k: (threads.append(threading.current_thread().name), best(rows, k))[1]  # type: ignore
        found: list[Any] = []
        async with batching(batch_rows=4, max_rows=4) as batcher:

            async def ask(*sizes: int) -> None:
                wanted = len(found) + len(sizes)
                for size in sizes:
                    batcher.submit(model, [7], 1, found.append, size)  # type: ignore[arg-type]
                while len(found) < wanted:
                    await asyncio.sleep(0.001)

            await ask(10)  # the pace is not known yet
            batcher.pace.add(1000, 1e-6)
            await ask(10, 10)  # of one turn of the loop: one batch
            await ask(10_000)
            batcher.pace.add(1000, 1e6)
            await ask(10)
        there, here = "slide-predict", threading.current_thread().name
        assert threads == [there, here, there, there]
        assert [len(call) for call in model.calls] == [1, 2, 1, 1]
        assert [one.ids.tolist() for one in found] == [[[7]]] * 5

    run(main())


def test_the_pace_follows_the_last_batches_and_large_ones_count_more() -> None:
    pace = Pace()
    assert pace.rows_in(1.0) == math.inf
    pace.add(1, 0.1)
    assert pace.rows_in(1.0) == pytest.approx(10)
    pace.add(99, 0.99)
    assert 80 < pace.rows_in(1.0) < 100
    for _ in range(100):
        pace.add(10, 0.01)
    assert pace.rows_in(1.0) == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"batch_rows": 0}, "batch_rows: found 0, wanted a whole number, 1 or more"),
        ({"deadline": 0}, "deadline: found 0, wanted seconds"),
        ({"max_rows": 65}, "max_rows: found 65, wanted at most batch_rows, 64"),
        ({"queue_rows": 10}, "queue_rows: found 10, wanted batch_rows, 64, or more"),
    ],
)
def test_limits_that_make_no_sense_are_refused(options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        Limits(**options)
