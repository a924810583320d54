"""The rows of a shared fit, at a worker: all of them, or the columns of its own features, of rows in blocks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from slide.distributed.training.parts import Numbering
from slide.engine.layout import FloatArray
from slide.engine.protocol import NO_WEIGHTS
from slide.io.fingerprint import fingerprint
from slide.training.source import BlockSource


class Data(Protocol):
    """What training asks of its rows."""

    @property
    def Y(self) -> sp.csr_array:
        """Indicator CSR [n, n_labels], of all labels."""
        ...

    @property
    def weights(self) -> FloatArray:
        """[n], or empty."""
        ...

    @property
    def X(self) -> sp.csr_array:
        """float32 CSR [n, n_features], of all features, which only the sparse part needs."""
        ...

    def columns(self, numbering: Numbering, first: int, end: int) -> sp.csr_array:
        """Those of X that have new numbers first to end - 1, numbered from 0."""
        ...

    def digest(self) -> dict[str, str]:
        """What is the same for the same rows."""
        ...


@dataclass(frozen=True)
class TrainingData:
    """All rows: see Data."""

    X: sp.csr_array
    Y: sp.csr_array
    weights: FloatArray = field(default_factory=lambda: NO_WEIGHTS)

    def columns(self, numbering: Numbering, first: int, end: int) -> sp.csr_array:
        """See Data."""
        return numbering.columns(self.X, first, end)

    def digest(self) -> dict[str, str]:
        """See Data."""
        return {"data": fingerprint(self.X, self.Y), "weights": hashlib.sha256(self.weights.tobytes()).hexdigest()}


class OwnBlocks:
    """Rows of which labels and weights are here; blocks are read again for each range of features that is asked for."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        hashed, labels, weights = hashlib.sha256(), [], []
        for rows in source.again():
            hashed.update(fingerprint(rows.X, rows.Y).encode())
            labels.append(rows.Y)
            weights.append(rows.weights)
        self.Y, self.weights = sp.vstack(labels, format="csr"), _weights_of(labels, weights)
        self._digest = {"data": hashed.hexdigest(), "weights": hashlib.sha256(self.weights.tobytes()).hexdigest()}

    @property
    def X(self) -> sp.csr_array:
        """Nobody has it."""
        raise AssertionError("the rows of all features are nowhere")

    def columns(self, numbering: Numbering, first: int, end: int) -> sp.csr_array:
        """See Data."""
        found = sp.vstack([numbering.columns(rows.X, first, end) for rows in self._source.again()], format="csr")
        if found.shape[0] != self.Y.shape[0]:
            raise ValueError(f"blocks: found {found.shape[0]:,} rows in a later pass, wanted {self.Y.shape[0]:,}")
        return found

    def digest(self) -> dict[str, str]:
        """See Data."""
        return self._digest


@dataclass(frozen=True)
class BlockData:
    """What workers are told of rows that come in blocks: where they read them."""

    source: BlockSource

    def at_worker(self, needs_all: bool) -> Data:
        """The rows, all in memory where the sparse part needs all features; else those of own features will be."""
        if not needs_all:
            return OwnBlocks(self.source)
        rows = list(self.source.again())
        X, Y = (sp.vstack([getattr(one, name) for one in rows], format="csr") for name in ("X", "Y"))
        return TrainingData(X, Y, _weights_of([one.Y for one in rows], [one.weights for one in rows]))


def _weights_of(labels: list[sp.csr_array], weights: list[FloatArray | None]) -> FloatArray:
    """Of all rows; empty where every row counts once."""
    if all(one is None for one in weights):
        return NO_WEIGHTS
    ones = (np.ones(Y.shape[0], np.float32) if w is None else w for Y, w in zip(labels, weights, strict=True))
    return np.concatenate(list(ones))
