"""The layers a network is made of: sizes and options, checked here and frozen. Their arithmetic: csrc/net/layer.c."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from slide.checks import among, number, require, whole
from slide.lsh import HashFamily
from slide.lsh.query_cells import QueryCells

__all__ = [
    "ACTIVATIONS",
    "INPUTS",
    "LAYERS",
    "MAX_NEURONS",
    "QUERIES",
    "Dense",
    "DenseInput",
    "Layer",
    "Sampled",
    "SparseInput",
]

ACTIVATIONS = ("identity", "relu", "tanh")
QUERIES = ("input", "label")
MAX_NEURONS = 2**31 - 1


@dataclass(frozen=True)
class Layer:
    """What all layers have: a number of neurons and an activation."""

    kind: ClassVar[str] = ""

    def _check_size(self, argument: str, value: int) -> None:
        name = f"{type(self).__name__}({argument}=)"
        require(1 <= whole(value) <= MAX_NEURONS, name, value, f"an int, 1 to {MAX_NEURONS:,}")

    def _check_activation(self, value: str) -> None:
        require(among(value, ACTIVATIONS), f"{type(self).__name__}(activation=)", value, f"one of {ACTIVATIONS}")

    def _check_dropout(self, value: float) -> None:
        require(0 <= number(value) < 1, f"{type(self).__name__}(dropout=)", value, "at least 0 and under 1")


@dataclass(frozen=True)
class SparseInput(Layer):
    """The first layer: n_features sparse inputs to n neurons; the weights of a feature are one contiguous row.

    Parameters
    ----------
    n_features : int
        Columns of X.
    n : int
        Width of the output.
    activation : {"identity", "relu", "tanh"}
    dropout : float in [0, 1)
        Chance that a feature is left out of a training sample; the others are scaled by 1 / (1 - dropout).
    bias : bool
        Whether the n neurons have biases.
    """

    n_features: int
    n: int
    activation: str = "identity"
    dropout: float = 0.0
    bias: bool = True

    kind: ClassVar[str] = "sparse_input"

    def __post_init__(self) -> None:
        self._check_size("n_features", self.n_features)
        self._check_size("n", self.n)
        self._check_activation(self.activation)
        self._check_dropout(self.dropout)
        require(isinstance(self.bias, bool), "SparseInput(bias=)", self.bias, "True or False")


@dataclass(frozen=True)
class DenseInput(Layer):
    """The first layer of a network over dense rows: hands on the n_features values of a row as they are.

    With nothing but an output layer above it the network is linear: a multinomial logistic regression whose softmax may
    be sampled. A sample costs n_features times the active neurons, however many of its values are 0.

    Parameters
    ----------
    n_features : int
        Columns of X.
    dropout : float in [0, 1)
        As of SparseInput.
    """

    n_features: int
    dropout: float = 0.0

    kind: ClassVar[str] = "dense_input"

    @property
    def n(self) -> int:
        """Width of the output."""
        return self.n_features

    @property
    def activation(self) -> str:
        """None."""
        return "identity"

    def __post_init__(self) -> None:
        self._check_size("n_features", self.n_features)
        self._check_dropout(self.dropout)


@dataclass(frozen=True)
class Dense(Layer):
    """n neurons that all take part in every sample. As the last layer: the full softmax or full binary loss."""

    n: int
    activation: str = "identity"

    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        self._check_size("n", self.n)
        self._check_activation(self.activation)


@dataclass(frozen=True)
class Sampled(Layer):
    """n neurons of which n_active take part in a sample (SLIDE, section 3).

    The active set is the sample's labels (in the last layer), the neurons that the tables return (by default those
    that share most buckets with the input), and n_random drawn uniformly from the rest. Where labels or tables give
    fewer, the uniform part is larger.

    Parameters
    ----------
    n : int
        Neurons.
    lsh : HashFamily or None
        The tables; None draws the whole active set uniformly (sampled softmax).
    n_active : int
        Size of the active set, labels and uniform part included. With n or more, every neuron is active.
    n_random : int
        Its uniform part at least.
    activation : {"identity", "relu", "tanh"}
        Ignored in the last layer, whose outputs are logits.
    query : {"input", "label"}
        What training asks the tables with: the vector that enters the layer, or the row of one of the sample's labels
        at random, for negatives that are like it (Daghaghi et al., ICML 2021). "label" is for the last layer and for
        tables that hash neurons; samples without a label, and prediction, ask with the input.
    """

    n: int
    lsh: HashFamily | None = field(default_factory=QueryCells)
    n_active: int = 512
    n_random: int = 64
    activation: str = "identity"
    query: str = "input"

    kind: ClassVar[str] = "sampled"

    def __post_init__(self) -> None:
        self._check_size("n", self.n)
        self._check_size("n_active", self.n_active)
        self._check_activation(self.activation)
        require(0 <= whole(self.n_random) <= self.n_active, "Sampled(n_random=)", self.n_random, "0 to n_active")
        if self.lsh is not None:
            require(isinstance(self.lsh, HashFamily), "Sampled(lsh=)", self.lsh, "a slide.lsh.HashFamily or None")
        require(among(self.query, QUERIES), "Sampled(query=)", self.query, f"one of {QUERIES}")
        hashes_neurons = self.lsh is not None and self.lsh.hashes_neurons
        wanted = f"'input': lsh={self.lsh!r} has no buckets of neurons that are alike"
        require(self.query == "input" or hashes_neurons, "Sampled(query=)", self.query, wanted)


#: Layers by the name under which they are stored.
LAYERS: dict[str, type[Layer]] = {c.kind: c for c in (SparseInput, DenseInput, Dense, Sampled)}
INPUTS = (SparseInput, DenseInput)  # what a network begins with
