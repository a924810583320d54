"""Text to labels: features of texts, tables of every kind, the classifier, its file and its commands."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from snippets import run_page

import slide
from slide.cli.main import main
from slide.text.counting import char_ngrams
from slide.text.features import TextFeatures, Vocabulary
from slide.text.words import FIELD_SEPARATOR

ROWS = [
    ("A cat", "a feline that purrs and hunts mice", ["pet", "animal"]),
    ("The dog", "a loyal canine that barks, and barks", ["pet", "animal"]),
    ("Oak", "a tree with acorns", ["plant"]),
    ("Fir", "an evergreen tree that hunts for light", ["plant"]),
    ("Wolf", "a wild canine that hunts, barks and howls", ["animal"]),
]
TITLES, BODIES, TAGS = (list(column) for column in zip(*ROWS, strict=True))
SMALL = {"hidden": (8,), "epochs": 30, "n_threads": 1}


def learned(texts: list[str], **options: Any) -> tuple[list[str], np.ndarray, Vocabulary]:
    """Names of the features sorted, and the matrix in their order."""
    vocabulary, X = Vocabulary.learn(texts, TextFeatures(**options))
    order = np.argsort(vocabulary.names)
    return [vocabulary.names[i] for i in order], X.toarray()[:, order], vocabulary


# -- features ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"words": 1}, {"ngram_range": (1, 1)}),
        ({"words": 2}, {"ngram_range": (1, 2)}),
        ({"words": 2, "min_rows": 2}, {"ngram_range": (1, 2), "min_df": 2}),
        ({"words": 1, "max_share": 0.5}, {"max_df": 0.5}),
        ({"words": 2, "sublinear": False}, {"ngram_range": (1, 2), "sublinear_tf": False}),
        ({"words": 2, "lowercase": False}, {"ngram_range": (1, 2), "lowercase": False}),
        ({"words": 2, "stop_words": ("a", "that")}, {"ngram_range": (1, 2), "stop_words": ["a", "that"]}),
    ],
)
def test_words_and_pairs_are_weighted_as_scikit_learn_does(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    names, X, vocabulary = learned(BODIES, **ours)
    options = {"sublinear_tf": True, "token_pattern": r"\w+", "norm": None} | theirs
    reference = TfidfVectorizer(**options).fit(BODIES)
    assert names == list(reference.get_feature_names_out())
    np.testing.assert_allclose(X, reference.transform(BODIES).toarray(), rtol=1e-6)
    other = ["a canine barks at a tree", "nothing known", ""]
    order = np.argsort(vocabulary.names)
    np.testing.assert_allclose(vocabulary(other).toarray()[:, order], reference.transform(other).toarray(), rtol=1e-6)


def test_pieces_of_words_are_weighted_as_scikit_learn_does() -> None:
    names, X, _ = learned(BODIES, words=0, characters=(2, 4), min_rows=1)
    texts = [" ".join(BODY.replace(",", "").split()) for BODY in BODIES]
    reference = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, norm=None).fit(texts)
    expected = dict(zip(reference.get_feature_names_out(), reference.transform(texts).toarray().T, strict=True))
    found = {name[1:-1]: column for name, column in zip(names, X.T, strict=True)}
    long_enough = {name for name in expected if name.strip() and len(name) <= 4}
    assert long_enough <= set(found)
    for name in ("cani", "arks", " hu", "ks"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    assert char_ngrams("cat", (3, 4)) == [" ca", "cat", "at ", " cat", "cat "]


@given(st.lists(st.text(st.sampled_from("ab é\n,\x1f1"), max_size=12), min_size=1, max_size=8), st.integers(1, 4))
def test_texts_in_blocks_give_the_same_features(texts: list[str], block: int) -> None:
    texts = [*texts, "a word"]
    options = TextFeatures(characters=(1, 3))
    whole, X = Vocabulary.learn(texts, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slide.text.counting.TEXTS_AT_ONCE", block)
        parts, X_parts = Vocabulary.learn(texts, options)
        again = whole(texts)
    np.testing.assert_array_equal(parts.codes, whole.codes)
    assert parts.names == whole.names
    for other in (X_parts, again):
        np.testing.assert_allclose(other.toarray(), X.toarray(), rtol=1e-6)


def test_a_pair_does_not_cross_from_one_column_into_the_next() -> None:
    names, _, _ = learned([f"one two {FIELD_SEPARATOR} three four"])
    assert names == ["four", "one", "one two", "three", "three four", "two"]


def test_the_commonest_features_stay_where_there_is_a_limit() -> None:
    names, X, _ = learned(BODIES, max_features=4)
    assert len(names) == 4
    assert {"a", "that"} <= set(names)
    assert X.shape == (5, 4)


def test_buckets_hold_every_feature_and_no_names() -> None:
    vocabulary, X = Vocabulary.learn(BODIES, TextFeatures(buckets=1000))
    words, _ = Vocabulary.learn(BODIES, TextFeatures())
    assert X.shape == (5, 1000)
    assert vocabulary.names == []
    expected = sorted({int(code) % 1000 for code in words.codes.tolist()})
    assert sorted(set(X.indices.tolist())) == expected
    np.testing.assert_allclose(vocabulary(BODIES).toarray(), X.toarray())
    _, X = Vocabulary.learn(["a b", "c"], TextFeatures(buckets=1))
    np.testing.assert_allclose(X.toarray(), [[1 + np.log(3)], [1]])  # "a", "b" and "a b" are one feature, three times


def test_hashes_are_the_same_on_every_machine() -> None:
    """Files hold them."""
    vocabulary, _ = Vocabulary.learn(["two words"], TextFeatures())
    assert dict(zip(vocabulary.names, vocabulary.codes.tolist(), strict=True)) == GOLDEN


GOLDEN = {"two": 218224992319827701, "words": 69340570595827017, "two words": 6161402156057552119}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"words": 3}, r"TextFeatures\(words=\): found 3"),
        ({"words": 0}, "found 'no words, no characters'"),
        ({"characters": (5, 3)}, r"characters=\): found \(5, 3\)"),
        ({"min_rows": 0}, r"min_rows=\): found 0"),
        ({"max_share": 0.0}, r"max_share=\): found 0\.0"),
        ({"buckets": 2.5}, r"buckets=\): found 2\.5"),
        ({"stop_words": "the"}, "found 'the', wanted several words"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TextFeatures(**options)


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Writes ROWS as a file of any kind."""
    frame = pd.DataFrame({"title": TITLES, "body": BODIES, "tags": [" ; ".join(row) for row in TAGS]})

    def write(kind: str) -> Path:
        path = tmp_path / f"rows{kind}"
        if kind.startswith((".csv", ".tsv")):
            frame.to_csv(path, sep="\t" if kind.startswith(".tsv") else ",", index=False)
        elif kind.startswith(".jsonl"):
            lines = [json.dumps({"title": t, "body": b, "tags": tags}) for t, b, tags in ROWS]
            text = ("\n".join(lines) + "\n").encode()
            path.write_bytes(gzip.compress(text) if kind.endswith(".gz") else text)
        else:
            columns = pa.table({"title": TITLES, "body": BODIES, "tags": TAGS})
            if kind == ".parquet":
                pa.parquet.write_table(columns, path)
            elif kind == ".feather":
                pa.feather.write_feather(columns, path)
            else:
                with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, columns.schema) as stream:
                    stream.write_table(columns)
        return path

    return write


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".tsv", ".jsonl", ".jsonl.gz", ".parquet", ".feather", ".arrow"])
def test_files_of_every_kind(table: Any, kind: str) -> None:
    found = slide.read_table(table(kind), "body", "tags", label_separator=";")
    assert found.texts == BODIES
    assert found.labels == TAGS
    joined, no_labels = slide.read_table(table(kind), ["title", "body"])
    assert joined[0] == f"A cat {FIELD_SEPARATOR} a feline that purrs and hunts mice"
    assert no_labels is None


class DataSet:
    """Columns as a Hugging Face data set has them."""

    column_names = ("body", "tags")

    def __getitem__(self, name: str) -> list[Any]:
        return {"body": BODIES, "tags": TAGS}[name]


@pytest.mark.parametrize(
    "source",
    [
        {"body": BODIES, "tags": TAGS},
        pd.DataFrame({"body": BODIES, "tags": TAGS}),
        pa.table({"body": BODIES, "tags": TAGS}),
        DataSet(),
    ],
    ids=lambda source: type(source).__name__,
)
def test_tables_in_memory(source: Any) -> None:
    assert slide.read_table(source, "body", "tags") == (BODIES, TAGS)
    with pytest.raises(ValueError, match="found no column 'text', wanted one of those there are: 'body', 'tags'"):
        slide.read_table(source, "text", "tags")


def test_cells_without_text_or_labels() -> None:
    source = pd.DataFrame({"text": ["x", None, "y"], "one": ["a", "b", None], "many": ["a, b,", "", None]})
    assert slide.read_table(source, "text").texts == ["x", "", "y"]
    assert slide.read_table(source, "text", "many", label_separator=",").labels == [["a", "b"], [], []]
    with pytest.raises(ValueError, match="column 'one', row 3: found no label"):
        slide.read_table(source, "text", "one")
    with pytest.raises(ValueError, match="column 'n', row 1: found 1, wanted text"):
        slide.read_table({"n": [1]}, "n")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.csv", b"text,tags\na,b\nc\n", "line 3: found 1 cell, wanted the 2 of the header"),
        ("x.csv", b'text,tags\nc,d\n"a,b\nc,d\n', "line 3: found a quotation mark that is not closed"),
        ("x.csv", b'text,tags\n"a,b\nc,"d"\n', "line 3: .* was opened in the row that begins on line 2"),
        ("x.csv", b"", "found no column 'text', wanted one of those there are: none, the file is empty"),
        ("x.csv", b"id;text;tags\n1;red;r\n", "cells seem to be separated by ';', wanted ','"),
        ("x.tsv", b"text,tags\nred,r\n", "cells seem to be separated by ','"),
        ("x.csv", b"text,tags\na,b\ncaf\xe9,b\n", "line 3, column 4: found the byte 0xe9, which is no UTF-8"),
        ("x.csv.gz", gzip.compress(b"text,tags\n" + b"a,b\n" * 999, mtime=0)[:-20], "truncated or altered gzip"),
        ("x.csv", b"text,tags,text\n", "found the column 'text' twice"),
        ("x.jsonl", b'{"text": "a", "tags": "b"}\n{"text": \n', "line 2: found no JSON"),
        ("x.jsonl", b'["a"]\n', "line 1: found list, wanted a JSON object"),
        ("x.jsonl", b'{"text": "a"}\n', "line 1: found no column 'tags'"),
        ("x.parquet", b"nothing", "found no .parquet table"),
        ("x.arrow", b"nothing", "found no .arrow table"),
        ("x.xlsx", b"", "found the ending '.xlsx', wanted one of .csv"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=told) as caught:
        slide.read_table(path, "text", "tags")
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for kind in (".csv", ".parquet"):
        with pytest.raises(FileNotFoundError, match=r"none\."):
            slide.read_table(tmp_path / f"none{kind}", "text")


def test_without_pyarrow_the_extra_is_named(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(".parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'slide-xmc\[text\]'"):
        slide.read_table(path, "body")


# -- the classifier ----------------------------------------------------------------------------------------------------


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


# -- commands ----------------------------------------------------------------------------------------------------------

TRAIN = ["--text", "title,body", "--labels", "tags", "--label-separator", ";", "--hidden", "8", "--epochs", "30"]


@pytest.fixture
def model(table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = tmp_path / "m.slide"
    assert main(["train", str(table(".csv")), *TRAIN, "--n-threads", "1", "--out", str(out)]) == 0
    assert "5 texts" in capsys.readouterr().out
    return out


def run(command: list[Any], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(part) for part in command]) == 0
    return capsys.readouterr().out


def refused(command: list[Any], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(part) for part in command]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    return err


def test_labels_of_a_text_on_the_command_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(["predict", model, "--text", "a feline that hunts mice"], capsys).splitlines()
    assert len(lines) == 3  # of five asked for
    assert {line.split()[1] for line in lines[:2]} == {"pet", "animal"}
    lines = run(["predict", model, "--text", "a tree", "--text", "a loyal canine", "-k", "1"], capsys).splitlines()
    assert lines[0] == "a tree"
    assert lines[1].split()[1] == "plant"
    assert lines[2:4] == ["", "a loyal canine"]


def test_a_table_is_predicted_and_scored_by_its_columns(
    model: Path, table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unlabelled = tmp_path / "new.csv"
    pd.DataFrame({"body": BODIES, "title": TITLES}).to_csv(unlabelled)
    rows = [line.split("\t") for line in run(["predict", model, unlabelled, "-k", "2"], capsys).splitlines()]
    assert [row[0].split(":")[0] for row in rows[2:4]] == ["plant", "plant"]
    assert {cell.split(":")[0] for cell in rows[0]} == {"pet", "animal"}
    out = run(["eval", model, table(".csv"), "--train", table(".csv"), "--json"], capsys)
    facts = json.loads(out.splitlines()[-1])
    assert facts["p@1"] == 100
    assert facts["psp@1"] > 90
    assert facts["n_labels"] == 3


def test_the_tables_of_a_text_model_are_reported_on_with_its_texts(
    model: Path, table: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(run(["lsh", model, table(".csv"), "--json"], capsys).splitlines()[-1])
    assert facts["n_neurons"] == 3
    assert set(facts["recall"]) <= {"1", "10", "100"}
    assert len(facts["recall"]) > 0


def test_options_of_features_reach_the_model(table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.slide"
    options = ["--words", "1", "--characters", "2,3", "--max-features", "9", "--max-share", "0.9", "--min-rows", "2"]
    told = run(["train", table(".csv"), *TRAIN, *options, "--out", out, "--test", table(".csv"), "--json"], capsys)
    assert json.loads(told.splitlines()[-1])["n_features"] == 9
    clf = slide.load(out)
    assert isinstance(clf, slide.SlideTextClassifier)
    assert clf.features == TextFeatures(words=1, characters=(2, 3), max_features=9, max_share=0.9, min_rows=2)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["train", "ROWS"], "is a table; say which columns hold what with --text and --labels"),
        (["train", "ROWS", "--text", "body"], "--labels: found none"),
        (["train", "ROWS", "--text", "words", "--labels", "tags"], "found no column 'words'"),
        (["train", "ROWS", "--text", "body", "--labels", "tags", "--words", "7"], "words=): found 7"),
        (["train", "wordnet-hypernym", "--text", "gloss", "--labels", "labels"], "has the columns text and labels"),
        (["predict", "MODEL"], "DATA: found none"),
        (["predict", "MODEL", "ROWS", "--text", "a"], "wanted either texts or a table"),
        (["predict", "MODEL", "--text", "a", "-k", "0"], "k: found 0"),
        (["eval", "MODEL", "ROWS2"], "no such data file"),
    ],
)
def test_commands_that_make_no_sense(
    command: list[str], told: str, model: Path, table: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    there = {"ROWS": str(table(".csv")), "MODEL": str(model), "ROWS2": str(model) + "x.csv"}
    assert told in refused([there.get(part, part) for part in command], capsys)


def test_a_model_of_other_features_takes_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = slide.datasets.synthetic(50, 20, 5, nnz=3, labels_per_row=1)
    slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1).fit(X, Y).save(tmp_path / "m.slide")
    told = refused(["predict", tmp_path / "m.slide", "--text", "a cat"], capsys)
    assert "wanted one trained on text" in told


def test_a_text_model_that_knows_no_columns(tmp_path: Path, table: Any, capsys: pytest.CaptureFixture[str]) -> None:
    slide.SlideTextClassifier(**SMALL).fit(BODIES, TAGS).save(tmp_path / "m.slide")
    assert "was not trained on a table" in refused(["predict", tmp_path / "m.slide", table(".csv")], capsys)


@pytest.mark.slow
def test_the_embedded_glosses_are_learned_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After one epoch; the commonest label alone would reach less than 5."""
    out = tmp_path / "m.slide"
    command = ["train", "wordnet-hypernym", "--text", "text", "--labels", "labels", "--epochs", "1", "--out", out]
    facts = json.loads(run([*command, "--json"], capsys).splitlines()[-1])
    assert facts["n_labels"] > 12_702
    assert facts["p@1"] > 40
    assert len(run(["predict", out, "--text", "a feline that hunts mice"], capsys).splitlines()) == 5


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
