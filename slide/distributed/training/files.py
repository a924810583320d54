"""Parts of a network in a folder that all workers see: the checkpoints of a shared fit.

    run/
      manifest.json      which step, which folder, of how many workers, and what network it is; replaced as a whole
      step-81920-6f1b/   part-0.npz ...: of each worker, its ranges and their rows

What is not in the manifest does not count: a worker that dies while it writes leaves the files of before.
"""

from __future__ import annotations

import json
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slide.distributed.training.moving import Range, overlap
from slide.distributed.transport.group import Array
from slide.errors import ModelFormatError
from slide.io.atomic import replacing

MANIFEST = "manifest.json"
FORMATS = (2, 3)  # 2: cells and log-sums of rows; 3: rows in pieces, a folder of its own for each checkpoint
ROWS_BYTES = 2**24  # of rows that are one array of a file, so that some of them can be read without the others


def new_folder(step: int) -> str:
    """The name of a folder that was not there before: files that count are never written again."""
    return f"step-{step}-{secrets.token_hex(2)}"


def write_part(folder: Path, name: str, rank: int, arrays: dict[str, Array]) -> None:
    """What one worker has, in the folder of that name."""
    into = folder / name
    into.mkdir(parents=True, exist_ok=True)
    with replacing(into / f"part-{rank}.npz") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def in_pieces(name: str, rows: Array, whole: Range) -> dict[str, Array]:
    """Rows, which are those of a range, as arrays of a file: see fill_rows."""
    step = max(1, ROWS_BYTES // max(rows[:1].nbytes, 1))
    pieces = {f"{name}_{i // step}": rows[i : i + step] for i in range(0, len(rows), step)}
    return {f"{name}_range": np.array(whole), f"{name}_step": np.array(step), **pieces}


def write_manifest(folder: Path, step: int, name: str, facts: dict[str, Any]) -> None:
    """Makes the parts in the folder of that name those that count, when all are there; older ones go."""
    text = json.dumps({"format": FORMATS[-1], "step": step, "folder": name, **facts}, indent=1)
    with replacing(folder / MANIFEST) as file:
        file.write(text.encode())
    for old in folder.glob("step-*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """None where there is none; ModelFormatError for what is no manifest."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] not in FORMATS:
            raise ModelFormatError(f"{path}: found format {found['format']!r}, wanted one of {FORMATS}")
        int(found["step"]), int(found["workers"])
        found.setdefault("folder", f"step-{found['step']}")
        if Path(found["folder"]).name != found["folder"]:
            raise ModelFormatError(f"{path}: found the folder {found['folder']!r}, wanted the name of one beside it")
    except (ValueError, KeyError, TypeError) as e:
        raise ModelFormatError(f"{path}: not the manifest of a checkpoint: {e}") from e
    return dict(found)


class Part:
    """The file of one worker; its arrays are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __contains__(self, name: str) -> bool:
        """Whether the file has an array of this name."""
        return bool(self._read(lambda file: name in file))

    def __getitem__(self, name: str) -> Array:
        """Raises ModelFormatError if the file is missing or damaged; names it."""
        found: Array = self._read(lambda file: file[name])
        return found

    def _read(self, what: Callable[[Any], Any]) -> Any:
        try:
            with np.load(self._path, allow_pickle=False) as file:
                return what(file)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
            raise ModelFormatError(f"{self._path}: a part of a model is missing or damaged: {e}") from e


def parts(folder: Path, manifest: dict[str, Any]) -> Iterator[Part]:
    """The files of a manifest, by rank."""
    for rank in range(int(manifest["workers"])):
        yield Part(folder / manifest["folder"] / f"part-{rank}.npz")


def fill_rows(file: Part, name: str, wanted: Range, to: Array) -> None:
    """Puts those rows of a file's array that are in the range `wanted` into `to`, which begins where the range does."""
    held = tuple(file[f"{name}_range"].tolist())
    first, end = overlap(wanted, held)
    if end == first:
        return
    if f"{name}_step" not in file:  # of format 2
        to[first - wanted[0] : end - wanted[0]] = file[name][first - held[0] : end - held[0]]
        return
    step = int(file[f"{name}_step"])
    for number in range((first - held[0]) // step, -(-(end - held[0]) // step)):
        begin = held[0] + number * step
        piece = file[f"{name}_{number}"]
        some = overlap((first, end), (begin, begin + len(piece)))
        to[some[0] - wanted[0] : some[1] - wanted[0]] = piece[some[0] - begin : some[1] - begin]
