"""What `SlideClassifier.optimize` found, to print and to keep in a model's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from slide.checks import require
from slide.estimator.planned import ServingPlan


@dataclass(frozen=True)
class Trial:
    """A plan, its milliseconds a row, what it lost on average, and what it loses at most, where that was tested."""

    plan: ServingPlan
    ms: float
    loss: float
    bound: float | None = None
    confirmed: bool = False

    def __str__(self) -> str:
        bound = "      -" if self.bound is None else f"{100 * self.bound:7.2f}"
        return f"{self.ms:9.3f}{100 * self.loss:9.2f}  {bound}  {'yes' if self.confirmed else ' no'}  {self.plan}"


@dataclass
class SpeedReport:
    """What was tried; ``fast.report_``. Print it.

    Attributes
    ----------
    metric, max_loss, confidence : as they were asked for
    n_chosen, n_confirmed : int
        Rows that plans were compared on, and rows that they were tested on.
    batch : int
        Rows of a call, in the times that decide.
    base_ms, ms : float
        Milliseconds a row of the model as it is and of the plan, from rows as they come to labels, with what groups of
        features cost: medians of calls that took turns. 0 where none was timed.
    base_batch_ms, batch_ms : float
        The same of calls of 32 rows.
    loss, bound : float or None
        What the plan lost on average on the rows it was tested on, a share; and what it loses at most, with that
        confidence, on rows like these.
    share_whole : float or None
        Rows whose features were all read, where a first group of them comes first.
    declined : str or None
        Why the model predicts as it did.
    trials : list of Trial
        In the order of the test, up to the first that failed; behind it those that were not tested.
    """

    metric: str
    max_loss: float
    confidence: float
    n_chosen: int
    n_confirmed: int
    batch: int = 1
    base_ms: float = 0.0
    ms: float = 0.0
    base_batch_ms: float = 0.0
    batch_ms: float = 0.0
    loss: float | None = None
    bound: float | None = None
    share_whole: float | None = None
    declined: str | None = None
    trials: list[Trial] = field(default_factory=list)

    @property
    def speedup(self) -> float:
        """How many times as fast the plan is; 1 where it was declined before it was timed."""
        return self.base_ms / self.ms if self.ms else 1.0

    @property
    def summary(self) -> str:
        """In a line."""
        if self.declined:
            return f"declined: {self.declined}"
        bound = 100 * (1.0 if self.bound is None else self.bound)
        return f"{self.speedup:.2f} times as fast, at most {bound:.2f} points of {self.metric} less"

    def __str__(self) -> str:
        wanted = f"wanted: at most {100 * self.max_loss:g} points of {self.metric} less, confidence {self.confidence:g}"
        head = [wanted, self.summary]
        if not self.declined:
            head += [
                f"ms a row: {self.ms:.3f}, {self.base_ms:.3f} before; "
                f"in batches of 32 {self.batch_ms:.3f} and {self.base_batch_ms:.3f}",
                f"lost {100 * (self.loss or 0.0):.2f} points on {self.n_confirmed:,} rows that were not chosen on",
            ]
        if self.share_whole is not None:
            head.append(f"{100 * self.share_whole:.0f} % of the rows are read whole")
        table = ["       ms     lost  at most   ok  plan", *map(str, self.trials)] if self.trials else []
        return "\n".join([*head, *table])

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def restored(cls, config: Mapping[str, Any]) -> SpeedReport:
        """The inverse; ValueError for what is no report."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(config) - known)
        require(not unknown, "report", unknown, "the fields of a SpeedReport")
        trials = [Trial(**{**t, "plan": ServingPlan.restored(t["plan"])}) for t in config["trials"]]
        return cls(**{**config, "trials": trials})
