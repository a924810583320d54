"""What this machine can do at best: sequential reads, random 512-byte rows, fused multiply-adds.

Measured in the same run as the code that is held against them; a limit from another day is no limit. The kernels are
Numba's, compiled for this machine. Roofline plots and shares of the limit are made from this by `suite.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import commands, environment, tables

ROW = 128  # float32 in a random row: 512 bytes, a row of a layer 128 wide


def best_of(work: Callable[[], Any], repeats: int) -> float:
    """Shortest seconds of `repeats` calls, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def kernels() -> tuple[Any, Any, Any]:
    """Compiled kernels: sum of an array, sum over chosen rows, multiply-adds in registers."""
    import numba as nb

    @nb.njit(parallel=True, fastmath=True, cache=False)
    def read(data: np.ndarray, parts: int) -> np.ndarray:
        sums = np.zeros(parts, dtype=np.float32)
        step = len(data) // parts
        for part in nb.prange(parts):
            mine = data[part * step : (part + 1) * step]  # a slice: indices from 0 vectorise
            s = np.float32(0)
            for i in range(len(mine)):
                s += mine[i]
            sums[part] = s
        return sums

    @nb.njit(parallel=True, fastmath=True, cache=False)
    def rows(table: np.ndarray, order: np.ndarray, parts: int) -> np.ndarray:
        sums = np.zeros(parts, dtype=np.float32)
        step = len(order) // parts
        for part in nb.prange(parts):
            s = np.float32(0)
            mine = order[part * step : (part + 1) * step]
            for i in range(len(mine)):
                row = table[mine[i]]
                for j in range(ROW):
                    s += row[j]
            sums[part] = s
        return sums

    @nb.njit(parallel=True, fastmath=True, cache=False)
    def fma(x: np.ndarray, c: np.ndarray, turns: int, parts: int) -> np.ndarray:
        sums = np.zeros(parts, dtype=np.float32)
        for part in nb.prange(parts):
            a = b = d = e = f = g = h = k = np.float32(part)
            c0, c1, c2, c3, c4, c5, c6, c7 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
            for _ in range(turns):
                for i in range(len(x)):
                    v = x[i]
                    a += v * c0
                    b += v * c1
                    d += v * c2
                    e += v * c3
                    f += v * c4
                    g += v * c5
                    h += v * c6
                    k += v * c7
            sums[part] = a + b + d + e + f + g + h + k
        return sums

    return read, rows, fma


def measure(threads: int, gigabytes: float = 1.0, repeats: int = 3) -> dict[str, float]:
    """The three limits with `threads` threads.

    Returns sequential_gb_per_s, random_rows_per_s, random_gb_per_s, gflops and gflops_per_core. `gigabytes` is
    the size of the table read; it must be far above the caches.
    """
    import numba as nb

    nb.set_num_threads(min(threads, nb.config.NUMBA_NUM_THREADS))
    read, rows, fma = kernels()
    table = np.ones((int(gigabytes * 1e9) // (4 * ROW), ROW), dtype=np.float32)
    seconds = best_of(lambda: read(table.reshape(-1), threads * 8), repeats)
    found = {"sequential_gb_per_s": table.nbytes / seconds / 1e9}
    order = np.random.default_rng(0).integers(0, len(table), 4_000_000).astype(np.int32)
    seconds = best_of(lambda: rows(table, order, threads * 8), repeats)
    found["random_rows_per_s"] = len(order) / seconds
    found["random_gb_per_s"] = len(order) * ROW * 4 / seconds / 1e9
    x, c, turns = np.ones(1024, dtype=np.float32), np.full(8, 1e-6, dtype=np.float32), 100_000
    seconds = best_of(lambda: fma(x, c, turns, threads), repeats)
    found["gflops"] = 2 * 8 * len(x) * turns * threads / seconds / 1e9
    found["gflops_per_core"] = found["gflops"] / threads
    return found


def render(found: dict[str, float]) -> str:
    rows = [
        ["sequential read", f"{found['sequential_gb_per_s']:.1f} GB/s"],
        ["random 512-byte rows", f"{tables.count(found['random_rows_per_s'])} rows/s"],
        ["", f"{found['random_gb_per_s']:.1f} GB/s"],
        ["multiply-adds, all threads", f"{found['gflops']:.0f} GFLOP/s"],
        ["multiply-adds, a core", f"{found['gflops_per_core']:.0f} GFLOP/s"],
    ]
    return tables.text(("limit", "measured"), rows)


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m benchmarks.micro.limits", description=__doc__)
    p.add_argument("--gigabytes", type=float, default=1.0, help="size of the table that is read")
    p.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    commands.add_run_options(p, "limits")
    args = p.parse_args(argv)
    env = environment.describe(args.threads)
    found = measure(args.threads, args.gigabytes)
    path = environment.save("limits", {"limits": found}, env, args.out)
    print(json.dumps(found) if args.json else render(found))
    print(f"written to {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
