"""Model files: one safetensors file, written whole to a temporary name and renamed; no pickle, nothing is executed.

Layout: the public safetensors format (8 bytes of header length, JSON header, arrays back to back). The header's
``__metadata__`` holds under "slide" a JSON object (format version, layers, options, training state, a BLAKE2b checksum
of each array) and a checksum of that object. Rows come first and start on 64-byte boundaries, so the file can be mapped
into memory as it is. Tables are stored only where they are older than the weights; else they are rebuilt on loading.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from slide.atomic import replacing
from slide.backends import resolve_backend
from slide.compressed import layer_arrays, pair_arrays
from slide.errors import ModelFormatError
from slide.layers import LAYERS, Sampled
from slide.lsh import FAMILIES, HashFamily, require
from slide.model_check import DTYPES, check_config, check_cost, check_entries, open_regular
from slide.network import Network
from slide.optim import OPTIMIZERS, Rebuild
from slide.threads import resolve_threads
from slide.wide import Wide

if TYPE_CHECKING:
    from slide.classifier import SlideClassifier

FORMAT_VERSION = 2  # 2: compressed models, and those of bfloat16
MAX_HEADER = 1 << 26
ALIGNMENT = 64  # of arrays that are mapped: kernels load whole vectors of them
DTYPE_NAMES = {np.dtype(v): k for k, v in DTYPES.items()}

Array = npt.NDArray[Any]


# -- what a network becomes --------------------------------------------------------------------------------------------


def network_arrays(net: Network, tables: bool = False) -> dict[str, Array]:
    """Every array of a network by name, rows first; tables: also what can be filled anew, as it is."""
    arrays: dict[str, Array] = {}
    for i, s in enumerate(net.states):
        arrays |= {f"layer{i}.{name}": a for name, a in s.arrays.items()}
    for i, s in enumerate(net.states):
        if s.lsh is None:
            continue
        arrays[f"layer{i}.positions"] = s.lsh.positions
        arrays[f"layer{i}.frame"] = s.lsh.frame
        arrays[f"layer{i}.signs"] = s.lsh.directions if s.lsh.is_learned else s.lsh.directions.astype(np.int8)
        if tables or net.is_compressed or net.tables_step != net.step:
            arrays[f"layer{i}.slots"] = s.lsh.slots
        if tables and s.lsh.homes.size:
            arrays[f"layer{i}.homes"] = s.lsh.homes
    if net.wide_state is not None:
        arrays |= {f"wide.{name}": a for name, a in net.wide_state.arrays.items()}
    if net.leaves is not None:
        arrays |= {f"leaves.{name}": a for name, a in net.leaves.arrays.items()}
    return arrays


def network_config(net: Network) -> dict[str, Any]:
    """Everything else of a network as JSON values."""
    return {
        "layers": [_layer_config(layer) for layer in net.layers],
        "wide": asdict(net.wide) if net.wide is not None else None,
        "optimizer": {"name": type(net.optimizer).__name__, **asdict(net.optimizer)},
        "rebuild": asdict(net.rebuild),
        "loss": net.loss,
        "batch_size": net.batch_size,
        "storage": net.storage,
        "seed": net.seed,
        "progress": {
            "step": net.step,
            "epoch": net.epoch,
            "generation": net.generation,
            "next_rebuild": net.next_rebuild,
            "tables_step": net.tables_step,
        },
    }


def _layer_config(layer: Any) -> dict[str, Any]:
    config: dict[str, Any] = {"kind": layer.kind, **{k: getattr(layer, k) for k in layer.__dataclass_fields__}}
    if isinstance(layer, Sampled) and layer.lsh is not None:
        config["lsh"] = _family_config(layer.lsh)
    return config


def _family_config(family: HashFamily) -> dict[str, Any]:
    """A family of the user's own is stored by the name of its class, for comparison: no file names code to run."""
    kind = {"kind": "custom", "name": type(family).__name__} if family.is_custom else {"kind": family.kind}
    return {**kind, **asdict(family)}


def _layer_from(config: Mapping[str, Any], own: HashFamily | None) -> Any:
    options = dict(config)
    kind = options.pop("kind")
    if options.get("lsh") is not None:
        family = dict(options["lsh"])
        stored_kind = family.pop("kind")
        options["lsh"] = own if stored_kind == "custom" else FAMILIES[stored_kind](**family)
    return LAYERS[kind](**options)


def _own_families(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    families = [layer["lsh"] for layer in config["network"]["layers"] if layer.get("lsh")]
    return [family for family in families if family["kind"] == "custom"]


def _check_family(stored: list[dict[str, Any]], own: HashFamily | None, path: Any) -> None:
    """A family of the user's own must be handed over, with the options that it had."""
    if not stored:
        require(own is None, "load(lsh=)", own, f"None: {path} holds no hash family of your own")
    given = json.loads(json.dumps(_family_config(own), default=_plain)) if own is not None else None
    for family in stored:
        options = ", ".join(f"{k}={v!r}" for k, v in family.items() if k not in ("kind", "name"))
        wanted = f"{family.get('name')}({options}), which {path} was saved with: a model file holds no code"
        require(given == family, "load(lsh=)", own, wanted)


def network_from(
    config: Mapping[str, Any],
    arrays: dict[str, Array],
    n_threads: int | None,
    backend: str | None,
    lsh: HashFamily | None = None,
) -> Network:
    """The network again."""
    optimizer = dict(config["optimizer"])
    progress = config["progress"]
    net = Network(
        [_layer_from(c, lsh) for c in config["layers"]],
        wide=Wide(**config["wide"]) if config["wide"] is not None else None,
        optimizer=OPTIMIZERS[optimizer.pop("name")](**optimizer),
        rebuild=Rebuild(**config["rebuild"]),
        loss=config["loss"],
        batch_size=config.get("batch_size"),
        storage=config.get("storage", "float32"),
        seed=config["seed"],
        n_threads=n_threads,
        backend=backend,
        arrays=arrays,
    )
    net.step, net.epoch = progress["step"], progress["epoch"]
    net.next_rebuild, net.tables_step = progress["next_rebuild"], progress["tables_step"]
    net.generation = progress["generation"]
    if net.generation and net.tables_step == net.step and not any(name.endswith(".slots") for name in arrays):
        net.generation -= 1
        net.rebuild_tables()
    return net


def network_again(
    config: Mapping[str, Any], arrays: Mapping[str, Array], n_threads: int | None, backend: str | None
) -> Network:
    """`network_from` with arrays that lie anywhere, as a pickle leaves them."""
    return network_from(config, _placed(arrays), n_threads, backend)


def restore(net: Network, config: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Turns a network back into what `network_config` and `network_arrays` said of it at an earlier moment."""
    history, earlier = net.history, network_from(config, _placed(arrays), net.n_threads, net.backend, own_family(net))
    vars(net).update(vars(earlier))
    net.history = history


def compressed(net: Network) -> Network:
    """The network with weights of 8 bits, as slide/compressed.py makes them; tables stay as they are."""
    with net.lock:
        arrays = {k: a for k, a in network_arrays(net, tables=True).items() if not k.endswith((".rows", ".homes"))}
        for i, s in enumerate(net.states):
            arrays |= {f"layer{i}.{name}": a for name, a in layer_arrays(s).items()}
        if net.wide_state is not None:
            arrays = {k: a for k, a in arrays.items() if not k.startswith("wide.")}
            arrays |= {f"wide.{name}": a for name, a in pair_arrays(net.wide_state).items()}
        again = network_from(network_config(net), _placed(arrays), net.n_threads, net.backend, own_family(net))
        again.history = net.history
        return again


def own_family(net: Network) -> HashFamily | None:
    """The hash family of the user's own in a network, which files do not hold."""
    from slide.rebuilding import families

    return next((family for _, family in families(net.layers) if family.is_custom), None)


def _placed(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Copies that lie where kernels want them."""
    from slide import backends

    placed = {name: backends.allocate(a.shape, a.dtype, "the arrays of a network") for name, a in arrays.items()}
    for name, array in arrays.items():
        placed[name][...] = array
    return placed


# -- files -------------------------------------------------------------------------------------------------------------


def save_network(
    net: Network,
    path: str | os.PathLike[str],
    extra: Mapping[str, Any] | None = None,
    extra_arrays: Mapping[str, Array] | None = None,
    tables: bool = False,
) -> None:
    """Writes a network, and what a classifier adds to it. The old file survives until the new one is complete.

    tables: also those that loading could fill from the weights.

    Raises
    ------
    OSError
        If the folder is missing, read-only or full; no partial file is left.
    """
    with net.lock:  # another thread may be training it
        everything = network_arrays(net, tables) | dict(extra_arrays or {})
        arrays = {name: np.ascontiguousarray(a) for name, a in everything.items()}
        is_plain = net.storage == "float32" and not net.is_compressed
        config = {
            "format_version": 1 if is_plain else FORMAT_VERSION,  # older readers know what is plain
            "network": network_config(net),
            "checksums": {name: _checksum(a) for name, a in arrays.items()},
            **(extra or {}),
        }
        header = _header(arrays, json.dumps(config, default=_plain))
        with replacing(Path(path)) as file:
            file.write(header)
            for array in arrays.values():
                file.write(_bytes(array))


def load(
    path: str | os.PathLike[str],
    *,
    mmap: bool = False,
    max_bytes: int | None = None,
    n_threads: int | None = None,
    backend: str | None = None,
    lsh: HashFamily | None = None,
) -> SlideClassifier | Network:
    """The classifier or network that was saved: ready to predict and to go on training.

    Parameters
    ----------
    path : path of a file written by ``SlideClassifier.save`` or ``Network.save``
    mmap : bool
        Map the weights instead of reading them: loading is immediate and processes share the pages; training on them
        changes this process's copy only. Checksums of mapped arrays are not verified, and a file that another process
        cuts short ends this one by a bus error: map only files that you wrote.
    max_bytes : int or None
        What tables and hash functions may take: their sizes are claimed by the file, which does not hold them. None: 1
        GiB, and 32 times the file's size.
    n_threads, backend : as in Network
    lsh : HashFamily or None
        The hash family, if it was one of your own (slide.lsh.HashFamily): files hold no code.

    Raises
    ------
    ModelFormatError
        If the file is no model, truncated, altered, of a newer format version, or asks for more than max_bytes.
    MemoryError
        If there is not enough for what it needs; says how much that is.
    ValueError
        If it needs a hash family of your own and lsh is not that one; says which.
    """
    n_threads, backend = resolve_threads(n_threads), resolve_backend(backend)
    config, arrays = read_model(path, mmap=mmap, max_bytes=max_bytes)
    with _header_errors(path):
        stored = _own_families(config)
    _check_family(stored, lsh, path)
    with _header_errors(path):
        net = network_from(config["network"], arrays, n_threads, backend, lsh)
        if "classifier" not in config:
            return net
        return classifier_class(config["classifier"])._restore(net, config["classifier"], arrays)


@contextmanager
def _header_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """What a header says that makes no sense is a ModelFormatError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, RecursionError) as e:
        raise ModelFormatError(f"{path}: the header does not describe a model ({type(e).__name__}: {e})") from e


def classifier_class(config: Mapping[str, Any]) -> type[SlideClassifier]:
    """By the name under which it was stored; those without one are older than the text classifier."""
    kind = config.get("kind", "SlideClassifier")
    if kind == "SlideTextClassifier":
        from slide.text import SlideTextClassifier

        return SlideTextClassifier
    if kind != "SlideClassifier":
        raise ValueError(f"a classifier of kind {kind!r}")
    from slide.classifier import SlideClassifier

    return SlideClassifier


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the header says, without reading the arrays."""
    with open_regular(path) as file:
        config, entries, start = _read_header(file, path)
    sizes = {name: e["data_offsets"][1] - e["data_offsets"][0] for name, e in entries.items()}
    return {**config, "array_bytes": sizes, "file_bytes": start + sum(sizes.values())}


def read_model(
    path: str | os.PathLike[str], *, mmap: bool = False, max_bytes: int | None = None
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The header's JSON object and the arrays, checked against each other and against the checksums."""
    arrays: dict[str, Array] = {}
    with open_regular(path) as file:
        config, entries, start = _read_header(file, path)
        size = start + sum(e["data_offsets"][1] - e["data_offsets"][0] for e in entries.values())
        check_cost(config, entries, size, max_bytes, path)
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
            if mmap and end > begin and (start + begin) % ALIGNMENT == 0:
                arrays[name] = np.memmap(file, dtype, "c", start + begin, shape)
                continue
            arrays[name] = _read_array(file, start + begin, dtype, shape)
            if _checksum(arrays[name]) != config["checksums"][name]:
                raise ModelFormatError(f"{path}: array {name!r} was altered: its checksum does not match")
    return config, arrays


def _read_array(file: BinaryIO, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    from slide import backends

    array = backends.allocate(shape, dtype, "the arrays of a model file")
    file.seek(offset)
    if file.readinto(_bytes(array)) != array.nbytes:  # type: ignore[attr-defined]
        raise ModelFormatError(f"{file.name}: truncated while it was read")
    return array


def _read_header(file: BinaryIO, path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]], int]:
    """The JSON object, the arrays' entries and where the arrays start; every number is checked before it is used."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise ModelFormatError(f"{path}: no slide model (or truncated): the first 8 bytes are no header length")
    try:
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__")
        text = metadata["slide"]
        config = json.loads(text)
        version = config["format_version"]
        checksum = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ModelFormatError(f"{path}: no slide model: its header is not readable") from e
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ModelFormatError(
            f"{path}: found format version {version}, this slide reads up to {FORMAT_VERSION}: upgrade slide-xmc"
        )
    if metadata.get("checksum") != checksum:
        raise ModelFormatError(f"{path}: the header was altered: its checksum does not match")
    start = 8 + length
    check_entries(header, size - start, path)
    check_config(config, header, path)
    return config, header, start


def _header(arrays: Mapping[str, Array], config: str) -> bytes:
    entries: dict[str, Any] = {
        "__metadata__": {
            "format": "slide",
            "slide": config,
            "checksum": hashlib.blake2b(config.encode(), digest_size=16).hexdigest(),
        }
    }
    position = 0
    for name, a in arrays.items():
        span = [position, position + a.nbytes]
        entries[name] = {"dtype": DTYPE_NAMES[a.dtype], "shape": list(a.shape), "data_offsets": span}
        position += a.nbytes
    text = json.dumps(entries).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return struct.pack("<Q", len(text)) + text


def _bytes(array: Array) -> memoryview:
    """An array's bytes without a copy."""
    return array.reshape(-1).view(np.uint8).data


def _checksum(array: Array) -> str:
    return hashlib.blake2b(_bytes(array), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    """JSON for NumPy scalars and options."""
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"cannot store {value!r} in a model file")
