"""What a layer's tables are worth, for a person to read: recall against chance, buckets, age, memory, and advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.checks import check_Y, require
from slide.engine.protocol import Examples
from slide.engine.state import LayerState
from slide.layers import Sampled
from slide.model.leaves import true_recall
from slide.model.model import Model
from slide.model.recall import found_share

TOP = (1, 10, 100)
MAX_QUERIES = 1000
SHORTLISTS = (100, 300)


@dataclass(frozen=True)
class LshReport:
    """Of one sampled layer. Shares are between 0 and 1.

    Attributes
    ----------
    layer, n_neurons, n_tables, n_buckets : int
    family : str
    n_candidates : int
        What a query retrieves: the active set without its uniform part.
    recall : dict
        Share of the exact best 1, 10 and 100 neurons among the candidates; empty without queries.
    chance : float
        The same for a random set of that size.
    active : tuple of int, or None
        Smallest, median and largest number of candidates a query found.
    empty, full : float
        Share of the buckets with no neuron, and with as many as they hold.
    mean_size : float
        Neurons in a bucket that is not empty.
    unreachable : float
        Share of the neurons that are in no bucket.
    stale : float or None
        Share of the entries that a refill from the present weights would not make. None for a compressed model, whose
        weights are not hashed again.
    rebuild_share : float or None
        Of the last fit's time, what went into tables.
    table_bytes, parameter_bytes : int
    recall_true : dict
        Share of the true labels that the shortlists of 100 and 300 hold, each beside that of the exact best; empty
        without labels.
    leaf_bytes : int
        Of the leaves that shortlists come from, 0 without.
    """

    layer: int
    family: str
    n_neurons: int
    n_tables: int
    n_buckets: int
    n_candidates: int
    recall: dict[int, float]
    chance: float
    active: tuple[int, int, int] | None
    empty: float
    full: float
    mean_size: float
    unreachable: float
    stale: float | None
    rebuild_share: float | None
    table_bytes: int
    parameter_bytes: int
    recall_true: dict[int, tuple[float, float]] = field(default_factory=dict)
    leaf_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON, the advice included."""
        return {**asdict(self), "advice": self.advice()}

    def advice(self) -> list[str]:
        """What to change, and why; empty if nothing stands out."""
        found = []
        if self.recall.get(10, 1) < max(0.5, 2 * self.chance):
            told = f"only {self.recall[10]:.0%} of the best ten are found (chance {self.chance:.1%})"
            found.append(f"{told}: more cells or tables, more probes, or a larger n_active")
        lossy = [n for n, (held, exact) in self.recall_true.items() if held < 0.95 * exact]
        if lossy:
            found.append(
                f"shortlists of {lossy[0]} lose over 5 % of the true labels: more candidates, or rows to fit on"
            )
        if self.n_tables > 1 and self.empty > 0.5:
            found.append(f"K is too large: {self.empty:.0%} of the buckets are empty")
        if self.n_tables > 1 and self.full > 0.3:
            found.append(f"K or capacity is too small: {self.full:.0%} of the buckets are full and drop neurons")
        if self.stale is not None and self.stale > 0.3:
            found.append(
                f"{self.stale:.0%} of the entries are out of date: rebuild more often, or call rebuild_tables()"
            )
        if self.rebuild_share is not None and self.rebuild_share > 0.2:
            found.append(
                f"{self.rebuild_share:.0%} of the last fit went into tables: a larger Rebuild(every=) spares time"
            )
        return found

    def __str__(self) -> str:
        lines = [
            f"layer {self.layer}: {self.n_neurons:,} neurons, {self.family}",
            f"  retrieval    {self.n_candidates:,} candidates a query ({self.n_candidates / self.n_neurons:.2%})",
        ]
        if self.recall:
            recalls = ", ".join(f"top {k} {r:.3f}" for k, r in self.recall.items())
            lines.append(f"  recall       {recalls}; chance {self.chance:.3f}")
        for n, (held, exact) in self.recall_true.items():
            lines.append(f"  true labels  {held:.3f} in shortlists of {n}; {exact:.3f} in the exact best {n}")
        if self.active:
            least, median, most = self.active
            lines.append(f"  found        {least:,} to {most:,} neurons a query, median {median:,}")
        sizes = f"{self.mean_size:,.1f} neurons in a bucket in use, {self.empty:.1%} empty, {self.full:.1%} full"
        stale = f"; {self.stale:.1%} of the entries are out of date" if self.stale is not None else ""
        lines += [
            f"  buckets      {self.n_tables} x {self.n_buckets:,}: {sizes}",
            f"  neurons      {self.unreachable:.1%} in no bucket{stale}",
            f"  memory       tables {self.table_bytes / 1e6:,.1f} MB, parameters {self.parameter_bytes / 1e6:,.1f} MB",
        ]
        if self.leaf_bytes:
            lines.append(f"  leaves       {self.leaf_bytes / 1e6:,.1f} MB, of which shortlists are made")
        if self.rebuild_share is not None:
            lines.append(f"  time         {self.rebuild_share:.1%} of the last fit went into tables")
        return "\n".join(lines + [f"  advice       {a}" for a in self.advice()])


def lsh_report(net: Model, X: Any = None, layer: int = -1, Y: Any = None) -> LshReport:
    """See Network.lsh_report."""
    index = range(len(net.layers))[layer]
    state, described = net.states[index], net.layers[index]
    require(state.lsh is not None, "layer", layer, "a Sampled layer with tables")
    assert state.lsh is not None
    assert isinstance(described, Sampled)
    lsh = state.lsh
    wanted = min(max(state.n_active - state.n_random, 1), state.n)
    require(X is None or getattr(X, "shape", (1,))[0] > 0, "X", "no rows", "at least one to ask the tables with")
    recall, active = _recall(net, X, index, wanted) if X is not None else ({}, None)
    sizes = np.minimum(lsh.buckets[:, :, 0], lsh.capacity)
    used = sizes[sizes > 0]
    has_labels = X is not None and Y is not None and index == len(net.layers) - 1
    return LshReport(
        layer=index,
        family=repr(described.lsh),
        n_neurons=state.n,
        n_tables=lsh.L,
        n_buckets=lsh.buckets.shape[1],
        n_candidates=wanted,
        recall=recall,
        chance=wanted / state.n,
        active=active,
        empty=float(np.mean(sizes == 0)),
        full=float(np.mean(sizes == lsh.capacity)),
        mean_size=float(used.mean()) if used.size else 0.0,
        unreachable=1 - np.count_nonzero(np.bincount(_entries(state)[1], minlength=state.n)) / state.n,
        stale=_stale(net, index),
        rebuild_share=net.rebuild_share,
        table_bytes=lsh.buckets.nbytes + lsh.directions.nbytes + lsh.positions.nbytes,
        parameter_bytes=state.n_bytes,
        recall_true=_true_recalls(net, X, Y) if has_labels else {},
        leaf_bytes=net.leaves.n_bytes if net.leaves and index == len(net.layers) - 1 else 0,
    )


def _true_recalls(net: Model, X: Any, Y: Any) -> dict[int, tuple[float, float]]:
    some = X[:MAX_QUERIES], check_Y(Y, net.n_labels)[:MAX_QUERIES]
    return {n: true_recalls(net, *some, n, None) for n in SHORTLISTS if n <= net.n_labels}


def true_recalls(net: Model, X: Any, Y: Any, n: int, n_candidates: int | None) -> tuple[float, float]:
    """See Network.true_recall."""
    labels = Examples.of(check_Y(Y, net.n_labels))
    asked = n_candidates, net.n_labels
    found, exact = (true_recall(net.shortlist(X, n, n_candidates=wanted)[0], labels) for wanted in asked)
    return found, exact


def retrieval_recall(net: Model, X: Any, k: int, n_candidates: int | None) -> tuple[float, float]:
    """See Network.retrieval_recall."""
    last = net.states[-1]
    exact = last.top(net.hidden(X), k)
    found = net.retrieve(X, n_candidates or max(last.n_active - last.n_random, k))
    return found_share(exact, found), float(np.mean((found >= 0).sum(axis=1)) / net.n_labels)


def _recall(net: Model, X: Any, layer: int, wanted: int) -> tuple[dict[int, float], tuple[int, int, int]]:
    queries = net.hidden(X[:MAX_QUERIES], layer)
    found = net.engine.retrieve(layer, queries, wanted)
    state = net.states[layer]
    tops = [k for k in TOP if k <= min(wanted, state.n)]
    sizes = (found >= 0).sum(axis=1)
    return (
        {k: found_share(state.top(queries, k), found) for k in tops},
        (int(sizes.min()), int(np.median(sizes)), int(sizes.max())),
    )


def _entries(state: LayerState) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Bucket and neuron of every entry."""
    assert state.lsh is not None
    slots = state.lsh.buckets.reshape(-1, state.lsh.buckets.shape[2])
    used = np.arange(state.lsh.capacity) < slots[:, :1]
    buckets = np.repeat(np.arange(len(slots)), used.sum(axis=1))
    return buckets, slots[:, 1 : 1 + state.lsh.capacity][used].astype(np.int64)


def coverage(state: LayerState) -> npt.NDArray[np.float64]:
    """Share of the neurons that n or more buckets hold, for n = 1, 2 and so on to the most that hold one."""
    often = np.bincount(_entries(state)[1], minlength=state.n)
    return np.cumsum(np.bincount(often)[:0:-1])[::-1] / state.n


def _stale(net: Model, layer: int) -> float | None:
    """Refills the tables for comparison, from the same random numbers, and puts the old ones back."""
    if net.is_compressed:
        return None
    state = net.states[layer]
    assert state.lsh is not None
    with net.lock:
        before = state.lsh.buckets.copy()
        old = _keys(state)
        try:
            net.engine.rebuild(layer, max(net.n_rebuilds - 1, 0))
            new = _keys(state)
        finally:
            state.lsh.buckets[...] = before
    return float(1 - np.isin(old, new).mean()) if len(old) else 0.0


def _keys(state: LayerState) -> npt.NDArray[np.int64]:
    buckets, ids = _entries(state)
    return buckets * state.n + ids
