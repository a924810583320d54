"""What tests of shared fits do to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slide.distributed.training import loop
from slide.distributed.training.loop import SharedTraining


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several in an epoch of few rows."""
    monkeypatch.setattr(loop, "WINDOW", 512)


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> dict[int, Callable[[SharedTraining], None]]:
    """What a worker does before its block of that step."""
    events: dict[int, Callable[[SharedTraining], None]] = {}
    real = SharedTraining.train_block

    def block(self: SharedTraining, fit: Any) -> Any:
        if self.step in events:
            events[self.step](self)
        return real(self, fit)

    monkeypatch.setattr(SharedTraining, "train_block", block)
    return events
