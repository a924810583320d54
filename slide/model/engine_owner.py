"""What owns an engine over its arrays: knows their sizes, makes it, makes another for other threads or after a fork."""

from __future__ import annotations

import os
import threading

import numpy as np
import numpy.typing as npt

from slide.checks import require, warn
from slide.engine.layout import FloatArray
from slide.engine.leaves import Leaves
from slide.engine.protocol import Engine, Examples
from slide.engine.quantized import CompressedPairs
from slide.engine.state import LayerState, WideState
from slide.engine.threads import resolve_threads, usable_threads
from slide.layers import Dense, DenseInput, Layer, Sampled, SparseInput
from slide.model.ranker import Ranker
from slide.model.store.engine import StoredEngine, stored_engine
from slide.model.store.layer import StoredLayer
from slide.model.store.rows import Traffic
from slide.model.store.size import in_words, needs_of
from slide.optim import Optimizer


class EngineOwner:
    """The part of a Model that runs: arrays, threads, the engine, and a lock for those who change parameters."""

    layers: tuple[Layer, ...]
    states: list[LayerState]
    wide_state: WideState | CompressedPairs | None
    ranker: Ranker | None
    leaves: Leaves | None  # that the engine is handed with each call
    optimizer: Optimizer
    loss: str
    seed: int
    backend: str
    memory: int | None
    n_threads: int
    lock: threading.RLock  # held while parameters change, chunk by chunk, and while they are saved
    _takes_time = False

    def start_engine(self) -> None:
        """Makes the engine for the first time, and the lock."""
        self.lock = threading.RLock()
        self._pid = os.getpid()
        self.n_threads = usable_threads(self.n_threads)
        self.engine = self._make_engine()

    @property
    def n_features(self) -> int:
        """Columns of X."""
        first = self.layers[0]
        assert isinstance(first, SparseInput | DenseInput)
        return first.n_features

    @property
    def n_labels(self) -> int:
        """Columns of Y: neurons of the last layer."""
        last = self.layers[-1]
        assert isinstance(last, Dense | Sampled)
        return last.n

    @property
    def isa(self) -> str:
        """Instruction set in use."""
        return self.engine.isa

    def weights(self, layer: int) -> FloatArray:
        """Weights of a layer, [n_features, n] for a SparseInput, [n, fan_in] for others; without a copy if float32."""
        self.engine.handed_out()
        return self.states[layer].weights

    def biases(self, layer: int) -> FloatArray:
        """Biases [n] of a layer."""
        self.engine.handed_out()
        return self.states[layer].biases

    @property
    def n_bytes(self) -> int:
        """Bytes of parameters and optimizer state, tables left out."""
        return sum(s.n_bytes for s in self.states)

    @property
    def is_compressed(self) -> bool:
        """Whether weights have 8 bits: such a network only predicts."""
        return isinstance(self.wide_state, CompressedPairs) or any(s.is_compressed for s in self.states)

    def rank_by(self, ranker: Ranker | None) -> None:
        """From now on predictions are the best, by the ranker, of its n best labels by logit; None: by logit alone."""
        with self.lock:
            self.ranker = ranker
            if ranker is not None:
                self.count_sparse_part(sum(a.nbytes for a in ranker.arrays.values()))
            self.engine = self._make_engine()  # whoever predicts goes on with the old one

    def count_sparse_part(self, n_bytes: int) -> None:
        """Takes it out of the budget, if there is one: fewer rows of a file are cached. Engines are to be made anew."""
        if self.memory is None:
            return
        last = self.states[-1]
        needs = needs_of(self.states, last.n_bytes // last.n, last.n, n_bytes)
        least = needs.least if isinstance(last, StoredLayer) else needs.all_bytes
        if isinstance(last, StoredLayer):
            last.shrink(*needs.split(max(self.memory, least)))
        if least > self.memory:
            warn(
                f"memory: the sparse part takes {in_words(n_bytes)}, which is all in memory, so that the model takes "
                f"{in_words(least)} instead of the {in_words(self.memory)} asked for; wide=False leaves it out"
            )

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked for labels: not so before workers elsewhere have trained it."""
        return True

    @property
    def traffic(self) -> Traffic | None:
        """Rows between memory and their file, since the model was made or loaded; None where all are in memory."""
        last = self.states[-1]
        return last.store.traffic if isinstance(last, StoredLayer) else None

    def expect(self, X: Examples, Y: Examples, order: npt.NDArray[np.int64], first_step: int, batch_size: int) -> None:
        """What the engine will train after the next call: where rows are in a file, they are fetched meanwhile."""
        engine = self.engine
        if isinstance(engine, StoredEngine) and len(order):
            engine.expect(X, Y, order, first_step, batch_size)

    def set_threads(self, n_threads: int) -> None:
        """Changes how many threads train and predict."""
        n_threads = resolve_threads(n_threads)
        if n_threads != self.n_threads:
            self.n_threads = n_threads
            self.engine = self._make_engine()

    @property
    def engine(self) -> Engine:
        """The engine; another one, of a single thread, in a forked child that could not use the first."""
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self.n_threads = usable_threads(self.n_threads)
            self._made = self._make_engine()
        return self._made

    @engine.setter
    def engine(self, engine: Engine) -> None:
        self._made = engine

    def take_time(self, on: bool) -> None:
        """Whether training records what its threads' time goes into (slide.report.profile)."""
        require(not on or self.backend == "c", "backend", self.backend, "'c', whose threads have clocks")
        self._takes_time = on
        self.engine.time(on)

    def replace_layer(self, index: int, layer: Layer) -> None:
        """Puts another description in a layer's place, whose state was changed accordingly."""
        self.layers = (*self.layers[:index], layer, *self.layers[index + 1 :])
        self.engine = self._make_engine()

    def _make_engine(self) -> Engine:
        engine: Engine = stored_engine(
            self.backend, self.states, self.wide_state, self.optimizer, self.loss, self.seed, self.n_threads
        )
        if self._takes_time:
            engine.time(True)
        if self.ranker is not None:
            engine.rank_by(self.ranker)
        return engine
