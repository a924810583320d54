"""Batches of whatever waits: one thread takes what is queued, predicts it in one call, and takes what came meanwhile.

No request waits for others to come. A single client is answered at once, and under load batches grow by themselves, up
to the limit, since more arrives while one is predicted. The queue is bounded in rows, so that what is accepted is also
answered in time; the rest is refused at once and costs little.

Futures, counts and timers belong to the event loop's thread, the queue is all that both threads touch.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from slide.serving.hosted import Best, Hosted
from slide.serving.limits import Limits
from slide.serving.refusal import Refusal

FORGETTING = 0.9  # what the batch before counts less than a batch, when the pace is estimated
RETRY_AFTER = (b"retry-after", b"1")  # seconds; the header knows whole ones only


@dataclass(slots=True, eq=False)
class Job:
    """The rows of one request, for the model that they were checked against: a reload does not change it."""

    hosted: Hosted
    rows: Sequence[Any]
    k: int
    answer: asyncio.Future[Best]
    due: float  # of time.monotonic()
    timer: asyncio.TimerHandle | None = field(default=None)


class Pace:
    """Seconds that a row takes, over the last batches: large ones count more."""

    def __init__(self) -> None:
        self._rows, self._seconds = 0.0, 0.0

    def add(self, rows: int, seconds: float) -> None:
        """A batch."""
        self._rows = FORGETTING * self._rows + rows
        self._seconds = FORGETTING * self._seconds + seconds

    def rows_in(self, seconds: float) -> float:
        """So many rows take so long; infinity before the first batch."""
        return seconds * self._rows / self._seconds if self._seconds else math.inf


#: What came of a job: its answer, an exception, or None where nobody waits any more.
Outcome = tuple[Job, Best | Exception | None]


class Batcher:
    """A queue of jobs and the thread that predicts them.

    Parameters
    ----------
    limits : Limits
    on_batch : called in the event loop's thread after each batch, with its rows and the rows still queued
    """

    def __init__(self, limits: Limits, on_batch: Callable[[int, int], None] = lambda rows, queued: None) -> None:
        self.limits, self.on_batch = limits, on_batch
        self.queued_rows = 0  # accepted and not answered yet
        self.most_rows = limits.queue_rows  # that are accepted now
        self.pace = Pace()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begins to work for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="slide-predict", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Ends the thread when all that is queued is answered."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def full(self) -> Refusal:
        """What is said where there is no room."""
        found = f"found {self.queued_rows:,} rows waiting, wanted at most {self.most_rows:,} with those of the request"
        return Refusal(503, f"queue: {found}; try again in a second", [RETRY_AFTER])

    @property
    def is_full(self) -> bool:
        """Whether less than a quarter of a batch is taken: what comes now is refused before it is read.

        A request of several rows would be read and parsed, and refused all the same.
        """
        return self.queued_rows + self.limits.batch_rows // 4 > self.most_rows

    async def predict(self, hosted: Hosted, rows: Sequence[Any], k: int) -> Best:
        """The best labels of rows that `hosted` has read.

        Raises
        ------
        Refusal
            503 where the queue is full, 504 after the deadline.
        """
        assert self._loop is not None
        if self.queued_rows + len(rows) > self.most_rows:
            raise self.full()
        limit = self.limits.deadline
        job = Job(hosted, rows, k, self._loop.create_future(), time.monotonic() + limit)
        job.timer = self._loop.call_later(limit, self._expire, job)
        self.queued_rows += len(rows)
        self._jobs.put(job)
        return await job.answer

    def _expire(self, job: Job) -> None:
        """The thread may be at it: its rows are counted until it has seen them."""
        if not job.answer.done():
            wanted = f"wanted an answer within {self.limits.deadline:g} s"
            job.answer.set_exception(Refusal(504, f"deadline: found none yet, {wanted}", [RETRY_AFTER]))

    def _deliver(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        rows = sum(len(job.rows) for job, _ in outcomes)
        self.queued_rows -= rows
        self.pace.add(rows, seconds)
        in_time = self.pace.rows_in(self.limits.queue_seconds)
        least = 2 * self.limits.batch_rows  # one batch that is predicted, and one that waits
        self.most_rows = int(min(self.limits.queue_rows, max(least, in_time)))
        for job, outcome in outcomes:
            if job.timer is not None:
                job.timer.cancel()
            if job.answer.done():  # expired, or its client has gone
                continue
            if outcome is None:
                self._expire(job)
            elif isinstance(outcome, Exception):
                job.answer.set_exception(outcome)
            else:
                job.answer.set_result(outcome)
        self.on_batch(rows, self.queued_rows)

    # -- in the thread ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        assert self._loop is not None
        held: Job | None = None  # did not fit into the batch before
        while (first := held or self._jobs.get()) is not None:
            batch, held, ends = self._fill(first)
            began = time.perf_counter()
            outcomes = outcomes_of(batch)
            try:
                self._loop.call_soon_threadsafe(self._deliver, outcomes, time.perf_counter() - began)
            except RuntimeError:  # the loop was closed without `stop`: nobody waits
                return
            del first, batch, outcomes  # an old model is freed with its last job
            if ends and held is None:
                return
            if ends:
                self._jobs.put(None)

    def _fill(self, first: Job) -> tuple[list[Job], Job | None, bool]:
        """What is queued now, up to the limit; the job that was one too many; whether this is the end."""
        batch, rows = [first], len(first.rows)
        while rows < self.limits.batch_rows:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, None, True
            if rows + len(job.rows) > self.limits.batch_rows:
                return batch, job, False
            batch.append(job)
            rows += len(job.rows)
        return batch, None, False


def outcomes_of(batch: Sequence[Job]) -> list[Outcome]:
    """What came of each job. Those for one model and k are one call; where it fails, each job is tried by itself."""
    now = time.monotonic()
    outcomes: list[Outcome] = [(job, None) for job in batch if job.due <= now]
    together: dict[tuple[int, int], list[Job]] = {}
    for job in batch:
        if job.due > now:
            together.setdefault((id(job.hosted), job.k), []).append(job)
    for jobs in together.values():
        try:
            outcomes += _predicted(jobs)
        except Exception:
            outcomes += [_alone(job) for job in jobs]
    return outcomes


def _predicted(jobs: Sequence[Job]) -> list[Outcome]:
    first = jobs[0]
    if len(jobs) == 1:
        return [(first, first.hosted.best(first.rows, first.k))]
    best = first.hosted.best([row for job in jobs for row in job.rows], first.k)
    outcomes: list[Outcome] = []
    begin = 0
    for job in jobs:
        end = begin + len(job.rows)
        outcomes.append((job, best[begin:end]))
        begin = end
    return outcomes


def _alone(job: Job) -> Outcome:
    """What a model refuses (rows that overflow when they are scaled) is the client's, the rest is ours."""
    try:
        return job, job.hosted.best(job.rows, job.k)
    except ValueError as error:
        return job, Refusal(400, f"{job.hosted.kind}: {error}")
    except Exception as error:
        return job, error
