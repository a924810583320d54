"""Model files as a hostile stranger would write them: altered at will, with checksums that match again."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from slide.io.model_check import DTYPES

NAMES = {np.dtype(v): k for k, v in DTYPES.items()}
Parts = tuple[dict[str, Any], dict[str, np.ndarray]]


def take_apart(data: bytes) -> Parts:
    """The configuration and the arrays of a model file."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    config = json.loads(header.pop("__metadata__")["slide"])
    arrays = {}
    for name, entry in header.items():
        begin, end = (8 + length + n for n in entry["data_offsets"])
        arrays[name] = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
    return config, arrays


def checksum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def seal(text: str, entries: dict[str, Any], body: bytes = b"", pad: int = 64) -> bytes:
    """A file with this configuration, whatever it is, and a checksum of it that matches."""
    metadata = {"format": "slide", "slide": text, "checksum": checksum(text.encode("utf-8", "surrogatepass"))}
    head = json.dumps({"__metadata__": metadata, **entries}).encode()
    head += b" " * (-(8 + len(head)) % pad)
    return struct.pack("<Q", len(head)) + head + body


def put_together(config: dict[str, Any], arrays: dict[str, np.ndarray], pad: int = 64) -> bytes:
    """The inverse of take_apart; checksums follow the arrays."""
    config = {**config, "checksums": {name: checksum(a.tobytes()) for name, a in arrays.items()}}
    return seal(json.dumps(config), entries_of(arrays), b"".join(a.tobytes() for a in arrays.values()), pad)


def entries_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    entries, at = {}, 0
    for name, a in arrays.items():
        entries[name] = {"dtype": NAMES[a.dtype], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    return entries


def forged(data: bytes, change: Callable[[dict[str, Any], dict[str, np.ndarray]], Any], pad: int = 64) -> bytes:
    """A model after a change to its configuration and arrays."""
    config, arrays = take_apart(data)
    change(config, arrays)
    return put_together(config, arrays, pad)
