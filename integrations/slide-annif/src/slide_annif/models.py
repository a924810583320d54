"""A classifier on Annif's documents: trained, and asked."""

from __future__ import annotations

import numpy as np
from annif.exception import ConfigurationException
from annif.suggestion import SubjectSuggestion

from slide import SlideTextClassifier
from slide_annif.documents import Documents


def trained(model: SlideTextClassifier, documents: Documents) -> SlideTextClassifier:
    """A classifier, trained on documents."""
    classes = documents.seen()
    try:
        return model.fit(documents.texts, documents.indicator(classes), classes=classes)
    except ValueError as error:
        raise ConfigurationException(f"slide: {error}") from error


def suggestions(model: SlideTextClassifier, texts: list[str], limit: int) -> list[list[SubjectSuggestion]]:
    """The best subjects of each text with their probabilities; none for a text without a known word."""
    if limit < 1 or not texts:
        return [[] for _ in texts]
    known = np.diff(model.transform(texts).indptr) > 0
    ids, scores = model.predict_topk(texts, min(limit, model.n_labels_), proba=True)
    subjects = model.classes_[np.maximum(ids, 0)]
    found: list[list[SubjectSuggestion]] = []
    for row in range(len(texts)):
        pairs = zip(subjects[row].tolist(), scores[row].tolist(), strict=True)
        there = (ids[row] >= 0) & known[row]
        found.append([SubjectSuggestion(*pair) for pair, is_there in zip(pairs, there, strict=True) if is_there])
    return found
