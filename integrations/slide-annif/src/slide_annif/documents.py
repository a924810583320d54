"""Documents of Annif as slide takes them: texts, and an indicator of their subjects; and as a file, for another run."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Documents:
    """Texts, and for each the numbers of its subjects in Annif's index."""

    texts: list[str]
    subjects: list[list[int]]

    @classmethod
    def of(cls, documents: Iterable[Any], text_of: Any) -> Documents:
        """Those of a corpus that have subjects and words; text_of: what of a document's text is read."""
        found = cls([], [])
        for document in documents:
            text = text_of(document.text)
            if document.subject_set and text.strip():
                found.texts.append(text)
                found.subjects.append(sorted(int(subject) for subject in document.subject_set))
        return found

    def seen(self) -> list[int]:
        """The subjects there are, ascending."""
        return sorted({subject for subjects in self.subjects for subject in subjects})

    def indicator(self, classes: Sequence[int]) -> sp.csr_array:
        """CSR float32 [n, len(classes)]: which subjects a document has. All of them are among `classes`."""
        place = {int(subject): column for column, subject in enumerate(classes)}
        columns = [place[subject] for subjects in self.subjects for subject in subjects]
        indptr = np.cumsum([0, *map(len, self.subjects)])
        shape = (len(self.texts), len(classes))
        return sp.csr_array((np.ones(len(columns), np.float32), np.array(columns, np.int64), indptr), shape=shape)

    def save(self, path: str) -> None:
        """A JSON line a document, compressed."""
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
            for text, subjects in zip(self.texts, self.subjects, strict=True):
                file.write(json.dumps([text, subjects]) + "\n")

    @classmethod
    def load(cls, path: str) -> Documents:
        """The inverse of `save`."""
        lines = list(_lines(path))
        return cls([text for text, _ in lines], [subjects for _, subjects in lines])


def _lines(path: str) -> Iterator[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)
