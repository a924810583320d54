"""Writes models in parts (shards.py), whole ones cut up, or part by part where nobody has the whole."""

from __future__ import annotations

import json
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.checks import require, whole
from slide.io.atomic import replacing
from slide.io.shards import (
    FEATURES,
    FORMAT,
    LABELS,
    MANIFEST,
    PAIRS,
    RANKED,
    Array,
    Range,
    ShardFolder,
    ranges,
    sparse_of,
)
from slide.layers import Sampled, SparseInput
from slide.model.model import Model
from slide.model.snapshot import as_json


def save_shards(
    model: Model,
    folder: Any,
    shards: int,
    extra: Mapping[str, Any] | None = None,
    extra_arrays: Mapping[str, Array] | None = None,
) -> None:
    """Writes a model in so many parts, and what a classifier adds to it. What was there survives until all is written.

    Raises
    ------
    ValueError
        For a network that cannot be shared out.
    OSError
        If the folder cannot be written to, or the disk is full.
    """
    _check_shareable(model)
    require(whole(shards) >= 1, "shards", shards, "an int, 1 or more")
    with model.lock:
        snapshot = model.snapshot()
        arrays = snapshot.arrays | dict(extra_arrays or {})
        into = new_parts(folder)
        try:
            parts = zip(ranges(model.n_features, shards), ranges(model.n_labels, shards), strict=True)
            for number, (features, labels) in enumerate(parts):
                rows = {FEATURES: Rows.of(arrays[FEATURES], features), LABELS: Rows.of(arrays[LABELS], labels)}
                write_part(into, number, features, labels, rows, sparse_of(arrays, *labels))
            kept = {name: a for name, a in arrays.items() if name not in (FEATURES, LABELS, *PAIRS, *RANKED)}
            publish(into, shards, {"network": snapshot.config, **(extra or {})}, kept)
        except BaseException:
            shutil.rmtree(into, ignore_errors=True)
            raise


def new_parts(folder: Any) -> Path:
    """A new place in the folder of a model for the parts of another, which do not count before `publish`."""
    into = Path(folder) / f"shards-{secrets.token_hex(4)}"
    into.mkdir(parents=True)
    return into


def publish(
    into: Path, shards: int, config: Mapping[str, Any], arrays: Mapping[str, Array], calibrates: bool = False
) -> None:
    """Makes the parts in a place of `new_parts`, which are all written, those that count; others go.

    config : {"network": model_config}, and what a classifier adds; arrays : those that are not shared out
    calibrates : whether sparse rows that were learned without the held rows (`write_first`) are yet to be asked
    """
    with replacing(into / "whole.npz") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    text = json.dumps({"format": FORMAT, "shards": shards, "folder": into.name, **config}, default=as_json)
    with replacing(into.parent / MANIFEST) as file:
        file.write(text.encode())
    for old in into.parent.glob("shards-*"):
        if old.name != into.name:
            shutil.rmtree(old, ignore_errors=True)
    for old in [] if calibrates else into.glob("first-*.npz"):
        old.unlink(missing_ok=True)


def _check_shareable(model: Model) -> None:
    layers = model.layers
    ok = len(layers) == 2 and isinstance(layers[0], SparseInput) and isinstance(layers[1], Sampled)
    kinds = ", ".join(type(layer).__name__ for layer in layers)
    require(ok, "save_shards", f"a network of {kinds}", "one hidden layer: SparseInput and Sampled")
    assert isinstance(layers[0], SparseInput)
    require(not layers[0].bias, "save_shards", "SparseInput(bias=True)", "False: it would be in no part")
    require(not model.is_compressed, "save_shards", "a compressed model", "one of floats: save keeps it in one file")
    require(model.memory is None, "save_shards", f"memory={model.memory}", "a model loaded without memory=")


@dataclass(frozen=True)
class Rows:
    """An array of rows that comes in blocks: n rows of so many elements."""

    n: int
    width: int
    dtype: npt.DTypeLike
    blocks: Iterable[Array]

    @classmethod
    def of(cls, rows: Array, which: Range) -> Rows:
        """Some of an array's."""
        some = rows[slice(*which)]
        return cls(len(some), rows.shape[1], rows.dtype, [some])


def write_part(
    into: Path, number: int, features: Range, labels: Range, rows: Mapping[str, Rows], arrays: Mapping[str, Array]
) -> None:
    """One of the files in a place of `new_parts`.

    rows : FEATURES and LABELS, of these ranges; arrays : PAIRS or RANKED of these labels, numbered from 0
    """
    small = {"features": np.array(features), "labels": np.array(labels), **arrays}
    with replacing(into / f"part-{number}.npz") as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in small.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        for name, some in rows.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                descr = np.lib.format.dtype_to_descr(np.dtype(some.dtype))
                header = {"descr": descr, "fortran_order": False, "shape": (some.n, some.width)}
                np.lib.format.write_array_header_1_0(member, header)
                for block in some.blocks:
                    member.write(np.ascontiguousarray(block).view(np.uint8).data)


def write_first(into: Path, number: int, labels: Range, ranked: Mapping[str, Array]) -> None:
    """Beside a part: sparse rows of these labels, by the names RANKED, that have learned nothing of held rows."""
    with replacing(into / f"first-{number}.npz") as file:
        np.savez(file, labels=np.array(labels), **ranked)  # type: ignore[arg-type]


def saved_again(
    shards: ShardFolder,
    folder: Any,
    extra: Mapping[str, Any] | None = None,
    extra_arrays: Mapping[str, Array] | None = None,
) -> ShardFolder:
    """The same parts, in their folder or another, with what a classifier adds now."""
    into = shards.path
    if Path(folder).resolve() != into.parent.resolve():
        into = new_parts(folder)
        for number in range(shards.shards):
            shutil.copyfile(shards.path / f"part-{number}.npz", into / f"part-{number}.npz")
    publish(into, shards.shards, shards.config | dict(extra or {}), shards.whole() | dict(extra_arrays or {}))
    return ShardFolder.at(folder)
