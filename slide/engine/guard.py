"""An engine whose calls raise what a hash family of the user's own raised inside them.

Exceptions cannot pass through C.
"""

from __future__ import annotations

from typing import Any

from slide.engine.protocol import Engine
from slide.engine.state import LayerState


class GuardedEngine:
    """An engine whose calls raise what a user's hash family raised inside them."""

    def __init__(self, engine: Engine, layers: list[LayerState]) -> None:
        self._inner = engine
        self._hashes = [s.lsh.custom for s in layers if s.lsh is not None and s.lsh.custom is not None]

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not callable(attribute):
            return attribute

        def call(*args: Any) -> Any:
            result = attribute(*args)
            for custom in self._hashes:
                error, custom.error = custom.error, None
                if error is not None:
                    raise error
            return result

        return call


def guard(engine: Engine, layers: list[LayerState]) -> Any:
    """The engine, guarded if a layer has a family of the user's own."""
    has_custom = any(s.lsh is not None and s.lsh.custom is not None for s in layers)
    return GuardedEngine(engine, layers) if has_custom else engine
