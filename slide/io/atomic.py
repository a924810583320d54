"""Files that appear whole or not at all: the one way in which this package writes anything under a name it was given.

The bytes go to a new file in the same folder, then to the disk, then the name is moved; the folder is synced last, so
that the new name too outlives a power failure. A process that is killed leaves the old file as it was, and beside it a
hidden ``.name.*.part`` that nothing reads. A symbolic link stays one: the file that it leads to is replaced. The new
file has the permissions of the old one, and its owner where the system allows that.

A name that stands for something else than a file (a named pipe, a device, ``/dev/stdout``) is written through, since
nothing else could be meant; so is a file object in place of a name.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from slide.io.file_objects import Writer, is_file_object

MAX_LINKS = 40
ANY_WRITE = 0o222


@contextmanager
def replacing(target: Any) -> Iterator[BinaryIO]:
    """A binary file that takes the target's name when the body ends without an error, and is removed if not.

    target : path, or a file object opened in binary mode, which is written to where it stands and left open

    Raises
    ------
    OSError
        If the folder is missing, read-only or full, or the file there is read-only or a folder.
    TypeError, ValueError
        For what is no path and no file object to write bytes to.
    """
    if is_file_object(target):
        writer = Writer(target)
        yield writer  # type: ignore[misc]
        writer.flush()
        return
    place = Place.of(target)
    with _named(place), place.written_through() if place.is_stream else _replaced(place) as file:
        yield file


@dataclass(frozen=True)
class Place:
    """Where the bytes for a name go.

    name : as it was given; path : where its links lead; old : what is there; descriptor : the open file it stands for
    """

    name: str
    path: Path
    old: os.stat_result | None
    descriptor: int | None = None

    @classmethod
    def of(cls, target: Any) -> Place:
        """Refuses, without touching anything, what could not be written.

        Raises
        ------
        OSError
            For a folder, a file that is read-only, and a folder that is missing or read-only.
        TypeError
            For what is no path.
        """
        try:
            name = os.fsdecode(target)
        except TypeError:
            found = type(target).__name__
            raise TypeError(f"path: found {found}, wanted a path or a file object opened for writing bytes") from None
        if not name:
            raise FileNotFoundError(errno.ENOENT, "found no name, wanted that of a file", name)
        if "\0" in name:
            raise ValueError(f"path: found {name!r}, wanted a name without the character NUL")
        descriptor = descriptor_of(name)
        if descriptor is not None:
            return cls(name, Path(name), None, descriptor)
        try:
            old = os.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            old = None
        place = cls(name, Path(os.path.realpath(name)), old)
        place._check()
        return place

    def _check(self) -> None:
        folder = self.path.parent
        if self.old is not None and stat.S_ISDIR(self.old.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder, wanted the name of a file", self.name)
        if self.old is not None and not (self.old.st_mode & ANY_WRITE and os.access(self.path, os.W_OK)):
            raise PermissionError(errno.EACCES, "is read-only, and stays as it is", self.name)
        if self.is_stream:
            return
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}", self.name)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, f"cannot write into the folder {folder}", self.name)

    @property
    def is_stream(self) -> bool:
        """Whether it is written through, for good, as the bytes come; a pipe's reader may take them once only."""
        return self.descriptor is not None or (self.old is not None and not stat.S_ISREG(self.old.st_mode))

    @contextmanager
    def written_through(self) -> Iterator[BinaryIO]:
        """The pipe, device or open file itself."""
        if self.descriptor is None:
            handle = os.open(self.path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
        else:
            for printed in (sys.stdout, sys.stderr):  # what was printed before comes before
                with suppress(AttributeError, ValueError):
                    printed.flush()
            handle = os.dup(self.descriptor)
        with open(handle, "wb") as file:
            yield file

    def part(self) -> Path:
        """A new name beside it, for what is not complete."""
        return self.path.with_name(f".{self._short_name()}.{secrets.token_hex(8)}.part")

    def _short_name(self) -> str:
        """Of bytes, not characters, there is room for 255."""
        return os.fsdecode(os.fsencode(self.path.name)[:200])

    def remove_parts(self) -> None:
        """What writes that were killed have left."""
        beginning = f".{self._short_name()}."
        with suppress(OSError):
            for entry in list(os.scandir(self.path.parent)):
                middle = entry.name.removeprefix(beginning).removesuffix(".part")
                if entry.name == f"{beginning}{middle}.part" and len(middle) == 16:
                    os.unlink(entry.path)


@contextmanager
def _named(place: Place) -> Iterator[None]:
    """Errors name what the caller knows: not a temporary file, or none."""
    try:
        yield
    except OSError as e:
        if e.errno is not None and (e.filename is None or str(e.filename).endswith(".part")):
            raise OSError(e.errno, e.strerror, place.name) from e  # of the same class: it follows from the number
        raise


@contextmanager
def _replaced(place: Place) -> Iterator[BinaryIO]:
    temporary = place.part()
    mode = 0o666 if place.old is None else 0o600  # not for others before it is as the old one
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
        with open(handle, "wb") as file:
            yield file
            file.flush()
            if place.old is not None:
                _take_after(file.fileno(), place.old)
            os.fsync(file.fileno())
        os.replace(temporary, place.path)
        _sync_folder(place.path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _take_after(handle: int, old: os.stat_result) -> None:
    """Owner, group and permissions of the file that is replaced; a group that cannot be kept leaves its rights."""
    mode = stat.S_IMODE(old.st_mode)
    new = os.fstat(handle)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(handle, old.st_uid, old.st_gid)
        except OSError:
            try:
                os.fchown(handle, -1, old.st_gid)
            except OSError:
                mode &= ~(stat.S_IRWXG | stat.S_ISUID | stat.S_ISGID)
    with suppress(OSError):  # file systems without permissions
        os.fchmod(handle, mode)


def descriptor_of(name: str) -> int | None:
    """The number of the open file of this process that a name like /dev/stdout leads to, None where it leads elsewhere.

    Opening /dev/stdout would begin at the start of a file that was opened to append, and fail on a socket.
    """
    folders = {os.path.realpath(folder) for folder in ("/dev/fd", "/proc/self/fd")}
    for _ in range(MAX_LINKS):
        folder, last = os.path.realpath(os.path.dirname(name) or os.curdir), os.path.basename(name)
        if folder in folders and last.isdigit():
            return int(last)
        if not os.path.islink(name):
            return None
        name = os.path.join(folder, os.readlink(name))
    return None


def _sync_folder(folder: Path) -> None:
    """Best effort: the file is whole without it, and not every file system syncs folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
