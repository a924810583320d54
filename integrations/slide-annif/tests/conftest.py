"""A vocabulary of five animals, documents about them, and projects of the real Annif that read them."""

from __future__ import annotations

import os
from pathlib import Path

import annif as annif_package
import pytest
import slide_annif
from annif.cli import cli
from annif.registry import AnnifRegistry
from click.testing import CliRunner
from compare import write_tokenizer

ANIMALS = {
    "cat": ("purrs", "whiskers", "feline"),
    "dog": ("barks", "leash", "canine"),
    "hen": ("eggs", "feathers", "clucks"),
    "cow": ("milk", "pasture", "moos"),
    "bee": ("honey", "hive", "buzzes"),
}
PROJECTS = """\
[animals]
name=Animals
language=en
backend=slide
vocab=animals
epochs=10
allow_learn=yes

[analyzed]
name=Words of an analyzer
language=en
backend=slide
analyzer=simple
analyzed=true
vocab=animals

[wrong]
language=en
backend=slide
vocab=animals
epochs=many
"""


def uri(animal: str) -> str:
    return f"http://example.org/{animal}"


def lines(animals: list[str], n: int = 12) -> str:
    """A document a line, with its subject."""
    found = []
    for i in range(n):
        for animal in animals:
            words = ANIMALS[animal]
            found.append(f"one that {words[i % 3]} and {words[(i + 1) % 3]} number {i}\t<{uri(animal)}>")
    return "\n".join(found) + "\n"


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with projects.cfg, a vocabulary of four animals, one of all five, and documents."""
    folder = tmp_path_factory.mktemp("annif")
    (folder / "projects.cfg").write_text(PROJECTS)
    for name, animals in (("four", list(ANIMALS)[:4]), ("five", list(ANIMALS))):
        (folder / f"{name}.tsv").write_text("".join(f"<{uri(a)}>\t{a}\n" for a in animals))
    (folder / "train.tsv").write_text(lines(list(ANIMALS)[:4]))
    (folder / "bees.tsv").write_text(lines(["bee"]))
    os.environ["NLTK_DATA"] = str(write_tokenizer(folder / "nltk"))
    slide_annif.Config.PROJECTS_CONFIG_PATH = str(folder / "projects.cfg")  # which Annif reads before tests begin
    slide_annif.Config.DATADIR = str(folder / "data")
    return folder


@pytest.fixture(scope="session")
def annif(place: Path):
    """Runs one of Annif's commands as ANNIF_CONFIG=slide_annif.Config does; returns what it printed, or all of it."""

    def run(*arguments: str, text: str | None = None, code: int = 0) -> str:
        environment = {"ANNIF_CONFIG": "slide_annif.Config"}
        AnnifRegistry._projects.clear()  # kept by an address that the next registry may get
        AnnifRegistry._vocabs.clear()
        result = CliRunner(env=environment).invoke(cli, list(arguments), input=text)
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.fixture(scope="session")
def trained(annif, place: Path):
    """The same, once the project is trained on four animals."""
    annif("load-vocab", "animals", str(place / "four.tsv"), "--language", "en")
    annif("train", "animals", str(place / "train.tsv"))
    return annif


@pytest.fixture
def app(place: Path):
    """Annif's application, for what asks for a project in Python."""
    found = annif_package.create_flask_app("slide_annif.Config")
    with found.app_context():
        yield found
