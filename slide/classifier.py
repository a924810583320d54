"""SlideClassifier: the scikit-learn face of a network with sensible sizes.

What y may be is in slide/targets.py, what is done to X in slide/scaling.py, scikit-learn's conventions in
slide/_sklearn.py, and what predictions are made of in slide/predictions.py.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from slide._state import IntArray
from slide.blocks import Prepared, first_of
from slide.building import build_network
from slide.checks import check_pair, check_X
from slide.layers import Sampled
from slide.learn_ranker import Rank, held_for_calibration, learn_ranker
from slide.lsh import HashFamily, require
from slide.model_card import Card, Notes
from slide.network import Network
from slide.optim import SCHEDULES, Constant, Linear, Optimizer, Rebuild, Schedule
from slide.predictions import Predictions
from slide.presets import PRESETS
from slide.scaling import Scaling
from slide.scores import SAMPLE, threshold
from slide.targets import Labels, Values, class_names, classify
from slide.threads import resolve_threads
from slide.wide import Wide

if TYPE_CHECKING:
    from slide.checkpoint import Checkpoint
    from slide.evaluation import EarlyStopping


FITTED = ("fit_seconds_", "samples_per_second_", "threshold_")
UNNAMED = {"kind": "sparse", "dtype": "float32", "named": False, "nonempty": True, "class_dtype": "<i8"}
FEW_ROWS = 2_000  # below this, threads that race cost more than they give


class SlideClassifier(Predictions):
    """Classifier for very many labels, one or several a row: an LSH-sampled network plus a sparse linear part.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the dense layers between the sparse input and the labels; at least one.
    epochs : int
        Passes over the data in ``fit``.
    n_active : int
        Labels that take part in a sample, true ones included.
    n_random : int or None
        Those of them drawn uniformly. None: a sixth.
    lr : float
        Learning rate of Adagrad; ignored if `optimizer` is given.
    dropout : float in [0, 1)
        Chance that a feature is left out of a training sample in the network's input layer.
    wide : Rank, Wide, bool
        The sparse linear part. True or a Rank: sparse rows that rank the network's best labels, learned by `fit` after
        the network (retrieve and rank). A Wide: one weight for each pair of feature and label, added to the logits and
        trained with the network. False: none.
    lsh : HashFamily, "auto" or None
        Tables of the output layer. "auto": what slide.lsh.auto chooses for the number of labels and n_active, tuned
        further while training goes on; None: uniform sampling.
    optimizer : Optimizer or None
        None: ``Adagrad(lr)`` with one accumulator a row.
    schedule : Schedule or None
        Of the learning rate in ``fit``. None: ``Linear()``, it falls to 0.
    loss : {"softmax", "binary"}
        Of the network; the linear part has its own.
    activation : {"identity", "relu", "tanh"}
        Of the hidden layers.
    normalize : "auto", bool
        True: rows of X are scaled to unit length, in training and prediction. False: X is taken as it is. "auto": unit
        length, unless more than half of the entries of X are not 0; then its columns are centred and scaled.
    rebuild : Rebuild or None
        When tables follow the weights.
    batch_size : int or None
        Samples that share an active set: see Network.
    storage : {"float32", "bfloat16"}
        Of the network's weights: bfloat16 takes half the memory. See Network.
    n_threads : int or None
        None: the cores this process may use, and one to fit fewer than 2,000 rows.
    random_state : int
        With one thread, equal values give equal models, bit for bit.
    backend : {"c", "numba", None}

    Attributes
    ----------
    network_ : Network
    classes_ : array [n_labels]
        The labels by column: classes, names, or column numbers where y is an indicator without names.
    n_features_in_, n_labels_ : int
    feature_names_in_ : array [n_features] of str
        Columns of X, if it was a data frame.
    plan_ : dict
        What the last fit chose by itself and why: ``print(clf.plan_["words"])``.
    fit_seconds_, samples_per_second_ : float
        Of the last fit, everything counted: finding the pairs, rebuilding tables.
    history_ : list of dict
        Of the last fit: epoch, samples, seconds, loss, active neurons, rebuilds and learning rate at some 200 moments,
        and the metrics of `eval_set` at the end of each epoch. ``pandas.DataFrame(clf.history_)`` is a table of it.

    Examples
    --------
    >>> import slide
    >>> X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
    >>> clf = slide.SlideClassifier(hidden=(32,), epochs=3, n_threads=1).fit(X, Y)
    >>> ids, scores = clf.predict_topk(X[:2], k=3)
    >>> ids.shape, scores.dtype
    ((2, 3), dtype('float32'))
    >>> clf.fit(X, ["even" if i % 2 == 0 else "odd" for i in range(2000)]).classes_
    array(['even', 'odd'], dtype='<U4')
    """

    fit_seconds_: float
    samples_per_second_: float
    history_: list[dict[str, Any]]
    plan_: dict[str, Any]
    card_: Card

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        *,
        epochs: int = 5,
        n_active: int = 300,
        n_random: int | None = None,
        lr: float = 0.1,
        dropout: float = 0.0,
        wide: Wide | Rank | bool = True,
        lsh: HashFamily | str | None = "auto",
        optimizer: Optimizer | None = None,
        schedule: Schedule | None = None,
        loss: str = "softmax",
        activation: str = "identity",
        normalize: bool | str = "auto",
        rebuild: Rebuild | None = None,
        batch_size: int | None = None,
        storage: str = "float32",
        n_threads: int | None = None,
        random_state: int = 0,
        backend: str | None = None,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.n_active = n_active
        self.n_random = n_random
        self.lr = lr
        self.dropout = dropout
        self.wide = wide
        self.lsh = lsh
        self.optimizer = optimizer
        self.schedule = schedule
        self.loss = loss
        self.activation = activation
        self.normalize = normalize
        self.rebuild = rebuild
        self.batch_size = batch_size
        self.storage = storage
        self.n_threads = n_threads
        self.random_state = random_state
        self.backend = backend

    @classmethod
    def preset(cls, name: str, **options: Any) -> Self:
        """A classifier with options for a purpose: "fast", "balanced" (the defaults) or "accurate".

        It is an ordinary one, whose options can be looked at and changed; those given here come first. Measured against
        the defaults on held-out rows (docs/tuning.md): "fast" takes about half the time and costs 0 to 0.8 points of
        P@1; "accurate" takes one and a half to twice the time, and gains mostly behind the first label.

        >>> import slide
        >>> slide.SlideClassifier.preset("fast", random_state=1).epochs
        3
        """
        require(name in PRESETS, "preset", name, f"one of {', '.join(PRESETS)}")
        return cls(**PRESETS[name] | options)

    # -- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        classes: Any = None,
        callback: Any = None,
        eval_set: tuple[Any, Any] | float | None = None,
        early_stopping: EarlyStopping | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Self:
        """Trains from scratch, or goes on from a checkpoint.

        Parameters
        ----------
        X : sparse or dense [n, n_features], real numbers; or a data frame
        y : [n] classes; or sparse or dense indicator [n, n_labels]; or n lists of labels
            Predictions come in the same form. Lists of equal lengths that hold 0 and 1 only are an indicator.
        classes : sequence or None
            All classes there are, or names of an indicator's columns. None: what y holds; a data frame's columns.
        callback : slide.Callback, function, or a sequence of them
            A function is called about ten times a second with a slide.training.Progress.
        eval_set : pair (X, y), or float
            Rows that are not trained on, scored at the end of each epoch; a float is the share of these rows that is
            held out, at random.
        early_stopping : slide.EarlyStopping or None
            Whether a score that rises no more ends the fit, and whether the best model comes back.
        checkpoint : slide.Checkpoint or None
            Where and how often to save the state of the training, and whether to go on from there.

        Raises
        ------
        ValueError
            For shapes that disagree, values that are not finite, no labels at all, options that make no sense, or a
            checkpoint of other data or options.
        MemoryError
            If the model would not fit; says the bytes needed and available.
        NonFiniteError
            If the loss overflows; names step and layer.
        """
        require(isinstance(self.epochs, int | np.integer) and self.epochs >= 1, "epochs", self.epochs, "1 or more")
        rank = Rank() if self.wide is True else self.wide if isinstance(self.wide, Rank) else None
        rows, Y = self._begin(X, y, classes, alone_below=FEW_ROWS, ranks=rank is not None)
        schedule = Linear() if self.schedule is None else self.schedule
        told = {"callback": callback, "early_stopping": early_stopping, "checkpoint": checkpoint, "rank": rank}
        try:
            return self._train(rows, Y, eval_set, epochs=self.epochs, schedule=schedule, **told)
        finally:
            self.network_.set_threads(resolve_threads(self.n_threads))

    def fit_blocks(
        self,
        blocks: Iterable[Any],
        *,
        classes: Any = None,
        callback: Any = None,
        eval_set: tuple[Any, Any] | None = None,
        early_stopping: EarlyStopping | None = None,
    ) -> Self:
        """Trains from scratch on rows that do not fit memory, of which two blocks are held at a time.

        Parameters
        ----------
        blocks : iterable of pairs (X, y) as `fit` takes them
            Gone through once before training and once an epoch, with the same rows each time: a list, `XMCBlocks`, or
            an object whose ``__iter__`` begins anew. Rows are shuffled within their block. What `normalize` means is
            decided by the first block.
        classes : sequence or None
            All labels, where y gives them by name; indicators need none.
        callback, eval_set, early_stopping
            As in `fit`; eval_set is a pair.

        Raises
        ------
        ValueError
            As `fit`, with the number of the block; or if a later pass brings more or fewer rows.
        """
        from slide.evaluation import encoded

        first = first_of(blocks)
        if classes is None and classify(first[1])[0] in ("classes", "lists"):
            raise ValueError("classes: found None, wanted all labels: the first block may not have them all")
        rows, Y = (part[:SAMPLE] for part in self._begin(first[0], first[1], classes))
        del first
        held = None if eval_set is None else encoded(eval_set, self._rows, self._labels)
        pairs = Prepared(blocks, self._encoded)
        schedule = Linear() if self.schedule is None else self.schedule
        told = {"epochs": self.epochs, "schedule": schedule, "callback": callback, "early_stopping": early_stopping}

        def notes() -> Notes:
            self._labels = replace(self._labels, nonempty=not pairs.n_unlabelled)
            sizes = pairs.n_rows, self.n_features_in_, self.n_labels_
            return Notes.counted(*sizes, pairs.n_values, pairs.n_labels)

        return self._timed(lambda: self.network_.fit_blocks(pairs, eval_set=held, **told), rows, Y, notes)

    def _encoded(self, X: Any, y: Any) -> tuple[sp.csr_array, sp.csr_array]:
        """A pair as the network takes it, for a model that knows its labels."""
        self._check_feature_names(X)
        rows, Y = self._read(X), self._labels.encode(y)
        check_pair(rows, Y)
        return self._scaling(rows), Y

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        *,
        epochs: int = 1,
        callback: Any = None,
        eval_set: tuple[Any, Any] | float | None = None,
    ) -> Self:
        """Goes on training at a constant learning rate.

        The first call decides features, labels and what `normalize` means: name all labels to come in `classes`, or
        bring them in with ``add_labels``.
        """
        told = {"epochs": epochs, "schedule": Constant(), "callback": callback}
        if not self.__sklearn_is_fitted__():
            return self._train(*self._begin(X, y, classes), eval_set, **told)
        if classes is not None and set(class_names(classes).tolist()) != set(self.classes_.tolist()):
            raise ValueError("classes: found other labels than in the first call; add_labels brings in new ones")
        return self._train(*self._encoded(X, y), eval_set, **told)

    def _begin(
        self, X: Any, y: Any, classes: Any, alone_below: int = 0, ranks: bool = False
    ) -> tuple[sp.csr_array, sp.csr_array]:
        """An untrained model for these data, and the data as it sees them; an error leaves an earlier fit as it was."""
        reader, rows = self._learn_features(X)
        labels = Labels.of(y, classes)
        Y = labels.encode(y)
        check_pair(rows, Y)
        labels = replace(labels, nonempty=bool(np.diff(Y.indptr).all()))
        scaling = self._learn_scaling(rows)
        n_threads = 1 if self.n_threads is None and rows.shape[0] < alone_below else self.n_threads
        self._adopt(build_network(self, rows.shape[1], Y.shape[1], n_threads, ranks), labels, scaling, reader)
        self._adopt_feature_names(X)
        return scaling(rows), Y

    def _learn_features(self, X: Any) -> tuple[Any, sp.csr_array]:
        """What it takes to read rows later, nothing here, and X as a sparse matrix."""
        return None, check_X(X, owner=type(self).__name__)

    def _learn_scaling(self, rows: sp.csr_array) -> Scaling:
        return Scaling.of(rows, self.normalize)

    def _train(self, rows: sp.csr_array, Y: sp.csr_array, eval_set: Any, rank: Rank | None = None, **told: Any) -> Self:
        """rank : how to learn to rank, after the network; told : keyword arguments of Network.fit."""
        rows, Y, held = self._hold_out(rows, Y, eval_set)
        notes = Notes.of(rows, Y)
        apart = held_for_calibration(rows.shape[0] if rank else 0, self.random_state)
        main = (rows[~apart], Y[~apart]) if apart.any() else (rows, Y)

        def adds() -> dict[str, Any]:
            self.threshold_ = threshold(self.network_, rows, Y)
            return {"extra": {"classifier": self._config()}, "extra_arrays": self._arrays()}

        def train() -> None:
            self.network_.fit(*main, eval_set=held, checkpoint_adds=adds, **told)
            if rank:
                self.plan_ = learn_ranker(self.network_, rows, Y, apart, rank, self.random_state)

        return self._timed(train, rows, Y, lambda: notes)

    def _timed(self, train: Callable[[], Any], rows: sp.csr_array, Y: sp.csr_array, notes: Callable[[], Notes]) -> Self:
        """Trains and takes down how it went; rows and Y are those, or some of those, that are trained on."""
        started, before = time.perf_counter(), self.network_.step
        try:
            train()
        finally:  # an interrupted fit leaves a usable model
            self.fit_seconds_ = time.perf_counter() - started
            trained = self.network_.step - before - self.network_.samples_resumed
            self.samples_per_second_ = max(trained, 0) / self.fit_seconds_
            self.history_ = self.network_.history
            self.threshold_ = threshold(self.network_, rows, Y)
            self.card_ = notes().card(self)
        return self

    def _hold_out(self, rows: sp.csr_array, Y: sp.csr_array, eval_set: Any) -> tuple[Any, Any, Any]:
        """Rows and labels to train on, and the pair to score by, as the network sees them."""
        from slide.evaluation import encoded, split

        if isinstance(eval_set, float | np.floating):
            train, held = split(rows.shape[0], float(eval_set), self.random_state)
            return rows[train], Y[train], (rows[held], Y[held])
        if eval_set is None:
            return rows, Y, None
        return rows, Y, encoded(eval_set, self._rows, self._labels)

    def _adopt(self, network: Network, labels: Labels, scaling: Scaling, reader: Any) -> None:
        self.network_, self._labels, self._scaling = network, labels, scaling
        self.n_features_in_, self.n_labels_ = network.n_features, network.n_labels

    # -- labels that come and go ------------------------------------------------------------------------------------

    def add_labels(self, labels: Any) -> Self:
        """Makes room for labels that later calls of ``partial_fit`` bring examples of.

        Parameters
        ----------
        labels : sequence of new labels; or int, how many, where labels are columns without names
            They follow the others in `classes_`. Until they are trained they score like labels that are never met.
        """
        self._check_fitted()
        known, n_labels = self._labels, self.n_labels_
        if not known.named:
            require(bool(isinstance(labels, int | np.integer) and labels > 0), "labels", labels, "how many, 1 or more")
            return self._resize(np.arange(n_labels, dtype=np.int32), np.arange(n_labels, n_labels + labels))
        new = class_names(labels)
        if known_already := set(new.tolist()) & set(known.classes.tolist()):
            raise ValueError(f"labels: found {min(known_already)!r}, which this model has already")
        return self._resize(np.arange(n_labels, dtype=np.int32), new)

    def forget(self, labels: Any) -> Self:
        """Takes labels out, and all that was learnt of them.

        Parameters
        ----------
        labels : sequence of labels as in `classes_`
            The columns of those that stay move up.
        """
        self._check_fitted()
        keep = np.setdiff1d(np.arange(self.n_labels_, dtype=np.int32), self._labels.ids(class_names(labels)))
        require(bool(len(keep)), "labels", f"all {self.n_labels_:,}", "at least one that stays")
        return self._resize(keep, self._labels.classes[:0])

    def _resize(self, keep: IntArray, new: Values) -> Self:
        from slide.resize import resized

        self.network_ = resized(self.network_, keep, len(new))
        self.n_labels_ = self.network_.n_labels
        self._labels = self._labels.resized(keep, new)
        return self

    def card(self) -> str:
        """The model card, Markdown: data, options, time, memory, scores and limits. `slide card MODEL` prints it."""
        from slide.model_card import markdown

        self._check_fitted()
        return markdown(self)

    # -- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model to one file (slide.model_file); ``slide.load`` reads it again."""
        from slide.model_file import save_network

        self._check_fitted()
        save_network(self.network_, path, {"classifier": self._config()}, self._arrays())

    def compress(self) -> Self:
        """A copy that only predicts, with weights of 8 bits: see ``Network.compress``. `save` takes it too."""
        self._check_fitted()
        small = copy.copy(self)
        small.network_ = self.network_.compress()
        return small

    def export_onnx(self, path: str | os.PathLike[str], *, k: int = 5) -> None:
        """As ``Network.export_onnx``, for X as `fit` takes it; label names are in the metadata `labels`, as JSON.

        A text classifier's graph begins where its features are made: its columns are those of ``vocabulary_``.
        """
        from slide.onnx_export import export

        self._check_fitted()
        names = [str(name) for name in self.classes_.tolist()]
        export(self.network_, path, k, scaling=self._scaling, names=names)

    def _arrays(self) -> dict[str, Values]:
        """What a model file holds beside the network's arrays."""
        return self._labels.arrays()

    def _config(self) -> dict[str, Any]:
        """Constructor arguments and what was learnt as JSON values; what the network stores itself is left out."""
        plain = self.get_params()
        for name in ("lsh", "optimizer", "rebuild", "wide", "schedule"):
            del plain[name]
        plain["hidden"] = [int(n) for n in self.hidden]
        schedule = self.schedule and {"name": type(self.schedule).__name__, **asdict(self.schedule)}
        names = getattr(self, "feature_names_in_", None)
        return {
            "kind": type(self).__name__,
            "params": plain,
            "schedule": schedule,
            "card": getattr(self, "card_", Card()).config(),
            "history": getattr(self, "history_", self.network_.history),
            "fitted": {name: getattr(self, name, 0.0) for name in FITTED},  # times are known after the fit
            "labels": self._labels.config(),
            "scaling": self._scaling.config(),
            "feature_names": None if names is None else names.tolist(),
        }

    @classmethod
    def _restore(cls, network: Network, config: Mapping[str, Any], arrays: Mapping[str, Values]) -> Self:
        """The inverse of `save`, with the stored objects taken from the network."""
        last = network.layers[-1]
        assert isinstance(last, Sampled)
        params = {k: v for k, v in config["params"].items() if k in cls._parameter_names()}
        params["hidden"] = tuple(params["hidden"])
        params |= {"lsh": last.lsh, "optimizer": network.optimizer, "rebuild": network.rebuild}
        schedule = dict(config.get("schedule") or {})
        if schedule:
            params["schedule"] = SCHEDULES[schedule.pop("name")](**schedule)
        clf = cls(**params, wide=network.wide or network.ranker is not None)
        labels = Labels.restored(config.get("labels", UNNAMED), arrays, network.n_labels)
        older: dict[str, Any] = {"kind": "unit" if params["normalize"] else "none", "mean": [], "factor": []}
        scaling = Scaling.restored(config.get("scaling", older), network.n_features)
        clf._adopt(network, labels, scaling, cls._restore_reader(config, arrays))
        for name in FITTED:
            setattr(clf, name, float(config["fitted"].get(name, 0)))
        clf.card_ = Card.restored(config.get("card"))
        clf.history_ = network.history = [dict(record) for record in config.get("history", ())]
        if config.get("feature_names"):
            clf.feature_names_in_ = np.array(config["feature_names"], dtype=object)
        return clf

    @classmethod
    def _restore_reader(cls, config: Mapping[str, Any], arrays: Mapping[str, Values]) -> Any:
        return None
