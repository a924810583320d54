"""The sparse part that is walked (slide.Wide), of one worker: the pairs of its labels. Nothing is exchanged for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.distributed.training.shard import Spec
from slide.engine import select
from slide.engine.layout import FloatArray
from slide.engine.protocol import Examples, TrainStats
from slide.engine.state import WideState
from slide.model.pairs import PairCounts, add_pairs, drop_pairs, make_state


class OwnPairs:
    """Pairs of every feature and the labels that are here."""

    def __init__(self, spec: Spec, labels: tuple[int, int], n_workers: int, n_threads: int) -> None:
        """None yet; each of n_workers has its share of Wide.row_pairs."""
        assert spec.wide is not None
        self._wide = replace(spec.wide, row_pairs=-(-spec.wide.row_pairs // n_workers))
        self._spec, self._n_labels, self._n_threads = spec, labels[1] - labels[0], n_threads
        self.state = self._empty()
        self.make_engine()

    def _empty(self) -> WideState:
        spec = self._spec
        return make_state(self._wide, spec.input.n_features, self._n_labels, spec.optimizer.lr, {})

    def counted(self, X: sp.csr_array, Y: Examples) -> WideState:
        """The pairs that meet in all rows, of which Y has the labels that are here: zeros."""
        found = self._empty()
        ones = np.ones(len(Y.indices), np.float32)
        own = sp.csr_array((ones, Y.indices, Y.indptr), shape=(X.shape[0], self._n_labels))
        add_pairs(found, PairCounts.of(X, own, self._wide.row_pairs))
        return found

    def make_engine(self) -> None:
        """Over the state as it is now."""
        spec = self._spec
        self._engine = select.make_engine("c", [], self.state, spec.optimizer, spec.loss, spec.seed, self._n_threads)

    def train(
        self, X: Examples, Y: Examples, order: npt.NDArray[np.int64], first_step: int, lr: FloatArray
    ) -> TrainStats:
        """One pass over the rows `order`."""
        return self._engine.train(X, Y, order, first_step, lr, 1)

    def prune(self, X: Examples) -> None:
        """Drops the pairs that matter least, as a fit does after its first epoch."""
        if self._wide.prune and len(X.data):
            drop_pairs(self.state, self._wide.prune * float(np.mean(np.abs(X.data), dtype=np.float64)))
            self.make_engine()
