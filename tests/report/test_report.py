"""What a model tells of itself: its card, accuracy by label frequency, and the page of pictures."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import planted_data
from forgery import put_together, take_apart
from hypothesis import given
from hypothesis import strategies as st
from snippets import run_page

import slide
from slide import metrics
from slide.cli.main import main
from slide.report import charts
from slide.report.scored import ScoredRows, confusions, label_scores

D, N, ROWS = 300, 200, 700
TEST = planted_data(150, D, N, seed=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.txt, test.txt, and model.slide that was trained and scored on them."""
    folder = tmp_path_factory.mktemp("report")
    slide.write_xmc(folder / "train.txt", *planted_data(ROWS, D, N))
    slide.write_xmc(folder / "test.txt", *TEST)
    told = ["--out", f"{folder}/model.slide", "--threads", "1", "--epochs", "3", "--hidden", "16", "--n-active", "40"]
    command = ["train", f"{folder}/train.txt", "--test", f"{folder}/test.txt", "--validation", "0.1"]
    assert main([*command, *told]) == 0
    return folder


# -- accuracy by label frequency ---------------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_groups_add_up(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    Y, Y_train = (sp.csr_array(rng.random((20, 12)) < p) for p in (0.2, 0.3))
    ids = np.argsort(rng.random((20, 12)), axis=1)[:, :5].astype(np.int32)
    groups = metrics.by_frequency(Y, ids, Y_train, k, edges=(1, 3, 6))
    counts = np.asarray(Y_train.sum(axis=0)).ravel()
    hits = sum(int(Y[[row], [label]].sum()) for row in range(20) for label in ids[row, :k])
    assert sum(g.labels for g in groups) == 12
    assert sum(g.true for g in groups) == Y.nnz
    assert sum(g.found for g in groups) == hits
    assert sum(g.predicted for g in groups) == 20 * k
    for g in groups:
        assert g.labels == int(((counts >= g.least) & (counts <= g.most)).sum()) > 0
        assert g.true == int(Y[:, np.flatnonzero((counts >= g.least) & (counts <= g.most))].sum())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"edges": (3, 2)}, r"edges: found \[3, 2\], wanted ascending"),
        ({"edges": ()}, r"edges: found \[\]"),
        ({"Y_train": sp.csr_array((3, 7))}, "Y_train: found 7 labels, wanted the 2"),
        ({"k": 4, "ids": np.array([[0, 1]])}, r"k: found 4, wanted a whole number, 1 to 2"),
    ],
)
def test_groups_that_make_no_sense_are_refused(change: Any, says: str) -> None:
    given_ = {"Y_true": sp.csr_array([[1, 0]]), "ids": [[0, 1]], "Y_train": sp.csr_array([[1, 1]]), "k": 1} | change
    with pytest.raises(ValueError, match=says):
        metrics.by_frequency(**given_)


def test_eval_prints_them(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", f"{model}/model.slide", f"{model}/test.txt", "--by-frequency"]
    assert main([*command, "--train", f"{model}/train.txt", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    groups = json.loads(lines[-1])["by_frequency"]
    at = next(i for i, line in enumerate(lines) if "training rows" in line)
    assert len(groups) > 2
    for group, line in zip(groups, lines[at + 1 :], strict=False):
        assert f"{group['labels']:,}" in line.split()
        assert f"{100 * group['found'] / max(group['true'], 1):.2f}" in line
    assert main(command) == 2
    assert "--by-frequency: found no --train" in capsys.readouterr().err


# -- card --------------------------------------------------------------------------------------------------------------


def test_the_card_says_what_the_model_was_trained_on(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clf = slide.load(model / "model.slide")
    assert isinstance(clf, slide.SlideClassifier)
    card, found = clf.card(), clf.card_
    assert (found.data["rows"], found.data["features"], found.data["labels"]) == (630, D, N)
    assert found.fit["seed"] == 0
    assert found.fit["samples"] == clf.network_.step == 1890
    assert int(found.fit["process_peak_bytes"] or 0) > int(found.fit["parameter_bytes"] or 0) > 4 * 17 * N
    held, score = found.scores
    assert (held["on"], held["p@1"]) == ("rows held out", round(100 * clf.history_[-1]["p@1"], 2))
    assert score["p@1"] == pytest.approx(100 * clf.score(*TEST), abs=0.01)
    assert f"| {score['p@1']:,.4g} |" in card
    assert "- `n_active=40`" in card
    assert "`lr=" not in card
    assert main(["card", f"{model}/model.slide"]) == 0
    assert capsys.readouterr().out == card
    assert main(["card", f"{model}/model.slide", "--out", f"{model}/card.md"]) == 0
    assert (model / "card.md").read_text() == card


def test_the_fingerprint_belongs_to_the_data() -> None:
    X, Y = planted_data(ROWS, D, N)
    marks = [fitted(X, Y).card_.data["fingerprint"], fitted(X, Y, seed=4).card_.data["fingerprint"]]
    assert marks[0] == marks[1]
    assert fitted(X[:-1], Y[:-1]).card_.data["fingerprint"] != marks[0]


def fitted(X: Any, Y: Any, seed: int = 0) -> slide.SlideClassifier:
    return slide.SlideClassifier((4,), epochs=1, n_active=9, n_threads=1, random_state=seed).fit(X, Y)


def forge(path: Path, change: Any) -> None:
    """Alters what a model file says of its classifier."""
    config, arrays = take_apart(path.read_bytes())
    change(config["classifier"])
    path.write_bytes(put_together(config, arrays))


def test_models_without_a_card_say_so(tmp_path: Path) -> None:
    clf = fitted(*planted_data(ROWS, D, N))
    clf.save(tmp_path / "m")
    forge(tmp_path / "m", lambda config: config.pop("card"))
    old = slide.load(tmp_path / "m")
    assert isinstance(old, slide.SlideClassifier)
    assert old.card().count("Not known.") == 2
    assert "It was not scored." in old.card()


@pytest.mark.parametrize(
    "card", [7, {}, {"data": {"rows": []}, "fit": {}, "scores": []}, {"data": 1, "fit": 2, "scores": 3}]
)
def test_a_forged_card_is_a_named_error(card: Any, tmp_path: Path) -> None:
    fitted(*planted_data(ROWS, D, N)).save(tmp_path / "m")
    forge(tmp_path / "m", lambda config: config.update(card=card))
    with pytest.raises(slide.ModelFormatError, match="does not describe a model"):
        slide.load(tmp_path / "m")


def test_a_network_has_no_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted(*planted_data(ROWS, D, N)).network_.save(tmp_path / "net")
    assert main(["card", f"{tmp_path}/net"]) == 2
    assert "holds a network, and a card belongs to" in capsys.readouterr().err


# -- page --------------------------------------------------------------------------------------------------------------


def make(folder: Path, *more: str) -> str:
    assert main(["report", f"{folder}/model.slide", "--html", f"{folder}/page.html", *more]) == 0
    return (folder / "page.html").read_text()


class Tags(HTMLParser):
    """Which tags there are, and whether each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_holds_everything_and_loads_nothing(model: Path) -> None:
    page = make(model, f"{model}/train.txt", "--train", f"{model}/train.txt")
    tags = Tags(page)
    assert tags.open == []
    assert not {"script", "link", "img", "iframe"} & set(tags.seen)
    assert not re.search(r"https?://|url\(|@import", page)
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "How it learned",
        "Rare and frequent labels",
        "Probabilities",
        "Decisions",
        "Best and worst labels",
        "Most confused",
        "Examples",
        "Active set and retrieval",
        "Training",
    ]
    assert [page.index(f"<h2>{title}") > page.index("<details class") for title in titles] == [False] * 7 + [True] * 2
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)
    assert tags.seen.count("svg") == 4
    assert page.count('class="example"') == 12


def test_the_page_tells_the_truth(model: Path) -> None:
    page = make(model, f"{model}/test.txt", "--train", f"{model}/train.txt", "--examples", "3")
    clf = slide.load(model / "model.slide")
    assert isinstance(clf, slide.SlideClassifier)
    assert f"<b>{100 * clf.score(*TEST):.2f} %</b><span>The first label is right</span><small>P@1</small>" in page
    at_most = 100 * np.minimum(np.diff(TEST[1].indptr), 3).mean() / 3
    assert f"<small>P@3; at most {at_most:.1f} % can be</small>" in page
    wrong = clf.predict_topk(TEST[0], 1)[0][:, 0]
    missed = TEST[1][np.arange(150), wrong] == 0
    pairs = int(TEST[1][np.flatnonzero(missed)].sum())
    assert confusions(TEST[1], wrong).total() == pairs > 0
    rows = np.random.default_rng(0).permutation(150)[:3]
    for row in rows:
        assert f"row {row:,}: features" in page
    best = clf.predict_topk(TEST[0][rows], 5)
    for ids, scores in zip(*best, strict=True):
        places = [page.index(f'>{i}</span> <span class="score">{s:.2f}<') for i, s in zip(ids, scores, strict=True)]
        assert len(places) == 5


@given(st.integers(0, 2**32))
def test_labels_are_found_as_often_as_they_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    Y = sp.csr_array(rng.random((30, 6)) < 0.3)
    ids = np.argsort(rng.random((30, 6)), axis=1)[:, :2].astype(np.int32)
    scored = ScoredRows("", Y, ids, ids.astype(np.float32), None, (0.55, 1.5), rng.random(30) < 0.1)
    dense, shares = Y.toarray(), []
    for label, rows, found, first, right, instead in label_scores(scored, 3):
        has, begins = dense[:, label], ids[:, 0] == label
        assert (rows, first, right) == (has.sum(), begins.sum(), (has & begins).sum())
        assert found == sum(label in ids[row] for row in np.flatnonzero(has))
        wrong = [i for i, row in zip(ids[:, 0], dense, strict=True) if row[label] and not row[i]]
        assert instead in wrong if instead >= 0 else not [i for i in wrong if not scored.empty.any()]
        shares.append(found / rows)
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == (dense.sum(axis=0) >= 3).sum()


def test_page_card_and_info_say_the_same_numbers(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = make(model, f"{model}/test.txt")
    clf = slide.load(model / "model.slide")
    assert isinstance(clf, slide.SlideClassifier)
    assert main(["info", str(model / "model.slide")]) == 0
    lines = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    info = {name.strip(): value.strip() for name, value in lines}
    card = clf.card()
    for on_card, in_info in (("seconds", "fit seconds"), ("samples per second", "samples per second")):
        assert f"| {on_card} | {info[in_info]} |" in card
        assert info[in_info] in page
    assert f"| parameter bytes | {info['weights bytes']} |" in card
    assert f"| samples | {info['samples trained']} |" in card


def test_texts_of_several_columns_are_readable_and_empty_ones_are_not_confused(tmp_path: Path) -> None:
    """Separators that no one can see, "-0.00", and labels that all rows of empty text get."""
    rows = [f"cat{i % 3} title,body{i % 4},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["title,body,label", *rows]))
    (tmp_path / "v.csv").write_text("\n".join(["title,body,label", *[",,a", ",,b"] * 9, "cat0,body1,b", "cat1,,a"]))
    model, page = str(tmp_path / "m.slide"), tmp_path / "p.html"
    data = [str(tmp_path / "t.csv"), "--text", "title,body", "--labels", "label"]
    assert main(["train", *data, "--epochs", "1", "--hidden", "4", "--threads", "1", "--out", model]) == 0
    assert main(["report", model, str(tmp_path / "v.csv"), "--html", str(page), "--examples", "20"]) == 0
    text = page.read_text()
    assert "\x1f" not in text
    assert "<p>cat0 | body1</p>" in text
    assert text.count("<p>(no text)</p>") == 18
    assert "-0.00" not in text
    assert "`" not in text
    confused = text.partition("Most confused")[2].partition("<h2>")[0]
    if confused:
        assert "18 rows are left out that have no feature which the model knows" in confused
        counts = [int(n) for n in re.findall(r"<td class=n>(\d+)</td>", confused)]
        assert sum(counts) <= 2


def test_models_are_called_what_they_are(tmp_path: Path) -> None:
    options = {"hidden": (4,), "epochs": 1, "n_threads": 1}
    X, Y = planted_data(60, D, N)
    ranked = slide.SlideClassifier(**options, wide=slide.Rank(n_negatives=3, C=1.0)).fit(X, Y)
    plain = slide.SlideClassifier(**options, wide=False, lsh=None).fit(X, Y)
    for clf, says in (
        (ranked, "an LSH-sampled network whose best labels are ranked by sparse rows"),
        (plain, "a network"),
    ):
        clf.save(tmp_path / "m")
        assert f"made by slide: {says}.\n" in clf.card()
        assert main(["report", str(tmp_path / "m"), "--html", str(tmp_path / "p.html")]) == 0
        assert f"{says}.</p>" in (tmp_path / "p.html").read_text()


def test_a_page_without_data_says_what_it_can(model: Path) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", make(model))
    assert titles == ["How it learned", "Active set and retrieval", "Training"]
    assert "Needs the labels of the training rows" in make(model, f"{model}/test.txt")


def test_texts_and_names_from_strangers_stay_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    rows = [f"thing{i % 4} {evil} more,label{i % 4} <b>" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    told = ["--text", "text", "--labels", "label", "--epochs", "3", "--threads", "1"]
    assert main(["train", f"{tmp_path}/t.csv", *told, "--out", f"{tmp_path}/model.slide"]) == 0
    page = make(tmp_path, f"{tmp_path}/t.csv")
    assert "script" not in Tags(page).seen
    assert "&lt;script&gt;alert(1)" in page
    assert "label1 &lt;b&gt;" in page
    words = page.partition("Words that spoke")[2].partition("<h2>")[0]
    assert {f"thing{i}" for i in range(4)} & set(re.findall(r"<td>(\w+)</td>", words))
    rows, right = (
        sum(int(n) for n in column)
        for column in zip(*re.findall(r"n>(\d+)</td><td class=n>(\d+)<", words), strict=True)
    )
    assert f"in {rows:,} rows drawn at random, of which {right:,} are right" in words
    assert 0 < right <= rows <= 60


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--html", "no/page.html"], "no/page.html: there is no folder"),
        (["--examples", "-1"], "--examples: found -1"),
        (["nothing.txt"], "nothing.txt: no such file"),
        (["--html", "model.slide"], "is read by this command"),
    ],
)
def test_report_refuses_in_one_sentence(
    change: list[str], says: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(model)
    (model / "fresh.html").unlink(missing_ok=True)
    assert main(["report", "model.slide", "--html", "fresh.html", *change]) == 2
    assert says in capsys.readouterr().err
    assert not (model / "fresh.html").exists()


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.thorough
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_draws_it(model: Path) -> None:
    make(model, f"{model}/test.txt", "--train", f"{model}/train.txt")
    pyplot = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    picture = model / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1100,1600", f"--screenshot={picture}"]
    subprocess.run(
        [str(BROWSER), *options, (model / "page.html").as_uri()], check=True, capture_output=True, timeout=120
    )
    pixels = pyplot.imread(picture)[:, :, :3]
    assert pixels.shape[:2] == (1600, 1100)
    blue = (pixels[:, :, 2] > pixels[:, :, 0] + 0.25).sum()  # lines and bars of the first series
    assert blue > 2000


# -- charts ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_every_point_lies_in_the_picture(first: list[float], second: list[float]) -> None:
    series = [charts.Series("<a>", range(len(y)), y) for y in (first, second)]
    root = ElementTree.fromstring(charts.lines(series, "x", "y"))
    places = [(float(c.get("cx", -1)), float(c.get("cy", -1))) for c in root.iter("circle")]
    assert len(places) == len(first) + len(second)
    assert all(0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for x, y in places)


@given(st.lists(st.floats(0, 100) | st.just(float("nan")), min_size=1, max_size=12))
def test_bars_stand_on_the_axis(values: list[float]) -> None:
    svg = charts.bars([charts.Series("s", range(len(values)), values)], [str(i) for i in range(len(values))], "x", "y")
    found = list(ElementTree.fromstring(svg).iter("rect"))
    assert len(found) == sum(not np.isnan(v) for v in values)
    for bar in found:
        bottom = float(bar.get("y", 0)) + float(bar.get("height", 0))
        assert bottom == pytest.approx(charts.HEIGHT - charts.BOTTOM, abs=0.6)


@pytest.mark.parametrize(
    "module", ["report.charts", "report.markup", "report.scored", "estimator.card", "training.bars", "cli.verbs.report"]
)
def test_examples_in_docstrings(module: str) -> None:
    tried = doctest.testmod(importlib.import_module(f"slide.{module}"))
    assert tried.attempted > 0
    assert tried.failed == 0


@pytest.mark.slow
def test_the_page_about_it_runs(checkout: Path, tmp_path: Path) -> None:
    run_page(checkout / "docs" / "reports.md", tmp_path)
    assert "Most confused" in (tmp_path / "words.html").read_text()
    assert (tmp_path / "words.md").read_text().startswith("# Model card: SlideTextClassifier for 19,")
