"""slide.autotune: it finds what helps, keeps what was given, stays within its time, and fits all rows at last."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import slide
from slide import autotuning
from slide.cli.main import main

STEMS = ["walk", "talk", "jump", "cook", "play", "push", "pull", "open"]
ENDINGS = ["ed", "ing", "er", "s", "able", "ward", "ful", "less", "ness", "ish"]


@pytest.fixture(scope="module")
def spelled() -> tuple[list[str], list[str]]:
    """Texts of one made-up word each, whose label is its stem: only pieces of words can tell it of unseen words."""
    rng = np.random.default_rng(3)
    words = ["".join(p) for p in itertools.product(STEMS, ENDINGS, ENDINGS)]
    picked = rng.permutation(words)[:240]
    return picked.tolist(), [next(s for s in STEMS if w.startswith(s)) for w in picked]


def small(**options: Any) -> slide.SlideTextClassifier:
    return slide.SlideTextClassifier(hidden=8, n_threads=1, features=slide.TextFeatures(min_rows=1), **options)


def test_pieces_of_words_are_found_where_words_say_nothing(
    spelled: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autotuning, "CHOICES", {})
    monkeypatch.setattr(autotuning, "TEXT_CHOICES", {"characters": ((3, 5), None)})
    said: list[str] = []
    given = small()
    clf = slide.autotune(given, *spelled, eval_set=0.3, say=said.append)
    assert isinstance(clf, slide.SlideTextClassifier)
    assert clf.features == slide.TextFeatures(min_rows=1, characters=(3, 5))
    assert given.features == slide.TextFeatures(min_rows=1)
    assert not hasattr(given, "network_")
    first, second, *rest = clf.tuned_.trials
    assert first.score < 0.5 < second.score
    assert clf.tuned_.best is second
    assert not rest
    assert len(said) == 2
    assert "(kept)" in said[1]
    assert clf.predict(["talkwards"]).tolist() == ["talk"]
    assert "* " in str(clf.tuned_)


def test_the_last_fit_is_of_all_rows(spelled: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotuning, "CHOICES", {})
    monkeypatch.setattr(autotuning, "TEXT_CHOICES", {})
    clf = slide.autotune(small(epochs=2), *spelled)
    assert clf.network_.step == 2 * 240
    assert clf.tuned_.n_held == 24
    assert clf.tuned_.trials[0].n_rows == 216


def test_options_that_were_given_stay() -> None:
    X, Y = slide.datasets.synthetic(300, 80, 10, nnz=6, labels_per_row=1)
    given = slide.SlideClassifier(hidden=4, epochs=1, n_active=5, lr=0.3, dropout=0.1, wide=False, n_threads=1)
    assert list(autotuning._neighbours(given, {})) == []
    free = {name for name, _ in autotuning._neighbours(slide.SlideClassifier(hidden=4), {})}
    assert free == set(autotuning.CHOICES) - {"hidden"}
    clf = slide.autotune(given, X, Y, minutes=1)
    assert clf.get_params() == given.get_params()
    assert len(clf.tuned_.trials) == 1


def test_a_value_in_force_is_not_tried_again() -> None:
    found = list(autotuning._neighbours(slide.SlideClassifier(), {"epochs": 8}))
    assert ("epochs", 8) not in found
    assert ("epochs", 5) in found
    assert ("hidden", (128,)) not in found


def test_buckets_have_no_vocabulary_to_cut() -> None:
    clf = slide.SlideTextClassifier(features=slide.TextFeatures(buckets=64))
    names = {name for name, _ in autotuning._neighbours(clf, {})}
    assert "features__characters" in names
    assert not {"features__min_rows", "features__max_share"} & names


def test_without_time_there_is_one_trial_and_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = slide.datasets.synthetic(300, 80, 10, nnz=6, labels_per_row=1)
    clf = slide.autotune(slide.SlideClassifier(hidden=4, epochs=1, n_threads=1), X, Y, minutes=1e-9)
    assert len(clf.tuned_.trials) == 1
    assert clf.network_.step == 300


def test_few_rows_are_tried_where_all_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = slide.datasets.synthetic(400, 80, 10, nnz=6, labels_per_row=1)
    monkeypatch.setattr(autotuning, "PILOT_ROWS", 50)
    monkeypatch.setattr(autotuning, "CHOICES", {})
    clf = slide.autotune(slide.SlideClassifier(hidden=4, epochs=1, n_threads=1), X, Y, minutes=1e-9)
    assert clf.tuned_.trials[0].n_rows == 50
    clf = slide.autotune(slide.SlideClassifier(hidden=4, epochs=1, n_threads=1), X, Y, minutes=5)
    assert clf.tuned_.trials[0].n_rows == 360


@pytest.mark.parametrize("choices", [{"dropout": (0.3,)}, {"wide": (slide.Rank(),)}])
def test_a_trial_that_takes_too_long_is_given_up(choices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = slide.datasets.synthetic(300, 80, 10, nnz=6, labels_per_row=1)
    for name, value in {"MOST_OF_LEFT": 0, "SLOWEST": 0, "CHOICES": choices}.items():
        monkeypatch.setattr(autotuning, name, value)
    said: list[str] = []
    clf = slide.autotune(slide.SlideClassifier(hidden=4, epochs=1, n_threads=1), X, Y, say=said.append)
    assert len(clf.tuned_.trials) == 1
    assert [text.partition(":")[0] for text in said] == ["trial 1", "given up after 0 s"]
    assert clf.network_.step == 300


def test_rows_of_ones_own_are_scored_on() -> None:
    X, Y = slide.datasets.synthetic(300, 80, 10, nnz=6, labels_per_row=1)
    clf = slide.autotune(
        slide.SlideClassifier(hidden=4, n_threads=1), X[:200], Y[:200], minutes=1e-9, eval_set=(X[200:], Y[200:])
    )
    assert clf.tuned_.n_held == 100
    assert clf.network_.step == 1000


def test_labels_that_are_held_out_alone_are_missed() -> None:
    X, Y = slide.datasets.synthetic(300, 60, 20, nnz=5, labels_per_row=2)
    names = [[f"l{i}" for i in row] for row in np.split(Y.indices, Y.indptr[1:-1])]
    held = X[200:], [*names[200:299], ["unknown"]]
    clf = slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1)
    found = slide.autotune(clf, X[:200], names[:200], minutes=1e-4, metric="psp@1", eval_set=held)
    assert 0 <= found.tuned_.best.score < 1


def test_a_rise_within_chance_is_none() -> None:
    tuned = autotuning.Autotuned("p@1", 100)
    first, second, third = (autotuning.Trial({}, score, 1.0, 10) for score in (0.5, 0.52, 0.58))
    tuned.trials = [first, second]
    assert tuned.best is first
    tuned.trials = [first, second, third]
    assert tuned.best is third


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0}, "minutes: found 0, wanted a number over 0"),
        ({"metric": "auc"}, "metric: found 'auc', wanted one of p@1"),
        ({"eval_set": 1.5}, "eval_set: found 1.5"),
        ({"eval_set": "test"}, "eval_set: found 'str', wanted a pair"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    X, Y = slide.datasets.synthetic(20, 8, 5, nnz=2, labels_per_row=1)
    with pytest.raises(ValueError, match=message):
        slide.autotune(slide.SlideClassifier(), X, Y, **options)


def test_no_rows_are_refused() -> None:
    X, Y = slide.datasets.synthetic(20, 8, 5, nnz=2, labels_per_row=1)
    with pytest.raises(ValueError, match="X and y: found 'no rows', wanted at least two"):
        slide.autotune(slide.SlideClassifier(), X[:0], Y[:0])


def test_the_command_line(
    tmp_path: Path, spelled: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "words.csv"
    table.write_text("text,label\n" + "".join(f"{t},{y}\n" for t, y in zip(*spelled, strict=True)))
    columns = ["--text", "text", "--labels", "label", "--hidden", "8", "--n-threads", "1"]
    command = ["train", str(table), *columns, "--autotune", "0.000001", "--out", str(tmp_path / "m.slide")]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "trial 1: p@1" in err
    assert "chosen: SlideTextClassifier(" in out
    assert slide.load(tmp_path / "m.slide").predict("talked") in STEMS
    assert main([*command, "--patience", "2", "--validation", "0.1"]) == 2
    assert "--autotune: found --patience too" in capsys.readouterr().err


def test_the_time_is_kept(spelled: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of its own: each trial takes ten seconds of it; 62 leave room for a second one and the last fit."""
    now = [0.0]
    monkeypatch.setattr(autotuning, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    score = iter([0.5, 0.4, 0.4, 0.4])

    def measured(self: Any, options: dict[str, Any], allowed: float = 0) -> autotuning.Trial:
        now[0] += 10
        return autotuning.Trial(options, next(score), 10.0, 216)

    monkeypatch.setattr(autotuning._Search, "_measured", measured)
    clf = slide.autotune(small(epochs=1), *spelled, minutes=62 / 60)
    assert len(clf.tuned_.trials) == 2
