"""What tests of shared fits do to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from shared_fits import until_heard

from slide.distributed.training import loop, work
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


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Callable[[SharedTraining], None]]:
    """Asks for a number of workers, and waits until they can come or go: at the same step each time."""
    members: dict[int, Any] = {}
    begin = work._OneWorker.__init__

    def noted(self: Any, fit: Any, member: Any) -> None:
        begin(self, fit, member)
        members[id(self._training)] = member

    def asks(workers: int) -> Callable[[SharedTraining], None]:
        def act(training: SharedTraining) -> None:
            if training.group.rank == 0 and training.group.size != workers:
                member = members[id(training)]
                member.want(workers)
                until_heard(member)

        return act

    monkeypatch.setattr(work._OneWorker, "__init__", noted)
    return asks
