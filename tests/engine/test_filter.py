"""Exact prediction among so many labels that the C core filters them first: answers are those of reading all weights.

A network whose weights were handed out never filters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import ISAS, make_network, needs_c, random_data, train, use_engine

import slide

pytestmark = needs_c
N_LABELS, D = 2100, 40
X, Y = random_data(200, D, N_LABELS, nnz=9)


def network(width: int, kind: str) -> slide.Network:
    storage = {"storage": "bfloat16"} if kind == "bfloat16" else {}
    wide = {} if kind == "plain" else {"wide": slide.Wide()}
    layers = [slide.SparseInput(D, width), slide.Sampled(N_LABELS, n_active=64)]
    net = make_network(layers, ISAS[0], **wide, **storage).fit(X, Y, epochs=1)
    if kind != "bfloat16":  # labels in pairs that 8 bits hardly tell apart
        rows, noise = net.states[-1].rows, np.random.default_rng(1).standard_normal((N_LABELS // 2, width))
        rows[N_LABELS // 2 :] = rows[: N_LABELS // 2]
        rows[N_LABELS // 2 :, :width] += (3e-3 * noise).astype(np.float32)
    return net.compress() if kind == "compressed" else net


def same(net: slide.Network, rows: sp.csr_array, k: int, found: tuple[Any, Any]) -> None:
    right = net.predict_topk(rows, k)
    np.testing.assert_array_equal(found[0], right[0])
    np.testing.assert_array_equal(found[1].view(np.int32), right[1].view(np.int32))


@pytest.mark.parametrize(("width", "kind"), [(5, "plain"), (24, "wide"), (40, "compressed"), (24, "bfloat16")])
def test_a_filter_changes_no_bit(width: int, kind: str) -> None:
    net = network(width, kind)
    empty = sp.csr_array((2, D), dtype=np.float32)
    cases = [(X[:40], 1), (X[:3], 7), (X[50:90], 100), (X[7:8], 5), (X[7:8], 2000), (empty, 3)]
    for isa in ISAS:
        use_engine(net, isa)
        found = [net.predict_topk(rows, k) for rows, k in cases]
        net.engine.handed_out()
        for (rows, k), answer in zip(cases, found, strict=True):
            same(net, rows, k, answer)


def test_labels_that_score_alike_come_in_their_order() -> None:
    net = network(16, "plain")
    net.states[-1].rows[:] = net.states[-1].rows[0]
    for _ in range(2):
        np.testing.assert_array_equal(net.predict_topk(X[:40], 4)[0], np.tile(np.arange(4), (40, 1)))


def test_a_filter_is_made_anew_when_weights_have_changed() -> None:
    net = network(24, "wide")
    before = net.predict_topk(X, 5)
    train(net, X, Y, 400, 1.0)
    after = net.predict_topk(X, 5)
    assert (before[0] != after[0]).any()
    net.engine.handed_out()
    same(net, X, 5, after)


@pytest.mark.parametrize("part", ["weights", "biases"])
def test_weights_that_were_handed_out_are_read_as_they_are(part: str) -> None:
    net = network(24, "plain")
    net.predict_topk(X, 5)
    array = getattr(net, part)(-1)
    array[:] = np.random.default_rng(0).standard_normal(array.shape) + 1
    scores = net.hidden(X[:9]) @ net.weights(-1).T + net.biases(-1)
    np.testing.assert_array_equal(net.predict_topk(X[:9], 1)[0][:, 0], scores.argmax(axis=1))


def test_weights_that_are_no_numbers_are_not_filtered() -> None:
    net = network(24, "plain")
    net.states[-1].rows[3, :24] = np.inf
    net.states[-1].rows[5, 0] = np.nan
    found = net.predict_topk(X[:40], 5)
    net.engine.handed_out()
    same(net, X[:40], 5, found)
