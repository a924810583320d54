"""Networks, data and Hypothesis strategies that the tests of the engines share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st

import slide
from slide.engine.binding import c_core
from slide.engine.guard import guard
from slide.engine.protocol import Examples

CORE = c_core()
ISAS: list[str] = CORE.isa_available() if CORE else []
#: Every engine that runs here: the reference, and the C core on each instruction set, best first.
ENGINES = ["numba", *ISAS]
#: The reference and the C core as users get it.
BACKENDS = ENGINES[:2]

needs_c = pytest.mark.skipif(CORE is None, reason="the C extension was not built")


def make_network(layers: list[Any], engine: str = "numba", **options: Any) -> slide.Network:
    """A single-threaded network (unless told otherwise) on an engine of ENGINES."""
    backend = "numba" if engine == "numba" else "c"
    net = slide.Network(layers, **({"n_threads": 1, "backend": backend} | options))
    use_engine(net, engine)
    return net


def use_engine(net: slide.Network, engine: str) -> None:
    """Puts a network on an engine of ENGINES again, after it has made itself another."""
    if engine != "numba":
        assert CORE is not None
        core = CORE.Engine(net.states, net.wide_state, net.optimizer, net.loss, net.seed, net.n_threads, engine)
        net.engine = guard(core, net.states)


def random_data(
    n: int, d: int, n_labels: int, *, nnz: int = 6, labels: int = 2, seed: int = 0
) -> tuple[sp.csr_array, sp.csr_array]:
    """n rows of nnz normal features, and distinct random labels, from one to `labels` a row."""
    rng = np.random.default_rng(seed)
    X, Y = np.zeros((n, d), np.float32), np.zeros((n, n_labels), np.float32)
    for i in range(n):
        X[i, rng.choice(d, min(nnz, d), replace=False)] = rng.standard_normal(min(nnz, d))
        Y[i, rng.choice(n_labels, rng.integers(1, min(labels, n_labels) + 1), replace=False)] = 1
    return sp.csr_array(X), sp.csr_array(Y)


def planted_data(n: int, d: int, n_labels: int, *, seed: int = 0) -> tuple[sp.csr_array, sp.csr_array]:
    """One label a row: three features of its own, which other labels use too, and two of noise."""
    assert n_labels <= d
    own = np.stack([np.random.default_rng(s).permutation(d)[:n_labels] for s in (1234, 7, 8)], axis=1)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_labels, n)
    columns = np.hstack([own[labels], rng.integers(0, d, (n, 2))])
    X = sp.csr_array((np.full(5 * n, 0.5, np.float32), (np.repeat(np.arange(n), 5), columns.ravel())), shape=(n, d))
    X.sum_duplicates()
    return X, sp.csr_array((np.ones(n, np.float32), (np.arange(n), labels)), shape=(n, n_labels))


def precision_at_1(net: slide.Network, X: sp.csr_array, Y: sp.csr_array) -> float:
    """Share of the rows whose best label is right."""
    ids, _ = net.predict_topk(X, 1)
    return float(Y[np.arange(Y.shape[0]), ids[:, 0]].mean())


def assert_same_answers(net: slide.Network, reference: slide.Network, X: sp.csr_array) -> None:
    """Equal hidden vectors and scores, exactly and among candidates, and equal labels where scores tell them apart."""
    np.testing.assert_allclose(net.hidden(X), reference.hidden(X), rtol=1e-5, atol=1e-6)
    for n_candidates in (None, 10):
        ids, scores = net.predict_topk(X, 5, n_candidates=n_candidates)
        wanted_ids, wanted = reference.predict_topk(X, 5, n_candidates=n_candidates)
        np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)
        apart = np.abs(np.diff(wanted, axis=1)).min(axis=1) > 1e-4
        assert apart.any() or X.shape[0] == 1
        np.testing.assert_array_equal(ids[apart], wanted_ids[apart])


def train(net: slide.Network, X: sp.csr_array, Y: sp.csr_array, steps: int, lr: float, first: int = 0) -> Any:
    """Visits rows 0, 1, ... for that many steps at one learning rate; no schedule, no rebuilds. Returns TrainStats."""
    order = (np.arange(first, first + steps) % X.shape[0]).astype(np.int64)
    return net.engine.train(Examples.of(X), Examples.of(Y), order, first, np.full(steps, lr, np.float32), 1)


def rows_of(net: slide.Network) -> list[npt.NDArray[np.float32]]:
    """Copies of all layers' rows: weights, optimizer states and scalars."""
    return [state.rows.copy() for state in net.states]


def used_slots(net: slide.Network, layer: int = -1) -> list[list[list[int]]]:
    """Ids in each bucket of each table, in the order of their places."""
    lsh = net.states[layer].lsh
    assert lsh is not None
    return [[list(b[1 : 1 + min(b[0], lsh.capacity)]) for b in table] for table in lsh.buckets.tolist()]


#: Families small enough for tests, one of each kind.
FAMILIES = {
    "simhash": slide.SimHash(K=3, L=6, capacity=8),
    "simhash-plain": slide.SimHash(K=3, L=6, capacity=8, policy="fifo", centred=False),
    "gaussian": slide.SimHash(K=3, L=6, capacity=8, directions="gaussian"),
    "sparse": slide.SimHash(K=3, L=6, capacity=8, directions="sparse", transform="sign-alsh"),
    "hadamard": slide.SimHash(K=3, L=6, capacity=8, directions="hadamard", transform="norm-ranging"),
    "vanilla": slide.SimHash(K=3, L=6, capacity=8, selection="vanilla"),
    "threshold": slide.SimHash(K=4, L=6, capacity=8, selection="threshold", probes=3),
    "wta": slide.WTA(K=1, L=6, capacity=8),
    "dwta": slide.DWTA(K=1, L=6, capacity=8, policy="fifo"),
    "minhash": slide.MinHash(K=1, L=6, capacity=8, size=4, transform="norm-augmented"),
    "euclidean": slide.EuclideanHash(K=2, L=6, capacity=8),
    "euclidean-plain": slide.EuclideanHash(K=2, L=6, capacity=8, width=1.0, centred=False, transform="none"),
}


@st.composite
def hash_families(draw: st.DrawFn, as_they_are: bool = False, probing: bool = False) -> slide.lsh.HashFamily:
    """Any family, with small tables that often overflow. WTA and DWTA need vectors of 8 coordinates or more.

    as_they_are: one that hashes weights and biases without changing them. probing: perhaps several buckets a table.
    """
    kind = draw(st.sampled_from([slide.SimHash, slide.WTA, slide.DWTA, slide.MinHash, slide.EuclideanHash]))
    transforms = [t for t in sorted(slide.lsh.APPENDED) if t != "l2-alsh" or kind is slide.EuclideanHash]
    sizes: dict[str, Any] = {
        "L": draw(st.integers(1, 9)),
        "capacity": draw(st.integers(1, 20)),
        "policy": draw(st.sampled_from(["fifo", "reservoir"])),
        "centred": not as_they_are and draw(st.booleans()),
        "transform": "none" if as_they_are else draw(st.sampled_from(transforms)),
    }
    sizes["selection"] = draw(st.sampled_from(slide.lsh.SELECTIONS))
    sizes["min_count"] = draw(st.integers(1, sizes["L"]))
    if kind is slide.SimHash:
        directions = draw(st.sampled_from(["signs", "gaussian", "sparse", "hadamard"]))
        probes = draw(st.integers(1, 8)) if probing else 1
        return slide.SimHash(K=draw(st.integers(1, 12)), directions=directions, probes=probes, **sizes)
    if kind is slide.MinHash:
        return slide.MinHash(K=draw(st.integers(1, 4)), size=draw(st.integers(1, 40)), **sizes)
    if kind is slide.EuclideanHash:
        return slide.EuclideanHash(
            K=draw(st.integers(1, 6)), width=draw(st.sampled_from([1e-6, 0.3, 2.5, 1e6])), **sizes
        )
    return kind(K=draw(st.integers(1, 4)), **sizes)


@st.composite
def sampled_layers(draw: st.DrawFn, max_n: int = 60, probing: bool = False) -> slide.Sampled:
    """A sampled layer with any sizes that are allowed, with tables or without; asked with the input unless probing."""
    n = draw(st.integers(1, max_n))
    n_active = draw(st.integers(1, max_n + 5))
    lsh = draw(st.none() | hash_families(probing=probing))
    query = draw(st.sampled_from(["input", "label"])) if probing and lsh is not None else "input"
    return slide.Sampled(n, lsh=lsh, n_active=n_active, n_random=draw(st.integers(0, n_active)), query=query)


def family_of(net: slide.Network, layer: int = -1) -> slide.lsh.HashFamily:
    """The hash family of a sampled layer that has one."""
    sampled = net.layers[layer]
    assert isinstance(sampled, slide.Sampled)
    assert sampled.lsh is not None
    return sampled.lsh
