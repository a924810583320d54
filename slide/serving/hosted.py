"""Hosted: one model as it was loaded, with what it takes to answer requests. It never changes; a reload makes another.

Predicting is re-entrant and reads only, so the thread of predictions and the one of explanations share it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import Checked, check_X, require
from slide.engine.layout import FloatArray, IntArray
from slide.estimator.classifier import SlideClassifier
from slide.inference.explain import Explanation, explain
from slide.inference.scores import Floats, label_probabilities, steepness
from slide.io.shards import MANIFEST, is_folder
from slide.labels.stored_names import as_texts
from slide.loading import load
from slide.network import Network
from slide.text.classifier import SlideTextClassifier
from slide.text.spoken import explained

#: A row of features: columns and their values, both float or int vectors of one length.
Row = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
Identity = tuple[int, int, int, int]
Mask = npt.NDArray[np.bool_]

WARM_ROWS = (1, 64)  # rows of the calls that warm a model up: one by itself, and a batch
WARM_FEATURES = 8
SHOWN_FEATURES = 10  # of an explanation


@dataclass(frozen=True, slots=True)
class Best:
    """The best labels of some rows: ids int32 [n, k], -1 for none; scores float32 [n, k].

    probabilities : float64 [n, k], or None of a model without calibration
    predicted : [n, k], which of them the model predicts, where somebody asked
    """

    ids: IntArray
    scores: FloatArray
    probabilities: Floats | None = None
    predicted: Mask | None = None

    def __getitem__(self, rows: slice) -> Best:
        p = self.probabilities
        return Best(self.ids[rows], self.scores[rows], None if p is None else p[rows])

    def marked(self, predicted: Mask) -> Best:
        """The same, with which are predicted."""
        return Best(self.ids, self.scores, self.probabilities, predicted)


class Why(NamedTuple):
    """What made a label's score: the words or features that spoke most for or against it, and all else together."""

    label: int
    score: float
    features: list[tuple[Any, float]]
    rest: float


def identity_of(path: str) -> Identity:
    """What changes when a model is replaced: device, inode, size, time of the last change of its file, or manifest."""
    found = os.stat(os.path.join(path, MANIFEST) if is_folder(path) else path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Hosted:
    """A loaded model.

    Attributes
    ----------
    path : str
    version : int
        1 for the first that was loaded from this path, and one more at each reload.
    loaded_at, file_time : float
        Seconds since 1970: when it was loaded, and its file's last change.
    identity : of its file
    """

    def __init__(self, model: SlideClassifier | Network, path: str = "", version: int = 1) -> None:
        self.model, self.path, self.version = model, path, version
        self.loaded_at = self.file_time = time.time()
        self.identity: Identity | None = None
        self.net: Network = model.network_ if isinstance(model, SlideClassifier) else model
        self.reads_texts = isinstance(model, SlideTextClassifier)
        self.n_labels, self.n_features = self.net.n_labels, self.net.n_features
        self._classes = _json_names(model.classes_) if isinstance(model, SlideClassifier) else None

    @classmethod
    def loaded(
        cls,
        path: str,
        version: int = 1,
        *,
        mmap: bool = False,
        n_threads: int | None = None,
        backend: str | None = None,
        memory: str | None = None,
        cluster: Any = None,
    ) -> Hosted:
        """The model in a file or a folder, checked and warm.

        Raises
        ------
        ModelFormatError, OSError, MemoryError
            As slide.load does.
        ValueError
            If what it predicts is no number.
        """
        identity = identity_of(path)
        how = {"n_threads": n_threads, "backend": backend, "memory": memory, "cluster": cluster}
        hosted = cls(load(path, mmap=mmap, **how), path, version)
        hosted.identity, hosted.file_time = identity, identity[3] / 1e9
        hosted.warm()
        return hosted

    def warm(self) -> None:
        """Predicts some rows, so that the first request finds pages and tables in memory; checks what comes out."""
        n = min(WARM_FEATURES, self.n_features)
        features = np.unique(np.linspace(0, self.n_features - 1, n).astype(np.int64))
        row: Any = (features, np.ones(len(features), np.float32))
        if isinstance(self.model, SlideTextClassifier):
            names = self.model.vocabulary_.names  # none where features share buckets
            row = " ".join(names[i] for i in features) if names else "a text"
        for n_rows in WARM_ROWS:
            best = self.best([row] * n_rows, min(5, self.n_labels))
            found = best.scores[best.ids >= 0]  # none where all are NaN
            ok = bool(len(found)) and bool(np.isfinite(found).all())
            require(ok, f"{self.path}: scores of a trial", "none that is a number", "finite ones")

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """What its rows are."""
        return "texts" if self.reads_texts else "rows"

    @cached_property
    def feature_names(self) -> Sequence[Any] | None:
        """What people call its features, by column."""
        return self.model._encoding.reader.names if isinstance(self.model, SlideClassifier) else None

    @cached_property
    def columns(self) -> dict[str, int] | None:
        """Columns by name, where it was trained on a data frame."""
        if self.reads_texts or self.feature_names is None:
            return None
        return {str(name): i for i, name in enumerate(self.feature_names)}

    def names(self, ids: IntArray) -> list[Any]:
        """Names of labels as JSON has them; their numbers where they have none."""
        return (ids if self._classes is None else self._classes[ids]).tolist()

    # -- what it answers ---------------------------------------------------------------------------------------------

    def best(self, rows: Sequence[Any], k: int) -> Best:
        """The k best labels of texts, or of rows of features that slide.serving.inputs has checked."""
        model = self.model if isinstance(self.model, SlideClassifier) else None
        n = model._looked_at(k) if model else k
        if self.reads_texts:
            ids, scores = self.model.predict_topk(list(rows), n)
        else:
            ids, scores = self.net.predict_topk(Checked(self._encoded(rows)), n)
        found = model._calibrated(ids, scores) if model else None
        return Best(ids[:, :k], scores[:, :k], None if found is None else found[:, :k])

    def likely(self, best: Best) -> FloatArray:
        """Between 0 and 1: probabilities where the model is calibrated, else `predict_proba`'s curve of the score."""
        if best.probabilities is not None:
            return best.probabilities.astype(np.float32)
        threshold = getattr(self.model, "threshold_", 0.0)
        return label_probabilities(best.scores.astype(np.float64) - threshold, steepness(self.net)).astype(np.float32)

    def predicted(self, best: Best) -> Mask:
        """[n, k]: which of these labels `predict` predicts. For a model that `decides`."""
        model = self.model
        assert isinstance(model, SlideClassifier)
        thresholds, p = model.thresholds_, best.probabilities
        if model._one_class:
            there = np.zeros(best.ids.shape, np.bool_)
        elif thresholds is not None and p is not None:
            there = thresholds.over(best.ids, p)
        else:
            there = model._over(best.ids, best.scores)[0]
        if model._one_class or model._takes_best:
            there[:, :1] = True
        return there & (best.ids >= 0)

    @property
    def is_calibrated(self) -> bool:
        """Whether its answers come with probabilities."""
        return isinstance(self.model, SlideClassifier) and self.model.calibration_ is not None

    @cached_property
    def decides(self) -> str | None:
        """How it decides which labels it predicts; None for a network by itself, which only ranks them."""
        model = self.model
        if not isinstance(model, SlideClassifier):
            return None
        if model._one_class:
            return "predicted: the best class"
        return str(model.thresholds_ or "predicted: labels of a positive score")

    def explain(self, row: Any, labels: IntArray) -> list[Why]:
        """Why labels of one row scored as they did."""
        encoded = self._encoded([row])
        return [self._why(row, explain(self.net, encoded, int(label))) for label in labels]

    def _why(self, row: Any, found: Explanation) -> Why:
        """Of a text its words, each with its character pieces; else features."""
        parts: Sequence[tuple[Any, float]]
        if isinstance(self.model, SlideTextClassifier):
            parts = [(part.name, part.contribution) for part in explained(found, self.model.vocabulary_, row)[1]]
        else:
            names = self.feature_names
            called = [int(f) if names is None else str(names[f]) for f in found.features]
            parts = list(zip(called, found.contributions.tolist(), strict=True))
        shown = sorted(parts, key=lambda part: -abs(part[1]))[:SHOWN_FEATURES]
        return Why(found.label, found.score, shown, found.score - sum(value for _, value in shown))

    def _encoded(self, rows: Sequence[Any]) -> sp.csr_array:
        """CSR float32 [n, n_features], as the network takes it."""
        X: Any = list(rows) if self.reads_texts else self._csr(rows)
        if isinstance(self.model, SlideClassifier):
            return self.model._encoding.rows(X, check_names=False)
        return check_X(X, self.n_features)

    def _csr(self, rows: Sequence[Row]) -> sp.csr_array:
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(columns) for columns, _ in rows], out=indptr[1:])
        columns = np.concatenate([columns for columns, _ in rows])
        values = np.concatenate([values for _, values in rows])
        return sp.csr_array((values, columns, indptr), shape=(len(rows), self.n_features))


def _json_names(classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Names as JSON has them: what it has no type for, and numbers that are not finite, are written as texts."""
    kind = classes.dtype.kind
    plain = kind in "biuU" or (kind == "f" and bool(np.isfinite(classes).all()))
    if kind == "O":
        plain = all(isinstance(name, str | int) for name in classes.tolist())
    return classes if plain else np.array(as_texts(classes), dtype=object)
