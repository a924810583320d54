"""What the commands share: options, names picked from a list, a word to who waits. `--data` is `data.py`'s."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TypeVar

from benchmarks.harness.data import EMBEDDED, HOW_TO_GET
from benchmarks.harness.environment import default_threads

T = TypeVar("T")


def say(line: str) -> None:
    """A line for the person who waits; results go to standard output."""
    print(line, file=sys.stderr, flush=True)


def parser(module: str, about: str | None, more: str = "") -> argparse.ArgumentParser:
    """For commands that work on data sets: the module's docstring, and below the options how to get data."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=about,
        epilog=HOW_TO_GET + more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def data_parser(module: str, about: str | None, more: str = "") -> argparse.ArgumentParser:
    """For commands that work on one data set, the embedded one unless told otherwise."""
    p = parser(module, about, more)
    p.add_argument("--data", default=EMBEDDED[0], help="a name or a folder (see below)")
    return p


def add_run_options(p: argparse.ArgumentParser, kind: str) -> None:
    """--threads and --out, of every command that writes a result of that kind."""
    p.add_argument("--threads", type=int, default=default_threads())
    p.add_argument("--out", help=f"result file (default: results/{kind}-TIME.json)")


def pick(names: str, known: Mapping[str, T], what: str) -> list[T]:
    """Those named in a comma-separated list, in its order. Raises ValueError for a name that is not known."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"unknown {what} {unknown[0]!r}; known: {', '.join(known)}")
    return [known[name] for name in wanted]
