"""What a fit was asked to do beside training."""

from __future__ import annotations

from dataclasses import dataclass

from slide.optim import Schedule
from slide.training.callbacks import Callbacks
from slide.training.checkpoint import CheckpointWriter
from slide.training.early_stopping import ModelSelection


@dataclass(frozen=True)
class Plan:
    """What a fit was asked to do beside training."""

    epochs: int
    schedule: Schedule
    callbacks: Callbacks
    judge: ModelSelection
    saver: CheckpointWriter | None = None
