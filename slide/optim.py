"""Optimizers and learning-rate schedules: frozen numbers. The arithmetic is in csrc/net/optimizer.c."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from slide.checks import number, require, whole

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adagrad",
    "Adam",
    "Constant",
    "Cosine",
    "Linear",
    "Optimizer",
    "Rebuild",
    "Schedule",
    "check_schedule",
]


@dataclass(frozen=True)
class Optimizer:
    """A step size, and weight decay that is decoupled from it (Loshchilov & Hutter, ICLR 2019).

    Only rows of the active set are touched: a row that sleeps keeps its weights, moments and decay.
    """

    lr: float = 0.05
    weight_decay: float = 0.0

    beta1: ClassVar[float] = 0.0
    beta2: ClassVar[float] = 0.0
    eps: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        fits = 0 < number(self.lr) <= np.finfo(np.float32).max
        require(bool(fits), f"{name}(lr=)", self.lr, "a finite number over 0, within float32")
        decay = self.weight_decay
        require(0 <= number(decay) < math.inf, f"{name}(weight_decay=)", decay, "a finite number, 0 or more")

    @property
    def kind(self) -> str:
        """The name under which the back ends know it."""
        raise TypeError("Optimizer is abstract: use SGD, Adagrad or Adam")


@dataclass(frozen=True)
class SGD(Optimizer):
    """Plain stochastic gradient descent."""

    @property
    def kind(self) -> str:
        return "sgd"


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad (Duchi et al., JMLR 2011), with one accumulator a row (the mean squared gradient) or one a weight.

    One a row costs no memory beyond the row's own cache line and is the default.
    """

    per_row: bool = True
    eps: float = 1e-8  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        require(isinstance(self.per_row, bool), "Adagrad(per_row=)", self.per_row, "True or False")
        require(0 <= number(self.eps) < math.inf, "Adagrad(eps=)", self.eps, "a finite number, 0 or more")

    @property
    def kind(self) -> str:
        return "adagrad_row" if self.per_row else "adagrad"


@dataclass(frozen=True)
class Adam(Optimizer):
    """Lazy Adam (Kingma & Ba, ICLR 2015): moments move only when their row is touched.

    Bias correction follows the row's own number of updates, so a row that first wakes after a million samples takes
    a first step as large as any.
    """

    lr: float = 1e-3
    beta1: float = 0.9  # type: ignore[misc]
    beta2: float = 0.999  # type: ignore[misc]
    eps: float = 1e-8  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= number(self.beta1) < 1, "Adam(beta1=)", self.beta1, "at least 0 and under 1")
        require(0 <= number(self.beta2) < 1, "Adam(beta2=)", self.beta2, "at least 0 and under 1")
        require(0 <= number(self.eps) < math.inf, "Adam(eps=)", self.eps, "a finite number, 0 or more")

    @property
    def kind(self) -> str:
        return "adam"


@dataclass(frozen=True)
class Schedule:
    """Factor of the learning rate over the course of a fit: constant after an optional warm-up.

    Parameters
    ----------
    warmup : float in [0, 1)
        Share of all samples over which the factor rises from 0 to 1.
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= number(self.warmup) < 1, f"{type(self).__name__}(warmup=)", self.warmup, "at least 0 and under 1")

    def after_warmup(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Factor for progress in [0, 1] since the end of the warm-up."""
        return np.ones_like(progress)

    def __call__(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Factors float32 for progress in [0, 1] through all samples of the fit."""
        rest = np.clip((progress - self.warmup) / (1 - self.warmup), 0, 1)
        rising = progress / self.warmup if self.warmup else np.ones_like(progress)
        return (np.minimum(rising, 1) * self.after_warmup(rest)).astype(np.float32)


def check_schedule(schedule: Any) -> Schedule | None:
    """The schedule itself; ValueError for what is none."""
    ok = schedule is None or isinstance(schedule, Schedule)
    ok = ok or (callable(schedule) and not isinstance(schedule, type))
    require(ok, "schedule", schedule, "a slide.Linear, Cosine, Constant, or a function of the progress")
    return cast("Schedule | None", schedule)


@dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate as it is."""


@dataclass(frozen=True)
class Linear(Schedule):
    """Falls linearly to `final` times the learning rate."""

    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= number(self.final) < math.inf, "Linear(final=)", self.final, "a finite number, 0 or more")

    def after_warmup(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 1 - (1 - self.final) * progress


@dataclass(frozen=True)
class Cosine(Schedule):
    """Falls to 0 along half a cosine (Loshchilov & Hutter, ICLR 2017, without restarts)."""

    def after_warmup(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 0.5 * (1 + np.cos(np.pi * progress))


@dataclass(frozen=True)
class Rebuild:
    """When tables are rebuilt: the t-th time `every * exp(growth * t)` samples after the one before (SLIDE, 3.1.3).

    Parameters
    ----------
    every : int or None
        Samples up to the first rebuild. None: what the layers' hash families ask for
        (slide.lsh.HashFamily.rebuild_every).
    growth : float or None
        0 rebuilds at equal distances. None: 0.1, or what the hash families ask for.
    drift : float or None
        With a number, each of these times only asks whether tables are rebuilt: they are if sampled rows have changed
        by more than this share of their length since the last fill (the mean over 256 rows of a layer, the same ones
        for equal seeds). `growth` then counts the rebuilds so far.
    background : bool or None
        A thread fills a second set of tables, which is swapped in when it is full, so that training waits for the first
        fill and the last only. It reads weights while they change: equal seeds do not give equal bits then. None: where
        a layer has 100,000 neurons or more and several threads train.
    incremental : bool
        Codes of neurons are remembered, at 4 L + 8 bytes a neuron, and a rebuild hashes only rows that have changed
        since the one before; tables come out equal to the bit. Hash functions that learn, centred ones too, do so only
        at rebuilds 1, 2, 4, 8 and so on, and at the end, since a lesson changes all codes. No effect on QueryCells.
    """

    every: int | None = None
    growth: float | None = None
    drift: float | None = None
    background: bool | None = None
    incremental: bool = False

    def __post_init__(self) -> None:
        require(
            self.every is None or whole(self.every) >= 1, "Rebuild(every=)", self.every, "1 sample or more, or None"
        )
        ok = self.growth is None or 0 <= number(self.growth) <= 10
        require(ok, "Rebuild(growth=)", self.growth, "0 to 10, or None")
        drift = self.drift
        known = drift is None or 0 < number(drift) < math.inf
        require(known, "Rebuild(drift=)", drift, "a finite number over 0, or None")
        require(
            self.background is None or isinstance(self.background, bool),
            "Rebuild(background=)",
            self.background,
            "a bool or None",
        )
        require(isinstance(self.incremental, bool), "Rebuild(incremental=)", self.incremental, "a bool")

    def interval(self, times: int, wanted: tuple[int, float]) -> int:
        """Samples between rebuild number `times` and the next; wanted are `every` and `growth` where they are None."""
        every = self.every if self.every is not None else wanted[0]
        growth = self.growth if self.growth is not None else wanted[1]
        return int(min(every * np.exp(min(growth * times, 64)), 2.0**61))


OPTIMIZERS: dict[str, type[Optimizer]] = {c.__name__: c for c in (SGD, Adagrad, Adam)}
SCHEDULES: dict[str, type[Schedule]] = {c.__name__: c for c in (Constant, Linear, Cosine)}
