"""Scores on held-out rows at the end of each epoch of a shared fit: when it stops, and which model stays.

All workers score together, get the same numbers, and so decide the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from slide.checks import require
from slide.distributed.training.answers import Found, best_here, best_of_all, by_blocks
from slide.distributed.training.loop import Counters, SharedTraining
from slide.distributed.training.step import agreed
from slide.distributed.transport.group import Array
from slide.engine.protocol import Examples
from slide.engine.state import WideState
from slide.training.early_stopping import EarlyStopping, held_out_key, model_selection
from slide.training.evaluation import METRICS, Evaluator

PAIR_ARRAYS = ("indptr", "labels", "weights", "bias")


@dataclass(frozen=True)
class EvalSet:
    """Rows that are scored and not trained on, at every worker; early: whether a worse score ends the fit."""

    X: sp.csr_array
    Y: sp.csr_array
    early: EarlyStopping | None

    @classmethod
    def of(cls, held: tuple[sp.csr_array, sp.csr_array] | None, early: EarlyStopping | None) -> EvalSet | None:
        """None without rows. Raises ValueError for early stopping without them, or by what workers do not know."""
        model_selection(held, None, early, None)
        known = early is None or early.metric in METRICS
        require(known, "early_stopping", early, f"a metric of {', '.join(METRICS)} with cluster=")
        return None if held is None else cls(*held, early)

    def key(self) -> dict[str, Any]:
        """What must be the same for a fit to go on."""
        return held_out_key(self.early, (self.X, self.Y))


class Judge:
    """One worker's part of it. All workers call its methods."""

    def __init__(self, training: SharedTraining, given: EvalSet | None) -> None:
        """given : None does nothing"""
        self._training, self._given = training, given
        self._evaluator = None if given is None else Evaluator(given.X, given.Y, training.data.Y)
        self._kept: _Kept | None = None

    @property
    def is_due(self) -> bool:
        """Whether an epoch has ended that was not scored."""
        at = self._training.at
        return self._evaluator is not None and len(at.evaluated) < at.epoch

    def evaluate(self) -> dict[str, float]:
        """The metrics of the rows; keeps the model if it is the best."""
        assert self._evaluator is not None
        at = self._training.at
        found = self._evaluator(_Asked(self._training))  # type: ignore[arg-type]  # it asks for labels alone
        at.evaluated = [*at.evaluated, found]
        early = self._early
        if early is not None and early.restore_best and early.best_epoch(self._history) == len(at.evaluated) - 1:
            self._kept = _Kept.of(self._training)
        return found

    @property
    def says_stop(self) -> bool:
        """Whether patience is at its end."""
        return self._early is not None and bool(self._history) and self._early.says_stop(self._history)

    def forget(self) -> None:
        """The kept model: workers have other parts now."""
        self._kept = None

    def finish(self) -> str | None:
        """Puts the best model in place of the last one, if that was asked for; what to say where it is gone."""
        early, training = self._early, self._training
        if early is None or not early.restore_best or early.best_epoch(self._history) in (-1, len(self._history) - 1):
            return None
        if not agreed(training.group, self._kept is not None):
            return "workers have changed since the best epoch: the model is that of the last one"
        assert self._kept is not None
        self._kept.restore(training)
        return None

    @property
    def kept_at(self) -> dict[str, Any] | None:
        """Counters of the kept model, which the manifest of a checkpoint says."""
        return None if self._kept is None else self._kept.at

    def saved(self) -> dict[str, Array]:
        """The kept model as arrays of a checkpoint; none without one."""
        return {} if self._kept is None else self._kept.arrays()

    def take_saved(self, file: Any, at: dict[str, Any]) -> None:
        """The kept model of a checkpoint, of the same part of the network."""
        self._kept = _Kept.read(file, at)

    @property
    def _early(self) -> EarlyStopping | None:
        return None if self._given is None else self._given.early

    @property
    def _history(self) -> list[dict[str, Any]]:
        return [{"epoch_ended": True, **metrics} for metrics in self._training.at.evaluated]


class _Asked:
    """What Evaluator asks: a network in parts, of which every label is scored."""

    def __init__(self, training: SharedTraining) -> None:
        self._training, self.n_labels = training, training.spec.output.n

    def predict_topk(self, X: sp.csr_array, k: int) -> Found:
        """The k best labels of each row."""
        return by_blocks(X, lambda some: self._some(some, k))

    def _some(self, X: sp.csr_array, k: int) -> Found:
        training = self._training
        shard, pairs = training.shard, training.pairs
        hidden = training.hidden_of(Examples.of(training.features.columns(X, *shard.features)))
        first, end = shard.labels
        ids, scores = best_here(shard.head, None if pairs is None else pairs.state, X, hidden, min(k, end - first))
        return best_of_all(training.group, (training.labels.inverse[first + ids], scores), k)


@dataclass(frozen=True)
class _Kept:
    """A copy of what a worker had at the end of an epoch."""

    at: dict[str, Any]
    features: np.ndarray
    labels: np.ndarray
    pairs: dict[str, np.ndarray]

    @classmethod
    def of(cls, training: SharedTraining) -> _Kept:
        """As it is now."""
        shard, pairs = training.shard, training.pairs
        copies = {} if pairs is None else {name: getattr(pairs.state, name).copy() for name in PAIR_ARRAYS}
        return cls(asdict(training.at), shard.input.rows.copy(), shard.output.rows.copy(), copies)

    def arrays(self) -> dict[str, Array]:
        """As `read` takes them."""
        pairs = {f"kept_pairs_{name}": array for name, array in self.pairs.items()}
        return {"kept_features": self.features, "kept_labels": self.labels, **pairs}

    @classmethod
    def read(cls, file: Any, at: dict[str, Any]) -> _Kept:
        """From a checkpoint, of which `at` is in its manifest."""
        pairs = {name: file[f"kept_pairs_{name}"] for name in PAIR_ARRAYS if f"kept_pairs_{name}" in file}
        return cls(at, file["kept_features"], file["kept_labels"], pairs)

    def restore(self, training: SharedTraining) -> None:
        """In place of what there is; the counters of rebuilds go on."""
        training.shard.input.rows[...] = self.features
        training.shard.output.rows[...] = self.labels
        if training.pairs is not None:
            state: WideState = training.pairs.state
            for name, array in self.pairs.items():
                setattr(state, name, array)
            training.pairs.make_engine()
        then, now = Counters(**self.at), training.at
        now.step, now.epoch, now.first = then.step, then.epoch, then.first
