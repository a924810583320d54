"""Scores on held-out rows during a fit, and early stopping by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_strategies import planted_data
from fits import HELD, ROWS, D, N, Stopped, assert_same, classifier, stop_at

import slide
from slide import metrics

# -- evaluation --------------------------------------------------------------------------------------------------------


def test_metrics_are_those_of_the_model_on_the_held_out_rows() -> None:
    X, Y = planted_data(ROWS, D, N)
    clf = classifier().fit(X, Y, eval_set=HELD)
    wanted = metrics.evaluate(HELD[1], clf.predict_topk(HELD[0], 5)[0], Y)
    found = clf.history_[-1]
    assert {name: found[name] for name in wanted} == wanted
    assert all(("p@1" in record) == record["epoch_ended"] for record in clf.history_)


def test_a_share_is_held_out_and_not_trained_on() -> None:
    X, Y = planted_data(ROWS, D, N)
    clf = classifier(epochs=1).fit(X, Y, eval_set=0.25)
    assert clf.network_.step == ROWS - 175
    from slide.estimator.holdout import split

    train, held = split(ROWS, 0.25, 3)
    assert sorted([*train, *held]) == list(range(ROWS))
    assert_same(clf, classifier(epochs=1).fit(X[train], Y[train]))


def test_names_and_texts_are_held_out_as_they_are_given() -> None:
    X, _ = planted_data(ROWS, D, N)
    names = np.array([f"label {i % 7}" for i in range(ROWS)])
    clf = classifier(n_active=5, n_random=1).fit(X, names, eval_set=(X[:50], names[:50]))
    assert clf.history_[-1]["p@1"] == clf.score(X[:50], names[:50])
    texts = [f"word{i % 5} thing{i % 3} more" for i in range(60)]
    labels = [f"l{i % 5}" for i in range(60)]
    text = slide.SlideTextClassifier(epochs=6, n_threads=1)
    with pytest.warns(UserWarning, match="eval_set: y: found a label that is unknown to the model, 'never seen'"):
        text.fit(texts, labels, eval_set=(texts[:5], [*labels[:4], "never seen"]))
    assert text.history_[-1]["p@1"] == 0.8


WRONG_SETS = {
    "no pair": (7, "eval_set: found 7, wanted a pair"),
    "three": ((1, 2, 3), "eval_set: found 'tuple', wanted a pair"),
    "share of none": (0.0001, "eval_set: found 0.0001, wanted a share of the 700 rows"),
    "share of all": (1.0, "eval_set: found 1.0, wanted a share"),
    "features": (planted_data(20, D + 1, N), "eval_set: X .*301"),
    "rows": ((HELD[0][:5], HELD[1][:4]), "eval_set: .*5 and 4 rows"),
}


@pytest.mark.parametrize("case", WRONG_SETS)
def test_evaluation_sets_that_do_not_fit_are_refused(case: str) -> None:
    wrong, says = WRONG_SETS[case]
    with pytest.raises(ValueError, match=says):
        classifier().fit(*planted_data(ROWS, D, N), eval_set=wrong)


def test_of_blocks_no_share_is_held_out() -> None:
    with pytest.raises(
        ValueError, match=r"eval_set: found 0\.1, wanted a pair \(X, y\): of blocks no share is held out"
    ):
        classifier().fit_blocks([planted_data(ROWS, D, N)], eval_set=0.1)


def test_a_network_checks_its_evaluation_set() -> None:
    net = slide.Network([slide.SparseInput(D, 8), slide.Sampled(N, n_active=20, n_random=4)], n_threads=1)
    X, Y = planted_data(ROWS, D, N)
    with pytest.raises(ValueError, match=r"eval_set: found .*, wanted a pair"):
        net.fit(X, Y, eval_set=0.1)
    with pytest.raises(ValueError, match=r"eval_set: X.*301"):
        net.fit(X, Y, eval_set=planted_data(20, D + 1, N))
    assert "p@1" in net.fit(X, Y, eval_set=HELD).history[-1]


# -- early stopping ----------------------------------------------------------------------------------------------------


class Says(slide.Callback):
    """A metric whose values are known beforehand."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def on_epoch_end(self, progress: Any, network: Any) -> None:
        progress.metrics["mine"] = self.values[progress.epoch]


@pytest.mark.thorough
@pytest.mark.parametrize("beside_a_checkpoint", [False, True])
@pytest.mark.parametrize(
    ("values", "patience", "delta", "epochs", "best"),
    [
        ((1, 2, 3, 2, 2.5, 9), 2, 0, 5, 2),
        ((5, 4, 4, 4, 9, 9), 3, 0, 4, 0),
        ((1, 2, 3, 4, 5, 6), 1, 0, 6, 5),
        ((1, 1.5, 1.9, 2.2, 2.2, 9), 3, 1, 6, 5),
        ((1, 1.1, 1.2, 5, 5, 5), 2, 1, 3, 0),
    ],
)
def test_the_best_model_comes_back(
    values: Any, patience: int, delta: float, epochs: int, best: int, beside_a_checkpoint: bool, tmp_path: Path
) -> None:
    data, early = planted_data(ROWS, D, N), slide.EarlyStopping(patience, "mine", delta)
    checkpoint = slide.Checkpoint(tmp_path / "c") if beside_a_checkpoint else None
    (tmp_path / "c.best").write_bytes(b"of another fit")
    constant = {"epochs": 6, "schedule": slide.Constant()}
    clf = classifier(**constant).fit(*data, callback=Says(*values), early_stopping=early, checkpoint=checkpoint)
    assert len([record for record in clf.history_ if record["epoch_ended"]]) == epochs
    assert clf.network_.epoch == best + 1
    assert_same(clf, classifier(**constant | {"epochs": 6}).fit(*data, callback=stops_after(best)))
    assert not beside_a_checkpoint or not (tmp_path / "c.best").exists()


def stops_after(epoch: int) -> Any:
    def stop(progress: Any) -> None:
        progress.stop = progress.epoch_ended and progress.epoch == epoch

    return stop


def test_the_last_model_stays_where_the_best_is_not_wanted() -> None:
    early = slide.EarlyStopping(1, "mine", restore_best=False)
    clf = classifier().fit(*planted_data(ROWS, D, N), callback=Says(2, 1, 9), early_stopping=early)
    assert clf.network_.epoch == 2


@pytest.mark.thorough
@pytest.mark.parametrize("killed_at", [300, 750, 1500, 2000, 2790])
def test_a_killed_fit_decides_as_one_that_ran_through(killed_at: int, tmp_path: Path) -> None:
    data, early = planted_data(ROWS, D, N), slide.EarlyStopping(2, "mine")
    says, options = Says(1, 3, 2, 2, 9, 9), {"epochs": 6}
    whole = classifier(**options).fit(*data, callback=says, early_stopping=early)
    checkpoint = slide.Checkpoint(tmp_path / "c", samples=1, resume=True)
    told = {"early_stopping": early, "checkpoint": checkpoint}
    with pytest.raises(Stopped):
        classifier(**options).fit(*data, callback=[says, stop_at(killed_at)], **told)
    resumed = classifier(**options).fit(*data, callback=says, **told)
    assert whole.network_.epoch == resumed.network_.epoch == 2
    assert_same(whole, resumed)


def test_an_interrupted_fit_keeps_its_last_steps() -> None:
    clf = classifier(epochs=6)
    with pytest.raises(Stopped):
        clf.fit(
            *planted_data(ROWS, D, N),
            callback=[Says(5, 1), stop_at(1000)],
            early_stopping=slide.EarlyStopping(2, "mine"),
        )
    assert clf.network_.step >= 1000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"patience": 0}, r"EarlyStopping\(patience=\): found 0"),
        ({"min_delta": -1}, r"EarlyStopping\(min_delta=\): found -1"),
        ({"min_delta": float("nan")}, r"EarlyStopping\(min_delta=\): found nan"),
    ],
)
def test_early_stopping_that_makes_no_sense_is_refused(options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        slide.EarlyStopping(**options)


def test_early_stopping_needs_something_to_judge_by() -> None:
    data = planted_data(ROWS, D, N)
    with pytest.raises(ValueError, match="early_stopping: found no eval_set"):
        classifier().fit(*data, early_stopping=slide.EarlyStopping())
    with pytest.raises(ValueError, match=r"EarlyStopping\(metric=\): found 'f1', wanted one of p@1, "):
        classifier().fit(*data, early_stopping=slide.EarlyStopping(metric="f1"), eval_set=HELD)
    with pytest.raises(ValueError, match=r"early_stopping: found 2, wanted a slide\.EarlyStopping"):
        classifier().fit(*data, early_stopping=2, eval_set=HELD)
