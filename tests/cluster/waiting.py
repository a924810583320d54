"""What tests of processes wait for, and how they end them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import slide


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


class Killer(slide.Callback):
    """Kills or stops one of the workers' processes after some samples."""

    def __init__(self, worker: int, after: int, how: signal.Signals = signal.SIGKILL) -> None:
        self._worker, self._after, self._how, self.done = worker, after, how, False

    def on_chunk(self, progress: Any, network: Any) -> None:
        if progress.done >= self._after and not self.done:
            self.done = True
            children = sorted(multiprocessing.active_children(), key=lambda child: child.name)
            os.kill(children[self._worker].pid or 0, self._how)
