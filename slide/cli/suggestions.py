"""Names that were probably meant: of options, verbs, choices, and keys of configuration files."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: What options of this program are called elsewhere, and in Python.
SYNONYMS = {
    "learning_rate": "lr",
    "max_iter": "epochs",
    "n_jobs": "n_threads",
    "workers": "n_threads",
    "eval_set": "validation",
    "early_stopping": "patience",
    "callback": "log",
    "features": "words",
    "classes": "labels",
    "output": "out",
}


def nearest(word: str, known: Iterable[str], n: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names that are most like a word, best first; dashes and underscores are the same."""
    by_key: dict[str, str] = {}
    for name in known:
        by_key.setdefault(_key(name), name)
    synonym = SYNONYMS.get(_key(word))
    if synonym in by_key:
        return [by_key[synonym]]
    return [by_key[key] for key in difflib.get_close_matches(_key(word), by_key, n, cutoff)]


def _key(name: str) -> str:
    return name.strip("-").replace("-", "_").lower()
