"""Text to labels: the classifier, its file and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn.model_selection import GridSearchCV
from small_texts import BODIES, SMALL, TAGS
from snippets import run_page

import slide
from slide.text.features import TextFeatures, Vocabulary


@pytest.mark.parametrize("features", [None, TextFeatures(characters=(2, 4)), TextFeatures(buckets=512)])
def test_texts_to_labels_and_back_from_a_file(tmp_path: Path, features: TextFeatures | None) -> None:
    clf = slide.SlideTextClassifier(features, **SMALL).fit(BODIES, TAGS)
    assert clf.predict(BODIES) == [sorted(row) for row in TAGS]
    names, scores = clf.predict_topk("a tree that barks", 2, names=True)
    assert names.shape == scores.shape == (1, 2)
    clf.save(tmp_path / "m.slide")
    again = slide.load(tmp_path / "m.slide", n_threads=1)
    assert isinstance(again, slide.SlideTextClassifier)
    assert again.features == features
    assert again.vocabulary_.options == clf.vocabulary_.options
    np.testing.assert_array_equal(again.decision_function(BODIES), clf.decision_function(BODIES))
    assert again.vocabulary_.names == clf.vocabulary_.names
    clf.partial_fit(BODIES, TAGS)
    again.partial_fit(BODIES, TAGS)
    np.testing.assert_array_equal(again.decision_function(BODIES), clf.decision_function(BODIES))


@pytest.mark.parametrize(
    "texts", [tuple(BODIES), np.array(BODIES), np.array(BODIES, object), pd.Series(BODIES), pa.chunked_array([BODIES])]
)
def test_texts_in_any_sequence(texts: Any) -> None:
    expected = slide.SlideTextClassifier(**SMALL).fit(BODIES, TAGS).predict_topk(BODIES, 3)
    found = slide.SlideTextClassifier(**SMALL).fit(texts, TAGS).predict_topk(texts, 3)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_explanation_names_words_and_label() -> None:
    clf = slide.SlideTextClassifier(**SMALL).fit(BODIES, TAGS)
    explanation = clf.explain("a tree that purrs", "plant")
    assert explanation.names is not None
    assert explanation.names[explanation.features[0]] in ("tree", "a tree", "tree that")
    assert "tree" in str(explanation)
    with pytest.raises(ValueError, match="label: found 'rock'"):
        clf.explain("a tree", "rock")


def test_new_labels_and_old_ones_taken_out() -> None:
    clf = slide.SlideTextClassifier(**SMALL).fit(BODIES, TAGS).add_labels(["tool"])
    clf.partial_fit(["a feline hammer"] * 5, [["tool"]] * 5, epochs=20)
    assert clf.predict_topk("feline hammer", 1, names=True)[0] == "tool"
    assert "pet" not in clf.forget(["pet"]).predict_topk(BODIES, 3, names=True)[0]


def test_features_can_be_searched() -> None:
    grid = {"features": [TextFeatures(words=1), TextFeatures(words=1, max_features=1)]}
    search = GridSearchCV(slide.SlideTextClassifier(**SMALL), grid, cv=2)
    texts = [f"{word} number {i}" for i in range(10) for word in ("red", "green", "blue")]
    search.fit(texts, ["red", "green", "blue"] * 10)
    assert search.best_params_["features"] == TextFeatures(words=1)
    assert search.predict(["green"]).tolist() == ["green"]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], "found no text"),
        ([1, 2], "found 1 in row 0, wanted a string"),
        (["a", None], "found None in row 1, wanted a string"),
        (7, "found int, wanted a sequence of texts"),
        ({"a": "text"}, "found dict, wanted a sequence of texts"),
        ({"texts", "in no order"}, "found set, wanted a sequence of texts"),
        (sp.csr_array((2, 2)), "found csr_array, wanted a sequence of texts"),
        (pd.DataFrame({"a": ["x"]}), "found DataFrame, wanted a sequence of texts"),
        (["", " ,.", "!"], "found no feature"),
    ],
)
def test_texts_that_make_no_sense(texts: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        slide.SlideTextClassifier(**SMALL).fit(texts, ["a", "b", "c"])


def test_features_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features: found 'words', wanted a slide\.TextFeatures or None"):
        slide.SlideTextClassifier("words").fit(BODIES, TAGS)  # type: ignore[arg-type]


def test_a_vocabulary_of_a_file_is_checked() -> None:
    vocabulary, _ = Vocabulary.learn(BODIES, TextFeatures())
    arrays = vocabulary.arrays()
    for bad in ({"text.codes": arrays["text.codes"][::-1]}, {"text.idf": arrays["text.idf"][1:]}):
        with pytest.raises(ValueError, match="of the vocabulary: found"):
            Vocabulary.restored(vocabulary.config(), arrays | bad)


def test_the_page_about_it_runs(checkout: Path, tmp_path: Path) -> None:
    names = run_page(checkout / "docs" / "text.md", tmp_path)
    assert names["clf"].predict("a tree") == [["plant"]]


def test_options_of_the_features_can_be_searched_by_name() -> None:
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    texts = ["walked", "walking", "talked", "talking", "walks", "talks", "walker", "talker"] * 3
    labels = [text[:4] for text in texts]
    clf = slide.SlideTextClassifier(hidden=4, epochs=3, n_threads=1)
    assert clf.get_params()["features__words"] == 2
    assert "features__words" not in clf.get_params(deep=False)
    grid = {"features__characters": [None, (3, 4)], "features__min_rows": [1]}
    search = GridSearchCV(clf, grid, cv=2).fit(texts, labels)
    assert search.best_estimator_.features.min_rows == 1
    assert clf.features is None
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()
    with pytest.raises(ValueError, match="set_params: found 'features__word', wanted one of features__words"):
        clf.set_params(features__word=1)
    assert clf.set_params(features__words=1, epochs=2).features == slide.TextFeatures(words=1)


def test_transform_gives_the_features_that_the_network_gets() -> None:
    how = {"hidden": 4, "epochs": 1, "n_threads": 1, "wide": False}  # so few columns are taken for dense ones
    clf = slide.SlideTextClassifier(**how).fit(["red fox", "red hen"], ["fox", "hen"])
    rows = clf.transform(["red red hen", "blue"])
    assert rows.shape == (2, clf.n_features_in_)
    assert set(np.array(clf.vocabulary_.names)[rows.indices]) == {"red", "hen", "red hen"}
    np.testing.assert_allclose(np.sqrt(rows.multiply(rows).sum(axis=1)), [1, 0], atol=1e-6)
    plain = slide.SlideClassifier(**how, normalize=True)
    plain.fit(clf.transform(["red fox", "red hen"]), ["fox", "hen"])
    np.testing.assert_array_equal(plain.decision_function(rows), clf.decision_function(["red red hen", "blue"]))
