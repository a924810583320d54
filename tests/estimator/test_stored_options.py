"""A loaded classifier says what was asked for: options that are not the defaults, and what the fit chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide

X, Y = slide.datasets.synthetic(120, 40, 6, nnz=8)
SMALL: dict[str, Any] = {"hidden": (4,), "epochs": 1, "n_threads": 1}
GIVEN: list[dict[str, Any]] = [
    {},
    {"lsh": slide.QueryCells(K=6)},
    {"lsh": slide.SimHash(K=4, L=5)},
    {"lsh": None},
    {"wide": False},
    {"wide": slide.Wide(lr=0.2)},
    {"wide": slide.Rank(n_negatives=3)},
    {"optimizer": slide.Adam(0.01)},
    {"lr": 0.2, "random_state": 3},
    {"rebuild": slide.Rebuild(every=90)},
    {"schedule": slide.Cosine(warmup=0.1), "normalize": False, "storage": "bfloat16"},
]


@pytest.mark.parametrize("given", GIVEN)
def test_options_and_plan_come_back_as_they_were_given(given: dict[str, Any], tmp_path: Path) -> None:
    clf = slide.SlideClassifier(**SMALL | given).fit(X, Y)
    clf.save(tmp_path / "m")
    again = slide.load(tmp_path / "m")
    assert isinstance(again, slide.SlideClassifier)
    assert again.changed_params() == SMALL | given == clf.changed_params()
    assert repr(again) == repr(clf)
    assert again.card() == clf.card()
    assert again.plan_ == clf.plan_
    assert str(again.plan_) == str(clf.plan_)
    again.save(tmp_path / "twice")
    twice = slide.load(tmp_path / "twice")
    assert repr(twice) == repr(clf)
    assert np.array_equal(twice.predict_topk(X, 3)[1], clf.predict_topk(X, 3)[1])


@pytest.mark.parametrize("features", [None, slide.TextFeatures(words=1)])
def test_features_of_texts_are_listed_where_they_were_given(features: Any, tmp_path: Path) -> None:
    clf = slide.SlideTextClassifier(features, **SMALL).fit(["a cat", "a dog"] * 3, ["cat", "dog"] * 3)
    clf.save(tmp_path / "m")
    again = slide.load(tmp_path / "m")
    assert repr(again) == repr(clf)
    assert ("TextFeatures" in repr(again)) == (features is not None)


def test_a_model_of_the_defaults_lists_no_options(tmp_path: Path) -> None:
    slide.SlideClassifier().fit(X, Y).save(tmp_path / "m")
    again = slide.load(tmp_path / "m")
    assert repr(again) == "SlideClassifier()"
    assert "## Options that are not the defaults\n\nNone." in again.card()


def test_equal_options_of_other_types_are_the_defaults() -> None:
    assert repr(slide.SlideClassifier(hidden=[128], epochs=np.int64(5))) == "SlideClassifier()"
    assert repr(slide.SlideClassifier(wide=1)) == "SlideClassifier(wide=1)"


def test_files_of_before_say_what_follows_from_their_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def older(params: dict[str, Any], *_: Any) -> dict[str, Any]:
        return {k: v for k, v in params.items() if k not in ("lsh", "optimizer", "rebuild", "wide", "schedule")}

    monkeypatch.setattr("slide.estimator.fitted.stored_options", older)
    for given in ({}, {"optimizer": slide.Adam(0.01)}, {"wide": False}, {"rebuild": slide.Rebuild(every=90)}):
        slide.SlideClassifier(**SMALL | given).fit(X, Y).save(tmp_path / "m")
        again = slide.load(tmp_path / "m")
        assert isinstance(again, slide.SlideClassifier)
        assert again.changed_params() == SMALL | given


# -- verbose -----------------------------------------------------------------------------------------------------------


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_fits_are_silent_unless_they_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    slide.SlideClassifier(**SMALL).fit(X, Y).partial_fit(X, Y).fit_blocks([(X, Y)])
    assert lines(capsys) == []


@pytest.mark.parametrize("how", ["fit", "partial_fit", "fit_blocks", "text"])
def test_a_verbose_fit_says_data_epochs_and_time(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    clf = slide.SlideClassifier(**SMALL, verbose=1)
    if how == "fit_blocks":
        clf.fit_blocks([(X[:60], Y[:60]), (X[60:], Y[60:])])
    elif how == "text":
        slide.SlideTextClassifier(**SMALL, verbose=1).fit(["one", "two"] * 60, ["a", "b"] * 60)
    else:
        getattr(clf, how)(X, Y)
    first, epoch, last = lines(capsys)
    assert first.startswith("training on 120 rows, ")
    assert " labels a row" in first
    assert epoch.startswith("epoch 1/1 100%  loss ")
    assert last.startswith("trained in ")


def test_a_more_verbose_fit_says_what_it_chose(capsys: pytest.CaptureFixture[str]) -> None:
    clf = slide.SlideClassifier(**SMALL | {"verbose": 2}).fit(X, Y, eval_set=0.2)
    said = lines(capsys)
    assert said[0].startswith("training on 96 rows, 40 features, 6 labels, ")
    assert "  P@1 " in said[1]
    assert said[-1] == str(clf.plan_)
    clf.set_params(wide=slide.Rank(n_negatives=3, C=1.0)).fit(X, Y)
    assert "learning to rank the best labels of each row" in lines(capsys)


def test_rows_without_features_or_labels_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows, labels = X.tolil(), Y.tolil()
    rows[:2], labels[5:8] = 0, 0
    slide.SlideClassifier(**SMALL, verbose=1).fit(rows.tocsr(), labels.tocsr())
    assert lines(capsys)[0].endswith("; 2 rows without features; 3 rows without labels")


def test_a_verbosity_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="verbose: found 3, wanted 0, 1 or 2"):
        slide.SlideClassifier(**SMALL, verbose=3).fit(X, Y)
