"""The network that a classifier's options stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from slide.checks import require
from slide.layers import Dense, Layer, Sampled, SparseInput
from slide.lsh import HashFamily, auto
from slide.model.pairs import Wide
from slide.network import Network
from slide.optim import Adagrad, Optimizer, Rebuild


class NetworkOptions(Protocol):
    """Those options of a classifier that say what its network is: see slide.SlideClassifier."""

    hidden: Sequence[int]
    n_active: int
    n_random: int | None
    lr: float
    dropout: float
    lsh: HashFamily | str | None
    optimizer: Optimizer | None
    loss: str
    activation: str
    rebuild: Rebuild | None
    batch_size: int | None
    storage: str
    random_state: int
    backend: str | None


def build_network(
    options: NetworkOptions, n_features: int, n_labels: int, n_threads: int | None, wide: Wide | None
) -> Network:
    """Untrained; raises ValueError for options that make no sense, naming them."""
    hidden = tuple(options.hidden)
    require(len(hidden) >= 1, "hidden", options.hidden, "at least one width")
    layers: list[Layer] = [SparseInput(n_features, int(hidden[0]), options.activation, options.dropout, bias=False)]
    layers += [Dense(int(n), options.activation) for n in hidden[1:]]
    layers.append(_output_layer(options, n_labels))
    return Network(
        layers,
        wide=wide,
        optimizer=options.optimizer or Adagrad(options.lr),
        loss=options.loss,
        rebuild=options.rebuild,
        batch_size=options.batch_size,
        storage=options.storage,
        n_threads=n_threads,
        seed=options.random_state,
        backend=options.backend,
    )


def _output_layer(options: NetworkOptions, n_labels: int) -> Sampled:
    require(isinstance(options.n_active, int | np.integer), "n_active", options.n_active, "a whole number")
    n_random = options.n_random if options.n_random is not None else options.n_active // 6
    lsh = auto(n_labels, options.n_active, n_random) if options.lsh == "auto" else options.lsh
    require(lsh is None or isinstance(lsh, HashFamily), "lsh", options.lsh, "a HashFamily, 'auto' or None")
    assert not isinstance(lsh, str)
    return Sampled(n_labels, lsh=lsh, n_active=options.n_active, n_random=n_random)
