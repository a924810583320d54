"""Does to slide what the world does, many times over: kills, starves and interrupts it. `make faults` prints a table.

    python tests/faults/run.py [--times 100] [NAME...]

Each function does one fault so many times and returns what happened, or raises AssertionError when something was lost.
tests/contracts/test_faults.py calls them a few times each; docs/reliability.md holds what a long run said.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import slide

Told = str


def small(seed: int = 0, n_threads: int = 1) -> tuple[Any, Any, slide.SlideClassifier]:
    """Data and a classifier of about a megabyte."""
    X, Y = slide.datasets.synthetic(300, 400, 3000, nnz=8, labels_per_row=2)
    return X, Y, slide.SlideClassifier((32,), epochs=1, random_state=seed, n_threads=n_threads).fit(X, Y)


def told(outcomes: Counter[str]) -> Told:
    return ", ".join(f"{name}: {n}" for name, n in sorted(outcomes.items()))


def in_child(work: Callable[[], object], seconds: int = 120) -> int:
    """Exit status of a fork that does the work: 0, 1 for an exception, or minus a signal; SIGALRM if it hangs."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(seconds)
            work()
            status = 0
        except BaseException as e:
            print(f"{type(e).__name__}: {e}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_while_saving(times: int, folder: Path) -> Told:
    """SIGKILL at a random moment of saving one of two models over the other: one of them loads, whole."""
    X, _, a = small(0)
    b = small(1)[2]
    path = folder / "model.slide"
    a.save(path)
    wanted = [m.predict_topk(X, 3)[1].tobytes() for m in (a, b)]
    rng, outcomes = random.Random(1), Counter[str]()

    def save_for_ever() -> None:
        while True:
            b.save(path)
            a.save(path)

    for _ in range(times):
        pid = os.fork()
        if pid == 0:
            save_for_ever()
        time.sleep(rng.uniform(0, 0.1))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        left = slide.load(path, n_threads=1).predict_topk(X, 3)[1].tobytes()
        assert left in wanted, "the file holds neither model"
        parts = list(folder.glob(".*.part"))
        outcomes["loaded, a .part left beside it" if parts else "loaded"] += 1
        for part in parts:
            part.unlink()
    return told(outcomes)


def full_disk(times: int, folder: Path) -> Told:
    """Saving a model and writing data where the disk takes a random number of bytes: an OSError, and the old file."""
    X, Y, clf = small()
    path, text = folder / "model.slide", folder / "data.txt"
    clf.save(path)
    slide.write_xmc(text, X, Y)
    size, text_size = path.stat().st_size, text.stat().st_size
    before = path.read_bytes(), text.read_bytes()
    rng, outcomes = random.Random(2), Counter[str]()

    def save(limit: int, what: Callable[[], None]) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            what()
        except OSError as e:
            assert str(folder) in str(e), e
            return
        raise AssertionError("no error where there was no room")

    for i in range(times):
        what = (lambda: clf.save(path)) if i % 2 else (lambda: slide.write_xmc(text, X, Y))
        limit = rng.randrange(size if i % 2 else text_size)
        assert in_child(lambda limit=limit, what=what: save(limit, what)) == 0  # type: ignore[misc]
        assert (path.read_bytes(), text.read_bytes()) == before
        assert sorted(os.listdir(folder)) == ["data.txt", "model.slide"]
        outcomes["OSError, old file whole, nothing left"] += 1
    return told(outcomes)


def small_file_system(times: int, folder: Path) -> Told:
    """The same on a file system that is too small; needs the right to mount one."""
    X, Y, clf = small()
    place = folder / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        return "not tried: no right to mount a file system"
    try:
        tiny = slide.SlideClassifier((1,), epochs=1, n_threads=1, wide=False, lsh=None).fit(X[:, :20], Y[:, :20])
        tiny.save(place / "model.slide")
        before = (place / "model.slide").read_bytes()
        for _ in range(times):
            try:
                clf.save(place / "model.slide")
            except OSError as e:
                assert e.errno == 28, e
            else:
                raise AssertionError("no error on a full disk")
            assert os.listdir(place) == ["model.slide"]
            assert (place / "model.slide").read_bytes() == before
    finally:
        subprocess.run(["umount", str(place)], check=False)
    return f"OSError (No space left), old file whole, nothing left: {times}"


def read_only_folder(times: int, folder: Path) -> Told:
    """Saving where nobody may write."""
    clf = small()[2]
    place = folder / "closed"
    place.mkdir()
    clf.save(place / "model.slide")
    place.chmod(0o555)

    def save() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)  # root may write anywhere
        try:
            clf.save(place / "model.slide")
        except PermissionError as e:
            assert "model.slide" in str(e)
            return
        raise AssertionError("no error in a folder that is read-only")

    folder.chmod(0o755)
    try:
        for _ in range(times):
            assert in_child(save) == 0
            assert os.listdir(place) == ["model.slide"]
    finally:
        place.chmod(0o755)
    return f"PermissionError, old file whole: {times}"


def cut_files(times: int, folder: Path) -> Told:
    """Model, text and gzip files cut at a random byte."""
    X, Y, clf = small()
    clf.save(folder / "model.slide")
    slide.write_xmc(folder / "data.txt", X, Y)
    slide.write_xmc(folder / "data.txt.gz", X, Y)
    rng, outcomes = random.Random(3), Counter[str]()
    for i in range(times):
        name = ("model.slide", "data.txt", "data.txt.gz")[i % 3]
        whole = (folder / name).read_bytes()
        (folder / f"cut-{name}").write_bytes(whole[: rng.randrange(len(whole))])
        try:
            (slide.load if i % 3 == 0 else slide.read_xmc)(folder / f"cut-{name}")
            outcomes["read (cut behind the last character that matters)"] += 1
            assert i % 3 == 1
        except slide.errors.SlideError as e:
            outcomes[type(e).__name__] += 1
    return told(outcomes)


def moving_file(times: int, folder: Path) -> Told:
    """A text file that another process cuts and writes again while it is read."""
    X, Y, _ = small()
    path, text = folder / "data.txt", folder / "whole.txt"
    slide.write_xmc(text, X, Y)
    whole, outcomes, stop = text.read_bytes(), Counter[str](), threading.Event()
    path.write_bytes(whole)

    def rewrite() -> None:
        rng = random.Random(4)
        while not stop.is_set():
            with open(path, "r+b") as file:
                file.truncate(rng.randrange(len(whole)))
                file.seek(0)
                file.write(whole)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(times):
            try:
                outcomes["read"] += slide.read_xmc(path)[0].shape == X.shape
            except slide.DataFormatError:
                outcomes["DataFormatError"] += 1
    finally:
        stop.set()
        writer.join()
    return told(outcomes)


def little_memory(times: int, folder: Path) -> Told:
    """Fitting, loading and reading within an address space that is a random number of megabytes too small."""
    X, Y, clf = small()
    clf.save(folder / "model.slide")
    slide.write_xmc(folder / "data.txt", X, Y)
    wanted = clf.predict_topk(X, 3)[1].tobytes()
    larger = slide.datasets.synthetic(300, 40_000, 30_000, nnz=8, labels_per_row=2)
    rng, outcomes = random.Random(5), Counter[str]()

    def work(which: int, spare: int) -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + spare, used + spare))
        try:
            if which == 0:
                slide.SlideClassifier((128,), epochs=1, n_threads=1).fit(*larger)
            elif which == 1:
                slide.load(folder / "model.slide", n_threads=1)
            else:
                slide.read_xmc(folder / "data.txt", n_threads=1)
            os._exit(3)
        except MemoryError as e:
            sized = any(c.isdigit() for c in str(e))
        assert clf.predict_topk(X, 3)[1].tobytes() == wanted, "the model is not what it was"
        os._exit(0 if sized else 4)

    for i in range(times):
        spare = rng.randrange(1 << 10, 100 << 20 if i % 3 == 0 else 8 << 20)
        status = in_child(lambda which=i % 3, spare=spare: work(which, spare))  # type: ignore[misc]
        assert status in (0, 3, 4), f"ended by {status}"
        outcomes[
            {0: "MemoryError with the bytes, model intact", 3: "enough", 4: "MemoryError, model intact"}[status]
        ] += 1
    return told(outcomes)


def stop_by_signal(times: int, folder: Path) -> Told:
    """SIGINT and SIGTERM while `slide train` runs: exit code 130 and 143, the model so far saved."""
    seconds = []
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs ignore it, and so do their children
    for i in range(times):
        path = folder / f"{i}.slide"
        command = [sys.executable, "-m", "slide", "train", "wordnet-hypernym", "--epochs", "50", "--out", str(path)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(4 + random.Random(i).random())
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM if i % 2 else signal.SIGINT)
        err = process.communicate()[1]
        seconds.append(time.monotonic() - begin)
        assert process.returncode in (130, 143, -signal.SIGTERM), err
        if "stopped after" in err and "the model so far is in" in err:
            assert slide.load(path).network_.step > 0
    return f"stopped and saved, the latest after {max(seconds):.1f} s: {times}"


def fork_after_use(times: int, folder: Path) -> Told:
    """Prediction and training in a fork of a process that has used several threads."""
    X, Y, clf = small(n_threads=4)
    clf.predict_topk(X)
    wanted = clf.predict_topk(X, 3)[1].tobytes()

    def predict() -> None:
        import warnings

        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert clf.predict_topk(X, 3)[1].tobytes() == wanted
        assert any("forked" in str(w.message) for w in seen)
        assert clf.network_.n_threads == 1
        clf.partial_fit(X, Y)

    for _ in range(times):
        assert in_child(predict, seconds=60) == 0
    return f"warned, one thread, same predictions: {times}"


def many_python_threads(times: int, folder: Path) -> Told:
    """Six threads that predict, exactly and by tables, save and load while one trains the same model on."""
    X, Y, clf = small(n_threads=2)
    failures: list[BaseException] = []
    stop = threading.Event()

    def repeat(work: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as e:
            failures.append(e)

    def predict(n_candidates: int | None) -> None:
        ids, _ = clf.predict_topk(X, 3, n_candidates=n_candidates)
        assert ids.max() < 3000
        assert ids.min() >= -1

    def save() -> None:
        clf.save(folder / "shared.slide")
        slide.load(folder / "shared.slide", n_threads=1)

    jobs = [lambda: predict(None), lambda: predict(200), lambda: predict(200), lambda: predict(2000), save]
    threads = [threading.Thread(target=repeat, args=(job,)) for job in jobs]
    for t in threads:
        t.start()
    for i in range(times):
        rng = np.random.default_rng(i)
        clf.partial_fit(X[rng.permutation(300)[:100]], Y[rng.permutation(300)[:100]])  # new pairs: new arrays each time
    stop.set()
    for t in threads:
        t.join()
    assert failures == [], failures
    return f"no error, all ids within range: {times} fits"


FAULTS: dict[str, Callable[[int, Path], Told]] = {
    f.__name__: f
    for f in (
        *(kill_while_saving, full_disk, small_file_system, read_only_folder, cut_files, moving_file, little_memory),
        *(stop_by_signal, fork_after_use, many_python_threads),
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FAULTS))
    parser.add_argument("--times", type=int, default=100, metavar="N")
    args = parser.parse_args()
    for name in args.names or FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            times = min(args.times, 10) if name == "stop_by_signal" else args.times
            print(f"{name:<22}{times:>5}  {FAULTS[name](times, Path(folder))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
