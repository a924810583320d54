"""The C core and the Numba reference are one algorithm: equal integers, and with one thread the same trajectory."""

from __future__ import annotations

from dataclasses import replace

import engine_strategies as es
import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from engine_strategies import ENGINES, ISAS, make_network, needs_c, random_data, train
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import slide
from slide.lsh.centring import update_frame
from slide.training import loop

pytestmark = needs_c

D, N, ROWS = 40, 60, 150
LR = {"sgd": 0.1, "adagrad_row": 0.05, "adagrad": 0.05, "adam": 3e-3}
OPTIMIZERS = {
    "sgd": slide.SGD(lr=LR["sgd"], weight_decay=1e-3),
    "adagrad_row": slide.Adagrad(lr=LR["adagrad_row"], weight_decay=1e-3),
    "adagrad": slide.Adagrad(lr=LR["adagrad"], per_row=False, weight_decay=1e-3),
    "adam": slide.Adam(lr=LR["adam"], weight_decay=1e-3),
}


@pytest.fixture(autouse=True)
def _equal_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are cut by time, and the running mean of the loss hangs on where."""
    monkeypatch.setattr(loop, "CHUNK_SECONDS", np.inf)


def sampled(lsh: slide.lsh.HashFamily | None, n: int = N) -> slide.Sampled:
    return slide.Sampled(n, lsh=lsh, n_active=25, n_random=6)


def assert_same_trajectory(layers: list[slide.layers.Layer], *, nnz: int = 6, **options: object) -> None:
    """300 steps with four rebuilds; losses and sizes are compared on the way, everything at the end."""
    X, Y = random_data(ROWS, D, N, nnz=nnz)
    nets = [make_network(layers, e, seed=11, rebuild=slide.Rebuild(every=80, growth=0), **options) for e in es.BACKENDS]
    seen: list[list[tuple[float, float]]] = [[], []]
    for net, progress in zip(nets, seen, strict=True):
        net.fit(X, Y, epochs=2, callback=lambda p, seen=progress: seen.append((p.done, p.loss)))
    reference, core = nets
    assert core.step == reference.step == 2 * ROWS
    losses = [dict(p) for p in seen]
    np.testing.assert_allclose(losses[0][2 * ROWS], losses[1][2 * ROWS], rtol=1e-4)
    for i, (a, b) in enumerate(zip(reference.states, core.states, strict=True)):
        scale = np.abs(b.rows).max(initial=0)
        np.testing.assert_allclose(a.rows, b.rows, rtol=1e-3, atol=2e-5 * scale, err_msg=f"rows of layer {i}")
        if a.lsh is not None:
            buckets = [[bucket for table in es.used_slots(net, i) for bucket in table] for net in nets]
            same = np.mean([x == y for x, y in zip(*buckets, strict=True)])
            assert same >= (0.9 if a.lsh.is_learned else 1), f"tables of layer {i}"  # near ties move learned centres
    (ids, scores), (c_ids, c_scores) = (net.predict_topk(X, 5) for net in nets)
    np.testing.assert_allclose(scores, c_scores, atol=2e-4 * np.abs(scores).max())
    np.testing.assert_array_equal(ids, c_ids)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize("lsh", es.FAMILIES.values(), ids=es.FAMILIES)
def test_trajectories_of_a_sampled_output(
    lsh: slide.lsh.HashFamily, loss: str, optimizer: slide.optim.Optimizer
) -> None:
    layers = [slide.SparseInput(D, 20, dropout=0.2), sampled(lsh)]
    assert_same_trajectory(layers, optimizer=optimizer, loss=loss)


STACKS = {
    "dense output": [slide.SparseInput(D, 12, activation="tanh"), slide.Dense(N)],
    "tail alone": [slide.SparseInput(D, 12, activation="relu", bias=False), sampled(None)],
    "sampled in the middle": [
        slide.SparseInput(D, 20, activation="tanh", dropout=0.1),
        slide.Sampled(50, lsh=es.FAMILIES["simhash"], n_active=20, n_random=4, activation="relu"),
        slide.Dense(18, activation="tanh"),
        sampled(es.FAMILIES["wta"]),
    ],
    "sampled on sampled": [
        slide.SparseInput(D, 20, activation="relu"),
        slide.Sampled(40, lsh=es.FAMILIES["simhash"], n_active=16, n_random=4, activation="relu"),
        sampled(es.FAMILIES["dwta"]),
    ],
    "minhash on sampled": [
        slide.SparseInput(D, 20, activation="relu"),
        slide.Sampled(40, lsh=None, n_active=16, n_random=16, activation="relu"),
        sampled(slide.MinHash(K=1, L=6, capacity=8, size=6)),
    ],
    "query cells": [slide.SparseInput(D, 20, dropout=0.2), sampled(slide.QueryCells(K=6, capacity=12, probes=2))],
    "asked with a label": [
        slide.SparseInput(D, 20, dropout=0.2),
        slide.Sampled(N, lsh=es.FAMILIES["threshold"], n_active=25, n_random=6, query="label"),
    ],
    "over dense rows": [slide.DenseInput(D, dropout=0.2), sampled(es.FAMILIES["simhash"])],
    "five layers": [
        slide.SparseInput(D, 17),
        slide.Dense(16, activation="tanh"),
        slide.Dense(15, activation="relu"),
        slide.Dense(14, activation="tanh"),
        slide.Dense(N),
    ],
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("stack", [n for n in STACKS if n != "five layers"])
def test_trajectories_of_other_stacks(stack: str, optimizer: slide.optim.Optimizer) -> None:
    assert_same_trajectory(STACKS[stack], optimizer=optimizer)


@pytest.mark.slow  # more than four layers are another compilation
def test_trajectory_of_five_layers() -> None:
    assert_same_trajectory(STACKS["five layers"], optimizer=OPTIMIZERS["adam"])


@pytest.mark.parametrize("stack", ["dense output", "sampled on sampled"])
def test_trajectories_of_the_binary_loss(stack: str) -> None:
    assert_same_trajectory(STACKS[stack], optimizer=OPTIMIZERS["adam"], loss="binary")


BATCH_STACKS = {
    "query cells": STACKS["query cells"],
    "over a dense layer": [
        slide.SparseInput(D, 12, activation="tanh", dropout=0.1),
        slide.Dense(17, activation="relu"),
        sampled(slide.QueryCells(K=7, capacity=3)),
    ],
    "tail alone": STACKS["tail alone"],
    "over dense rows": [slide.DenseInput(D, dropout=0.2), sampled(slide.QueryCells(K=6, capacity=12))],
    "hidden layer over dense rows": [slide.DenseInput(D), slide.Dense(12, activation="tanh"), sampled(None)],
    "all active": [slide.SparseInput(D, 12), slide.Sampled(N, lsh=es.FAMILIES["simhash"], n_active=N, n_random=0)],
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize("stack", BATCH_STACKS)
def test_trajectories_of_batches(stack: str, loss: str, optimizer: slide.optim.Optimizer) -> None:
    """Batches of seven leave a smaller one at the end; summed gradients want smaller steps to stay comparable."""
    if optimizer.kind != "adam":
        optimizer = replace(optimizer, lr=optimizer.lr / 7)
    assert_same_trajectory(BATCH_STACKS[stack], optimizer=optimizer, loss=loss, batch_size=7)


@pytest.mark.parametrize("optimizer", [slide.SGD(lr=0.005), slide.Adagrad(lr=0.01)], ids=["sgd", "adagrad_row"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stack", ["query cells", "over a dense layer"])
def test_trajectories_of_batches_of_dense_rows(stack: str, bias: bool, optimizer: slide.optim.Optimizer) -> None:
    """The C core takes the input layer of such a batch as matrix products (csrc/net/batch_below.c)."""
    first, *others = BATCH_STACKS[stack]
    assert isinstance(first, slide.SparseInput)
    assert_same_trajectory([replace(first, bias=bias), *others], nnz=D, optimizer=optimizer, batch_size=7)


@pytest.mark.parametrize("n_labels", [N, 2000, 140_000])
def test_trajectories_with_the_sparse_part(n_labels: int) -> None:
    """2,000: few enough pairs a sample that blocks of labels are marked one by one; 140,000: that labels are listed.

    Labels of a row without features meet no pair, and are trained and forgotten all the same.
    """
    X, Y = random_data(ROWS, D, n_labels, nnz=3)
    X = sp.csr_array(X.multiply(np.arange(ROWS)[:, None] % 5 > 0))
    lsh = es.FAMILIES["simhash"] if n_labels <= 2000 else None
    layers = [slide.SparseInput(D, 12), sampled(lsh, n_labels)]
    nets = [make_network(layers, e, wide=slide.Wide(), seed=4) for e in es.BACKENDS]
    for net in nets:
        net.fit(X, Y, epochs=2)
    reference, core = (net.wide_state for net in nets)
    assert reference is not None
    assert core is not None
    assert np.abs(core.weights).max() > 0.1
    np.testing.assert_allclose(reference.weights, core.weights, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(reference.bias, core.bias, rtol=1e-3, atol=1e-5)
    for options in ({}, {"n_candidates": 30}) if lsh else ({},):
        (ids, scores), (c_ids, c_scores) = (net.predict_topk(X, 5, **options) for net in nets)
        np.testing.assert_allclose(scores, c_scores, atol=1e-4)
        assert np.mean(ids == c_ids) > 0.99  # labels of equal score differ by rounding


@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_follows_the_reference(isa: str) -> None:
    X, Y = random_data(ROWS, D, N)
    layers = [slide.SparseInput(D, 20, activation="tanh"), sampled(es.FAMILIES["simhash"])]
    for optimizer in OPTIMIZERS.values():
        reference, core = (make_network(layers, e, optimizer=optimizer, seed=2) for e in ("numba", isa))
        assert (reference.isa, core.isa) == ("numba", isa)
        for net in (reference, core):
            net.rebuild_tables()
        stats = [train(net, X, Y, 200, optimizer.lr) for net in (reference, core)]
        np.testing.assert_allclose(stats[0][:-1], stats[1][:-1], rtol=1e-5)
        for a, b in zip(reference.states, core.states, strict=True):
            np.testing.assert_allclose(a.rows, b.rows, rtol=1e-3, atol=2e-5 * np.abs(b.rows).max())


def test_the_environment_names_the_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [slide.SparseInput(4, 8), slide.Dense(3)]
    for isa in ISAS:
        monkeypatch.setenv("SLIDE_ISA", isa)
        assert slide.Network(layers, backend="c").isa == isa
    monkeypatch.setenv("SLIDE_ISA", "abacus")
    with pytest.raises(ValueError, match=r"SLIDE_ISA: found 'abacus', wanted one usable here: .*generic"):
        slide.Network(layers, backend="c")


SOME = np.array([0.0, -0.0, 1.0, 1e-45, -1e-40, 1e20, -1e20], np.float32).tolist()  # as float32 has them
finite = st.floats(-(2.0**99), 2.0**99, width=32) | st.sampled_from(SOME)


@given(
    vectors=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=12, max_side=40), elements=finite),
    family=es.hash_families(),
)
@settings(max_examples=100)
def test_hash_codes_are_equal_bit_for_bit(vectors: npt.NDArray[np.float32], family: slide.lsh.HashFamily) -> None:
    fan_in = vectors.shape[1] - 1 - slide.lsh.APPENDED[family.transform]
    layers = [slide.SparseInput(2, fan_in), slide.Sampled(30, lsh=family)]
    codes = [make_network(layers, e).engine.hash_codes(1, vectors) for e in ENGINES]
    for engine, found in zip(ENGINES[1:], codes[1:], strict=True):
        np.testing.assert_array_equal(found, codes[0], err_msg=engine)


@given(
    layer=es.sampled_layers(probing=True),
    labels=st.lists(st.integers(0, 59), max_size=6),
    step=st.integers(0, 2**62),
    generation=st.integers(0, 2**40),
    seed=st.integers(0, 2**64 - 1),
)
@settings(max_examples=150)
def test_tables_and_active_sets_are_equal(
    layer: slide.Sampled, labels: list[int], step: int, generation: int, seed: int
) -> None:
    """Down to the order, on every instruction set: same draws, same codes, same buckets."""
    rng = np.random.default_rng(step)
    queries = rng.standard_normal((3, 11)).astype(np.float32)
    weights = rng.standard_normal((layer.n, 11))
    forced = np.array([label % layer.n for label in labels], np.int32)
    results = []
    for engine in ENGINES:
        net = make_network([slide.SparseInput(2, 11), layer], engine, seed=seed)
        net.weights(1)[:] = weights
        found: list[object] = []
        if layer.lsh is not None:
            update_frame(net.states[1], queries)
            net.engine.rebuild(1, generation)
            found += [es.used_slots(net, 1), net.engine.retrieve(1, queries, 20).tolist()]
        found += [[a.tolist() for a in net.engine.active_set(1, q, forced, step)] for q in queries]
        results.append(found)
    for engine, other in zip(ENGINES[1:], results[1:], strict=True):
        assert other == results[0], engine


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_dropout_leaves_out_the_same_features(seed: int) -> None:
    """Rows of features that were left out do not move."""
    X, Y = random_data(5, D, N, nnz=D)
    moved = []
    for engine in ENGINES:
        net = make_network([slide.SparseInput(D, 8, dropout=0.5), slide.Dense(N)], engine, seed=seed)
        before = net.weights(0).copy()
        train(net, X, Y, 1, 0.1, first=3)
        moved.append(tuple(np.flatnonzero((net.weights(0) != before).any(axis=1))))
    assert len(set(moved)) == 1
    assert 0.2 * D < len(moved[0]) < 0.8 * D


@pytest.mark.parametrize("isa", ISAS)
def test_hidden_vectors_and_predictions_agree(isa: str) -> None:
    X, Y = random_data(70, D, N)
    layers = [
        slide.SparseInput(D, 19, activation="tanh"),
        slide.Sampled(33, activation="relu", n_active=9, n_random=2),
        sampled(es.FAMILIES["simhash"]),
    ]
    reference, core = (make_network(layers, e, seed=6).fit(X, Y) for e in ("numba", isa))
    for layer in (1, 2):
        np.testing.assert_allclose(reference.hidden(X, layer), core.hidden(X, layer), rtol=1e-4, atol=1e-5)
    for options in ({}, {"n_candidates": 12}):
        (ids, scores), (c_ids, c_scores) = (net.predict_topk(X, 4, **options) for net in (reference, core))
        np.testing.assert_array_equal(ids, c_ids)
        np.testing.assert_allclose(scores, c_scores, rtol=1e-4, atol=1e-5)
