"""A last layer whose rows are in a file: what LayerState says of rows in memory, said of these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.engine.bfloat16 import to_float32
from slide.engine.layout import BIAS, ROW_SCALARS, FloatArray, IntArray
from slide.engine.memory import require_memory
from slide.engine.state import LayerState
from slide.model.store.rows import RowStore


@dataclass
class StoredLayer(LayerState):
    """A layer of which `rows` has those that are cached, under the numbers in `slots`.

    filling_bytes : that the lists of its cells may take while they are filled
    """

    store: RowStore = field(kw_only=True)
    filling_bytes: int = field(kw_only=True)

    @classmethod
    def over(cls, state: LayerState, store: RowStore, filling_bytes: int) -> StoredLayer:
        """The layer with its rows in a store, as they are there."""
        options = {name: getattr(state, name) for name in LayerState.__dataclass_fields__}
        return cls(**options | {"rows": store.arena, "slots": store.slots}, store=store, filling_bytes=filling_bytes)

    @property
    def n_rows(self) -> int:
        return self.store.shape[0]

    @property
    def n_bytes(self) -> int:
        return self.store.shape[0] * self.store.row_bytes

    @property
    def held(self) -> tuple[npt.NDArray[Any], ...]:
        return self.rows, self.slots

    def shrink(self, n_slots: int, filling_bytes: int) -> None:
        """Takes less memory from now on: engines are to be made anew."""
        self.store.shrink(n_slots)
        self.rows, self.filling_bytes = self.store.arena, filling_bytes

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"rows": self.store.whole()}

    def part(self, rows: npt.NDArray[Any]) -> LayerState:
        """A plain layer of some of the rows."""
        options = {name: getattr(self, name) for name in LayerState.__dataclass_fields__}
        plain = {"slots": np.empty(0, np.int32), "lsh": None, "kind": "dense", "n_active": 0, "n_random": 0}
        return LayerState(**options | plain | {"rows": rows, "n": len(rows)})

    def parts(self) -> Iterator[tuple[int, LayerState]]:
        """All rows as they are now, in pairs of the first one's number and a layer of it and those that follow."""
        return ((first, self.part(rows)) for first, rows in self.store.parts())

    def weights_of(self, rows: Any) -> FloatArray:
        """[n, width], a copy."""
        some: FloatArray = self.store.read(rows)[:, : self.width]
        return to_float32(some) if self.is_bf16 else some

    def top(self, queries: FloatArray, k: int) -> IntArray:
        """int32 [m, k]: the neurons with the k largest logits for each query, best first."""
        best = BestOf(len(queries), min(k, self.n))
        with self.store.lock:
            for first, part in self.parts():
                logits = queries @ part.weights.T + part.biases
                ids = np.argpartition(-logits, min(k, part.n) - 1, axis=1)[:, :k].astype(np.int32)
                best.offer(ids + np.int32(first), np.take_along_axis(logits, ids, 1))
        return best.ids

    @property
    def row_scalars(self) -> FloatArray:
        """[n, 16] float32, a copy."""
        scalars = ROW_SCALARS * 4 // self.store.dtype.itemsize
        require_memory(self.n * ROW_SCALARS * 4, "the scalars of all rows need")
        with self.store.lock:
            found = [np.array(rows[:, rows.shape[1] - scalars :].view(np.float32)) for _, rows in self.store.parts()]
        return np.concatenate(found)

    @property
    def biases(self) -> FloatArray:
        """[n], a copy."""
        with self.store.lock:
            return np.concatenate([np.array(part.row_scalars[:, BIAS]) for _, part in self.parts()])


class BestOf:
    """The best k of what is offered for each of n rows, best first; of equals those of the lower id."""

    def __init__(self, n: int, k: int) -> None:
        self.ids = np.full((n, k), -1, np.int32)
        self.scores = np.full((n, k), -np.inf, np.float32)

    def offer(self, ids: IntArray, scores: FloatArray) -> None:
        """[n, m] of each; ids of -1 are none."""
        k = self.ids.shape[1]
        all_ids, all_scores = np.concatenate([self.ids, ids], 1), np.concatenate([self.scores, scores], 1)
        order = np.lexsort((np.where(all_ids < 0, np.iinfo(np.int32).max, all_ids), -all_scores), axis=1)[:, :k]
        self.ids, self.scores = np.take_along_axis(all_ids, order, 1), np.take_along_axis(all_scores, order, 1)
