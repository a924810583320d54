"""How the commands write files: refused before any work is done, whole or not at all, named in what goes wrong."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from slide.io.atomic import replacing


def writable(path: str, *inputs: str | None) -> Path:
    """Where to write, refused before any work is done: a missing or read-only folder, a folder, one of the inputs."""
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, wanted the name of a file")
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{path}: cannot write into the folder {folder}")
    for other in inputs:
        if other and os.path.exists(other) and target.exists() and target.samefile(other):
            raise ValueError(f"{path}: is read by this command, and would be overwritten")
    return target


@contextmanager
def naming(target: Path) -> Iterator[None]:
    """Errors of writing name the file that was asked for, not a temporary one or none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as e:
        if e.errno is None:
            raise
        raise type(e)(e.errno, e.strerror, str(target)) from e


@contextmanager
def whole_file(target: Path) -> Iterator[IO[str]]:
    """A text file that appears under its name when the body ends without an error, and leaves nothing if not."""
    with naming(target), replacing(target) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8")
        yield file
        file.flush()
        file.detach()


def size(path: Path) -> str:
    """Of a file, for people."""
    return f"{path.stat().st_size / 1e6:,.1f} MB"


def opened(target: Path | None) -> AbstractContextManager[IO[str]]:
    """What a command writes text to: a whole file, or standard output where none is named."""
    return whole_file(target) if target else _standard_output()


@contextmanager
def _standard_output() -> Iterator[IO[str]]:
    yield sys.stdout
