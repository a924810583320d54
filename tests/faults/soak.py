"""Trains for an hour: with rebuilds, scores and checkpoints all the while, does anything grow or slow down?

    python tests/faults/soak.py [--minutes 60] [--out soak.json]

Every half minute it writes down resident memory, open files, threads and samples a second of processor time, which
other programs disturb little. It fails if the last quarter of the time has more memory (3 %), more files or threads, or
a lower rate (the median less than 0.8 of the first quarter's) than the first quarter.
tests/contracts/test_faults.py runs it for some seconds; docs/reliability.md holds what an hour said.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import slide

PAGE = os.sysconf("SC_PAGE_SIZE")
MEMORY_MAY_GROW, RATE_MAY_FALL = 1.03, 0.8


class Watch(slide.Callback):
    """Measures the process now and then, and ends the fit when its time is over."""

    def __init__(self, seconds: float, every: float) -> None:
        self.seconds, self.every = seconds, every
        self.lines: list[dict[str, float]] = []
        self.checkpoints = 0
        self._begin = self._last = time.monotonic()
        self._spent, self._done = time.process_time(), 0

    def on_checkpoint(self, progress: Any, network: Any) -> None:
        self.checkpoints += 1

    def on_chunk(self, progress: Any, network: Any) -> None:
        now = time.monotonic()
        progress.stop = now - self._begin >= self.seconds
        if now - self._last < self.every:
            return
        spent = time.process_time()
        rate = (progress.done - self._done) / max(spent - self._spent, 1e-9)
        self.lines.append({"minutes": (now - self._begin) / 60, "samples_per_second": rate, **of_process()})
        self._last, self._spent, self._done = now, spent, progress.done
        print(json.dumps(self.lines[-1]), flush=True)


def of_process() -> dict[str, float]:
    """Resident megabytes, open files, threads."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6
    return {
        "megabytes": resident,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }


def soak(seconds: float, every: float, n: int = 300_000) -> dict[str, Any]:
    """One fit of so many seconds on so many rows."""
    X, Y = slide.datasets.synthetic(n, 20_000, 10_000, nnz=12, labels_per_row=2)
    watch = Watch(seconds, every)
    clf = slide.SlideClassifier((64,), epochs=10**6, schedule=slide.Constant(), lr=0.01)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = slide.Checkpoint(f"{folder}/c", minutes=every / 120)
        logs = [slide.CSVLogger(f"{folder}/log.csv"), watch]
        clf.fit(X, Y, eval_set=0.01, callback=logs, checkpoint=checkpoint)
        left = sorted(os.listdir(folder))
    return {
        "seconds": seconds,
        "epochs": clf.network_.epoch,
        "samples": clf.network_.step,
        "rebuilds": clf.network_.n_rebuilds,
        "checkpoints": watch.checkpoints,
        "files_left": left,
        "p@1": clf.history_[-1].get("p@1"),
        "lines": watch.lines,
    }


def verdict(lines: list[dict[str, float]]) -> list[str]:
    """What grew or fell: empty for nothing."""
    n = len(lines) // 4
    if n < 1:
        return ["found fewer than 4 measurements, wanted more: take longer"]
    first, last = lines[:n], lines[-n:]

    def median(part: list[dict[str, float]], name: str) -> float:
        return float(np.median([line[name] for line in part]))

    wrong = []
    for name, limit in (("megabytes", MEMORY_MAY_GROW), ("files", 1.0), ("threads", 1.0)):
        if median(last, name) > limit * median(first, name):
            wrong.append(
                f"{name}: {median(first, name):.1f} in the first quarter, {median(last, name):.1f} in the last"
            )
    before, after = median(first, "samples_per_second"), median(last, "samples_per_second")
    if after < RATE_MAY_FALL * before:
        wrong.append(f"samples a second: {before:,.0f} in the first quarter, {after:,.0f} in the last")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = soak(60 * args.minutes, every=min(30.0, 60 * args.minutes / 12))
    found["wrong"] = verdict(found["lines"])
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")
    print({name: value for name, value in found.items() if name != "lines"})
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
