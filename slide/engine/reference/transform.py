"""What is hashed of neurons and queries: frame, then coordinates that angles or distances see. As csrc/lsh/transform.c.

Sums are of exact products, in double and in order; results are rounded to float32 before they meet another operation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.layout import BIAS, KINDS, L2_ALSH_TERMS, ROW_SCALARS
from slide.engine.reference.jit import kernel

NORM_AUGMENTED, SIGN_ALSH, L2_ALSH = KINDS["norm-augmented"], KINDS["sign-alsh"], KINDS["l2-alsh"]
HALF = np.float32(0.5)


@kernel
def _centre_neuron(centre: Any, n: Any, x: Any) -> None:
    """The frame is {centre of the weights, of the biases, centre of the queries, scale f of the bias}.

    A neuron becomes {w - centre, (b - its centre + (w - centre) . query centre) / f}, a query {x - query centre, f}:
    their inner product differs from w . x + b by a constant for each query.
    """
    query_centre = centre[n + 1 :]
    last = np.float64(x[n]) - np.float64(centre[n])
    for d in range(n):
        x[d] -= centre[d]
        last += np.float64(x[d]) * np.float64(query_centre[d])
    x[n] = last / np.float64(query_centre[n])


@kernel
def _square_norm(x: Any) -> Any:
    total = 0.0
    for value in x:
        total += np.float64(value) * np.float64(value)
    return total


@kernel
def _augment(norms: Any, n: Any, x: Any) -> None:
    """sqrt(M^2 - |w|^2), M the largest norm of its group (Neyshabur & Srebro, ICML 2015; Yan et al., NeurIPS 2018)."""
    square, group = _square_norm(x[:n]), 0
    while group < len(norms) - 1 and square > np.float64(norms[group]) ** 2:
        group += 1
    x[n] = math.sqrt(max(np.float64(norms[group]) ** 2 - square, 0.0))


@kernel
def _sign_alsh(norms: Any, n: Any, x: Any) -> None:
    """1/2 - |w|^2 and 1/2 - |w|^4 of weights that were made short (Shrivastava & Li, UAI 2015)."""
    for d in range(n):
        x[d] /= norms[0]
    square = np.float32(_square_norm(x[:n]))
    fourth = np.float32(np.float64(square) * np.float64(square))
    x[n] = HALF - square
    x[n + 1] = HALF - fourth


@kernel
def _l2_alsh_neuron(norms: Any, n: Any, x: Any) -> None:
    """|w|^2, |w|^4 and |w|^8 of weights that were made short, of length 1 at most (Shrivastava & Li, NIPS 2014)."""
    for d in range(n):
        x[d] /= norms[0]
    power = np.float32(_square_norm(x[:n]))
    if power > 1:
        power = np.float32(1)
    for term in range(L2_ALSH_TERMS):
        x[n + term] = power
        power = np.float32(np.float64(power) * np.float64(power))


@kernel
def _l2_alsh_query(n: Any, query: Any) -> None:
    """A query of length 1, with 1/2 for each term."""
    length = np.float32(math.sqrt(_square_norm(query[:n])))
    if length > 0:
        for d in range(n):
            query[d] /= length
    query[n:] = HALF


@kernel
def neuron_vector(layer: Any, neuron: Any, x: Any) -> None:
    """x = the neuron's weights and bias as they are hashed."""
    row, n, lsh = layer.rows[neuron], layer.fan_in, layer.lsh
    x[:n] = row[:n]
    x[n] = row[layer.rows.shape[1] - ROW_SCALARS + BIAS]
    if len(lsh.centre) > 0:
        _centre_neuron(lsh.centre, n, x)
    if lsh.transform == NORM_AUGMENTED:
        _augment(lsh.norms, n + 1, x)
    elif lsh.transform == SIGN_ALSH:
        _sign_alsh(lsh.norms, n + 1, x)
    elif lsh.transform == L2_ALSH:
        _l2_alsh_neuron(lsh.norms, n + 1, x)


@kernel
def query_vector(layer: Any, x: Any, query: Any) -> None:
    """query = the vector that enters the layer as it is hashed; the bias meets a 1, what is appended mostly a 0."""
    n, centre = layer.fan_in, layer.lsh.centre
    query[:] = 0
    for i in range(len(x.val)):
        query[x.ids[i] if x.sparse else i] = x.val[i]
    query[n] = 1
    if len(centre) > 0:
        for d in range(n):
            query[d] -= centre[n + 1 + d]
        query[n] = centre[2 * n + 1]
    if layer.lsh.transform == L2_ALSH:
        _l2_alsh_query(n + 1, query)
