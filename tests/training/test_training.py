"""The training loop through Network: what repeats, what does not matter, what is learned, what errors leave behind."""

from __future__ import annotations

import signal
from typing import Any

import engine_strategies as es
import numpy as np
import pytest
from engine_strategies import BACKENDS, ENGINES, make_network, planted_data, precision_at_1, random_data, rows_of

import slide
import slide.training.loop
from slide.engine.protocol import ROWS_AT_ONCE, Examples

D, N = 300, 200


def layers(lsh: slide.lsh.HashFamily | None = None) -> list[slide.layers.Layer]:
    lsh = lsh or slide.SimHash(K=4, L=10, capacity=32)
    return [slide.SparseInput(D, 24, dropout=0.1), slide.Sampled(N, lsh=lsh, n_active=40, n_random=15)]


def fitted(engine: str, *, epochs: int = 1, n: int = 400, seed: int = 0, **options: Any) -> slide.Network:
    net = make_network(layers(), engine, seed=seed, rebuild=slide.Rebuild(every=150), **options)
    return net.fit(*planted_data(n, D, N, seed=1), epochs=epochs, schedule=slide.Linear())


def assert_same_bits(a: slide.Network, b: slide.Network) -> None:
    for x, y in zip(a.states, b.states, strict=True):
        np.testing.assert_array_equal(x.rows.view(np.uint32), y.rows.view(np.uint32))
        if x.lsh is not None and y.lsh is not None:
            np.testing.assert_array_equal(x.lsh.buckets, y.lsh.buckets)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_thread_and_a_seed_give_the_same_bits(engine: str) -> None:
    first, again, other = fitted(engine), fitted(engine), fitted(engine, seed=1)
    assert_same_bits(first, again)
    assert not np.array_equal(first.weights(1), other.weights(1))


@pytest.mark.parametrize("engine", BACKENDS)
def test_where_chunks_end_does_not_matter(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide.training.loop, "CHUNK_SECONDS", 1e9)
    long = fitted(engine)
    monkeypatch.setattr(slide.training.loop, "CHUNK_SECONDS", 0.0)
    calls = []
    short = make_network(layers(), engine, rebuild=slide.Rebuild(every=150))
    short.fit(*planted_data(400, D, N, seed=1), schedule=slide.Linear(), callback=lambda p: calls.append(p.done))
    assert len(calls) > 100, "chunks were not small"
    assert_same_bits(long, short)


@pytest.mark.parametrize("engine", BACKENDS)
def test_fitting_twice_goes_on_where_it_was(engine: str) -> None:
    """Two calls of one epoch are one of two, where no tables are filled anew in between."""
    X, Y = planted_data(300, D, N, seed=1)
    stack = [slide.SparseInput(D, 24, dropout=0.1), slide.Sampled(N, lsh=None, n_active=40, n_random=40)]
    once = make_network(stack, engine).fit(X, Y, epochs=2)
    twice = make_network(stack, engine).fit(X, Y).fit(X, Y)
    assert twice.step == once.step == 600
    assert_same_bits(once, twice)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("engine", BACKENDS)
def test_it_learns_with_any_number_of_threads(engine: str, n_threads: int) -> None:
    """Chance is 0.005. Measured over 20 seeds: 0.858 to 0.914 on both back ends, with one, two and three threads."""
    X, Y = planted_data(3000, D, N, seed=1)
    X_test, Y_test = planted_data(500, D, N, seed=2)
    for seed in range(3):
        net = make_network(layers(), engine, seed=seed, n_threads=n_threads)
        net.fit(X, Y, epochs=5, schedule=slide.Linear())
        assert all(np.isfinite(rows).all() for rows in rows_of(net))
        assert 0.83 < precision_at_1(net, X_test, Y_test) < 0.94
        assert net.step == 15_000


@pytest.mark.parametrize("engine", BACKENDS)
def test_tables_return_the_best_neurons_of_a_trained_network(engine: str) -> None:
    X, _ = planted_data(200, D, N, seed=2)
    net = fitted(engine, epochs=3, n=2000)
    recall, chance = net.retrieval_recall(X, k=5, n_candidates=20)
    assert chance <= 0.1
    assert recall > 4 * chance


@pytest.mark.parametrize("engine", BACKENDS)
def test_statistics_count_every_sample(engine: str) -> None:
    seen = []
    X, Y = planted_data(400, D, N, seed=1)
    net = make_network(layers(), engine)
    net.fit(X, Y, epochs=2, callback=lambda p: seen.append((p.epoch, p.done, p.active, p.epoch_ended)))
    assert seen[-1][:2] == (1, 800)
    assert [done for _, done, _, ended in seen if ended] == [400, 800]
    assert all(active == 40 for _, _, active, _ in seen)


@pytest.mark.parametrize("engine", BACKENDS)
def test_rebuilds_come_at_exponentially_stretching_distances(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = planted_data(1000, D, N)
    net = make_network(layers(), engine, rebuild=slide.Rebuild(every=100, growth=0.5))
    at, rebuild = [], net.rebuild_tables
    monkeypatch.setattr(
        net, "rebuild_tables", lambda examples=None, **how: (at.append(net.step), rebuild(examples, **how))
    )
    net.fit(X, Y)
    expected = [0]
    for t in range(10):
        expected.append(expected[-1] + int(100 * np.exp(0.5 * t)))
    expected = [step for step in expected if step < 1000]
    assert at == [*expected, 1000]  # and once at the end, for prediction
    assert net.tables_built_at == 1000


# -- parameters in memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", BACKENDS)
def test_parameters_are_views_that_the_engine_reads_and_writes(engine: str) -> None:
    net = make_network([slide.SparseInput(D, 20), slide.Dense(N)], engine)
    X, Y = planted_data(50, D, N)
    for i, shape in enumerate([(D, 20), (N, 20)]):
        assert net.weights(i).shape == shape
        assert np.shares_memory(net.weights(i), net.states[i].rows)
        assert np.shares_memory(net.biases(i), net.states[i].rows)
    before = net.weights(1)
    copy = before.copy()
    net.fit(X, Y)
    assert (before != copy).any()
    net.biases(1)[17] = 1e6
    assert (net.predict_topk(X, 1)[0] == 17).all()


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("optimizer", [slide.SGD(), slide.Adam()], ids=lambda o: o.kind)
def test_rows_begin_on_cache_lines(optimizer: slide.optim.Optimizer, engine: str) -> None:
    net = make_network([slide.SparseInput(D, 21), slide.Sampled(N)], engine, optimizer=optimizer)
    for state in net.states:
        assert state.rows.ctypes.data % 64 == 0
        assert state.rows.strides[0] % 64 == 0
        assert (state.row_scalars.ctypes.data - state.rows.ctypes.data) % 64 == 0
    lsh = net.states[1].lsh
    assert lsh is not None
    assert lsh.buckets.ctypes.data % 64 == 0
    assert lsh.buckets.strides[1] % 64 == 0


@es.needs_c
def test_large_arrays_begin_on_huge_pages() -> None:
    assert slide.engine.memory.allocate((3 * 2**18 + 5,), np.float32, "three MiB").ctypes.data % 2**21 == 0


def test_parameters_that_do_not_fit_name_the_bytes() -> None:
    with pytest.raises(MemoryError, match=r"\d[\d,]{12,} bytes"):
        slide.Network([slide.SparseInput(2**31 - 1, 2**20), slide.Dense(2)], backend="numba")


# -- what stops a training --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("loss", ["softmax", "binary"])
def test_divergence_names_step_and_layer_and_leaves_weights_finite(loss: str, engine: str) -> None:
    X, Y = planted_data(100, D, N)
    net = make_network(layers(), engine, loss=loss, optimizer=slide.SGD(lr=1e6))
    told = r"step \d+: the (output|update) of layer [01] \(\w+\) .* The learning rate was 1e\+06"
    with pytest.raises(slide.NonFiniteError, match=told):
        net.fit(X, Y, epochs=5)
    assert all(np.isfinite(rows).all() for rows in rows_of(net))


EXPLOSIONS: dict[str, tuple[slide.optim.Optimizer, slide.Wide | None, str]] = {
    "sgd": (slide.SGD(lr=1e18), None, "layer 1 "),
    "sgd at the end of float32": (slide.SGD(lr=3e38), None, "layer 1 "),
    "adagrad": (slide.Adagrad(lr=1e18), None, "layer 1 "),
    "adagrad, one state a weight": (slide.Adagrad(lr=1e18, per_row=False), None, "layer 1 "),
    "adam": (slide.Adam(lr=1e18), None, "layer 1 "),
    "weight decay": (slide.SGD(lr=1.0, weight_decay=1e10), None, "layer 1 "),
    "the sparse part": (slide.SGD(lr=1e-3), slide.Wide(lr=1e30), "the sparse linear part "),
}


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("case", EXPLOSIONS)
def test_an_update_that_would_leave_float32_is_not_made(case: str, engine: str) -> None:
    """All weights and all that optimizers remember stay finite, so the model can still be saved, used and trained."""
    optimizer, wide, where = EXPLOSIONS[case]
    X, Y = planted_data(100, D, N)
    net = make_network(layers(), engine, optimizer=optimizer, wide=wide)
    with pytest.raises(slide.NonFiniteError, match=rf"step \d+: the update of {where}.*would leave float32.*smaller"):
        net.fit(X, Y, epochs=3)
    assert all(np.isfinite(rows).all() for rows in rows_of(net))
    if net.wide_state is not None:
        assert np.isfinite(net.wide_state.weights).all()
        assert np.isfinite(net.wide_state.bias).all()
    assert np.isfinite(net.predict_topk(X)[1]).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize(("layer", "value"), [(0, np.inf), (0, np.nan), (1, np.inf), (1, np.nan)])
def test_a_weight_that_is_not_finite_is_found_where_it_is(layer: int, value: float, loss: str, engine: str) -> None:
    """Also in a row that is no label of the sample: nothing is swallowed."""
    X, Y = random_data(20, D, N, nnz=5, labels=1)
    net = make_network([slide.SparseInput(D, 20), slide.Dense(N)], engine, loss=loss)
    others = np.setdiff1d(np.arange(N), Y.indices)
    if layer == 0:
        net.weights(0)[:, 3] = value
    else:
        net.biases(1)[others[len(others) // 2]] = value
    before = rows_of(net)
    with pytest.raises(slide.NonFiniteError, match=f"step 0: the output of layer {layer} "):
        net.fit(X, Y)
    for a, b in zip(before, rows_of(net), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_sample_that_is_not_finite_changes_nothing_in_the_linear_part(engine: str) -> None:
    X, Y = random_data(20, D, N, nnz=5, labels=1)
    net = make_network([slide.SparseInput(D, 20), slide.Dense(N)], engine, wide=slide.Wide())
    net.biases(1)[:] = np.nan
    with pytest.raises(slide.NonFiniteError, match="step 0: "):
        net.fit(X, Y)
    assert net.wide_state is not None
    assert len(net.wide_state.weights)
    assert not net.wide_state.weights.any()


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("engine", BACKENDS)
def test_ctrl_c_leaves_a_usable_network(engine: str, n_threads: int, request: pytest.FixtureRequest) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, handler))
    X, Y = planted_data(2000, D, N, seed=1)
    net = make_network(layers(), engine, n_threads=n_threads)

    def press(progress: slide.training.progress.Progress) -> None:
        if progress.done >= 300:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=100, callback=press)
    assert 300 <= net.step < 200_000
    assert all(np.isfinite(rows).all() for rows in rows_of(net))
    stopped = precision_at_1(net, X, Y)
    net.fit(X, Y, epochs=3)
    assert precision_at_1(net, X, Y) > max(stopped, 0.8)


@pytest.mark.parametrize("engine", BACKENDS)
def test_samples_longer_than_any_before(engine: str) -> None:
    """Scratch grows with the longest row and the most labels."""
    net = make_network(layers(), engine, n_threads=2)
    for nnz, labels in [(1, 1), (50, 3), (3, 60), (D, N)]:
        X, Y = random_data(10, D, N, nnz=nnz, labels=labels, seed=nnz)
        net.fit(X, Y)
        net.predict_topk(X, 2)
    assert net.step == 40


@pytest.mark.parametrize("engine", BACKENDS)
def test_the_last_layer_gives_logits_whatever_its_activation(engine: str) -> None:
    X, Y = planted_data(100, D, N)
    nets = [
        make_network([slide.SparseInput(D, 20), slide.Dense(N, activation=a)], engine) for a in ("identity", "relu")
    ]
    for net in nets:
        net.fit(X, Y)
    assert_same_bits(*nets)
    assert nets[0].predict_topk(X, N)[1].min() < 0


def test_rows_are_taken_in_any_order_and_number() -> None:
    X, _ = random_data(700, 50, 20)
    rows = np.random.default_rng(0).integers(0, 700, 2 * ROWS_AT_ONCE + 5)
    some, whole = Examples.of(X).take(rows), X[rows]
    for found, expected in zip(some[:3], (whole.indptr, whole.indices, whole.data), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert len(Examples.of(X).take(rows[:0]).indptr) == 1
