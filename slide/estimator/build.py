"""The network that a classifier's options stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from slide.checks import among, require, whole
from slide.layers import MAX_NEURONS, Dense, Layer, Sampled, SparseInput
from slide.lsh import HashFamily, auto
from slide.model.pairs import Wide
from slide.network import Network
from slide.optim import Adagrad, Optimizer, Rebuild


class NetworkOptions(Protocol):
    """Those options of a classifier that say what its network is: see slide.SlideClassifier."""

    hidden: int | Sequence[int]
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
    backend: str | None


def build_network(
    options: NetworkOptions, n_features: int, n_labels: int, n_threads: int | None, wide: Wide | None, seed: int
) -> Network:
    """Untrained; raises ValueError for options that make no sense, naming them."""
    hidden = widths(options.hidden)
    layers: list[Layer] = [SparseInput(n_features, hidden[0], options.activation, options.dropout, bias=False)]
    layers += [Dense(n, options.activation) for n in hidden[1:]]
    layers.append(_output_layer(options, n_labels))
    return Network(
        layers,
        wide=wide,
        optimizer=Adagrad(options.lr) if options.optimizer is None else options.optimizer,
        loss=options.loss,
        rebuild=options.rebuild,
        batch_size=options.batch_size,
        storage=options.storage,
        n_threads=n_threads,
        seed=seed,
        backend=options.backend,
    )


def widths(hidden: Any) -> tuple[int, ...]:
    """Of the layers that the option asks for: one number, or several in a sequence."""
    given = [hidden] if isinstance(hidden, int | np.integer) else hidden
    ok = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
    found = list(given) if ok else []
    wrong = next((n for n in found if not _is_width(n)), None if found else hidden)
    wanted = f"a whole number, or a sequence of at least one, each 1 to {MAX_NEURONS:,}"
    require(bool(found) and all(map(_is_width, found)), "hidden", wrong, wanted)
    return tuple(int(n) for n in found)


def _is_width(n: Any) -> bool:
    return 1 <= whole(n) <= MAX_NEURONS


def _output_layer(options: NetworkOptions, n_labels: int) -> Sampled:
    require(1 <= whole(options.n_active) <= MAX_NEURONS, "n_active", options.n_active, "a whole number, 1 or more")
    n_random = options.n_random if options.n_random is not None else options.n_active // 6
    require(0 <= whole(n_random) <= options.n_active, "n_random", n_random, f"0 to n_active, {options.n_active:,}")
    lsh = auto(n_labels, options.n_active, n_random) if among(options.lsh, ("auto",)) else options.lsh
    require(lsh is None or isinstance(lsh, HashFamily), "lsh", options.lsh, "a HashFamily, 'auto' or None")
    assert not isinstance(lsh, str)
    return Sampled(n_labels, lsh=lsh, n_active=options.n_active, n_random=n_random)
