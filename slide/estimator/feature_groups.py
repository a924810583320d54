"""Groups of features that are not there at the same time or price: `feature_groups` of `SlideClassifier.optimize`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slide.checks import number, require
from slide.engine.layout import IntArray


@dataclass(frozen=True, eq=False)
class Group:
    """Features that are made together.

    Parameters
    ----------
    columns : sequence of int, or of names
        Columns of X; or what a data frame or a vocabulary calls them.
    cost_ms : float
        Milliseconds that they cost for a row before it comes to the model: a look-up on another machine, say.
    """

    columns: Any
    cost_ms: float = 0.0

    def __post_init__(self) -> None:
        ok = not isinstance(self.columns, str | bytes) and hasattr(self.columns, "__iter__")
        require(ok, "Group(columns=)", self.columns, "column numbers or names of features")
        require(0 <= number(self.cost_ms) < np.inf, "Group(cost_ms=)", self.cost_ms, "milliseconds, 0 or more")

    def resolved(self, names: Sequence[Any] | None, n_features: int, argument: str) -> IntArray:
        """Column numbers, ascending; ValueError for one that is not there."""
        places = None
        found = []
        for column in self.columns:
            place = column
            if isinstance(column, str):
                places = {name: i for i, name in enumerate(names or ())} if places is None else places
                place = places.get(column, -1)
            ok = isinstance(place, int | np.integer) and not isinstance(place, bool) and 0 <= place < n_features
            require(bool(ok), argument, column, f"a column under {n_features:,}, or the name of a feature")
            found.append(int(place))
        require(bool(found), argument, "no columns", "at least one")
        return np.unique(found).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Groups:
    """The first group, and what it and all of them cost a row."""

    names: tuple[str, ...] = ()
    first: IntArray | None = None
    first_ms: float = 0.0
    cost_ms: float = 0.0

    @classmethod
    def of(cls, given: Mapping[str, Any] | None, names: Sequence[Any] | None, n_features: int) -> Groups:
        """In the order of the mapping; columns that are in no group come with those behind the first."""
        if given is None:
            return cls()
        ok = isinstance(given, Mapping) and len(given) >= 2
        require(ok, "feature_groups", given, "two groups or more by name, that which is read first in front")
        groups = {str(n): g if isinstance(g, Group) else Group(g) for n, g in given.items()}
        columns = [g.resolved(names, n_features, f"feature_groups[{n!r}]") for n, g in groups.items()]
        once = len(np.unique(np.concatenate(columns))) == sum(map(len, columns))
        require(once, "feature_groups", "a column in two groups", "each in one")
        costs = [g.cost_ms for g in groups.values()]
        return cls(tuple(groups), columns[0], costs[0], sum(costs))
