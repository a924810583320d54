"""Python objects between workers, over the arrays that a Group carries: pickled, since workers trust each other."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from slide.distributed.transport.group import Array, Group, gather_ragged


def tell(group: Group, message: Any = None, root: int = 0) -> Any:
    """What the root says, at all of them."""
    packed = _packed(message) if group.rank == root else np.empty(0, np.uint8)
    length = np.array([len(packed)], np.int64)
    group.broadcast(length, root)
    if group.rank != root:
        packed = np.empty(int(length[0]), np.uint8)
    group.broadcast(packed, root)
    return message if group.rank == root else pickle.loads(packed.tobytes())


def say(group: Group, message: Any) -> list[Any]:
    """What each of them says, at all of them, by rank."""
    return [pickle.loads(part.tobytes()) for part in gather_ragged(group, _packed(message))]


def _packed(message: Any) -> Array:
    return np.frombuffer(pickle.dumps(message), np.uint8).copy()
