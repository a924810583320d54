"""What each worker does from beginning to end, whatever carries it: train, survive, learn to rank, hand over."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.distributed.training import elastic
from slide.distributed.training.checkpoints import Saving
from slide.distributed.training.data import BlockData, Data, TrainingData
from slide.distributed.training.elastic import Held
from slide.distributed.training.judging import EvalSet, Judge
from slide.distributed.training.loop import Fit, SharedTraining
from slide.distributed.training.merge import Arrays, hash_functions, merged_arrays, merged_layer
from slide.distributed.training.pace import LARGEST
from slide.distributed.training.ranking import SharedRanking
from slide.distributed.training.scaling import Scaling
from slide.distributed.training.shard import Range, Spec
from slide.distributed.training.writing import Written, write_parts
from slide.distributed.transport.group import PeerLost
from slide.distributed.transport.messages import say
from slide.engine.protocol import TrainStats
from slide.layers import Sampled
from slide.model.ranker import Ranker
from slide.training.ranking import Rank, RankingFacts, learn_ranker


@dataclass(frozen=True)
class WorkerFacts:
    """What one worker took.

    Attributes
    ----------
    parameters : int
        Bytes of its part of the network, the optimizer's state included.
    sent : int
        Bytes sent to others while the network was trained, by the last group of workers.
    steps : int
        Samples for which they were sent.
    cpu_seconds : float
        Of its process, or of all threads where workers are threads.
    """

    parameters: int
    sent: int
    steps: int
    cpu_seconds: float


@dataclass(frozen=True)
class Found:
    """A fit's outcome, at the first worker.

    arrays : of the merged network, by the names of files; of one that stays in parts those that are not shared out
    ranker, first_ranker : of a network that stays in parts, without their rows
    """

    arrays: Arrays | None  # None: it was stopped
    layer: Sampled
    step: int
    epoch: int
    n_rebuilds: int
    facts: RankingFacts | None = None
    first_ranker: Ranker | None = None  # which has learned nothing of held rows
    ranker: Ranker | None = None
    first_step: int = 0  # that of a checkpoint it went on from
    stopped: TrainStats | None = None  # by a loss or an update that was not finite
    seconds: float = 0.0
    workers: tuple[WorkerFacts, ...] = ()
    written: Written | None = None  # of a network that stays in parts


@dataclass
class FitWork:
    """A fit: called by every worker with its Member.

    held : bool [n], rows that are not trained on before the calibration; empty for none
    eval_set : others, which are scored after each epoch
    """

    spec: Spec
    data: TrainingData | BlockData
    fit: Fit
    held: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    rank: Rank | None = None
    saving: Saving | None = None
    eval_set: EvalSet | None = None
    n_threads: int = 1
    parts_to: Path | None = None  # where each worker writes its part; None: the first gets the whole network
    largest_share: float = LARGEST  # of the parameters, in equal ones, that a worker may come to hold
    scaling: Scaling | None = None  # where there may be more workers than there are at first
    exact: bool = False  # whether all go back to the checkpoint when one is lost; then nothing follows from the time
    reported: Callable[[Any], None] | None = (
        None  # hears of blocks and changes, where the first worker is in its process
    )

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"reported": None}

    def __call__(self, member: Any) -> Found | None:
        """member : slide.distributed.transport.member.Member. Found at the first worker, None at the others."""
        return _OneWorker(self, member).run()


class _OneWorker:
    """One worker's part of the work."""

    def __init__(self, work: FitWork, member: Any) -> None:
        self._work, self._member, self._saving = work, member, work.saving
        self._began = self._saved_at = time.monotonic()
        self._saved_step = self._first_step = 0
        self._sent, self._group_began = (0, 0), 0  # bytes and samples; the step at which the present group began
        n_threads = getattr(member, "threads", None) or work.n_threads
        rows: Data
        if isinstance(work.data, BlockData):
            rows = work.data.at_worker(needs_all=work.spec.wide is not None)
        else:
            rows = _main_rows(work.data, work.held)
        key = {} if work.eval_set is None else work.eval_set.key()
        self._training = SharedTraining(member.group, work.spec, rows, n_threads, placed=False, more_key=key)
        self._training.pace.largest = work.largest_share
        self._judge = Judge(self._training, work.eval_set)
        self._last: Block | None = None
        self._scaling = None if work.scaling is None or work.exact else copy.deepcopy(work.scaling)
        self._window_began = (0.0, 0)  # time and step

    def run(self) -> Found | None:
        """From the beginning, or from a checkpoint, to the end."""
        self._start()
        while True:
            try:
                found = self._go_on()
                self._member.finish()
                return found
            except PeerLost:
                self._change(lost=True)

    def _report(self, message: Any) -> None:
        if self._training.group.rank:
            return
        if self._work.reported is not None:
            self._work.reported(message)
        elif hasattr(self._member, "report"):
            self._member.report(message)

    # -- workers that come and go ---------------------------------------------------------------------------------

    def _start(self) -> None:
        training, group = self._training, self._member.group
        if self._saving is not None and group.generation == 0 and group.rank == 0:
            self._saving.forget()
        try:
            elastic.regrouped(training, group, self._saving, [], self._judge)
        except PeerLost:
            self._change(lost=True, is_new=True)
        self._saved_step = self._first_step = training.at.step

    def _change(self, *, lost: bool, is_new: bool = False, leaving: Sequence[int] = ()) -> None:
        """The next group, for as often as it takes."""
        self._judge.forget()
        exact = self._work.exact
        held = [] if is_new or exact else [Held.of(self._training)]
        if leaving and not exact:
            held = elastic.handed_over(self._training, leaving)
        while True:
            try:
                group = self._member.regroup(lost=lost)
                change = elastic.regrouped(self._training, group, self._saving, held, self._judge)
                break
            except PeerLost:
                lost = True
        step = self._training.at.step
        self._group_began, self._saved_step = step, min(self._saved_step, step)
        self._report(replace(change, back_to=step) if exact and lost else change)

    # -- the fit --------------------------------------------------------------------------------------------------

    def _go_on(self) -> Found | None:
        training, work = self._training, self._work
        while True:
            self._evaluate_if_due()
            if training.is_done(work.fit) or self._judge.says_stop:
                break
            wish = training.is_between_windows and self._member.wants_change()
            if getattr(wish, "driver_lost", False):
                self._save()
                return None
            if wish and (not work.exact or self._save()):
                self._change(lost=False, leaving=getattr(wish, "leaving", ()))
                continue  # as those do who have just come
            if training.is_between_windows:
                self._window_began = time.monotonic(), training.at.step
            for done in training.train_block(work.fit):
                self._last = Block(done.stats, done.size, done.step, training.group.size)
                if not self._judge.is_due or done.step < training.step:
                    self._report(self._last)
                if done.stats.bad_step >= 0:
                    return self._found(None, None, stopped=done.stats)
            if not training.is_between_windows:
                continue
            self._scale()
            self._evaluate_if_due()  # before it is saved, so that who goes back there need not
            self._save_if_due()
            if not work.exact and elastic.balanced(training):
                self._report(f"a worker is slower or faster: labels are now {_lengths(training.label_ranges)}")
                self._judge.forget()
        self._sent = getattr(training.group, "bytes_sent", 0), training.at.step - self._group_began
        trouble = self._judge.finish()
        if trouble:
            self._report(Trouble(trouble))
        self._finish_tables()
        if work.parts_to is not None:
            return self._in_parts(work.parts_to)
        arrays = merged_arrays(training)
        facts, ranking = self._ranked()
        return self._found(arrays, facts, ranking.rankers if ranking else ())

    def _in_parts(self, folder: Path) -> Found | None:
        facts, ranking = self._ranked()
        own = ranking.own if ranking else []
        written = write_parts(self._training, folder, own)
        return self._found(hash_functions(self._training), facts, [one.ranker for one in own], written=written)

    def _scale(self) -> None:
        """Asks for more workers, or fewer, at the first; they come or go between two windows."""
        began, step = self._window_began
        if self._scaling is None or self._training.group.rank:
            return
        samples, seconds = self._training.at.step - step, time.monotonic() - began
        wish = self._scaling.take(self._training.group.size, samples, seconds)
        if wish is not None:
            self._member.want(wish[0])
            self._report(wish[1])

    def _evaluate_if_due(self) -> None:
        """Scores the held-out rows at an epoch's end, and reports its last block with that."""
        while self._judge.is_due:
            metrics = self._judge.evaluate()
            if self._last is not None:
                self._report(replace(self._last, metrics=metrics))

    def _finish_tables(self) -> None:
        """Learns centres once more, with more care. Lists are filled where the whole network will be, and here where
        they are asked for shortlists."""
        training, work = self._training, self._work
        if training.shard.output.lsh is None:
            return
        n = min(training.family.n_queries(work.spec.output.n, True), training.n_rows)
        rng = np.random.default_rng([work.spec.seed, training.at.n_rebuilds])
        rows = np.sort(rng.integers(0, training.n_rows, n))
        if work.rank is None:
            training.learn_centres(rows, final=True)
        else:
            training.rebuild(rows, final=True)

    def _ranked(self) -> tuple[RankingFacts | None, SharedRanking | None]:
        work = self._work
        if work.rank is None:
            return None, None
        assert isinstance(work.data, TrainingData)
        data, held = work.data, work.held
        if not len(held):
            held = np.zeros(data.X.shape[0], np.bool_)
        weights = data.weights if len(data.weights) else None
        ranking = SharedRanking(self._training, merge=work.parts_to is None)
        return learn_ranker(ranking, data.X, data.Y, held, work.rank, work.spec.seed, weights), ranking

    def _found(
        self,
        arrays: Arrays | None,
        ranking: RankingFacts | None,
        rankers: Sequence[Ranker] = (),
        stopped: TrainStats | None = None,
        written: Written | None = None,
    ) -> Found | None:
        training, at = self._training, self._training.at
        facts = say(training.group, WorkerFacts(training.shard.n_bytes, *self._sent, time.process_time()))
        if training.group.rank:
            return None
        return Found(
            arrays,
            merged_layer(training),
            at.step,
            at.epoch,
            at.n_rebuilds,
            ranking,
            rankers[0] if rankers else None,
            rankers[-1] if rankers else None,
            self._first_step,
            stopped,
            time.monotonic() - self._began,
            tuple(facts),
            written,
        )

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def _save_if_due(self) -> None:
        """All save, when the first worker says so."""
        saving, training = self._saving, self._training
        if saving is None:
            return
        now, step = time.monotonic(), training.at.step
        due = saving.samples is not None and step - self._saved_step >= saving.samples
        due |= saving.seconds is not None and now - self._saved_at >= saving.seconds
        asked = np.array([due], np.uint8)
        training.group.broadcast(asked)
        if asked[0]:
            self._save()

    def _save(self) -> bool:
        """Whether a checkpoint was written; called by all. False too where there is no place for one."""
        saving = self._saving
        if saving is None:
            return False
        wrong = saving.save(self._training, self._judge)
        if wrong:
            self._report(Trouble(f"{saving.folder}: no checkpoint could be written, training goes on: {wrong}"))
        self._saved_at, self._saved_step = time.monotonic(), self._training.at.step
        return not wrong


class Trouble(str):
    """What the first worker reports that deserves a warning."""


def _lengths(ranges: Sequence[Range]) -> str:
    return ", ".join(f"{end - first:,}" for first, end in ranges)


def _main_rows(data: TrainingData, held: npt.NDArray[np.bool_]) -> TrainingData:
    """Those that are not held."""
    if not held.any():
        return data
    weights = data.weights[~held] if len(data.weights) else data.weights
    return TrainingData(data.X[~held], data.Y[~held], weights)


@dataclass(frozen=True)
class Block:
    """What the first worker reports of each block."""

    stats: TrainStats
    size: int
    step: int
    workers: int
    metrics: dict[str, float] | None = None  # of the held-out rows, at the end of an epoch
