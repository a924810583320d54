"""What happens to a fit when its workers change: some came, some left, some were lost.

All members of the new group say what they have. Ranges are cut anew, and rows move from those that had them. Rows that
nobody has come from the last checkpoint (partial recovery, as CPR: Maeng et al., arXiv 2011.02999), and without one
begin anew. Tables are filled again from the cells that all agree on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slide.distributed.training import files
from slide.distributed.training.loop import Counters, SharedTraining
from slide.distributed.training.moving import (
    Piece,
    Range,
    joined_pairs,
    missing,
    move_pairs,
    move_rows,
    overlap,
    pairs_of,
)
from slide.distributed.training.pace import ClockedGroup
from slide.distributed.training.shard import Shard
from slide.distributed.training.step import agreed
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
    """

    before: int
    after: int
    lost_labels: int
    from_step: int | None

    def __str__(self) -> str:
        text = f"{self.before} workers are now {self.after}"
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


def regrouped(training: SharedTraining, group: Group, folder: Path | None, held: Sequence[Held]) -> Change:
    """Goes on in another group, which all of its members call.

    folder : of checkpoints (files.py), or None
    held : what this worker brings; nothing if it is new. Where all are, they go on from the checkpoint
    """
    before, training.group = training.group.size, ClockedGroup(group)
    old = training.shard if held else None
    ranges = tuple((one.features, one.labels) for one in held)
    brought = Brought(replace(training.at) if held else None, old.K if old else None, ranges, training.fingerprint())
    said = say(group, brought)
    _check_same(said)
    manifest = tell(group, _manifest(folder, training) if group.rank == 0 else None)
    begins = all(one.at is None for one in said)
    goes_back = manifest is not None and begins
    if goes_back:
        assert manifest is not None
        held, said = [], [replace(one, at=None, ranges=()) for one in said]
        training.resume(Counters(**manifest["at"]), manifest["K"])
    else:
        leader = max(said, key=lambda one: -1 if one.at is None else one.at.step)
        training.resume(leader.at or Counters(), leader.K)
    lost = _fill(training, said, held)
    total = np.array([sum(end - first for first, end in lost["labels"])], np.int64)
    group.all_reduce(total)
    n_lost = 0 if begins or goes_back else int(total[0])
    from_files = manifest is not None and bool(int(total[0]))
    if from_files:
        assert folder is not None
        _fill_from_files(training, folder, manifest, lost)
    else:
        for features in lost["features"]:
            training.shard.begin(features, (0, 0))
        for labels in lost["labels"]:
            training.shard.begin((0, 0), labels)
    _share_cells(training, said, old, folder, manifest)
    if goes_back:
        assert folder is not None
        _remember_sums(training, folder, manifest)
    return Change(before, group.size, n_lost, int(manifest["step"]) if manifest and from_files else None)


def balanced(training: SharedTraining) -> None:
    """Gives each worker as much as it is fast, by `training.pace`; called by all."""
    held = Held.of(training)
    shares = np.array([end - first for first, end in training.label_ranges], np.float64)
    old, at = training.shard, replace(training.at)
    ranges = ((held.features, held.labels),)
    said = say(training.group, Brought(at, old.K, ranges, training.fingerprint()))
    training.resume(at, old.K, training.pace.speeds(shares))
    _fill(training, said, [held])
    _share_cells(training, said, old, None, None)


def save(training: SharedTraining, folder: Path) -> str | None:
    """Writes a checkpoint; called by all. What went wrong: then the one of before counts."""
    shard, at, group = training.shard, training.at, training.group
    arrays: dict[str, Any] = {
        "features_range": np.array(shard.features),
        "features": shard.input.rows,
        "labels_range": np.array(shard.labels),
        "labels": shard.output.rows,
    }
    lsh = shard.output.lsh
    if lsh is not None:
        own = np.array_split(training.known_cells, group.size)[group.rank]
        arrays |= {"directions": lsh.directions, "buckets": lsh.buckets, "label_cells": lsh.label_cells}
        arrays["known_cells"] = own
    if training.pairs is not None:
        whole = shard.labels[1] - shard.labels[0]
        arrays |= {f"pairs_{name}": a for name, a in pairs_of(training.pairs.state, 0, whole).items()}
    arrays["known_sums"] = training.known_sums
    facts = {"workers": group.size, "at": asdict(at), "K": shard.K, "what": training.fingerprint()}
    wrong = _tried(lambda: files.write_part(folder, at.step, group.rank, arrays))
    if group.rank == 0 and not any(heard := say(group, wrong)):
        wrong = _tried(lambda: files.write_manifest(folder, at.step, facts))
    elif group.rank == 0:
        wrong = next(one for one in heard if one)
    else:
        say(group, wrong)
    found: str | None = tell(group, wrong)
    return found


def _tried(write: Callable[[], None]) -> str | None:
    """What the system says of a file that could not be written."""
    try:
        write()
    except OSError as e:
        return str(e)
    return None


def _check_same(said: Sequence[Brought]) -> None:
    """All workers must have the same rows and options."""
    for rank, one in enumerate(said):
        other = [name for name, value in said[0].data.items() if one.data.get(name) != value]
        if other:
            raise ValueError(f"cluster: found other {', '.join(other)} at worker {rank}, wanted those of the first")


def _manifest(folder: Path | None, training: SharedTraining) -> dict[str, Any] | None:
    found = None if folder is None else files.read_manifest(folder)
    if found is not None and found["what"] != training.fingerprint():
        other = [name for name, value in training.fingerprint().items() if found["what"].get(name) != value]
        raise ValueError(f"{folder}: found a checkpoint of other {', '.join(other)}, wanted that of this fit")
    return found


def _fill(training: SharedTraining, said: Sequence[Brought], held: Sequence[Held]) -> dict[str, list[Range]]:
    """Rows that somebody has. The ranges here that nobody had."""
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
    if training.pairs is not None and pieces:
        fresh = training.pairs.state
        own = _own(pieces, group.rank, [one.pairs for one in held])
        parts = move_pairs(group, pieces, training.label_ranges, own)
        parts += [(part, _part_of(fresh, shard.labels, part)) for part in lost["labels"]]
        _put(training, parts)
    return lost


def _own(pieces: Sequence[Piece], rank: int, held: Sequence[Any]) -> list[Any]:
    """By piece: what is here, None for those of others."""
    mine = iter(held)
    return [next(mine) if piece.rank == rank else None for piece in pieces]


def _part_of(state: WideState, whole: Range, part: Range) -> dict[str, Any]:
    return pairs_of(state, part[0] - whole[0], part[1] - whole[0])


def _put(training: SharedTraining, parts: list[Any]) -> None:
    assert training.pairs is not None
    joined_pairs(parts, training.shard.labels, training.pairs.state)
    training.pairs.make_engine()


def _fill_from_files(
    training: SharedTraining, folder: Path, manifest: dict[str, Any], lost: dict[str, list[Range]]
) -> None:
    """Rows of the lost ranges, as they were at the checkpoint."""
    shard, found = training.shard, []
    wholes = ("features", shard.input.rows, shard.features), ("labels", shard.output.rows, shard.labels)
    for file in files.parts(folder, manifest):
        for name, rows, whole in wholes:
            for first, end in lost[name]:
                files.fill_rows(file, name, (first, end), rows[first - whole[0] : end - whole[0]])
        if training.pairs is not None:
            held = tuple(file["labels_range"].tolist())
            some: dict[str, Any] = {name: file[f"pairs_{name}"] for name in ("indptr", "labels", "weights", "bias")}
            state = replace(training.pairs.state, **some)
            both = [overlap(held, part) for part in lost["labels"]]
            found += [(part, _part_of(state, held, part)) for part in both if part[1] > part[0]]
    if training.pairs is not None and found:
        kept = missing(shard.labels, lost["labels"])
        found += [(part, _part_of(training.pairs.state, shard.labels, part)) for part in kept]
        _put(training, found)


def _remember_sums(training: SharedTraining, folder: Path, manifest: Any) -> None:
    """Log-sums of the checkpoint, where all workers have the same parts as then; else they are found again."""
    group, same = training.group, int(manifest["workers"]) == training.group.size
    if same:
        file = list(files.parts(folder, manifest))[group.rank]
        same = tuple(file["labels_range"].tolist()) == training.shard.labels
    if agreed(group, same):
        training.known_sums[...] = file["known_sums"]


def _share_cells(
    training: SharedTraining, said: Sequence[Brought], old: Shard | None, folder: Path | None, manifest: Any
) -> None:
    """The centres that a member has, or the checkpoint, and lists filled from them; those of the checkpoint where it is
    of the same part."""
    lsh = training.shard.output.lsh
    if lsh is None or not training.at.n_rebuilds:
        return
    holders = [rank for rank, one in enumerate(said) if one.at is not None and one.K == lsh.K]
    if holders:
        if old is not None and old.output.lsh is not None and old.K == lsh.K:
            lsh.directions[...] = old.output.lsh.directions
        training.group.broadcast(lsh.directions, holders[0])
        training.group.broadcast(training.known_cells, holders[0])
        training.rebuild(None)
        return
    if folder is None or manifest is None:
        raise ModelFormatError("cluster: nobody has the tables' cells any more")
    same, known = False, []
    for rank, file in enumerate(files.parts(folder, manifest)):
        known.append(file["known_cells"])
        lsh.directions[...] = file["directions"]
        mine = rank == training.group.rank and tuple(file["labels_range"].tolist()) == training.shard.labels
        if mine and file["buckets"].shape == lsh.buckets.shape:
            lsh.buckets[...], lsh.label_cells[...], same = file["buckets"], file["label_cells"], True
    training.known_cells = np.concatenate(known)
    if not same:
        training.rebuild(None)
