"""Model files: one safetensors file, written whole to a temporary name and renamed; no pickle, nothing is executed.

Layout: the public safetensors format (8 bytes of header length, JSON header, arrays back to back). The header's
``__metadata__`` holds under "slide" a JSON object (format version, layers, options, training state, a BLAKE2b checksum
of each array) and a checksum of that object. Rows come first and start on 64-byte boundaries, so the file can be mapped
into memory as it is. Tables are stored only where they are older than the weights; else they are rebuilt on loading.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine import memory
from slide.errors import ModelFormatError
from slide.io.atomic import replacing
from slide.io.file_objects import Reader, is_file_object, name_of
from slide.io.mistaken import HEAD, no_model
from slide.io.model_check import DTYPES, check_config, check_cost, check_entries, open_regular, stored_rows
from slide.lsh import HashFamily
from slide.model.model import Model
from slide.model.snapshot import Snapshot, as_json, family_config
from slide.model.store.files import mapped_rows
from slide.model.store.segments import Manifest, check_sizes, read_rows
from slide.model.store.size import BudgetError

#: 2: compressed models, those of bfloat16; 3, 4: that rank; 4: leaves and features in 16 bits; 5: dense inputs; 6: rows
#: in files of their own (slide/model/store/segments.py), which checkpoints of models with `memory` have.
FORMAT_VERSION = 6
MAX_HEADER = 1 << 26
ALIGNMENT = 64  # of arrays that are mapped: kernels load whole vectors of them
DTYPE_NAMES = {np.dtype(v): k for k, v in DTYPES.items()}

Array = npt.NDArray[Any]


class ModelFile(NamedTuple):
    """What a file holds: the header's JSON object and the arrays by name."""

    config: dict[str, Any]
    arrays: dict[str, Array]

    @property
    def snapshot(self) -> Snapshot:
        """The network in it."""
        return Snapshot(self.config["network"], self.arrays)


def save_model(
    model: Model,
    path: Any,
    extra: Mapping[str, Any] | None = None,
    extra_arrays: Mapping[str, Array] | None = None,
    tables: bool = False,
    rows: Manifest | None = None,
) -> None:
    """Writes a model, and what a classifier adds to it. The old file survives until the new one is complete.

    path: or a file object opened for writing bytes, which is written to from where it stands, in one go.
    tables: also those that loading could fill from the weights.
    rows: where the last layer's are, which are written already.

    Raises
    ------
    OSError
        If the folder is missing, read-only or full; no partial file is left.
    """
    with model.lock:  # another thread may be training it
        snapshot = model.snapshot(tables, last_rows=rows is None)
        everything = snapshot.arrays | dict(extra_arrays or {})
        arrays = {name: np.ascontiguousarray(a) for name, a in everything.items()}
        config = {
            "format_version": _version(model) if rows is None else 6,
            "network": snapshot.config,
            **({} if rows is None else {"rows": rows.as_json}),
            "checksums": {name: _checksum(a) for name, a in arrays.items()},
            **(extra or {}),
        }
        header = _header(arrays, json.dumps(config, default=as_json))
        with replacing(path) as file:
            file.write(header)
            for array in arrays.values():
                file.write(_bytes(array))


def check_own_family(snapshot: Snapshot, own: HashFamily | None, path: Any) -> None:
    """A family of the user's own must be handed over, with the options that it had."""
    stored = snapshot.own_families()
    if not stored:
        require(own is None, "load(lsh=)", own, f"None: {path} holds no hash family of your own")
    given = json.loads(json.dumps(family_config(own), default=as_json)) if own is not None else None
    # Options that an older slide did not know are as their defaults say.
    defaults = {f.name: f.default for f in fields(own)} if own is not None else {}
    for family in ({**defaults, **family} for family in stored):
        options = ", ".join(f"{k}={v!r}" for k, v in family.items() if k not in ("kind", "name"))
        wanted = f"{family.get('name')}({options}), which {path} was saved with: a model file holds no code"
        require(given == family, "load(lsh=)", own, wanted)


@contextmanager
def header_errors(path: Any) -> Iterator[None]:
    """What a header says that makes no sense is a ModelFormatError."""
    try:
        yield
    except BudgetError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, RecursionError) as e:
        found = f"the header does not describe a model ({type(e).__name__}: {e})"
        raise ModelFormatError(f"{path}: {found}") from e


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the header says, without reading the arrays."""
    with open_regular(path) as file:
        config, entries, start = _read_header(file, os.fstat(file.fileno()).st_size, path)
    sizes = {name: e["data_offsets"][1] - e["data_offsets"][0] for name, e in entries.items()}
    n_bytes, rows = start + sum(sizes.values()), stored_rows(config)
    n_bytes += sum(manifest.bytes_on_disk() for manifest in rows.values())
    sizes |= {name: manifest.n_bytes for name, manifest in rows.items()}
    return {**config, "array_bytes": sizes, "file_bytes": n_bytes}


def _version(model: Model) -> int:
    """The oldest whose readers understand this model."""
    if model.layers[0].kind == "dense_input":
        return 5
    if model.ranker is not None or model.leaves is not None:
        return 4
    return 2 if model.storage != "float32" or model.is_compressed else 1


def read_model(path: Any, *, mmap: bool = False, max_bytes: int | None = None, map_rows: bool = False) -> ModelFile:
    """The header's JSON object and the arrays, checked against each other and against the checksums.

    path: or a file object, from which so many bytes are read as the model has.
    map_rows: the last layer's rows are mapped, and checked like all other arrays.
    """
    if is_file_object(path):
        require(not mmap, "mmap", mmap, "False: a file object cannot be mapped")
        require(not map_rows, "memory", "a file object", "a path, whose rows can be read as they are wanted")
        return _read_all(Reader(path), None, name_of(path), max_bytes=max_bytes)
    if isinstance(path, bytes | bytearray | memoryview) and b"\0" in bytes(path[:64]):
        raise TypeError(f"found {type(path).__name__} that are no path, wanted a model in memory as io.BytesIO(data)")
    try:
        os.fspath(path)
    except TypeError:
        found = type(path).__name__
        raise TypeError(f"path: found {found}, wanted a path or a file object opened for reading bytes") from None
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return _read_all(file, size, path, mmap=mmap, max_bytes=max_bytes, map_rows=map_rows)


def _read_all(
    file: Any, size: int | None, path: Any, *, mmap: bool = False, max_bytes: int | None, map_rows: bool = False
) -> ModelFile:
    arrays: dict[str, Array] = {}
    config, entries, start = _read_header(file, size, path)
    needed = start + sum(e["data_offsets"][1] - e["data_offsets"][0] for e in entries.values())
    elsewhere = stored_rows(config)
    for manifest in elsewhere.values():
        require(not mmap, "mmap", mmap, f"False: the rows of {path} are in files beside it")
        check_sizes(path, manifest)
        needed += 0 if map_rows else manifest.n_bytes
    check_cost(config, needed, max_bytes, path)
    last = f"layer{len(config['network']['layers']) - 1}.rows" if map_rows else ""
    for name, entry in entries.items():  # back to back, in this order
        begin, end = entry["data_offsets"]
        dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
        if mmap and end > begin and (start + begin) % ALIGNMENT == 0:
            arrays[name] = np.memmap(file, dtype, "c", start + begin, shape)
            continue
        if mmap or map_rows:
            file.seek(start + begin)
        if name == last and end > begin:
            arrays[name] = np.memmap(file, dtype, "r", start + begin, shape)
        else:
            arrays[name] = memory.allocate(shape, dtype, "the arrays of a model file")
            if file.readinto(_bytes(arrays[name])) != arrays[name].nbytes:
                raise ModelFormatError(f"{path}: truncated while it was read")
        if _checksum(arrays[name]) != config["checksums"][name]:
            raise ModelFormatError(f"{path}: array {name!r} was altered: its checksum does not match")
    arrays |= {name: _rows_of(path, manifest, map_rows) for name, manifest in elsewhere.items()}
    return ModelFile(config, arrays)


def _rows_of(path: Any, manifest: Manifest, map_rows: bool) -> Array:
    """Rows that are in files beside this one; map_rows: in an unnamed file, which a store may take over."""
    if map_rows:
        return mapped_rows(manifest.shape, manifest.dtype, lambda put: read_rows(path, manifest, put))
    rows = memory.allocate(manifest.shape, manifest.dtype, "the rows of a checkpoint")
    read_rows(path, manifest, rows.__setitem__)
    return rows


def _read_header(file: Any, size: int | None, path: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]], int]:
    """The JSON object, the arrays' entries and where the arrays start; every number is checked before it is used.

    size: bytes of the file; None for what shows only when it ends.
    """
    head = file.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 2 <= length <= (MAX_HEADER if size is None else min(MAX_HEADER, size - 8)):
        found = no_model(head + file.read(HEAD))
        if found:
            raise ModelFormatError(f"{path}: no slide model: found {found}, wanted a file that slide wrote")
        raise ModelFormatError(f"{path}: no slide model (or truncated): the first 8 bytes are no header length")
    try:
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__")
        text = metadata["slide"]
        config = json.loads(text)
        version = config["format_version"]
        checksum = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ModelFormatError(f"{path}: no slide model: its header is not readable") from e
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ModelFormatError(
            f"{path}: found format version {version}, this slide reads up to {FORMAT_VERSION}: upgrade slide-xmc"
        )
    if metadata.get("checksum") != checksum:
        raise ModelFormatError(f"{path}: the header was altered: its checksum does not match")
    start = 8 + length
    check_entries(header, None if size is None else size - start, path)
    check_config(config, header, path)
    return config, header, start


def _header(arrays: Mapping[str, Array], config: str) -> bytes:
    entries: dict[str, Any] = {
        "__metadata__": {
            "format": "slide",
            "slide": config,
            "checksum": hashlib.blake2b(config.encode(), digest_size=16).hexdigest(),
        }
    }
    position = 0
    for name, a in arrays.items():
        span = [position, position + a.nbytes]
        entries[name] = {"dtype": DTYPE_NAMES[a.dtype], "shape": list(a.shape), "data_offsets": span}
        position += a.nbytes
    text = json.dumps(entries).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return struct.pack("<Q", len(text)) + text


def _bytes(array: Array) -> memoryview:
    """An array's bytes without a copy."""
    return array.reshape(-1).view(np.uint8).data


def _checksum(array: Array) -> str:
    return hashlib.blake2b(_bytes(array), digest_size=16).hexdigest()
