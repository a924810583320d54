"""Packs a source distribution again so that equal contents give equal bytes: names in order, one time, one owner.

The time is SOURCE_DATE_EPOCH, or 1980 (the first that archives of every kind can say).
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path

YEAR_1980 = 315_532_800


def repack(path: Path) -> None:
    when = int(os.environ.get("SOURCE_DATE_EPOCH", YEAR_1980))
    plain = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda m: m.name):
            clean = tarfile.TarInfo(member.name)
            clean.type, clean.size, clean.mtime = member.type, member.size, when
            clean.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(clean, old.extractfile(member))
    with open(path, "wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=when) as stream:
        stream.write(plain.getvalue())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        repack(Path(name))
