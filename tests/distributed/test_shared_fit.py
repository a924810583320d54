"""A network that several workers train, in threads: what they learn, who comes and goes, and what files bring back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from shared_fits import N, X, Y, dies, fitted, p_at_1

import slide
from slide.distributed.engines import Local
from slide.distributed.training import elastic, files, judging, pace, scaling, step
from slide.distributed.training import loop as training_module
from slide.distributed.training.answers import best_of
from slide.distributed.training.loop import SharedTraining
from slide.distributed.training.parts import Numbering, check_workers, cuts
from slide.distributed.training.ranking import own_range
from slide.distributed.training.shard import normal
from slide.model.sparse_rows import SolverOptions, solve

pytestmark = pytest.mark.usefixtures("small_windows")


@pytest.fixture(scope="module")
def alone() -> float:
    return p_at_1(fitted(None))


# -- what they learn ---------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"wide": False, "n_active": 64},
        {"wide": slide.Rank(C=1.0)},
        {"wide": False, "loss": "binary", "activation": "tanh", "dropout": 0.1},
        {"wide": False, "lsh": None, "n_active": 64},
        {"wide": False, "n_active": 64, "storage": "bfloat16"},
    ],
    ids=["walk", "cells", "ranked", "binary", "no tables", "bfloat16"],
)
def test_three_workers_learn_what_one_process_does(options: dict[str, Any]) -> None:
    one, three = p_at_1(fitted(None, **options)), p_at_1(fitted(Local(3), **options))
    assert three > one - 0.08
    assert three > 0.02  # twice what chance gives


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again = fitted(Local(2)), fitted(Local(2))
    ids, scores = first.predict_topk(X[N:], 5)
    same_ids, same_scores = again.predict_topk(X[N:], 5)
    assert (ids == same_ids).all()
    assert (scores == same_scores).all()


def test_each_worker_has_its_part_of_the_parameters(at_step: dict[int, Any]) -> None:
    sizes: dict[int, int] = {}
    at_step[0] = lambda training: sizes.setdefault(training.group.rank, training.shard.n_bytes)
    whole = fitted(Local(2), wide=False).network_.n_bytes
    assert sum(sizes.values()) == whole
    assert max(sizes.values()) < 0.51 * whole


def test_what_is_sent_follows_the_formula(at_step: dict[int, Any]) -> None:
    sent: dict[int, int] = {}
    for at in (512, 1280):
        at_step[at] = lambda training: sent.setdefault(training.step, training.group.bytes_sent)
    fitted(Local(2), wide=False, lsh=None, hidden=128, n_active=64)
    a_sample = (sent[1280] - sent[512]) / (1280 - 512)
    assert a_sample == pytest.approx(2 * 4 * 128 * 2 * (2 - 1) / 2, rel=0.02)


def test_a_row_is_looked_for_once_and_its_cell_follows_rebuilds(
    at_step: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real, same = training_module.cells_of, {}

    def counted(group: Any, shard: Any, hidden: Any) -> Any:
        asked.append(len(hidden))
        return real(group, shard, hidden)

    def compare(training: SharedTraining) -> None:
        now = real(training.group, training.shard, training.hidden_of(training.rows.X))
        same[training.group.rank] = (training.known_cells == now).mean(), training.at.n_rebuilds

    monkeypatch.setattr(training_module, "cells_of", counted)
    at_step[2 * N] = compare  # the last epoch begins
    lsh = slide.lsh.QueryCells(K=8)
    fitted(Local(2), wide=False, n_active=64, lsh=lsh, epochs=3, rebuild=slide.Rebuild(every=600), calibrate=False)
    assert sum(asked) == 2 * N
    (share, rebuilds), other = same[0], same[1]
    assert share == other[0]
    assert rebuilds > 3
    assert share > 0.6  # the rest have moved on; a rebuild numbers cells anew


def test_log_sums_are_scored_for_once_and_remembered(at_step: dict[int, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked, known = [], {}
    real = step._first_sums

    def noted(group: Any, plan: Any) -> Any:
        asked.append(len(plan.log_sums))
        return real(group, plan)

    monkeypatch.setattr(step, "_first_sums", noted)
    at_step[2 * N] = lambda training: known.setdefault(training.group.rank, training.known_sums.copy())
    fitted(Local(2), wide=False, n_active=64, epochs=3, calibrate=False)
    assert sum(asked) == 2 * N
    (whole, others), (same, mine) = known[0], known[1]
    np.testing.assert_array_equal(whole, same)
    np.testing.assert_allclose(np.logaddexp(others, mine), whole, atol=1e-3)  # what one misses the other has
    assert np.abs(others - mine).max() > 0.1


def test_a_log_sum_without_a_part_of_it_is_the_rest() -> None:
    own, rest = np.array([0.0, 3.0, -40.0, 5.0], np.float32), np.array([1.0, -2.0, 0.5, 5.0], np.float32)
    np.testing.assert_allclose(step.without(np.logaddexp(own, rest), own), rest, rtol=1e-3, atol=1e-4)
    assert np.isfinite(step.without(own, own + np.float32(1e-6))).all()


def test_rows_that_rank_have_the_same_bits_for_any_number_of_workers() -> None:
    lists = np.random.default_rng(0).integers(0, 200, (N, 20)).astype(np.int32)
    options = SolverOptions(n_features=300)
    whole = solve(X[:N], Y[:N], lists, options)
    work = np.bincount(Y[:N].indices, minlength=200)
    for workers in (2, 3, 5):
        parts = [
            solve(X[:N], Y[:N], lists, options, some_labels=own_range(work, rank, workers)) for rank in range(workers)
        ]
        assert sum(len(part.features) for part in parts) == len(whole.features)
        total = sum(part.matrix() for part in parts) - whole.matrix()
        assert not np.asarray(total.data).any()
        assert (sum(part.bias for part in parts) == whole.bias).all()


def test_a_callback_hears_of_blocks_and_a_loss_that_overflows_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    done: list[int] = []
    fitted(Local(2), callback=lambda progress: done.append(progress.done), verbose=1)
    assert done == sorted(done)
    assert done[-1] % 2 == 0
    assert "epoch 2/2" in capsys.readouterr().out
    with pytest.raises(slide.NonFiniteError, match="learning rate"):
        fitted(Local(2), wide=False, optimizer=slide.SGD(lr=1e30))


# -- rows that are held out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"wide": False}], ids=["walk", "network"])
def test_held_out_rows_are_scored_as_the_whole_model_scores_them(options: dict[str, Any]) -> None:
    held = X[N:], Y[N:]
    clf = fitted(Local(3), eval_set=held, calibrate=False, **options)
    ended = [record for record in clf.history_ if record["epoch_ended"]]
    assert len(ended) == 2
    assert ended[-1]["p@1"] == pytest.approx(p_at_1(clf), abs=0.005)  # but for the order of sums
    assert ended[-1]["psp@3"] > 0


def test_a_fit_stops_early_and_leaves_the_best_model(at_step: dict[int, Any], tmp_path: Path) -> None:
    """With steps that grow too large, the first epochs are the best."""
    how: dict[str, Any] = {"wide": False, "n_active": 64, "epochs": 9, "schedule": slide.Constant(), "lr": 0.5}
    early = slide.EarlyStopping(patience=2)
    clf = fitted(Local(2), eval_set=(X[N:], Y[N:]), early_stopping=early, calibrate=False, **how)
    scores = [record["p@1"] for record in clf.history_ if record["epoch_ended"]]
    assert len(scores) < 9
    assert max(scores) > scores[-1]
    assert p_at_1(clf) == pytest.approx(max(scores), abs=0.005)
    assert clf.network_.epoch == int(np.argmax(scores)) + 1
    with pytest.raises(ValueError, match="eval_set"):
        fitted(Local(2), early_stopping=early)


def test_a_loss_after_the_best_epoch_leaves_the_last_model(
    at_step: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging.Evaluator, "__call__", lambda self, net: {"p@1": 1 / (1 + net._training.at.epoch)})
    at_step[2 * N] = dies(1)
    early = slide.EarlyStopping(patience=2)
    with pytest.warns(UserWarning, match="workers have changed since the best epoch"):
        clf = fitted(Local(2), epochs=9, wide=False, eval_set=(X[N:], Y[N:]), early_stopping=early, calibrate=False)
    assert clf.network_.epoch == 3


# -- rows in blocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"wide": False, "n_active": 64}], ids=["walk", "cells"])
def test_rows_in_blocks_train_the_same_model_as_in_memory(
    options: dict[str, Any], at_step: dict[int, Any], tmp_path: Path
) -> None:
    slide.write_xmc(tmp_path / "train.txt", X[:N], Y[:N])
    here: dict[int, tuple[int, str]] = {}
    how: dict[str, Any] = {"calibrate": False, "cluster": Local(3)}
    whole, found = (
        slide.SlideClassifier(hidden=16, epochs=2, random_state=1, n_threads=1, **options) for _ in range(2)
    )
    whole.fit(*slide.read_xmc(tmp_path / "train.txt"), **how)
    at_step[1500] = lambda training: here.setdefault(
        training.group.rank, (len(training.rows.X.data), type(training.data).__name__)
    )
    found.fit_blocks(slide.XMCBlocks(tmp_path / "train.txt", rows=400), **how)
    for layer in (0, 1):
        assert (whole.network_.weights(layer) == found.network_.weights(layer)).all()
    assert found.network_.step == 2 * N
    assert sum(values for values, _ in here.values()) == X[:N].nnz  # each has its own features
    assert {kind for _, kind in here.values()} == {"OwnBlocks" if "n_active" in options else "TrainingData"}


def test_blocks_are_read_again_when_a_worker_is_lost(at_step: dict[int, Any], tmp_path: Path) -> None:
    at_step[512] = dies(1)
    blocks = [(X[i : i + 500], Y[i : i + 500]) for i in range(0, N, 500)]
    how: dict[str, Any] = {"checkpoint": slide.Checkpoint(tmp_path / "run", samples=512, minutes=None)}
    clf = slide.SlideClassifier(hidden=16, epochs=3, random_state=1, n_threads=1, wide=False)
    clf.fit_blocks(blocks, eval_set=(X[N:], Y[N:]), cluster=Local(2), **how)
    assert clf.shared_fit_.changes[0].after == 1
    assert len([record for record in clf.history_ if record["epoch_ended"]]) == 3
    assert p_at_1(clf) > 0.1
    with pytest.raises(ValueError, match="None without cluster"):
        clf.fit_blocks(blocks, **how)


# -- who comes and goes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 2])
def test_the_others_go_on_without_a_worker_that_died(rank: int, at_step: dict[int, Any], alone: float) -> None:
    at_step[512] = dies(rank)
    assert p_at_1(fitted(Local(3))) > alone - 0.15


def test_what_a_lost_worker_had_comes_from_the_checkpoint(
    at_step: dict[int, Any], tmp_path: Path, alone: float
) -> None:
    at_step[1280] = dies(1)
    checkpoint = slide.Checkpoint(tmp_path / "run", samples=512, minutes=None)
    assert p_at_1(fitted(Local(2), checkpoint=checkpoint)) > alone - 0.08
    found = files.read_manifest(tmp_path / "run")
    assert found is not None
    assert found["step"] > 1280


def test_a_fit_that_was_broken_off_goes_on_with_other_workers(at_step: dict[int, Any], tmp_path: Path) -> None:
    def stop(training: SharedTraining) -> None:
        raise RuntimeError("broken off")

    steps: list[int] = []
    at_step[1756] = stop
    checkpoint = slide.Checkpoint(tmp_path / "run", samples=512, minutes=None, resume=True)
    with pytest.raises(RuntimeError, match="broken off"):
        fitted(Local(2), checkpoint=checkpoint)
    at_step[1756] = lambda training: steps.append(training.group.size)
    clf = fitted(Local(3), checkpoint=checkpoint)
    assert steps == [3, 3, 3]
    assert clf.network_.samples_resumed > 0
    other = slide.SlideClassifier(hidden=16, epochs=2, random_state=2, n_threads=1)
    with pytest.raises(ValueError, match="checkpoint of other options"):
        other.fit(X[:N], Y[:N], cluster=Local(2), checkpoint=checkpoint)


def test_with_as_many_workers_a_resumed_fit_has_the_same_bits(at_step: dict[int, Any], tmp_path: Path) -> None:
    def stop(training: SharedTraining) -> None:
        raise RuntimeError("broken off")

    whole = fitted(Local(2), wide=False)
    at_step[1756] = stop
    checkpoint = slide.Checkpoint(tmp_path / "run", samples=512, minutes=None, resume=True)
    with pytest.raises(RuntimeError, match="broken off"):
        fitted(Local(2), wide=False, checkpoint=checkpoint)
    at_step.clear()
    again = fitted(Local(2), wide=False, checkpoint=checkpoint)
    for layer in (0, 1):
        assert (whole.network_.weights(layer) == again.network_.weights(layer)).all()


def test_a_part_that_is_damaged_is_named(at_step: dict[int, Any], tmp_path: Path) -> None:
    checkpoint = slide.Checkpoint(tmp_path / "run", samples=512, minutes=None, resume=True)
    fitted(Local(2), checkpoint=checkpoint)
    part = next((tmp_path / "run").glob("step-*/part-1.npz"))
    content = bytearray(part.read_bytes())
    content[2000] ^= 255  # among the rows of features
    part.write_bytes(content)
    with pytest.raises(slide.ModelFormatError, match=r"part-1\.npz"):
        fitted(Local(2), checkpoint=checkpoint)


def test_a_checkpoint_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files.write_part

    def write(folder: Path, name: str, rank: int, arrays: dict[str, Any]) -> None:
        if rank == 1 and int(name.split("-")[1]) > 600:
            raise OSError(28, "No space left on device")
        real(folder, name, rank, arrays)

    monkeypatch.setattr(files, "write_part", write)
    checkpoint = slide.Checkpoint(tmp_path / "run", samples=512, minutes=None)
    with pytest.warns(UserWarning, match="No space left"):
        clf = fitted(Local(2), wide=False, checkpoint=checkpoint)
    assert clf.network_.step > 600
    found = files.read_manifest(tmp_path / "run")
    assert found is not None
    assert found["step"] == 512
    assert len(list((tmp_path / "run").glob("step-*"))) == 1  # what could not be finished does not fill the disk


@pytest.mark.parametrize("options", [{}, {"wide": False}], ids=["walk", "network"])
def test_workers_come_and_leave_at_the_end_of_a_window(
    options: dict[str, Any], at_step: dict[int, Any], ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling.Scaling, "take", lambda *_: None)  # nobody else asks
    at_step[256], at_step[4756] = ask(3), ask(1)
    clf = fitted(Local((1, 3)), epochs=8, **options)
    sizes = [(change.before, change.after) for change in clf.shared_fit_.changes]
    assert sizes[0] in ((1, 2), (1, 3))
    assert sizes[-1][1] == 1
    assert sum(change.lost_labels for change in clf.shared_fit_.changes) == 0
    assert p_at_1(clf) > p_at_1(fitted(None, epochs=8, **options)) - 0.08


@pytest.mark.parametrize(("largest", "left"), [(3.0, 0.7), (1.1, 0.9)])
def test_a_slow_worker_gets_less_to_do(largest: float, left: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real, ranges = SharedTraining._trained, []

    def slow(self: SharedTraining, *arguments: Any) -> Any:
        time.sleep(0.03 * (self.group.rank == 1))
        ranges.append(list(self.label_ranges))
        return real(self, *arguments)

    monkeypatch.setattr(SharedTraining, "_trained", slow)
    monkeypatch.setattr(pace, "PATIENCE", 4)
    fitted(Local(3, largest_share=largest), epochs=4, wide=False)
    first, last = ([end - begin for begin, end in parts] for parts in (ranges[0], ranges[-1]))
    assert max(first) - min(first) <= 1
    assert last[1] < left * first[1]
    assert max(last) <= largest * max(first)
    assert sum(last) == sum(first)


# -- parts -------------------------------------------------------------------------------------------------------------


def test_cuts_cover_everything_and_leave_nobody_without() -> None:
    for n, workers in ((10, 3), (3, 3), (1000, 7)):
        edges = cuts(n, np.random.default_rng(n).random(workers) + 0.01)
        assert edges[0] == 0
        assert edges[-1] == n
        assert (np.diff(edges) >= 1).all()
    assert cuts(100, [1, 3]).tolist() == [0, 25, 100]


def test_columns_by_new_numbers_are_those_of_the_matrix() -> None:
    numbering = Numbering.of(300, 0, 1)
    parts = [numbering.columns(X, *edge) for edge in ((0, 100), (100, 300))]
    assert (sp.hstack(parts).toarray()[:, numbering.place] == X.toarray()).all()


def test_first_weights_do_not_depend_on_who_makes_them() -> None:
    whole = normal(3, 1, 0, 9000, 4)
    assert (np.concatenate([normal(3, 1, 0, 5000, 4), normal(3, 1, 5000, 9000, 4)]) == whole).all()


def test_lists_of_all_workers_become_one() -> None:
    ids = np.array([[[5, 7, -1]], [[1, 2, 3]]], np.int32)
    logits = np.array([[[3.0, 1.0, -np.inf]], [[2.0, 1.0, 0.5]]], np.float32)
    best, scores = best_of(ids, logits, 4)
    assert best.tolist() == [[5, 1, 2, 7]]
    assert scores.tolist() == [[3.0, 2.0, 1.0, 1.0]]


def test_ranges_that_nobody_has_are_found() -> None:
    assert elastic.missing((0, 100), [(10, 20), (0, 0), (50, 60)]) == [(0, 10), (20, 50), (60, 100)]
    assert elastic.missing((0, 10), [(0, 10)]) == []


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"hidden": (8, 8)}, "one hidden layer"),
        ({"lsh": slide.lsh.SimHash()}, "QueryCells"),
        ({"memory": "1GB"}, "memory"),
        ({"backend": "numba"}, "backend"),
    ],
)
def test_what_cannot_be_shared_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fitted(Local(2), **options)


def test_more_workers_than_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"workers: found 500, wanted no more than there are features, \d+, or labels"):
        fitted(Local((2, 500)))
    with pytest.raises(ValueError, match=r"workers: found 4, wanted .* features, 3, or labels, 9"):
        check_workers(4, 3, 9)


def test_lists_of_some_of_many_labels_are_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of the whole are, at whose pace they are rebuilt."""
    found: list[bool] = []
    can_refresh = slide.QueryCells.can_refresh
    monkeypatch.setattr(slide.QueryCells, "can_refresh", lambda *a: (found.append(can_refresh(*a)), found[-1])[1])
    monkeypatch.setattr("slide.lsh.query_cells.REFRESH_FROM", 400)
    X, Y = slide.datasets.synthetic(1000, 200, 400, nnz=10, labels_per_row=2)
    options: dict[str, Any] = {"hidden": 8, "epochs": 1, "n_active": 50, "wide": False, "n_threads": 1}
    slide.SlideClassifier(**options).fit(X, Y, cluster=Local(2))
    assert found
    assert all(found)
