"""The public API changes on purpose only, and all of it is in the reference, docs/api.md."""

from __future__ import annotations

import difflib
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from public_api import COMMAND, MODULES, SNAPSHOT, described, public

import slide


def test_names_parameters_and_defaults_are_those_of_the_snapshot() -> None:
    kept, now = SNAPSHOT.read_text().splitlines(), described().splitlines()
    difference = "\n".join(difflib.unified_diff(kept, now, "as it was", "as it is", lineterm="", n=0))
    assert not difference, f"the public API changed:\n{difference}\nIf that is on purpose: {COMMAND}"


def test_the_snapshot_tells_of_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter that is renamed, and a method that is gone."""
    before = described()

    def predict(self: Any, rows: Any) -> None:
        """In the place of another."""

    monkeypatch.setattr(slide.SlideClassifier, "predict", predict)
    assert "    predict(self, rows)" in described().splitlines()
    monkeypatch.delattr(slide.SlideClassifier, "partial_fit")
    gone = set(before.splitlines()) - set(described().splitlines())
    assert any(line.startswith("    partial_fit(") for line in gone)


def test_every_public_name_is_in_the_list_of_its_module() -> None:
    """What a public module defines without an underscore is in its __all__: nothing is public by accident."""
    for name in MODULES:
        module = import_module(f"slide.{name}")
        defined = {
            inner
            for inner, value in vars(module).items()
            if not inner.startswith("_") and getattr(value, "__module__", "") == module.__name__
        }
        defined = {
            inner for inner in defined if inspect.isroutine(vars(module)[inner]) or inspect.isclass(vars(module)[inner])
        }
        assert defined <= set(module.__all__), name


def documented(page: str) -> list[Any]:
    """The objects that `::: name` stands for on a page of mkdocstrings; a name that there is not is an error."""
    found = []
    for name in re.findall(r"^::: ([\w.]+)$", page, flags=re.MULTILINE):
        try:
            found.append(import_module(name))
        except ImportError:
            module, _, inner = name.rpartition(".")
            found.append(getattr(import_module(module), inner))
    return found


def shown(module: Any) -> set[str]:
    own = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    return {name for name in own if not name.startswith("_")} | set(getattr(module, "__all__", ()))


@pytest.fixture(scope="module")
def reference(checkout: Path) -> list[Any]:
    return documented((checkout / "docs" / "api.md").read_text())


def test_every_public_name_is_in_the_reference(reference: list[Any]) -> None:
    modules = [entry for entry in reference if inspect.ismodule(entry)]

    def is_there(value: Any) -> bool:
        if any(value is entry for entry in reference):
            return True
        # a module is shown with what it defines, and with what else it lists
        return any(value is getattr(module, name) for module in modules for name in shown(module))

    callables = {name: v for name, v in public().items() if inspect.isclass(v) or inspect.isroutine(v)}
    assert len(callables) > 50
    assert [name for name, value in callables.items() if not is_there(value)] == []


def test_what_the_reference_shows_has_a_docstring(reference: list[Any]) -> None:
    assert reference
    assert [entry for entry in reference if not inspect.getdoc(entry)] == []
