"""A network that predicts by a plan, which `SlideClassifier.optimize` found to be faster (optimizing.py).

Everything that predicts, scores or serves asks a network for its best labels, so a plan is followed there, and a
classifier with a planned network is otherwise like any other that only predicts.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.checks import require, whole
from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples
from slide.model.shortlists import at_most_all
from slide.network import Network

Found = tuple[IntArray, FloatArray]
COLUMNS = "optimized.first"  # a file's array of the columns that are read first


@dataclass(frozen=True)
class ServingPlan:
    """How a model predicts: print it.

    Attributes
    ----------
    bits : int
        Of the weights: 8, or 32 where they are as they were.
    n_candidates : int or None
        As in ``predict_topk``. A row for which fewer labels than asked for come back is predicted without it.
    n_ranked : int or None
        Labels of a row that are ranked (slide.Rank); None: as before.
    margin : float or None
        Rows whose best label leads by so much, read by the first group of features alone, stop there. None: all rows
        are read whole.
    first : str
        The name of that group.
    """

    bits: int = 32
    n_candidates: int | None = None
    n_ranked: int | None = None
    margin: float | None = None
    first: str = ""

    def __str__(self) -> str:
        parts = ["8 bits"] if self.bits == 8 else []
        parts += [f"{self.n_candidates:,} candidates"] if self.n_candidates else []
        parts += [f"{self.n_ranked:,} ranked"] if self.n_ranked else []
        if self.margin is not None:
            parts.append(f"{self.first!r} first, the rest under a margin of {self.margin:.3g}")
        return ", ".join(parts) or "as it is"

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        return dict(vars(self))

    @classmethod
    def restored(cls, config: Mapping[str, Any]) -> ServingPlan:
        """The inverse; ValueError for what is no plan."""
        plan = cls(**config)
        require(plan.bits in (8, 32) and type(plan.bits) is int, "bits", plan.bits, "8 or 32")
        for name in ("n_candidates", "n_ranked"):
            value = getattr(plan, name)
            require(value is None or whole(value) >= 1, name, value, "an int, 1 or more, or None")
        ok = plan.margin is None or (type(plan.margin) is float and not np.isnan(plan.margin))
        require(ok and isinstance(plan.first, str), "margin", plan.margin, "a float or None")
        return plan


class PlannedNetwork(Network):
    """The same arrays as another network's, asked by a plan; it only predicts."""

    plan: ServingPlan
    report: Any
    _first: npt.NDArray[np.bool_] | None
    _unit: bool
    _sources: tuple[Any, ...]

    @classmethod
    def over(
        cls,
        net: Network,
        plan: ServingPlan,
        *,
        first: IntArray | None = None,
        unit: bool = False,
        report: Any = None,
        source: Any = None,
    ) -> PlannedNetwork:
        """A view of a network that has the weights of the plan.

        first : columns that are read first, where the plan has a margin; unit : whether rows have unit length
        source : the classifier that was optimized, which must stay as it is
        """
        planned = cls.__new__(cls)
        planned.__dict__.update(vars(net))
        planned.plan, planned.report, planned._unit, planned._first = plan, report, unit, None
        if plan.margin is not None:
            assert first is not None
            inside = bool(len(first)) and first.min() >= 0 and first.max() < net.n_features
            require(inside, COLUMNS, "columns that are not there", f"columns under {net.n_features:,}")
            planned._first = np.zeros(net.n_features, np.bool_)
            planned._first[first] = True
        planned._sources = ()
        if source is not None:
            planned._sources = weakref.ref(source), weakref.ref(source.network_), source.network_.step
        if plan.n_ranked is not None and planned.ranker is not None and planned.ranker.n != plan.n_ranked:
            planned.ranker = replace(planned.ranker, n=plan.n_ranked)
            planned.engine = planned._make_engine()
        return planned

    @property
    def first_columns(self) -> IntArray | None:
        """Those that are read first."""
        return None if self._first is None else np.flatnonzero(self._first).astype(np.int32)

    def check_current(self) -> None:
        """Raises ValueError if the model that was optimized has changed since: the promise was about that one."""
        if not self._sources:
            return
        clf, net, step = self._sources[0](), self._sources[1](), self._sources[2]
        changed = net is not None and net.step != step
        if changed or (clf is not None and clf.network_ is not net):
            raise ValueError(
                "predict: found that the model was trained or its labels changed since it was optimized, "
                "wanted it as it was: call its optimize again"
            )

    # -- answers ----------------------------------------------------------------------------------------------------

    def predict_topk(self, X: Any, k: int = 5, *, n_candidates: int | None = None, index: str | None = None) -> Found:
        """As Network.predict_topk, by the plan unless n_candidates or index say how."""
        self.check_current()
        return super().predict_topk(X, k, n_candidates=n_candidates, index=index)

    def top_labels(
        self,
        rows: Examples,
        k: int = 5,
        n_candidates: int | None = None,
        rest: Callable[[IntArray], Examples] | None = None,
    ) -> Found:
        """The best labels of rows that were checked.

        rest : gives rows by number with all their features, where these may have those of the first group only
        """
        self.check_current()
        if n_candidates is not None:
            return super().top_labels(rows, k, n_candidates)
        k = at_most_all(k, self.n_labels)
        if self.plan.margin is None:
            return self._whole(rows if rest is None else rest(np.arange(rows.n_rows, dtype=np.int32)), k)
        ids, scores = self._whole(self._cut(rows), min(max(k, 2), self.n_labels))
        unsure = np.flatnonzero(lead(scores) < self.plan.margin)
        ids, scores = np.ascontiguousarray(ids[:, :k]), np.ascontiguousarray(scores[:, :k])
        if len(unsure):
            more = rows.take(unsure) if rest is None else rest(unsure.astype(np.int32))
            ids[unsure], scores[unsure] = self._whole(more, k)
        return ids, scores

    def _whole(self, rows: Examples, k: int) -> Found:
        """Of rows as they are."""
        n = self.plan.n_candidates
        if n is None:
            return super().top_labels(rows, k)
        ids, scores = super().top_labels(rows, k, min(max(n, k), self.n_labels))
        short = np.flatnonzero(ids[:, -1] < 0)
        if len(short):
            ids[short], scores[short] = super().top_labels(rows.take(short), k)
        return ids, scores

    def _cut(self, rows: Examples) -> Examples:
        """With the columns of the first group only, of unit length where rows are."""
        assert self._first is not None
        keep = self._first[rows.indices]
        indptr = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])[rows.indptr]
        indices, data = rows.indices[keep], rows.data[keep]
        if self._unit:
            row = np.repeat(np.arange(rows.n_rows), np.diff(indptr))
            norms = np.sqrt(np.bincount(row, np.square(data, dtype=np.float64), rows.n_rows))
            data = (data / np.where(norms > 0, norms, 1)[row]).astype(np.float32)
        return Examples(indptr, indices, data)

    # -- it only predicts -------------------------------------------------------------------------------------------

    def refuse_compressed(self, what: str) -> None:
        """Raises ValueError: what changes a model is done to the one that was optimized."""
        raise ValueError(f"{what}: found an optimized model, which only predicts; wanted the one it was made from")

    def compress(self) -> Any:
        """Refused: the plan says how many bits weights have."""
        self.refuse_compressed("compress")

    def __reduce__(self) -> tuple[Any, ...]:
        parts = self.snapshot(), self.n_threads, self.backend, self.own_family
        return _unpickled, (parts, self.plan, self.first_columns, self._unit, self.report)


def _unpickled(parts: Any, plan: ServingPlan, first: IntArray | None, unit: bool, report: Any) -> PlannedNetwork:
    snapshot, *rest = parts
    return PlannedNetwork.over(Network.of(snapshot.placed(), *rest), plan, first=first, unit=unit, report=report)


def lead(scores: FloatArray) -> FloatArray:
    """[n]: by how much the best label leads the next; infinite where there is none."""
    if scores.shape[1] < 2:
        return np.full(len(scores), np.inf, np.float32)
    return np.asarray(scores[:, 0] - scores[:, 1])
