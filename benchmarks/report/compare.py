"""`python -m benchmarks.report.compare a.json b.json`: two results of the same kind side by side, with ratios.

Says first what differs about the runs themselves, because times from two machines, or from two moments of one, are not
a measured ratio. For that, run both in one command: every module here interleaves its rounds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.harness import environment, tables

HEADERS = ("measurement", "a", "b", "b / a")
NAMES = ("contender", "peer", "name", "data", "labels", "threads")
SKIP = ("environment", "schema", "all_rounds", "all_runs", "note", "title", "assumptions", "events")


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """What of machine, versions, threads, seeds, commit and command is not the same."""
    found: list[str] = []
    left, right = a["environment"], b["environment"]
    for key in ("machine", "versions"):
        names = sorted({*left[key], *right[key]} - {"load_average_at_start"})
        found += _unequal(left[key], right[key], names)
    return found + _unequal(left, right, ("threads", "seeds", "commit", "command"))


def _unequal(a: dict[str, Any], b: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [f"{name}: {a.get(name)} / {b.get(name)}" for name in names if a.get(name) != b.get(name)]


def figures(node: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """Every number of a result under a name: rows go by what they are about, not by their place."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key not in SKIP:
                yield from figures(value, (*where, str(key)))
    elif isinstance(node, list):
        for place, item in enumerate(node):
            yield from figures(item, (*where[:-1], _label(item, place)))
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield " ".join(where), float(node)


def _label(item: Any, place: int) -> str:
    if isinstance(item, dict):
        parts = [
            f"{key} {item[key]}" if key in ("labels", "threads") else str(item[key])
            for key in NAMES
            if key in item and not isinstance(item[key], dict)
        ]
        if parts:
            return " ".join(parts)
    return str(place)


def pairs(a: dict[str, Any], b: dict[str, Any]) -> list[list[str]]:
    """Table rows: every measurement both have, then those one of them lacks. Raises ValueError on different kinds."""
    if a["kind"] != b["kind"]:
        raise ValueError(f"a is a result of {a['kind']!r}, b of {b['kind']!r}: nothing to compare")
    left, right = dict(figures(a)), dict(figures(b))
    names = [*left, *(name for name in right if name not in left)]
    rows = []
    for name in names:
        x, y = left.get(name), right.get(name)
        ratio = f"{y / x:.3f}" if x and y is not None else tables.NONE
        rows.append([name, _show(x), _show(y), ratio])
    return rows


def _show(value: float | None) -> str:
    return tables.NONE if value is None else f"{value:.5g}"


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m benchmarks.report.compare", description=__doc__)
    p.add_argument("a")
    p.add_argument("b")
    args = p.parse_args(argv)
    try:
        a, b = environment.load(args.a), environment.load(args.b)
        rows = pairs(a, b)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    changed = differences(a, b)
    if changed:
        print("The runs differ in more than their results; a ratio below is no measurement of one change alone:")
        print("\n".join(f"  {text}" for text in changed), end="\n\n")
    print(tables.text(HEADERS, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
