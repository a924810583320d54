"""A Snapshot: what a model is at one moment, as JSON values and named arrays.

It is the one value that is saved, resumed from, pickled, compressed, resized and brought back as the best model of a
fit. slide/model/model.py takes and restores it; slide/io/model_file.py writes and reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine import memory
from slide.layers import LAYERS, Layer, Sampled
from slide.lsh import FAMILIES, HashFamily
from slide.model.pairs import Wide
from slide.model.store.files import FileRows
from slide.optim import OPTIMIZERS, Optimizer, Rebuild

Array = npt.NDArray[Any]
#: What can be filled anew from the weights.
TABLE_ARRAYS = ("slots", "signs", "positions", "frame")


@dataclass(frozen=True)
class Snapshot:
    """A model at one moment.

    Attributes
    ----------
    config : dict of JSON values
        Layers, options and progress.
    arrays : dict of arrays by name
        Rows first, as they lie in a file: ``layer0.rows``, ..., ``wide.weights``. They may share the model's memory.
    """

    config: dict[str, Any]
    arrays: dict[str, Array]

    def placed(self) -> Snapshot:
        """A copy whose arrays lie where kernels want them."""
        placed: dict[str, Array] = {}
        for name, array in self.arrays.items():
            placed[name] = array
            if not isinstance(array, FileRows):  # which a model copies into a file of its own
                placed[name] = memory.allocate(array.shape, array.dtype, "the arrays of a network")
                placed[name][...] = array
        return Snapshot(self.config, placed)

    def copied(self) -> Snapshot:
        """With arrays of its own, so that it stays what it is while the model goes on."""
        copies = {name: a.detached() if isinstance(a, FileRows) else a.copy() for name, a in self.arrays.items()}
        return Snapshot(self.config, copies)

    def without(self, *prefixes: str) -> dict[str, Array]:
        """The arrays but for those whose names begin so."""
        return {name: a for name, a in self.arrays.items() if not name.startswith(prefixes)}

    def own_families(self) -> list[dict[str, Any]]:
        """The options of hash families of the user's own, whose code is not in a snapshot."""
        families = [layer["lsh"] for layer in self.config["layers"] if layer.get("lsh")]
        return [family for family in families if family["kind"] == "custom"]


def families(layers: Sequence[Layer]) -> list[tuple[int, HashFamily]]:
    """Numbers and hash families of the layers with tables."""
    return [(i, layer.lsh) for i, layer in enumerate(layers) if isinstance(layer, Sampled) and layer.lsh is not None]


def check_storable(layers: Sequence[Layer], wide: Any, optimizer: Any, rebuild: Any) -> None:
    """Refuses what a file could not bring back: it holds options and the names of their classes, and no code.

    Raises
    ------
    ValueError
        Naming the option: a class of the user's own, but for one hash family.
    """
    classes: dict[str, tuple[Any, tuple[type, ...]]] = {
        "optimizer": (optimizer, tuple(OPTIMIZERS.values())),
        "rebuild": (rebuild, (Rebuild,)),
        "wide": (wide, (Wide, type(None))),
        **{f"layers[{i}]": (layer, tuple(LAYERS.values())) for i, layer in enumerate(layers)},
        **{f"layers[{i}].lsh": (f, (*FAMILIES.values(), HashFamily)) for i, f in families(layers) if not f.is_custom},
    }
    for name, (value, known) in classes.items():
        wanted = " or ".join(
            "None" if kind is type(None) else kind.__name__ for kind in known if kind is not HashFamily
        )
        require(type(value) in known, name, value, f"{wanted} itself: a model file holds no code")
    own = [family for _, family in families(layers) if family.is_custom]
    require(all(f == own[0] for f in own), "lsh", own, "one hash family of your own: slide.load takes no more")
    try:
        json.dumps([family_config(family) for family in own], default=as_json)
    except (TypeError, ValueError) as e:
        wanted = "options that JSON has: numbers, strings, lists"
        raise ValueError(f"lsh: found {own[0]!r}, which a model file cannot hold ({e}), wanted {wanted}") from None


def model_config(model: Any) -> dict[str, Any]:
    """Layers, options and progress as JSON values, under the names that files have for them."""
    return {
        "layers": [layer_config(layer) for layer in model.layers],
        "wide": asdict(model.wide) if model.wide is not None else None,
        "optimizer": {"name": type(model.optimizer).__name__, **asdict(model.optimizer)},
        "rebuild": asdict(model.rebuild),
        "loss": model.loss,
        "batch_size": model.batch_size,
        "storage": model.storage,
        "seed": model.seed,
        "progress": {
            "step": model.step,
            "epoch": model.epoch,
            "generation": model.n_rebuilds,
            "next_rebuild": model.next_rebuild,
            "tables_step": model.tables_built_at,
            "followed": model.followed_at,
        },
    }


def layer_config(layer: Layer) -> dict[str, Any]:
    """A layer as JSON values."""
    options = {name: getattr(layer, name) for name in layer.__dataclass_fields__}
    config: dict[str, Any] = {"kind": layer.kind, **options}
    if isinstance(layer, Sampled) and layer.lsh is not None:
        config["lsh"] = family_config(layer.lsh)
    return config


def layer_from(config: Mapping[str, Any], own: HashFamily | None) -> Any:
    """The layer again; own takes the place of a hash family of the user's own."""
    options = dict(config)
    kind = options.pop("kind")
    if options.get("lsh") is not None:
        family = {"centred": False, **options["lsh"]}  # the first files do not say, when there was no other
        stored_kind = family.pop("kind")
        options["lsh"] = own if stored_kind == "custom" else FAMILIES[stored_kind](**family)
    return LAYERS[kind](**options)


def family_config(family: HashFamily) -> dict[str, Any]:
    """A family of the user's own is stored by the name of its class, for comparison: no file names code to run."""
    kind = {"kind": "custom", "name": type(family).__name__} if family.is_custom else {"kind": family.kind}
    return {**kind, **asdict(family)}


def optimizer_from(config: Mapping[str, Any]) -> Optimizer:
    """The optimizer again."""
    options = dict(config)
    return OPTIMIZERS[options.pop("name")](**options)


def wide_from(config: Mapping[str, Any] | None) -> Wide | None:
    """The options of the sparse part again."""
    return Wide(**config) if config is not None else None


def as_json(value: Any) -> Any:
    """For json.dumps(default=): NumPy scalars and options."""
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"cannot store {value!r} in a model file")
