"""SlideClassifier: the scikit-learn face of a network with sensible sizes.

How X and y become matrices is in slide/estimator/encoding.py, training in slide/estimator/fitting.py, prediction in
slide/estimator/predictions.py, what else one does with a trained classifier in slide/estimator/fitted.py, and
scikit-learn's conventions in slide/estimator/sklearn_api.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from slide.checks import require, whole
from slide.engine.threads import resolve_threads
from slide.estimator.fitted import FittedClassifier
from slide.estimator.fitting import begin, refuse_balanced, train, train_on_blocks
from slide.inference.scores import SAMPLE
from slide.labels.forms import class_names, read_labels
from slide.lsh import HashFamily
from slide.model.pairs import Wide
from slide.optim import Constant, Linear, Optimizer, Rebuild, Schedule
from slide.training.ranking import Rank
from slide.training.source import first_of
from slide.training.weights import FEW_ROWS

if TYPE_CHECKING:
    from slide.training.checkpoint import Checkpoint
    from slide.training.early_stopping import EarlyStopping


class SlideClassifier(FittedClassifier):
    """Classifier for very many labels, one or several a row: an LSH-sampled network plus a sparse linear part.

    Parameters
    ----------
    hidden : int or sequence of int
        Widths of the dense layers between the input and the labels. (): none, a linear softmax (slide.DenseInput).
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
        The sparse linear part: weights of (feature, label) pairs, added to the logits; or rows that rank the network's
        best labels, learned after it. True: a Wide, or in `fit` a Rank where that would be too many pairs; none where
        more than half of the entries of X are not 0. False: none.
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
    rebuild, batch_size, storage
        When tables follow the weights, samples that share an active set, and the type of weights: see Network.
    class_weight : dict of labels and numbers, "balanced" or None
        How many times a row of that label counts, beside its sample_weight; a row with several labels counts as their
        mean. Labels that a dict leaves out count once. "balanced": as often as gives every label of the training rows
        the same sum; `fit` alone takes it.
    threshold : "f1", "macro-f1", "precision=0.9", a float under 1, an int, or None
        Which labels `predict` predicts where rows may have several (``tune_threshold`` says what each means), tuned on
        the rows that probabilities are learned on. None: "f1" if there are such rows, else labels of positive scores.
    n_threads : int or None
        None: the cores this process may use (SLIDE_NUM_THREADS, OMP_NUM_THREADS), and one to fit fewer than 2,000 rows.
    random_state : int, numpy.random.Generator or RandomState, or None
        With one thread, equal numbers give equal models, bit for bit. Each fit asks a generator for a number; None
        stands for one that nobody knows.
    backend : {"c", "numba", None}
    memory : int, str or None
        Bytes for the network, like "4GB". Where it takes more, the rows of its output layer are in a temporary file,
        and as many as fit in memory (docs/memory.md). None: all in memory.
    verbose : {0, 1, 2}
        What fits print: 0 nothing; 1 the size of the data, a line for each epoch, and the time; 2 a line every few
        seconds too, and what was chosen (`plan_`). ``callback=slide.ProgressBar()`` shows a live bar.

    Attributes
    ----------
    network_ : Network
    classes_ : array [n_labels]
        The labels by column: classes, names, or column numbers where y is an indicator without names.
    n_features_in_, n_labels_ : int
    feature_names_in_ : array [n_features] of str
        Columns of X, if it was a data frame.
    fit_seconds_, samples_per_second_ : float
        Of the last fit, everything counted: finding the pairs, rebuilding tables.
    calibration_ : how scores become probabilities; None where no rows were kept back for it (`fit`, `calibrate`)
    thresholds_ : over which probability labels are predicted; None where that follows from the scores
    shared_fit_ : what the workers of the last fit with `cluster` took, and who came and went
    plan_ : what the last fit chose by itself, and why: ``print(clf.plan_)``
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

    def __init__(
        self,
        hidden: int | Sequence[int] = (128,),
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
        class_weight: Any = None,
        threshold: Any = None,
        n_threads: int | None = None,
        random_state: Any = 0,
        backend: str | None = None,
        memory: int | str | None = None,
        verbose: int = 0,
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
        self.class_weight = class_weight
        self.threshold = threshold
        self.n_threads = n_threads
        self.random_state = random_state
        self.backend = backend
        self.memory = memory
        self.verbose = verbose

    # -- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        classes: Any = None,
        callback: Any = None,
        eval_set: tuple[Any, Any] | float | None = None,
        early_stopping: EarlyStopping | None = None,
        checkpoint: Checkpoint | None = None,
        calibrate: tuple[Any, Any] | bool = True,
        cluster: Any = None,
    ) -> Self:
        """Trains from scratch, or goes on from a checkpoint.

        Parameters
        ----------
        X : sparse or dense [n, n_features], real numbers; or a data frame
        y : [n] classes; or sparse or dense indicator [n, n_labels]; or n lists of labels
            Predictions come in the same form. Lists of equal lengths that hold 0 and 1 only are an indicator.
        sample_weight : [n] numbers of 0 or more, or None
            How many times a row counts: 2 is about like the row twice, 0 is like the row absent, whose label is known
            though. Weights with a mean under 1 are shares, and are scaled up to it.
        classes : sequence or None
            All classes there are, or names of an indicator's columns. None: what y holds; a data frame's columns.
        callback : slide.Callback, function, or a sequence of them
            A function is called about ten times a second with a slide.training.progress.Progress.
        eval_set : pair (X, y), or float
            Rows that are not trained on, scored at the end of each epoch; a float is the share of these rows that is
            held out, at random.
        early_stopping : slide.EarlyStopping or None
            Whether a score that rises no more ends the fit, and whether the best model comes back.
        checkpoint : slide.Checkpoint or None
            Where and how often to save the state of the training, and whether to go on from there.
        calibrate : pair (X, y), or bool
            Rows that are not trained on, to learn probabilities on. True: those of `eval_set`, 200 or more; else one in
            twenty of 3,000 rows or more, 200 to 1,000. False: none.
        cluster : slide.distributed.Ray, Torch, MPI, Local, or None
            Workers that share out features and labels; this process gets the whole model (docs/distributed.md). Then a
            checkpoint's path is that of a folder which all workers see. In processes that torchrun or mpirun started,
            all but the first leave when the work is done (SystemExit).

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
        require(whole(self.epochs) >= 1, "epochs", self.epochs, "1 or more")
        repeats = checkpoint is None and not isinstance(eval_set, float)
        data: dict[str, Any] = {"few_rows": FEW_ROWS, "all_there": True, "repeats": repeats}
        rows = begin(self, X, y, classes, sample_weight, elsewhere=cluster and cluster.network_class, **data)
        if checkpoint is not None:
            self._encoding.reader.config()  # what no file holds is said before the training
        how: dict[str, Any] = {"epochs": self.epochs, "schedule": self.schedule or Linear(), "callback": callback}
        how |= {"early_stopping": early_stopping, "checkpoint": checkpoint}
        try:
            train(self, rows, eval_set, rank=self.plan_.rank, calibrate=calibrate, cluster=cluster, **how)
        finally:
            self.network_.set_threads(resolve_threads(self.n_threads))
        return self

    def fit_blocks(
        self,
        blocks: Iterable[Any],
        *,
        classes: Any = None,
        callback: Any = None,
        eval_set: tuple[Any, Any] | None = None,
        early_stopping: EarlyStopping | None = None,
        calibrate: tuple[Any, Any] | bool = True,
        checkpoint: Checkpoint | None = None,
        cluster: Any = None,
    ) -> Self:
        """Trains from scratch on rows that do not fit memory, of which two blocks are held at a time.

        Parameters
        ----------
        blocks : iterable of pairs (X, y) as `fit` takes them, or triples (X, y, sample_weight)
            Gone through once before training and once an epoch, with the same rows each time: a list, `XMCBlocks`, or
            an object whose ``__iter__`` begins anew. Rows are shuffled within their block. What `normalize` means is
            decided by the first block.
        classes : sequence or None
            All labels, where y gives them by name; indicators need none.
        callback, eval_set, early_stopping, calibrate
            As in `fit`; eval_set is a pair. No rows are kept back: probabilities are learned of one of these pairs.
        cluster, checkpoint
            As in `fit`; a checkpoint goes with a cluster only. Every worker goes through the blocks itself: files must
            be at the same place for all of them. It keeps the columns of its own features, and where there is a sparse
            part all of them, with the labels of all rows, in memory, and trains in the order of `fit`.

        Raises
        ------
        ValueError
            As `fit`, with the number of the block; or if a later pass brings more or fewer rows.
        """
        require(checkpoint is None or cluster is not None, "checkpoint", checkpoint, "None without cluster=")
        first = first_of(blocks)
        if classes is None and not read_labels(first[1]).is_indicator:
            raise ValueError("classes: found None, wanted all labels: the first block may not have them all")
        rows = begin(self, first[0], first[1], classes, elsewhere=cluster and cluster.network_class)
        sample = rows.X[:SAMPLE], rows.Y[:SAMPLE]
        del first, rows
        how = {"epochs": self.epochs, "schedule": self.schedule or Linear()}
        how |= {"callback": callback, "early_stopping": early_stopping, "calibrate": calibrate}
        if cluster is not None:
            how |= {"cluster": cluster, "checkpoint": checkpoint}
        train_on_blocks(self, blocks, sample, eval_set, **how)
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
        *,
        epochs: int = 1,
        callback: Any = None,
        eval_set: tuple[Any, Any] | float | None = None,
    ) -> Self:
        """Goes on training at a constant learning rate; a row of sample_weight 2 moves the model about twice as far.

        The first call decides features, labels and what `normalize` means: name all labels to come in `classes`, or
        bring them in with ``add_labels``.
        """
        if not self.__sklearn_is_fitted__():
            rows = begin(self, X, y, classes, sample_weight)
        elif classes is None or set(class_names(classes).tolist()) == set(self.classes_.tolist()):
            refuse_balanced(self.class_weight)
            rows = self._encoding.training_rows(X, y, sample_weight, self.class_weight, n_threads=self.n_threads)
        else:
            raise ValueError("classes: found other labels than in the first call; add_labels brings in new ones")
        train(self, rows, eval_set, epochs=epochs, schedule=Constant(), callback=callback)
        return self
