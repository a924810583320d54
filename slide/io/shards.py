"""A model in parts, in a folder: each part has a range of the features and one of the labels, numbered as in the whole.

    model/
      model.json           whose parts count, and what the model is; replaced as a whole when all is written
      shards-1f2e3d4c/     whole.npz: what is not shared out; part-0.npz ...: rows of features and of labels, and the
                           sparse rows or pairs of these labels

Whoever predicts with some of the labels reads those alone (`read_part`), for any number of workers; `read_shards` puts
the whole together. Arrays have the names that model files have for them (model_file.py), and are checked as theirs.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import require, whole
from slide.engine import memory
from slide.errors import ModelFormatError
from slide.io.atomic import replacing
from slide.io.model_check import DTYPES, check_config, check_cost
from slide.io.model_file import ModelFile
from slide.layers import Sampled, SparseInput
from slide.model.model import Model
from slide.model.snapshot import as_json

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Range = tuple[int, int]

FORMAT = 1
MANIFEST = "model.json"  # a checkpoint of a shared fit has another name: neither takes the other's place
FEATURES, LABELS = "layer0.rows", "layer1.rows"
PAIRS = ("wide.indptr", "wide.labels", "wide.weights", "wide.bias")  # by feature
RANKED = ("rank.indptr", "rank.features", "rank.weights", "rank.bias")  # by label


def is_folder(path: Any) -> bool:
    """Whether this is the path of a folder that save_shards wrote; another folder is none."""
    return isinstance(path, str | os.PathLike) and os.path.isfile(os.path.join(path, MANIFEST))


def ranges(n: int, parts: int) -> list[Range]:
    """As equal ones as there are of n things."""
    edges = [n * i // parts for i in range(parts + 1)]
    return list(pairwise(edges))


# -- writing -----------------------------------------------------------------------------------------------------------


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
    folder = Path(folder)
    with model.lock:
        snapshot = model.snapshot()
        arrays = snapshot.arrays | dict(extra_arrays or {})
        n_features, n_labels = model.n_features, model.n_labels
        into = folder / f"shards-{secrets.token_hex(4)}"
        into.mkdir(parents=True)
        try:
            kept = {name: a for name, a in arrays.items() if name not in (FEATURES, LABELS, *PAIRS, *RANKED)}
            _write(into / "whole.npz", kept)
            parts = zip(ranges(n_features, shards), ranges(n_labels, shards), strict=True)
            for number, (features, labels) in enumerate(parts):
                _write(into / f"part-{number}.npz", _part_of(arrays, features, labels))
            facts = {"format": FORMAT, "shards": shards, "folder": into.name, "network": snapshot.config}
            text = json.dumps({**facts, **(extra or {})}, default=as_json)
            with replacing(folder / MANIFEST) as file:
                file.write(text.encode())
        except BaseException:
            shutil.rmtree(into, ignore_errors=True)
            raise
    for old in folder.glob("shards-*"):
        if old.name != into.name:
            shutil.rmtree(old, ignore_errors=True)


def _check_shareable(model: Model) -> None:
    layers = model.layers
    ok = len(layers) == 2 and isinstance(layers[0], SparseInput) and isinstance(layers[1], Sampled)
    kinds = ", ".join(type(layer).__name__ for layer in layers)
    require(ok, "save_shards", f"a network of {kinds}", "one hidden layer: SparseInput and Sampled")
    assert isinstance(layers[0], SparseInput)
    require(not layers[0].bias, "save_shards", "SparseInput(bias=True)", "False: it would be in no part")
    require(not model.is_compressed, "save_shards", "a compressed model", "one of floats: save keeps it in one file")
    require(model.memory is None, "save_shards", f"memory={model.memory}", "a model loaded without memory=")


def _write(path: Path, arrays: Mapping[str, Array]) -> None:
    with replacing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _part_of(arrays: Mapping[str, Array], features: Range, labels: Range) -> Arrays:
    """What belongs to these features and labels."""
    found = {FEATURES: arrays[FEATURES][slice(*features)], LABELS: arrays[LABELS][slice(*labels)]}
    found |= {"features": np.array(features), "labels": np.array(labels)}
    if PAIRS[0] in arrays:
        found |= _pairs_of(arrays, *labels)
    if RANKED[0] in arrays:
        found |= _ranked_of(arrays, *labels)
    return found


def _pairs_of(arrays: Mapping[str, Array], first: int, end: int) -> Arrays:
    """Pairs of labels first to end - 1, numbered from 0."""
    indptr, labels, weights, bias = (arrays[name] for name in PAIRS)
    inside = (labels >= first) & (labels < end)
    before = np.concatenate([[0], np.cumsum(inside, dtype=np.int64)])[indptr]
    found = before, (labels[inside] - first).astype(np.int32), weights[inside], bias[first:end]
    return dict(zip(PAIRS, found, strict=True))


def _ranked_of(arrays: Mapping[str, Array], first: int, end: int) -> Arrays:
    """Sparse rows of labels first to end - 1."""
    indptr, features, weights, bias = (arrays[name] for name in RANKED)
    some = slice(int(indptr[first]), int(indptr[end]))
    found = indptr[first : end + 1] - indptr[first], features[some], weights[some], bias[first:end]
    return dict(zip(RANKED, found, strict=True))


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShardFolder:
    """A folder that save_shards wrote: where its parts are, and the JSON object that says what the model is."""

    path: Path
    config: dict[str, Any]
    shards: int

    @classmethod
    def at(cls, folder: Any) -> ShardFolder:
        """ModelFormatError for what is none."""
        path = Path(folder)
        try:
            found = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            number, name, shards = found.pop("format"), found.pop("folder"), found.pop("shards")
            if number != FORMAT:
                raise ModelFormatError(f"{path / MANIFEST}: found format {number!r}, wanted {FORMAT}")
            if (
                Path(name).name != name
                or not name.startswith("shards-")
                or type(shards) is not int
                or not 1 <= shards <= 2**20
            ):
                raise ValueError(f"found {shards!r} parts in {name!r}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            if isinstance(e, ModelFormatError):
                raise
            raise ModelFormatError(f"{path}: no folder of a model in parts: {e}") from e
        return cls(path / name, found, shards)

    def whole(self) -> Arrays:
        """What is not shared out."""
        with _opened(self.path / "whole.npz") as file:
            return {name: file[name] for name in file.names}

    def parts(self) -> Iterator[_Part]:
        """In order."""
        for number in range(self.shards):
            with _opened(self.path / f"part-{number}.npz") as part:
                yield part


class _Part:
    """One file; an array is read when it is asked for."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self.names = list(file.files)

    def __getitem__(self, name: str) -> Array:
        try:
            found: Array = self._file[name]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
            raise ModelFormatError(f"{self._path}: a part of a model is damaged: {name}: {e}") from e
        return found

    def range(self, name: str) -> Range:
        """Of "features" or "labels"."""
        first, end = (int(n) for n in self[name])
        return first, end


@contextmanager
def _opened(path: Path) -> Iterator[_Part]:
    """A file of arrays; ModelFormatError names it where it is missing or none."""
    try:
        file = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise ModelFormatError(f"{path}: a part of a model is missing or damaged: {e}") from e
    with file:
        yield _Part(path, file)


def read_shards(folder: Any, *, max_bytes: int | None = None) -> ModelFile:
    """The whole model, as slide.io.model_file.read_model gives it."""
    shards = ShardFolder.at(folder)
    arrays = shards.whole()
    found = _joined(shards, *_sizes(shards), (0, 1))
    first = {name: found[name] for name in (FEATURES, LABELS)}
    arrays = first | arrays | {name: a for name, a in found.items() if name not in first}
    _check(shards, arrays, max_bytes)
    return ModelFile(shards.config, arrays)


@dataclass(frozen=True)
class ModelPart:
    """The rows of some features and of some labels, and of these the pairs or sparse rows.

    arrays : as of a model with these features and labels alone; pairs and sparse rows are of all features
    """

    features: Range
    labels: Range
    arrays: Arrays


def read_part(folder: Any, rank: int, size: int) -> ModelPart:
    """That of one of `size` workers, however many parts there are."""
    shards = ShardFolder.at(folder)
    n_features, n_labels = _sizes(shards)
    features, labels = ranges(n_features, size)[rank], ranges(n_labels, size)[rank]
    return ModelPart(features, labels, _joined(shards, n_features, n_labels, (rank, size)))


def _sizes(shards: ShardFolder) -> tuple[int, int]:
    """Features and labels."""
    try:
        first, last = shards.config["network"]["layers"]
        return whole(first["n_features"]), whole(last["n"])
    except (KeyError, TypeError, ValueError) as e:
        raise ModelFormatError(f"{shards.path.parent}: the manifest does not describe a model: {e}") from e


def _joined(shards: ShardFolder, n_features: int, n_labels: int, which: tuple[int, int]) -> Arrays:
    """What all parts have of the ranges of one of several workers: `which` is its number and how many there are."""
    rank, size = which
    wanted = {FEATURES: ranges(n_features, size)[rank], LABELS: ranges(n_labels, size)[rank]}
    rows: Arrays = {}
    sparse: list[Arrays] = []
    covered = dict.fromkeys(wanted, 0)
    for part in shards.parts():
        for name, (first, end) in wanted.items():
            held = part.range("features" if name == FEATURES else "labels")
            begin, stop = max(first, held[0]), min(end, held[1])
            if name not in rows:
                like = part[name]
                rows[name] = memory.allocate((end - first, like.shape[1]), like.dtype, "the rows of a model in parts")
            if begin < stop:
                rows[name][begin - first : stop - first] = part[name][begin - held[0] : stop - held[0]]
                covered[name] += stop - begin
            if name == LABELS and begin < stop:
                sparse.append(_sparse(part, begin - held[0], stop - held[0]))
    for name, (first, end) in wanted.items():
        if covered[name] != end - first:
            raise ModelFormatError(f"{shards.path}: found {covered[name]:,} of {end - first:,} rows of {name}")
    return rows | _stacked_pairs(sparse) | _stacked_ranked(sparse)


def _sparse(part: _Part, first: int, end: int) -> Arrays:
    """Pairs and sparse rows of some labels of a part, by its numbers."""
    arrays = {name: part[name] for name in (*PAIRS, *RANKED) if name in part.names}
    found = _pairs_of(arrays, first, end) if PAIRS[0] in arrays else {}
    return found | (_ranked_of(arrays, first, end) if RANKED[0] in arrays else {})


def _stacked_pairs(parts: list[Arrays]) -> Arrays:
    """Side by side."""
    if not parts or PAIRS[0] not in parts[0]:
        return {}
    widths = [len(part[PAIRS[3]]) for part in parts]
    blocks = [
        sp.csr_array((part[PAIRS[2]], part[PAIRS[1]], part[PAIRS[0]]), shape=(len(part[PAIRS[0]]) - 1, width))
        for part, width in zip(parts, widths, strict=True)
    ]
    rows = np.concatenate([np.repeat(np.arange(b.shape[0]), np.diff(b.indptr)) for b in blocks])
    before = np.cumsum([0, *widths[:-1]])
    labels = np.concatenate([b.indices + first for b, first in zip(blocks, before, strict=True)])
    order = np.argsort(rows, kind="stable")  # of a row, those of the first part come first
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=blocks[0].shape[0]))]).astype(np.int64)
    weights, bias = np.concatenate([b.data for b in blocks]), np.concatenate([part[PAIRS[3]] for part in parts])
    return dict(zip(PAIRS, (indptr, labels[order].astype(np.int32), weights[order], bias), strict=True))


def _stacked_ranked(parts: list[Arrays]) -> Arrays:
    """One below the other."""
    if not parts or RANKED[0] not in parts[0]:
        return {}
    lengths = np.concatenate([np.diff(part[RANKED[0]]) for part in parts])
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rest = [np.concatenate([part[name] for part in parts]) for name in RANKED[1:]]
    return dict(zip(RANKED, (indptr, *rest), strict=True))


def _check(shards: ShardFolder, arrays: Arrays, max_bytes: int | None) -> None:
    """As the arrays of a model file are, which have checksums of their own; these have those of their zip files."""
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    entries = {name: {"dtype": names.get(a.dtype), "shape": list(a.shape)} for name, a in arrays.items()}
    path = shards.path.parent
    check_config({**shards.config, "checksums": dict.fromkeys(arrays, "")}, entries, path)
    check_cost(shards.config, sum(a.nbytes for a in arrays.values()), max_bytes, path)
