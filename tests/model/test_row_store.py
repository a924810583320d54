"""The file of rows and its cache: what is read is what was written, whatever is fetched ahead, appended and merged."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import Any

import numpy as np
import pytest

from slide.engine.binding import c_core
from slide.model.store.files import UnnamedFile
from slide.model.store.row_file import READERS, RowFile
from slide.model.store.rows import RowStore, _settle_all


def no_queue(self: RowFile, wants_queue: bool) -> list[Any]:
    """As where the kernel has no io_uring: threads wait for the disk."""
    return [c_core().Mover(2**16, False) for _ in range(READERS)]  # type: ignore[union-attr]


@pytest.mark.parametrize("way", ["queue", "threads", "cached"])
@pytest.mark.parametrize(("width", "n", "steps"), [(16, 9000, 40), (1072, 2100, 12)])
def test_rows_are_what_was_written(way: str, width: int, n: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against an array that has all rows, over random windows, some of which were expected; parts are merged.

    Rows of a part of a page, and of more than one; by io_uring or by threads, past the system's cache of files or not.
    """
    if way == "threads":
        monkeypatch.setattr(RowFile, "_new_movers", no_queue)
    if way == "cached":
        monkeypatch.setattr(UnnamedFile, "go_direct", lambda self: None)
    rng = np.random.default_rng(5)
    truth = rng.standard_normal((n, width)).astype(np.float32)
    store = RowStore(truth.shape, np.float32, n // 2)
    store.write(0, truth)
    for step in range(steps):
        ids = some_rows(rng, n, rng.choice([0.01, 0.2, 0.3]))
        change = bool(step % 3)
        store.hold(ids, rng.random(len(ids)) < 0.5, change)
        np.testing.assert_array_equal(store.arena[store.slots[ids]], truth[ids])
        if step % 4:
            store.expect(some_rows(rng, n, 0.3))
        if change:
            store.arena[store.slots[ids]] += 1
            truth[ids] += 1
        if step % 5 == 0:
            store.settle()
            held = np.flatnonzero(store.slots >= 0)
            assert len(np.unique(store.slots[held])) == len(held)  # no two rows in a place
        some = rng.integers(0, n, 40)
        if step % 2:
            np.testing.assert_array_equal(store.read(some), truth[some])
        if step % 7 == 0:
            np.testing.assert_array_equal(np.concatenate([rows.copy() for _, rows in store.parts()]), truth)
        if step % 11 == 0:
            np.testing.assert_array_equal(store.whole(), truth)
    traffic = store.traffic
    assert 0 < traffic.ahead < traffic.read
    assert traffic.written > n  # twice what there is room for beside the rows in order
    whole = store.whole()
    np.testing.assert_array_equal(whole, truth)
    kept = whole.detached()
    store.hold(np.arange(9, dtype=np.int32), change=True)
    store.arena[store.slots[:9]] = 0
    store.whole()
    np.testing.assert_array_equal(kept, truth)


def test_rows_behind_two_gibibytes_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are counted in 64 bits from the first product on: NumPy before 2 keeps int32 where one factor is int32."""
    monkeypatch.setattr(os, "posix_fallocate", lambda number, at, n: os.ftruncate(number, n), raising=False)
    n, width = 70_000, 8_192  # 2.3 GB, of which a few pages are written
    file = RowFile((n, width), np.float32)
    ids = np.array([0, 3, n - 2_050, n - 2, n - 1], np.int32)
    rows = np.repeat(np.arange(1, 6, dtype=np.float32)[:, None], width, axis=1)
    slots = np.arange(5, dtype=np.int32)
    file.write(int(ids[-1]), rows[4:])
    file.append(ids[:4], slots[:4], rows)
    found = np.zeros_like(rows)
    file.read(ids, slots, found)
    np.testing.assert_array_equal(found, rows)


def some_rows(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    return np.flatnonzero(rng.random(n) < share).astype(np.int32)


def test_the_system_has_a_queue_or_it_is_done_without() -> None:
    """A mover says which; both move the same rows, wherever their bytes are."""
    core = c_core()
    assert core is not None
    file = UnnamedFile(2**20)
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((500, 48)).astype(np.float32)
    at = np.sort(rng.choice(2**20 // 192 - 64, 500, replace=False)) * np.int64(192)
    slots = rng.permutation(500).astype(np.int32)
    core.Mover(2**13, False).move(True, file.fileno(), False, at, slots, rows)
    for wants_queue in (True, False):
        for room in (2**13, 2**20):
            found = np.zeros_like(rows)
            core.Mover(room, wants_queue).move(False, file.fileno(), True, at, slots, found)
            np.testing.assert_array_equal(found, rows)


def test_rows_that_nobody_chooses_leave_first() -> None:
    """Those of each window are asked for again and again, others once: in the end the former are never missed."""
    rng = np.random.default_rng(4)
    store = RowStore((4000, 16), np.float32, 900)
    often = np.arange(500, dtype=np.int32)
    for step in range(30):
        ids = np.union1d(often[step % 2 :: 2], 500 + some_rows(rng, 3500, 0.05)).astype(np.int32)
        store.settle()
        assert step < 10 or (store.slots[ids[ids < 500]] >= 0).all()
        store.hold(ids, ids < 500)
        store.expect(some_rows(rng, 4000, 0.02))


def test_rows_that_cannot_be_written() -> None:
    """Whoever asks for rows is told, then and later, what went wrong in the background; no change is lost."""
    store = RowStore((1000, 16), np.float32, 400)
    store.hold(np.arange(400, dtype=np.int32), change=True)
    store.arena[:] = 7
    file = store._file._file
    store.hold(np.arange(9, dtype=np.int32))
    with open(os.devnull, "rb") as closed:
        closed.is_direct, closed.go_direct = False, lambda: None  # type: ignore[attr-defined]
        store._file._file = closed  # type: ignore[assignment]
        store.expect(np.arange(400, 450, dtype=np.int32))
        for _ in range(2):
            with pytest.raises(OSError, match="rows"):
                store.read(np.arange(5))
    store._file._file, store._task = file, None
    assert (store.read(np.arange(400)) == 7).all()


def test_a_fork_waits_for_what_is_under_way() -> None:
    store = RowStore((4000, 64), np.float32, 2000)
    store.hold(np.arange(2000, dtype=np.int32), change=True)
    store.arena[store.slots[:2000]] = 7
    store.hold(np.arange(9, dtype=np.int32))
    store.expect(np.arange(2000, 2400, dtype=np.int32))
    _settle_all()
    assert store._task is None
    assert (store.read(np.arange(400)) == 7).all()
    assert store.slots[2399] >= 0


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=r"rows need [0-9,]+ bytes.* TMPDIR") as error:
        RowStore((4200, 16), np.float32, 10)
    assert error.value.filename == tempfile.gettempdir()


def test_another_process_reads_and_never_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = RowStore((100, 16), np.float32, 10)
    store.hold(np.arange(10, dtype=np.int32), change=True)
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert (store.read(np.arange(10, 20)) == 0).all()
    store.expect(np.arange(10, 20, dtype=np.int32))
    assert store._task is None
    with pytest.raises(RuntimeError, match="forked"):
        store.hold(np.arange(10, 20, dtype=np.int32))


def test_a_file_that_ends_too_early() -> None:
    store = RowStore((1000, 16), np.float32, 10)
    os.ftruncate(store._file._file.fileno(), 640)
    with pytest.raises(OSError, match="rows"):
        store.hold(np.arange(20, 25, dtype=np.int32))
    store.hold(np.arange(5, dtype=np.int32))  # what is there is still read
    assert (store.slots[20:25] == -1).all()
