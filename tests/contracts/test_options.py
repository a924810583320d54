"""Every option of all that has some: what can never be meant is refused by the option's name, in one sentence."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import slide

X, Y = slide.datasets.synthetic(40, 20, 12, nnz=4, labels_per_row=1)
#: Of no option's type.
NONSENSE = [object(), b"x", [object()], np.array([1, 2]), 1j, lambda: 0, slide.SGD, float("nan"), "nonsense", -1]
IDS = ["object", "bytes", "list", "array", "complex", "function", "class", "nan", "text", "negative"]
NEEDED: dict[str, dict[str, Any]] = {
    "SparseInput": {"n_features": 5, "n": 3},
    "Dense": {"n": 3},
    "Sampled": {"n": 5},
    "Checkpoint": {"path": "checkpoint"},
    "Group": {"columns": [1]},
}
PARTS = [
    *(slide.SGD, slide.Adagrad, slide.Adam, slide.Constant, slide.Linear, slide.optim.Cosine, slide.Rebuild),
    *(slide.Wide, slide.Rank, slide.EarlyStopping, slide.Checkpoint, slide.TextFeatures, slide.Group),
    *(slide.SparseInput, slide.Dense, slide.Sampled),
    *(slide.SimHash, slide.WTA, slide.DWTA, slide.MinHash, slide.EuclideanHash, slide.QueryCells),
]
#: Options for which one of these is a value, and truth values of anything.
MEANT = {
    ("Checkpoint", "path"): {"text", "bytes"},
    ("EarlyStopping", "metric"): {"text"},
    ("TextFeatures", "characters"): {"array"},
    ("TextFeatures", "pattern"): {"text"},
    ("TextFeatures", "tokenizer"): {"function", "class"},
    ("Group", "columns"): {"array", "list"},  # a list of objects is none of a model's features: said by `optimize`
    ("SlideClassifier", "hidden"): {"array"},
    ("SlideClassifier", "schedule"): {"function"},
}
LEFT_OUT = {("TextFeatures", name) for name in ("lowercase", "sublinear")} | {("QueryCells", "min_count")}
OF_PARTS = [(part, name) for part in PARTS for name in inspect.signature(part).parameters]


def refused(call: Any, option: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert option in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "not supported between" not in str(caught.value)


@pytest.mark.parametrize(("part", "option"), OF_PARTS, ids=[f"{part.__name__}-{name}" for part, name in OF_PARTS])
def test_options_of_parts(part: type, option: str) -> None:
    for value, name in zip(NONSENSE, IDS, strict=True):
        key = (part.__name__, option)
        if key not in LEFT_OUT and name not in MEANT.get(key, ()):
            refused(lambda value=value: part(**NEEDED.get(part.__name__, {}) | {option: value}), option)


@pytest.mark.parametrize("option", slide.SlideClassifier().get_params())
def test_options_of_a_classifier(option: str) -> None:
    base = {"hidden": 4, "epochs": 1, "n_threads": 1}
    for value, name in zip(NONSENSE, IDS, strict=True):
        if name not in MEANT.get(("SlideClassifier", option), ()):
            clf = slide.SlideClassifier(**base | {option: value})
            refused(lambda clf=clf: clf.fit(X, Y), option)
            assert not hasattr(clf, "network_")


OF_NETWORK = ["wide", "optimizer", "loss", "rebuild", "batch_size", "storage", "n_threads", "seed", "backend", "memory"]


@pytest.mark.parametrize("option", OF_NETWORK)
def test_options_of_a_network(option: str) -> None:
    layers = [slide.SparseInput(20, 4), slide.Sampled(12)]
    for value in NONSENSE:
        refused(lambda value=value: slide.Network(layers, **{option: value}), option)


@pytest.fixture(scope="module")
def fitted() -> slide.SlideClassifier:
    return slide.SlideClassifier(hidden=4, epochs=1, n_threads=1).fit(X, Y)


@pytest.mark.parametrize("option", ["k", "n_candidates", "names", "index"])
def test_options_of_predictions(option: str, fitted: slide.SlideClassifier) -> None:
    for value in NONSENSE:
        refused(lambda value=value: fitted.predict_topk(X, **{option: value}), option)


@pytest.mark.parametrize("option", ["epochs", "eval_set"])
def test_options_of_partial_fit(option: str, fitted: slide.SlideClassifier) -> None:
    step = fitted.network_.step
    for value in NONSENSE:
        refused(lambda value=value: fitted.partial_fit(X, Y, **{option: value}), option)
    assert fitted.network_.step == step


@pytest.mark.parametrize("option", ["eval_set", "early_stopping", "checkpoint"])
def test_options_of_fit(option: str) -> None:
    for value in NONSENSE:
        clf = slide.SlideClassifier(hidden=4, epochs=1, n_threads=1)
        refused(lambda value=value, clf=clf: clf.fit(X, Y, **{option: value}), option)


def test_classes_and_labels_are_several(fitted: slide.SlideClassifier) -> None:
    for value in (5, None, b"x", 1j, object()):
        refused(lambda value=value: fitted.forget(value), "labels")
    for value in (5, b"x", 1j, object(), True):
        refused(lambda value=value: fitted.partial_fit(X, Y, value), "classes")
