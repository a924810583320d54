"""Parts of a network in a folder that all workers see: the checkpoints of a shared fit.

    run/
      manifest.json      which step, whose files, of how many workers, and what network it is; replaced as a whole
      step-81920/        part-0.npz ...: of each worker, its ranges and their rows

What is not in the manifest does not count: a worker that dies while it writes leaves the files of before.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slide.distributed.training.moving import Range, overlap
from slide.distributed.transport.group import Array
from slide.errors import ModelFormatError
from slide.io.atomic import replacing

MANIFEST = "manifest.json"
FORMAT = 2  # 2: cells and log-sums of rows


def folder_of(step: int) -> str:
    """Of the files of one step."""
    return f"step-{step}"


def write_part(folder: Path, step: int, rank: int, arrays: dict[str, Array]) -> None:
    """What one worker has."""
    into = folder / folder_of(step)
    into.mkdir(parents=True, exist_ok=True)
    with replacing(into / f"part-{rank}.npz") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_manifest(folder: Path, step: int, facts: dict[str, Any]) -> None:
    """Makes the parts of a step those that count, when all are there; older ones go."""
    text = json.dumps({"format": FORMAT, "step": step, **facts}, indent=1)
    with replacing(folder / MANIFEST) as file:
        file.write(text.encode())
    for old in folder.glob("step-*"):
        if old.name != folder_of(step):
            shutil.rmtree(old, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """None where there is none; ModelFormatError for what is no manifest."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ModelFormatError(f"{path}: found format {found['format']!r}, wanted {FORMAT}")
        int(found["step"]), int(found["workers"])
    except (ValueError, KeyError, TypeError) as e:
        raise ModelFormatError(f"{path}: not the manifest of a checkpoint: {e}") from e
    return dict(found)


class Part:
    """The file of one worker; its arrays are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, name: str) -> Array:
        """Raises ModelFormatError if the file is missing or damaged; names it."""
        try:
            with np.load(self._path, allow_pickle=False) as file:
                found: Array = file[name]
                return found
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
            raise ModelFormatError(f"{self._path}: a part of a model is missing or damaged: {e}") from e


def parts(folder: Path, manifest: dict[str, Any]) -> Iterator[Part]:
    """The files of a manifest, by rank."""
    for rank in range(int(manifest["workers"])):
        yield Part(folder / folder_of(int(manifest["step"])) / f"part-{rank}.npz")


def fill_rows(file: Part, name: str, wanted: Range, to: Array) -> None:
    """Puts those rows of a file's array that are in the range `wanted` into `to`, which begins where the range does."""
    held = tuple(file[f"{name}_range"].tolist())
    first, end = overlap(wanted, held)
    if end > first:
        to[first - wanted[0] : end - wanted[0]] = file[name][first - held[0] : end - held[0]]
