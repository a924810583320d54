"""The backend under Annif's own commands, on a handful of animals; how good it is: compare.py."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import annif.backend
import annif.registry
import pytest
import slide_annif
from annif.corpus import Document
from annif.exception import ConfigurationException, NotInitializedException, NotSupportedException
from conftest import lines, uri
from slide_annif.documents import Documents
from slide_annif.models import trained as trained_on
from slide_annif.parameters import DEFAULTS, READERS, classifier


def best(output: str) -> str:
    """The first subject that `annif suggest` printed."""
    return output.splitlines()[0].split("\t")[1]


def test_an_unchanged_annif_finds_it_by_its_configuration(place: Path) -> None:
    program = "import annif; annif.create_flask_app(); print(annif.backend.get_backend('slide').name)"
    for config, found in (("slide_annif.Config", "slide"), ("annif.default_config.Config", "No such backend")):
        environment = os.environ | {"ANNIF_CONFIG": config}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert found in done.stdout + done.stderr


def test_an_annif_without_the_table_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(annif.backend, "_backend_fns")
    with pytest.raises(ImportError, match=r"wanted that of Annif 1\.4"):
        slide_annif.register()


def test_a_backend_of_annifs_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"slide": int}
    monkeypatch.setattr(annif.backend, "_backend_fns", table)
    slide_annif.register()
    assert table == {"slide": int}


def test_it_trains_and_suggests(trained) -> None:
    assert best(trained("suggest", "animals", "--limit", "2", text="it purrs, a feline")) == "cat"
    assert best(trained("suggest", "animals", text="it barks on a leash")) == "dog"
    assert trained("suggest", "animals", text="xyzzy qwerty") == ""  # no known word
    assert trained("suggest", "animals", text="") == ""
    assert "True" in trained("list-projects")


def test_scores_are_probabilities_best_first_and_at_most_limit(trained) -> None:
    found = trained("suggest", "animals", "--limit", "3", text="milk of the pasture").splitlines()
    scores = [float(line.split("\t")[2]) for line in found]
    assert len(scores) <= 3
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[0] <= 1


def test_a_batch_gives_what_each_document_gives(trained, app) -> None:
    project = annif.registry.get_project("animals")
    texts = ["feathers", "", "the hive", "barks and moos", "unknownword"]
    documents = [Document(text=text) for text in texts]
    together = project.suggest(documents)
    for i, document in enumerate(documents):
        pairs = zip(together[i], project.suggest([document])[0], strict=True)
        assert all(a.subject_id == b.subject_id and a.score == pytest.approx(b.score, abs=1e-6) for a, b in pairs)
    assert len(together[1]) == len(together[4]) == 0 < len(together[0])


def test_it_is_evaluated_in_one_process_and_in_two(trained, place: Path) -> None:
    for jobs in ("1", "2"):
        trained("eval", "animals", str(place / "train.tsv"), "--jobs", jobs, "-M", str(place / "scores.json"))
        scores = json.loads((place / "scores.json").read_text())
        assert scores["NDCG@5"] > 0.95


def test_it_learns_a_new_subject_with_its_words_and_keeps_the_old_ones(annif, place: Path, app) -> None:
    buckets = ("--backend-param", "slide.buckets=4096")
    annif("load-vocab", "animals", str(place / "four.tsv"), "--language", "en", "--force")
    annif("train", "animals", str(place / "train.tsv"), *buckets)
    annif("load-vocab", "animals", str(place / "five.tsv"), "--language", "en")
    assert "bee" not in annif("suggest", "animals", text="honey, it buzzes")
    annif("learn", "animals", str(place / "bees.tsv"))
    assert best(annif("suggest", "animals", text="honey, it buzzes")) == "bee"
    assert best(annif("suggest", "animals", text="it barks on a leash")) == "dog"


def test_cached_documents_train_again(trained, place: Path) -> None:
    trained("train", "animals", "--cached", "--backend-param", "slide.epochs=12")
    assert best(trained("suggest", "animals", text="it purrs, a feline")) == "cat"


def test_words_of_an_analyzer(annif, place: Path, app) -> None:
    annif("load-vocab", "animals", str(place / "four.tsv"), "--language", "en", "--force")
    annif("train", "analyzed", str(place / "train.tsv"))
    documents = place / "data" / "projects" / "analyzed" / "slide-train.jsonl.gz"
    with gzip.open(documents, "rt") as file:
        words = json.loads(file.readline())[0].split()
    assert words[:2] == ["one", "that"]
    assert not any(word.isdigit() for word in words)
    assert best(annif("suggest", "analyzed", text="IT PURRS")) == "cat"


def test_options_are_searched(trained, place: Path) -> None:
    told = trained("hyperopt", "animals", str(place / "train.tsv"), "--trials", "2", "--metric", "NDCG")
    assert all(f"{name}=" in told for name in ("epochs", "words", "dropout", "hidden"))


def test_a_project_that_is_not_trained_says_so(app) -> None:
    backend = annif.backend.get_backend("slide")("slide", {}, annif.registry.get_project("wrong"))
    with pytest.raises(NotInitializedException, match=r"model .* not found"):
        backend.suggest([Document(text="a cat")])
    with pytest.raises(NotInitializedException, match="train data"):
        backend.train("cached")
    with pytest.raises(NotSupportedException, match="no documents"):
        backend.train(annif.corpus.DocumentList([Document(text="no subject")]))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("epochs", "many", "epochs: found 'many'"),
        ("epochs", "0", "epochs: found 0"),
        ("sparse", "tree", "wanted one of auto, walk, rank, none"),
        ("characters", "5-3", "TextFeatures"),
        ("words", "7", "words"),
        ("dropout", "1.5", "dropout"),
    ],
)
def test_a_wrong_option_is_named(name: str, value: str, said: str) -> None:
    documents = Documents(["a cat"] * 4, [[0], [1], [0], [1]])
    with pytest.raises(ConfigurationException) as refusal:
        trained_on(classifier({**DEFAULTS, name: value}, "slide", 1), documents)
    assert said in refusal.value.format_message()


def test_every_option_is_read() -> None:
    assert READERS.keys() == DEFAULTS.keys()
    found = classifier({**DEFAULTS, "characters": "3-5", "min_rows": "2", "hidden": "0", "sparse": "none"}, "slide", 1)
    assert (found.features.characters, found.features.min_rows, found.hidden, found.wide) == ((3, 5), 2, (), False)


def test_documents_survive_a_file(tmp_path: Path) -> None:
    documents = Documents(["a\ttab, a\nline", "ünïcode"], [[3, 7], [7]])
    documents.save(str(tmp_path / "x.gz"))
    assert Documents.load(str(tmp_path / "x.gz")) == documents
    assert documents.indicator(documents.seen()).toarray().tolist() == [[1, 1], [0, 1]]
    assert uri("bee") in lines(["bee"])
