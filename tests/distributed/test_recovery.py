"""Exact recovery: a fit that lost workers has the bits of one that lost nobody. In threads, each a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_fits import N, X, Y, dies, fitted, p_at_1

import slide
from slide.distributed.engines import Local, from_name
from slide.distributed.training import files, pace, work
from slide.distributed.training.checkpoints import Saving
from slide.distributed.training.loop import SharedTraining
from slide.distributed.transport import supervise

pytestmark = pytest.mark.usefixtures("small_windows")
NETWORK: dict[str, Any] = {"wide": False, "n_active": 64, "calibrate": False}
#: Tables that are rebuilt often, of which the first do not find enough.
GROWS = NETWORK | {"lsh": slide.lsh.QueryCells(K=6, recall=0.99), "rebuild": slide.Rebuild(every=300), "epochs": 4}
WALK = NETWORK | {"wide": True}


def exact(workers: int | tuple[int, int] = 2) -> Local:
    return Local(workers, recovery="exact")


def saved(folder: Path, **how: Any) -> slide.Checkpoint:
    return slide.Checkpoint(folder, **{"samples": 512, "minutes": None, **how})


def assert_same(one: slide.SlideClassifier, other: slide.SlideClassifier) -> None:
    arrays, same = one.network_.snapshot().arrays, other.network_.snapshot().arrays
    assert arrays.keys() == same.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, same[name], name)
    assert one.network_.step == other.network_.step


@pytest.mark.parametrize(
    ("options", "losses"),
    [
        (NETWORK, {1756: [1]}),
        (WALK, {1756: [0]}),
        (GROWS, {2983: [1], 4756: [0]}),
        (NETWORK, {256: [0]}),
        (NETWORK, {1280: [0, 1]}),
    ],
    ids=["network", "walk", "tables that grow, two losses", "before the first checkpoint", "all"],
)
def test_a_fit_that_lost_workers_has_the_same_bits(
    options: dict[str, Any], losses: dict[int, list[int]], at_step: dict[int, Any], tmp_path: Path
) -> None:
    whole = fitted(exact(), checkpoint=saved(tmp_path / "whole"), **options)
    assert not whole.shared_fit_.changes
    done: list[int] = []
    for step, ranks in losses.items():
        at_step[step] = each(*map(dies, ranks), lambda training, ranks=ranks: done.append(len(ranks)))
    lost = fitted(exact(), checkpoint=saved(tmp_path / "lost"), **options)
    assert done
    backs = [change.back_to for change in lost.shared_fit_.changes]
    assert all(back <= step for back, step in zip(backs, losses, strict=len(losses[min(losses)]) == 1))
    assert_same(whole, lost)
    assert [r["samples"] for r in lost.history_] == [r["samples"] for r in whole.history_]


def each(*actions: Callable[[SharedTraining], None]) -> Callable[[SharedTraining], None]:
    def act(training: SharedTraining) -> None:
        for action in actions:
            action(training)

    return act


def test_the_best_model_comes_back_too(at_step: dict[int, Any], tmp_path: Path) -> None:
    """With steps that grow too large, the first epoch is the best, and the loss comes after it."""
    grows: dict[str, Any] = {"epochs": 9, "schedule": slide.Constant(), "lr": 0.5, "eval_set": (X[N:], Y[N:])}
    how = NETWORK | grows | {"early_stopping": slide.EarlyStopping(patience=2)}
    whole = fitted(exact(), checkpoint=saved(tmp_path / "whole"), **how)
    ended = [record for record in whole.history_ if record["epoch_ended"]]
    assert whole.network_.epoch < len(ended)
    at_step[N * (len(ended) - 1) + 1024] = dies(0)
    lost = fitted(exact(), checkpoint=saved(tmp_path / "lost"), **how)
    assert lost.shared_fit_.changes
    assert_same(whole, lost)
    assert [r["p@1"] for r in lost.history_ if r["epoch_ended"]] == [r["p@1"] for r in ended]


@pytest.mark.parametrize("step", [512, 1500], ids=["first block after it", "later"])
def test_workers_may_come_and_go_between_losses(step: int, at_step: dict[int, Any], ask: Any, tmp_path: Path) -> None:
    """Two become three after the first window, and two again after the first epoch's."""

    def fit(name: str, **events: Any) -> slide.SlideClassifier:
        at_step.clear()
        at_step.update({256: ask(3), 1756: ask(2), **events.get("at", {})})
        return fitted(exact((2, 3)), checkpoint=saved(tmp_path / name, samples=10**6), **NETWORK)

    whole = fit("whole")
    sizes = [(change.before, change.after) for change in whole.shared_fit_.changes]
    assert sizes == [(2, 3), (3, 2)]
    lost = fit("lost", at={step: dies(1), 2524: dies(1)})
    assert [change.back_to for change in lost.shared_fit_.changes] == [None, 512, None, 2012]
    assert_same(whole, lost)


def test_a_loss_while_workers_change_costs_no_bits(
    at_step: dict[int, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker dies while all write a checkpoint, and one while the group after that begins."""
    whole = fitted(exact(), checkpoint=saved(tmp_path / "whole"), **NETWORK)
    once = {"saving": dies(1), "beginning": dies(0)}
    write, begin = Saving.save, Saving.manifest

    def save(self: Saving, training: SharedTraining, judge: Any = None) -> Any:
        if training.at.step > 1024:
            once["saving"](training)
        return write(self, training, judge)

    def manifest(self: Saving, training: SharedTraining) -> Any:
        if training.group.generation == 1:
            once["beginning"](training)
        return begin(self, training)

    monkeypatch.setattr(Saving, "save", save)
    monkeypatch.setattr(Saving, "manifest", manifest)
    lost = fitted(exact(), checkpoint=saved(tmp_path / "lost"), **NETWORK)
    assert_same(whole, lost)


def test_a_loss_after_the_last_block_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first worker dies with what it merged."""
    whole = fitted(exact(), checkpoint=saved(tmp_path / "whole"), **NETWORK)
    die, found = dies(0), work._OneWorker._found

    def dead(self: Any, *arguments: Any) -> Any:
        result = found(self, *arguments)
        die(self._training)
        return result

    monkeypatch.setattr(work._OneWorker, "_found", dead)
    assert_same(whole, fitted(exact(), checkpoint=saved(tmp_path / "lost"), **NETWORK))
    die = dies(0)
    lost = fitted(Local(2), checkpoint=saved(tmp_path / "partial"), **NETWORK)
    assert lost.shared_fit_.changes
    assert p_at_1(lost) > p_at_1(whole) - 0.1


def test_nothing_follows_from_the_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker that is slow keeps its share."""
    monkeypatch.setattr(pace.Pace, "better", lambda self, shares: [0.9, 0.1])
    whole = fitted(exact(), checkpoint=saved(tmp_path / "run"), **NETWORK)
    assert not whole.shared_fit_.changes
    ranges: set[tuple[Any, ...]] = set()
    monkeypatch.setattr(
        SharedTraining, "train_block", watched(SharedTraining.train_block, lambda t: ranges.add(t.shard.labels))
    )
    fitted(exact(), checkpoint=saved(tmp_path / "again"), **NETWORK)
    assert len(ranges) == 2


def watched(real: Callable[..., Any], see: Callable[[Any], None]) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any) -> Any:
        see(self)
        return real(self, *arguments)

    return call


def test_who_cannot_be_replaced_ends_the_fit_and_the_checkpoint_stands(
    at_step: dict[int, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise.Workers, "replacements", 0)
    monkeypatch.setattr(supervise.Workers.__init__, "__defaults__", (0,))
    whole = fitted(exact(), checkpoint=saved(tmp_path / "whole"), **NETWORK)
    at_step[1756] = dies(1)
    with pytest.raises(RuntimeError, match=r"the last checkpoint stands.*resume=True"):
        fitted(exact(), checkpoint=saved(tmp_path / "lost"), **NETWORK)
    again = fitted(exact(), checkpoint=saved(tmp_path / "lost", resume=True), **NETWORK)
    assert again.network_.samples_resumed > 0
    assert_same(whole, again)


def test_what_a_worker_raises_ends_an_exact_fit(at_step: dict[int, Any], tmp_path: Path) -> None:
    def fails(training: SharedTraining) -> None:
        if training.group.rank == 1:
            raise KeyError("its own")

    at_step[512] = fails
    with pytest.raises(KeyError, match="its own"):
        fitted(exact(), checkpoint=saved(tmp_path / "run"), **NETWORK)


def test_the_checkpoint_of_another_fit_does_not_count(at_step: dict[int, Any], tmp_path: Path) -> None:
    """Also where the first worker dies before it has removed that."""
    whole = fitted(exact(), checkpoint=saved(tmp_path / "run"), **NETWORK)
    found = files.read_manifest(tmp_path / "run")
    assert found is not None
    other = Saving(tmp_path / "run", None, 512, resume=False, run="another")
    assert other.manifest(None) is None  # type: ignore[arg-type]  # it does not look at what it is of
    at_step[0] = dies(0)
    assert_same(whole, fitted(exact(), checkpoint=saved(tmp_path / "run"), **NETWORK))


def test_what_exact_recovery_needs_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found None.*recovery=.exact."):
        fitted(exact(), **NETWORK)
    with pytest.raises(ValueError, match="recovery"):
        fitted(Local(2, recovery="none"), checkpoint=saved(tmp_path / "run"), **NETWORK)
    assert from_name("local", "2", recovery="exact") == exact()
