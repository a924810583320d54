"""What a project's configuration may say, as slide takes it: the options of its classifier and of its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import annif.util
from annif.exception import ConfigurationException

from slide import Rank, SlideTextClassifier, TextFeatures, Wide

#: By their names in a project; those of slide.SlideClassifier and slide.TextFeatures mean the same here.
DEFAULTS: dict[str, Any] = {
    "limit": 100,
    "analyzed": False,  # whether words are those that the project's analyzer makes
    "words": 2,
    "characters": "",  # 3-5: n-grams of so many characters of a word
    "min_rows": "",  # 2, or 1 for fewer than 1,000 documents
    "buckets": "",  # features share so many columns by their hash: then `learn` takes in new words
    "hidden": 128,
    "epochs": 5,
    "lr": 0.1,
    "dropout": 0.0,
    "sparse": "auto",  # or walk, rank, none: slide.SlideClassifier(wide=)
    "learn_epochs": 3,
    "random_state": 0,
}
SPARSE: dict[str, Callable[[], Any]] = {"auto": lambda: True, "walk": Wide, "rank": Rank, "none": lambda: False}


def _characters(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    shortest, _, longest = text.partition("-")
    return int(shortest), int(longest or shortest)


def _optional(text: str) -> int | None:
    return int(text) if text else None


def _sparse(text: str) -> Any:
    if text not in SPARSE:
        raise ValueError(f"wanted one of {', '.join(SPARSE)}")
    return SPARSE[text]()


READERS: dict[str, Callable[[str], Any]] = {
    "limit": int,
    "analyzed": annif.util.boolean,
    "words": int,
    "characters": _characters,
    "min_rows": _optional,
    "buckets": _optional,
    "hidden": int,
    "epochs": int,
    "lr": float,
    "dropout": float,
    "sparse": _sparse,
    "learn_epochs": int,
    "random_state": int,
}


def read(params: Mapping[str, Any], name: str, backend_id: str) -> Any:
    """One of them. Raises ConfigurationException naming it and what it holds."""
    try:
        return READERS[name](str(params[name]).strip())
    except ValueError as error:
        raise ConfigurationException(f"{name}: found {params[name]!r}: {error}", backend_id=backend_id) from error


def classifier(params: Mapping[str, Any], backend_id: str, n_threads: int | None) -> SlideTextClassifier:
    """An untrained classifier. Raises ConfigurationException for options that make no sense."""
    given = {name: read(params, name, backend_id) for name in READERS}
    try:
        features = TextFeatures(**{name: given[name] for name in ("words", "characters", "min_rows", "buckets")})
        options = {name: given[name] for name in ("epochs", "lr", "dropout", "random_state")}
        hidden = (given["hidden"],) if given["hidden"] else ()
        return SlideTextClassifier(features, hidden=hidden, wide=given["sparse"], n_threads=n_threads, **options)
    except ValueError as error:
        raise ConfigurationException(str(error), backend_id=backend_id) from error
