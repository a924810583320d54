"""What one worker has of a model that predicts, and its part of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from slide.distributed.training.answers import Found, best_here, best_of_all, by_blocks, matrix_of
from slide.distributed.training.step import activate
from slide.distributed.transport.group import Array, Group
from slide.engine import select
from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples
from slide.io.shards import LABELS, PAIRS, RANKED, ShardFolder, read_first, read_part
from slide.layers import DenseInput
from slide.model.model import Model
from slide.model.pairs import make_state
from slide.model.parameters import make_layer_state
from slide.model.ranker import Ranker, log_sums
from slide.model.snapshot import layer_from, optimizer_from, wide_from

LAST, FIRST = "last", "first"  # of the sparse rows that rank


class Part:
    """Features and labels of one worker. Its methods are called by all workers at once, with the same rows."""

    def __init__(self, folder: str, group: Group, n_threads: int) -> None:
        """Raises ModelFormatError where the folder is damaged."""
        self._group, self._n_threads = group, n_threads
        shards, part = ShardFolder.at(folder), read_part(folder, group.rank, group.size)
        config = shards.config["network"]
        self._features, self._labels = part.features, part.labels
        self._input = layer_from(config["layers"][0], None)
        whole = layer_from({**config["layers"][1], "lsh": None}, None)  # every label is scored: no tables
        n, optimizer = part.labels[1] - part.labels[0], optimizer_from(config["optimizer"])
        last = replace(whole, n=n, n_active=min(whole.n_active, n), n_random=0)
        options: dict[str, Any] = {"optimizer": optimizer, "loss": config["loss"], "seed": config["seed"]}
        storage = config.get("storage", "float32")
        self._head = Model(
            [DenseInput(self._input.n), last],
            **options,
            storage=storage,
            n_threads=n_threads,
            arrays={LABELS: part.arrays[LABELS]},
        )
        own = replace(self._input, n_features=part.features[1] - part.features[0], activation="identity")
        state = make_layer_state(own, 0, optimizer.kind, storage, {"rows": part.arrays["layer0.rows"]})
        self._below = select.make_engine(
            self._head.backend,
            [state, self._head.states[1]],
            None,
            optimizer,
            config["loss"],
            config["seed"],
            n_threads,
        )
        self._pairs = None
        if PAIRS[0] in part.arrays:
            stored = {name.removeprefix("wide."): part.arrays[name] for name in PAIRS}
            wide = wide_from(config["wide"])
            assert wide is not None
            self._pairs = make_state(wide, self._input.n_features, n, optimizer.lr, stored)
        self._folder, self._n_labels = folder, n
        self._rankers: dict[str, Ranker] = {}
        if RANKED[0] in part.arrays:
            self._kept = {name: a for name, a in shards.whole().items() if name.startswith("rank.")}
            self._rankers[LAST] = self._ranker_of(part.arrays)

    def _ranker_of(self, rows: Mapping[str, Array]) -> Ranker:
        arrays = self._kept | {name: rows[name] for name in RANKED}
        own = {name.removeprefix("rank."): array for name, array in arrays.items()}
        return Ranker.stored(own, self._input.n_features, self._n_labels)

    def _ranker(self, which: str | None) -> Ranker | None:
        """The one of this name, if labels are ranked."""
        if which == FIRST and FIRST not in self._rankers:
            self._rankers[FIRST] = self._ranker_of(read_first(self._folder, self._group.rank, self._group.size))
        return None if which is None else self._rankers.get(which)

    def best(self, rows: Examples, k: int, ranks: str | None = LAST) -> Found:
        """ids int32 [n, k] and scores float32 [n, k] of the best labels, as SlideClassifier.predict_topk gives them.

        ranks : by which sparse rows, if there are some: LAST, or FIRST, as they were before they learned of rows that
            were held out; None: by the network's own scores
        """
        X = matrix_of(rows, self._input.n_features)
        return by_blocks(X, lambda some: self._some(some, k, ranks))

    def _some(self, X: sp.csr_array, k: int, ranks: str | None) -> Found:
        ranker, (first, end) = self._ranker(ranks), self._labels
        m = k if ranker is None else max(k, ranker.n)
        ids, scores = best_here(self._head, self._pairs, X, self._hidden(X), min(m, end - first))
        ids, scores = best_of_all(self._group, (ids + np.int32(first), scores), m)
        return (ids, scores) if ranker is None else self._ranked(ranker, X, ids, scores, k)

    def _hidden(self, X: sp.csr_array) -> FloatArray:
        """[n, H] of all features."""
        sums = self._below.hidden(Examples.of(X[:, slice(*self._features)]), 1)
        self._group.all_reduce(sums)
        return activate(self._input.activation, sums)

    def _ranked(self, ranker: Ranker, X: sp.csr_array, ids: IntArray, logits: FloatArray, k: int) -> Found:
        """The k best of shortlists by the sparse rows of all workers."""
        first, end = self._labels
        here = (ids >= first) & (ids < end)
        z = ranker.rows.scores(X, np.where(here, ids - first, -1).astype(np.int32), self._n_threads)
        z[~here] = 0
        self._group.all_reduce(z)
        there = ids >= 0
        odds = ranker.log_odds(z.astype(np.float64), np.where(there, logits, 0).astype(np.float64), log_sums(logits))
        scores = np.where(there, odds, -np.inf).astype(np.float32)
        order = np.lexsort((ids, -scores), axis=1)[:, :k]
        return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
