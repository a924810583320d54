"""Where the time of a fit goes: ``slide bench`` and slide.report.profile.profile.

The engine's threads record what they work on (csrc/core/clock.h); here that becomes a table that adds up to all of the
threads' time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slide.checks import require
from slide.engine.layout import PHASES
from slide.training.callbacks import Callback

if TYPE_CHECKING:
    from slide.estimator.classifier import SlideClassifier
    from slide.network import Network
    from slide.training.progress import Progress

SINGLE_ROWS, WARM_UP = 500, 50
MEANING = {
    "input": "rows of the sample's features, layers up to the last",
    "hash": "codes of what enters a sampled layer",
    "retrieve": "active sets",
    "forward": "logits of the active neurons",
    "loss": "and its gradients",
    "backward": "gradients of what enters the last layer",
    "update": "rows of the active neurons",
    "layers below": "backward pass and updates",
    "sparse part": "scores, losses and updates of feature-label pairs",
    "rebuild": "training waits for the tables",
    "rows": "training waits for output rows of a file (memory=)",
    "other": "waiting, order of samples, preparation and the last rebuild",
}


@dataclass(frozen=True)
class Profile:
    """What the time of a fit went into.

    Attributes
    ----------
    seconds : float
        Wall-clock time of the fit; those of PHASES, "rebuild", "rows" and "other" are thread-seconds and add up to
        `threads` times as much.
    samples, threads, batch_size : int
    isa : str
    phases : dict of str to float
        Seconds, summed over threads.
    rows : str
        What came of output rows in a file, where they are in one.
    """

    seconds: float
    samples: int
    threads: int
    batch_size: int
    isa: str
    phases: dict[str, float]
    rows: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**vars(self), "samples_per_second": self.samples / self.seconds}

    def __str__(self) -> str:
        total = self.seconds * self.threads
        rate = f"{self.samples / self.seconds:,.0f} samples/s"
        head = f"{self.samples:,} samples in {self.seconds:.2f} s: {rate}, {self.threads} threads, {self.isa}, "
        lines = [head + f"batches of {self.batch_size}", f"{'':14}{'share':>7}{'seconds':>10}{'us a sample':>13}"]
        for name, seconds in self.phases.items():
            each = 1e6 * seconds / max(self.samples, 1)
            lines.append(f"{name:<14}{seconds / total:>7.1%}{seconds:>10.3f}{each:>13.3f}  {MEANING[name]}")
        lines.append(f"{'all threads':<14}{1:>7.1%}{total:>10.3f}{1e6 * total / max(self.samples, 1):>13.3f}")
        return "\n".join([*lines, *([f"rows in a file: {self.rows}"] if self.rows else [])])


class _Timed(Callback):
    """Turns the engine's clocks on, again where pruning makes a new engine, and off at the end."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def on_fit_begin(self, progress: Progress, network: Network) -> None:
        self.progress = progress
        network.take_time(True)

    def on_fit_end(self, progress: Progress, network: Network) -> None:
        network.take_time(False)


def profile(clf: SlideClassifier, X: Any, y: Any, **fit_kwargs: Any) -> Profile:
    """Fits a classifier and says what the time went into.

    Parameters
    ----------
    clf : SlideClassifier
        It is fitted as by ``clf.fit(X, y, **fit_kwargs)``.

    Raises
    ------
    ValueError
        For the Numba back end, which has no clocks.

    Examples
    --------
    >>> import slide
    >>> from slide.report.profile import profile
    >>> X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
    >>> found = profile(slide.SlideClassifier((8,), epochs=1, n_threads=1), X, Y)
    >>> abs(sum(found.phases.values()) / found.seconds - 1) < 0.01
    True
    """
    timed, begin = _Timed(), time.perf_counter()
    given = fit_kwargs.pop("callback", None)
    clf.fit(X, y, callback=[timed, *([] if given is None else [given])], **fit_kwargs)
    seconds = time.perf_counter() - begin
    net, progress = clf.network_, timed.progress
    assert progress is not None
    threads = net.n_threads
    phases = dict(zip(PHASES, progress.phase_seconds or [0.0] * len(PHASES), strict=True))
    phases["rebuild"] = progress.rebuild_seconds * threads
    rows = net.traffic.summary(progress.done) if net.traffic else ""
    if rows:
        phases["rows"] = progress.rows_seconds * threads
    phases["other"] = seconds * threads - sum(phases.values())
    return Profile(seconds, progress.done, threads, net.resolved_batch_size(progress.total), net.isa, phases, rows)


@dataclass(frozen=True)
class Speed:
    """How fast a model predicts: rows a second in batches, and milliseconds for one row (median, 99th percentile)."""

    n_candidates: int | None
    rows_per_second: float
    median_ms: float
    p99_ms: float

    def __str__(self) -> str:
        how = "exact" if self.n_candidates is None else f"{self.n_candidates:,} candidates"
        one = f"one row {self.median_ms:.3f} ms (median), {self.p99_ms:.3f} ms (99 %)"
        return f"{how:<18}{self.rows_per_second:>12,.0f} rows/s in batches; {one}"


def speed(clf: SlideClassifier, X: Any, n_candidates: int | None, k: int = 5) -> Speed:
    """Predicts all rows at once, then up to 500 of them one by one."""
    require(X.shape[0] > 0, "X", X.shape, "at least one row")
    k = min(k, clf.n_labels_)
    clf.predict_topk(X[:WARM_UP], k, n_candidates=n_candidates)
    begin = time.perf_counter()
    clf.predict_topk(X, k, n_candidates=n_candidates)
    rate = X.shape[0] / (time.perf_counter() - begin)
    times = []
    for i in range(min(SINGLE_ROWS, X.shape[0])):
        row = X[i : i + 1]
        begin = time.perf_counter()
        clf.predict_topk(row, k, n_candidates=n_candidates)
        times.append(1000 * (time.perf_counter() - begin))
    return Speed(n_candidates, rate, float(np.median(times)), float(np.quantile(times, 0.99)))
