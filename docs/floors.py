"""Draws docs/pictures/floors.svg: the rooms of slide/ on the floors that pyproject.toml names, and who imports whom.

    python docs/floors.py

The floors are the `layers` contract of import-linter, the arrows are read from the sources, so the picture cannot say
anything else than the code; tests/contracts/test_architecture.py fails where the file is older than they are. An arrow
that follows from others is left out: of a -> b -> c and a -> c, the last; so are imports between rooms of a floor that
may know each other (":" in the contract). What breaks the contract is drawn in red.

The drawing is layered (Sugiyama et al., 1981): floors are given, each floor's order is that with the fewest crossings
among some sweeps, places are least squares under the least distances. All of it is arithmetic without chance, so equal
sources give equal bytes.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

PICTURE = Path("docs/pictures/floors.svg")
RENEW = "python docs/floors.py"

WIDTH, TOP, FLOOR, BOX = 760, 46, 72, 40  # pixels; FLOOR and BOX are heights
LEFT, RIGHT, LIST = 46, 430, 446  # rooms and lines stand from LEFT to RIGHT, names of files from LIST on
CHARACTERS = 50  # of a line of names
GAP, LANE = 22, 14  # between neighbours on a floor: two rooms; a room or a line and a line
SWEEPS = 12

Arrow = tuple[str, str]


# -- what the code says ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class House:
    """Rooms by floor, the top one first; the files of each; which imports which, and which must not."""

    package: str
    floors: list[list[str]]
    files: Mapping[str, list[str]]
    arrows: frozenset[Arrow]
    wrong: frozenset[Arrow]


def read_house(root: Path) -> House:
    """The house in the checkout at root.

    Raises
    ------
    ValueError
        If there is no contract, or a module has no room in it.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"].get("importlinter", {})
    contract = _contract(settings)
    package = contract["containers"][0]
    named = [re.split(r"[|:]", layer) for layer in contract["layers"]]
    floor_of = {room.strip(" ()"): i for i, rooms in enumerate(named) for room in rooms}
    know_each_other = {i for i, layer in enumerate(contract["layers"]) if ":" in layer}
    modules = _modules(root, package)
    roof = {package, f"{package}.__main__", *(f"{package}.{name}" for name in contract.get("exhaustive_ignores", []))}
    files: dict[str, list[str]] = {}
    arrows, wrong = set(), set()
    for module, path in modules.items():
        if module in roof:
            continue
        room = module.split(".")[1]
        if room not in floor_of:
            raise ValueError(f"{path}: found the room {room!r}, wanted one of the contract: {', '.join(floor_of)}")
        files.setdefault(room, []).append(str(path.relative_to(root / package)))
        for target in _imports(path, module, modules, settings.get("exclude_type_checking_imports", False)) - roof:
            other = target.split(".")[1]
            if other == room or other not in floor_of:
                continue
            if floor_of[room] < floor_of[other]:
                arrows.add((room, other))
            elif floor_of[room] != floor_of[other] or floor_of[room] not in know_each_other:
                wrong.add((room, other))
    floors = [[room.strip(" ()") for room in rooms if room.strip(" ()") in files] for rooms in named]
    return House(package, [rooms for rooms in floors if rooms], files, frozenset(arrows), frozenset(wrong))


def _contract(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    for contract in settings.get("contracts", []):
        if contract["type"] == "layers" and len(contract.get("containers", [])) == 1:
            return contract
    raise ValueError("pyproject.toml: found no contract of import-linter, wanted one of type layers with a container")


def _modules(root: Path, package: str) -> dict[str, Path]:
    """Path of each module by its dotted name, those of Cython too."""
    found = {}
    for path in sorted((root / package).rglob("*.py*")):
        if path.suffix in (".py", ".pyx"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(path: Path, module: str, modules: Mapping[str, Path], skip_types: bool) -> set[str]:
    """Modules of the package that this one imports, wherever the line stands."""
    if path.suffix == ".pyx":
        return set()  # import-linter does not read it either
    inside = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in _nodes(ast.parse(path.read_text(), str(path)), skip_types):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if name in modules else base)
    return {name for name in found if name in modules}


def _nodes(tree: ast.AST, skip_types: bool) -> Iterator[ast.AST]:
    """Every node, without the bodies of `if TYPE_CHECKING:` where these do not count."""
    for node in ast.iter_child_nodes(tree):
        if skip_types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _nodes(ast.Module(node.orelse, []), skip_types)
            continue
        yield node
        yield from _nodes(node, skip_types)


def direct(arrows: Iterable[Arrow]) -> set[Arrow]:
    """Those that do not follow from others (transitive reduction; arrows make no circles)."""
    below: dict[str, set[str]] = {}
    for a, b in arrows:
        below.setdefault(a, set()).add(b)

    @cache
    def reached(room: str) -> frozenset[str]:
        return frozenset(below.get(room, ())).union(*(reached(other) for other in below.get(room, ())))

    return {(a, b) for a, b in arrows if not any(b in reached(other) for other in below[a] - {b})}


# -- where things stand ------------------------------------------------------------------------------------------------


class Drawing:
    """Places for rooms and for the lines between them.

    A point is a room, or ``"room@floor"`` where lines to that room pass a floor. Lines to one room share these.
    """

    def __init__(self, house: House) -> None:
        self.house = house
        self.floor = {room: i for i, rooms in enumerate(house.floors) for room in rooms}
        self.shown = sorted(direct(house.arrows))
        self.rows = [list(rooms) for rooms in house.floors]
        self.links: set[Arrow] = set()
        for a, b in self.shown:
            self._add_line(a, b)
        self._below = self._neighbours(upper=False)
        self._order()
        self.x = self._places()

    def _add_line(self, a: str, b: str) -> None:
        points = [a, *(f"{b}@{i}" for i in range(self.floor[a] + 1, self.floor[b])), b]
        for i, point in enumerate(points[1:-1], self.floor[a] + 1):
            if point not in self.rows[i]:
                self.rows[i].append(point)
        self.links |= set(pairwise(points))

    def width(self, point: str) -> float:
        """Of a room's box, from its name; lines have none."""
        return 0.0 if "@" in point else max(76.0, 8.2 * len(point) + 26)

    def _neighbours(self, upper: bool) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {point: [] for row in self.rows for point in row}
        for a, b in sorted(self.links):
            found[b if upper else a].append(a if upper else b)
        return found

    def _order(self) -> None:
        """Sweeps put each point at the mean of its neighbours; then neighbours change places while it helps."""
        given = [list(row) for row in self.rows]
        best, fewest = given, self._crossings()
        for start in range(8):
            self.rows = [sorted(row, reverse=start % 4 > 1) if start % 2 else list(row) for row in given]
            for sweep in range(start // 4, start // 4 + SWEEPS):
                self._sweep(down=sweep % 2 == 0)
                self._exchange()
                if self._crossings() < fewest:
                    best, fewest = [list(row) for row in self.rows], self._crossings()
        self.rows = best

    def _sweep(self, down: bool) -> None:
        near = self._neighbours(down)
        for row in self.rows if down else self.rows[::-1]:
            rank = {point: i / max(len(r) - 1, 1) for r in self.rows for i, point in enumerate(r)}
            mean = {p: sum(rank[n] for n in near[p]) / len(near[p]) if near[p] else rank[p] for p in row}
            row.sort(key=lambda p: (mean[p], p))

    def _exchange(self) -> None:
        for i, row in enumerate(self.rows):
            for k in range(len(row) - 1):
                before = self._crossings(i)
                row[k], row[k + 1] = row[k + 1], row[k]
                if self._crossings(i) >= before:
                    row[k], row[k + 1] = row[k + 1], row[k]

    def _crossings(self, row: int | None = None) -> int:
        """Of all lines, or of those above and below one row."""
        place = {point: i for points in self.rows for i, point in enumerate(points)}
        count = 0
        for i in range(len(self.rows) - 1) if row is None else range(max(row - 1, 0), min(row + 1, len(self.rows) - 1)):
            lines = [(place[a], place[b]) for a in self.rows[i] for b in self._below[a]]
            count += sum(p[0] < q[0] and p[1] > q[1] for k, p in enumerate(lines) for q in lines[k + 1 :])
        return count

    def _places(self) -> dict[str, float]:
        """Each point near its neighbours, no two too close; lines are kept straighter than rooms are kept central."""
        x = {point: (LEFT + RIGHT) / 2 for row in self.rows for point in row}
        around = [self._neighbours(True), self._neighbours(False)]
        for sweep in range(200):
            for row in self.rows if sweep % 2 == 0 else self.rows[::-1]:
                wanted, weights = [], []
                for point in row:
                    pulls = [(32.0 if "@" in point and "@" in n else 1.0, x[n]) for side in around for n in side[point]]
                    pulls.append((0.02, (LEFT + RIGHT) / 2))
                    weights.append(sum(w for w, _ in pulls))
                    wanted.append(sum(w * at for w, at in pulls) / weights[-1])
                x.update(zip(row, self._apart(row, wanted, weights), strict=True))
        return x

    def _apart(self, row: Sequence[str], wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
        """Least squares from what is wanted, under the least distances (isotonic regression by pooling)."""
        offsets = [0.0]
        for a, b in pairwise(row):
            gap = GAP if "@" not in a + b else LANE
            offsets.append(offsets[-1] + (self.width(a) + self.width(b)) / 2 + gap)
        pools: list[tuple[float, float, int]] = []  # mean, weight, how many
        for want, weight, offset in zip(wanted, weights, offsets, strict=True):
            pool = (want - offset, weight, 1)
            while pools and pools[-1][0] >= pool[0]:
                mean, w, n = pools.pop()
                pool = ((mean * w + pool[0] * pool[1]) / (w + pool[1]), w + pool[1], n + pool[2])
            pools.append(pool)
        places = [mean for mean, _, n in pools for _ in range(n)]
        least = LEFT + self.width(row[0]) / 2
        most = RIGHT - self.width(row[-1]) / 2 - offsets[-1]
        return [max(min(place, most), least) + offset for place, offset in zip(places, offsets, strict=True)]


# -- what is drawn -----------------------------------------------------------------------------------------------------

STYLE = """\
<style>
  .bg { fill: #f5f6f8 } .band { fill: #e9edf2 } text { fill: #24292f } .soft { fill: #6b7280 }
  .room { fill: #ffffff; stroke: #9aa3ad } .name { font-weight: 600 } .head { fill: #2f6db5 }
  .line { stroke: #2f6db5; fill: none; stroke-width: 1.4 }
  .wrong { stroke: #c2352b; fill: none; stroke-width: 2; stroke-dasharray: 5 4 } .red { fill: #c2352b }
  @media (prefers-color-scheme: dark) { .bg { fill: #1e2125 } .band { fill: #262b31 } text { fill: #e6e6e6 }
    .soft { fill: #a0a7b0 } .room { fill: #333a42; stroke: #6b7480 } .line { stroke: #6fa8e8 } .head { fill: #6fa8e8 }
    .wrong { stroke: #ff7b70 } .red { fill: #ff7b70 } }
  @media print { text { fill: #000000 } }
</style>"""


def draw(house: House) -> str:
    """The picture as SVG."""
    drawing = Drawing(house)
    height = TOP + FLOOR * len(house.floors) + 40
    label = f"The packages of {house.package}, one floor above the other: imports point down"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        f'font-size="13" role="img" aria-label="{label}">',
        f"<!-- Made by docs/floors.py; after a change of the imports run: {RENEW} -->",
        STYLE,
        f'<rect width="{WIDTH}" height="{height}" rx="10" class="bg"/>',
        f'<text x="{LEFT}" y="28"><tspan class="name">{house.package}/</tspan>'
        f'<tspan class="soft" dx="10">an arrow is an import; it points down</tspan></text>',
    ]
    for i, rooms in enumerate(house.floors):
        top = TOP + FLOOR * i
        if i % 2 == 0:
            parts.append(f'<rect y="{top}" width="{WIDTH}" height="{FLOOR}" class="band"/>')
        parts.append(_text(22, top + FLOOR // 2 + 4, str(len(house.floors) - 1 - i), "soft", small=True))
        parts += _names(house, rooms, top + FLOOR / 2)
    parts += _lines(drawing)
    for row in drawing.rows:
        parts += [piece for point in row if "@" not in point for piece in _room(drawing, point)]
    parts += _wrong(drawing)
    shown, follow = len(drawing.shown), len(house.arrows) - len(drawing.shown)
    note = f"Arrows that follow from these {shown} are left out: {follow}." if follow else ""
    if house.wrong:
        note = f"Against the contract (red): {len(house.wrong)}. {note}"
    parts.append(_text(LEFT, height - 15, note, "red" if house.wrong else "soft", small=True, middle=False))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, kind: str, *, small: bool = False, middle: bool = True) -> str:
    size, anchor = ' font-size="11"' if small else "", ' text-anchor="middle"' if middle else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{size}{anchor} class="{kind}">{text}</text>'


def _room(drawing: Drawing, room: str) -> list[str]:
    x, y, width = drawing.x[room], TOP + FLOOR * drawing.floor[room] + (FLOOR - BOX) // 2, drawing.width(room)
    n = len(drawing.house.files[room])
    return [
        f'<rect x="{x - width / 2:.0f}" y="{y}" width="{width:.0f}" height="{BOX}" rx="5" class="room"/>',
        _text(x, y + 17, room, "name"),
        _text(x, y + 32, f"{n} files" if n > 1 else "1 file", "soft", small=True),
    ]


def _names(house: House, rooms: Sequence[str], middle: float) -> list[str]:
    """The files of the packages on a floor, those of a folder inside as one."""
    lines: list[str] = []
    for room in rooms:
        names = dict.fromkeys(_short(file) for file in house.files[room] if "/" in file)
        text = " ".join(name for name in names if name != "__init__")
        if text:
            lines += textwrap.wrap(text if len(rooms) == 1 else f"{room}: {text}", CHARACTERS)
    top = middle - 7 * (len(lines) - 1) + 4
    return [_text(LIST, top + 14 * i, line, "soft", small=True, middle=False) for i, line in enumerate(lines)]


def _short(file: str) -> str:
    parts = file.split("/")[1:]
    return Path(parts[0]).stem if len(parts) == 1 else f"{parts[0]}/"


def _lines(drawing: Drawing) -> list[str]:
    """Down through the floors: a curve from one to the next, and straight on where a line passes a floor."""
    floor = {point: i for i, row in enumerate(drawing.rows) for point in row}
    parts = []
    for a, b in sorted(drawing.links, key=lambda link: (floor[link[0]], drawing.x[link[0]], drawing.x[link[1]])):
        x, to = f"{_port(drawing, a, b, False):.0f}", f"{_port(drawing, b, a, True):.0f}"
        top, bottom = TOP + FLOOR * floor[a] + (FLOOR + BOX) // 2, TOP + FLOOR * floor[b] + (FLOOR - BOX) // 2
        passes = "@" in b
        end = bottom if passes else bottom - 6
        bend = (end - top) * 0.55
        path = f"M{x} {top} C{x} {top + bend:.0f} {to} {end - bend:.0f} {to} {end}"
        parts.append(
            f'<path d="{path} V{bottom + BOX}" class="line"/>' if passes else f'<path d="{path}" class="line"/>'
        )
        if not passes:
            parts.append(f'<path d="M{to} {bottom} l-4 -8 h8 z" class="head"/>')
    return parts


def _wrong(drawing: Drawing) -> list[str]:
    parts = []
    for a, b in sorted(drawing.house.wrong):
        start, end = ((drawing.x[room], TOP + FLOOR * drawing.floor[room] + FLOOR // 2) for room in (a, b))
        parts.append(f'<path d="M{start[0]:.0f} {start[1]} L{end[0]:.0f} {end[1]}" class="wrong"/>')
    return parts


def _port(drawing: Drawing, point: str, other: str, above: bool) -> float:
    """Where the line to `other` leaves a room's edge: spread out in the order in which the other ends stand."""
    x = drawing.x[point]
    if "@" in point:
        return x
    ends = sorted((drawing.x[n], n) for n in drawing._neighbours(above)[point])
    step = min(16.0, (drawing.width(point) - 24) / max(len(ends) - 1, 1))
    return x + step * ([n for _, n in ends].index(other) - (len(ends) - 1) / 2)


def main() -> None:
    """Writes the picture of this checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        house = read_house(root)
    except ValueError as error:
        sys.exit(str(error))
    (root / PICTURE).write_text(draw(house))
    print(f"{PICTURE}: {len(house.files)} rooms, {len(house.arrows)} arrows, {len(house.wrong)} against the contract")


if __name__ == "__main__":
    main()
