"""A Model: the parameters and tables of a network, the engine that works on them, and what they answer.

Training, files and inference know a Model only; slide/network.py is the Network that people hold.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import among, check_X, require, whole
from slide.engine import select
from slide.engine.layout import MAX_BATCH, OPTIMIZER_STATES, FloatArray, IntArray
from slide.engine.leaves import Leaves
from slide.engine.one_row import example, one_row
from slide.engine.protocol import Examples
from slide.engine.quantized import CompressedPairs
from slide.engine.state import LayerState, WideState
from slide.engine.threads import resolve_threads
from slide.layers import INPUTS, Dense, Layer, Sampled
from slide.lsh import HashFamily
from slide.model.engine_owner import EngineOwner
from slide.model.leaves import PREFIX, learn_leaves, refilled, stored_leaves
from slide.model.pairs import PairCounts, Wide, add_few_pairs, add_pairs, drop_pairs
from slide.model.parameters import stored_layers, stored_pairs
from slide.model.ranker import Ranker
from slide.model.rebuild import rebuild
from slide.model.shortlists import at_most_all, best_candidates, top_labels
from slide.model.snapshot import Snapshot, check_storable, families, layer_from, model_config, optimizer_from, wide_from
from slide.model.store.layer import StoredLayer
from slide.model.store.size import check_storable_rows, parse_memory
from slide.optim import Adagrad, Optimizer, Rebuild

LOSSES = ("softmax", "binary")
STORAGES = ("float32", "bfloat16")
OPTIMIZER_WANTED = "a slide.SGD, Adagrad or Adam, or None"
FEW_ROWS = 256  # whose pairs are looked up one by one
SAMPLES_A_BATCH_ROW = 1000  # a data set has at least so many times the samples of a batch
#: What a snapshot brings back; all else (threads, lock, history) is of the object that lives on.
RESTORED = (
    *(
        "layers",
        "wide",
        "optimizer",
        "rebuild",
        "loss",
        "batch_size",
        "storage",
        "seed",
        "states",
        "wide_state",
        "ranker",
        "leaves",
    ),
    *("step", "epoch", "n_rebuilds", "next_rebuild", "tables_built_at", "followed_at"),
)


class Model(EngineOwner):
    """Layers' arrays, the sparse part, tables, counters and an engine. What the arguments mean: slide.Network."""

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
        memory: Any = None,
        arrays: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        self.take_options(layers, wide, optimizer, loss, rebuild, batch_size, storage, n_threads, seed, backend)
        self.memory = parse_memory(memory)
        if self.memory is not None:
            check_storable_rows(self.layers, batch_size, self.backend, memory)
        self.states: list[LayerState] = stored_layers(
            self.layers, self.optimizer.kind, storage, self.seed, self.rebuild.incremental, arrays, self.memory
        )
        sizes = self.n_features, self.n_labels, self.optimizer.lr
        self.wide_state: WideState | CompressedPairs | None = (
            None if wide is None else stored_pairs(wide, *sizes, arrays or {})
        )
        self.lock = threading.RLock()  # held while parameters change, chunk by chunk, and while they are saved
        own = {k.removeprefix("rank."): a for k, a in (arrays or {}).items() if k.startswith("rank.")}
        self.ranker: Ranker | None = Ranker.stored(own, self.n_features, self.n_labels) if own else None
        self.leaves: Leaves | None = stored_leaves(self.states[-1], arrays or {})
        self.start_engine()

    def take_options(
        self,
        layers: Sequence[Layer],
        wide: Wide | None,
        optimizer: Optimizer | None,
        loss: str,
        rebuild: Rebuild | None,
        batch_size: int | None,
        storage: str,
        n_threads: int | None,
        seed: int,
        backend: str | None,
    ) -> None:
        """What a model is before it has weights; refuses what makes no sense."""
        _check_stack(layers)
        require(among(loss, LOSSES), "loss", loss, f"one of {LOSSES}")
        require(wide is None or isinstance(wide, Wide), "wide", wide, "a slide.Wide or None")
        require(optimizer is None or isinstance(optimizer, Optimizer), "optimizer", optimizer, OPTIMIZER_WANTED)
        require(rebuild is None or isinstance(rebuild, Rebuild), "rebuild", rebuild, "a slide.Rebuild or None")
        require(0 <= whole(seed) < 2**64, "seed", seed, "an int, 0 to 2^64 - 1")
        ok = batch_size is None or 1 <= whole(batch_size) <= MAX_BATCH
        require(ok, "batch_size", batch_size, f"an int, 1 to {MAX_BATCH}, or None")
        self.layers: tuple[Layer, ...] = tuple(layers)
        self.wide = wide
        self.optimizer = optimizer or Adagrad()
        self.rebuild = rebuild or Rebuild()
        check_storable(self.layers, wide, self.optimizer, self.rebuild)
        require(among(storage, STORAGES), "storage", storage, f"one of {STORAGES}")
        has_states = OPTIMIZER_STATES[self.optimizer.kind] > 0
        require(not has_states or storage == "float32", "storage", storage, f"float32 with {self.optimizer!r}")
        self.batch_size, self.storage, self.loss, self.seed = batch_size, storage, loss, int(seed)
        self.n_threads = resolve_threads(n_threads)
        self.backend = select.resolve_backend(backend)
        self.step = self.epoch = self.n_rebuilds = self.next_rebuild = 0
        self.tables_built_at = -1  # the step whose weights a full fill turned into the tables; -1: none
        self.followed_at = 0  # the step at which tables and leaves were last made of all weights
        self.rebuild_share: float | None = None
        self.recalls: dict[int, float] = {}  # of layers whose tables were measured as they are now sized
        self.samples_resumed = 0  # of the last fit: those that a checkpoint brought
        self.history: list[dict[str, Any]] = []  # of the last fit, or of the one under way

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        name = type(self).__name__
        return f"{name}([{inside}], optimizer={self.optimizer!r}, loss={self.loss!r}, backend={self.backend!r})"

    def refuse_compressed(self, what: str) -> None:
        """Raises ValueError where there are no weights to change."""
        if self.is_compressed:
            raise ValueError(f"{what}: found a compressed model, which only predicts; wanted the one it was made from")

    def check_trains(self) -> None:
        """Raises ValueError where this model or its back end only predicts."""
        self.refuse_compressed("training")
        ok = self.storage == "float32" or self.backend == "c"
        require(ok, "storage", self.storage, "float32: the Numba back end trains no other")

    @property
    def own_family(self) -> HashFamily | None:
        """The hash family of the user's own, whose code no file holds; None if there is none."""
        return next((family for _, family in families(self.layers) if family.is_custom), None)

    def resolved_batch_size(self, n_samples: int) -> int:
        """Samples that share an active set when training on so many; 1 where the network does not allow it."""
        if not self.engine.trains_batches:
            return 1
        least = 2 if self.is_stored else 1  # a window of single samples cannot say what rows it takes
        return self.batch_size or int(np.clip(n_samples // SAMPLES_A_BATCH_ROW, least, MAX_BATCH))

    @property
    def is_stored(self) -> bool:
        """Whether the last layer's rows are in a file, of which memory holds some."""
        return isinstance(self.states[-1], StoredLayer)

    # -- snapshots ------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Layers, options and progress as JSON values, under the names that files have for them."""
        return model_config(self)

    def snapshot(self, tables: bool = False, last_rows: bool = True) -> Snapshot:
        """The model at this moment, sharing its arrays; tables: also what can be filled anew, as it is.

        last_rows : with those of the last layer
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        keep_tables = tables or self.is_compressed or self.tables_built_at != self.step
        for i, s in enumerate(self.states if last_rows else self.states[:-1]):
            arrays |= {f"layer{i}.{name}": a for name, a in s.arrays.items()}
        for i, s in enumerate(self.states):
            arrays |= {f"layer{i}.{name}": a for name, a in s.table_arrays(keep_tables, label_cells=tables).items()}
        if self.wide_state is not None:
            arrays |= {f"wide.{name}": a for name, a in self.wide_state.arrays.items()}
        if self.ranker is not None:
            arrays |= {f"rank.{name}": a for name, a in self.ranker.arrays.items()}
        if self.leaves is not None:
            arrays |= {f"{PREFIX}{name}": a for name, a in self.leaves.arrays.items()}
        return Snapshot(self.config(), arrays)

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        n_threads: int | None,
        backend: str | None,
        own: HashFamily | None = None,
        memory: Any = None,
    ) -> Self:
        """The model of a snapshot, over its arrays; own: the hash family of the user's own, if it has one."""
        config, progress = snapshot.config, snapshot.config["progress"]
        model = cls(
            [layer_from(c, own) for c in config["layers"]],
            wide=wide_from(config["wide"]),
            optimizer=optimizer_from(config["optimizer"]),
            rebuild=Rebuild(**config["rebuild"]),
            loss=config["loss"],
            batch_size=config.get("batch_size"),
            storage=config.get("storage", "float32"),
            seed=config["seed"],
            n_threads=n_threads,
            backend=backend,
            memory=memory,
            arrays=snapshot.arrays,
        )
        model.step, model.epoch, model.n_rebuilds = (progress[name] for name in ("step", "epoch", "generation"))
        model.next_rebuild, model.tables_built_at = progress["next_rebuild"], progress["tables_step"]
        model.followed_at = progress.get("followed", model.step)
        stored = any(name.endswith(".slots") for name in snapshot.arrays) or all(s.lsh is None for s in model.states)
        if model.n_rebuilds and model.tables_built_at == model.step and not stored:
            model.n_rebuilds -= 1
            model.rebuild_tables()
        return model

    def restore(self, snapshot: Snapshot) -> None:
        """Becomes what it was when the snapshot was taken."""
        self.become(type(self).of(snapshot, self.n_threads, self.backend, self.own_family, self.memory))

    def become(self, other: Model) -> None:
        """Takes over another model's parameters, options and counters; threads, lock and history stay."""
        with self.lock:
            for name in RESTORED:
                setattr(self, name, getattr(other, name))
            self.engine = self._make_engine()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, for copies and other processes; files are written by ``save``."""
        own = self.own_family, self.memory
        return _unpickled, (type(self), self.snapshot(), self.n_threads, self.backend, *own)

    # -- the sparse part and the tables ---------------------------------------------------------------------------

    def pair_counts(self, *pair: sp.csr_array) -> PairCounts:
        """The pairs of the sparse part that meet in X and Y, or none yet."""
        counts = PairCounts(self.n_features, self.n_labels, self.wide.row_pairs if self.wide else 0)
        if pair and self.wide:
            counts.add(*pair)
        return counts

    def add_pairs_of(self, X: sp.csr_array, Y: sp.csr_array) -> None:
        """Gives weights to the pairs of the sparse part that meet in X and Y and have none."""
        state = self.wide_state
        if self.wide is None or not isinstance(state, WideState):
            return
        if X.shape[0] <= FEW_ROWS and len(state.labels):
            with self.lock:
                added = add_few_pairs(state, X, Y, self.wide.row_pairs)
                if added:
                    self.engine = self._make_engine()
            if added is not None:
                return
        self.add_pairs(self.pair_counts(X, Y))

    def add_pairs(self, counts: PairCounts) -> None:
        """Gives weights to the pairs of the sparse part that were counted and have none."""
        with self.lock:
            state = self.wide_state
            if self.wide and isinstance(state, WideState) and add_pairs(state, counts):
                self.count_sparse_part(sum(a.nbytes for a in state.arrays.values()))
                self.engine = self._make_engine()

    def prune(self, typical_value: float) -> None:
        """Drops the pairs of the sparse part that matter least; typical_value is the mean absolute value of X."""
        if self.wide is None or not isinstance(self.wide_state, WideState) or not self.wide.prune:
            return
        with self.lock:
            drop_pairs(self.wide_state, self.wide.prune * typical_value)
            self.engine = self._make_engine()

    def rebuild_tables(self, examples: Examples | None = None, *, final: bool = False, refresh: bool = False) -> None:
        """Fills the tables of every sampled layer from its current weights.

        Hash functions that learn do so from the examples, with more care at the end of a training (final). refresh:
        families that can look only at the neurons that may have risen since the last time, as training does.
        """
        self.refuse_compressed("rebuild_tables")
        with self.lock:
            refreshed = rebuild(
                self.layers,
                self.states,
                self.engine,
                examples,
                number=self.n_rebuilds,
                seed=self.seed,
                step=self.step,
                recalls=self.recalls,
                final=final,
                refresh=refresh,
            )
            self.n_rebuilds += 1
            self.tables_built_at = -1 if refreshed else self.step

    def learn_leaves(self, X: Examples, Y: Examples) -> None:
        """Makes the leaves that shortlists come from anew, from training rows and their labels (slide.model.leaves).

        There are none where they would not pay or not fit, and beside a sparse part, which asks the tables.
        """
        with self.lock:
            self.leaves, last = None, len(self.states) - 1
            if self.wide is None:
                rng = np.random.default_rng([self.seed, self.n_rebuilds])
                self.leaves = learn_leaves(self.engine, last, self.states[last], X, Y, rng)

    def refill_leaves(self) -> None:
        """Fills the lists of the leaves, if there are some, from the present weights of those labels that they hold."""
        with self.lock:
            if self.leaves is not None:
                self.leaves = refilled(self.engine, self.leaves)

    def n_queries(self, final: bool = False) -> int:
        """Examples that `rebuild_tables` should get: the most that a hash family learns from."""
        return max((f.n_queries(self.states[i].n, final) for i, f in families(self.layers)), default=0)

    # -- answers --------------------------------------------------------------------------------------------------

    def predict_topk(self, X: Any, k: int = 5, *, n_candidates: int | None = None) -> tuple[IntArray, FloatArray]:
        """The k highest-scoring labels of each row: see slide.Network.predict_topk."""
        row = one_row(X, self.n_features)
        rows = Examples.of(check_X(X, self.n_features)) if row is None else example(row)
        return self.top_labels(rows, k, n_candidates)

    def top_labels(self, rows: Examples, k: int = 5, n_candidates: int | None = None) -> tuple[IntArray, FloatArray]:
        """As `predict_topk`, of rows that were checked: every prediction comes by here."""
        return top_labels(self, rows, k, n_candidates)

    def shortlist(self, X: Any, n: int = 100, *, n_candidates: int | None = None) -> tuple[IntArray, FloatArray]:
        """The n best labels of each row of X by the network's own scores, whether or not they are ranked afterwards.

        Candidates come from the leaves of a row's query (slide.engine.leaves), for which the result is the same for any
        number of threads. Where there are no leaves, or not for so many, the tables are asked; without those, every
        label is scored.

        Parameters
        ----------
        X : sparse [rows, n_features]
        n : int
            1 or more; all labels where it is more than there are.
        n_candidates : int or None
            Labels that are scored, n or more; n_labels: all of them. None: what held nearly all true labels of rows
            kept back when the leaves were learned, and never under twice n; 4,000 of tables.

        Returns
        -------
        ids : int32 [rows, n]
            Best first; -1 where fewer were found.
        logits : float32 [rows, n]
        """
        n = at_most_all(n, self.n_labels, "n")
        return best_candidates(self, Examples.of(check_X(X, self.n_features)), n, n_candidates)

    def hidden(self, X: Any, layer: int = -1) -> FloatArray:
        """float32 [n, fan_in]: the vectors that enter a layer (the last by default), every neuron below taking part."""
        index = range(len(self.layers))[layer]
        require(index > 0, "layer", layer, "a layer after the first")
        return self.engine.hidden(Examples.of(check_X(X, self.n_features)), index)

    def retrieve(self, X: Any, n_candidates: int, layer: int = -1) -> IntArray:
        """int32 [n, n_candidates]: the neurons a sampled layer's tables return, most wanted first, -1 padded."""
        index = range(len(self.layers))[layer]
        require(self.states[index].lsh is not None, "layer", layer, "a Sampled layer with tables")
        return self.engine.retrieve(index, self.hidden(X, index), n_candidates)


def _unpickled(
    cls: type[Model],
    snapshot: Snapshot,
    n_threads: int | None,
    backend: str | None,
    own: HashFamily | None = None,
    memory: int | None = None,
) -> Model:
    """A pickle leaves arrays anywhere."""
    return cls.of(snapshot.placed(), n_threads, backend, own, memory)


def _check_stack(layers: Sequence[Layer]) -> None:
    require(
        isinstance(layers, list | tuple) and len(layers) >= 2, "layers", layers, "an input layer and at least one more"
    )
    require(isinstance(layers[0], INPUTS), "layers[0]", layers[0], "a SparseInput or DenseInput")
    for i, layer in enumerate(layers[1:], 1):
        require(isinstance(layer, Dense | Sampled), f"layers[{i}]", layer, "a Dense or Sampled")
    for i, layer in enumerate(layers[:-1]):
        asks_label = isinstance(layer, Sampled) and layer.query == "label"
        require(not asks_label, f"layers[{i}]", layer, "query='input': only the last layer's neurons are labels")
