"""What a shared fit saves in a folder that all workers see, and what comes back; files.py: how it lies there.

A checkpoint holds all that the rest of a fit depends on: rows, pairs, counters, cells, what is known of the samples,
and the best model so far. So workers that have the same parts as then go on with the same bits.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slide.distributed.training import files
from slide.distributed.training.judging import Judge
from slide.distributed.training.loop import SharedTraining
from slide.distributed.training.moving import Range, overlap, pairs_of
from slide.distributed.training.step import agreed
from slide.distributed.transport.messages import say, tell
from slide.engine.state import WideState

PAIRS = "indptr", "labels", "weights", "bias"
Parts = list[tuple[Range, dict[str, Any]]]


@dataclass(frozen=True)
class Saving:
    """Checkpoints of a shared fit.

    seconds, samples : between two of them; None: not by this
    resume : whether those of another fit count
    run : what this fit is called, which its checkpoints say; None: all that are found are its own
    """

    folder: Path
    seconds: float | None
    samples: int | None
    resume: bool
    run: str | None = None

    def forget(self) -> None:
        """Removes what another fit has left, unless it is to go on."""
        if not self.resume and self.folder.exists():
            shutil.rmtree(self.folder)

    def manifest(self, training: SharedTraining) -> dict[str, Any] | None:
        """Of the checkpoint that counts. Raises ValueError for that of a fit of other rows or options."""
        found = files.read_manifest(self.folder)
        if found is None or (not self.resume and self.run != found.get("run")):
            return None
        own = training.fingerprint()
        if found["what"] != own:
            other = [name for name, value in own.items() if found["what"].get(name) != value]
            raise ValueError(f"{self.folder}: found a checkpoint of other {', '.join(other)}, wanted that of this fit")
        return found

    def save(self, training: SharedTraining, judge: Judge | None = None) -> str | None:
        """Writes a checkpoint; called by all. What went wrong: then the one of before counts."""
        group, at = training.group, training.at
        name: str = tell(group, files.new_folder(at.step) if group.rank == 0 else None)
        kept = {} if judge is None else judge.saved()
        arrays = _arrays(training) | kept
        wrong = _tried(lambda: files.write_part(self.folder, name, group.rank, arrays))
        heard = say(group, wrong)
        if group.rank == 0:
            facts = {"workers": group.size, "at": asdict(at), "K": training.shard.K, "what": training.fingerprint()}
            facts |= {"run": self.run, "kept": None if judge is None else judge.kept_at}
            wrong = next((one for one in heard if one), None) or _tried(
                lambda: files.write_manifest(self.folder, at.step, name, facts)
            )
            if wrong:
                shutil.rmtree(self.folder / name, ignore_errors=True)
        found: str | None = tell(group, wrong)
        return found


def _arrays(training: SharedTraining) -> dict[str, Any]:
    """What one worker has."""
    shard, group = training.shard, training.group
    arrays = files.in_pieces("features", shard.input.rows, shard.features)
    arrays |= files.in_pieces("labels", shard.output.rows, shard.labels)
    lsh = shard.output.lsh
    if lsh is not None:
        own = np.array_split(training.known_cells, group.size)[group.rank]
        arrays |= {"directions": lsh.directions, "buckets": lsh.buckets, "label_cells": lsh.label_cells}
        arrays |= {"known_cells": own, "recall": np.array(shard.head.recalls.get(1, np.nan))}
    if training.pairs is not None:
        whole = shard.labels[1] - shard.labels[0]
        arrays |= {f"pairs_{name}": a for name, a in pairs_of(training.pairs.state, 0, whole).items()}
    return arrays | {"known_sums": training.known_sums}


def _tried(write: Callable[[], None]) -> str | None:
    """What the system says of a file that could not be written."""
    try:
        write()
    except OSError as e:
        return str(e)
    return None


def fill_from_files(
    training: SharedTraining, folder: Path, manifest: dict[str, Any], lost: dict[str, list[Range]]
) -> Parts:
    """Puts rows of the lost ranges where they belong, as they were at the checkpoint. Their pairs, by range."""
    shard = training.shard
    found: Parts = []
    wholes = ("features", shard.input.rows, shard.features), ("labels", shard.output.rows, shard.labels)
    for file in files.parts(folder, manifest):
        for name, rows, whole in wholes:
            for first, end in lost[name]:
                files.fill_rows(file, name, (first, end), rows[first - whole[0] : end - whole[0]])
        held = tuple(file["labels_range"].tolist())
        both = [part for part in (overlap(held, part) for part in lost["labels"]) if part[1] > part[0]]
        if training.pairs is not None and both:
            some: dict[str, Any] = {name: file[f"pairs_{name}"] for name in PAIRS}
            state = replace(training.pairs.state, **some)
            found += [(part, part_of(state, held, part)) for part in both]
    return found


def part_of(state: WideState, whole: Range, part: Range) -> dict[str, Any]:
    """Pairs of some labels of a range."""
    return pairs_of(state, part[0] - whole[0], part[1] - whole[0])


def remember(training: SharedTraining, folder: Path, manifest: dict[str, Any], judge: Judge | None) -> None:
    """What only those know who had the same parts at the checkpoint: log-sums of rows, what tables found, the best
    model. Else these are found again, or gone. Called by all.
    """
    group, shard = training.group, training.shard
    same = int(manifest["workers"]) == group.size
    if same:
        file = list(files.parts(folder, manifest))[group.rank]
        same = _is_of(file, "labels", shard.labels) and _is_of(file, "features", shard.features)
    if not agreed(group, same):
        return
    training.known_sums[...] = file["known_sums"]
    if "recall" in file and not np.isnan(file["recall"]):
        shard.head.recalls[1] = float(file["recall"])
    if judge is not None and manifest.get("kept") is not None:
        judge.take_saved(file, manifest["kept"])


def _is_of(file: files.Part, name: str, range_: Range) -> bool:
    return tuple(file[f"{name}_range"].tolist()) == range_


def fill_cells(training: SharedTraining, folder: Path, manifest: dict[str, Any]) -> None:
    """Centres and cells of rows; lists too where they are of the same part, else they are filled."""
    lsh = training.shard.output.lsh
    assert lsh is not None
    same, known = False, []
    for rank, file in enumerate(files.parts(folder, manifest)):
        known.append(file["known_cells"])
        if rank == 0:
            lsh.directions[...] = file["directions"]
        mine = rank == training.group.rank and _is_of(file, "labels", training.shard.labels)
        if mine and file["buckets"].shape == lsh.buckets.shape:
            lsh.buckets[...], lsh.label_cells[...], same = file["buckets"], file["label_cells"], True
    training.known_cells = np.concatenate(known)
    if not same:
        training.rebuild(None)
