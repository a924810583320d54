"""How the commands write files: refused before any work is done, whole or not at all, named in what goes wrong."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO, Any, BinaryIO

from slide.io.atomic import Place, descriptor_of, replacing


def writable(path: str, *inputs: str | None) -> Path:
    """Where to write, refused before any work is done: a missing or read-only folder, a folder, one of the inputs.

    "-" is standard output; other names of it, pipes and devices are written through.
    """
    target = Path("/dev/stdout" if path == "-" else path)
    try:
        place = Place.of(target)
    except OSError as e:
        raise type(e)(f"{path}: {e.strerror}") from None
    if place.descriptor == 1:
        _check_output()
    for other in () if place.is_stream else inputs:
        if other and os.path.exists(other) and target.exists() and target.samefile(other):
            raise ValueError(f"{path}: is read by this command, and would be overwritten")
    return target


def names_folder(path: str) -> bool:
    """Whether a folder is meant: one that is there, or a name that ends as one."""
    return path.endswith(("/", os.sep)) or os.path.isdir(path)


def writable_folder(path: str) -> Path:
    """A folder to write into, which is made where it is missing."""
    target = Path(path)
    with naming(target):
        target.mkdir(parents=True, exist_ok=True)
        if not os.access(target, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "cannot write into this folder")
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
    """Of a file, or of all in a folder, for people; a stream has none."""
    return "written through" if is_stream(path) else f"{n_bytes(path) / 1e6:,.1f} MB"


def n_bytes(path: Path) -> int:
    """Of a file, or of all in a folder."""
    files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
    return sum(one.stat().st_size for one in files)


@contextmanager
def said_apart(out: Any) -> Iterator[None]:
    """Where a command writes its result to standard output, what it says besides goes to standard error."""
    is_output = isinstance(out, str) and (out == "-" or descriptor_of(out) == 1)
    with redirect_stdout(sys.stderr) if is_output else nullcontext():
        yield


def is_stream(path: Path) -> bool:
    """Whether what is written there is gone, as into a pipe: it can be written once only."""
    return not path.is_dir() and Place.of(path).is_stream


def opened(target: Path | None) -> AbstractContextManager[IO[str]]:
    """What a command writes text to: a whole file, or standard output where none is named."""
    return whole_file(target) if target else _standard_output()


@contextmanager
def _standard_output() -> Iterator[IO[str]]:
    _check_output()
    yield sys.stdout


def _check_output() -> None:
    """Refuses to write a result where nothing can be."""
    if sys.__stdout__ is None:
        raise OSError(errno.EBADF, "is closed, wanted it open, or a file (--out)", "standard output")


@contextmanager
def standard_streams() -> Iterator[None]:
    """Where standard output or error is closed, as services may start, what is said goes nowhere."""
    with ExitStack() as opened:
        for name, redirect in (("stdout", redirect_stdout), ("stderr", redirect_stderr)):
            if getattr(sys, name) is None:
                null = opened.enter_context(open(os.devnull, "w", encoding="utf-8"))
                opened.enter_context(redirect(null))
        yield


@contextmanager
def binary(target: Path | None) -> Iterator[BinaryIO]:
    """The same for bytes."""
    if target is None:
        _check_output()
        sys.stdout.flush()
        stream: Any = getattr(sys.stdout, "buffer", sys.stdout)
        yield stream
        stream.flush()
        return
    with naming(target), replacing(target) as file:
        yield file
