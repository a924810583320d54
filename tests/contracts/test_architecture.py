"""The picture of the floors: it is as old as the code, and the script that draws it reads imports rightly."""

from __future__ import annotations

import importlib
import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

CONTRACT = """
[tool.importlinter]
root_packages = ["house"]
exclude_type_checking_imports = true
[[tool.importlinter.contracts]]
name = "floors"
type = "layers"
containers = ["house"]
layers = ["cli", "(garden) | attic | study", "hall", "cellar : larder"]
"""

SOURCES = {
    "__init__.py": "from house.cli import main",
    "__main__.py": "import house.cli",
    "cli.py": "from house.attic import trunk\nfrom house import hall\nimport house.cellar\nimport os",
    "attic/__init__.py": "from .trunk import lid",
    "attic/trunk.py": "lid = 1\ndef late():\n    from ..hall import lamp",
    "attic/chest.pyx": "cdef int x",
    "study.py": "import typing\nif typing.TYPE_CHECKING:\n    import house.cli\nelse:\n    import house.larder",
    "hall.py": "lamp = 1\nfrom house.cellar import *",
    "cellar.py": "import house.larder",
    "larder.py": "",
}


@pytest.fixture
def floors(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(checkout / "docs")
    return importlib.import_module("floors")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(CONTRACT)
    for name, text in SOURCES.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_every_file_that_the_page_names_is_there(checkout: Path) -> None:
    named = re.findall(r"`((?:slide|csrc|tests|docs)/[\w./]*)`", (checkout / "docs" / "architecture.md").read_text())
    assert len(named) > 30
    assert [name for name in named if "NAME" not in name and not (checkout / name).exists()] == []


FOLDERS = ("slide", "csrc", "tests", "docs", "benchmarks", "examples")
NAMED_FILE = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*\.(?:py|pyx|pxi|c|h|md|sh|ipynb|toml|svg)\b")
A_BUILD_MAKES = {"slide/engine/_c.c"}


def test_every_file_that_docs_and_comments_name_is_there(checkout: Path) -> None:
    pages = [checkout / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "setup.py")]
    pages += [
        page
        for folder in FOLDERS
        for page in (checkout / folder).rglob("*")
        if page.suffix in (".md", ".py", ".pyx", ".pxi", ".c", ".h") and page.name not in ("_c.c", Path(__file__).name)
    ]
    named = {(page, name) for page in pages for name in NAMED_FILE.findall(page.read_text(errors="replace"))}
    assert len(named) > 200
    missing = {(page.name, name) for page, name in named if not (checkout / name).exists()}
    assert [pair for pair in missing if not re.search(r"[A-Z]{4}", pair[1]) and pair[1] not in A_BUILD_MAKES] == []


def test_the_picture_is_as_old_as_the_code(floors: ModuleType, checkout: Path) -> None:
    drawn = floors.draw(floors.read_house(checkout))
    assert (checkout / floors.PICTURE).read_text() == drawn, f"renew the picture: {floors.RENEW}"


def test_rooms_and_arrows_are_those_of_the_sources(floors: ModuleType, root: Path) -> None:
    house = floors.read_house(root)
    assert house.floors == [["cli"], ["attic", "study"], ["hall"], ["cellar", "larder"]]
    assert {room: len(files) for room, files in house.files.items()} == {
        "cli": 1,
        "attic": 3,
        "study": 1,
        "hall": 1,
        "cellar": 1,
        "larder": 1,
    }
    assert house.arrows == {
        ("cli", "attic"),
        ("cli", "hall"),
        ("cli", "cellar"),
        ("attic", "hall"),
        ("study", "larder"),
        ("hall", "cellar"),
    }
    assert not house.wrong


def test_arrows_that_follow_from_others_are_left_out(floors: ModuleType, root: Path) -> None:
    left = floors.read_house(root).arrows - floors.direct(floors.read_house(root).arrows)
    assert left == {("cli", "hall"), ("cli", "cellar")}


@pytest.mark.parametrize("line", ["import house.cli", "from house.study import desk", "def f():\n    import house.cli"])
def test_an_import_against_the_contract_is_drawn_in_red(line: str, floors: ModuleType, root: Path) -> None:
    assert 'class="wrong"' not in floors.draw(floors.read_house(root))
    (root / "house" / "attic" / "trunk.py").write_text(line)
    house = floors.read_house(root)
    assert len(house.wrong) == 1
    assert 'class="wrong"' in floors.draw(house)


def test_the_drawing_is_the_same_each_time_and_loads_nothing(floors: ModuleType, root: Path) -> None:
    drawn = floors.draw(floors.read_house(root))
    assert drawn == floors.draw(floors.read_house(root))
    ElementTree.fromstring(drawn)
    assert "href" not in drawn
    for room in ("cli", "attic", "study", "hall", "cellar", "larder"):
        assert f">{room}</text>" in drawn


def test_no_two_rooms_touch(floors: ModuleType, root: Path) -> None:
    drawing = floors.Drawing(floors.read_house(root))
    for row in drawing.rows:
        for a, b in pairwise(row):
            assert drawing.x[a] + drawing.width(a) / 2 < drawing.x[b] - drawing.width(b) / 2


def test_a_module_without_a_room_and_a_missing_contract_are_named(floors: ModuleType, root: Path) -> None:
    (root / "house" / "shed.py").write_text("")
    with pytest.raises(ValueError, match=r"shed\.py: found the room 'shed', wanted one of the contract: cli"):
        floors.read_house(root)
    (root / "pyproject.toml").write_text("[tool]\n")
    with pytest.raises(ValueError, match="found no contract of import-linter"):
        floors.read_house(root)
