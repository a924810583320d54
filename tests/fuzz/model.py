"""Fuzzes the loader of model files: whatever the bytes, slide.load answers with a model or with ModelFormatError.

    python tests/fuzz/model.py SECONDS [SEED]

Half of the inputs are files with bytes changed, cut or repeated, which stop at a checksum sooner or later. The others
know the format: they change the configuration, the descriptions of arrays and the arrays as JSON values and numbers,
and put checksums over the result that match. A model that loads must predict within its labels. Runs in a process with
a bounded address space, so that an allocation which a file should not be able to ask for is a failure too.
"""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from forgery import entries_of, put_together, seal, take_apart

import slide

ADDRESS_SPACE = 4 << 30
VALUES: list[Any] = [
    *(0, 1, -1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 255, 2**31 - 1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30),
    *(
        0.0,
        -0.0,
        0.5,
        1e-300,
        1e308,
        float("nan"),
        float("inf"),
        True,
        False,
        None,
        "",
        "x",
        "simhash",
        "dwta",
        "sampled",
    ),
    *([], [[]], {}, [1, 2], {"kind": "wta"}),
]


def seeds() -> list[bytes]:
    """Small models of every make: tables stored, other hash families and optimizers, a network without a classifier."""
    X, Y = slide.datasets.synthetic(40, 20, 30, nnz=4, labels_per_row=2)
    found = []
    for lsh, optimizer in (
        (slide.SimHash(K=2, L=2, capacity=3), slide.SGD(0.1)),
        (slide.DWTA(K=1, L=2, capacity=3), slide.Adam()),
        (slide.WTA(K=1, L=2, capacity=3), slide.Adagrad(0.1, per_row=False)),
        (None, None),
    ):
        layers = [slide.SparseInput(20, 8), slide.Sampled(30, lsh=lsh, n_active=9, n_random=2)]
        net = slide.Network(layers, wide=slide.Wide(), optimizer=optimizer, n_threads=1).fit(X, Y)
        net.tables_built_at -= 1
        clf = slide.SlideClassifier((8,), epochs=1, lsh=lsh, optimizer=optimizer, n_threads=1).fit(X, Y)
        with tempfile.TemporaryDirectory() as folder:
            for model in (net, clf):
                model.save(Path(folder, "seed"))
                found.append(Path(folder, "seed").read_bytes())
    return found


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at, n = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 8, 100))
        match rng.randrange(4):
            case 0:
                changed[at : at + 1] = rng.randbytes(1)
            case 1:
                del changed[at : at + n]
            case 2:
                changed[at:at] = changed[at : at + n]
            case _:
                changed[at:at] = rng.choice((b"[", b"{", b'"', b"9", b"-", b"\\ud800", b"\xff", b"\0" * 8))
    return bytes(changed)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, inner in items:
        found += [(value, key), *places(inner)]
    return found


def change_json(value: Any, rng: random.Random) -> None:
    where = places(value)
    if not where:
        return
    container, key = rng.choice(where)
    if rng.random() < 0.15:
        del container[key]
    elif type(container[key]) is int and rng.random() < 0.5:
        container[key] += rng.choice((-1, 1, -16, 16, 2**31, -(2**63)))
    else:
        container[key] = copy.deepcopy(rng.choice(VALUES))


def change_array(arrays: dict[str, np.ndarray], rng: random.Random) -> None:
    name = rng.choice(list(arrays))
    a = arrays[name]
    match rng.randrange(5):
        case 0 if a.size:
            info = np.iinfo(a.dtype) if a.dtype.kind in "iu" else np.finfo(a.dtype)
            values = [
                info.min,
                info.max,
                0,
                1,
                *((-1, 30, 1000) if a.dtype.kind == "i" and a.dtype.itemsize > 1 else ()),
            ]
            for _ in range(rng.randint(1, 4)):
                a.flat[rng.randrange(a.size)] = rng.choice(values)
        case 1:
            arrays[name] = a[: rng.randrange(len(a) + 1)].copy()
        case 2:
            arrays[name] = a.astype(rng.choice((np.float32, np.int32, np.int64, np.int8)))
        case 3:
            del arrays[name]
        case _:
            arrays[name] = np.ascontiguousarray(a[::-1])


def forge(data: bytes, rng: random.Random) -> bytes:
    config, arrays = take_apart(data)
    with np.errstate(all="ignore"):
        for _ in range(rng.randint(0, 2)):
            change_array(arrays, rng) if arrays else None
    for _ in range(rng.randint(0, 3)):
        change_json(config.get("network", config) if rng.random() < 0.8 else config, rng)
    if rng.random() < 0.7:
        return put_together(config, arrays, rng.choice((64, 64, 8, 1)))
    entries = entries_of(arrays)
    change_json(entries, rng)
    return seal(json.dumps(config), entries, b"".join(a.tobytes() for a in arrays.values()))


def one_input(data: bytes, path: Path, mmap: bool) -> bool:
    """Whether it loaded. Anything but a model, ModelFormatError or MemoryError is the caller's to report."""
    path.write_bytes(data)
    try:
        model = slide.load(path, mmap=mmap, n_threads=1)
    except (slide.ModelFormatError, MemoryError):
        return False
    net = model.network_ if isinstance(model, slide.SlideClassifier) else model
    X = np.eye(3, net.n_features, dtype=np.float32)
    sizes = [None, net.n_labels] if net.states[-1].lsh is not None else [None]
    for n_candidates in sizes:
        ids, _ = net.predict_topk(X, k=min(3, net.n_labels), n_candidates=n_candidates)
        assert ids.min() >= -1, ids
        assert ids.max() < net.n_labels, ids
    return True


def main() -> int:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rng, inputs = random.Random(seed), seeds()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    np.seterr(all="ignore")
    done, loaded, begin = 0, 0, time.monotonic()
    path = Path.cwd() / f"crash-model-{os.getpid()}"  # stays if the process dies
    while time.monotonic() - begin < seconds:
        base = rng.choice(inputs)
        data = change_bytes(base, rng) if rng.random() < 0.5 else forge(base, rng)
        try:
            loaded += one_input(data, path, mmap=rng.random() < 0.3)
        except BaseException:
            traceback.print_exc()
            print(f"the input is in {path}", file=sys.stderr)
            return 1
        done += 1
    path.unlink()
    print(f"model: {done} executions, {loaded} of them loaded, no crash")
    return 0


if __name__ == "__main__":
    sys.exit(main())
