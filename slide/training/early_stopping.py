"""Early stopping: when a fit ends before its last epoch, and which of its models it leaves."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from slide.checks import number, require, whole
from slide.io.fingerprint import fingerprint
from slide.io.model_file import read_model, save_model
from slide.model.model import Model
from slide.model.snapshot import Snapshot
from slide.training.evaluation import METRICS, Evaluator
from slide.training.progress import Progress


@dataclass(frozen=True)
class EarlyStopping:
    """When a fit with an evaluation set ends before its last epoch, and which of its models it leaves.

    The learning rate falls over all epochs that were asked for, unless the schedule is Constant: stopping early also
    leaves out the small steps at the end. Compare with fewer epochs.

    Parameters
    ----------
    patience : int
        Epochs in a row without a better value after which the fit ends.
    metric : str
        "p@1", "p@3", "p@5", psp, ndcg, psndcg, recall at these k, of the evaluation set; or one that a callback adds.
    min_delta : float
        What counts as better: more by over this, as a fraction.
    restore_best : bool
        The fit leaves the model of the best epoch, instead of the last one. It costs a copy of the parameters; in a
        file beside the checkpoint where there is one.

    Examples
    --------
    >>> import slide
    >>> X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
    >>> clf = slide.SlideClassifier(hidden=(8,), epochs=50, schedule=slide.Constant(), n_threads=1)
    >>> clf = clf.fit(X, Y, eval_set=0.2, early_stopping=slide.EarlyStopping(patience=2))
    >>> clf.network_.epoch < 50
    True
    """

    patience: int = 2
    metric: str = "p@1"
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        require(whole(self.patience) >= 1, "EarlyStopping(patience=)", self.patience, "1 epoch or more")
        require(isinstance(self.metric, str), "EarlyStopping(metric=)", self.metric, "a name like 'p@1'")
        require(isinstance(self.restore_best, bool), "EarlyStopping(restore_best=)", self.restore_best, "True or False")
        ok = 0 <= number(self.min_delta) < float("inf")
        require(ok, "EarlyStopping(min_delta=)", self.min_delta, "a finite number, 0 or more")

    def best_epoch(self, history: list[dict[str, Any]]) -> int:
        """Which of the evaluations so far was the best, from 0; -1 for none. It follows from the history alone, so
        that a resumed fit decides as an uninterrupted one does."""
        best, at = -float("inf"), -1
        for i, value in enumerate(self._values(history)):
            if at < 0 or value > best + self.min_delta:
                best, at = value, i
        return at

    def says_stop(self, history: list[dict[str, Any]]) -> bool:
        """Whether patience is at its end."""
        return len(self._values(history)) - 1 - self.best_epoch(history) >= self.patience

    def _values(self, history: list[dict[str, Any]]) -> list[float]:
        ended = [record for record in history if record["epoch_ended"]]
        if ended and self.metric not in ended[-1]:
            known = ", ".join(name for name in ended[-1] if "@" in name)
            raise ValueError(f"EarlyStopping(metric=): found {self.metric!r}, wanted one of {known}")
        return [record[self.metric] for record in ended]


class ModelSelection:
    """What a fit does between two epochs: scores the network, keeps the best one, says when it is enough."""

    def __init__(self, evaluator: Evaluator | None, early: EarlyStopping | None, beside: Path | None) -> None:
        """beside : the checkpoint's file, next to which the best model is kept."""
        self._evaluator, self._early = evaluator, early
        self._file = beside.with_name(f"{beside.name}.best") if beside else None
        self._kept: Snapshot | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the metrics."""
        return list(METRICS) if self._evaluator else []

    @property
    def metric(self) -> str:
        """The one to be shown while the fit goes on."""
        return self._early.metric if self._early else "p@1"

    def begin(self, progress: Progress) -> None:
        """Before the first chunk: a best model that an earlier fit left is not this one's."""
        if self._file and not progress.done:
            self._file.unlink(missing_ok=True)

    def evaluate(self, net: Model, progress: Progress) -> None:
        """At an epoch's end; `progress` gets the metrics, and the time that it took apart from the training's."""
        begin = time.perf_counter()
        progress.metrics = self._evaluator(net) if self._evaluator else {}
        progress.evaluation_seconds += time.perf_counter() - begin

    def decide(self, net: Model, progress: Progress) -> None:
        """After the epoch's record was made."""
        if self._early is None:
            return
        newest = sum(record["epoch_ended"] for record in progress.history) - 1
        if self._early.best_epoch(progress.history) == newest:
            self._keep(net)
        progress.stop = progress.stop or self._early.says_stop(progress.history)

    def finish(self, net: Model, progress: Progress) -> None:
        """Puts the best model in place of the last one, if that was asked for."""
        if self._early is None or not self._early.restore_best or self._early.best_epoch(progress.history) < 0:
            return
        kept = self._kept and self._kept.placed()
        if self._file and self._file.exists():
            kept = read_model(self._file, map_rows=net.memory is not None).snapshot
            self._file.unlink()
        if kept and kept.config["progress"]["step"] != net.step:
            net.restore(kept)

    def _keep(self, net: Model) -> None:
        if self._early is None or not self._early.restore_best:
            return
        if self._file:
            save_model(net, self._file, tables=True)
        else:
            self._kept = net.snapshot(tables=True).copied()


def model_selection(
    held: tuple[sp.csr_array, sp.csr_array] | None,
    Y_train: sp.csr_array | None,
    early: EarlyStopping | None,
    checkpoint: str | os.PathLike[str] | None,
) -> ModelSelection:
    """Of a fit with or without rows held out, X and Y.

    Raises
    ------
    ValueError
        For early stopping without an evaluation set.
    """
    ok = early is None or isinstance(early, EarlyStopping)
    require(ok, "early_stopping", early, "a slide.EarlyStopping or None")
    if early is not None and held is None and early.metric in METRICS:
        raise ValueError("early_stopping: found no eval_set, wanted the rows to judge by: eval_set=(X, y), or a share")
    evaluator = Evaluator(*held, Y_train) if held else None
    return ModelSelection(evaluator, early, Path(checkpoint) if checkpoint else None)


def held_out_key(early: EarlyStopping | None, held: tuple[sp.csr_array, sp.csr_array] | None) -> dict[str, Any]:
    """What else must be equal for a fit to go on from a checkpoint, as JSON values; nothing for fits without either."""
    options: dict[str, Any] = {"early_stopping": asdict(early)} if early else {}
    return options | ({"eval_set": fingerprint(*held)} if held else {})
