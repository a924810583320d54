"""What a model file may say. Every number in it is checked before it is used, and its cost before memory is taken.

A model file may come from a stranger: whoever can write one can also write matching checksums, so nothing here relies
on them. Names in the file are never paths, nothing in it is executed, and what the C core trusts (ids within range,
sizes that agree) is checked here or where arrays are taken over (slide/model/parameters.py, pairs.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Set
from typing import Any, BinaryIO

import numpy as np

from slide.engine import memory
from slide.errors import ModelFormatError
from slide.layers import INPUTS, LAYERS
from slide.lsh import FAMILIES, HashFamily
from slide.model.store.segments import Manifest
from slide.optim import OPTIMIZERS

DTYPES = {"F32": np.float32, "I32": np.int32, "I64": np.int64, "I8": np.int8, "U8": np.uint8, "U16": np.uint16}
MAX_DIMENSIONS = 8
MAX_EXTENT = 2**62
MAX_STEP = 2**62  # what `progress` may count to

#: What loading may take beyond the file's own size unless the caller allows more: so much for each byte of the file,
#: and so much in any case. Tables are not stored, their sizes are only claimed.
BYTES_PER_BYTE = 32
FREE_BYTES = 1 << 30

Path = str | os.PathLike[str]


def open_regular(path: Path) -> BinaryIO:
    """The file, opened without waiting for anybody: a pipe or a device is no model file."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, "Is a directory", os.fspath(path))
        if not stat.S_ISREG(mode):
            raise ModelFormatError(f"{path}: no slide model: found a pipe or device, wanted a regular file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _whole(value: object, least: int = 0, most: int = MAX_STEP) -> int:
    """The value itself, if it is a whole number within bounds; True and 1.0 are none."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"found {value!r}, wanted a whole number, {least} to {most:,}")
    return value


def check_entries(entries: Mapping[str, Any], available: int | None, path: Path) -> None:
    """Arrays must lie back to back within the file, if its size is known, and be as long as their shapes say."""
    position = 0
    for name, entry in entries.items():
        try:
            begin, end = (_whole(n) for n in entry["data_offsets"])
            n_bytes = np.dtype(DTYPES[entry["dtype"]]).itemsize
            if not isinstance(entry["shape"], list) or len(entry["shape"]) > MAX_DIMENSIONS:
                raise ValueError(f"shape {entry['shape']!r}")
            extent = n_bytes
            for n in entry["shape"]:
                n_bytes *= _whole(n)
                extent *= max(n, 1)  # NumPy has limits even for what is empty
            if extent > MAX_EXTENT:
                raise ValueError(f"shape {entry['shape']}")
            if begin != position or end - begin != n_bytes:
                raise ValueError(f"bytes {begin} to {end} for shape {entry['shape']}")
        except (LookupError, TypeError, ValueError) as e:
            raise ModelFormatError(f"{path}: array {name!r} is described wrongly ({e})") from e
        position = end
    if available is not None and position != available:
        raise ModelFormatError(
            f"{path}: found {available:,} bytes of arrays, wanted {position:,}: truncated or altered"
        )


def check_config(config: Any, entries: Mapping[str, Any], path: Path) -> None:
    """The parts that loading and describing rely on must be there, and every layer's rows in the file."""
    try:
        net = config["network"]
        _check_layers(net["layers"], entries.keys() | stored_rows(config))
        OPTIMIZERS[net["optimizer"]["name"]]
        for name in ("step", "epoch", "generation", "next_rebuild", "tables_step"):
            _whole(net["progress"][name], least=-1 if name == "tables_step" else 0)
        for name, kind in (("wide", dict | None), ("loss", str)):
            if not isinstance(net[name], kind):
                raise ValueError(f"{name}: found {net[name]!r}")
        for name in entries:
            if not isinstance(config["checksums"].get(name), str):
                raise ValueError(f"array {name!r} has no checksum")
        if not isinstance(config.get("classifier", {}).get("fitted", {}), dict):
            raise ValueError("the classifier's facts are no object")
    except (LookupError, TypeError, ValueError, AttributeError) as e:
        raise _no_model(path, e) from e


def stored_rows(config: Any) -> dict[str, Manifest]:
    """The name of the rows that are in files of their own (slide/model/store/segments.py), and which; {} if none."""
    if config.get("rows") is None:
        return {}
    return {f"layer{len(config['network']['layers']) - 1}.rows": Manifest.of(config["rows"])}


def _check_layers(layers: list[Any], entries: Set[str]) -> None:
    if len(layers) < 2:
        raise ValueError(f"found {len(layers)} layers, wanted at least 2")
    _whole(layers[0]["n_features"])
    for i, layer in enumerate(layers):
        _whole(_width(layer), least=1, most=2**31 - 1)
        if layer["kind"] not in LAYERS or (i == 0) != (LAYERS[layer["kind"]] in INPUTS):
            raise ValueError(f"layer {i}: found {layer['kind']!r}, wanted an input layer, then others")
        if type(layer.get("bias", True)) is not bool:  # -3 would be three rows too few
            raise ValueError(f"layer {i}: found bias {layer['bias']!r}, wanted true or false")
        if f"layer{i}.rows" not in entries and f"layer{i}.codes" not in entries:
            raise ValueError(f"layer {i} has no rows")


def _width(layer: Mapping[str, Any]) -> Any:
    """Neurons of a layer: those of a dense input are the features."""
    return layer["n_features" if layer["kind"] == "dense_input" else "n"]


def _no_model(path: Path, error: Exception) -> ModelFormatError:
    return ModelFormatError(f"{path}: the header does not describe a model ({type(error).__name__}: {error})")


def check_cost(config: Any, size: int, max_bytes: int | None, path: Path) -> None:
    """Refuses a file that asks for much more memory than it has bytes, or for more than there is.

    Raises
    ------
    ModelFormatError
        If tables and hash functions would take more than max_bytes.
    MemoryError
        If there is not that much memory; nothing has been taken.
    """
    claimed = sum(_claimed(config["network"]["layers"], path))
    limit = max_bytes if max_bytes is not None else FREE_BYTES + BYTES_PER_BYTE * size
    if claimed > limit:
        raise ModelFormatError(
            f"{path}: its header asks for {claimed:,} bytes of tables, {limit:,} are allowed: if you trust it, call "
            f"slide.load(path, max_bytes={claimed})"
        )
    memory.require_memory(claimed + size, f"{path} needs")


def _family(stored: dict[str, Any]) -> HashFamily:
    """The family, or for one of the user's own, whose class is not in the file, one with tables of the same size."""
    kind = stored.pop("kind")
    if kind != "custom":
        return FAMILIES[kind](**stored)
    return HashFamily(**{name: stored[name] for name in HashFamily.__dataclass_fields__ if name in stored})


def _claimed(layers: list[Any], path: Path) -> list[int]:
    """Bytes of the tables and hash functions of each layer, which follow from the header alone."""
    sizes, fan_in = [], 0
    try:
        for layer in layers:
            n = _width(layer)
            if layer.get("lsh") is not None:
                lsh = _family(dict(layer["lsh"]))
                L, buckets, stride = (_whole(s) for s in lsh.slots_shape(n))
                directions = _whole(lsh.n_directions(n))
                sizes.append(4 * (L * buckets * stride + directions * (fan_in + 1)))
            fan_in = n
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as e:
        raise _no_model(path, e) from e
    return sizes
