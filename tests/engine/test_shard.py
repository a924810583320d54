"""A step in parts, as workers that share a network make it, is the step that one process makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import slide
from slide.distributed.training.data import TrainingData
from slide.distributed.training.loop import Fit, SharedTraining
from slide.distributed.training.shard import Spec
from slide.distributed.transport.group import Group
from slide.distributed.transport.local import run_local
from slide.engine.protocol import Examples

N = 32  # one batch
X, Y = slide.datasets.synthetic(200, 60, 40, nnz=8, labels_per_row=2)
ALL: dict[str, Any] = {"n_active": 40, "n_random": 8, "lsh": None}


def spec(loss: str = "softmax", activation: str = "relu", dropout: float = 0.0, **last: Any) -> Spec:
    layers = slide.SparseInput(60, 24, activation, dropout, bias=False), slide.Sampled(40, **last)
    return Spec(layers, None, slide.Adagrad(0.1), loss, slide.Rebuild(), N, "float32", 3)


def stepped(whole: Spec, workers: int, blocks: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Input and output weights, by their old numbers, after some blocks of one batch."""

    def work(group: Group) -> Any:
        training = SharedTraining(group, whole, TrainingData(X, Y))
        for _ in range(blocks):
            assert all(done.stats.bad_step < 0 for done in training.train_block(Fit(9, slide.Constant(), block=N)))
        assert training.step == blocks * N
        shard = training.shard
        first, last = training.features.inverse, training.labels.inverse
        return first[slice(*shard.features)], shard.input.weights, last[slice(*shard.labels)], shard.output.rows

    inputs, outputs = np.zeros((60, 24), np.float32), np.zeros((40, 32 + 16), np.float32)
    for features, rows, labels, more in run_local(workers, work):
        inputs[features], outputs[labels] = rows, more
    return inputs, outputs


def in_one_process(whole: Spec) -> tuple[np.ndarray, np.ndarray]:
    """The same first block by a network that has the same first weights."""
    first, last = stepped(whole, 1, blocks=0)
    net = slide.Network(whole.layers, optimizer=whole.optimizer, loss=whole.loss, batch_size=N, seed=3, n_threads=1)
    net.states[0].rows[:, :24], net.states[1].rows[:, :24] = first, last[:, :24]
    order = np.random.default_rng([3, 0]).permutation(200).astype(np.int64)[:N]
    net.engine.train(Examples.of(X), Examples.of(Y), order, 0, np.full(N, 0.1, np.float32), N)
    return net.states[0].weights, net.states[1].rows


@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
def test_the_parts_of_one_worker_are_the_step_of_a_batch(loss: str, activation: str) -> None:
    whole = spec(loss, activation, **ALL)
    inputs, outputs = stepped(whole, 1)
    wanted_inputs, wanted_outputs = in_one_process(whole)
    np.testing.assert_allclose(inputs, wanted_inputs, atol=2e-6)
    np.testing.assert_allclose(outputs, wanted_outputs, atol=2e-6)
    assert np.abs(inputs - stepped(whole, 1, blocks=0)[0]).max() > 1e-3


@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_make_the_same_step(loss: str, workers: int) -> None:
    whole = spec(loss, **ALL)
    for found, wanted in zip(stepped(whole, workers), stepped(whole, 1), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_cells_and_dropout_keep_every_row_finite(dropout: float) -> None:
    whole = spec(dropout=dropout, lsh=slide.lsh.QueryCells(K=6, capacity=20), n_active=20, n_random=4)
    for rows in stepped(whole, 3, blocks=6):
        assert np.isfinite(rows).all()
