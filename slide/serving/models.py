"""The models that are served, by name, and how each is exchanged for a new one while requests go on.

A new file is loaded, checked and warmed beside the old model, in a thread of its own; then one assignment swaps them.
Requests that were read for the old model are answered by it. What cannot be loaded leaves the old model in place.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slide.checks import require
from slide.io.shards import is_folder
from slide.serving.hosted import Hosted, Identity, identity_of

logger = logging.getLogger("slide.serving")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LOADING = (OSError, ValueError, MemoryError, ArithmeticError, ImportError)  # ModelFormatError is a ValueError


@dataclass(frozen=True)
class Loading:
    """How models are loaded: as in slide.load; cluster: whose workers hold the parts of those that are folders."""

    mmap: bool = False
    n_threads: int | None = None
    backend: str | None = None
    memory: str | None = None
    cluster: Any = None

    def __call__(self, path: str, version: int = 1) -> Hosted:
        cluster = self.cluster if is_folder(path) else None
        return Hosted.loaded(path, version, **(vars(self) | {"cluster": cluster}))


class Slot:
    """A name and the model that answers under it now."""

    def __init__(self, name: str, hosted: Hosted, loading: Loading | None = None) -> None:
        self.name, self.hosted, self.loading = name, hosted, loading or Loading()
        self.on_reload: Callable[[Slot, bool], None] = lambda slot, ok: None
        self._lock = asyncio.Lock()
        self._refused: Identity | None = None  # of the file that could not be loaded, which is not tried again

    async def reload(self) -> Hosted:
        """Puts what the file holds now in the model's place.

        Raises
        ------
        ValueError, OSError, MemoryError
            If that is no model, or reads another kind of rows; the old one goes on.
        """
        async with self._lock:
            old = self.hosted
            try:
                self._refused = identity_of(old.path)
                new = await asyncio.to_thread(self.loading, old.path, old.version + 1)
                wanted = f"{old.kind}, as the one it would replace"
                require(new.kind == old.kind, f"{old.path}: a model of", new.kind, wanted)
            except LOADING as error:
                logger.error("reload_failed", extra={"model": self.name, "error": str(error) or repr(error)})
                self.on_reload(self, False)
                raise
            self.hosted = new
            logger.info("reloaded", extra={"model": self.name, "version": new.version, "path": new.path})
            self.on_reload(self, True)
            return new

    async def follow(self) -> None:
        """Reloads if the file was replaced since it was loaded, or since it could not be."""
        try:
            found = identity_of(self.hosted.path)
        except OSError:  # between an old file and a new one
            return
        if found not in (self.hosted.identity, self._refused):
            try:
                await self.reload()
            except LOADING:
                return  # logged, and not tried again before the file changes


def open_slots(given: Sequence[str], loading: Loading) -> list[Slot]:
    """The models that the command line names, as PATH or NAME=PATH; a name is the file's without its ending.

    Raises
    ------
    ValueError
        For a name that no URL should hold, or that two models have; and what slide.load raises.
    """
    found: dict[str, Slot] = {}
    for text in given:
        name, path = named(text)
        ok = bool(NAME.fullmatch(name))
        require(ok, "MODEL", name, "a name of letters, digits, '.', '_' and '-': give it as NAME=PATH")
        require(name not in found, "MODEL", name, "a name for each model: give them as NAME=PATH")
        found[name] = Slot(name, loading(os.path.abspath(path)), loading)
    return list(found.values())


def named(text: str) -> tuple[str, str]:
    """``tags.slide`` and ``tags=models/7.slide`` are both a model called tags; a path that is there is a path."""
    name, equals, path = text.partition("=")
    if equals and not os.path.exists(text):
        return name, path
    return os.path.basename(text).removesuffix(".slide"), text


def facts(slot: Slot, now: float) -> dict[str, Any]:
    """What is said of a model."""
    hosted = slot.hosted
    return {
        "name": slot.name,
        "version": str(hosted.version),
        "reads": hosted.kind,
        "decides": hosted.decides,
        "n_labels": hosted.n_labels,
        "n_features": hosted.n_features,
        "loaded_at": hosted.loaded_at,
        "age_seconds": round(now - hosted.loaded_at, 3),
        "file_time": hosted.file_time,
    }
