"""What a trained classifier answers: the best labels with their scores, labels by name, probabilities, and why.

Everything goes through predict_topk, which never makes a matrix of all rows by all labels, but for decision_function
and predict_proba, whose result is that matrix (slide/inference/scores.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import Checked, check_lengths, require
from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples
from slide.estimator.encoding import Encoding
from slide.estimator.labels import Labels
from slide.estimator.planned import PlannedNetwork
from slide.estimator.sklearn_api import Estimator
from slide.frames import as_row
from slide.inference.calibration import N_BEST, Calibration
from slide.inference.scores import Floats, all_scores, check_size, label_probabilities, softmax, steepness
from slide.inference.thresholds import Thresholds
from slide.labels.forms import Values
from slide.metrics import precision_at_k
from slide.model.ranker import found_among
from slide.model.shortlists import Found
from slide.network import Network
from slide.training.weights import check_weights

if TYPE_CHECKING:
    from slide.inference.explain import Explanation

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FIRST_K = 8  # labels a row that predict looks at first; twice as many where all of them are predicted


class Predictions(Estimator):
    """The part of a classifier that reads a trained model."""

    network_: Network
    threshold_: float
    threshold: Any
    calibration_: Calibration | None = None
    thresholds_: Thresholds | None = None
    _encoding: Encoding

    @property
    def classes_(self) -> Values:
        """[n_labels]: the labels by column."""
        self._check_fitted()
        return self._labels.classes

    @property
    def n_features_in_(self) -> int:
        """Columns of X."""
        return self.network_.n_features

    @property
    def n_labels_(self) -> int:
        """Labels that are known."""
        return self.network_.n_labels

    @property
    def feature_names_in_(self) -> npt.NDArray[np.object_]:
        """[n_features]: the columns of X, where it was a data frame; else there is no such attribute."""
        names = self._encoding.reader.column_names
        if names is None:
            raise AttributeError("feature_names_in_: this model was fitted without feature names")
        return names

    @property
    def _labels(self) -> Labels:
        return self._encoding.labels

    @property
    def _one_class(self) -> bool:
        """Whether a row has one label, so that probabilities add up to 1."""
        return self._labels.kind == "classes"

    def _rows(self, X: Any) -> sp.csr_array:
        """X as the network sees it."""
        self._check_fitted()
        return self._encoding.rows(X, n_threads=self.network_.n_threads)

    def _examples(self, X: Any) -> Examples:
        """The same as the engine reads them: the short way for one row or text."""
        self._check_fitted()
        return self._encoding.examples(X, self.network_.n_threads)

    # -- the best labels --------------------------------------------------------------------------------------------

    def predict_topk(
        self,
        X: Any,
        k: int = 5,
        *,
        n_candidates: int | None = None,
        names: bool = False,
        index: str | None = None,
        proba: bool = False,
        rest: Callable[[IntArray], Any] | None = None,
    ) -> tuple[Any, FloatArray]:
        """The k best labels of each row, or all where there are fewer: ids int32 [n, k] and scores float32, best first.

        n_candidates None scores every label exactly, or ranks those which leaves return (slide.Network.predict_topk);
        else only about that many which leaves or tables return. Scores rank labels within a row; with proba, the
        probabilities of `predict_proba` come instead, 0 where there is no label. With names, labels stand as in
        `classes_` instead of their column numbers, and None where fewer than k were returned. index="hnsw" finds the
        labels to score by a graph, built at the first such call after training (``network_.build_index``; needs the
        extra `hnsw`).

        Of an optimized model with groups of features, X needs those of the first group only where `rest` is given: a
        function of row numbers, int32 [m], that gives these rows of X with all their features.
        """
        require(isinstance(names, bool | np.bool_), "names", names, "True or False")
        self._check_fitted()
        if rest is not None:
            alone = n_candidates is None and index is None and not proba
            ids, scores = self._by_groups(X, k, rest, alone)
        else:
            found = self._probable if proba else self._best
            ids, scores = found(X, k, n_candidates, index)
        return (self._labels.names(ids) if names else ids), scores

    def _best(self, X: Any, k: int, n_candidates: int | None = None, index: str | None = None) -> Found:
        """As Network.predict_topk."""
        if index is None:
            rows = self._examples(X)  # which says if there is no network yet
            return self.network_.top_labels(rows, k, n_candidates)
        return self.network_.predict_topk(Checked(self._rows(X)), k, n_candidates=n_candidates, index=index)

    def _probable(self, X: Any, k: int, n_candidates: int | None = None, index: str | None = None) -> Found:
        """The same with probabilities."""
        if self.calibration_ is None and self._one_class:
            ids, scores = self._best(X, k, n_candidates, index)
            rows = self._rows(X)
            check_size(rows.shape[0], self.n_labels_, "predict_topk(proba=True) of a model without calibration")
            found = softmax(all_scores(self.network_, rows), steepness(self.network_))
            return ids, np.where(ids >= 0, np.take_along_axis(found, ids, 1), 0).astype(np.float32)
        ids, scores = self._best(X, self._looked_at(k, n_candidates), n_candidates, index)
        p = self._calibrated(ids, scores)
        if p is None:
            p = np.where(ids >= 0, self._label_probabilities(np.where(ids >= 0, scores, -np.inf)), 0)
        return ids[:, :k], p[:, :k].astype(np.float32)

    def _looked_at(self, k: int, n_candidates: int | None = None) -> int:
        """Labels of a row whose scores the probabilities of its k best follow from."""
        if not self._one_class or self.calibration_ is None or not 1 <= k < self.n_labels_:
            return k
        return max(k, min(N_BEST, self.n_labels_, n_candidates or self.n_labels_))

    def _calibrated(self, ids: IntArray, scores: FloatArray) -> Floats | None:
        """Probabilities of so many best labels of rows, 0 where there is none; None of a model without calibration."""
        if self.calibration_ is None:
            return None
        there = ids >= 0
        if there.all():
            return self.calibration_.of_best(scores, self.n_labels_)
        return np.where(there, self.calibration_.of_best(np.where(there, scores, -np.inf), self.n_labels_), 0)

    def _label_probabilities(self, scores: npt.NDArray[Any]) -> Floats:
        """Of a row's best labels [n, k], best first, -infinity for none, where a row may have several."""
        if self.calibration_ is not None:
            return self.calibration_.of_best(scores, self.n_labels_)
        return label_probabilities(scores.astype(np.float64) - self.threshold_, steepness(self.network_))

    def _by_groups(self, X: Any, k: int, rest: Any, alone: bool) -> tuple[IntArray, FloatArray]:
        """The best labels of rows that have the first group of features only; alone: nothing else says how."""
        rows, net = self._examples(X), self.network_
        ok = isinstance(net, PlannedNetwork) and callable(rest) and alone
        require(ok, "rest", rest, "None; a function for an optimized model, without n_candidates, index and proba")
        assert isinstance(net, PlannedNetwork)

        def whole(which: IntArray) -> Examples:
            found = self._examples(rest(which))
            require(found.n_rows == len(which), "rest", f"{found.n_rows:,} rows", f"the {len(which):,} asked for")
            return found

        return net.top_labels(rows, k, rest=whole)

    def predict(self, X: Any) -> Any:
        """Labels in the form in which they were given to ``fit``.

        A vector of classes gives the best class of each row, [n]. An indicator gives an indicator, dense or sparse as
        it was, and lists of labels give lists: the labels whose probability is over a threshold (`thresholds_`, tuned
        for F1 on rows that `fit` kept back, or for what `threshold` says), or with positive scores where none was
        tuned; and the best one in any case where every training row had a label, unless `threshold` is a number or a
        precision. ``predict_topk`` ranks them.
        """
        rows = self._examples(X)
        if self._labels.kind == "classes":
            return self.classes_[self.network_.top_labels(rows, 1)[0][:, 0]]
        if self._labels.kind == "dense":
            check_size(rows.n_rows, self.n_labels_, "predict")
        return self._encoding.decode(self._positive(rows))

    def _positive(self, rows: Examples) -> sp.csr_array:
        """CSR [n, n_labels] of the labels that are predicted."""
        found: list[tuple[Ids, IntArray]] = []
        shape = (rows.n_rows, self.n_labels_)
        waiting, k = np.arange(shape[0]), min(FIRST_K, shape[1])
        while len(waiting):
            some = rows if len(waiting) == shape[0] else rows.take(waiting)
            ids, scores = self.network_.top_labels(some, k)
            positive, last = self._over(ids, scores)
            if self._takes_best:
                positive[:, 0] = True
            more = last & (k < self.n_labels_)
            at, column = np.nonzero(positive & ~more[:, None])
            found.append((waiting[at], ids[at, column]))
            waiting, k = waiting[more], min(2 * k, self.n_labels_)
        if not found:
            return sp.csr_array(shape)
        places = tuple(np.concatenate(part) for part in zip(*found, strict=True))
        return sp.csr_array((np.ones(len(places[0])), places), shape=shape)

    def _decided(self, X: Any, k: int | None = None) -> tuple[IntArray, FloatArray]:
        """The labels that `predict` predicts, with their probabilities: ids int32 [n, k] and float32, best first.

        -1 and 0 stand behind a row's last label. None: k is 64, or all labels where there are fewer.
        """
        self._check_fitted()
        k = min(N_BEST, self.n_labels_) if k is None else k
        ids, p = self._probable(X, k)
        if self._one_class:
            there = np.zeros(ids.shape, np.bool_)
        elif self.thresholds_ is not None:
            there = self.thresholds_.over(ids, p)
        else:
            there = self._best(X, k)[1] > self.threshold_
        if self._one_class or self._takes_best:
            there[:, :1] = True
        return np.where(there, ids, -1).astype(np.int32), np.where(there, p, 0).astype(np.float32)

    @property
    def _takes_best(self) -> bool:
        """Whether the best label of a row is predicted in any case."""
        return self._labels.nonempty and (self.thresholds_ is None or self.thresholds_.takes_best)

    def _over(self, ids: IntArray, scores: FloatArray) -> tuple[Mask, Mask]:
        """[n, k]: which of a row's best labels are over their thresholds; [n]: whether others behind them may be."""
        if self.thresholds_ is None:
            positive = scores > self.threshold_
            return positive, positive[:, -1]
        p = self._label_probabilities(np.where(ids >= 0, scores, -np.inf))
        return self.thresholds_.over(ids, p), self.thresholds_.may_come(p[:, -1], ids.shape[1])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of rows whose best label is one of theirs: accuracy for classes, precision at 1 for several labels.

        y may have any form that `fit` takes, whichever the model was fitted with. Labels that the model does not know
        are missed, with a warning; columns of a data frame are found by name. ``evaluate`` gives every metric.

        sample_weight : [n] numbers of 0 or more, how many times each row counts; or None
        """
        self._check_fitted()
        rows, Y = self._encoding.test_pair(X, y, n_threads=self.network_.n_threads)
        require(rows.shape[0] > 0 or Y.shape[0] > 0, "X and y", "no rows", "at least one to score by")
        check_lengths(rows.shape[0], Y.shape[0])
        ids, weights = self.network_.predict_topk(Checked(rows), 1)[0], check_weights(sample_weight, rows.shape[0])
        if weights is None:
            return float(precision_at_k(Y, ids, k=1))
        require(bool(weights.any()), "sample_weight", "zero for every row", "a weight over 0")
        return float(np.average(found_among(Y, ids)[:, 0], weights=weights))

    # -- every label ------------------------------------------------------------------------------------------------

    def decision_function(self, X: Any) -> Floats:
        """Scores of every label, float64 [n, n_labels]; of the second class less the first, [n], where y has two.

        With several labels a row, positive scores are predicted. ValueError over 1 GiB: take ``predict_topk``.
        """
        scores = self._all_scores(X, "decision_function")
        if self._labels.kind != "classes":
            return scores - self.threshold_
        return scores[:, 1] - scores[:, 0] if self.n_labels_ == 2 else scores

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities float64 [n, n_labels]: rows add up to 1 for classes; else each label stands for itself.

        They rank labels as scores do. Calibrated on rows that were not trained on (`calibration_`): of the labels given
        80 %, about 80 % are right. Where `calibration_` is None (a fit on fewer than 3,000 rows, or with calibrate
        False; models of before) they are a fixed function of the scores, which is too sure of itself on unseen rows:
        ``calibrate`` mends that. ValueError over 1 GiB: take ``predict_topk(proba=True)``.
        """
        scores, slope = self._all_scores(X, "predict_proba"), steepness(self.network_)
        if self.calibration_ is not None:
            return self.calibration_.of_all(scores)
        if self._labels.kind == "classes":
            return softmax(scores, slope)
        return label_probabilities(scores - self.threshold_, slope)

    def _all_scores(self, X: Any, method: str) -> Floats:
        rows = self._rows(X)
        check_size(rows.shape[0], self.n_labels_, method)
        return all_scores(self.network_, rows)

    def explain(self, x: Any, label: Any) -> Explanation:
        """What each feature of one sample added to a label's score.

        Parameters
        ----------
        x : sparse or dense [1, n_features] or [n_features], a list, a row of a data frame; or one text
        label : one of `classes_`
            As ``predict`` names it. By its column, 0 to n_labels - 1, only where labels have no names, or names that
            are no numbers.

        Returns
        -------
        slide.inference.explain.Explanation
            ``print`` it, or take its `features` and `contributions`, which add up to the score with its `rest`.

        Raises
        ------
        ValueError
            For more than one row, or a label that does not exist.
        """
        from slide.inference.explain import explain

        self._check_fitted()
        net = self.network_
        row = self._encoding.rows(as_row(x) if self._encoding.reader.reads_tables else x, check_names=False)
        require(row.shape[0] == 1, "x", f"{row.shape[0]:,} rows", "one row")
        column = self._labels.column(label)
        found = explain(net, row, column)
        return replace(found, names=self._encoding.reader.names, label_name=self._labels.classes[column])
