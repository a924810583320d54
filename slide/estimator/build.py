"""The network that a classifier's options stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from slide.checks import among, require, whole
from slide.layers import MAX_NEURONS, Dense, DenseInput, Layer, Sampled, SparseInput
from slide.lsh import HashFamily, auto
from slide.model.pairs import Wide
from slide.network import Network
from slide.optim import Adagrad, Optimizer, Rebuild

#: Share of X's entries that are not 0 from which on `hidden=()` is taken: each row meets every column there.
LEAST_FILLED = 0.01


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
    memory: int | str | None


def build_network(
    options: NetworkOptions,
    n_features: int,
    n_labels: int,
    n_threads: int | None,
    wide: Wide | None,
    seed: int,
    *,
    elsewhere: type[Network] | None = None,
) -> Network:
    """Untrained; raises ValueError for options that make no sense, naming them.

    elsewhere : of which class it is where weights will come from elsewhere; until then they are none, or zeros whose
        memory nobody has touched
    """
    hidden = widths(options.hidden)
    layers: list[Layer] = []
    if hidden:
        layers.append(SparseInput(n_features, hidden[0], options.activation, options.dropout, bias=False))
    else:
        layers.append(DenseInput(n_features, options.dropout))
    layers += [Dense(n, options.activation) for n in hidden[1:]]
    layers.append(_output_layer(options, n_labels, has_walk=wide is not None))
    return (elsewhere or Network)(
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
        memory=options.memory,
        arrays=None if elsewhere is None else {},
    )


def refuse_sparse_rows(hidden: Any, X: sp.csr_array) -> None:
    """Where no hidden layer was asked for, ValueError for rows X of which next to nothing is not 0."""
    filled = X.nnz / max(X.shape[0] * X.shape[1], 1)
    if not widths(hidden) and filled < LEAST_FILLED:
        found, wanted = f"(), and of X {filled:.2%} that is not 0", "a width, such as 128, or a denser X"
        raise ValueError(f"hidden: found {found}, wanted {wanted}: without hidden layers every column costs time")


def widths(hidden: Any) -> tuple[int, ...]:
    """Of the layers that the option asks for: one number, or some in a sequence, of which an empty one has none."""
    given = [hidden] if isinstance(hidden, int | np.integer) else hidden
    ok = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
    found = list(given) if ok else []
    wrong = next((n for n in found if not _is_width(n)), hidden)
    wanted = f"a whole number, or a sequence of them, each 1 to {MAX_NEURONS:,}"
    require(ok and all(map(_is_width, found)), "hidden", wrong, wanted)
    return tuple(int(n) for n in found)


def _is_width(n: Any) -> bool:
    return 1 <= whole(n) <= MAX_NEURONS


def _output_layer(options: NetworkOptions, n_labels: int, has_walk: bool) -> Sampled:
    """has_walk : whether there is a sparse part beside it, with which predictions ask the tables."""
    require(1 <= whole(options.n_active) <= MAX_NEURONS, "n_active", options.n_active, "a whole number, 1 or more")
    n_random = options.n_random if options.n_random is not None else options.n_active // 6
    require(0 <= whole(n_random) <= options.n_active, "n_random", n_random, f"0 to n_active, {options.n_active:,}")
    lsh = options.lsh
    if among(lsh, ("auto",)):
        lsh = auto(n_labels, options.n_active, n_random, training_only=not has_walk)
    require(lsh is None or isinstance(lsh, HashFamily), "lsh", options.lsh, "a HashFamily, 'auto' or None")
    assert not isinstance(lsh, str)
    return Sampled(n_labels, lsh=lsh, n_active=options.n_active, n_random=n_random)
