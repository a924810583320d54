"""The pages of docs/: every snippet runs, every page is in the site's menu, every picture is well-formed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from snippets import run_page

PAGES = ["index", "quickstart", "tuning", "production", "coming-from"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_page_runs(page: str, checkout: Path, tmp_path: Path) -> None:
    run_page(checkout / "docs" / f"{page}.md", tmp_path)


def test_every_page_is_in_the_menu(checkout: Path) -> None:
    menu = re.findall(r"^ +- ([\w/-]+\.md)$", (checkout / "mkdocs.yml").read_text(), re.MULTILINE)
    docs = checkout / "docs"
    assert sorted(menu) == sorted(page.relative_to(docs).as_posix() for page in docs.rglob("*.md"))


def test_links_between_pages_lead_somewhere(checkout: Path) -> None:
    for page in (checkout / "docs").rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_pictures_are_well_formed_and_load_nothing(checkout: Path) -> None:
    pictures = list((checkout / "docs" / "pictures").glob("*.svg"))
    assert len(pictures) >= 4
    for picture in pictures:
        ElementTree.parse(picture)
        assert "href" not in picture.read_text()


@pytest.mark.slow
def test_the_site_is_built_and_loads_nothing_from_elsewhere(checkout: Path, tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (make docs installs it)")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed (make docs installs it)")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, timeout=300)
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(list((checkout / "docs").rglob("*.md")))
    for page in pages:
        loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?://[^"]*)"', page.read_text())
        assert [url for url in loaded if "canonical" not in url] == [], page.name
    assert "predict_topk" in (tmp_path / "site" / "api.html").read_text()
    assert (tmp_path / "site" / "search" / "search_index.js").read_text().startswith("var __index")  # from the disk too


@pytest.mark.slow
def test_the_search_example_finds_options_and_prunes(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optuna = pytest.importorskip("optuna", reason="optuna is not installed (the extra examples)")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monkeypatch.syspath_prepend(checkout / "examples")
    import optuna_search

    import slide

    X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
    study = optuna_search.search(X, Y, n_trials=8, epochs=3)
    states = [trial.state.name for trial in study.trials]
    assert len(states) == 8
    assert set(states) <= {"COMPLETE", "PRUNED"}
    assert set(study.best_params) == {"wide_lr", "hidden", "lr"}
    assert study.best_value == max(trial.value for trial in study.trials if trial.state.name == "COMPLETE")


NOTEBOOKS = ["quickstart", "text"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_shows_what_it_gives(name: str, checkout: Path) -> None:
    notebook = json.loads((checkout / "examples" / f"{name}.ipynb").read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert len(outputs) > 5
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    shown = json.dumps([output.get("text", "") for output in outputs])
    assert not re.search(r"/(tmp|home|root|work)\b", shown)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_runs_and_gives_what_it_shows(name: str, checkout: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (the extra examples)")
    client = pytest.importorskip("nbclient", reason="nbclient is not installed (the extra examples)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (the extra examples)")
    notebook = nbformat.read(checkout / "examples" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    shown = [_kinds(cell) for cell in notebook.cells]
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [_kinds(cell) for cell in notebook.cells] == shown


def _kinds(cell: Any) -> set[str]:
    """What a cell gives: text, values, pictures; a progress bar looks different on another screen."""
    found = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    return {kind for output in found for kind in output.get("data", {"text": 0}) if not kind.endswith("json")}
