"""The page to try a model in a real browser: what is typed is predicted, marked, explained or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from serving_client import KINDS, THINGS, row_model, text_model

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (the extra serve)")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (the extra serve)")

from serving_socket import served

import slide

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[browser.Page]:
    with browser.page(tmp_path) as page:
        yield page


@pytest.fixture(scope="module")
def model() -> slide.SlideTextClassifier:
    clf = text_model(seed=1)
    asked = [(f"a {word}", [kind, word]) for kind, line in zip(KINDS, THINGS, strict=True) for word in line.split()]
    X, y = zip(*asked * 2, strict=True)
    return clf.calibrate(list(X), list(y))


FOUND = "[...document.querySelectorAll('#found tr')]"
ANSWERED = "document.querySelector('#said').textContent.includes(' ms, ')"


def ask(page: browser.Page, text: str) -> None:
    """Types a text in place of the one before, and clicks."""
    page.value("document.querySelector('#said').textContent = ''; document.querySelector('#input').select()")
    page.click("#input")
    page.value("document.querySelector('#input').select()")
    page.type(text)
    page.click("button")


def test_a_text_is_predicted_marked_and_explained(
    page: browser.Page, model: slide.SlideTextClassifier, tmp_path: Path
) -> None:
    with served(model) as port:
        page.open(f"http://127.0.0.1:{port}/")
        page.wait("!!document.querySelector('#model option')")
        assert str(model.thresholds_) == page.wait("document.querySelector('#decides').textContent")
        ask(page, "a cat")
        page.wait(ANSWERED)
        names, scores = model.predict_topk("a cat", 5, names=True, proba=True)
        assert page.value(f"{FOUND}.map(r => r.querySelector('strong').textContent)") == names[0].tolist()
        assert page.value(f"{FOUND}.map(r => r.cells[0].textContent)") == [f"{p:.3f}" for p in scores[0]]
        marked = page.value(
            f"{FOUND}.filter(r => r.querySelector('.mark')).map(r => r.querySelector('strong').textContent)"
        )
        assert sorted(marked) == sorted(model.predict("a cat")[0])
        assert 0 < len(marked) < 5
        assert "cat +" in page.value(f"{FOUND}[0].querySelector('.why').textContent")
        page.screenshot(tmp_path / "page.png")
        page.click("#explain")
        ask(page, "an oak")
        page.wait(ANSWERED)
        assert page.value("document.querySelectorAll('.why span').length") == 0
        page.click("#explain")
        assert page.errors == []
        assert {url.split("/")[2] for url in page.asked if "://" in url} == {f"127.0.0.1:{port}"}


def test_rows_are_read_as_json_and_what_is_none_is_said(page: browser.Page) -> None:
    with served(row_model()) as port:
        page.open(f"http://127.0.0.1:{port}/")
        page.wait("!!document.querySelector('#model option')")
        ask(page, "[0, 0, 1, 0, 0, 0]")
        page.wait(ANSWERED)
        assert page.value(f"{FOUND}[0].querySelector('strong').textContent") == "2"
        ask(page, "no row")
        page.wait("document.querySelector('#said').className === 'error'")
        ask(page, "[1, 2]")
        said = page.wait("document.querySelector('#said').textContent")
        assert said == "rows[0]: found 2 numbers, wanted 6, one for each feature"


def test_the_page_asks_for_a_token_where_one_is_needed(page: browser.Page) -> None:
    with served(row_model(), token="a secret") as port:
        page.open(f"http://127.0.0.1:{port}/")
        page.wait("!document.querySelector('#locked').hidden")
        page.click("#token")
        page.type("a secret")
        ask(page, "[0, 0, 1, 0, 0, 0]")
        page.wait(ANSWERED)
        assert page.value(f"{FOUND}.length") == 5


def test_the_routes_are_described(page: browser.Page) -> None:
    with served(row_model()) as port:
        page.open(f"http://127.0.0.1:{port}/docs")
        page.wait("document.querySelectorAll('h2').length > 5")
        assert page.errors == []
