"""What happens to a fit when its workers change: some came, some left, some were lost.

All members of the new group say what they have. Ranges are cut anew, and rows move from those that had them. Rows that
nobody has come from the last checkpoint (partial recovery, as CPR: Maeng et al., arXiv 2011.02999), and without one
begin anew. Tables are filled again from the cells that all agree on. For exact recovery nobody brings anything: all go
back to the checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slide.distributed.training.checkpoints import Parts, Saving, fill_cells, fill_from_files, part_of, remember
from slide.distributed.training.judging import Judge
from slide.distributed.training.loop import Counters, SharedTraining
from slide.distributed.training.moving import (
    Piece,
    Range,
    join_lists,
    joined_pairs,
    missing,
    move_lists,
    move_pairs,
    move_rows,
)
from slide.distributed.training.pace import ClockedGroup
from slide.distributed.training.shard import Shard
from slide.distributed.transport.group import Array, Group
from slide.distributed.transport.messages import say, tell
from slide.engine.state import WideState
from slide.errors import ModelFormatError


@dataclass
class Held:
    """Rows of one range of features and one of labels, the pairs of these labels, and where they come from."""

    features: Range
    labels: Range
    rows: dict[str, Array]  # of "features" and "labels"
    pairs: WideState | None

    @classmethod
    def of(cls, training: SharedTraining) -> Held:
        """What a worker has."""
        shard = training.shard
        rows = {"features": shard.input.rows, "labels": shard.output.rows}
        pairs = None if training.pairs is None else training.pairs.state
        return cls(shard.features, shard.labels, rows, pairs)


@dataclass(frozen=True)
class Brought:
    """What one member says of itself."""

    at: Counters | None
    K: int | None
    ranges: tuple[tuple[Range, Range], ...]
    data: dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What a change of workers did: print it.

    Attributes
    ----------
    before, after : int
        Workers.
    lost_labels : int
        Labels whose rows nobody had any more.
    from_step : int or None
        The step that rows came from which nobody had; None: they began anew, or there were none.
    back_to : int or None
        The step that all went back to (exact recovery); None: only rows that were lost did.
    """

    before: int
    after: int
    lost_labels: int
    from_step: int | None
    back_to: int | None = None

    def __str__(self) -> str:
        text = f"{self.before} {'worker is' if self.before == 1 else 'workers are'} now {self.after}"
        if self.back_to is not None:
            return (
                f"a worker was lost: {self.after} go on from step {self.back_to:,}, from where all is as without a loss"
            )
        if self.lost_labels:
            anew = "begin anew: there was no checkpoint"
            of = anew if self.from_step is None else f"are those of step {self.from_step:,}"
            text += f"; the rows of {self.lost_labels:,} labels were lost and {of}"
        return text


def handed_over(training: SharedTraining, leaving: Sequence[int]) -> list[Held]:
    """What this worker has, with what those that leave had for the first that stays. Called by all, before they go."""
    group, own = training.group, [Held.of(training)]
    stays = next(rank for rank in range(group.size) if rank not in leaving)
    for rank in leaving:
        nobody = [(0, 0)] * group.size
        features, labels = training.feature_ranges[rank], training.label_ranges[rank]
        to_features, to_labels = list(nobody), list(nobody)
        to_features[stays], to_labels[stays] = features, labels
        here, goes = group.rank == stays, group.rank == rank
        ranges, targets = {"features": features, "labels": labels}, {"features": to_features, "labels": to_labels}
        rows = {}
        for name, (first, end) in ranges.items():
            rows[name] = _room(own[0].rows[name], end - first if here else 0)
            its = [own[0].rows[name] if goes else None]
            move_rows(group, [Piece(rank, (first, end))], targets[name], its, rows[name])
        pairs = None
        if training.pairs is not None:
            found = move_pairs(group, [Piece(rank, labels)], to_labels, [own[0].pairs if goes else None])
            if here:
                n = labels[1] - labels[0]
                empty = np.zeros(n, np.float32)
                pairs = replace(training.pairs.state, bias=empty)
                joined_pairs(found, labels, pairs)
        if here:
            own.append(Held(features, labels, rows, pairs))
    return own


def _room(like: Array, n: int) -> Array:
    return np.empty((n, like.shape[1]), like.dtype)


def regrouped(
    training: SharedTraining,
    group: Group,
    saving: Saving | None,
    held: Sequence[Held],
    judge: Judge | None = None,
) -> Change:
    """Goes on in another group, which all of its members call.

    saving : where checkpoints are, or None
    held : what this worker brings; nothing if it is new. Where all are, they go on from the checkpoint
    """
    before, training.group = training.group.size, ClockedGroup(group, training.n_threads)
    old = training.shard if held else None
    ranges = tuple((one.features, one.labels) for one in held)
    brought = Brought(replace(training.at) if held else None, old.K if old else None, ranges, training.fingerprint())
    said = say(group, brought)
    _check_same(said)
    manifest = tell(group, saving.manifest(training) if saving is not None and group.rank == 0 else None)
    begins = all(one.at is None for one in said)
    if not begins:
        leader = max(said, key=lambda one: -1 if one.at is None else one.at.step)
        training.resume(leader.at or Counters(), leader.K)
    elif manifest is None:
        training.resume(Counters(), None)
    else:
        training.resume(Counters(**manifest["at"]), manifest["K"])
    lost, pairs = _fill(training, said, held)
    training.pace.forget()
    total = np.array([sum(end - first for first, end in lost["labels"])], np.int64)
    group.all_reduce(total)
    n_lost = int(total[0])
    if n_lost and manifest is not None:
        assert saving is not None
        pairs += fill_from_files(training, saving.folder, manifest, lost)
    elif n_lost:
        pairs += _begun(training, lost)
    _put(training, pairs)
    if begins and manifest is not None:
        assert saving is not None
        remember(training, saving.folder, manifest, judge)
    _share_cells(training, said, old, saving, manifest)
    from_step = int(manifest["step"]) if manifest is not None and n_lost else None
    return Change(before, group.size, 0 if begins else n_lost, from_step)


def balanced(training: SharedTraining) -> bool:
    """Gives each worker as much as it is fast, as the first one's `pace` says; called by all. Whether rows moved."""
    lengths = np.array([end - first for first, end in training.label_ranges], np.float64)
    found = np.zeros(len(lengths))
    if not training.group.rank:
        found[:] = training.pace.better(lengths) or 0.0
    training.group.broadcast(found)
    if not found.any():
        return False
    shares: list[float] = found.tolist()
    began = time.perf_counter()
    old, held = training.shard, Held.of(training)
    ranges = zip(training.feature_ranges, training.label_ranges, strict=True)
    said = [Brought(training.at, old.K, (both,), {}) for both in ranges]
    training.resume(training.at, old.K, shares)
    _, pairs = _fill(training, said, [held])
    _put(training, pairs)
    if training.at.n_rebuilds and old.output.lsh is not None:
        _move_lists(training, said, old)
    training.group.moving = time.perf_counter() - began
    return True


def _move_lists(training: SharedTraining, said: Sequence[Brought], old: Shard) -> None:
    """Tables of the labels that are here now, from the lists that they were in, in the same cells."""
    group, shard = training.group, training.shard
    before, now = old.output.lsh, shard.output.lsh
    assert before is not None
    assert now is not None
    now.directions[...] = before.directions
    pieces = [Piece(rank, one.ranges[0][1]) for rank, one in enumerate(said)]
    move_rows(group, pieces, training.label_ranges, _own(pieces, group.rank, [before.label_cells]), now.label_cells)
    parts = move_lists(group, pieces, training.label_ranges, _own(pieces, group.rank, [before.buckets[0]]))
    join_lists(parts, shard.labels, now.capacity, now.buckets[0])
    training.refill()


def _check_same(said: Sequence[Brought]) -> None:
    """All workers must have the same rows and options."""
    for rank, one in enumerate(said):
        other = [name for name, value in said[0].data.items() if one.data.get(name) != value]
        if other:
            raise ValueError(f"cluster: found other {', '.join(other)} at worker {rank}, wanted those of the first")


def _fill(
    training: SharedTraining, said: Sequence[Brought], held: Sequence[Held]
) -> tuple[dict[str, list[Range]], Parts]:
    """Rows that somebody has. The ranges here that nobody had; and pairs that somebody has."""
    group, shard = training.group, training.shard
    lost = {}
    for i, name, to, new, whole in (
        (0, "features", shard.input.rows, training.feature_ranges, shard.features),
        (1, "labels", shard.output.rows, training.label_ranges, shard.labels),
    ):
        pieces = [Piece(rank, both[i]) for rank, one in enumerate(said) for both in one.ranges]
        own = _own(pieces, group.rank, [one.rows[name] for one in held])
        move_rows(group, pieces, new, own, to)
        lost[name] = missing(whole, [piece.range for piece in pieces])
    if training.pairs is None:
        return lost, []
    return lost, move_pairs(group, pieces, training.label_ranges, _own(pieces, group.rank, [one.pairs for one in held]))


def _begun(training: SharedTraining, lost: dict[str, list[Range]]) -> Parts:
    """Makes rows random that nobody has, and counts the pairs of such labels."""
    shard = training.shard
    for features in lost["features"]:
        shard.begin(features, (0, 0))
    for labels in lost["labels"]:
        shard.begin((0, 0), labels)
    if training.pairs is None or not lost["labels"]:
        return []
    fresh = training.pairs.counted(training.data.X, training.rows.Y)
    return [(part, part_of(fresh, shard.labels, part)) for part in lost["labels"]]


def _own(pieces: Sequence[Piece], rank: int, held: Sequence[Any]) -> list[Any]:
    """By piece: what is here, None for those of others."""
    mine = iter(held)
    return [next(mine) if piece.rank == rank else None for piece in pieces]


def _put(training: SharedTraining, parts: Parts) -> None:
    if training.pairs is not None:
        joined_pairs(parts, training.shard.labels, training.pairs.state)
        training.pairs.make_engine()


def _share_cells(
    training: SharedTraining, said: Sequence[Brought], old: Shard | None, saving: Saving | None, manifest: Any
) -> None:
    """The centres that a member has, or the checkpoint, and lists filled from them."""
    lsh = training.shard.output.lsh
    if lsh is None or not training.at.n_rebuilds:
        return
    holders = [rank for rank, one in enumerate(said) if one.at is not None and one.K == lsh.K]
    if not holders:
        if saving is None or manifest is None:
            raise ModelFormatError("cluster: nobody has the tables' cells any more")
        fill_cells(training, saving.folder, manifest)
        return
    if old is not None and old.output.lsh is not None and old.K == lsh.K:
        lsh.directions[...] = old.output.lsh.directions
    training.group.broadcast(lsh.directions, holders[0])
    training.group.broadcast(training.known_cells, holders[0])
    training.rebuild(None)
