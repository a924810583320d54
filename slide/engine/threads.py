"""How many threads to use: what this process may use, not what the machine has."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from slide.checks import require

MAX_THREADS = 1024


def processor_limit(n_threads: int) -> float | None:
    """CPUs' worth of time that the control groups allow as of now, None where that is enough for so many threads."""
    limit = _cgroup_limit()
    return limit if limit is not None and limit < n_threads else None


def _cgroup_limit(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """CPUs' worth of time the control groups of this process allow (version 2, then 1), None if they do not say."""
    return min((limit for group in _cgroups(root, membership) if (limit := _limit_of(group))), default=None)


def _cgroups(root: Path, membership: Path) -> Iterator[Path]:
    """Folders of the groups that this process is in, as far as they can be seen here: in a container often the root."""
    yield from (root, root / "cpu")
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if not controllers or "cpu" in controllers.split(","):
            top = root / "cpu" if controllers else root
            own = PurePosixPath(path.lstrip("/"))
            yield from (top / group for group in (own, *own.parents) if group.name)


def _limit_of(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
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
