"""A fit by several workers: every one runs this program, over its own part of the network, block by block.

The order of the samples, learning rates, rebuilds and numbers of cells follow from the seed and from sizes that are the
same everywhere, so that all of them come to each exchange at the same place.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.distributed.training.cells import UNKNOWN, cells_of, renumbered, shared_codes
from slide.distributed.training.data import Data
from slide.distributed.training.pace import ClockedGroup, Pace
from slide.distributed.training.parts import FEATURES, LABELS, Numbering, check_workers, cuts
from slide.distributed.training.shard import Range, Shard, Spec
from slide.distributed.training.step import (
    LogSums,
    OwnColumns,
    Report,
    Samples,
    Trained,
    activate,
    block_size,
    train_block,
)
from slide.distributed.training.walk import OwnPairs
from slide.distributed.transport.group import Group
from slide.engine.layout import MAX_BATCH, FloatArray
from slide.engine.protocol import Examples, TrainStats
from slide.layers import Sampled
from slide.lsh import HashFamily, LearnContext
from slide.lsh.query_cells import centres
from slide.model.model import SAMPLES_A_BATCH_ROW
from slide.model.recall import is_time, measured_recall
from slide.optim import Schedule
from slide.training.tuning import grow_tables

HIDDEN_ROWS = 8192  # of which hidden vectors are found at a time
MOVING = 3.0  # times the seconds in which a worker takes an empty part: until rows have moved, what that may take
WINDOW = 8192  # samples among which batches of like ones are sought


@dataclass(frozen=True)
class Fit:
    """What is to be done with the rows: the same at all workers."""

    epochs: int
    schedule: Schedule
    block: int | None = None  # samples of one; None: step.block_size


@dataclass
class Counters:
    """Where a fit stands, the same at all workers between two windows.

    first : place in the order of the epoch
    evaluated : metrics of the held-out rows, at the end of each epoch
    """

    step: int = 0
    epoch: int = 0
    first: int = 0
    n_rebuilds: int = 0
    next_rebuild: int = 0
    pruned: bool = False
    evaluated: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Window:
    """Samples in the order in which they are trained, the cell of each, and how many are."""

    order: npt.NDArray[np.int64]
    cells: npt.NDArray[np.uint32]
    are_new: bool  # whether no row has been trained before
    lr: FloatArray | None = None  # of each, once it is asked for
    done: int = 0
    report: Report | None = None  # of the last block, which is yet to be said


@dataclass(frozen=True)
class Done:
    """A block of which all is known: counts of all workers, how many samples, and at which step it ended."""

    stats: TrainStats
    size: int
    step: int


class SharedTraining:
    """A network and the rows it is trained on, of which this worker has its part."""

    def __init__(
        self,
        group: Group,
        spec: Spec,
        data: Data,
        n_threads: int = 1,
        K: int | None = None,
        placed: bool = True,
        more_key: Mapping[str, Any] | None = None,
    ) -> None:
        """K : bits of a cell's number, where tables have grown; None: as many as the spec says. placed : with a part of
        the network; False: `resume` follows, and takes one. more_key : what else `fingerprint` is to say, JSON values
        """
        self.group, self.spec, self.data, self.n_threads = ClockedGroup(group, n_threads), spec, data, n_threads
        self.features = Numbering.of(spec.input.n_features, spec.seed, FEATURES)
        self.labels = Numbering.of(spec.output.n, spec.seed, LABELS)
        self.at, self.pace = Counters(), Pace()
        self._window: Window | None = None
        self._fingerprint: dict[str, Any] | None = None
        self._more_key = dict(more_key or {})
        self.known_cells = np.full(self.n_rows, UNKNOWN, np.int32)
        if placed:
            self._place([1.0] * group.size, K)
            self.shard.begin(self.shard.features, self.shard.labels)
            if self.pairs is not None:
                self.pairs.state = self.pairs.counted(data.X, self.rows.Y)
                self.pairs.make_engine()

    def _place(self, speeds: list[float], K: int | None) -> None:
        """Takes this worker's part, untrained, in a group whose workers have these speeds."""
        group, spec, data, began = self.group, self.spec, self.data, time.perf_counter()
        check_workers(group.size, spec.input.n_features, spec.output.n)
        self.feature_ranges = _ranges(cuts(spec.input.n_features, speeds))
        self.label_ranges = _ranges(cuts(spec.output.n, speeds))
        features, labels = self.feature_ranges[group.rank], self.label_ranges[group.rank]
        self.shard = Shard(spec.with_cells(K), features, labels, self.n_threads)
        self.rows = self.own_columns(data)
        self.known_sums = np.full((2, self.n_rows), np.nan, np.float32)  # LogSums of rows that were trained
        self.pairs: OwnPairs | None = None
        if spec.wide is not None:
            self.pairs = OwnPairs(spec, labels, group.size, self.n_threads)
        group.moving = MOVING * (time.perf_counter() - began)

    def resume(self, at: Counters, K: int | None, speeds: list[float] | None = None) -> None:
        """Takes a part anew, in the group as it is now, to go on from there; its rows are yet to come."""
        self._place(speeds or [1.0] * self.group.size, K)
        self.at, self._window = replace(at), None
        if not at.step:
            self.known_cells[:] = UNKNOWN

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a fit to go on: JSON values."""
        if self._fingerprint is None:
            data, spec = self.data, self.spec
            network = hashlib.sha256(repr((spec.layers, spec.wide, spec.optimizer, spec.loss, spec.seed)).encode())
            self._fingerprint = {"options": network.hexdigest(), **data.digest(), **self._more_key}
        return self._fingerprint

    def own_columns(self, data: Data) -> OwnColumns:
        """Rows as this worker's shard sees them."""
        return OwnColumns(
            Examples.of(data.columns(self.features, *self.shard.features)),
            Examples.of(self.labels.columns(data.Y, *self.shard.labels)),
            np.diff(data.Y.indptr).astype(np.int32),
            data.weights,
        )

    @property
    def n_rows(self) -> int:
        """Of the data."""
        return int(self.data.Y.shape[0])

    # -- training -------------------------------------------------------------------------------------------------

    def is_done(self, fit: Fit) -> bool:
        """Whether all epochs are over."""
        return self.at.epoch >= fit.epochs

    def train_block(self, fit: Fit) -> list[Done]:
        """The next block, with what comes before it and, at the end of an epoch, after it. What is known now: of the
        block before, where that was of the same window, and of this one, where it was the window's last."""
        window = self._window or self._next_window()
        self.group.begin_block()
        if window.lr is None:
            places = self.at.step + np.arange(len(window.order))
            lr = fit.schedule(places / (fit.epochs * self.n_rows)) * np.float32(self.spec.optimizer.lr)
            window.lr = np.ascontiguousarray(lr, np.float32)
        rate = float(window.lr[window.done]) / self.spec.optimizer.lr
        size = min(fit.block or block_size(self.n_rows, rate), len(window.order) - window.done)
        some = slice(window.done, window.done + size)
        known, window.report = self._trained(window, some, window.lr[some])
        window.done += size
        if window.report and window.done == len(window.order):
            known.append(window.report.exchange())
        done = [self._remembered(one) for one in known]
        if window.done == len(window.order) and not any(one.stats.bad_step >= 0 for one in done):
            self._end_window(fit, window)
        return done

    def _remembered(self, found: Trained) -> Done:
        order = found.samples.order
        if found.stats.bad_step < 0:
            self.pace.take(found.told)
            if len(found.cells):
                self.known_cells[order] = found.cells
            if found.sums is not None:
                self.known_sums[0, order], self.known_sums[1, order] = found.sums.whole, found.sums.others
        return Done(found.stats, len(order), found.samples.first_step + len(order))

    @property
    def step(self) -> int:
        """Samples trained on so far."""
        return self.at.step + (self._window.done if self._window else 0)

    @property
    def is_between_windows(self) -> bool:
        """Whether `at` is where the training stands: else it is where the present window began."""
        return self._window is None

    def _next_window(self) -> Window:
        """The next samples, those of a cell together in batches, and these in random order."""
        at = self.at
        self._follow()
        size = min(WINDOW, self.n_rows - at.first, at.next_rebuild - at.step)
        order = self._order(at.epoch)[at.first : at.first + size]
        are_new = bool((self.known_cells[order] == UNKNOWN).all())
        cells = self._cells(order)
        if len(cells):
            alike = np.argsort(cells, kind="stable")
            batches = np.split(alike, range(self.batch_size, size, self.batch_size))
            drawn = np.random.default_rng([self.spec.seed, at.step, 35]).permutation(len(batches))
            alike = np.concatenate([batches[i] for i in drawn])
            order, cells = np.ascontiguousarray(order[alike]), np.ascontiguousarray(cells[alike])
        self._window = Window(order, cells, are_new)
        return self._window

    def _cells(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        """uint32 [n]: of each row, as it was when the row was last trained; empty without tables."""
        whole = self.spec.output
        if whole.lsh is None or whole.n_active >= whole.n:
            return np.empty(0, np.uint32)
        new = order[self.known_cells[order] == UNKNOWN]
        if len(new):
            self.known_cells[new] = cells_of(self.group, self.shard, self.hidden_of(self.rows.X.take(new)))
        return self.known_cells[order].astype(np.uint32)

    def _end_window(self, fit: Fit, window: Window) -> None:
        at, self._window = self.at, None
        at.step, at.first = at.step + window.done, at.first + window.done
        if at.first < self.n_rows:
            return
        at.epoch, at.first = at.epoch + 1, 0
        if self.pairs and not at.pruned and fit.epochs > 1:
            self.pairs.prune(Examples.of(self.data.X))
        at.pruned = True

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if getattr(self, "_ordered", None) is None or self._ordered[0] != epoch:
            order = np.random.default_rng([self.spec.seed, epoch]).permutation(self.n_rows).astype(np.int64)
            self._ordered: tuple[int, npt.NDArray[np.int64]] = epoch, order
        return self._ordered[1]

    def _trained(self, window: Window, some: slice, lr: FloatArray) -> tuple[list[Trained], Report | None]:
        order, step = window.order[some], self.at.step + some.start
        cells = window.cells[some] if len(window.cells) else window.cells

        def beside(stats: TrainStats) -> TrainStats:
            return self._walked(stats, order, step, lr)

        samples = Samples(order, cells, lr, step, self.batch_size, self._known_sums(order), window.are_new)
        return train_block(self.group, self.shard, self.rows, samples, window.report, beside)

    def _known_sums(self, order: npt.NDArray[np.int64]) -> LogSums | None:
        """None unless it is of all these rows."""
        whole, others = self.known_sums[0][order], self.known_sums[1][order]
        return None if np.isnan(whole).any() else LogSums(whole, others)

    def _walked(self, stats: TrainStats, order: npt.NDArray[np.int64], step: int, lr: FloatArray) -> TrainStats:
        """With the counts of the same samples' step through the pairs, which nobody else waits for."""
        if not self.pairs:
            return stats
        walked = self.pairs.train(self._all_features, self.rows.Y, order, step, lr)
        stats = stats._replace(wide_loss=walked.wide_loss, n_wide_active=walked.n_wide_active)
        if walked.bad_step >= 0:
            stats = stats._replace(bad_step=walked.bad_step, bad_layer=2, bad_update=walked.bad_update)
        return stats

    @cached_property
    def _all_features(self) -> Examples:
        """The rows as the sparse part sees them."""
        return Examples.of(self.data.X, self.data.weights if len(self.data.weights) else None)

    @property
    def batch_size(self) -> int:
        """As slide.Network's, of all rows."""
        return self.spec.batch_size or int(np.clip(self.n_rows // SAMPLES_A_BATCH_ROW, 1, MAX_BATCH))

    # -- tables ---------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Rebuilds the tables when it is time, from the same vectors everywhere."""
        at, whole = self.at, self.spec.output
        if whole.lsh is None or whole.n_active >= whole.n:
            at.next_rebuild = 2**62
        if at.step < at.next_rebuild:
            return
        assert whole.lsh is not None
        if at.n_rebuilds:
            self._grow()
        n = self.family.n_queries(whole.n)
        self.rebuild(np.sort(np.random.default_rng([self.spec.seed, at.n_rebuilds]).integers(0, self.n_rows, n)))
        interval = self.spec.rebuild.interval(at.n_rebuilds, whole.lsh.rebuild_every(whole.n))
        at.n_rebuilds += 1
        at.next_rebuild = at.step + interval

    def rebuild(self, rows: npt.NDArray[np.int64] | None, final: bool = False) -> None:
        """Fills the tables here, after centres were learned of these rows; None: of none."""
        head, lsh, number = self.shard.head, self.shard.output.lsh, self.at.n_rebuilds
        assert lsh is not None
        before = centres(lsh)
        queries = None if rows is None else self.learn_centres(rows, final)
        head.step, head.n_rebuilds = self.at.step, number
        head.rebuild_tables(refresh=not final and queries is not None)
        if queries is not None and self.family.wanted_recall and is_time(number):
            head.recalls[1] = measured_recall(self.shard.output, head.engine, 1, queries)
        if (self.known_cells != UNKNOWN).any():
            self.known_cells = renumbered(self.known_cells, before, self.shard)

    def refill(self) -> None:
        """Sorts the lists here anew from the labels that are in them, of many; else from all."""
        head, lsh = self.shard.head, self.shard.output.lsh
        assert lsh is not None
        head.step, head.n_rebuilds = self.at.step, self.at.n_rebuilds
        head.rebuild_tables(refresh=bool((lsh.label_cells >= 0).any()))

    def learn_centres(self, rows: npt.NDArray[np.int64], final: bool) -> FloatArray | None:
        """Those of the cells, of the hidden vectors of some rows, which are returned if they are finite: the same at
        all workers. Each finds a part of the nearest centres of a step of k-means."""
        queries = self.hidden_of(self.rows.X.take(rows))
        if not len(queries) or not np.isfinite(queries).all():
            return None  # training says where they overflow
        rng = np.random.default_rng([self.spec.seed, 1, self.at.n_rebuilds])
        nearest = partial(shared_codes, self.group, self.shard)
        self.family.learn(self.shard.output, LearnContext(queries, rng, nearest, final))
        return queries

    @property
    def family(self) -> HashFamily:
        """The tables here, as they are now sized."""
        layer = self.shard.head.layers[-1]
        assert isinstance(layer, Sampled)
        assert layer.lsh is not None
        return layer.lsh

    def _grow(self) -> None:
        """More cells, where the mean of what all workers' tables find is too little."""
        head = self.shard.head
        found = np.array([head.recalls.get(1, 0.0), 1 in head.recalls], np.float64)
        self.group.all_reduce(found)
        head.recalls.clear()
        if found[1] > 0:
            head.recalls[1] = float(found[0] / found[1])
            before = self.shard.K or 0
            grow_tables(head)
            self.known_cells[self.known_cells != UNKNOWN] *= 2 ** ((self.shard.K or 0) - before)  # each cell became two

    # -- what the network says ------------------------------------------------------------------------------------

    def hidden_of(self, X: Examples) -> FloatArray:
        """[n, H] the hidden vectors of rows of own features, which all workers ask for at once."""
        parts = []
        for first in range(0, max(X.n_rows, 1), HIDDEN_ROWS):
            sums = self.shard.below.hidden(X.part(first, min(first + HIDDEN_ROWS, X.n_rows)), 1)
            self.group.all_reduce(sums)
            parts.append(activate(self.spec.input.activation, sums))
        return np.concatenate(parts)


def _ranges(found: npt.NDArray[np.int64]) -> list[Range]:
    return list(pairwise(found.tolist()))
