"""Where a fit stands: what callbacks are handed and checkpoints hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slide.engine.protocol import TrainStats


@dataclass
class Progress:
    """Where a fit stands, handed to callbacks.

    Attributes
    ----------
    epochs, total : int
        Asked for: passes over the rows, and samples in all of them.
    epoch, done : int
        The present epoch, from 0; samples trained on so far.
    seconds, rebuild_seconds, evaluation_seconds : float
        Wall-clock time since the start, and how much of it went into rebuilds of tables and scores on held-out rows.
    rebuilds : int
    loss : float
        Mean over about the last tenth of an epoch.
    active : float
        Neurons of the last layer that took part in a sample, mean over the last chunk.
    epoch_ended : bool
        Whether this is the last call in an epoch.
    metrics : dict of str to float
        Of the evaluation set, as fractions, at the last epoch's end; empty without one.
    history : list of dict
        A record each 200th of the fit and at the end of each epoch, then with the metrics.
    metric : str
        The one to be shown: what early stopping goes by, "p@1" without it.
    data : dict of str to float
        Of the rows trained on: rows, features, labels, labels_per_row, rows_without_features, rows_without_labels.
    rows_read : int
        Output rows that were read from their file so far, where there is one (`memory`).
    rows_seconds : float
        How long training waited for them.
    stop : bool
        Set it to end the fit before the next chunk.
    """

    epochs: int
    total: int
    epoch: int = 0
    done: int = 0
    seconds: float = 0.0
    rebuild_seconds: float = 0.0
    rebuilds: int = 0
    loss: float = float("nan")
    active: float = float("nan")
    epoch_ended: bool = False
    evaluation_seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    columns: list[str] = field(default_factory=list, repr=False)
    metric: str = "p@1"
    data: dict[str, float] = field(default_factory=dict, repr=False)
    rows_read: int = 0
    rows_seconds: float = 0.0
    stop: bool = False
    phase_seconds: list[float] = field(
        default_factory=list, repr=False
    )  # of slide.engine.layout.PHASES, where asked for
    _loss_sum: float = field(default=0.0, repr=False)
    _loss_n: int = field(default=0, repr=False)

    @property
    def samples_per_second(self) -> float:
        """Over the whole fit so far, rebuilds included, evaluations not."""
        seconds = self.seconds - self.evaluation_seconds
        return self.done / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """At the rate so far."""
        return (self.total - self.done) / self.samples_per_second if self.done else float("inf")

    def add(self, stats: TrainStats, n: int) -> None:
        """Takes in one chunk: a running mean of the loss over about the last tenth of an epoch."""
        self.done += n
        self.active = stats.n_active / max(n, 1)
        self._loss_sum += stats.loss
        self._loss_n += stats.n_loss
        if stats.phase_seconds:
            before = self.phase_seconds or [0.0] * len(stats.phase_seconds)
            self.phase_seconds = [a + b for a, b in zip(before, stats.phase_seconds, strict=True)]
        self.loss = self._loss_sum / self._loss_n if self._loss_n else float("nan")
        limit = max(1, self.total // max(self.epochs, 1) // 10)
        if self._loss_n > limit:
            self._loss_sum *= limit / self._loss_n
            self._loss_n = limit

    def record(self, lr: float) -> dict[str, Any]:
        """A new line of the history."""
        values = {
            "epoch": round(self.done * self.epochs / max(self.total, 1), 4),
            "epoch_ended": self.epoch_ended,
            "samples": self.done,
            "seconds": round(self.seconds, 4),
            "samples_per_second": round(self.samples_per_second, 1),
            "loss": float(self.loss) if np.isfinite(self.loss) else None,
            "active": round(self.active, 2),
            "rebuilds": self.rebuilds,
            "lr": lr,
        }
        scores = {str(name): _number(name, value) for name, value in self.metrics.items()} if self.epoch_ended else {}
        self.history.append(values | scores)
        return self.history[-1]


def _number(name: Any, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"metrics: found {value!r} as {name!r}, wanted a number") from None
