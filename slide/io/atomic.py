"""Files that appear whole or not at all: the one way in which this package writes anything under a name it was given.

The bytes go to a new file in the same folder, then to the disk, then the name is moved; the folder is synced last, so
that the new name too outlives a power failure. A process that is killed leaves the old file as it was, and beside it a
hidden ``.name.*.part`` that nothing reads. A symbolic link under the name is replaced, never followed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the target's name when the body ends without an error, and is removed if not.

    Raises
    ------
    OSError
        If the folder is missing, read-only or full.
    """
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException as e:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(e, OSError) and e.filename in (None, str(temporary)):
            e.filename = str(target)  # the name that the caller knows
        raise


def _sync_folder(folder: Path) -> None:
    """Best effort: the file is whole without it, and not every file system syncs folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
