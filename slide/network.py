"""Network: a model that is trained, saved, compressed and exported; a thin face over slide/model/model.py.

The training loop is in slide/training/loop.py, files in slide/io/model_file.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing, nullcontext
from typing import Any, Self

from slide.checks import Checked, among, check_X, check_XY, require
from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples
from slide.inference import hnsw, onnx
from slide.inference.hnsw import HnswIndex
from slide.inference.lsh_report import LshReport, lsh_report, retrieval_recall, true_recalls
from slide.io.model_file import save_model
from slide.io.shard_writing import save_shards
from slide.model.compress import quantized
from slide.model.model import Model
from slide.model.shortlists import at_most_all
from slide.optim import Schedule, check_schedule
from slide.training.callbacks import Callbacks
from slide.training.checkpoint import Additions, Checkpoint, CheckpointWriter, resume_key
from slide.training.early_stopping import EarlyStopping, held_out_key, model_selection
from slide.training.evaluation import held_out
from slide.training.loop import run
from slide.training.plan import Plan
from slide.training.source import BlockSource, InMemory, check_blocks
from slide.training.weights import TrainingRows


class Network(Model):
    """A stack of layers trained on sparse examples by sampled HOGWILD steps.

    Parameters
    ----------
    layers : sequence
        A SparseInput or DenseInput, then any of Dense and Sampled; the last one has a neuron for each label.
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
    memory : int, str or None
        Bytes for the model, like "4GB". Where it takes more, the rows of the last layer, a Sampled with QueryCells or
        without tables, are in a temporary file, and as many as fit in memory (docs/memory.md). None: all in memory.
    arrays : mapping or None
        Parameters and hash functions to start from, as slide.io.model_file names them, instead of random ones.

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

    index: HnswIndex | None = None  # of the weights of one moment; see build_index

    # -- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        Y: Any,
        *,
        sample_weight: Any = None,
        epochs: int = 1,
        schedule: Schedule | None = None,
        callback: Any = None,
        eval_set: tuple[Any, Any] | None = None,
        early_stopping: EarlyStopping | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_adds: Additions = dict,
    ) -> Self:
        """Goes on training for so many epochs over X, sparse [n, n_features], and Y, a sparse indicator [n, n_labels].

        KeyboardInterrupt stops within a second and leaves the network usable, with all steps taken so far. What
        happened is in `history` afterwards: a list of dict (slide.training.progress.Progress).

        Parameters
        ----------
        sample_weight : how many times each row's loss counts, [n] or one number, 0 or more; None: once
        callback : slide.Callback, or a function of a Progress that is called ten times a second, or several of them
        eval_set : pair of X and Y like those above, scored at the end of each epoch; or None
        early_stopping : whether a worse score there ends the fit, and whether the best model comes back
        checkpoint : where and how often to save, and whether to go on from there
        checkpoint_adds : called for each checkpoint: what it holds beside the network (slide.io.model_file.save_model)

        Raises
        ------
        ValueError
            If shapes disagree, values are not finite, or a checkpoint belongs to other data or options.
        ModelFormatError
            If a checkpoint to go on from is damaged.
        NonFiniteError
            If a loss is not finite; names step and layer.
        """
        self.check_trains()
        known = X.fingerprint if isinstance(X, Checked) else None
        rows = TrainingRows.of(*check_XY(X, Y, self.n_features, self.n_labels), sample_weight)
        X, Y = rows.X, rows.Y
        callbacks, schedule = Callbacks.of(callback), check_schedule(schedule) or Schedule()
        saver, progress = None, None
        require(
            checkpoint is None or isinstance(checkpoint, Checkpoint), "checkpoint", checkpoint, "a slide.Checkpoint"
        )
        held = None if eval_set is None else held_out(eval_set, self.n_features, self.n_labels)
        selection = model_selection(held, Y, early_stopping, checkpoint.path if checkpoint else None)
        if checkpoint is not None:
            more = held_out_key(early_stopping, held) | rows.key()
            start = resume_key(self, epochs, schedule, X, Y, more, known)
            saver = CheckpointWriter(checkpoint, start, checkpoint_adds)
            progress = saver.resume(self)
        with closing(saver) if saver else nullcontext():
            self.samples_resumed = progress.done if progress else 0
            if not progress:  # pairs that were pruned before a checkpoint stay away
                self.add_pairs_of(X, Y)
            plan = Plan(epochs, schedule, callbacks, selection, saver)
            run(self, InMemory(Examples.of(X, rows.weights), Examples.of(Y)), plan, progress)
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
    ) -> Self:
        """As `fit`, for rows that come in blocks, of which two are in memory at a time.

        blocks: pairs of X and Y as `fit` takes them, or triples with the weights of the samples. They are passed
        through once before training and once an epoch, and must be the same each time. The rows of a block are
        shuffled, the blocks come in their order: where rows are sorted, shuffle them before. The labels of all rows are
        held where there is an eval_set, for PSP@k.

        Raises
        ------
        ValueError
            As `fit`, with the number of the block; or if a later pass brings more or fewer rows.
        """
        self.check_trains()
        check_blocks(blocks)
        held = None if eval_set is None else held_out(eval_set, self.n_features, self.n_labels)
        source, counts = BlockSource(blocks, self._checked_block), self.pair_counts()
        labels = source.first_pass(counts.add if self.wide else None, keep_labels=held is not None)
        selection = model_selection(held, labels, early_stopping, None)
        self.add_pairs(counts)
        run(self, source, Plan(epochs, check_schedule(schedule) or Schedule(), Callbacks.of(callback), selection))
        return self

    def _checked_block(self, X: Any, Y: Any, sample_weight: Any = None) -> TrainingRows:
        return TrainingRows.of(*check_XY(X, Y, self.n_features, self.n_labels), sample_weight)

    # -- answers ----------------------------------------------------------------------------------------------------

    def predict_topk(
        self, X: Any, k: int = 5, *, n_candidates: int | None = None, index: str | None = None
    ) -> tuple[IntArray, FloatArray]:
        """The k highest-scoring labels of each row of X.

        Parameters
        ----------
        X : sparse [n, n_features]
        k : int
            1 or more; all labels where it is more than there are.
        n_candidates : int or None
            None scores every label exactly, in blocks: the n x n_labels matrix never exists. Else only that many labels
            which the last layer's leaves (slide.engine.leaves) or tables return. Where labels are ranked (slide.Rank),
            None takes those to rank from the leaves, if there are some; n_labels scores every label to find them.
        index : {"hnsw", None}
            Where the labels to score come from instead: a graph, built with the defaults of ``build_index`` where there
            is none of the present weights. n_candidates is then how many it looks for.

        Returns
        -------
        ids : int32 [n, min(k, n_labels)]
            Best first; -1 where the tables or the graph returned fewer than k.
        scores : float32, as many
            Logits; log odds where labels are ranked.
        """
        if index is None:
            return super().predict_topk(X, k, n_candidates=n_candidates)
        k = at_most_all(k, self.n_labels)
        require(among(index, ("hnsw",)), "index", index, "'hnsw' or None")
        graph = self.index if self.index is not None and self.index.step == self.step else self.build_index()
        return hnsw.predict(self, graph, check_X(X, self.n_features), k, n_candidates)

    def build_index(self, kind: str = "hnsw", *, M: int = 16, ef_construction: int = 200, ef: int = 100) -> HnswIndex:
        """Builds the graph that ``predict_topk(index="hnsw")`` searches, and keeps it until training goes on.

        Worth its time where weights are final and labels are many (docs/retrieval.md). Not saved with the model. With
        one thread, equal weights give equal graphs.

        Parameters
        ----------
        kind : {"hnsw"}
            Hierarchical navigable small worlds (Malkov & Yashunin, PAMI 2018); needs the extra `hnsw`.
        M : int
            Neighbours of a label; twice as many at the lowest level.
        ef_construction, ef : int
            Candidates held while a label is added, and while one is searched for unless n_candidates says otherwise.

        Raises
        ------
        ImportError
            Without hnswlib.
        MemoryError
            If the graph would not fit; says the bytes needed and available.
        """
        require(kind == "hnsw", "kind", kind, "'hnsw'")
        self.index = hnsw.build(self, M, ef_construction, ef)
        return self.index

    def retrieval_recall(self, X: Any, *, k: int = 10, n_candidates: int | None = None) -> tuple[float, float]:
        """Share of the exact top k that the last layer's tables return, labels not forced, and its chance level.

        The exact top k are the neurons with the largest logits of the network itself, a sparse linear part left out.
        Chance is a random set of the same size: n_candidates / n_labels (n_candidates defaults to the tables' part of
        the active set).
        """
        return retrieval_recall(self, X, k, n_candidates)

    def true_recall(self, X: Any, Y: Any, n: int = 100, *, n_candidates: int | None = None) -> tuple[float, float]:
        """Share of the true labels of rows, Y sparse [rows, n_labels], that their shortlists and exact best n hold."""
        return true_recalls(self, X, Y, n, n_candidates)

    def lsh_report(self, X: Any = None, Y: Any = None, *, layer: int = -1) -> LshReport:
        """What a sampled layer's tables are worth: print it, or take its fields (slide.inference.lsh_report.LshReport).

        Parameters
        ----------
        X : sparse [n, n_features] or None
            Rows that were not trained on, whose first 1,000 are the queries for recall. None: no recall.
        Y : sparse [n, n_labels] or None
            Their labels, for the recall of true labels.
        layer : int
            A Sampled layer with tables; the last by default.
        """
        return lsh_report(self, None if X is None else check_X(X, self.n_features), layer, Y)

    # -- files ------------------------------------------------------------------------------------------------------

    def save(self, path: Any) -> None:
        """Writes everything prediction and further training need (slide.io.model_file).

        path : of the file, which is replaced when the new one is complete; or a file object opened for writing bytes
        """
        save_model(self, path)

    def save_shards(self, folder: Any, shards: int | None = None, default: int = 2, **more: Any) -> None:
        """Writes the network in so many parts (slide.io.shards); more: what a classifier adds."""
        save_shards(self, folder, default if shards is None else shards, **more)

    def compress(self) -> Self:
        """A copy that only predicts, with weights of 8 bits: a quarter of the memory, and scores that differ slightly.

        Each row has one scale, as has each feature of the sparse part; there, pairs whose weight is under 1/254 of the
        feature's largest are left out. So are the smallest weights of sparse rows that rank: those that have 2 % of the
        sum of all squares. Tables, if any, stay as they are.
        """
        again = type(self).of(quantized(self), self.n_threads, self.backend, self.own_family)
        again.history = self.history
        return again

    def export_onnx(self, path: Any, *, k: int = 5) -> None:
        """Writes a graph that scores every label exactly, for other runtimes (slide.inference.onnx; extra `onnx`).

        path : of a file, or a file object opened for writing bytes

        Its inputs are the entries of a sparse matrix: `row_ids` and `feature_ids` int64 [entries], `values` float32
        [entries], and `n_rows` int64 [1]; its outputs `topk_labels` int64 and `topk_scores` float32 [n_rows, k].
        """
        onnx.export(self, path, k)
