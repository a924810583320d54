"""The history of a fit in TensorBoard and MLflow. Alone imports tensorboardX and mlflow (extras of these names)."""

from __future__ import annotations

import math
import os
from typing import Any

from slide.training.callbacks import Callback, Record
from slide.training.progress import Progress

LEFT_OUT = ("epoch_ended", "samples")  # the first is no measurement, the second is the step


def scalars(record: Record) -> dict[str, float]:
    """The finite numbers of a record by name."""
    values = {name: float(value) for name, value in record.items() if name not in LEFT_OUT and value is not None}
    return {name: value for name, value in values.items() if math.isfinite(value)}


class TensorBoardLogger(Callback):
    """Writes each record of a fit's history as TensorBoard scalars, with the samples so far as step.

    Parameters
    ----------
    folder : path of the run's folder

    Raises
    ------
    ImportError
        Without tensorboardX: ``pip install 'slide-xmc[tensorboard]'``.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            import tensorboardX
        except ImportError as e:
            raise ImportError("TensorBoardLogger needs tensorboardX: pip install 'slide-xmc[tensorboard]'") from e
        self._tensorboardX: Any = tensorboardX
        self._folder = os.fspath(folder)
        self._writer: Any = None

    def on_fit_begin(self, progress: Progress, network: Any) -> None:
        self._writer = self._tensorboardX.SummaryWriter(self._folder)

    def on_record(self, record: Record, progress: Progress) -> None:
        for name, value in scalars(record).items():
            self._writer.add_scalar(name, value, record["samples"])

    def on_fit_end(self, progress: Progress, network: Any) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None


class MLflowLogger(Callback):
    """Logs each record of a fit's history as MLflow metrics, with the samples so far as step.

    Goes into the active run, or into one of its own. ``p@1`` is logged as ``p_at_1``: names there allow no @. The
    network's description becomes parameters.

    Parameters
    ----------
    run_name : str or None
        Of the run that is begun where none is active.

    Raises
    ------
    ImportError
        Without mlflow: ``pip install 'slide-xmc[mlflow]'``.
    """

    def __init__(self, run_name: str | None = None) -> None:
        try:
            import mlflow
        except ImportError as e:
            raise ImportError("MLflowLogger needs mlflow: pip install 'slide-xmc[mlflow]'") from e
        self._mlflow: Any = mlflow
        self._name, self._began = run_name, False

    def on_fit_begin(self, progress: Progress, network: Any) -> None:
        self._began = self._mlflow.active_run() is None
        if self._began:
            self._mlflow.start_run(run_name=self._name)
        self._mlflow.log_params(
            {
                "layers": ", ".join(map(repr, network.layers))[:500],
                "optimizer": repr(network.optimizer),
                "loss": network.loss,
                "epochs": progress.epochs,
                "seed": network.seed,
            }
        )

    def on_record(self, record: Record, progress: Progress) -> None:
        values = {name.replace("@", "_at_"): value for name, value in scalars(record).items()}
        self._mlflow.log_metrics(values, step=record["samples"])

    def on_fit_end(self, progress: Progress, network: Any) -> None:
        if self._began:
            self._mlflow.end_run()
            self._began = False
