"""The leaves of the C engine behind ctypes, for timing: built from csrc/ with a small driver when first asked for.

Uses the flags of setup.py and the compiler in CC. What is timed, and what a kernel is held against, is said in
`bench_kernels.py`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.environment import ROOT

FLAGS = ("-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
NAMES = ("dot", "axpy", "sgd", "adagrad", "adam", "exp_sum", "project", "tile")
BLOCK, TILE_ROWS, TILE_QUERIES = 64, 8, 32


class BuildError(RuntimeError):
    """The compiler refused; its words are in the message."""


@functools.cache
def library() -> ctypes.CDLL:
    """Compile and load. The file goes with the process; the code stays mapped."""
    sources = [Path(__file__).with_name("kernel_driver.c"), *sorted((ROOT / "csrc" / "kernels").glob("*.c"))]
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "kernels.so"
        command = [*compiler, *FLAGS, f"-I{ROOT / 'csrc'}", *map(str, sources), "-lm", "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"kernel_driver.c did not build: {done.stderr[-2000:]}")
        lib = ctypes.CDLL(str(target))
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    lib.drive.restype = ctypes.c_float
    lib.drive.argtypes = [ctypes.c_char_p, ctypes.c_int, pointer, integer, pointer, integer]
    lib.drive.argtypes += [pointer, pointer, integer]
    lib.slide_isa_available.restype = ctypes.POINTER(ctypes.c_char_p)
    return lib


def isa_available() -> list[str]:
    """Instruction sets built in and usable here, best first."""
    names, found = library().slide_isa_available(), []
    while names[len(found)]:
        found.append(names[len(found)].decode())
    return found


def aligned(shape: tuple[int, ...], fill: float) -> np.ndarray:
    """float32 on a 64-byte boundary, as the kernels ask; large ones are NumPy's, with huge pages advised."""
    size = int(np.prod(shape))
    raw = np.empty(size + 16, dtype=np.float32)
    start = (-raw.ctypes.data % 64) // 4
    array = raw[start : start + size].reshape(shape)
    array[...] = fill
    return array


@dataclass
class Case:
    """One kernel over one working set; `run` visits every row of the order once."""

    name: str
    isa: str
    width: int = 128
    rows: int = 8
    visits: int = 20_000

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"kernel is {self.name!r}, wanted one of {NAMES}")
        states = {"adagrad": 1, "adam": 2}.get(self.name, 0)
        self.stride = BLOCK if self.name == "project" else self.width * (1 + states) + 16
        rows = max(self.rows, self.width if self.name == "project" else TILE_ROWS)
        self.table = aligned((rows, self.stride), 1e-3)
        self.x = aligned((self.width * TILE_QUERIES,), 1e-3)
        self.dx = aligned((max(self.width, TILE_ROWS * TILE_QUERIES, BLOCK),), 0.0)
        order = np.arange(self.visits) % rows
        if self.rows > 64:
            order = np.random.default_rng(0).integers(0, rows, self.visits)
        self.order = order.astype(np.int32)

    def run(self) -> float:
        return float(
            library().drive(
                self.isa.encode(),
                NAMES.index(self.name),
                self.table.ctypes.data,
                self.stride,
                self.order.ctypes.data,
                self.visits,
                self.x.ctypes.data,
                self.dx.ctypes.data,
                self.width,
            )
        )

    @property
    def flops(self) -> float:
        """Additions and multiplications of one run, the optimizer's counted by their formulas."""
        per = {"dot": 2, "axpy": 2, "sgd": 4, "adagrad": 9, "adam": 13, "exp_sum": 14}
        per |= {"project": 2 * BLOCK, "tile": 2 * TILE_ROWS * TILE_QUERIES}
        return per[self.name] * self.width * self.visits

    @property
    def bytes(self) -> float:
        """Bytes of table rows read, and written where the kernel writes them; 0 where they stay in the cache."""
        if self.rows <= 64:
            return 0.0
        moved = {"dot": 1, "axpy": 1, "sgd": 2, "adagrad": 4, "adam": 6}
        return moved.get(self.name, 0) * 4.0 * self.width * self.visits
