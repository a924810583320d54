"""How many threads to use: what this process may use, not what the machine has."""

from __future__ import annotations

import operator
import os
from pathlib import Path

from slide.lsh import require

MAX_THREADS = 1024


def _cgroup_limit(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs' worth of time the control group allows (version 2, then 1), None if it does not say."""
    try:
        quota, period = (root / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return limit if limit > 0 else None


def available_threads() -> int:
    """Threads to use by default: SLIDE_NUM_THREADS, else cores by affinity and control group, whichever is less."""
    wanted = os.environ.get("SLIDE_NUM_THREADS")
    if wanted:
        return resolve_threads(wanted, "SLIDE_NUM_THREADS")
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    limit = _cgroup_limit()
    return max(1, min(cores, round(limit)) if limit else cores)


def resolve_threads(n_threads: int | str | None, argument: str = "n_threads") -> int:
    """n_threads itself, checked, or the default for None."""
    if n_threads is None:
        return available_threads()
    try:
        n = int(n_threads) if isinstance(n_threads, str) else operator.index(n_threads)
    except (TypeError, ValueError):
        n = 0
    require(1 <= n <= MAX_THREADS, argument, n_threads, f"None or a whole number, 1 to {MAX_THREADS}")
    return n
