"""``SlideClassifier.optimize``: the fastest way to predict whose loss is shown to be small (Kraft et al., MLSys 2020).

Plans are timed in turn, compared on some of the rows, and those that are worth it tested on the others, which had no
say in it (slide/estimator/paired_loss.py). A plan is followed by a PlannedNetwork (slide/estimator/planned.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from slide.checks import Checked, number, require, whole
from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples
from slide.estimator.encoding import Encoding, MatrixReader
from slide.estimator.feature_groups import Groups
from slide.estimator.paired_loss import (
    Floats,
    RowMetric,
    confirmed,
    fewest_rows,
    in_order,
    is_confirmed,
    upper_bound,
)
from slide.estimator.planned import PlannedNetwork, ServingPlan, lead
from slide.estimator.speed_report import SpeedReport, Trial
from slide.network import Network

LEAST_SPEEDUP = 1.3
CHOSEN_ON = 5_000  # rows at most, never over half of them
CANDIDATES = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
RANKED_SHARES = (1.0, 0.3, 0.1)
UNSURE_SHARES = (0.8, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05)  # of rows that are read whole
CASCADED = 4  # plans that are tried behind a first group
ROUNDS, FEWEST_ROUNDS, SECONDS = 100, 7, 15.0  # of timing
SMALL_BATCH = 32
ROWS_AT_ONCE = 2_000

Say = Callable[[str], None]


@dataclass
class _Tried:
    """A plan with what is known of it: ms a row; of rows it was chosen on, losses and the share that is read whole."""

    plan: ServingPlan
    net: PlannedNetwork
    ms: float = 0.0
    losses: Floats = field(default_factory=lambda: np.empty(0))


def optimized(
    net: Network,
    encoding: Encoding,
    X: Any,
    Y: sp.csr_array | None,
    *,
    metric: str,
    max_loss: float,
    confidence: float,
    batch: int,
    feature_groups: Mapping[str, Any] | None = None,
    source: Any = None,
    say: Say | None = None,
) -> PlannedNetwork:
    """A network that predicts by the fastest plan that was confirmed, with its report; see SlideClassifier.optimize.

    X : as the encoding reads it; Y : truth, CSR [n, at least n_labels], or None
    source : what must not change, or None; say : is told what is done
    """
    require(not isinstance(net, PlannedNetwork), "optimize", "an optimized model", "the one it was made from")
    measured = RowMetric.of(metric, net.n_labels)
    require(0 < number(max_loss) < 1, "max_loss", max_loss, "a number over 0 and under 1, like 0.005 for half a point")
    require(0.5 <= number(confidence) < 1, "confidence", confidence, "a number from 0.5 to under 1")
    require(1 <= whole(batch) <= 4096, "batch", batch, "rows of one call, 1 to 4,096")
    found = f"no labels for {metric}"
    require(Y is not None or not measured.needs_labels, "y_val", found, "labels; agreement@k needs none")
    groups = Groups.of(feature_groups, encoding.reader.names, net.n_features)
    rows = _Rows(encoding, X, Y, net.seed)
    report = SpeedReport(metric, float(max_loss), float(confidence), len(rows.chosen), len(rows.held), int(batch))
    search = _Search(net, encoding, rows, measured, report, groups, say or (lambda _: None))
    plan = search.run()
    return search.network(plan, source)


class _Rows:
    """Validation rows as they come and as the network sees them; which of them plans are chosen on, and tested on."""

    def __init__(self, encoding: Encoding, X: Any, Y: sp.csr_array | None, seed: int) -> None:
        if encoding.reader.reads_tables:
            self.raw = encoding.reader.read(X)
            self.encoded = encoding.scaling(self.raw)
        else:
            self.raw = [X] if isinstance(X, str) else list(X.to_pylist() if hasattr(X, "to_pylist") else X)
            self.encoded = encoding.rows(self.raw)
        n = self.encoded.shape[0]
        if Y is not None:
            require(Y.shape[0] == n, "X_val and y_val", f"{n:,} and {Y.shape[0]:,} rows", "as many of both")
        order = np.random.default_rng([seed, 41]).permutation(n)
        first = min(n // 2, CHOSEN_ON)
        self.chosen, self.held, self.Y = np.sort(order[:first]), order[first:], Y  # held: in random order


class _Search:
    def __init__(
        self,
        net: Network,
        encoding: Encoding,
        rows: _Rows,
        metric: RowMetric,
        report: SpeedReport,
        groups: Groups,
        say: Say,
    ) -> None:
        self.net, self.encoding, self.rows, self.metric, self.groups = net, encoding, rows, metric, groups
        if isinstance(encoding.reader, MatrixReader):  # rows are matrices here, whose columns have no names
            self.encoding = replace(encoding, reader=replace(encoding.reader, column_names=None))
        self.report, self.say = report, say
        self.weights: dict[int, Network] = {32: net}
        self.rng = np.random.default_rng([net.seed, 42])

    def network(self, plan: ServingPlan, source: Any = None) -> PlannedNetwork:
        """That predicts by a plan."""
        if plan.bits not in self.weights:
            self.weights[plan.bits] = self.net.compress()
        first, unit = self.groups.first, self.encoding.scaling.kind == "unit"
        return PlannedNetwork.over(
            self.weights[plan.bits], plan, first=first, unit=unit, report=self.report, source=source
        )

    def run(self) -> ServingPlan:
        """The plan; that of the model as it is, with the reason in the report, where no other one is worth it."""
        report, as_it_is = self.report, ServingPlan()
        wanted = fewest_rows(report.max_loss, report.confidence)
        if report.n_confirmed < wanted:
            return self._declined(
                f"too few rows: found {len(self.rows.chosen) + report.n_confirmed:,}, wanted at least {2 * wanted:,}, "
                f"with fewer no loss under {report.max_loss:g} is ever shown"
            )
        base = _Tried(as_it_is, self.network(as_it_is))
        plans = [_Tried(plan, self.network(plan)) for plan in self._plans()]
        self.say(f"timing {len(plans):,} plans")
        self._time([base, *plans])
        before = self._topk(base.net, self.rows.chosen)
        report.base_ms = base.ms + self.groups.cost_ms
        plans = self._fast_enough(plans, base, before)
        if self.groups.names:
            plans += self._cascades(base, plans, before)
        if not plans:
            return self._declined(f"no plan was {LEAST_SPEEDUP} times as fast as the model as it is")
        order = in_order([t.losses for t in plans], [t.ms for t in plans], report.max_loss)
        if not order:
            least = min(float(t.losses.mean()) for t in plans)
            return self._declined(
                f"every plan that was {LEAST_SPEEDUP} times as fast lost {100 * least:.2f} points or more of "
                f"{report.metric} on {report.n_chosen:,} rows, {100 * report.max_loss:g} were allowed"
            )
        return self._tested(base, [plans[i] for i in order])

    def _declined(self, reason: str) -> ServingPlan:
        self.report.declined = reason
        return ServingPlan()

    # -- plans ------------------------------------------------------------------------------------------------------

    def _plans(self) -> list[ServingPlan]:
        """All but the model as it is, each with every row read whole."""
        net, k = self.net, self.metric.k
        bits = (32,) if net.is_compressed else (32, 8)
        candidates: list[int | None] = [None]
        if net.states[-1].lsh is not None:
            candidates += [n for n in CANDIDATES if k <= n <= net.n_labels // 4]
        ranked: list[int | None] = [None]
        if net.ranker is not None:
            fewer = [max(k, round(share * net.ranker.n)) for share in RANKED_SHARES]
            ranked += sorted({n for n in fewer if n < net.ranker.n})
        found = [ServingPlan(b, n, m) for b in bits for n in candidates for m in ranked if not (n and m and n < m)]
        return [plan for plan in found if plan != ServingPlan()]

    def _fast_enough(self, plans: Sequence[_Tried], base: _Tried, before: IntArray) -> list[_Tried]:
        """Those worth scoring, with what they lose."""
        cost = self.groups.cost_ms
        for tried in plans:
            tried.ms += cost
        fast = [t for t in plans if t.ms * LEAST_SPEEDUP <= base.ms + cost]
        for tried in fast:
            tried.losses = self._losses(before, self._topk(tried.net, self.rows.chosen), self.rows.chosen)
        return fast

    def _cascades(self, base: _Tried, plans: Sequence[_Tried], before: IntArray) -> list[_Tried]:
        """A first group of features, and all of them where the best label leads by too little."""
        surest = in_order([t.losses for t in plans], [t.ms for t in plans], self.report.max_loss)[-CASCADED:]
        behind = [replace(base, ms=base.ms + self.groups.cost_ms), *(plans[i] for i in surest)]
        never = [self._cascade(t.plan, -np.inf) for t in behind]
        alone = [_Tried(plan, self.network(plan)) for plan in never]
        self.say(f"timing {self.groups.names[0]!r} alone")
        self._time(alone)
        found = []
        for whole_, first in zip(behind, alone, strict=True):
            found += self._margins(whole_, first, before)
        return found

    def _cascade(self, plan: ServingPlan, margin: float) -> ServingPlan:
        return replace(plan, margin=float(margin), first=self.groups.names[0])

    def _margins(self, whole_: _Tried, first: _Tried, before: IntArray) -> list[_Tried]:
        chosen, k = self.rows.chosen, self.metric.k
        ids, scores = self._found(first.net, chosen, min(max(k, 2), self.net.n_labels))
        leads, all_ids, found = lead(scores), self._topk(whole_.net, chosen), []
        for share in UNSURE_SHARES:
            margin = float(np.quantile(leads, share, method="lower"))
            unsure = leads < margin
            ms = self.groups.first_ms + first.ms + unsure.mean() * (whole_.ms - self.groups.first_ms)
            if not np.isfinite(margin) or ms * LEAST_SPEEDUP > self.report.base_ms:
                continue
            plan = self._cascade(whole_.plan, margin)
            after = np.where(unsure[:, None], all_ids, ids[:, :k])
            found.append(_Tried(plan, self.network(plan), ms, self._losses(before, after, chosen)))
        return found

    # -- the test ---------------------------------------------------------------------------------------------------

    def _tested(self, base: _Tried, plans: Sequence[_Tried]) -> ServingPlan:
        """The fastest that passes; plans come surest first."""
        report, held = self.report, self.rows.held
        before, losses = self._topk(base.net, held), []
        for tried in plans:  # the first that fails is the last that is looked at
            losses.append(self._losses(before, self._topk(tried.net, held), held))
            if not is_confirmed(losses[-1], tried.losses, report.max_loss, report.confidence):
                break
        tested = plans[: len(losses)]
        earlier = [t.losses for t in tested]
        n_passed = confirmed(range(len(tested)), losses, earlier, report.max_loss, report.confidence)
        for place, (tried, lost) in enumerate(zip(tested, losses, strict=True)):
            bound = upper_bound(lost, tried.losses, report.confidence)
            report.trials.append(Trial(tried.plan, tried.ms, float(lost.mean()), bound, place < n_passed))
        report.trials += [Trial(t.plan, t.ms, float(t.losses.mean())) for t in plans[len(tested) :]]
        if not n_passed:
            failed = report.trials[0]
            return self._declined(
                f"unconfirmed: the surest plan, {failed.plan}, lost {100 * failed.loss:.2f} points of {report.metric} "
                f"on {len(held):,} rows, which shows that it loses less than {100 * (failed.bound or 1):.2f}, "
                f"{100 * report.max_loss:g} were allowed"
            )
        return self._timed_again(base, tested[n_passed - 1], report.trials[n_passed - 1])

    def _timed_again(self, base: _Tried, best: _Tried, trial: Trial) -> ServingPlan:
        """On other rows than those that it was the fastest on."""
        report, plan = self.report, best.plan
        cost, first_ms, share = self.groups.cost_ms, self.groups.first_ms, 1.0
        again = [_Tried(base.plan, base.net), _Tried(plan, self.network(replace(plan, margin=None)))]
        if plan.margin is not None:
            alone = self.network(self._cascade(plan, -np.inf))
            again.append(_Tried(plan, alone))
            k = min(max(self.metric.k, 2), self.net.n_labels)
            share = float((lead(self._found(alone, self.rows.held, k)[1]) < plan.margin).mean())
            report.share_whole = share
        times = []
        for batch in (report.batch, SMALL_BATCH):
            self._time(again, self.rows.held, batch)
            ms = [t.ms + cost for t in again[:2]]
            if plan.margin is not None:
                ms[1] = first_ms + again[2].ms + share * (ms[1] - first_ms)
            times.append(ms)
        (report.base_ms, report.ms), (report.base_batch_ms, report.batch_ms) = times
        if report.speedup < LEAST_SPEEDUP:
            return self._declined(
                f"the plan that was confirmed, {plan}, is {report.speedup:.2f} times as fast as the model as it is, "
                f"{LEAST_SPEEDUP} times were wanted"
            )
        report.loss, report.bound = trial.loss, trial.bound
        return plan

    # -- what is measured -------------------------------------------------------------------------------------------

    def _found(self, net: Network, which: Any, k: int) -> tuple[IntArray, FloatArray]:
        parts = []
        for first in range(0, len(which), ROWS_AT_ONCE):
            rows = self.rows.encoded[which[first : first + ROWS_AT_ONCE]]
            parts.append(net.predict_topk(Checked(rows), k))
        ids, scores = zip(*parts, strict=True)
        return np.concatenate(ids), np.concatenate(scores)

    def _topk(self, net: Network, which: Any) -> IntArray:
        return self._found(net, which, self.metric.k)[0]

    def _losses(self, before: IntArray, after: IntArray, which: Any) -> Floats:
        Y = None if self.rows.Y is None else self.rows.Y[which]
        return self.metric.losses(before, after, Y)

    def _time(self, plans: Sequence[_Tried], which: Any = None, batch: int | None = None) -> None:
        """Milliseconds a row from rows as they come to labels, medians of calls that take turns."""
        which, batch = self.rows.chosen if which is None else which, batch or self.report.batch
        taken: list[list[float]] = []
        deadline = time.perf_counter() + SECONDS
        while len(taken) < ROUNDS and (len(taken) < FEWEST_ROUNDS or time.perf_counter() < deadline):
            rows = self.rng.choice(which, min(batch, len(which)), replace=False)
            raw: Any = self.rows.raw
            raw = raw[rows] if sp.issparse(raw) else [raw[i] for i in rows]
            taken.append([0.0] * len(plans))
            for i in self.rng.permutation(len(plans)):
                begin = time.perf_counter()
                plans[i].net.top_labels(self._examples(raw), self.metric.k)
                taken[-1][i] = (time.perf_counter() - begin) / len(rows)
        for tried, ms in zip(plans, 1000 * np.median(taken, axis=0), strict=True):
            tried.ms = float(ms)

    def _examples(self, raw: Any) -> Examples:
        """Rows as SlideClassifier.predict_topk hands them on."""
        return self.encoding.examples(raw, self.net.n_threads)
