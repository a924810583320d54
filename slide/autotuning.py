"""Options found by trying them on held-out rows for so many minutes: ``slide.autotune``, ``slide train --autotune``.

A greedy search, one option at a time, beginning with those that matter most: what worked is kept, and its neighbours
are tried until nothing gets better or the time is over. Trials see part of the rows where all would take too long. What
is left of the time goes into one fit of all rows. fastText's autotune has the same contract (minutes in, a model out).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from slide import metrics
from slide.checks import Checked, among, number, require
from slide.estimator.classifier import SlideClassifier
from slide.estimator.encoding import Pair
from slide.estimator.holdout import split
from slide.estimator.labels import Labels
from slide.estimator.sklearn_api import seed_of
from slide.text.classifier import PREFIX, SlideTextClassifier
from slide.text.reader import TextReader, check_texts
from slide.training.callbacks import Callback
from slide.training.evaluation import KS, METRICS, widened
from slide.training.ranking import Rank

SHARE, MOST_HELD = 0.1, 10_000  # of the rows, where no evaluation set was given
PILOT_ROWS = 5_000  # that say how long a trial takes
TRIALS = 12  # that should fit the time; trials see fewer rows where they would not
SLOWER = 2.0  # how much longer than the best so far a trial may take; the last fit is counted this much too
MOST_OF_LEFT, SLOWEST = 0.25, 4.0  # of the time left, or of the best so far: a trial that takes more is given up
NOISE = 0.5  # of the standard error of a share: what a score must rise by. Two models err on the same rows
FEATURES = "features"

#: What is tried for each option, in this order; those that the classifier was given are left alone.
TEXT_CHOICES: dict[str, tuple[Any, ...]] = {
    "characters": ((3, 5), (2, 4), (4, 6), None),
    "words": (1, 2),
    "min_rows": (1, 3),
    "max_share": (0.2, 1.0),
}
OF_A_VOCABULARY = ("min_rows", "max_share")  # which say nothing with buckets
CHOICES: dict[str, tuple[Any, ...]] = {
    "epochs": (8, 3, 12, 5),
    "n_active": (1000, 300, 100),
    "hidden": ((256,), (64,), (128,)),
    "wide": (Rank(), True),
    "dropout": (0.3, 0.1, 0.5, 0.0),
    "lr": (0.2, 0.05, 0.1),
}

Options = dict[str, Any]
Say = Callable[[str], None]


def _said(options: Options) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items()) or "as given"


@dataclass(frozen=True)
class Trial:
    """One fit: the options that differ from those it began with, its score (a fraction), seconds, and rows."""

    options: Options
    score: float
    seconds: float
    n_rows: int

    def __str__(self) -> str:
        return f"{100 * self.score:.2f}  {self.seconds:.1f} s  {_said(self.options)}"


@dataclass
class Autotuned:
    """What was tried; ``clf.tuned_``. Print it.

    Attributes
    ----------
    metric : str
    trials : list of Trial
        In order; the first is of the options as they were given.
    best : Trial
        Whose options the classifier was fitted with at last, on all rows.
    n_held : int
        Rows that trials were scored on.
    seconds : float
        Everything counted, the last fit too.
    """

    metric: str
    n_held: int
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> Trial:
        """The trial that was kept."""
        kept = self.trials[0]
        for trial in self.trials[1:]:
            if self.is_better(trial, kept):
                kept = trial
        return kept

    def is_better(self, trial: Trial, kept: Trial) -> bool:
        """Whether a score rose by more than rows that came out otherwise by chance explain."""
        error = np.sqrt(max(kept.score * (1 - kept.score), 0) / max(self.n_held, 1))
        return bool(trial.score > kept.score + NOISE * error)

    def __str__(self) -> str:
        head = f"{self.metric} on {self.n_held:,} held-out rows, {len(self.trials)} trials in {self.seconds:.0f} s"
        return "\n".join([head, *(f"{'*' if t is self.best else ' '} {t}" for t in self.trials)])


def autotune(
    clf: SlideClassifier,
    X: Any,
    y: Any,
    *,
    minutes: float = 5.0,
    metric: str = "p@1",
    eval_set: tuple[Any, Any] | float = SHARE,
    say: Say | None = None,
) -> SlideClassifier:
    """A classifier of the same kind, fitted on X and y with options that did best on held-out rows.

    Parameters
    ----------
    clf : SlideClassifier or SlideTextClassifier
        Options that are not the defaults stay as they are. It is not changed.
    X, y : as its `fit` takes them
    minutes : float
        For everything, the last fit on all rows included. With too few for one trial beside it, the options stay.
    metric : str
        What is to be high: p, psp, ndcg, psndcg or recall @1, @3 or @5.
    eval_set : pair (X, y), or float
        Rows that trials are scored on; a float is the share of these rows, at most 10,000, that is held out for it.
    say : function of a str, or None
        Told of each trial as it ends.

    Returns
    -------
    SlideClassifier, with what was tried in `tuned_`: ``print(clf.tuned_)``

    Raises
    ------
    ValueError
        As `fit`; for no time, an unknown metric, or an evaluation set that does not fit.
    """
    require(0 < number(minutes) < np.inf, "minutes", minutes, "a number over 0")
    require(among(metric, METRICS), "metric", metric, f"one of {', '.join(METRICS)}")
    search = _Search(clf, X, y, eval_set, metric, time.perf_counter() + 60 * minutes, say or (lambda _: None))
    found = search.run()
    begun = time.perf_counter()
    best = _with(clf, found.best.options)
    best.fit(X, y)
    found.seconds = search.seconds + time.perf_counter() - begun
    best.tuned_ = found
    return best


class _Search:
    """Trials on a part of the rows, until the deadline leaves just the time for the last fit."""

    def __init__(
        self, clf: SlideClassifier, X: Any, y: Any, eval_set: Any, metric: str, deadline: float, say: Say
    ) -> None:
        self.clf, self.metric, self.deadline, self.say = clf, metric, deadline, say
        self.begun = time.perf_counter()
        self.data = _Rows(clf, X, y, eval_set)
        self.found = Autotuned(metric, self.data.n_held)
        self.tried: set[str] = set()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begun

    @property
    def left(self) -> float:
        return self.deadline - time.perf_counter()

    def run(self) -> Autotuned:
        kept = self._first()
        improved = True
        while improved:
            improved = False
            for name, value in _neighbours(self.clf, kept.options):
                if not self._has_time(kept):
                    return self.found
                trial = self._try(_changed(self.clf, kept.options | {name: value}))
                if trial is not None and self.found.is_better(trial, kept) and self._has_time(trial, trials=0):
                    kept, improved = trial, True
        return self.found

    def _first(self) -> Trial:
        """The options as they are, on as many rows as a trial may have."""
        n_all = self.data.n_rows
        self.data.n_used = min(n_all, PILOT_ROWS)
        trial = self._measured({})
        if n_all > PILOT_ROWS:
            seconds_a_row = trial.seconds / trial.n_rows
            wanted = max(PILOT_ROWS, int(self.left / TRIALS / seconds_a_row))
            if wanted > 2 * PILOT_ROWS or wanted >= n_all:
                self.data.n_used = min(n_all, wanted)
                trial = self._measured({})
        self._add(trial)
        return trial

    def _has_time(self, kept: Trial, trials: int = 1) -> bool:
        """For so many trials and the last fit."""
        return self.left > SLOWER * (trials * kept.seconds + self._last(kept))

    def _last(self, kept: Trial) -> float:
        """Seconds of the last fit, of all rows."""
        return kept.seconds * self.data.n_with_held / kept.n_rows

    def _try(self, options: Options) -> Trial | None:
        key = repr(sorted(options.items()))
        if key in self.tried:
            return None
        self.tried.add(key)
        kept = self.found.best
        allowed = min(self.left - SLOWER * self._last(kept), max(self.left * MOST_OF_LEFT, SLOWEST * kept.seconds))
        try:
            trial = self._measured(options, allowed)
        except _TooLongError:
            self.say(f"given up after {allowed:.0f} s: {_said(options)}")
            return None
        self._add(trial)
        return trial

    def _add(self, trial: Trial) -> None:
        self.tried.add(repr(sorted(trial.options.items())))
        self.found.trials.append(trial)
        kept = " (kept)" if self.found.best is trial else ""
        self.say(f"trial {len(self.found.trials)}: {self.metric} {trial}{kept}")

    def _measured(self, options: Options, allowed: float = np.inf) -> Trial:
        """Raises _TooLongError after so many seconds; features are made in any case."""
        begun = time.perf_counter()
        clf = _with(self.clf, options)
        X, held = self.data.features(clf)
        Y, held_Y = self.data.labels
        plain = SlideClassifier(
            **{k: v for k, v in clf.get_params(deep=False).items() if k != FEATURES} | {"verbose": 0}
        )
        if isinstance(clf, SlideTextClassifier) and plain.normalize == "auto":
            plain.normalize = True
        plain.fit(X, Y, callback=_Limit(begun + allowed))
        ids, _ = plain.network_.predict_topk(Checked(plain._rows(held)), min(max(KS), Y.shape[1]))
        padded = np.full((len(ids), max(KS)), -1, np.int32)
        padded[:, : ids.shape[1]] = ids
        score = metrics.evaluate(held_Y, padded, widened(Y, held_Y.shape[1]), KS)[self.metric]
        return Trial(dict(options), score, time.perf_counter() - begun, Y.shape[0])


class _TooLongError(Exception):
    """A trial took more than its time."""


class _Limit(Callback):
    """Ends a fit at a time of time.perf_counter()."""

    def __init__(self, end: float) -> None:
        self._end = end

    def on_chunk(self, progress: Any, network: Any) -> None:
        self.on_ranking(network)

    def on_ranking(self, network: Any) -> None:
        if time.perf_counter() > self._end:
            raise _TooLongError


class _Rows:
    """Training rows and those held out, their features made anew only where the options of the features change."""

    n_used: int

    def __init__(self, clf: SlideClassifier, X: Any, y: Any, eval_set: Any) -> None:
        rows = _readable(clf, X)
        labels = Labels.of(y)
        Y = labels.encode(y)
        n = Y.shape[0]
        require(_length(rows) == n, "X and y", f"{_length(rows):,} and {n:,} rows", "as many of both")
        require(n > 0, "X and y", "no rows", "at least two: some are held out")
        self._seed = seed_of(clf.random_state)
        if isinstance(eval_set, float | np.floating):
            share = min(float(eval_set), MOST_HELD / n) if 0 < eval_set < 1 else float(eval_set)
            train, held = split(n, share, self._seed)
            self._train, self._held = _take(rows, train), _take(rows, held)
            self._Y, self._held_Y, self.n_with_held = Y[train], Y[held], n
        else:
            ok = isinstance(eval_set, tuple | list) and len(eval_set) == 2
            require(ok, "eval_set", type(eval_set).__name__, "a pair (X, y), or a share of the rows like 0.1")
            self._train, self._held, self._Y = rows, _readable(clf, eval_set[0]), Y
            self._held_Y, self.n_with_held = labels.truth(eval_set[1]).Y, n
        self.n_rows, self.n_held = self._Y.shape[0], self._held_Y.shape[0]
        self.n_used = self.n_rows
        self._made: tuple[Any, Pair] | None = None

    @property
    def labels(self) -> Pair:
        """Indicators of the rows in use, and of those held out."""
        return self._Y[self._used()], self._held_Y

    def features(self, clf: SlideClassifier) -> Pair:
        """Rows in use, and those held out, as the classifier reads them."""
        options = clf.features if isinstance(clf, SlideTextClassifier) else None
        key = self.n_used, options
        if self._made is None or self._made[0] != key:
            train = _take(self._train, self._used())
            if isinstance(clf, SlideTextClassifier):
                reader, found = TextReader(options).fit(train, n_threads=clf.n_threads)
                self._made = key, (found, reader.read(self._held, n_threads=clf.n_threads))
            else:
                self._made = key, (train, self._held)
        return self._made[1]

    def _used(self) -> Any:
        if self.n_used >= self.n_rows:
            return np.arange(self.n_rows)
        return np.sort(np.random.default_rng([self._seed, 40]).choice(self.n_rows, self.n_used, replace=False))


def _readable(clf: SlideClassifier, X: Any) -> Any:
    """Texts as a list; matrices as CSR, not yet scaled."""
    return check_texts(X) if isinstance(clf, SlideTextClassifier) else clf._new_reader().fit(X)[1]


def _length(rows: Any) -> int:
    return rows.shape[0] if sp.issparse(rows) else len(rows)


def _take(rows: Any, which: Any) -> Any:
    return rows[which] if sp.issparse(rows) else [rows[i] for i in which]


def _with(clf: SlideClassifier, options: Mapping[str, Any]) -> SlideClassifier:
    """The same, unfitted, with some options changed."""
    made = type(clf)(**copy.deepcopy(clf.get_params(deep=False))).set_params(**options)
    if isinstance(made, SlideTextClassifier) and isinstance(clf, SlideTextClassifier) and hasattr(clf, "table_"):
        made.table_ = clf.table_
    return made


def _changed(clf: SlideClassifier, options: Options) -> Options:
    """Without those that are what the classifier was given."""
    given = clf.get_params()
    return {name: value for name, value in options.items() if value != given[name]}


def _neighbours(clf: SlideClassifier, options: Options) -> Iterator[tuple[str, Any]]:
    """Options that are still the default of what was given, with other values than those in force."""
    given, default = clf.get_params(), type(clf)().get_params()
    changed = clf.changed_params().keys() | {n for n in given if n.startswith(PREFIX) and given[n] != default[n]}
    choices = CHOICES
    if isinstance(clf, SlideTextClassifier):
        choices = {f"{PREFIX}{name}": values for name, values in TEXT_CHOICES.items()} | CHOICES
        if clf.features and clf.features.buckets:
            changed |= {f"{PREFIX}{name}" for name in OF_A_VOCABULARY}
    for name, values in choices.items():
        if name not in changed:
            now = options.get(name, given[name])
            yield from ((name, value) for value in values if value != now)
