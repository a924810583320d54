"""What an adapter sees of the harness: its job, a stop watch, and where to leave the report.

Runs inside a peer's own environment, so it imports NumPy and SciPy only, and only where needed. The parent
(`run.py`) writes the job, measures the whole process, and computes every metric itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.memory import peak_rss_bytes

TOP = 5


@dataclass(frozen=True)
class Peer:
    """A row of the table: what to install and which adapter to start with which options."""

    name: str
    title: str
    module: str
    requirements: tuple[str, ...] = ()
    without_dependencies: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    ours: bool = False


class Refused(RuntimeError):
    """This competitor cannot take this data set; the message is the reason shown in its row."""


class Job:
    """The work of one competitor: files, threads, seed, options; `stage` times a part of it."""

    def __init__(self, path: Path) -> None:
        self._job = json.loads(path.read_text())
        self.folder = Path(self._job["folder"])
        self.work = Path(self._job["work"])
        self.threads: int = self._job["threads"]
        self.seed: int = self._job["seed"]
        self.options: dict[str, Any] = self._job["options"]
        self.report: dict[str, Any] = {"stages": {}}

    @property
    def train_text(self) -> Path:
        return self.folder / "train.txt"

    @property
    def test_text(self) -> Path:
        return self.folder / "test.txt"

    def matrix(self, name: str) -> Any:
        """One of X_train, Y_train, X_test, Y_test as CSR."""
        import scipy.sparse as sp

        return sp.load_npz(self.folder / f"{name}.npz").tocsr()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one part; printed at once, so the person who waits sees where it is."""
        print(f"@stage {name}", flush=True)
        wall, cpu = time.perf_counter(), _cpu_seconds()
        yield
        self.report["stages"][name] = {
            "wall_seconds": time.perf_counter() - wall,
            "cpu_seconds": _cpu_seconds() - cpu,
            "peak_rss_bytes": peak_rss_bytes(),
        }

    def finish(self, ids: Any, model: Path | int, version: str) -> None:
        """Hand over the top ids [n, up to 5] (-1 where a row is short), the model's size on disk, the version."""
        import numpy as np

        ids = np.asarray(ids, dtype=np.int32)
        if ids.ndim != 2 or ids.shape[1] > TOP:
            raise ValueError(f"top ids have shape {ids.shape}, wanted (rows, {TOP}) or fewer columns")
        short = TOP - ids.shape[1]  # a data set with fewer labels than that
        np.save(self.work / "ids.npy", np.pad(ids, ((0, 0), (0, short)), constant_values=-1))
        size = model if isinstance(model, int) else bytes_on_disk(model)
        self.report.update(model_bytes=size, version=version)
        (self.work / "report.json").write_text(json.dumps(self.report))


def pad(rows: list[list[int]]) -> Any:
    """Ragged lists of ids as an int32 array [n, 5], -1 where a row is short."""
    import numpy as np

    out = np.full((len(rows), TOP), -1, dtype=np.int32)
    for row, ids in enumerate(rows):
        out[row, : len(ids[:TOP])] = ids[:TOP]
    return out


def bytes_on_disk(path: Path) -> int:
    """Size of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(run: Callable[[Job], None]) -> None:
    """Start an adapter: `python -m benchmarks.peers.NAME JOB.json`. A refusal is reported, not a crash."""
    job = Job(Path(sys.argv[1]))
    try:
        run(job)
    except Refused as reason:
        (job.work / "report.json").write_text(json.dumps({"refused": str(reason)}))
