"""How many threads to use: what this process may use, not what the machine has."""

from __future__ import annotations

import operator
import os
import warnings
from pathlib import Path

from slide.checks import require

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
    """Threads to use by default: SLIDE_NUM_THREADS, else the least of OMP_NUM_THREADS, cores by affinity, and the limit
    of the control group.
    """
    wanted = os.environ.get("SLIDE_NUM_THREADS")
    if wanted:
        return resolve_threads(wanted, "SLIDE_NUM_THREADS")
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    limits = [limit for limit in (_cgroup_limit(), _openmp_limit()) if limit]
    return max(1, min([cores, *map(round, limits)]))


def _openmp_limit() -> int | None:
    """What OMP_NUM_THREADS says of the outermost level ("4" or "4,2"), None if it says nothing that OpenMP reads.

    Pools of workers set it, joblib's for instance, so that all of them together take no more cores than there are.
    """
    try:
        wanted = int(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
    except ValueError:
        return None
    return wanted if wanted > 0 else None


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


class _Pool:
    """Whether OpenMP's threads were started in this process, or were left behind in the one it was forked from."""

    started = False
    left_behind = False


def _in_child() -> None:
    _Pool.left_behind = _Pool.left_behind or _Pool.started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def usable_threads(n_threads: int) -> int:
    """n_threads, or 1 with a warning in a forked child of a process that had used several.

    GCC's OpenMP keeps its threads for the next region; fork copies the memory that says so and not the threads, and the
    next region with more than one would wait for them for ever.
    """
    if n_threads == 1:
        return 1
    if _Pool.left_behind:
        warnings.warn(
            f"this process was forked after its parent had used several threads: 1 thread instead of {n_threads} "
            "(start workers with multiprocessing's 'spawn' or 'forkserver' to have them all)",
            RuntimeWarning,
            stacklevel=2,
        )
        return 1
    _Pool.started = True
    return n_threads
