"""Why a label scored as it did: what each feature of a sample added to the score.

The sparse linear part and a network without non-linear activations are sums over features, so their shares are exact.
Where there are activations, the network's shares are its gradient times the input (Baehrens et al., JMLR 2010, section
2), and what they leave unexplained is counted to the rest, so that everything always adds up to the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine.layout import FloatArray, IntArray
from slide.engine.state import LayerState
from slide.inference.scores import all_scores
from slide.model.model import Model
from slide.model.ranker import Ranker


class Part(NamedTuple):
    """What a word of a text added to a score, or a pair of words; and the character pieces that it is the sum of.

    pieces : what each of them added, the strongest first
    """

    name: str
    contribution: float
    pieces: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Explanation:
    """A label's score for one sample: ``score == contributions.sum() + rest``.

    Attributes
    ----------
    label : int
    score : float
        As ``predict_topk`` returns it.
    features : int32 [n]
        The sample's features, from the one that spoke most for the label to the one that spoke most against it.
    contributions : float32 [n]
        What each added to the score.
    wide : float32 [n]
        The part of a contribution that comes from the sparse linear part.
    rest : float
        What no feature added: `base`, and what activations add that no single feature explains.
    names : sequence of str or mapping, or None
        What the model's features are called, by column.
    label_name : object
        What the label is called; its number where it has no name.
    base : float
        What the label scores where a row has no feature at all: the less, the rarer it is.
    parts : sequence of Part, or None
        Of a text: what its words and pairs of words added, best first; they add up as `contributions` do.
    """

    label: int
    score: float
    features: IntArray
    contributions: FloatArray
    wide: FloatArray
    rest: float
    names: Sequence[str] | Mapping[int, str] | None = None
    label_name: object = None
    base: float = 0.0
    parts: Sequence[Part] | None = None

    def __str__(self) -> str:
        values, n = self._shown
        shown = [*range(min(5, n))]
        shown += [i for i in range(max(n - 3, 0), n) if i not in shown]
        lines = [f"  {values[i]:+8.3f}  {self._called(i)}" for i in shown]
        if len(shown) < n:
            lines.insert(5, f"            ({n - len(shown)} more)")
        lines.append(f"  {self.base:+8.3f}  without any feature")
        if abs(self.rest - self.base) >= 0.0005:
            lines.append(f"  {self.rest - self.base:+8.3f}  rest")
        label = self.label if self.label_name is None else self.label_name
        return "\n".join([f"label {label} scores {self.score:.3f}", *lines])

    @property
    def _shown(self) -> tuple[Sequence[float], int]:
        """What is printed, best first: words of a text, else features."""
        values = self.contributions.tolist() if self.parts is None else [part.contribution for part in self.parts]
        return values, len(values)

    def _called(self, i: int) -> str:
        if self.parts is not None:
            part = self.parts[i]
            return part.name + (f"  ({', '.join(name for name, _ in part.pieces[:3])})" if part.pieces else "")
        feature = int(self.features[i])
        return f"feature {feature}" if self.names is None else self.names[feature]


def explain(net: Model, x: sp.csr_array, label: int) -> Explanation:
    """Takes apart the score of one label for the one row x [1, n_features]."""
    features, values = x.indices.astype(np.int32), x.data.astype(np.float64)
    logit, gradient = _logit_and_gradient(net.states, features, values, label)
    share = 1.0 if net.wide_state is None else net.wide_state.deep_share
    deep = share * values * gradient
    wide, score = np.zeros(len(features)), share * logit
    if net.ranker is not None:
        return _explain_ranked(net, net.ranker, x, label, deep)
    base = share * _logit_and_gradient(net.states, features[:0], values[:0], label)[0]
    if net.wide_state is not None:
        wide, bias = values * _wide_weights(net, features, label), float(net.wide_state.bias[label])
        score, base = score + wide.sum() + bias, base + bias
    return _ordered(label, score, base, features, deep, wide)


def _explain_ranked(
    net: Model, ranker: Ranker, x: sp.csr_array, label: int, deep: npt.NDArray[np.float64]
) -> Explanation:
    """Of log odds: what the curve rises by from a row without features to this one is shared out in proportion."""
    own = ranker.rows.matrix()[[label]].toarray()[0]
    parts = x.data * own[x.indices].astype(np.float64)
    bias = float(ranker.rows.bias[label])
    ends = ranker.at(np.array([bias, bias + parts.sum()]))
    slope = (ends[1] - ends[0]) / parts.sum() if parts.sum() else 0.0
    without = sp.csr_array(x.shape, dtype=x.dtype)
    score, base = all_scores(net, sp.csr_array(sp.vstack([x, without], format="csr")))[:, label].tolist()
    return _ordered(label, score, base, x.indices.astype(np.int32), ranker.logit_share * deep, slope * parts)


def _ordered(
    label: int,
    score: float,
    base: float,
    features: IntArray,
    deep: npt.NDArray[np.float64],
    wide: npt.NDArray[np.float64],
) -> Explanation:
    """Largest contributions first."""
    total = deep + wide
    order = np.argsort(-total, kind="stable")
    return Explanation(
        label=label,
        score=float(score),
        features=features[order],
        contributions=total[order].astype(np.float32),
        wide=wide[order].astype(np.float32),
        rest=float(score - total.sum()),
        base=float(base),
    )


def _wide_weights(net: Model, features: IntArray, label: int) -> npt.NDArray[np.float64]:
    """The weight of each (feature, label) pair; 0 where it has none."""
    state = net.wide_state
    assert state is not None
    weights = np.zeros(len(features))
    for i, f in enumerate(features):
        first, last = state.indptr[f], state.indptr[f + 1]
        at = first + np.searchsorted(state.labels[first:last], label)
        if at < last and state.labels[at] == label:
            weights[i] = state.weights[at]
    return weights


def _logit_and_gradient(
    states: list[LayerState], features: IntArray, values: npt.NDArray[np.float64], label: int
) -> tuple[float, npt.NDArray[np.float64]]:
    """The network's logit, and its gradient by those features; every neuron takes part."""
    first = states[0]
    sums = np.zeros(first.n)
    if first.kind == "dense_input":
        sums[features] = values
    else:
        sums = values @ first.weights_of(features) + first.biases
    slopes = []
    for state, above in pairwise(states):
        out, slope = _activate(state.activation, sums)
        slopes.append(slope)
        if above is not states[-1]:
            sums = above.weights @ out + above.biases
    last = states[-1]
    logit = float(last.weights_of(label) @ out + last.biases[label])
    gradient = last.weights_of(label) * slopes[-1]
    for state, slope in zip(states[-2:0:-1], slopes[-2::-1], strict=True):
        gradient = (gradient @ state.weights) * slope
    if first.kind == "dense_input":
        return logit, gradient[features].astype(np.float64)
    return logit, first.weights_of(features).astype(np.float64) @ gradient


def _activate(
    activation: str, sums: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Outputs and slopes."""
    if activation == "relu":
        return np.maximum(sums, 0), (sums > 0).astype(np.float64)
    if activation == "tanh":
        return np.tanh(sums), 1 - np.tanh(sums) ** 2
    return sums, np.ones_like(sums)
