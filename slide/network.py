"""A network: layers' arrays, the engine that works on them, and the state that a resumed training needs.

The training loop is in slide/training.py, files in slide/model_file.py.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide import backends
from slide._state import MAX_BATCH, OPTIMIZER_STATES, Engine, Examples, FloatArray, LayerState
from slide.answers import Answers
from slide.checks import check_XY
from slide.compressed import CompressedPairs, make_pairs
from slide.layers import Dense, Layer, Sampled, SparseInput
from slide.leaves import Leaves, learn_leaves, leaves_from
from slide.lsh import require
from slide.optim import Adagrad, Optimizer, Rebuild, Schedule
from slide.rebuilding import families, rebuild
from slide.states import add_tables, initialise, make_layer_state, remember_codes
from slide.threads import resolve_threads, usable_threads
from slide.wide import Meetings, Wide, WideState, add_pairs, drop_pairs, make_state

if TYPE_CHECKING:
    from slide.checkpoint import Additions, Checkpoint
    from slide.evaluation import EarlyStopping
    from slide.hnsw import HnswIndex

LOSSES = ("softmax", "binary")
STORAGES = ("float32", "bfloat16")
SAMPLES_A_BATCH_ROW = 1000  # a data set has at least so many times the samples of a batch


class Network(Answers):
    """A stack of layers trained on sparse examples by sampled HOGWILD steps.

    Parameters
    ----------
    layers : sequence
        A SparseInput, then any of Dense and Sampled; the last one has a neuron for each label.
    wide : Wide or None
        A sparse linear part whose scores are added to the last layer's.
    optimizer : Optimizer
        SGD, Adagrad or Adam.
    loss : {"softmax", "binary"}
        Softmax cross-entropy against the uniform distribution over a sample's labels, or a binary cross-entropy a
        label. Both subtract log q from the logit of a neuron that was active with probability q.
    rebuild : Rebuild
        When tables follow the weights.
    batch_size : int or None
        Samples that share an active set of the last layer and one step of its rows, 1 to 32. 1 is the algorithm of the
        paper. None: 32, but one in a thousand samples of a small data set. Only for a last layer with QueryCells, or
        without tables, over dense layers; in other networks every sample has its own set and step.
    storage : {"float32", "bfloat16"}
        Of the weights. bfloat16 takes half the memory; steps are rounded up or down at random, so that small ones add
        up (stochastic rounding: Gupta et al., ICML 2015). For SGD, and Adagrad with one accumulator a row, on the C
        back end. Sums, biases and the sparse part stay float32.
    n_threads : int or None
        None: what this process may use.
    seed : int
        Initial weights, hash functions, order and random tails follow from it. With one thread, equal seeds give equal
        bits.
    backend : {"c", "numba", None}
    arrays : mapping or None
        Parameters and hash functions to start from, as slide.model_file names them, instead of random ones.

    Raises
    ------
    ValueError
        If the layers do not make a network.
    MemoryError
        If the parameters would not fit; says the bytes needed and available.

    Examples
    --------
    >>> import slide
    >>> X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
    >>> net = slide.Network([slide.SparseInput(500, 32), slide.Sampled(100, n_active=40, n_random=10)])
    >>> net.fit(X, Y, epochs=2).step
    4000
    >>> ids, scores = net.predict_topk(X[:3], k=5)
    >>> ids.shape
    (3, 5)
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        wide: Wide | None = None,
        optimizer: Optimizer | None = None,
        loss: str = "softmax",
        rebuild: Rebuild | None = None,
        batch_size: int | None = None,
        storage: str = "float32",
        n_threads: int | None = None,
        seed: int = 0,
        backend: str | None = None,
        arrays: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        _check_stack(layers)
        require(loss in LOSSES, "loss", loss, f"one of {LOSSES}")
        require(isinstance(seed, int | np.integer) and 0 <= seed < 2**64, "seed", seed, "an int, 0 to 2^64 - 1")
        ok = batch_size is None or (isinstance(batch_size, int | np.integer) and 1 <= batch_size <= MAX_BATCH)
        require(ok, "batch_size", batch_size, f"an int, 1 to {MAX_BATCH}, or None")
        self.batch_size = batch_size
        self.layers: tuple[Layer, ...] = tuple(layers)
        self.optimizer = optimizer or Adagrad()
        require(storage in STORAGES, "storage", storage, f"one of {STORAGES}")
        has_states = OPTIMIZER_STATES[self.optimizer.kind] > 0
        require(not has_states or storage == "float32", "storage", storage, f"float32 with {self.optimizer!r}")
        self.storage = storage
        self.loss = loss
        self.rebuild = rebuild or Rebuild()
        self.seed = int(seed)
        self.n_threads = resolve_threads(n_threads)
        self.backend = backends.resolve_backend(backend)
        self.step = 0
        self.epoch = 0
        self.generation = 0
        self.next_rebuild = 0
        self.tables_step = -1  # whose weights a full fill turned into the tables; -1: none
        self.rebuild_share: float | None = None
        self.recalls: dict[int, float] = {}  # of layers whose tables were measured as they are now sized
        self.samples_resumed = 0  # of the last fit: those that a checkpoint brought
        self.history: list[dict[str, Any]] = []  # of the last fit, or of the one under way
        self.index: HnswIndex | None = None
        self._takes_time = False
        self.states = self._make_states(arrays)
        self.leaves: Leaves | None = leaves_from(self, arrays or {})
        self.wide = wide
        self.wide_state: WideState | CompressedPairs | None = None
        if wide is not None:
            stored = {k.removeprefix("wide."): a for k, a in (arrays or {}).items() if k.startswith("wide.")}
            sizes = self.n_features, self.n_labels, self.optimizer.lr
            if "codes" in stored:
                self.wide_state = make_pairs(make_state(wide, *sizes, {}), stored)
            else:
                self.wide_state = make_state(wide, *sizes, stored)
        self.lock = threading.RLock()  # held while parameters change, chunk by chunk, and while they are saved
        self._pid = os.getpid()
        self.n_threads = usable_threads(self.n_threads)
        self._engine = self._make_engine()

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return f"Network([{inside}], optimizer={self.optimizer!r}, loss={self.loss!r}, backend={self.backend!r})"

    # -- sizes and parameters -------------------------------------------------------------------------------------

    @property
    def isa(self) -> str:
        """Instruction set in use."""
        return self._engine.isa

    def weights(self, layer: int) -> FloatArray:
        """Weights of a layer, [n_features, n] for the first, [n, fan_in] for others; without a copy if float32."""
        return self.states[layer].weights

    def biases(self, layer: int) -> FloatArray:
        """Biases [n] of a layer."""
        return self.states[layer].biases

    @property
    def n_bytes(self) -> int:
        """Bytes of parameters and optimizer state, tables left out."""
        return sum(s.n_bytes for s in self.states)

    @property
    def is_compressed(self) -> bool:
        """Whether weights have 8 bits: such a network only predicts."""
        return isinstance(self.wide_state, CompressedPairs) or any(s.is_compressed for s in self.states)

    def compress(self) -> Network:
        """A copy that only predicts, with weights of 8 bits: a quarter of the memory, and scores that differ slightly.

        Each row has one scale, as has each feature of the sparse part; there, pairs whose weight is under 1/254 of the
        feature's largest are left out. Tables, if any, stay as they are.
        """
        from slide.model_file import compressed

        return compressed(self)

    def set_threads(self, n_threads: int) -> None:
        """Changes how many threads train and predict."""
        n_threads = resolve_threads(n_threads)
        if n_threads != self.n_threads:
            self.n_threads = n_threads
            self._engine = self._make_engine()

    @property
    def _engine(self) -> Engine:
        """The engine; another one, of a single thread, in a forked child that could not use the first."""
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self.n_threads = usable_threads(self.n_threads)
            self._made = self._make_engine()
        return self._made

    @_engine.setter
    def _engine(self, engine: Engine) -> None:
        self._made = engine

    def replace_layer(self, index: int, layer: Layer) -> None:
        """Puts another description in a layer's place, whose state was changed accordingly."""
        self.layers = (*self.layers[:index], layer, *self.layers[index + 1 :])
        self._engine = self._make_engine()

    def _make_engine(self) -> Engine:
        engine = backends.make_engine(
            self.backend, self.states, self.wide_state, self.optimizer, self.loss, self.seed, self.n_threads
        )
        if self._takes_time:
            engine.time(True)
        return engine

    def take_time(self, on: bool) -> None:
        """Whether training takes down what its threads' time goes into (slide.profile)."""
        require(not on or self.backend == "c", "backend", self.backend, "'c', whose threads have clocks")
        self._takes_time = on
        self._engine.time(on)

    def _make_states(self, arrays: Mapping[str, npt.NDArray[Any]] | None) -> list[LayerState]:
        rng = np.random.default_rng(self.seed)
        states: list[LayerState] = []
        fan_in = 0
        for i, layer in enumerate(self.layers):
            stored = {k.removeprefix(f"layer{i}."): a for k, a in (arrays or {}).items()}
            state = make_layer_state(layer, fan_in, self.optimizer.kind, self.storage, stored)
            if arrays is None:
                initialise(state, rng)
            if isinstance(layer, Sampled) and layer.lsh is not None:
                add_tables(state, layer.lsh, np.random.default_rng([self.seed, i]), stored)
                if self.rebuild.incremental and layer.lsh.hashes_neurons:
                    remember_codes(state)
            states.append(state)
            fan_in = state.n
        states[-1].activation = "identity"  # its outputs are logits
        return states

    # -- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        Y: Any,
        *,
        epochs: int = 1,
        schedule: Schedule | None = None,
        callback: Any = None,
        eval_set: tuple[Any, Any] | None = None,
        early_stopping: EarlyStopping | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_adds: Additions = dict,
    ) -> Network:
        """Goes on training for so many epochs over X, sparse [n, n_features], and Y, a sparse indicator [n, n_labels].

        KeyboardInterrupt stops within a second and leaves the network usable, with all steps taken so far. What
        happened is in `history` afterwards: a list of dict (slide.training.Progress).

        Parameters
        ----------
        callback : slide.Callback, a function of a slide.training.Progress that is called ten times a second, or several
        eval_set : pair of X and Y like those above, scored at the end of each epoch; or None
        early_stopping : whether a worse score there ends the fit, and whether the best model comes back
        checkpoint : where and how often to save, and whether to go on from there
        checkpoint_adds : called for each checkpoint: what it holds beside the network (slide.model_file.save_network)

        Raises
        ------
        ValueError
            If shapes disagree, values are not finite, or a checkpoint belongs to other data or options.
        ModelFormatError
            If a checkpoint to go on from is damaged.
        NonFiniteError
            If a loss is not finite; names step and layer.
        """
        from slide.callbacks import Callbacks
        from slide.evaluation import held_out, judge, what
        from slide.training import Plan, Whole, run

        self._check_trains()
        X, Y = check_XY(X, Y, self.n_features, self.n_labels)
        callbacks, schedule, saver, progress = Callbacks.of(callback), schedule or Schedule(), None, None
        held = None if eval_set is None else held_out(eval_set, self.n_features, self.n_labels)
        referee = judge(held, Y, early_stopping, checkpoint.path if checkpoint else None)
        if checkpoint is not None:
            from slide.checkpoint import Saver, identity

            saver = Saver(
                checkpoint, identity(self, epochs, schedule, X, Y, what(early_stopping, held)), checkpoint_adds
            )
            progress = saver.resume(self)
        self.samples_resumed = progress.done if progress else 0
        if not progress:  # pairs that were pruned before a checkpoint stay away
            self._add_pairs(self._meetings(X, Y))
        run(self, Whole(Examples.of(X), Examples.of(Y)), Plan(epochs, schedule, callbacks, referee, saver), progress)
        return self

    def fit_blocks(
        self,
        blocks: Iterable[Any],
        *,
        epochs: int = 1,
        schedule: Schedule | None = None,
        callback: Any = None,
        eval_set: tuple[Any, Any] | None = None,
        early_stopping: EarlyStopping | None = None,
    ) -> Network:
        """As `fit`, for rows that come in blocks, of which two are in memory at a time.

        blocks: pairs of X and Y as `fit` takes them; they are passed through once before training and once an epoch,
        and must be the same each time. The rows of a block are shuffled, the blocks come in their order: where rows are
        sorted, shuffle them before. The labels of all rows are held where there is an eval_set, for PSP@k.

        Raises
        ------
        ValueError
            As `fit`, with the number of the block; or if a later pass brings more or fewer rows.
        """
        from slide.blocks import WANTED, Prepared, ahead, check_blocks
        from slide.callbacks import Callbacks
        from slide.evaluation import held_out, judge
        from slide.training import Plan, run

        self._check_trains()
        check_blocks(blocks)
        held = None if eval_set is None else held_out(eval_set, self.n_features, self.n_labels)
        check = partial(check_XY, n_features=self.n_features, n_labels=self.n_labels)
        pairs, meetings, labels = Prepared(blocks, check), self._meetings(), []
        for X, Y in ahead(pairs):
            if self.wide:
                meetings.add(X, Y)
            if held:
                labels.append(Y)
        if not pairs.n_rows:
            raise ValueError(f"blocks: found none, wanted {WANTED}")
        referee = judge(held, sp.vstack(labels, format="csr") if held else None, early_stopping, None)
        self._add_pairs(meetings)
        run(self, pairs, Plan(epochs, schedule or Schedule(), Callbacks.of(callback), referee))
        return self

    def _check_trains(self) -> None:
        self.refuse_compressed("training")
        ok = self.storage == "float32" or self.backend == "c"
        require(ok, "storage", self.storage, "float32: the Numba back end trains no other")

    def _meetings(self, *pair: sp.csr_array) -> Meetings:
        """Those of X and Y, or none yet."""
        found = Meetings(self.n_features, self.n_labels, self.wide.row_pairs if self.wide else 0)
        if pair and self.wide:
            found.add(*pair)
        return found

    def refuse_compressed(self, what: str) -> None:
        """Raises ValueError where there are no weights to change."""
        if self.is_compressed:
            raise ValueError(f"{what}: found a compressed model, which only predicts; wanted the one it was made from")

    def _add_pairs(self, meetings: Meetings) -> None:
        with self.lock:
            state = self.wide_state
            if self.wide and isinstance(state, WideState) and add_pairs(state, meetings):
                self._engine = self._make_engine()

    def prune(self, typical_value: float) -> None:
        """Drops the pairs of the sparse part that matter least; typical_value is the mean absolute value of X."""
        if self.wide is None or not isinstance(self.wide_state, WideState) or not self.wide.prune:
            return
        with self.lock:
            drop_pairs(self.wide_state, self.wide.prune * typical_value)
            self._engine = self._make_engine()

    def rebuild_tables(
        self, examples: Examples | None = None, *, at_the_end: bool = False, refresh: bool = False
    ) -> None:
        """Fills the tables of every sampled layer from its current weights.

        Hash functions that learn do so from the examples, with more care at the end of a training. refresh: families
        that can look only at the neurons that may have risen since the last time, as training does.
        """
        self.refuse_compressed("rebuild_tables")
        with self.lock:
            refreshed = rebuild(
                self, self.states, self._engine, examples, self.generation, at_the_end=at_the_end, refresh=refresh
            )
            self.generation += 1
            self.tables_step = -1 if refreshed else self.step

    def learn_leaves(self, X: Examples, Y: Examples) -> None:
        """Makes the leaves that shortlists come from (slide.leaves) anew, from training rows and their labels.

        They are None where they would not pay or not fit, and beside a sparse part, which asks the tables.
        """
        with self.lock:
            self.leaves = None
            if self.wide is None:
                rng = np.random.default_rng([self.seed, self.generation])
                last = len(self.states) - 1
                self.leaves = learn_leaves(self._engine, last, self.states[last], X, Y, rng)

    def resolved_batch_size(self, n_samples: int) -> int:
        """Samples that share an active set when training on so many; 1 where the network does not allow it."""
        if not self._engine.trains_batches:
            return 1
        return self.batch_size or int(np.clip(n_samples // SAMPLES_A_BATCH_ROW, 1, MAX_BATCH))

    def n_queries(self, at_the_end: bool = False) -> int:
        """Examples that `rebuild_tables` should get: the most that a hash family learns from."""
        return max((f.n_queries(self.states[i].n, at_the_end) for i, f in families(self.layers)), default=0)

    # -- files ------------------------------------------------------------------------------------------------------

    def save(self, path: Any) -> None:
        """Writes everything prediction and further training need (slide.model_file)."""
        from slide.model_file import save_network

        save_network(self, path)

    def export_onnx(self, path: str | os.PathLike[str], *, k: int = 5) -> None:
        """Writes a graph that scores every label exactly, for other runtimes (slide.onnx_export; extra `onnx`).

        Its inputs are the entries of a sparse matrix: `row_ids` and `feature_ids` int64 [entries], `values` float32
        [entries], and `n_rows` int64 [1]; its outputs `topk_labels` int64 and `topk_scores` float32 [n_rows, k].
        """
        from slide.onnx_export import export

        export(self, path, k)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, for copies and other processes; files are written by ``save``."""
        from slide.model_file import network_again, network_arrays, network_config

        return network_again, (network_config(self), network_arrays(self), self.n_threads, self.backend)


def _check_stack(layers: Sequence[Layer]) -> None:
    require(isinstance(layers, Iterable) and len(layers) >= 2, "layers", layers, "an input layer and at least one more")
    require(isinstance(layers[0], SparseInput), "layers[0]", layers[0], "a SparseInput")
    for i, layer in enumerate(layers[1:], 1):
        require(isinstance(layer, Dense | Sampled), f"layers[{i}]", layer, "a Dense or Sampled")
    for i, layer in enumerate(layers[:-1]):
        asks_label = isinstance(layer, Sampled) and layer.query == "label"
        require(not asks_label, f"layers[{i}]", layer, "query='input': only the last layer's neurons are labels")
