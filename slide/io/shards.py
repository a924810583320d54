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
import math
import os
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

from slide.checks import whole
from slide.engine import memory
from slide.errors import ModelFormatError
from slide.io.model_check import DTYPES, check_config, check_cost
from slide.io.model_file import ModelFile

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Range = tuple[int, int]

FORMAT = 1
MANIFEST = "model.json"  # a checkpoint of a shared fit has another name: neither takes the other's place
FEATURES, LABELS = "layer0.rows", "layer1.rows"
PAIRS = ("wide.indptr", "wide.labels", "wide.weights", "wide.bias")  # by feature
READ_BYTES = 2**24  # of rows at a time
RANKED = ("rank.indptr", "rank.features", "rank.weights", "rank.bias")  # by label


def is_folder(path: Any) -> bool:
    """Whether this is the path of a folder that save_shards wrote; another folder is none."""
    return isinstance(path, str | os.PathLike) and os.path.isfile(os.path.join(path, MANIFEST))


def ranges(n: int, parts: int) -> list[Range]:
    """As equal ones as there are of n things."""
    edges = [n * i // parts for i in range(parts + 1)]
    return list(pairwise(edges))


def sparse_of(arrays: Mapping[str, Array], first: int, end: int) -> Arrays:
    """What belongs to these labels, but for their rows."""
    found = _pairs_of(arrays, first, end) if PAIRS[0] in arrays else {}
    return found | (ranked_of(arrays, first, end) if RANKED[0] in arrays else {})


def _pairs_of(arrays: Mapping[str, Array], first: int, end: int) -> Arrays:
    """Pairs of labels first to end - 1, numbered from 0."""
    indptr, labels, weights, bias = (arrays[name] for name in PAIRS)
    inside = (labels >= first) & (labels < end)
    before = np.concatenate([[0], np.cumsum(inside, dtype=np.int64)])[indptr]
    found = before, (labels[inside] - first).astype(np.int32), weights[inside], bias[first:end]
    return dict(zip(PAIRS, found, strict=True))


def ranked_of(arrays: Mapping[str, Array], first: int, end: int) -> Arrays:
    """Sparse rows of labels first to end - 1."""
    indptr, features, weights, bias = (arrays[name] for name in RANKED)
    some = slice(int(indptr[first]), int(indptr[end]))
    found = indptr[first : end + 1] - indptr[first], features[some], weights[some], bias[first:end]
    return dict(zip(RANKED, found, strict=True))


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

    def n_bytes(self, name: str) -> int:
        """Of an array."""
        with self._member(name) as (shape, dtype, _):
            return math.prod(shape) * dtype.itemsize

    def kind_of(self, name: str) -> tuple[int, np.dtype[Any]]:
        """How many elements a row of an array has, and of what type."""
        with self._member(name) as (shape, dtype, _):
            if len(shape) != 2:
                raise ValueError(f"found an array of {shape}, wanted rows")
            return shape[1], dtype

    def fill(self, name: str, first: int, to: Array) -> None:
        """Reads rows of an array, from `first` on, into `to`; the others are read too, for their checksum's sake."""
        with self._member(name) as (shape, dtype, member):
            if shape[1:] != to.shape[1:] or dtype != to.dtype or first + len(to) > shape[0]:
                raise ValueError(f"found {shape} of {dtype}, wanted rows to {first + len(to)} as those of other parts")
            row, at = dtype.itemsize * shape[1], 0
            step = max(1, READ_BYTES // max(row, 1))
            while at < shape[0]:
                some = np.frombuffer(member.read(row * min(step, shape[0] - at)), dtype).reshape(-1, shape[1])
                begin, end = max(at, first), min(at + len(some), first + len(to))
                if begin < end:
                    to[begin - first : end - first] = some[begin - at : end - at]
                at += min(step, shape[0] - at)

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[tuple[int, ...], np.dtype[Any], Any]]:
        """Shape, type and the bytes of an array's rows; ModelFormatError where they are not there."""
        try:
            with self._file.zip.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran_order, dtype = read(member)
                if fortran_order or dtype.hasobject:
                    raise ValueError(f"found an array of {dtype}, wanted rows of numbers")
                yield shape, dtype, member
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
            raise ModelFormatError(f"{self._path}: a part of a model is damaged: {name}: {e}") from e

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


def describe_shards(folder: Any) -> dict[str, Any]:
    """What slide.io.model_file.describe says of a file, and how many parts there are, without reading rows."""
    shards, sizes, n_bytes = ShardFolder.at(folder), dict[str, int](), 0
    for path in [shards.path / "whole.npz", *(shards.path / f"part-{i}.npz" for i in range(shards.shards))]:
        with _opened(path) as part:
            n_bytes += path.stat().st_size
            for name in part.names:
                sizes[name] = sizes.get(name, 0) + part.n_bytes(name)
    sizes = {name: n for name, n in sizes.items() if name not in ("features", "labels")}
    return {
        **shards.config,
        "format_version": FORMAT,
        "parts": shards.shards,
        "array_bytes": sizes,
        "file_bytes": n_bytes,
    }


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


def read_first(folder: Any, rank: int, size: int) -> Arrays:
    """Of the labels of one worker, what shard_writing.write_first wrote."""
    shards = ShardFolder.at(folder)
    first, end = ranges(_sizes(shards)[1], size)[rank]
    found = []
    for number in range(shards.shards):
        with _opened(shards.path / f"first-{number}.npz") as part:
            held = part.range("labels")
            begin, stop = max(first, held[0]), min(end, held[1])
            if begin < stop:
                found.append(_sparse(part, begin - held[0], stop - held[0]))
    return _stacked_ranked(found)


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
                width, dtype = part.kind_of(name)
                rows[name] = memory.allocate((end - first, width), dtype, "the rows of a model in parts")
            if begin < stop:
                part.fill(name, begin - held[0], rows[name][begin - first : stop - first])
                covered[name] += stop - begin
            if name == LABELS and begin < stop:
                sparse.append(_sparse(part, begin - held[0], stop - held[0]))
    for name, (first, end) in wanted.items():
        if covered[name] != end - first:
            raise ModelFormatError(f"{shards.path}: found {covered[name]:,} of {end - first:,} rows of {name}")
    return rows | _stacked_pairs(sparse) | _stacked_ranked(sparse)


def _sparse(part: _Part, first: int, end: int) -> Arrays:
    """Pairs and sparse rows of some labels of a part, by its numbers."""
    return sparse_of({name: part[name] for name in (*PAIRS, *RANKED) if name in part.names}, first, end)


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
