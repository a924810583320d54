"""When a fit asks for one more worker, and when it lets one go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from shared_fits import fitted, until_heard

from slide.distributed.engines import Local
from slide.distributed.training import scaling, work
from slide.distributed.training.scaling import MEASURED, Scaling


def grown(least: int, most: int, rate: Callable[[int], float], windows: int = 100) -> list[int]:
    """The numbers of workers of a fit in which so many samples a second are trained with so many."""
    rule, workers, found = Scaling(least, most), least, [least]
    for _ in range(windows):
        wish = rule.take(workers, 1000, 1000 / rate(workers))
        if wish is not None:
            workers = wish[0]
            found.append(workers)
    return found


def test_workers_come_as_long_as_each_brings_enough() -> None:
    assert grown(2, 8, lambda n: 100.0 * n) == [2, 3, 4, 5, 6, 7, 8]
    assert grown(2, 8, lambda n: 100.0 * min(n, 4)) == [2, 3, 4, 5, 4]
    assert grown(2, 8, lambda n: 100.0) == [2, 3, 2]
    assert grown(3, 4, lambda n: 100.0 * n**0.9) == [3, 4]


def test_the_first_window_after_a_change_does_not_count() -> None:
    rule = Scaling(1, 2)
    assert rule.take(1, 1000, 1e6) is None
    for _ in range(MEASURED - 1):
        assert rule.take(1, 1000, 1.0) is None
    assert rule.take(1, 1000, 1.0) == (2, "1,000 samples/s with one worker: asking for one more")
    assert rule.rates == {1: 1000.0}


def test_nobody_is_asked_for_again_before_somebody_came() -> None:
    rule = Scaling(2, 8)
    asked = [rule.take(2, 1000, 1.0) for _ in range(50)]
    assert len([wish for wish in asked if wish is not None]) == 1


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize(("worth", "sizes"), [(-100.0, [(1, 2)]), (100.0, [(1, 2), (2, 1)])], ids=["worth it", "not"])
def test_a_fit_asks_by_itself(worth: float, sizes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "WORTH", worth)
    monkeypatch.setattr(scaling, "MEASURED", 2)
    real = work._OneWorker._scale

    def scale(self: work._OneWorker) -> None:
        real(self)
        if self._scaling is not None and self._scaling.asked is not None and not self._training.group.rank:
            until_heard(self._member)

    monkeypatch.setattr(work._OneWorker, "_scale", scale)
    clf = fitted(Local((1, 2)), epochs=12, wide=False)
    assert [(change.before, change.after) for change in clf.shared_fit_.changes] == sizes
    assert sum(change.lost_labels for change in clf.shared_fit_.changes) == 0


def test_of_a_number_nobody_asks() -> None:
    assert Local(2)._scaling() is None
    assert Local((2, 2))._scaling() is None
    assert Local((2, 8))._scaling() == Scaling(2, 8)
