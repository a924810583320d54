"""Fits a network on a cluster: hands the work to an engine, and puts what comes back into the network.

SlideClassifier calls `fit_network` of what it is given as `cluster=`.
"""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import number, require
from slide.distributed.training.checkpoints import Saving
from slide.distributed.training.data import BlockData, TrainingData
from slide.distributed.training.elastic import Change
from slide.distributed.training.judging import EvalSet
from slide.distributed.training.loop import Fit
from slide.distributed.training.merge import Arrays
from slide.distributed.training.pace import LARGEST
from slide.distributed.training.parts import check_workers
from slide.distributed.training.scaling import Scaling
from slide.distributed.training.shard import Spec, check_shareable
from slide.distributed.training.work import Block, FitWork, Found, Trouble, WorkerFacts
from slide.engine.protocol import Examples
from slide.errors import NonFiniteError
from slide.model.model import Model
from slide.model.ranker import Ranker
from slide.model.snapshot import Snapshot
from slide.optim import Schedule
from slide.training.callbacks import Callbacks
from slide.training.checkpoint import Checkpoint
from slide.training.early_stopping import EarlyStopping
from slide.training.evaluation import METRICS
from slide.training.loop import RECORDED, what_stopped
from slide.training.progress import Progress
from slide.training.ranking import Rank, RankingFacts
from slide.training.source import BlockSource, InMemory
from slide.training.weights import TrainingRows

Pair = tuple[sp.csr_array, sp.csr_array]
RECOVERIES = "partial", "exact"


@dataclass(frozen=True)
class _Asked:
    """What a fit was asked for."""

    net: Model
    epochs: int
    schedule: Schedule
    callbacks: Callbacks
    scored: EvalSet | None


@dataclass(frozen=True)
class SharedFit:
    """What a fit on a cluster left beside the network.

    Attributes
    ----------
    facts : RankingFacts or None
    first_ranker : Ranker or None
        One that has learned nothing of held rows; the network has the last.
    changes : of the workers
    seconds : float
        Of the workers, from their first to their last exchange.
    workers : WorkerFacts of each
    """

    facts: RankingFacts | None
    first_ranker: Ranker | None
    changes: tuple[Change, ...]
    seconds: float
    workers: tuple[WorkerFacts, ...]


class ClusterFits:
    """What all engines can do, by their method `run`.

    workers : a number, or the least and the most of those that the engine starts on this machine; None: none
    threads : of each worker; None: an equal share of those of the network
    recovery : "partial": the others go on, with a lost worker's rows as they were at the last checkpoint. "exact": they
        wait for another in its place, and all go back to that checkpoint, so that with a thread a worker the network
        has the bits that it would have without the loss
    parts_to : a folder that all see, where each worker writes its part of the model at the end of a fit, so that nobody
        ever holds the whole; the classifier then asks workers for labels, who read it there. None: the first worker
        puts the model together, and it comes here
    largest_share : how many times an equal share of the parameters a worker may come to hold, where a slower one gives
        its away; 1: none is given away
    """

    workers: int | tuple[int, int] | None = None
    threads: int | None = None
    recovery: str = "partial"
    largest_share: float = LARGEST
    parts_to: Any = None

    def run(self, work: Any) -> Any:
        """Calls work(member) at every worker; what it returned at the first."""
        raise NotImplementedError

    def check_answers(self, calibrate: Any) -> None:
        """Raises ValueError where probabilities are to be learned, and nobody will answer for the model."""
        ok = self.parts_to is None or self.workers is not None or calibrate is False
        wanted = "False (--calibrate no) with parts_to= under torchrun or mpirun: nobody is there to ask afterwards"
        require(ok, "calibrate", calibrate, wanted)

    def left_in_parts(self, net: Any, found: Found) -> None:
        """What the workers trained is in the folder `parts_to`: whoever asks `net` for labels asks workers."""
        raise NotImplementedError

    def fit_network(
        self,
        net: Model,
        rows: TrainingRows,
        held: npt.NDArray[np.bool_],
        *,
        epochs: int,
        schedule: Schedule,
        rank: Rank | None = None,
        callback: Any = None,
        checkpoint: Checkpoint | None = None,
        eval_set: Pair | None = None,
        early_stopping: EarlyStopping | None = None,
    ) -> SharedFit | None:
        """Trains a network anew on rows of which those `held` are for the calibration; None in a process that is not
        the first of those that somebody else started.

        Raises
        ------
        ValueError
            For a network that cannot be shared out, or a checkpoint of other data.
        NonFiniteError
            If a loss is not finite.
        """
        main = rows.take(~held) if held.any() else rows
        counts = InMemory(Examples.of(main.X), Examples.of(main.Y)).counts()
        data = TrainingData(rows.X, rows.Y, Examples.of(rows.X, rows.weights).weights)
        asked = _Asked(net, epochs, schedule, Callbacks.of(callback), EvalSet.of(eval_set, early_stopping))
        return self._fit(asked, data, main.X.shape[0], counts, checkpoint, lambda: rows, held=held, rank=rank)

    def fit_network_blocks(
        self,
        net: Model,
        source: BlockSource,
        *,
        epochs: int,
        schedule: Schedule,
        callback: Any = None,
        checkpoint: Checkpoint | None = None,
        eval_set: Pair | None = None,
        early_stopping: EarlyStopping | None = None,
    ) -> SharedFit | None:
        """As fit_network, on rows that every worker reads for itself: here they are counted."""
        scored = EvalSet.of(eval_set, early_stopping)
        source.first_pass(None, keep_labels=False)
        asked = _Asked(net, epochs, schedule, Callbacks.of(callback), scored)
        n_rows, counts = source.n_rows, source.counts()
        return self._fit(asked, BlockData(source), n_rows, counts, checkpoint, lambda: next(iter(source.again())))

    def _fit(
        self,
        asked: _Asked,
        data: TrainingData | BlockData,
        n_rows: int,
        counts: dict[str, float],
        checkpoint: Checkpoint | None,
        some_rows: Callable[[], TrainingRows],
        **more: Any,
    ) -> SharedFit | None:
        """some_rows : to learn leaves of"""
        net = asked.net
        check_shareable(net.layers)
        check_workers(self._started(most=True), net.n_features, net.n_labels)
        require(net.backend == "c", "backend", net.backend, "'c': workers share no other")
        require(net.memory is None, "memory", net.memory, "None with cluster=: each worker holds its part")
        self._check(checkpoint)
        reports = _Reports(asked, n_rows, counts)
        work = FitWork(
            Spec(net.layers, net.wide, net.optimizer, net.loss, net.rebuild, net.batch_size, net.storage, net.seed),
            data,
            Fit(asked.epochs, asked.schedule),
            **more,
            saving=None if checkpoint is None else self._saving(checkpoint),
            largest_share=self.largest_share,
            exact=self.recovery == "exact",
            eval_set=asked.scored,
            n_threads=self.threads or max(1, net.n_threads // self._started()),
            scaling=self._scaling(),
            parts_to=None if self.parts_to is None else Path(self.parts_to),
            reported=reports.take,
        )
        found = self.run(work)
        if found is None:
            return None
        reports.end(found)
        if self.parts_to is None:
            _take_over(net, found, some_rows)
        else:
            self.left_in_parts(net, found)
        return SharedFit(found.facts, found.first_ranker, tuple(reports.changes), found.seconds, found.workers)

    def _check(self, checkpoint: Checkpoint | None) -> None:
        require(number(self.largest_share) >= 1, "largest_share", self.largest_share, "1 or more: in equal shares")
        require(self.recovery in RECOVERIES, "recovery", self.recovery, "'partial' or 'exact'")
        some = checkpoint is not None or self.recovery == "partial"
        require(some, "checkpoint", checkpoint, "slide.Checkpoint(folder) with recovery='exact': all go back to it")

    def _saving(self, checkpoint: Checkpoint) -> Saving:
        minutes = checkpoint.minutes
        seconds = None if minutes is None else 60 * minutes
        run = secrets.token_hex(8) if self.workers is not None else None  # else each worker makes one of its own
        return Saving(Path(checkpoint.path), seconds, checkpoint.samples, checkpoint.resume, run)

    @property
    def is_first(self) -> bool:
        """Whether this is the first of the processes that somebody else started; True where nobody did."""
        return True

    def _scaling(self) -> Scaling | None:
        """Where there may be more workers than at first."""
        least, most = self._started(), self._started(most=True)
        return Scaling(least, most) if most > least else None

    def _started(self, *, most: bool = False) -> int:
        """Workers that share this machine, as far as is known: at first, or at most."""
        return self.workers[most] if isinstance(self.workers, tuple) else self.workers or 1


def _take_over(net: Model, found: Found, some_rows: Callable[[], TrainingRows]) -> None:
    """The network becomes what the workers trained, whose arrays are taken out of `found` one by one."""
    arrays: Arrays = {}
    came = found.arrays or {}
    for name in list(came):  # what came in a message lies anywhere
        arrays |= Snapshot({}, {name: came.pop(name)}).placed().arrays
    trained = type(net)(
        [net.layers[0], found.layer],
        wide=net.wide,
        optimizer=net.optimizer,
        loss=net.loss,
        rebuild=net.rebuild,
        batch_size=net.batch_size,
        storage=net.storage,
        n_threads=net.n_threads,
        seed=net.seed,
        backend=net.backend,
        arrays=arrays,
    )
    trained.step, trained.epoch, trained.n_rebuilds = found.step, found.epoch, found.n_rebuilds
    net.become(trained)
    net.samples_resumed = found.first_step
    if net.states[-1].lsh is not None:
        rows = some_rows()
        net.rebuild_tables()
        net.learn_leaves(Examples.of(rows.X), Examples.of(rows.Y))
    if found.ranker is not None:
        net.rank_by(found.ranker)


class _Reports:
    """Turns what the first worker reports into what callbacks of a fit are used to."""

    def __init__(self, asked: _Asked, n_rows: int, counts: dict[str, float]) -> None:
        """counts : of the rows, for Progress.data"""
        net, scored = asked.net, asked.scored
        self._net, self._schedule, self._callbacks, self._n = net, asked.schedule, asked.callbacks, n_rows
        self.progress = Progress(epochs=asked.epochs, total=asked.epochs * n_rows)
        self.progress.data = {"rows": n_rows, "features": net.n_features, "labels": net.n_labels, **counts}
        self.progress.columns = [*RECORDED, *(METRICS if scored else ())]
        if scored is not None and scored.early is not None:
            self.progress.metric = scored.early.metric
        net.history = self.progress.history
        self.changes: list[Change] = []  # the first worker's, whoever that was
        self._began = time.perf_counter()
        self._callbacks.tell("on_fit_begin", self.progress, net)

    def take(self, message: Any) -> None:
        """A block, or a change of workers."""
        progress, callbacks = self.progress, self._callbacks
        progress.seconds = time.perf_counter() - self._began
        if isinstance(message, Change | str):
            callbacks.say(str(message))
            if isinstance(message, Change):
                self.changes.append(message)
            if isinstance(message, Trouble):
                warnings.warn(message, stacklevel=2)
            return
        assert isinstance(message, Block)
        began = message.step - message.size
        if began < progress.done:  # trained once more after a loss
            progress.history[:] = [record for record in progress.history if record["samples"] <= began]
        progress.done = began
        progress.add(message.stats, message.size)
        progress.epoch, progress.epoch_ended = (progress.done - 1) // self._n, progress.done % self._n == 0
        if progress.epoch_ended:
            progress.metrics = message.metrics or {}
            callbacks.tell("on_epoch_end", progress, self._net)
            where = np.array([(progress.done - 1) / progress.total])
            lr = float(self._schedule(where)[0]) * self._net.optimizer.lr
            callbacks.tell("on_record", progress.record(lr), progress)
        callbacks.tell("on_chunk", progress, self._net)

    def end(self, found: Found) -> None:
        """All is done."""
        self._callbacks.tell("on_fit_end", self.progress, self._net)
        if found.stopped is not None:
            raise NonFiniteError(what_stopped(self._net, found.stopped, self._net.optimizer.lr))
        if found.written is not None and found.written.wrong:
            raise OSError(f"{found.written.into.parent}: the model could not be written: {found.written.wrong}")
