"""Weights stored as bfloat16: how they are rounded, what they answer, and their files."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import engine_strategies as es
import numpy as np
import pytest
from engine_strategies import ENGINES, ISAS, random_data
from forgery import put_together, take_apart
from hypothesis import given
from hypothesis import strategies as st

import slide
from slide.cli.main import main
from slide.engine import memory
from slide.engine.bfloat16 import to_bfloat16, to_float32
from slide.engine.layout import FloatArray
from slide.engine.protocol import Examples
from slide.model.snapshot import Snapshot

D, N = 60, 40
TABLES = slide.SimHash(K=3, L=4, capacity=31)

needs_c = pytest.mark.skipif(not ISAS, reason="only the C extension trains bfloat16, and it was not built")


def layers(hidden: int = 20, tables: Any = TABLES) -> list[Any]:
    return [
        slide.SparseInput(D, hidden, bias=True),
        slide.Sampled(hidden + 13, lsh=TABLES, n_active=12, n_random=4),
        slide.Dense(hidden + 1, "tanh"),
        slide.Sampled(N, lsh=tables, n_active=20, n_random=5),
    ]


def make(hidden: int = 20, engine: str = "", **options: Any) -> slide.Network:
    return es.make_network(layers(hidden), engine or ISAS[0], **({"storage": "bfloat16"} | options))


def twin(net: slide.Network, engine: str = "") -> slide.Network:
    """A float32 network of the same numbers."""
    whole = net.snapshot(tables=True)
    arrays = whole.arrays | {f"layer{i}.rows": s.dequantized().rows for i, s in enumerate(net.states)}
    other = slide.Network.of(Snapshot(whole.config | {"storage": "float32"}, arrays).placed(), 1, None)
    if engine:
        es.use_engine(other, engine)
    return other


def everything(net: slide.Network) -> FloatArray:
    """All weights, one behind the other."""
    return np.concatenate([state.weights_of(slice(None)).ravel() for state in net.states])


# -- numbers -----------------------------------------------------------------------------------------------------------


@given(st.floats(-(2.0**120), 2.0**120, width=32))
def test_the_nearest_is_taken(value: float) -> None:
    x = np.array([value], np.float32)
    half = to_bfloat16(x)
    around = np.array([half - 1, half, half + 1]).ravel() if half[0] & 0x7FFF else half
    distances = np.abs(to_float32(np.asarray(around, np.uint16)).astype(np.float64) - value)
    assert abs(float(to_float32(half)[0]) - value) == distances.min()


def test_ties_go_to_the_even_one() -> None:
    ulp = 2**-7
    values = np.array([1 + ulp / 2, 1 + 3 * ulp / 2, -1 - ulp / 2, 1 + ulp / 2 + 2**-20], np.float32)
    assert to_float32(to_bfloat16(values)).tolist() == [1, 1 + 2 * ulp, -1, 1 + ulp]


# -- answers -----------------------------------------------------------------------------------------------------------


@needs_c
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("width", [1, 15, 16, 17, 33, 70])
def test_every_engine_scores_what_the_halves_stand_for(width: int, engine: str) -> None:
    """Widths past four vectors of the widest kind, and calls of few rows, of a block, and of more."""
    X, Y = random_data(200, D, N, seed=1)
    trained = make(width, wide=slide.Wide()).fit(X, Y, epochs=2)
    backend = "numba" if engine == "numba" else "c"
    net = slide.Network.of(trained.snapshot(tables=True).placed(), 1, backend)
    es.use_engine(net, engine)
    reference = twin(trained)
    for n in (1, 5, 33):
        es.assert_same_answers(net, reference, random_data(n, D, N, seed=2)[0])


# -- training ----------------------------------------------------------------------------------------------------------


@needs_c
@pytest.mark.parametrize("engine", ISAS)
@pytest.mark.parametrize("optimizer", [slide.SGD(), slide.Adagrad(weight_decay=0.1)], ids=repr)
def test_a_step_goes_to_a_neighbour_of_where_floats_go(optimizer: slide.optim.Optimizer, engine: str) -> None:
    """Over every width, through rows that meet dense vectors and rows that meet sparse ones."""
    X, Y = random_data(1, D, N)
    for width in range(1, 71, 3):
        net = make(width, engine, optimizer=optimizer, seed=width)
        floats = twin(net, engine)
        for one in (net, floats):
            es.train(one, X, Y, 1, 0.1)
        there, here = everything(floats), everything(net)
        changed = here != everything(make(width, engine, optimizer=optimizer, seed=width))
        assert changed.sum() > 10
        ulp = np.exp2(np.floor(np.log2(np.maximum(np.abs(there), 1e-30))) - 7)
        assert (np.abs(here - there) <= 1.001 * ulp + 1e-7).all()
        for a, b in zip(net.states, floats.states, strict=True):
            np.testing.assert_allclose(a.row_scalars[:, :4], b.row_scalars[:, :4], rtol=1e-5, atol=1e-6)


def last_weights(n: int, engine: str, meets: str, steps: int, lr: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of n neurons that meet dense vectors or sparse ones: before so many steps, after them, and where floats go."""
    below = [slide.Dense(64)] if meets == "dense" else [slide.Sampled(64, lsh=None, n_active=64, n_random=64)]
    stack = [slide.SparseInput(4, 64, bias=False), *below, slide.Dense(n)]
    net = es.make_network(stack, engine, storage="bfloat16", optimizer=slide.SGD())
    floats, before = twin(net, engine), net.weights(2)
    X, Y = random_data(1, 4, n)
    for one in (net, floats):
        es.train(one, X, Y, steps, lr)
    return before.ravel(), net.weights(2).ravel(), floats.weights(2).ravel()


@needs_c
@pytest.mark.parametrize("meets", ["dense", "sparse"])
@pytest.mark.parametrize("engine", ISAS)
def test_the_chance_to_be_rounded_up_is_the_share_of_a_step(engine: str, meets: str) -> None:
    _, here, there = last_weights(2000, engine, meets, steps=1, lr=50.0)
    down = to_float32((there.view(np.uint32) >> 16).astype(np.uint16))
    up = to_float32(((there.view(np.uint32) >> 16) + 1).astype(np.uint16))
    share, rounded_up = (there - down) / (up - down), here != down
    assert ((here == down) | (here == up)).all()
    for least in np.arange(0, 1, 0.1):
        some = (share >= least) & (share < least + 0.1) & (share > 0)
        assert some.sum() > 1000
        assert abs(rounded_up[some].mean() - share[some].mean()) < 4 * 0.5 / np.sqrt(some.sum())


@needs_c
@pytest.mark.parametrize("meets", ["dense", "sparse"])
@pytest.mark.parametrize("engine", ISAS)
def test_steps_far_under_the_last_bit_add_up(engine: str, meets: str) -> None:
    """Rounded to the nearest, or by the same random bits at every step, they would be lost or counted full."""
    before, here, there = last_weights(500, engine, meets, steps=400, lr=0.02)
    moved, wanted = here - before, there - before
    ulp = np.exp2(np.floor(np.log2(np.abs(before) + 1e-30)) - 8)
    assert np.median(np.abs(wanted / 400) / ulp) < 0.1
    assert moved @ wanted / (wanted @ wanted) == pytest.approx(1, abs=0.05)


@needs_c
@pytest.mark.parametrize("engine", ISAS)
def test_cells_list_and_batches_train_what_the_halves_stand_for(engine: str) -> None:
    X, Y = random_data(64, D, N)
    stack = [slide.SparseInput(D, 24), slide.Sampled(N, lsh=slide.QueryCells(), n_active=20, n_random=5)]
    net = es.make_network(stack, engine, storage="bfloat16", optimizer=slide.SGD())
    floats = twin(net, engine)
    before = net.weights(1)
    for one in (net, floats):
        one.rebuild_tables(Examples.of(X))
        one.engine.train(Examples.of(X), Examples.of(Y), np.arange(16), 0, np.full(16, 1, np.float32), 16)
    a, b = net.states[1].lsh, floats.states[1].lsh
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.buckets, b.buckets)
    moved, wanted = ((one.weights(1) - before).ravel() for one in (net, floats))
    assert np.abs(moved - wanted).max() < 0.05 * np.abs(wanted).max()


@needs_c
def test_a_planted_task_is_learned_as_well() -> None:
    X, Y, Xt, Yt = (*es.planted_data(600, 100, 50, seed=0), *es.planted_data(300, 100, 50, seed=1))
    for options in ({}, {"batch_size": 8}, {"wide": False}, {"lsh": TABLES, "rebuild": slide.Rebuild(drift=0.05)}):
        found = []
        for storage in ("float32", "bfloat16"):
            clf = slide.SlideClassifier(hidden=(32,), epochs=5, n_threads=1, storage=storage, **options).fit(X, Y)
            found.append(es.precision_at_1(clf.network_, clf._rows(Xt), Yt))
        assert found[0] > 0.9
        assert found[1] > found[0] - 0.03


@needs_c
def test_equal_seeds_give_equal_bits() -> None:
    X, Y = random_data(300, D, N)
    a, b, c = (make(seed=seed).fit(X, Y, epochs=2) for seed in (0, 0, 1))
    np.testing.assert_array_equal(everything(a), everything(b))
    assert (everything(a) != everything(c)).any()


@needs_c
def test_bits_do_not_depend_on_where_rows_lie() -> None:
    """Rounding is by a row's number: rows further apart in memory, as a store may keep them, are trained alike."""
    X, Y = random_data(100, D, N)
    near, far = make(), make()
    for state in far.states:
        shape = (len(state.rows), state.rows.shape[1] + 96)  # the scalars, 32 halves of float32, stay at the end
        rows = memory.allocate(shape, state.rows.dtype, "rows")
        rows[:, : state.rows.shape[1] - 32], rows[:, -32:] = state.rows[:, :-32], state.rows[:, -32:]
        state.rows = rows
    es.use_engine(far, ISAS[0])
    before = everything(near)
    for net in (near, far):
        es.train(net, X, Y, 100, 0.1)
    assert (everything(near) != before).any()
    np.testing.assert_array_equal(everything(far), everything(near))


@needs_c
def test_rows_that_have_changed_are_hashed_again() -> None:
    nets = []
    for incremental in (False, True):
        stack = [slide.SparseInput(D, 24), slide.Sampled(N, lsh=replace(TABLES, centred=False))]
        nets.append(slide.Network(stack, storage="bfloat16", rebuild=slide.Rebuild(incremental=incremental)))
    rng = np.random.default_rng(1)
    for place in (3, 20, 5):
        values = to_bfloat16(rng.standard_normal((7, 4), np.float32))
        for net in nets:
            net.states[-1].rows[place : place + 7, 20:24] = values
            net.rebuild_tables()
        a, b = (net.states[-1].lsh for net in nets)
        assert a is not None
        assert b is not None
        np.testing.assert_array_equal(a.buckets, b.buckets)


# -- memory, files and copies ------------------------------------------------------------------------------------------


@needs_c
def test_weights_take_half_the_room() -> None:
    stack = [slide.SparseInput(D, 128), slide.Sampled(N)]
    sizes = [slide.Network(stack, storage=storage).n_bytes for storage in ("float32", "bfloat16")]
    assert 0.5 < sizes[1] / sizes[0] < 0.57


@pytest.fixture
def clf() -> slide.SlideClassifier:
    X, Y = random_data(300, D, N, seed=1)
    options: dict[str, Any] = {"hidden": (20,), "epochs": 3, "n_active": 20, "lsh": TABLES, "n_threads": 1}
    return slide.SlideClassifier(storage="bfloat16", **options).fit(X, Y)


@needs_c
def test_files_and_copies_answer_alike_and_train_on(clf: slide.SlideClassifier, tmp_path: Path) -> None:
    X, Y = random_data(100, D, N, seed=2)
    clf.save(tmp_path / "model")
    wanted = clf.predict_topk(X)
    copies = [slide.load(tmp_path / "model", n_threads=1), slide.load(tmp_path / "model", n_threads=1, mmap=True)]
    copies.append(pickle.loads(pickle.dumps(clf)))
    later = clf.partial_fit(X, Y).predict_topk(X)
    assert (later[1] != wanted[1]).any()
    for copy in copies:
        assert isinstance(copy, slide.SlideClassifier)
        assert copy.storage == copy.network_.storage == "bfloat16"
        np.testing.assert_array_equal(copy.predict_topk(X)[1], wanted[1])
        np.testing.assert_array_equal(copy.partial_fit(X, Y).predict_topk(X)[1], later[1])
    assert take_apart((tmp_path / "model").read_bytes())[0]["format_version"] == 2


@needs_c
def test_labels_come_and_go(clf: slide.SlideClassifier) -> None:
    X, _ = random_data(50, D, N, seed=2)
    before = clf.decision_function(X)
    clf.forget([0, 5]).add_labels(3)
    after = clf.decision_function(X)
    np.testing.assert_array_equal(after[:, : N - 2], np.delete(before, [0, 5], axis=1))
    assert (after[:, N - 2 :] < after.max(axis=1, keepdims=True)).all()
    assert clf.network_.states[-1].is_bf16


@needs_c
def test_what_looks_at_weights_sees_numbers(clf: slide.SlideClassifier) -> None:
    X, _ = random_data(5, D, N, seed=2)
    scores = clf.decision_function(X)
    assert clf.explain(X[:1], 3).score == pytest.approx(scores[0, 3], abs=1e-4)
    assert clf.network_.weights(0).dtype == np.float32
    np.testing.assert_allclose(clf.compress().decision_function(X), scores, atol=0.03 * np.ptp(scores))


@needs_c
def test_a_training_that_was_cut_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    X, Y = random_data(400, D, N)

    def stops(progress: Any) -> None:
        if progress.done >= 500:
            raise KeyboardInterrupt

    def fitted(**options: Any) -> slide.Network:
        return make().fit(X, Y, epochs=3, **options)

    whole = fitted()
    kept = slide.Checkpoint(tmp_path / "kept", minutes=0)
    with pytest.raises(KeyboardInterrupt):
        fitted(checkpoint=kept, callback=stops)
    again = fitted(checkpoint=replace(kept, resume=True))
    assert again.samples_resumed > 0
    np.testing.assert_array_equal(everything(again), everything(whole))


@needs_c
def test_the_command_line_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = random_data(60, D, N)
    slide.write_xmc(tmp_path / "train.txt", X, Y)
    model = str(tmp_path / "model")
    options = ["--storage", "bfloat16", "--epochs", "1", "--hidden", "8"]
    assert main(["train", str(tmp_path / "train.txt"), "--out", model, *options]) == 0
    assert main(["info", model]) == 0
    assert "bfloat16" in capsys.readouterr().out


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_wrong_options_are_named() -> None:
    for optimizer in (slide.Adam(), slide.Adagrad(per_row=False)):
        with pytest.raises(ValueError, match=r"storage: found 'bfloat16', wanted float32 with Ada"):
            slide.Network(layers(), optimizer=optimizer, storage="bfloat16")
    with pytest.raises(ValueError, match=r"storage: found 'float16', wanted one of"):
        slide.Network(layers(), storage="float16")
    net = slide.Network(layers(), storage="bfloat16", backend="numba", n_threads=1)
    with pytest.raises(ValueError, match=r"storage: found 'bfloat16', wanted float32: the Numba back end"):
        net.fit(*random_data(10, D, N))


@needs_c
@pytest.mark.parametrize(
    "change",
    {
        "floats where halves are said to be": lambda c, a: c["network"].update(storage="float32"),
        "a storage that is not known": lambda c, a: c["network"].update(storage="int4"),
        "a storage that is no name": lambda c, a: c["network"].update(storage=[]),
        "rows too short": lambda c, a: a.update({"layer0.rows": np.ascontiguousarray(a["layer0.rows"][:, :48])}),
        "rows of floats": lambda c, a: a.update({"layer1.rows": a["layer1.rows"].view(np.float32)}),
        "an optimizer with states": lambda c, a: c["network"].update(optimizer={"name": "Adam"}),
    }.items(),
    ids=lambda change: change[0],
)
def test_forged_files_are_refused(clf: slide.SlideClassifier, tmp_path: Path, change: Any) -> None:
    path = tmp_path / "model"
    clf.save(path)
    config, arrays = take_apart(path.read_bytes())
    path.write_bytes(put_together(config, arrays))
    slide.load(path)  # else nothing would be proved
    change[1](config, arrays)
    path.write_bytes(put_together(config, arrays))
    with pytest.raises(slide.ModelFormatError):
        slide.load(path)
