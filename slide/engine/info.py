"""What this installation runs on: instruction set, OpenMP, threads and why, huge pages, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from slide._version import __version__
from slide.engine import binding, memory, threads

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PACKAGES = ("numpy", "scipy", "numba", "tqdm")


def show_config(*, print: bool = True) -> dict[str, Any]:
    """Prints what `config` finds, one fact a line, and returns it.

    Examples
    --------
    >>> from slide._version import __version__
    >>> facts = slide.show_config(print=False)
    >>> facts["versions"]["slide"] == slide.__version__
    True
    """
    facts = config()
    if print:
        sys.stdout.write("".join(f"{name:<12}{text}\n" for name, text in _sentences(facts)))
    return facts


def config() -> dict[str, Any]:
    """Facts by name, all of them JSON values; None where this system does not say.

    Names: ``backend``, ``isa``, ``isa_available`` (best first), ``isa_forced`` (SLIDE_ISA), ``openmp``, ``threads``,
    ``threads_why``, ``huge_pages``, ``memory_available`` (bytes), ``processor``, ``system``, ``compiler``,
    ``versions``.
    """
    core = binding.c_core()
    available = core.isa_available() if core is not None else []
    forced = os.environ.get("SLIDE_ISA") or None
    n_threads, why = default_threads()
    return {
        "backend": "c" if core is not None else "numba",
        "isa": forced if forced in available else None if forced or not available else available[0],
        "isa_available": available,
        "isa_forced": forced,
        "openmp": core.openmp_threads() > 0 if core is not None else None,
        "threads": n_threads,
        "threads_why": why,
        "huge_pages": huge_pages(),
        "memory_available": memory.available_memory(),
        "processor": _processor(),
        "system": platform.platform(),
        "compiler": _compiler(core),
        "versions": {"slide": __version__, "python": platform.python_version(), **_versions()},
    }


def default_threads() -> tuple[int | None, str]:
    """How many threads n_threads=None means here, and why; None where SLIDE_NUM_THREADS makes no sense."""
    wanted = os.environ.get("SLIDE_NUM_THREADS")
    try:
        n = threads.available_threads()
    except ValueError as e:
        return None, str(e)
    if wanted:
        return n, f"SLIDE_NUM_THREADS={wanted}"
    cores, limit = os.cpu_count() or 1, threads._cgroup_limit()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    why = f"{cores} cores in the machine"
    if usable < cores:
        why = f"{usable} of {cores} cores by affinity"
    openmp = threads._openmp_limit()
    if openmp is not None and n == openmp < usable:
        return n, f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}"
    if limit is not None and n < usable:
        why = f"the control group allows {limit:g} of {usable} cores"
    return n, why


def huge_pages(path: Path | None = None) -> str | None:
    """The kernel's setting for transparent huge pages: always, madvise or never; None where there is none."""
    try:
        found = re.search(r"\[(\w+)\]", (path or HUGE_PAGES).read_text())
    except OSError:
        return None
    return found[1] if found else None


def _sentences(facts: dict[str, Any]) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version or 'not installed'}" for name, version in facts["versions"].items())
    n = facts["threads"]
    told = [
        ("versions", versions),
        ("back end", _backend_sentence(facts)),
        ("threads", f"{n} ({facts['threads_why']})" if n else facts["threads_why"]),
        ("huge pages", _huge_page_sentence(facts["huge_pages"])),
        ("processor", facts["processor"]),
        ("memory", f"{facts['memory_available'] / 1e9:.1f} GB available" if facts["memory_available"] else None),
        ("system", facts["system"]),
        ("compiler", facts["compiler"]),
    ]
    return [(name, text) for name, text in told if text]


def _backend_sentence(facts: dict[str, Any]) -> str:
    if facts["backend"] != "c":
        return "numba (the C extension was not built; training is several times slower)"
    names = ", ".join(facts["isa_available"])
    isa = facts["isa"] or f"none: SLIDE_ISA={facts['isa_forced']} is not usable here"
    how = "forced by SLIDE_ISA, " if facts["isa_forced"] and facts["isa"] else ""
    openmp = "OpenMP" if facts["openmp"] else "built without OpenMP: one thread"
    return f"c, {isa} ({how}usable here: {names}), {openmp}"


def _huge_page_sentence(setting: str | None) -> str | None:
    told = {
        "always": "always: used",
        "madvise": "madvise: used, slide asks for them",
        "never": "never: not used, and training on large models is slower for it",
    }
    return told.get(setting, setting) if setting else None


def _versions() -> dict[str, str | None]:
    """Of the packages slide works with, without importing them."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _processor() -> str | None:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine() or None


def _compiler(core: ModuleType | None) -> str | None:
    """The compiler that built the extension, from the note that GCC and Clang leave in what they compile."""
    if core is None or not core.__file__:
        return None
    notes = re.findall(rb"(?:GCC: \([^()\0]*\)|[\w ]*clang version) [\w.+~-]+", Path(core.__file__).read_bytes())
    clang = [note for note in notes if b"clang" in note]  # the start-up code linked beside it may come from GCC
    return (clang or notes)[0].decode(errors="replace").replace("GCC: ", "GCC ").strip() if notes else None
