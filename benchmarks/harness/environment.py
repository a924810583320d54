"""What a result must carry to mean anything: machine, instruction sets, versions, threads, commit, command.

Leaves the measuring to the other modules. `save` is the one way a result reaches disk; `report/` reads what it wrote.
Absolute paths in the command line are cut to their last part, so that results can be published.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
SCHEMA = 1
PACKAGES = ("slide-xmc", "numpy", "scipy", "numba", "Cython", "pytest-benchmark", "torch")
ISA_FLAGS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni")
ISA_FLAGS += ("avx512_bf16", "asimd", "sve")


def default_threads() -> int:
    """Cores this process may use (a container's share, not the machine's)."""
    count = getattr(os, "process_cpu_count", None)
    if count is not None:
        return int(count() or 1)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_line(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    hits = (line.split(":", 1)[1].strip() for line in lines if line.startswith(key) and ":" in line)
    return next(hits, None)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def machine() -> dict[str, Any]:
    """CPU, instruction sets, caches, memory and the state of huge pages."""
    flags = (_first_line("/proc/cpuinfo", "flags") or _first_line("/proc/cpuinfo", "Features") or "").split()
    total_kb = (_first_line("/proc/meminfo", "MemTotal") or "0 kB").split()[0]
    cache = "/sys/devices/system/cpu/cpu0/cache/index{}/size"
    return {
        "cpu": _first_line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "usable_cores": default_threads(),
        "memory_gb": round(int(total_kb) / 2**20, 1),
        "caches": {f"L{i if i else 1}{'d' if not i else ''}": _read(cache.format(i)) for i in (0, 2, 3)},
        "transparent_huge_pages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "system": f"{platform.system()} {platform.release()}",
        "load_average_at_start": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Python and those of our packages that are installed here."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Short commit of the checkout, with `+changes` when tracked files differ from it; None outside git."""

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        dirty = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
        return git("rev-parse", "--short=12", "HEAD") + dirty
    except (OSError, subprocess.SubprocessError):
        return None


def slide_config() -> dict[str, Any] | None:
    """What `slide.show_config()` returns of the build in use: instruction set, OpenMP, huge pages, compiler."""
    try:
        import slide
    except ImportError:
        return None  # a peer's environment, which has none
    return slide.show_config(print=False)


def command_line(argv: Sequence[str] | None = None) -> str:
    """The command that made a result, as a user would type it; absolute paths keep only their last part."""
    args = list(argv if argv is not None else sys.argv)
    script = Path(args[0])
    if script.is_absolute() and ROOT in script.parents:
        parts = script.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__main__")
        args = ["python", "-m", module, *args[1:]]
    return shlex.join(_shorten(arg) for arg in args)


def _shorten(arg: str) -> str:
    head, sep, tail = arg.partition("=")
    if sep:
        return head + sep + _shorten(tail)
    return os.path.join("...", Path(arg).name) if os.path.isabs(arg) else arg


def describe(threads: int, seeds: Sequence[int] = (0,), **more: Any) -> dict[str, Any]:
    """Everything about this run that is not a measurement."""
    return {
        "time_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": versions(),
        "slide": slide_config(),
        "threads": threads,
        "seeds": list(seeds),
        "commit": commit(),
        "command": command_line(),
        **more,
    }


def save(kind: str, body: dict[str, Any], env: dict[str, Any], out: str | Path | None = None) -> Path:
    """Write one result file, by default `results/<kind>-<time>.json`, and return its path."""
    stamp = env["time_utc"].replace(":", "").replace("-", "")
    path = Path(out) if out else RESULTS / f"{kind}-{stamp}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"kind": kind, "schema": SCHEMA, "environment": env, **body}
    partial = path.with_suffix(path.suffix + ".part")
    partial.write_text(json.dumps(document, indent=1, default=_plain) + "\n")
    partial.replace(path)
    return path


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as plain Python; anything else is an error worth seeing."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return value.name
    raise TypeError(f"cannot write {type(value).__name__} to a result file")


def load(path: str | Path) -> dict[str, Any]:
    """Read a result file back; a file that is not one is named in the error."""
    document = json.loads(Path(path).read_text())
    if not isinstance(document, dict) or "kind" not in document or "environment" not in document:
        raise ValueError(f"{path}: not a result of these benchmarks (no 'kind' and 'environment')")
    if document.get("schema") != SCHEMA:
        raise ValueError(f"{path}: schema {document.get('schema')!r}, this version reads {SCHEMA}")
    return document


def summary(env: dict[str, Any]) -> str:
    """One line for the head of a table."""
    m, v = env["machine"], env["versions"]
    parts = [m["cpu"], f"{env['threads']} threads", f"{m['memory_gb']} GB", f"Python {v['python']}"]
    parts += [f"commit {env['commit']}"] if env.get("commit") else []
    load = (m.get("load_average_at_start") or [0.0])[0]
    if load > m["usable_cores"] / 2:
        parts.append(f"BUSY: load {load:g} at the start, times mean little")
    return ", ".join(parts)
