"""Turns gcov's report on standard input into a table: file, lines reached in %, branches taken in %; csrc/ alone."""

from __future__ import annotations

import re
import sys

BLOCK = re.compile(
    r"File '(csrc/[^']+)'\nLines executed:([\d.]+)% of (\d+)"
    r"(?:\nBranches executed:[^\n]*\nTaken at least once:([\d.]+)% of (\d+))?"
)


def main() -> int:
    found: dict[str, tuple[float, int, float, int]] = {}
    for name, lines, n, taken, branches in BLOCK.findall(sys.stdin.read()):
        n_branches = int(branches or 0)
        reached = (float(lines) * int(n) / 100, int(n), float(taken or 0) * n_branches / 100, n_branches)
        found[name] = max(found.get(name, (0, 0, 0, 0)), reached)  # a header: by the file that reached most of it
    total = [sum(column) for column in zip(*found.values(), strict=True)]
    for name, (hit, n, taken, branches) in [*sorted(found.items()), ("all", tuple(total))]:
        share = f"{100 * taken / branches:6.1f}" if branches else "     -"
        print(f"{name:<28}{n:>6} lines {100 * hit / n:6.1f} %{branches:>6} branches {share} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
