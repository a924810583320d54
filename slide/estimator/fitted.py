"""What else one does with a trained classifier: change its labels, look at its card, save, compress and export it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from slide.checks import require, warn
from slide.engine.layout import IntArray
from slide.estimator.card import Card, markdown
from slide.estimator.deciding import BestLabels, check_given, decide_on, fixed_thresholds, learn_on
from slide.estimator.encoding import Encoding, MatrixReader, Reader
from slide.estimator.holdout import encoded
from slide.estimator.plan import FitPlan
from slide.estimator.planned import COLUMNS, PlannedNetwork, ServingPlan
from slide.estimator.predictions import Predictions
from slide.estimator.speed_report import SpeedReport
from slide.estimator.stored_options import restored_options, stored_options, stored_schedule
from slide.inference.calibration import Calibration
from slide.inference.onnx import export
from slide.inference.thresholds import Thresholds
from slide.io.model_file import save_model
from slide.labels.forms import Values, class_names
from slide.labels.stored_names import as_texts
from slide.network import Network
from slide.optim import Schedule

FITTED = ("fit_seconds_", "samples_per_second_", "threshold_")


class FittedClassifier(Predictions):
    """The part of a classifier that a network and an encoding are enough for; what is recorded of its training."""

    fit_seconds_: float
    samples_per_second_: float
    history_: list[dict[str, Any]]
    card_: Card
    plan_: FitPlan
    shared_fit_: Any
    tuned_: Any  # slide.autotuning.Autotuned, where slide.autotune made it
    schedule: Schedule | None
    class_weight: Any
    verbose: int

    # -- how X is read: a subclass may have another reader ------------------------------------------------------------

    def _new_reader(self) -> Reader:
        return MatrixReader(type(self).__name__)

    @classmethod
    def _restored_reader(cls, config: Mapping[str, Any], arrays: Mapping[str, Values], n_features: int) -> Reader:
        return MatrixReader.restored(config, n_features, cls.__name__)

    # -- labels that come and go ------------------------------------------------------------------------------------

    def add_labels(self, labels: Any) -> Self:
        """Makes room for labels that later calls of ``partial_fit`` bring examples of.

        Parameters
        ----------
        labels : sequence of new labels; or int, how many, where labels are columns without names
            They follow the others in `classes_`. Until they are trained they score like labels that are never met.
        """
        self._check_fitted()
        known, n_labels = self._labels, self.n_labels_
        if not known.named:
            require(bool(isinstance(labels, int | np.integer) and labels > 0), "labels", labels, "how many, 1 or more")
            return self._resize(np.arange(n_labels, dtype=np.int32), np.arange(n_labels, n_labels + labels))
        new = class_names(labels, "labels")
        known.check_new(new)
        return self._resize(np.arange(n_labels, dtype=np.int32), new)

    def forget(self, labels: Any) -> Self:
        """Takes labels out, and all that was learned of them.

        Parameters
        ----------
        labels : sequence of labels as in `classes_`
            The columns of those that stay move up.
        """
        self._check_fitted()
        keep = np.setdiff1d(
            np.arange(self.n_labels_, dtype=np.int32),
            self._labels.ids(class_names(labels, "labels"), argument="labels"),
        )
        require(bool(len(keep)), "labels", f"all {self.n_labels_:,}", "at least one that stays")
        return self._resize(keep, self._labels.classes[:0])

    def _resize(self, keep: IntArray, new: Values) -> Self:
        from slide.model.resize import resized

        self.network_ = resized(self.network_, keep, len(new))
        self._encoding = self._encoding.resized(keep, new)
        self.thresholds_ = self.thresholds_ and self.thresholds_.resized(keep)
        return self

    # -- how well it predicts ---------------------------------------------------------------------------------------

    def evaluate(
        self,
        X: Any,
        y: Any,
        *,
        Y_train: Any = None,
        ks: Sequence[int] = (1, 3, 5),
        sample_weight: Any = None,
        filter_labels: Any = None,
        n_candidates: int | None = None,
        A: float = 0.55,
        B: float = 1.5,
    ) -> dict[str, float]:
        """Every metric at every k on rows with known labels: {"p@1": ..., "ndcg@1": ..., "recall@1": ...}, fractions.

        Parameters
        ----------
        X : rows as ``fit`` takes them
        y : their labels, in any form that ``fit`` takes, whichever the model was fitted with
            Labels that the model does not know are missed, with a warning; columns of a data frame are found by name.
        Y_train : labels of the training rows, in any such form, optional
            Adds "psp@k" and "psndcg@k", whose propensities A and B belong to (slide.metrics.psp_at_k).
        ks : whole numbers; over the number of labels, what is missing is missed
        sample_weight : [n] numbers of 0 or more, how many times each row counts; or None
        filter_labels : pairs of a row and a label that are neither true nor predicted, or None
            Labels by name, or by column where they have none.
        n_candidates
            As in ``predict_topk``.

        Raises
        ------
        ValueError
            For no rows, and as ``slide.metrics.evaluate``.

        Examples
        --------
        >>> import slide
        >>> X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
        >>> clf = slide.SlideClassifier(hidden=(32,), epochs=3, n_threads=1).fit(X[:1900], Y[:1900])
        >>> scores = clf.evaluate(X[1900:], [Y[[row]].indices for row in range(1900, 2000)], Y_train=Y[:1900])
        >>> scores["p@1"] > 0.5, "psp@5" in scores
        (True, True)
        """
        from slide.estimator.scored import evaluate

        self._check_fitted()
        found = {"Y_train": Y_train, "ks": ks, "sample_weight": sample_weight, "filter_labels": filter_labels}
        return evaluate(self.network_, self._encoding, X, y, n_candidates, A=A, B=B, **found)

    # -- probabilities ------------------------------------------------------------------------------------------------

    def calibrate(self, X: Any, y: Any) -> Self:
        """Learns probabilities anew on rows that were not trained on, X and y as `fit` takes them; 20 or more.

        Scores stay what they are; thresholds are tuned anew. For models whose fit kept no rows back, and for data that
        have changed.
        """
        self._check_fitted()
        return self._calibrate(*encoded((X, y), self._encoding, self.network_.n_threads, "calibrate"))

    def _calibrate(self, rows: sp.csr_array, Y: sp.csr_array, threshold: Any = None) -> Self:
        """The same, of rows as the network sees them; threshold : as ``tune_threshold`` takes it."""
        check_given(rows, "calibrate")
        fixed_thresholds(threshold, self._one_class)
        learn_on(self, rows, Y, threshold, must=True)
        return self

    def tune_threshold(self, X: Any, y: Any, threshold: Any = None) -> Self:
        """Learns anew which labels `predict` predicts, on rows that were not trained on, X and y as `fit` takes them.

        Parameters
        ----------
        X, y : 20 rows or more
        threshold : as the option of the same name
            "f1": one threshold for all labels, under which predictions have the best F1 together. "macro-f1": one for
            each label that these rows have, drawn towards that of all where it has few; labels count alike.
            "precision=0.9": the most labels of which nine in ten are right. A float under 1: labels of a higher
            probability. An int: that many for every row. None: as the option says, or "f1".

        Probabilities stay what they are (``calibrate``), as does `threshold`, of which the next fit learns.
        """
        self._check_fitted()
        wish = self.threshold if threshold is None else threshold
        fixed_thresholds(wish, self._one_class)
        require(not self._one_class, "tune_threshold", "one class a row, which is predicted", "several labels a row")
        rows, Y = encoded((X, y), self._encoding, self.network_.n_threads, "tune_threshold")
        check_given(rows, "tune_threshold")
        decide_on(self, BestLabels.of(self.network_, rows, Y), wish)
        return self

    # -- how fast it predicts ---------------------------------------------------------------------------------------

    def optimize(
        self,
        X_val: Any,
        y_val: Any = None,
        *,
        metric: str = "p@1",
        max_loss: float = 0.005,
        confidence: float = 0.95,
        feature_groups: Mapping[str, Any] | None = None,
        batch: int = 1,
    ) -> Self:
        """A copy that only predicts, as fast as is shown to cost no more than `max_loss` (Kraft et al., MLSys 2020).

        Tried are weights of 8 bits, fewer candidates, fewer ranked labels, and a first group of features for rows where
        they decide. Plans are chosen on some of the rows, at most half and 5,000, and tested on the others: that the
        plan loses more, on rows drawn as these were, has a chance of at most 1 - confidence. `plan_` of the copy says
        what was chosen, `report_` how fast it is and what was tried. Where no plan is confirmed, or 1.3 times as fast,
        the copy predicts as this one does, and ``report_.declined`` says why.

        Parameters
        ----------
        X_val, y_val : rows as ``fit`` takes them, and their labels in any form; not rows of the training
        metric : str
            p, recall or ndcg @k; or agreement@k, the share of the best k labels that stay, which needs no labels.
        max_loss : float
            Of the metric, a share: 0.005 is half a point of 100.
        confidence : float
        feature_groups : dict of names and columns, or slide.Group, or None
            The first group is read first: rows whose best label leads by enough stop there. See `predict_topk(rest=)`.
        batch : int
            Rows of a call in service: the times that decide are those of such calls.

        Raises
        ------
        ValueError
            For an unknown metric, labels that do not fit, or a model that is optimized already.

        The copy refuses to predict once this classifier is trained further, or its labels change.
        """
        self._check_fitted()
        Y = None
        if y_val is not None:
            truth = self._encoding.labels.truth(y_val)
            Y = truth.Y
            if remark := truth.remark():
                warn(f"y_val: {remark}")
        how: dict[str, Any] = {"metric": metric, "max_loss": max_loss, "confidence": confidence, "batch": batch}
        return self._optimized(X_val, Y, feature_groups=feature_groups, **how)

    def _optimized(self, X: Any, Y: Any, **how: Any) -> Self:
        """By an indicator, CSR [n, at least n_labels], or None; how: slide.estimator.optimizing.optimized."""
        from slide.estimator.optimizing import optimized

        return self._planned(optimized(self.network_, self._encoding, X, Y, source=self, **how))

    def _planned(self, network: PlannedNetwork) -> Self:
        fast = copy.copy(self)
        fast.network_ = network
        vars(fast)["plan_"] = network.plan  # of another kind than what a fit chooses
        return fast

    @property
    def report_(self) -> SpeedReport:
        """What `optimize` measured and tried; there is no such attribute where it was not called."""
        net = getattr(self, "network_", None)
        if not isinstance(net, PlannedNetwork):
            raise AttributeError("report_: this model was not optimized")
        report: SpeedReport = net.report
        return report

    # -- what is known of it -----------------------------------------------------------------------------------------

    def card(self) -> str:
        """The model card, Markdown: data, options, time, memory, scores and limits. `slide card MODEL` prints it."""
        self._check_fitted()
        return markdown(self.card_, type(self).__name__, self.network_, self.changed_params())

    # -- files ------------------------------------------------------------------------------------------------------

    def save(self, path: Any) -> None:
        """Writes the model to one file (slide.io.model_file); ``slide.load`` reads it again.

        path : of the file, which is replaced when the new one is complete and keeps its permissions; or a file object
            opened for writing bytes (``io.BytesIO``, a file, a compressed stream), which stays open
        """
        self._check_fitted()
        save_model(self.network_, path, **self._stored())

    def save_shards(self, folder: Any, shards: int | None = None) -> None:
        """Writes the model in parts, each with some of the features and labels, which ``slide.load`` reads again.

        Parameters
        ----------
        folder : path
            It is made; a model in parts that was there is replaced when the new one is complete.
        shards : int or None
            How many; workers that load them may be more or fewer. None: as many as trained the model, 2 otherwise.

        Raises
        ------
        ValueError
            For a network of more than one hidden layer, a compressed one, or one with ``memory``.

        Examples
        --------
        >>> import slide, tempfile
        >>> X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
        >>> clf = slide.SlideClassifier(hidden=(8,), epochs=1, n_threads=1).fit(X, Y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.save_shards(f"{folder}/model")
        ...     shared = slide.load(f"{folder}/model", cluster=slide.distributed.Local(workers=3))
        ...     ids, _ = shared.predict_topk(X[:4], k=2)
        ...     shared.network_.close()
        >>> ids.shape
        (4, 2)
        """
        self._check_fitted()
        fit = getattr(self, "shared_fit_", None)
        self.network_.save_shards(folder, shards, default=2 if fit is None else len(fit.workers), **self._stored())

    def compress(self) -> Self:
        """A copy that only predicts, with weights of 8 bits: see ``Network.compress``. `save` takes it too."""
        self._check_fitted()
        small = copy.copy(self)
        small.network_ = self.network_.compress()
        return small

    def export_onnx(self, path: Any, *, k: int = 5) -> None:
        """As ``Network.export_onnx``, for X as `fit` takes it; label names are in the metadata `labels`, as JSON.

        A text classifier's graph begins where its features are made: its columns are those of ``vocabulary_``, and the
        metadata `features` say, as JSON, how to make them (docs/export.md).
        """
        self._check_fitted()
        export(self.network_, path, k, scaling=self._encoding.scaling, metadata=self._metadata())

    def _metadata(self) -> dict[str, str]:
        """What a graph holds besides the network, each as JSON."""
        return {"labels": json.dumps(list(as_texts(self.classes_)))}

    def _stored(self) -> dict[str, Any]:
        """What a file holds besides the network, as keyword arguments of slide.io.model_file.save_model."""
        arrays = self._encoding.arrays()
        if isinstance(self.network_, PlannedNetwork) and self.network_.first_columns is not None:
            arrays = arrays | {COLUMNS: self.network_.first_columns}
        return {"extra": {"classifier": self._config()}, "extra_arrays": arrays}

    def _config(self) -> dict[str, Any]:
        """Options and what was learned as JSON values; what the network stores itself is left out."""
        planned, net = {}, self.network_
        if isinstance(net, PlannedNetwork):
            planned = {"optimized": {"plan": net.plan.config(), "report": net.report.config()}}
        fit_plan = getattr(self, "plan_", None)
        return {
            **planned,
            "kind": type(self).__name__,
            "params": stored_options(self.get_params(deep=False), self._labels, self.network_.seed),
            "schedule": stored_schedule(self.schedule),
            "card": getattr(self, "card_", Card()).config(),
            "history": getattr(self, "history_", self.network_.history),
            "plan": fit_plan.config() if isinstance(fit_plan, FitPlan) else None,
            "calibration": self.calibration_ and self.calibration_.config(),
            "thresholds": self.thresholds_ and self.thresholds_.config(),
            "fitted": {name: getattr(self, name, 0.0) for name in FITTED},  # times are known after the fit
            **self._encoding.config(),
        }

    @classmethod
    def _restore(cls, network: Network, config: Mapping[str, Any], arrays: Mapping[str, Values]) -> Self:
        """The inverse of `save`, with the stored objects taken from the network."""
        reader = cls._restored_reader(config, arrays, network.n_features)
        options = restored_options(config["params"], config.get("schedule"), network)
        clf = cls(**{name: value for name, value in options.items() if name in cls._parameter_names()})
        clf.network_ = network
        clf._encoding = Encoding.restored(reader, config, arrays, network.n_features, network.n_labels)
        if isinstance(clf.class_weight, list):
            names = clf.classes_.tolist()
            clf.class_weight = {names[column]: weight for column, weight in clf.class_weight}
        for name in FITTED:
            setattr(clf, name, float(config["fitted"].get(name, 0)))
        clf.card_ = Card.restored(config.get("card"))
        if config.get("plan") is not None:  # files of before do not say
            clf.plan_ = FitPlan.restored(config["plan"])
        if config.get("calibration") is not None:
            clf.calibration_ = Calibration.restored(config["calibration"])
            require(
                clf.calibration_.one_class == clf._one_class, "calibration", config["calibration"], "the labels' kind"
            )
        if config.get("thresholds") is not None:
            clf.thresholds_ = Thresholds.restored(config["thresholds"], network.n_labels)
        clf.history_ = network.history = [dict(record) for record in config.get("history", ())]
        return clf._replanned(config["optimized"], arrays) if "optimized" in config else clf

    def _replanned(self, config: Mapping[str, Any], arrays: Mapping[str, Values]) -> Self:
        """The optimized model that was saved."""
        plan, report = ServingPlan.restored(config["plan"]), SpeedReport.restored(config["report"])
        first, unit = arrays.get(COLUMNS), self._encoding.scaling.kind == "unit"
        return self._planned(PlannedNetwork.over(self.network_, plan, first=first, unit=unit, report=report))
