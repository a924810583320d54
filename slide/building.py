"""The network that a classifier's options stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide.layers import Dense, Layer, Sampled, SparseInput
from slide.learn_ranker import Rank
from slide.lsh import HashFamily, auto, require
from slide.network import Network
from slide.optim import Adagrad
from slide.wide import Wide

if TYPE_CHECKING:
    from slide.classifier import SlideClassifier


def build_network(
    clf: SlideClassifier, n_features: int, n_labels: int, n_threads: int | None, ranks: bool = False
) -> Network:
    """Untrained; raises ValueError for options that make no sense, naming them. ranks: sparse rows come after it."""
    hidden = tuple(clf.hidden)
    require(len(hidden) >= 1, "hidden", clf.hidden, "at least one width")
    layers: list[Layer] = [SparseInput(n_features, int(hidden[0]), clf.activation, clf.dropout, bias=False)]
    layers += [Dense(int(n), clf.activation) for n in hidden[1:]]
    layers.append(_output_layer(clf, n_labels))
    fits = isinstance(clf.wide, bool | Wide | Rank)
    require(fits, "wide", clf.wide, "a slide.Rank, a slide.Wide, True or False")
    wide = clf.wide if isinstance(clf.wide, Wide) else Wide() if clf.wide and not ranks else None
    return Network(
        layers,
        wide=wide,
        optimizer=clf.optimizer or Adagrad(clf.lr),
        loss=clf.loss,
        rebuild=clf.rebuild,
        batch_size=clf.batch_size,
        storage=clf.storage,
        n_threads=n_threads,
        seed=clf.random_state,
        backend=clf.backend,
    )


def _output_layer(clf: SlideClassifier, n_labels: int) -> Sampled:
    require(isinstance(clf.n_active, int | np.integer), "n_active", clf.n_active, "a whole number")
    n_random = clf.n_random if clf.n_random is not None else clf.n_active // 6
    lsh = auto(n_labels, clf.n_active, n_random) if clf.lsh == "auto" else clf.lsh
    require(lsh is None or isinstance(lsh, HashFamily), "lsh", clf.lsh, "a HashFamily, 'auto' or None")
    assert not isinstance(lsh, str)
    return Sampled(n_labels, lsh=lsh, n_active=clf.n_active, n_random=n_random)
