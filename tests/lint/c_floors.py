"""Do includes of csrc/ go down only? `make lint` asks.

    python tests/lint/c_floors.py [FOLDER]

Prints each fault and returns 1 if there is one. What is checked:

1. Rooms. A file includes files of its own room and of the rooms that FLOORS allows it, named from csrc/; all of
   another kind comes from the system.
2. Headers include each other without a cycle, and so do files: where a.c calls what b.c defines, b.c calls nothing of
   a.c, by way of others either.
3. Functions. What a file calls is declared in a header that it includes, itself or by way of others.
4. Every `omp parallel` says how many threads it takes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What each room stands on. slide.h, the face that the binding sees, lies at the top but for net, which defines it.
FLOORS: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "kernels": frozenset({"core"}),
    "lsh": frozenset({"core", "kernels"}),
    "linear": frozenset({"core", "kernels"}),
    "slide.h": frozenset({"core", "kernels"}),
    "net": frozenset({"core", "kernels", "lsh", "linear", "slide.h"}),
    "parse": frozenset(),
    "store": frozenset(),
    "text": frozenset({"core"}),
}
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
DEFINITION = re.compile(r"^(?!static|typedef|#|extern)[\w *]*?\b(slide_\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
DECLARATION = re.compile(r"^(?!typedef|#)[\w *()\"]*?\b(slide_\w+)\([^;{}]*\)\s*[;{]", re.MULTILINE)
CALL = re.compile(r"\b(slide_\w+)\s*\(")
PARALLEL = re.compile(r"^[ \t]*#\s*pragma\s+omp\s+[^\n]*\bparallel\b[^\n]*", re.MULTILINE)

Graph = dict[str, set[str]]


def cycle_of(graph: Graph) -> list[str]:
    """One cycle, its first name again at the end; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        if found := walk(name, []):
            return found
    return []


def reach(graph: Graph, name: str) -> set[str]:
    """Everything that can be reached from a name, itself too."""
    found, fresh = {name}, {name}
    while fresh:
        fresh = {other for one in fresh for other in graph.get(one, ())} - found
        found |= fresh
    return found


def room_of(name: str) -> str:
    return name.partition("/")[0]


def upward(includes: Graph) -> Iterable[str]:
    for name, others in sorted(includes.items()):
        room = room_of(name)
        if room not in FLOORS:
            yield f"{name}: lies in no room; the rooms are {', '.join(FLOORS)}"
            continue
        for other in sorted(others):
            if other not in includes:
                yield f"{name}: includes {other}, which is no file of csrc/ (names are written from there)"
            elif room_of(other) != room and room_of(other) not in FLOORS[room]:
                allowed = ", ".join(sorted(FLOORS[room])) or "no other room"
                yield f"{name}: includes {other}; {room} stands on {allowed}"


def foreign_calls(texts: dict[str, str], includes: Graph) -> tuple[Graph, list[str]]:
    """Which file calls functions of which, and the calls whose declaration is not included."""
    home = {found: name for name, text in texts.items() if name.endswith(".c") for found in DEFINITION.findall(text)}
    declared: dict[str, set[str]] = {}
    for name, text in texts.items():
        if name.endswith(".h"):
            for found in DECLARATION.findall(text):
                declared.setdefault(found, set()).add(name)
    calls: Graph = {}
    faults = []
    for name, text in sorted(texts.items()):
        seen = reach(includes, name)
        for called in sorted(set(CALL.findall(text))):
            if called in declared and not declared[called] & seen:
                faults.append(
                    f"{name}: calls {called} of {', '.join(sorted(declared[called]))}, which it does not include"
                )
            if name.endswith(".c") and home.get(called, name) != name:
                calls.setdefault(name, set()).add(home[called])
    return calls, faults


def faults(folder: Path) -> list[str]:
    """Everything that is wrong with the C sources of a folder, one sentence each."""
    raw = {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.[ch]"))}
    texts = {name: COMMENT.sub("", text) for name, text in raw.items()}
    includes: Graph = {name: set(INCLUDE.findall(text)) for name, text in texts.items()}
    found = list(upward(includes))
    calls, not_included = foreign_calls(texts, includes)
    found += not_included
    for what, graph in (("include each other", includes), ("call each other", calls)):
        if circle := cycle_of(graph):
            found.append(f"files {what} in a circle: {' -> '.join(circle)}")
    for name, text in texts.items():
        for pragma in PARALLEL.findall(text.replace("\\\n", " ")):
            if "num_threads(" not in pragma:
                found.append(f"{name}: {pragma.strip()} does not say num_threads(...)")
    return found


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "csrc"
    found = faults(folder)
    if not any(folder.rglob("*.c")):
        found.append(f"no C sources in {folder}")
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
