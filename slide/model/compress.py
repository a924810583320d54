"""Compresses a model: the same network with weights of 8 bits, which only predicts."""

from __future__ import annotations

from slide.model.model import Model
from slide.model.quantize import layer_arrays, pair_arrays
from slide.model.snapshot import Snapshot


def quantized(model: Model) -> Snapshot:
    """A snapshot with weights of 8 bits; tables stay as they are."""
    with model.lock:
        whole = model.snapshot(tables=True)
        arrays = {k: a for k, a in whole.arrays.items() if not k.endswith((".rows", ".homes"))}
        for i, s in enumerate(model.states):
            arrays |= {f"layer{i}.{name}": a for name, a in layer_arrays(s).items()}
        if model.wide_state is not None:
            arrays = {k: a for k, a in arrays.items() if not k.startswith("wide.")}
            arrays |= {f"wide.{name}": a for name, a in pair_arrays(model.wide_state).items()}
        if model.ranker is not None:
            arrays = {k: a for k, a in arrays.items() if not k.startswith("rank.")}
            arrays |= {f"rank.{name}": a for name, a in model.ranker.compressed().arrays.items()}
        return Snapshot(whole.config, arrays).placed()
