"""Batches of whatever waits: one thread takes what is queued, predicts it in one call, and takes what came meanwhile.

What came while nothing was under way, and is quick, the event loop predicts itself: to wake a thread and to be woken by
it would take as long.

No request waits for others to come. A single client is answered at once, and under load batches grow by themselves, up
to the limit, since more arrives while one is predicted. The queue is bounded in rows, so that what is accepted is also
answered in time; the rest is refused at once and costs little.

Jobs, counts and timers belong to the event loop's thread, the queue is all that both threads touch.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slide.serving.hosted import Best, Hosted
from slide.serving.limits import Limits
from slide.serving.refusal import Refusal

FORGETTING = 0.9  # what the batch before counts less than a batch, when the pace is estimated
#: Predictions that take no longer, by the pace, are made by the event loop's thread. With 0.02 five times overload by
#: single texts was answered 1.7 times as often as with 0.001: a thread waits for the interpreter's lock at each turn.
HERE_SECONDS = 0.02
SMALL = 4096  # bytes of a request whose rows the pace may be trusted for
RETRY_AFTER = (b"retry-after", b"1")  # seconds; the header knows whole ones only


@dataclass(slots=True, eq=False)
class Job:
    """The rows of one request, for the model that they were checked against: a reload does not change it.

    then : called once in the event loop's thread, with the answer or an exception
    is_over : it was answered, or nobody waits for it any more
    """

    hosted: Hosted
    rows: Sequence[Any]
    k: int
    then: Callable[[Best | Exception], None]
    due: float  # of time.monotonic()
    is_over: bool = False

    def end(self, found: Best | Exception) -> None:
        """Hands over what was found, if that is still wanted."""
        if not self.is_over:
            self.is_over = True
            self.then(found)


class Pace:
    """Seconds that a row takes, over the last batches: large ones count more."""

    def __init__(self) -> None:
        self._rows, self._seconds = 0.0, 0.0

    def add(self, rows: int, seconds: float) -> None:
        """A batch."""
        self._rows = FORGETTING * self._rows + rows
        self._seconds = FORGETTING * self._seconds + seconds

    @property
    def is_known(self) -> bool:
        """Whether there was a batch."""
        return self._seconds > 0

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
        self.batch_rows = limits.batch_rows  # of the next batch
        self.pace = Pace()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Job] = (
            deque()
        )  # in the order in which they are due; those that are over leave from the left
        self._timer: asyncio.TimerHandle | None = None
        self._here: list[Job] = []  # that the event loop predicts itself, next
        self._there = 0  # rows that the thread has

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
        return not self._takes(min(self.limits.batch_rows, self.most_rows) // 4)

    def _takes(self, rows: int) -> bool:
        """Whether there is room for so many more; one request may wait in any case, while another is predicted."""
        if self.queued_rows + rows <= self.most_rows:
            return True
        return self.queued_rows <= self.limits.batch_rows and not self._here and self._jobs.empty()

    async def predict(self, hosted: Hosted, rows: Sequence[Any], k: int) -> Best:
        """The best labels of rows that `hosted` has read.

        Raises
        ------
        Refusal
            503 where the queue is full, 504 after the deadline.
        """
        assert self._loop is not None
        answer: asyncio.Future[Best] = self._loop.create_future()

        def found(found: Best | Exception) -> None:
            if answer.done():  # its client has gone
                return
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        self.submit(hosted, rows, k, found)
        return await answer

    def submit(
        self,
        hosted: Hosted,
        rows: Sequence[Any],
        k: int,
        then: Callable[[Best | Exception], None],
        size: int | None = None,
    ) -> Job:
        """The same with a function to call. size: bytes of the rows, where that is known; a few small ones may be
        predicted by the event loop itself, which is sooner than to wake the thread.

        Raises
        ------
        Refusal
            503 where the queue is full; after the deadline `then` is given 504.
        """
        assert self._loop is not None
        n = len(rows)
        if not self._takes(n):
            raise self.full()
        job = Job(hosted, rows, k, then, time.monotonic() + self.limits.deadline)
        self._waiting.append(job)
        if self._timer is None:
            self._timer = self._loop.call_later(self.limits.deadline, self._expire)
        self.queued_rows += n
        if size is None or size > SMALL or self._there:
            self._put(job)
            return job
        if not self._here:
            self._loop.call_soon(self._predict_here)
        self._here.append(job)
        return job

    def _put(self, job: Job) -> None:
        self._there += len(job.rows)
        self._jobs.put(job)

    def _predict_here(self) -> None:
        """What came in one turn of the event loop: at once if it is quick, else by the thread."""
        jobs, self._here = self._here, []
        rows = sum(len(job.rows) for job in jobs)
        if self._there or rows > min(self.pace.rows_in(HERE_SECONDS), self.limits.batch_rows) or not self.pace.is_known:
            for job in jobs:
                self._put(job)
            return
        began = time.perf_counter()
        outcomes = outcomes_of(jobs)
        self._account(outcomes, time.perf_counter() - began)

    def _expire(self) -> None:
        """Tells those that are late. The thread may be at it: their rows are counted until it has seen them."""
        assert self._loop is not None
        self._timer = None
        now = time.monotonic()
        while self._waiting and (self._waiting[0].is_over or self._waiting[0].due <= now):
            self._waiting.popleft().end(self.late())
        if self._waiting:
            self._timer = self._loop.call_later(max(0.0, self._waiting[0].due - now), self._expire)

    def late(self) -> Refusal:
        """What is said after the deadline."""
        wanted = f"wanted an answer within {self.limits.deadline:g} s"
        return Refusal(504, f"deadline: found none yet, {wanted}", [RETRY_AFTER])

    def _deliver(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        self._there -= sum(len(job.rows) for job, _ in outcomes)
        self._account(outcomes, seconds)

    def _account(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        rows = sum(len(job.rows) for job, _ in outcomes)
        self.queued_rows -= rows
        self.pace.add(rows, seconds)
        in_time = self.pace.rows_in(self.limits.queue_seconds)
        self.most_rows = int(min(self.limits.queue_rows, max(1, in_time)))
        self.batch_rows = max(1, min(self.limits.batch_rows, self.most_rows // 2))
        for job, outcome in outcomes:
            job.end(self.late() if outcome is None else outcome)
        while self._waiting and self._waiting[0].is_over:
            self._waiting.popleft()
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
        batch, rows, most = [first], len(first.rows), self.batch_rows
        while rows < most:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, None, True
            if rows + len(job.rows) > most:
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
