"""What tests of processes wait for."""

from __future__ import annotations

import time
from pathlib import Path


def wait_for(folder: Path, what: str, number: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(folder.glob(f"{what}-*"))) < number:
        assert time.monotonic() < deadline, list(folder.iterdir())
        time.sleep(0.05)


def wait_until_gone(process: int) -> None:
    deadline = time.monotonic() + 120
    while Path(f"/proc/{process}/cmdline").exists() and b"python" in Path(f"/proc/{process}/cmdline").read_bytes():
        assert time.monotonic() < deadline, f"process {process} is still there"
        time.sleep(0.05)
