"""Breaks one operator at a time in tables, active sets and metrics, and asks whether the tests notice. `make mutate`.

    python tests/mutate.py [--most 60] [--seed 1] [FILE...]

Works on a copy of the package in build/mutate, with csrc/ compiled into it anew for each mutant. A mutant that all of
its file's tests pass has survived: either the change means the same, or a test is missing. docs/reliability.md explains
the survivors of the last run.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "mutate"
TESTS = {
    "csrc/lsh/active.c": ["test_active_sets.py", "test_tables.py", "test_backends_agree.py"],
    "csrc/lsh/counter.h": ["test_active_sets.py", "test_tables.py", "test_backends_agree.py"],
    "csrc/lsh/tables.h": ["test_tables.py", "test_backends_agree.py"],
    "csrc/lsh/rebuild.c": ["test_tables.py", "test_backends_agree.py"],
    "slide/metrics/matched.py": ["test_metrics.py"],
}
#: What a token becomes; the first group of each pattern is replaced.
SWAPS = {
    r" (<=) ": "<",
    r" (>=) ": ">",
    r" (<) ": "<=",
    r" (>) ": ">=",
    r" (==) ": "!=",
    r" (!=) ": "==",
    r" (\+) ": "-",
    r" (-) ": "+",
    r" (\*) ": "+",
    r" (&&) ": "||",
    r" (\+=) ": "-=",
    r"[^\w.](1)[^\w.]": "2",
    r"[^\w.](0)[^\w.]": "1",
    r"(\+\+)\w": "--",
}
FLAGS = ["-O1", "-std=gnu11", "-fPIC", "-fopenmp", "-w", "-fno-math-errno", "-fno-trapping-math"]


class Mutant(NamedTuple):
    file: str
    line: int
    text: str
    source: str


def mutants(file: str) -> Iterator[Mutant]:
    """Every change of one operator or constant outside comments, docstrings and preprocessor lines."""
    source = (ROOT / file).read_text()
    hidden = [
        m.span() for m in re.finditer(r'/\*.*?\*/|""".*?"""|^#.*?$|f?"[^"\n]*"', source, re.DOTALL | re.MULTILINE)
    ]
    for pattern, new in SWAPS.items():
        for found in re.finditer(pattern, source):
            begin, end = found.span(1)
            if any(a <= begin < b for a, b in hidden):
                continue
            changed = source[:begin] + new + source[end:]
            line = source.count("\n", 0, begin)
            yield Mutant(file, line + 1, changed.splitlines()[line].strip(), changed)


def prepare() -> None:
    """A copy of the package and the tests, and everything compiled once."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    for name in ("slide", "csrc", "tests"):
        shutil.copytree(ROOT / name, PLACE / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(ROOT / "pyproject.toml", PLACE)
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", "slide/engine/_c.pyx", "-o", "engine.c"], cwd=PLACE, check=True
    )
    for source in [*sorted((PLACE / "csrc").rglob("*.c")), PLACE / "engine.c"]:
        compile_one(source)
    link()


def compile_one(source: Path) -> bool:
    include = [f"-I{PLACE / 'csrc'}", f"-I{sysconfig.get_path('include')}"]
    command = [os.environ.get("CC", "gcc"), *FLAGS, *include, "-c", str(source), "-o", str(PLACE / f"{source.stem}.o")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def link() -> None:
    target = PLACE / "slide" / f"_engine{sysconfig.get_config_var('EXT_SUFFIX')}"
    target.unlink(missing_ok=True)
    objects = [str(p) for p in sorted(PLACE.glob("*.o"))]
    subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fopenmp", *objects, "-lm", "-o", str(target)], check=True)


def build(file: str) -> bool:
    """Compiles what depends on the file; False if the mutant is no program."""
    if file.endswith(".py"):
        return True
    if not all(map(compile_one, [PLACE / name for name in users(file) if name.endswith(".c")])):
        return False
    link()
    return True


def users(file: str) -> set[str]:
    """The file and all of csrc/ that includes it, by way of others too."""
    texts = {str(p.relative_to(PLACE)): p.read_text() for p in (PLACE / "csrc").rglob("*.[ch]")}
    found: set[str] = set()
    fresh = {file}
    while fresh:
        found |= fresh
        wanted = [f'#include "{name.removeprefix("csrc/")}"' for name in fresh]
        fresh = {name for name, text in texts.items() if any(line in text for line in wanted)} - found
    return found


def survives(file: str) -> bool:
    tests = [str(next(Path("tests").rglob(name))) for name in TESTS[file]]
    environment = {**os.environ, "PYTHONPATH": str(PLACE), "CI": "1", "NUMBA_CACHE_DIR": str(ROOT / "build" / "numba")}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=PLACE, env=environment, capture_output=True, timeout=900, check=False)
    except subprocess.TimeoutExpired:  # a loop that does not end is noticed
        return False
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", default=list(TESTS), help=", ".join(TESTS))
    parser.add_argument("--most", type=int, default=60, metavar="N", help="mutants tried, drawn by the seed (60)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    prepare()
    for file in args.files:
        if not survives(file):
            print(f"the tests of {file} fail without any mutant", file=sys.stderr)
            return 1
    found = [m for file in args.files for m in mutants(file)]
    chosen = random.Random(args.seed).sample(found, min(args.most, len(found)))
    tried, survivors = 0, []
    for mutant in sorted(chosen):
        (PLACE / mutant.file).write_text(mutant.source)
        if build(mutant.file):
            tried += 1
            if survives(mutant.file):
                survivors.append(mutant)
                print(f"survived: {mutant.file}:{mutant.line}: {mutant.text}", flush=True)
        shutil.copy(ROOT / mutant.file, PLACE / mutant.file)
        build(mutant.file)
    print(f"{tried} mutants of {len(found)}, {tried - len(survivors)} noticed, {len(survivors)} survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
