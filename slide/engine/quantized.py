"""Arrays of models that only predict: weights of 8 bits, which kernels multiply as they are (csrc/kernels/).

How they are made is in slide/model/quantize.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine.layout import BIAS, ROW_SCALARS, FloatArray
from slide.engine.memory import allocate
from slide.engine.state import LayerState, PairState, WideState

QWeights = npt.NDArray[np.int8]


@dataclass
class CompressedLayer(LayerState):
    """A layer of qweights int8 [n_rows, padded], scales and bias_values float32 [n_rows]; rows is empty."""

    qweights: QWeights = field(default_factory=lambda: np.empty((0, 0), np.int8))
    scales: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    bias_values: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))

    @property
    def is_compressed(self) -> bool:
        return True

    @property
    def n_rows(self) -> int:
        return len(self.qweights)

    @property
    def n_bytes(self) -> int:
        return self.qweights.nbytes + self.scales.nbytes + self.bias_values.nbytes

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"codes": self.qweights, "scales": self.scales, "biases": self.bias_values}

    def weights_of(self, rows: Any) -> FloatArray:
        """float32 [n, width], made at each call."""
        return expanded(self.qweights[rows, : self.width], self.scales[rows])

    @property
    def biases(self) -> FloatArray:
        """float32 [n]."""
        if self.kind not in ("sparse_input", "dense_input"):
            return self.bias_values
        return self.weights_of(slice(self.fan_in, None))[0] if self.bias else np.zeros(self.n, np.float32)

    def dequantized(self) -> LayerState:
        """The layer with rows of floats, for an engine that knows no quantised weights."""
        rows = allocate((len(self.qweights), self.padded + ROW_SCALARS), np.float32, "the rows of an expanded layer")
        rows[:, : self.padded] = expanded(self.qweights, self.scales)
        rows[:, self.padded + BIAS] = self.bias_values
        options = {name: getattr(self, name) for name in LayerState.__dataclass_fields__}
        return LayerState(**options | {"rows": rows})


@dataclass
class CompressedPairs(PairState):
    """Pairs that only predict: qweights int8 with one scale a feature, and labels uint16 where there are no more than
    65,536 of them."""

    STORED: ClassVar[tuple[str, ...]] = ("scales", "bias", "labels", "indptr")

    qweights: QWeights
    scales: FloatArray

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"codes": self.qweights} | super().arrays

    @property
    def weights(self) -> FloatArray:
        """float32, made at each call."""
        return self.qweights.astype(np.float32) * np.repeat(self.scales, np.diff(self.indptr))

    def matrix(self) -> sp.csr_array:
        """The weights as a sparse [n_features, n_labels] matrix."""
        return self.dequantized().matrix()

    def dequantized(self) -> WideState:
        """The pairs with weights of floats, for an engine that knows no quantised weights."""
        shared = {f.name: getattr(self, f.name) for f in fields(PairState)}
        return WideState(**shared | {"labels": self.labels.astype(np.int32), "weights": self.weights})


def expanded(qweights: QWeights, scales: FloatArray) -> FloatArray:
    """float32, of the shape of qweights; of one row, too, with its scale."""
    return qweights.astype(np.float32) * scales[..., None]
