"""Checkpoints of a model whose rows are in a file: only what changed is written, and no accident loses a state."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.io.atomic import Place
from slide.model.store import segments, size
from slide.model.store.layer import StoredLayer
from slide.model.store.segments import RowFiles, folder_of

N_LABELS, SMALL = 4200, "1.6MB"
X, Y = slide.datasets.synthetic(448, 300, N_LABELS, nnz=8, labels_per_row=2)
LAYERS = [slide.SparseInput(300, 16), slide.Sampled(N_LABELS, lsh=slide.QueryCells(K=7), n_active=200, n_random=120)]
State = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def small_windows() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(size, "FEWEST", 0)
        patch.setattr("slide.training.loop.WINDOW", 64)
        patch.setattr(segments, "BLOCK_BYTES", 2**15)
        yield


def network(memory: Any = SMALL) -> slide.Network:
    return slide.Network(LAYERS, n_threads=1, seed=3, batch_size=16, memory=memory)


def fit(path: Path, callback: Any = None, net: slide.Network | None = None, **options: Any) -> slide.Network:
    checkpoint = slide.Checkpoint(path, minutes=None, samples=64, **options)
    return (net or network()).fit(X, Y, checkpoint=checkpoint, callback=callback)


def state_of(net: slide.Network) -> State:
    return np.array(net.states[-1].arrays["rows"]), net.states[0].rows.copy()


def assert_same(found: State, wanted: State) -> None:
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


class Watch(slide.Callback):
    """The state at each checkpoint, and the sizes of its files of rows."""

    def __init__(self, path: Path) -> None:
        self.path, self.states, self.sizes = path, {}, []  # type: ignore[var-annotated]

    def on_checkpoint(self, progress: Any, network: Any) -> None:
        self.states[network.step] = state_of(network)
        self.sizes.append(sizes(self.path))


def sizes(path: Path) -> dict[str, int]:
    return {p.name: p.stat().st_size for p in sorted(folder_of(path).glob("0*.rows"))}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    path = tmp_path_factory.mktemp("through") / "run"
    watch = Watch(path)
    fit(path, watch)
    return watch


def loaded(path: Path, memory: Any = None) -> slide.Network:
    net = slide.load(path, n_threads=1, memory=memory)
    assert isinstance(net, slide.Network)
    return net


def test_only_changed_rows_are_written(watched: Watch) -> None:
    base, segment = watched.sizes[0]["00000001.rows"], watched.sizes[1]["00000002.rows"]
    assert segment < base / 2
    assert len({min(files) for files in watched.sizes}) > 1  # a new base came in between
    for files in watched.sizes:
        first, *others = files.values()
        assert first == base
        assert sum(others) <= 1.1 * base  # at most half of the rows are there anew
    assert len(watched.states) == 7


def test_loaded_as_it_was_written(watched: Watch) -> None:
    for memory in (None, "1GB", SMALL):
        net = loaded(watched.path, memory)
        assert net.is_stored == (memory == SMALL)
        assert_same(state_of(net), watched.states[448])
    with pytest.raises(ValueError, match="mmap: found True, wanted False: the rows"):
        slide.load(watched.path, mmap=True)


def test_moving_it(watched: Watch, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copy(watched.path, moved)
    with pytest.raises(
        slide.ModelFormatError, match=r"found no .*moved.rows/.*\.rows, wanted .* rows: move both together"
    ):
        slide.load(moved)
    shutil.copytree(folder_of(watched.path), folder_of(moved))
    assert_same(state_of(loaded(moved)), watched.states[448])
    slide.Checkpoint(moved).remove()
    assert os.listdir(tmp_path) == []


def test_resumed_with_and_without_memory(watched: Watch, tmp_path: Path) -> None:
    class Stop(slide.Callback):
        def on_chunk(self, progress: Any, network: Any) -> None:
            if progress.done == after:
                raise KeyboardInterrupt

    path = tmp_path / "run"
    for memory, after in ((SMALL, 128), (None, 256), (SMALL, 320), (SMALL, 0)):
        net = network(memory)
        if not after:
            assert_same(state_of(fit(path, net=net, resume=True)), watched.states[448])
            break
        with pytest.raises(KeyboardInterrupt):
            fit(path, Stop(), net, resume=True)
        assert net.is_stored == (memory is not None)
        assert folder_of(path).exists() == (memory is not None)
        net = loaded(path)
        assert_same(state_of(net), watched.states[net.step])


# -- accidents ---------------------------------------------------------------------------------------------------------


def killed_at(path: Path, call: int) -> int:
    """A fit in another process that ends by SIGKILL at the call-th thing that it does to files; which it came to."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writes)
        with open(reads, "rb") as told:
            done = len(told.read())
        os.waitpid(pid, 0)
        return done
    try:
        count = [0]

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call_it(*args: Any, **kwargs: Any) -> Any:
                os.write(writes, b".")
                if count[0] == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                count[0] += 1
                return function(*args, **kwargs)

            return call_it

        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        for owner, name in ((Path, "unlink"), (Place, "remove_parts"), (segments, "_checksum"), (segments, "_sync")):
            setattr(owner, name, counted(getattr(owner, name)))
        fit(path)
    finally:
        os._exit(0)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_kill_9(watched: Watch, tmp_path: Path) -> None:
    """At 20 places: the last state is there, or the one before; a fit that goes on ends in the same bits."""
    total = killed_at(tmp_path / "through", -1)
    assert total > 40
    places = np.linspace(1, total - 1, 20).astype(int) + np.arange(20) % 3 - 1
    steps = []
    for i, call in enumerate(places):
        path = tmp_path / f"run{i}"
        killed_at(path, int(call))
        if path.exists():
            net = loaded(path, SMALL)
            assert_same(state_of(net), watched.states[net.step])
            steps.append(net.step)
        if i % 7 == 3:
            assert_same(state_of(fit(path, resume=True)), watched.states[448])
            assert len(sizes(path)) == len(watched.sizes[-1])  # and nothing is left over
            assert not list(tmp_path.glob(f".run{i}*"))
    assert len(set(steps)) > 4


def test_a_full_disk(watched: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third time that something is to reach the disk: training goes on, and what is there is a whole state."""
    calls, sync = [0], os.fsync

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] % 3 == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "run"
    watch = Watch(path)
    with pytest.warns(UserWarning, match="no checkpoint could be written, training goes on.*No space left"):
        fit(path, watch)
    assert 0 < len(watch.states) < 7
    net = loaded(path)
    assert net.step == max(watch.states)
    assert_same(state_of(net), watched.states[net.step])


@pytest.fixture
def copy(watched: Watch, tmp_path: Path) -> Path:
    shutil.copy(watched.path, tmp_path / "run")
    shutil.copytree(folder_of(watched.path), folder_of(tmp_path / "run"))
    return tmp_path / "run"


def test_flipped_bits(copy: Path) -> None:
    rng = np.random.default_rng(7)
    files = sorted(folder_of(copy).glob("0*.rows"))[:3]
    for file in files:
        whole = file.read_bytes()
        for place in [3, 52, *rng.integers(0, len(whole), 3)]:
            altered = bytearray(whole)
            altered[place] ^= 1 << rng.integers(0, 8)
            file.write_bytes(altered)
            with pytest.raises(slide.ModelFormatError, match=rf"{file.name}: (byte \d|ends)") as error:
                slide.load(copy, memory=SMALL)
            at = int(str(error.value).split("byte ")[1].split(":")[0].replace(",", ""))
            assert at <= place < at + 2**16
        file.write_bytes(whole)
    slide.load(copy)


def test_files_that_are_cut(copy: Path) -> None:
    last = max(folder_of(copy).glob("0*.rows"))
    whole = last.read_bytes()
    for n in (0, 17, len(whole) // 2, len(whole) - 1):
        last.write_bytes(whole[:n])
        for how in (slide.load, lambda path: fit(path, resume=True)):
            with pytest.raises(slide.ModelFormatError, match=rf"{last.name}: (ends at byte|byte .*: ends within)"):
                how(copy)
    last.write_bytes(whole + b"of a write that was never finished")
    slide.load(copy)


def test_what_the_manifest_does_not_list_is_dropped(copy: Path, watched: Watch) -> None:
    (folder_of(copy) / "00000099.rows").write_bytes(b"half of")
    assert_same(state_of(loaded(copy)), watched.states[448])
    fit(copy, resume=True)
    assert sizes(copy) == watched.sizes[-1]


def test_two_writers(tmp_path: Path) -> None:
    path = tmp_path / "run"

    class Second(slide.Callback):
        def on_checkpoint(self, progress: Any, network: Any) -> None:
            before = sizes(path)
            for memory in (SMALL, None):
                with pytest.raises(slide.StoreInUseError, match=f"run.*|in process {os.getpid()}"):
                    fit(path, net=globals()["network"](memory), resume=True)
            assert sizes(path) == before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(path, Second())
    RowFiles(path).close()  # the lock went with the fit


@pytest.mark.parametrize(
    "change",
    [
        {"files": []},
        {"files": [[1, N_LABELS - 1]]},
        {"files": [[2, N_LABELS], [1, 5]]},
        {"files": [[1, N_LABELS], [2, -5]]},
        {"files": [["../x", N_LABELS]]},
        {"files": [[1.0, N_LABELS]]},
        {"shape": [N_LABELS, 0]},
        {"shape": [N_LABELS]},
        {"shape": [2**61, 2**61]},
        {"dtype": "I8"},
        {"token": "00"},
        {"token": 5},
    ],
    ids=str,
)
def test_manifests_that_make_no_sense(watched: Watch, change: dict[str, Any]) -> None:
    from slide.io.model_file import describe

    rows = describe(watched.path)["rows"]
    assert segments.Manifest.of(rows).as_json["token"] == rows["token"]
    with pytest.raises((ValueError, TypeError, LookupError)):
        segments.Manifest.of(rows | change)


def test_it_says_what_it_takes(watched: Watch) -> None:
    from slide.cli.verbs.info import describe_model

    facts = describe_model(str(watched.path))
    assert facts["model_bytes"] == watched.path.stat().st_size + sum(sizes(watched.path).values())
    last = loaded(watched.path, SMALL).states[-1]
    assert isinstance(last, StoredLayer)
    assert facts["weights_bytes"] > last.n_bytes
