"""SlideClassifier: the scikit-learn face of a network with sensible sizes."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide._state import FloatArray, IntArray
from slide.cells import QueryCells
from slide.checks import check_X, check_XY
from slide.errors import NotFittedError
from slide.layers import Dense, Layer, Sampled, SparseInput
from slide.lsh import HashFamily, require
from slide.network import Network
from slide.optim import Adagrad, Constant, Linear, Optimizer, Rebuild, Schedule
from slide.wide import Wide

if TYPE_CHECKING:
    from slide.explain import Explanation
    from slide.training import Progress


class SlideClassifier:
    """Multi-label classifier for very many labels: an LSH-sampled network plus a sparse linear part.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the dense layers between the sparse input and the labels; at least one.
    epochs : int
        Passes over the data in ``fit``; the learning rate falls linearly to 0 over them.
    n_active : int
        Labels that take part in a sample, true ones included.
    n_random : int or None
        Those of them drawn uniformly. None: a sixth.
    lr : float
        Learning rate of Adagrad; ignored if `optimizer` is given.
    dropout : float in [0, 1)
        Chance that a feature is left out of a training sample in the network's input layer.
    wide : Wide, bool
        The sparse linear part: its options, True for the defaults, False for none.
    lsh : HashFamily, "auto" or None
        Tables of the output layer. "auto": SimHash sized by the number of labels; None: uniform sampling.
    optimizer : Optimizer or None
        None: ``Adagrad(lr)`` with one accumulator a row.
    loss : {"softmax", "binary"}
        Of the network; the linear part has its own.
    activation : {"identity", "relu", "tanh"}
        Of the hidden layers.
    normalize : bool
        Scale rows of X to unit length, in training and prediction. Turn it off only if they are already.
    rebuild : Rebuild or None
        When tables follow the weights.
    batch_size : int or None
        Samples that share an active set: see Network.
    n_threads : int or None
        None: the cores this process may use.
    random_state : int
        With one thread, equal values give equal models, bit for bit.
    backend : {"c", "numba", None}

    Attributes
    ----------
    network_ : Network
    n_features_in_, n_labels_ : int
    fit_seconds_, samples_per_second_ : float
        Of the last fit, everything counted: finding the pairs, rebuilding tables.

    Examples
    --------
    >>> import slide
    >>> X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
    >>> clf = slide.SlideClassifier(hidden=(32,), epochs=3, n_threads=1).fit(X, Y)
    >>> ids, scores = clf.predict_topk(X[:2], k=3)
    >>> ids.shape, scores.dtype
    ((2, 3), dtype('float32'))
    """

    _estimator_type = "classifier"
    network_: Network
    n_features_in_: int
    n_labels_: int
    fit_seconds_: float
    samples_per_second_: float

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        *,
        epochs: int = 5,
        n_active: int = 300,
        n_random: int | None = None,
        lr: float = 0.1,
        dropout: float = 0.0,
        wide: Wide | bool = True,
        lsh: HashFamily | str | None = "auto",
        optimizer: Optimizer | None = None,
        loss: str = "softmax",
        activation: str = "identity",
        normalize: bool = True,
        rebuild: Rebuild | None = None,
        batch_size: int | None = None,
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
        self.loss = loss
        self.activation = activation
        self.normalize = normalize
        self.rebuild = rebuild
        self.batch_size = batch_size
        self.n_threads = n_threads
        self.random_state = random_state
        self.backend = backend

    # -- scikit-learn's conventions ---------------------------------------------------------------------------------

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [p for p in inspect.signature(cls.__init__).parameters if p != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> SlideClassifier:
        """Sets constructor arguments; an unknown name is a ValueError."""
        for name, value in params.items():
            require(name in self._parameter_names(), "set_params", name, f"one of {self._parameter_names()}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [f"{k}={v!r}" for k, v in self.get_params().items() if v != defaults[k].default]
        return f"SlideClassifier({', '.join(changed)})"

    # -- training ---------------------------------------------------------------------------------------------------

    def fit(self, X: Any, Y: Any, *, callback: Callable[[Progress], None] | None = None) -> SlideClassifier:
        """Trains from scratch.

        Parameters
        ----------
        X : sparse or dense [n, n_features], real numbers
        Y : sparse or dense indicator [n, n_labels]
        callback : called about ten times a second with a slide.training.Progress

        Raises
        ------
        ValueError
            For shapes that disagree, values that are not finite, no labels at all, or options that make no sense.
        MemoryError
            If the model would not fit; says the bytes needed and available.
        NonFiniteError
            If the loss overflows; names step and layer.
        """
        X, Y = check_XY(X, Y)
        require(isinstance(self.epochs, int | np.integer) and self.epochs >= 1, "epochs", self.epochs, "1 or more")
        network = self._make_network(X.shape[1], Y.shape[1])  # an error up to here leaves an earlier fit as it was
        self._adopt(network)
        return self._train(X, Y, self.epochs, Linear(), callback)

    def partial_fit(
        self,
        X: Any,
        Y: Any,
        *,
        epochs: int = 1,
        callback: Callable[[Progress], None] | None = None,
    ) -> SlideClassifier:
        """Goes on training at a constant learning rate; the first call decides the numbers of features and labels."""
        if not hasattr(self, "network_"):
            X, Y = check_XY(X, Y)
            self._adopt(self._make_network(X.shape[1], Y.shape[1]))
        else:
            X, Y = check_XY(X, Y, self.n_features_in_, self.n_labels_)
        return self._train(X, Y, epochs, Constant(), callback)

    def _train(
        self,
        X: sp.csr_array,
        Y: sp.csr_array,
        epochs: int,
        schedule: Schedule,
        callback: Callable[[Progress], None] | None,
    ) -> SlideClassifier:
        started, before = time.perf_counter(), self.network_.step
        try:
            self.network_.fit(self._prepare(X), Y, epochs=epochs, schedule=schedule, callback=callback)
        finally:  # an interrupted fit leaves a usable model
            self.fit_seconds_ = time.perf_counter() - started
            self.samples_per_second_ = (self.network_.step - before) / self.fit_seconds_
        return self

    def _adopt(self, network: Network) -> None:
        self.network_ = network
        self.n_features_in_, self.n_labels_ = network.n_features, network.n_labels

    def _make_network(self, n_features: int, n_labels: int) -> Network:
        hidden = tuple(self.hidden)
        require(len(hidden) >= 1, "hidden", self.hidden, "at least one width")
        layers: list[Layer] = [SparseInput(n_features, int(hidden[0]), self.activation, self.dropout, bias=False)]
        layers += [Dense(int(n), self.activation) for n in hidden[1:]]
        layers.append(self._output_layer(n_labels))
        wide = Wide() if self.wide is True else (self.wide or None)
        require(wide is None or isinstance(wide, Wide), "wide", self.wide, "a slide.Wide, True or False")
        return Network(
            layers,
            wide=wide,
            optimizer=self.optimizer or Adagrad(self.lr),
            loss=self.loss,
            rebuild=self.rebuild,
            batch_size=self.batch_size,
            n_threads=self.n_threads,
            seed=self.random_state,
            backend=self.backend,
        )

    def _output_layer(self, n_labels: int) -> Sampled:
        require(isinstance(self.n_active, int | np.integer), "n_active", self.n_active, "a whole number")
        n_random = self.n_random if self.n_random is not None else self.n_active // 6
        lsh = QueryCells() if self.lsh == "auto" else self.lsh
        require(lsh is None or isinstance(lsh, HashFamily), "lsh", self.lsh, "a HashFamily, 'auto' or None")
        assert not isinstance(lsh, str)
        return Sampled(n_labels, lsh=lsh, n_active=self.n_active, n_random=n_random)

    # -- prediction -------------------------------------------------------------------------------------------------

    def _prepare(self, X: sp.csr_array) -> sp.csr_array:
        return unit_rows(X) if self.normalize else X

    def _fitted(self) -> Network:
        if not hasattr(self, "network_"):
            raise NotFittedError("this SlideClassifier is not trained: call fit, or slide.load a saved one")
        return self.network_

    def predict_topk(self, X: Any, k: int = 5, *, n_candidates: int | None = None) -> tuple[IntArray, FloatArray]:
        """The k best labels of each row: ids int32 [n, k] and scores float32 [n, k], best first.

        n_candidates None scores every label exactly; else only about that many which the tables return. Scores rank
        labels within a row; they are no probabilities.
        """
        net = self._fitted()
        return net.predict_topk(self._prepare(check_X(X, net.n_features)), k, n_candidates=n_candidates)

    def predict(self, X: Any) -> npt.NDArray[np.int32]:
        """The best label of each row, int32 [n]."""
        return self.predict_topk(X, k=1)[0][:, 0]

    def score(self, X: Any, Y: Any) -> float:
        """Precision at 1."""
        from slide.metrics import precision_at_k

        return float(precision_at_k(Y, self.predict_topk(X, k=1)[0], k=1))

    def explain(self, x: Any, label: int) -> Explanation:
        """What each feature of one sample added to a label's score.

        Parameters
        ----------
        x : sparse or dense [1, n_features] or [n_features]
        label : int
            0 to n_labels - 1.

        Returns
        -------
        slide.explain.Explanation
            ``print`` it, or take its `features` and `contributions`, which add up to the score with its `rest`.

        Raises
        ------
        ValueError
            For more than one row, or a label that does not exist.
        """
        from slide.explain import explain

        net = self._fitted()
        row = check_X(np.atleast_2d(x) if isinstance(x, np.ndarray) else x, net.n_features)
        require(row.shape[0] == 1, "x", f"{row.shape[0]:,} rows", "one row")
        known = isinstance(label, int | np.integer) and 0 <= label < net.n_labels
        require(known, "label", label, f"an int, 0 to {net.n_labels - 1:,}")
        return explain(net, self._prepare(row), int(label))

    # -- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model to one file (slide.model_file); ``slide.load`` reads it again."""
        from slide.model_file import save_network

        save_network(self._fitted(), path, {"classifier": self._config()})

    def _config(self) -> dict[str, Any]:
        """Constructor arguments as JSON values; objects that the network stores itself are left out."""
        plain = self.get_params()
        for name in ("lsh", "optimizer", "rebuild", "wide"):
            del plain[name]
        plain["hidden"] = [int(n) for n in self.hidden]
        fitted = {"fit_seconds_": self.fit_seconds_, "samples_per_second_": self.samples_per_second_}
        return {"params": plain, "fitted": fitted}

    @classmethod
    def _restore(cls, network: Network, config: dict[str, Any]) -> SlideClassifier:
        """The inverse of `_config`, with the stored objects taken from the network."""
        last = network.layers[-1]
        assert isinstance(last, Sampled)
        params = {k: v for k, v in config["params"].items() if k in cls._parameter_names()}
        params["hidden"] = tuple(params["hidden"])
        clf = cls(
            **params,
            lsh=last.lsh,
            optimizer=network.optimizer,
            rebuild=network.rebuild,
            wide=network.wide or False,
        )
        clf._adopt(network)
        for name in ("fit_seconds_", "samples_per_second_"):
            setattr(clf, name, float(config["fitted"][name]))
        return clf


def unit_rows(X: sp.csr_array) -> sp.csr_array:
    """Rows scaled to Euclidean length 1, empty rows left; X itself if they are so already."""
    squares = np.zeros(X.shape[0], np.float64)
    np.add.at(squares, np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), X.data.astype(np.float64) ** 2)
    norms = np.sqrt(squares)
    if np.all((norms == 0) | (np.abs(norms - 1) < 1e-4)):
        return X
    scale = np.repeat(1 / np.where(norms > 0, norms, 1), np.diff(X.indptr))
    return sp.csr_array(((X.data * scale).astype(np.float32), X.indices, X.indptr), shape=X.shape)
