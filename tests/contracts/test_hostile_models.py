"""Model files from a stranger who knows the format, checksums included: a named error, no crash, no memory, no harm."""

from __future__ import annotations

import json
import os
import struct
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forgery import entries_of, forged, put_together, seal, take_apart

import slide
from slide.cli.main import main
from slide.engine import memory

Change = Callable[[dict[str, Any], dict[str, np.ndarray]], Any]


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    return slide.datasets.synthetic(200, 50, 5000, nnz=5, labels_per_row=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, data: tuple[Any, Any]) -> bytes:
    """A classifier with every kind of array, its tables older than its weights and so stored."""
    clf = slide.SlideClassifier(hidden=(8, 8), epochs=1, n_threads=1, lsh=slide.SimHash(K=3, L=2, capacity=15))
    clf.fit(*data)
    clf.network_.tables_built_at -= 1
    path = tmp_path_factory.mktemp("honest") / "model.slide"
    clf.save(path)
    return path.read_bytes()


def test_an_honest_file_put_together_again_loads(model: bytes, data: tuple[Any, Any], tmp_path: Path) -> None:
    """Otherwise nothing below would prove anything."""
    before = slide.load(written(tmp_path, model)).predict_topk(data[0])
    config, arrays = take_apart(model)
    assert {"wide.labels", "layer2.slots", "layer2.signs", "layer2.frame", "layer2.positions"} <= set(arrays)
    after = slide.load(written(tmp_path, put_together(config, arrays))).predict_topk(data[0])
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "hostile.slide"
    path.write_bytes(data)
    return path


def refused(path: Path, told: str = ".", mmap: bool = False) -> None:
    with pytest.raises(slide.ModelFormatError, match=told) as error:
        slide.load(path, mmap=mmap)
    assert str(error.value).startswith(str(path))


def layer(i: int, **values: object) -> Change:
    return lambda config, arrays: config["network"]["layers"][i].update(values)


def lsh(**values: object) -> Change:
    return lambda config, arrays: config["network"]["layers"][2]["lsh"].update(values)


def net(**values: object) -> Change:
    return lambda config, arrays: config["network"].update(values)


def progress(**values: object) -> Change:
    return lambda config, arrays: config["network"]["progress"].update(values)


def replaced(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda config, arrays: arrays.update({name: np.ascontiguousarray(make(arrays[name]))})


def with_value(index: Any, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(a: np.ndarray) -> np.ndarray:
        a[index] = value
        return a

    return change


def unsorted_pairs(config: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """A feature whose labels go back: a walk in blocks would write before the block."""
    begin, end = arrays["wide.indptr"][:2]
    arrays["wide.labels"][begin:end] = arrays["wide.labels"][begin:end][::-1].copy()
    assert end - begin > 1


def crowded_bucket(config: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """One neuron in all places of a bucket: it would collide more often than there are tables."""
    arrays["layer2.slots"][:] = 7
    arrays["layer2.slots"][:, :, 0] = 15


FORGERIES: dict[str, Change] = {
    "rows of another size": layer(2, n=5001),
    "more features than rows": layer(0, n_features=51),
    "negative bias": lambda c, a: (layer(0, bias=-3)(c, a), replaced("layer0.rows", lambda r: r[:-3])(c, a)),
    "negative neurons": layer(1, n=-8),
    "neurons beyond int32": layer(2, n=2**31),
    "neurons as text": layer(2, n="5000"),
    "neurons as a list": layer(2, n=[5000]),
    "neurons as a huge number": layer(2, n=10**300),
    "an unknown layer": layer(1, kind="eval"),
    "a layer with more options": layer(1, code="import os"),
    "an input layer at the end": layer(2, kind="sparse_input"),
    "no layers": net(layers=[]),
    "layers as a number": net(layers=3),
    "one layer": lambda c, a: c["network"]["layers"].__delitem__(slice(1, None)),
    "a layer without rows": lambda c, a: a.pop("layer1.rows"),
    "an unknown hash family": lsh(kind="__import__"),
    "no tables": lsh(L=0),
    "hashes as a float": lsh(K=2.5),
    "tables as a float": lsh(L=2.0),
    "too many tables": lsh(L=10**9),
    "a bucket beyond memory": lsh(capacity=2**20 - 1, L=1000, K=20),
    "other hash functions": lsh(K=4),
    "capacity as a float": lsh(capacity=15.5),
    "an option of another family": lsh(width=2.5),
    "a transform of another family": lsh(transform="l2-alsh"),
    "an unknown optimizer": net(optimizer={"name": "exec"}),
    "an optimizer without a name": net(optimizer={}),
    "a learning rate of NaN": net(optimizer={"name": "SGD", "lr": float("nan")}),
    "an optimizer with other states": net(optimizer={"name": "Adam"}),
    "an unknown loss": net(loss="pickle"),
    "loss as a list": net(loss=["softmax"]),
    "seed beyond 64 bits": net(seed=2**64),
    "wide as text": net(wide="yes"),
    "no progress": net(progress={}),
    "negative steps": progress(step=-1),
    "steps as a float": progress(step=1.5),
    "steps beyond 63 bits": progress(step=2**63),
    "negative generation": progress(generation=-1),
    "generation as infinity": progress(generation=float("inf")),
    "no network": lambda c, a: c.pop("network"),
    "classifier without parameters": lambda c, a: c.update(classifier={}),
    "classifier as a number": lambda c, a: c.update(classifier=7),
    "fitted facts as a list": lambda c, a: c["classifier"].update(fitted=[]),
    "a fitted fact beyond float": lambda c, a: c["classifier"]["fitted"].update(fit_seconds_=10**400),
    "version 0": lambda c, a: c.update(format_version=0),
    "version true": lambda c, a: c.update(format_version=True),
    "version 1.0": lambda c, a: c.update(format_version=1.0),
    "pairs out of range": replaced("wide.labels", with_value(0, 5000)),
    "negative pairs": replaced("wide.labels", with_value(0, -1)),
    "pairs out of order": unsorted_pairs,
    "pairs that end early": replaced("wide.indptr", with_value(-1, 3)),
    "pairs that go back": replaced("wide.indptr", with_value(1, 10**9)),
    "pairs that begin before": replaced("wide.indptr", with_value(0, -5)),
    "pairs as floats": replaced("wide.labels", lambda a: a.astype(np.float32)),
    "too few biases": replaced("wide.bias", lambda a: a[:-1]),
    "rows as integers": replaced("layer2.rows", lambda a: a.astype(np.int32)),
    "rows transposed": replaced("layer2.rows", lambda a: a.T),
    "slots out of range": replaced("layer2.slots", with_value((0, 0, 1), 5000)),
    "negative slots": replaced("layer2.slots", with_value((0, 0, 1), -1)),
    "negative bucket size": replaced("layer2.slots", with_value((0, 0, 0), -(2**31))),
    "a bucket of one neuron": crowded_bucket,
    "slots as floats": replaced("layer2.slots", lambda a: a.astype(np.float32)),
    "frame of another size": replaced("layer2.frame", lambda a: a[:-1]),
    "frame as integers": replaced("layer2.frame", lambda a: a.astype(np.int32)),
    "signs of another shape": replaced("layer2.signs", lambda a: a[:, :-1]),
}


@pytest.mark.parametrize(
    "change",
    [
        *(lsh(width=w) for w in (0, -1, 1e-7, 1e300, float("nan"), float("inf"), "2", True, None, [2.5], 10**400)),
        replaced("layer1.positions", with_value((0, 0), -1)),
        replaced("layer1.positions", with_value((0, 0), 2**24)),
        replaced("layer1.positions", lambda a: a[:-1]),
    ],
)
def test_forged_euclidean_hashes_are_refused(tmp_path: Path, change: Change) -> None:
    net = slide.Network([slide.SparseInput(4, 8), slide.Sampled(9, lsh=slide.EuclideanHash(K=2, L=3, capacity=4))])
    net.save(tmp_path / "honest")
    config, arrays = take_apart((tmp_path / "honest").read_bytes())
    slide.load(written(tmp_path, put_together(config, arrays)))
    config["network"]["layers"].insert(1, None)  # where lsh() looks
    change(config, arrays)
    del config["network"]["layers"][1]
    refused(written(tmp_path, put_together(config, arrays)))


@pytest.mark.parametrize("mmap", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("name", FORGERIES)
def test_forged_models_are_refused(
    model: bytes, tmp_path: Path, name: str, mmap: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, forged(model, FORGERIES[name]))
    refused(path, mmap=mmap)
    assert main(["info", str(path)]) in (0, 2)  # the header alone may be honest
    assert "Traceback" not in capsys.readouterr().err


def entry(**values: object) -> Callable[[dict[str, Any]], Any]:
    return lambda entries: entries["layer1.rows"].update(values)


ENTRIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an offset beyond the file": entry(data_offsets=[0, 10**15]),
    "an offset beyond 64 bits": entry(data_offsets=[0, 2**70]),
    "negative offsets": entry(data_offsets=[-8, 0]),
    "offsets as floats": entry(data_offsets=[0.0, 1.0]),
    "one offset": entry(data_offsets=[0]),
    "offsets as text": entry(data_offsets="01"),
    "a product that overflows to the right size": entry(shape=[2**62, 4 * 7, 8]),
    "nothing, of huge dimensions": entry(shape=[0, 10**30]),
    "nothing, of dimensions too large to multiply": entry(shape=[0, 2**61, 8], data_offsets=[0, 0]),
    "many dimensions": entry(shape=[1] * 100),
    "lengths as floats": entry(shape=[8.0, 16.0]),
    "a length of true": entry(shape=[True, 4]),
    "an unknown type": entry(dtype="O"),
    "a type as a list": entry(dtype=["F32"]),
    "no description": lambda entries: entries.update({"layer1.rows": None}),
    "overlapping arrays": lambda entries: entries["layer2.rows"].update(entries["layer1.rows"]),
    "a path for a name": lambda entries: entries.update({"../../etc/passwd": entries.pop("layer1.rows")}),
    "an absolute path for a name": lambda entries: entries.update({"/tmp/owned": entries.pop("layer2.rows")}),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_forged_descriptions_of_arrays_are_refused(model: bytes, tmp_path: Path, name: str) -> None:
    config, arrays = take_apart(model)
    config["checksums"]["../../etc/passwd"] = config["checksums"]["/tmp/owned"] = "0"
    entries = entries_of(arrays)
    ENTRIES[name](entries)
    body = b"".join(a.tobytes() for a in arrays.values())
    refused(written(tmp_path, seal(json.dumps(config), entries, body)))
    assert os.listdir(tmp_path) == ["hostile.slide"]


HEADERS: dict[str, bytes] = {
    "empty": b"",
    "a length of all ones": b"\xff" * 8 + b"{}",
    "a length of 2^63": struct.pack("<Q", 2**63) + b"{}",
    "a length beyond the file": struct.pack("<Q", 100) + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"\x80\x04K\x01",
    "not UTF-8": struct.pack("<Q", 4) + b'"\xff\xff"',
    "a list": struct.pack("<Q", 2) + b"[]",
    "a number": struct.pack("<Q", 2) + b"10",
    "deep nesting": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "deep nesting inside": seal("[" * 100_000, {}),
    "a number of a million digits": struct.pack("<Q", 10**6) + b"1" * 10**6,
    "half a surrogate": seal('{"format_version": 1, "x": "\ud800"}', {}),
    "metadata as a list": struct.pack("<Q", 20) + b'{"__metadata__": []}',
    "a configuration that is no object": seal("7", {}),
    "a configuration of null": seal("null", {}),
    "no configuration": seal("{}", {}),
    "version as text": seal('{"format_version": "1"}', {}),
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
}


@pytest.mark.parametrize("name", HEADERS)
def test_forged_headers_are_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, HEADERS[name])
    refused(path)
    assert main(["info", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_claims_are_refused_before_memory_is_taken(model: bytes, tmp_path: Path) -> None:
    """A few kilobytes that ask for gigabytes of tables; the bound is stated and may be lifted."""
    config, arrays = take_apart(model)
    lsh(K=17, L=1000, capacity=2**19)(config, arrays)
    path = written(tmp_path, put_together(config, arrays))
    tracemalloc.start()
    refused(path, r"asks for [\d,]+ bytes of tables, [\d,]+ are allowed.*max_bytes=")
    with pytest.raises(MemoryError, match=r"needs [\d,]+ bytes, available are"):
        slide.load(path, max_bytes=2**62)
    assert tracemalloc.get_traced_memory()[1] < 10 * len(model)
    tracemalloc.stop()


def test_a_hole_instead_of_weights(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file is as long as it claims and holds nothing: memory is asked for once, and in one piece."""
    config, arrays = take_apart(model)
    layer(0, n_features=10**9)(config, arrays)
    shape = [10**9, arrays["layer0.rows"].shape[1]]
    entries = entries_of(arrays)
    grown = 4 * shape[0] * shape[1] - arrays["layer0.rows"].nbytes
    entries["layer0.rows"]["shape"] = shape
    for name, e in entries.items():
        e["data_offsets"] = [n + grown if n or name != "layer0.rows" else n for n in e["data_offsets"]]
    head = seal(json.dumps(config), entries)
    path = written(tmp_path, head)
    os.truncate(path, len(head) + max(e["data_offsets"][1] for e in entries.values()))
    monkeypatch.setattr(memory, "available_memory", lambda: 10**9)
    with pytest.raises(MemoryError, match=r"needs [\d,]+ bytes, available are 1,000,000,000"):
        slide.load(path)


def test_arrays_that_do_not_lie_on_cache_lines_are_not_mapped(
    model: bytes, data: tuple[Any, Any], tmp_path: Path
) -> None:
    """Kernels load whole vectors: a misaligned address would end the process."""
    config, arrays = take_apart(model)
    heads = (put_together(config | {"slide": "0" * i}, arrays, pad=4) for i in range(8))
    shifted = written(tmp_path, next(h for h in heads if struct.unpack("<Q", h[:8])[0] % 64 != 56))
    start = 8 + struct.unpack("<Q", shifted.read_bytes()[:8])[0]
    assert start % 64 != 0
    loaded = slide.load(shifted, mmap=True, n_threads=1)
    ids = loaded.predict_topk(data[0])[0]
    np.testing.assert_array_equal(ids, slide.load(written(tmp_path, model), n_threads=1).predict_topk(data[0])[0])


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/dev/null"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, target: str) -> None:
    path = tmp_path / "hostile.slide"
    if target == "pipe":
        os.mkfifo(path)  # opening it would wait for a writer
    else:
        path.symlink_to(target)
    refused(path, "wanted a regular file")


def test_a_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        slide.load(tmp_path)


def test_saving_never_opens_the_umask(model: bytes, tmp_path: Path) -> None:
    """Another thread could create a file for everybody in that moment."""
    loaded = slide.load(written(tmp_path, model))
    before = os.umask(0o077)
    try:
        masks: list[int] = []
        real = os.umask
        os.umask = lambda mask: (masks.append(mask), real(mask))[1]  # type: ignore[assignment]
        loaded.save(tmp_path / "private.slide")
        os.umask = real
        assert masks == []
        assert (tmp_path / "private.slide").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_weights_that_are_no_numbers_do_no_harm(model: bytes, data: tuple[Any, Any], tmp_path: Path) -> None:
    """They load, since a checksum matches; predictions stay within the labels."""
    for value in (np.nan, np.inf, -np.inf, 3e38):

        def spoil(config: dict[str, Any], arrays: dict[str, np.ndarray], value: float = value) -> None:
            for name, a in arrays.items():
                if a.dtype == np.float32:
                    arrays[name] = np.full_like(a, value)

        loaded = slide.load(written(tmp_path, forged(model, spoil)), n_threads=1)
        for n_candidates in (None, 20):
            ids, _ = loaded.predict_topk(data[0], k=5, n_candidates=n_candidates)
            assert ids.min() >= -1
            assert ids.max() < 5000


def test_many_threads_load_one_file(model: bytes, tmp_path: Path) -> None:
    path, failures = written(tmp_path, model), []

    def work() -> None:
        try:
            slide.load(path, n_threads=1)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []
