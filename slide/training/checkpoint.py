"""Checkpoints: a fit that was killed at any moment goes on from a file as if it had never stopped.

A checkpoint is a model file (slide/io/model_file.py) that also holds the tables as they are and where the fit stands;
``slide.load`` opens it as the model so far. Order, learning rate and random numbers depend on the step alone, therefore
a resumed fit with one thread ends in the same bits as one that ran through.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slide.checks import number, require, whole
from slide.errors import ModelFormatError
from slide.io.atomic import Place
from slide.io.fingerprint import fingerprint
from slide.io.model_check import stored_rows
from slide.io.model_file import read_model, save_model
from slide.model.model import Model
from slide.model.snapshot import as_json
from slide.model.store.layer import StoredLayer
from slide.model.store.segments import RowFiles, folder_of, remove_rows
from slide.training.progress import Progress

FINGERPRINTS = ("data", "sample_weight")  # of what a checkpoint does not hold
#: Keyword arguments of slide.io.model_file.save_model: what the owner of a network adds to its files.
Additions = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Checkpoint:
    """When a fit saves what it needs to go on, and whether it goes on from there.

    The file is replaced as a whole: a kill at any moment leaves the previous checkpoint or the new one. One that cannot
    be written is a warning, and training goes on. It stays when the fit is over. Ctrl-C and SIGTERM save it before they
    stop the fit, at the end of the present chunk of samples; a second one stops it at once.

    Of a model with ``memory=`` whose rows are in a file, each checkpoint writes only the rows that changed since the
    last one, into a folder beside the file: ``run.checkpoint.rows``. The two belong together (docs/memory.md).

    With one thread, a resumed fit gives the bits of an uninterrupted one, unless the network rebuilds its tables by
    drift or in the background (`Rebuild`).

    Parameters
    ----------
    path : path of the file; ``slide.load`` opens it as the model so far
    minutes : float or None
        Between two checkpoints; the first comes after half a minute, if that is less. There is one at each epoch's end
        too, as long as saving takes no more than a tenth of the time. None: neither of these.
    samples : int or None
        Between two checkpoints likewise; whichever is due first counts.
    resume : bool
        Go on from `path` if it exists; else start, and replace what is there. Data and options must be those it was
        written with.

    Examples
    --------
    >>> import slide, tempfile
    >>> X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
    >>> clf = slide.SlideClassifier(hidden=(8,), epochs=2, n_threads=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = slide.Checkpoint(f"{folder}/run.checkpoint", samples=1000, resume=True)
    ...     clf.fit(X, Y, checkpoint=checkpoint).network_.step
    4000
    """

    path: str | os.PathLike[str]
    minutes: float | None = 5.0
    samples: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        minutes, samples = self.minutes, self.samples
        ok = minutes is None or 0 <= number(minutes) < float("inf")
        require(ok, "Checkpoint(minutes=)", minutes, "0 or more, or None")
        require(samples is None or whole(samples) >= 1, "Checkpoint(samples=)", samples, "1 or more, or None")
        require(isinstance(self.resume, bool), "Checkpoint(resume=)", self.resume, "True or False")
        require(isinstance(self.path, str | os.PathLike), "Checkpoint(path=)", self.path, "the path of a file")
        require(Path(self.path).parent.is_dir(), "Checkpoint(path=)", str(self.path), "a file in a folder that exists")

    def remove(self) -> None:
        """Removes the file, if it is there, and the rows beside it; of a fit on a cluster, the folder."""
        path = Path(self.path)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        remove_rows(self.path)


FIRST_SECONDS = 30.0  # before the first checkpoint, at most
SHARE = 0.1  # of the time, that saving at the ends of epochs takes at most


class CheckpointWriter:
    """The checkpoints of one fit.

    what : JSON values that must be equal for a fit to go on; add : what the owner of the network adds to files.
    """

    def __init__(self, checkpoint: Checkpoint, what: Mapping[str, Any], add: Additions) -> None:
        self._options, self._what, self._add = checkpoint, dict(what), add
        self._path = Path(checkpoint.path)
        self._saved_at, self._saved_done = time.monotonic(), 0
        self._seconds: float | None = None  # that the last one took
        self._rows: RowFiles | None = None  # of a model whose rows are in a file, while the fit lasts

    def close(self) -> None:
        """After the fit: another one may write the same checkpoint."""
        if self._rows is not None:
            self._rows.close()

    def save_if_due(self, net: Model, progress: Progress, now: bool = False) -> bool:
        """Between two chunks: network and progress say all that decides how the fit goes on. Whether it was saved."""
        if progress.done > self._saved_done and (now or self._is_due(progress)):
            return self._save(net, progress)
        return False

    def _is_due(self, progress: Progress) -> bool:
        minutes, samples = self._options.minutes, self._options.samples
        if samples is not None and progress.done - self._saved_done >= samples:
            return True
        if minutes is None:
            return False
        seconds, first = time.monotonic() - self._saved_at, self._seconds is None
        if progress.epoch_ended and (self._seconds is None or SHARE * seconds >= self._seconds):
            return True
        return seconds >= (min(60 * minutes, FIRST_SECONDS) if first else 60 * minutes)

    def _save(self, net: Model, progress: Progress) -> bool:
        added = dict(self._add())
        recalls = [[layer, recall] for layer, recall in net.recalls.items()]
        training = {"what": self._what, "progress": asdict(progress), "recalls": recalls}
        extra = {**added.pop("extra", {}), "training": training}
        self._saved_at, self._saved_done = time.monotonic(), progress.done
        try:
            self._write(net, {"extra": extra, **added, "tables": True})
        except OSError as e:
            warnings.warn(f"{self._path}: no checkpoint could be written, training goes on: {e}", stacklevel=2)
            return False
        finally:
            self._seconds = time.monotonic() - self._saved_at
        return True

    def _write(self, net: Model, what: Mapping[str, Any]) -> None:
        """The file, which lists the rows that are beside it, written before."""
        last = net.states[-1]
        if self._rows is None or not isinstance(last, StoredLayer):
            save_model(net, self._path, **what)
            remove_rows(self._path)
            return
        with net.lock, last.store.lock:
            manifest = self._rows.write(last.store)
            save_model(net, self._path, **what, rows=manifest)
            self._rows.goes_on(manifest, last.store)

    def resume(self, net: Model) -> Progress | None:
        """Puts a network where its checkpoint stands; None if there is none to go on from.

        Raises
        ------
        ValueError
            If data or options are others than those of the checkpoint; says which.
        ModelFormatError
            If the file is damaged, or a model that is no checkpoint.
        StoreInUseError
            If another fit writes its rows.
        """
        if net.is_stored or folder_of(self._path).exists():
            self._rows = RowFiles(self._path)
        try:
            return self._resumed(net)
        except BaseException:
            self.close()
            raise

    def _resumed(self, net: Model) -> Progress | None:
        Place.of(self._path).remove_parts()  # of a write that was killed
        if not self._options.resume or not self._path.exists():
            return None
        file = read_model(self._path, map_rows=net.memory is not None)
        config = file.config
        if "training" not in config:
            raise ModelFormatError(f"{self._path}: found a finished model, wanted a checkpoint")
        try:
            training = config["training"]
            different = self._difference(training["what"])
            of = type(net).of
            restored = None if different else of(file.snapshot, net.n_threads, net.backend, net.own_family, net.memory)
            progress = Progress(**training["progress"])
            recalls = {int(layer): float(recall) for layer, recall in training["recalls"]}
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as e:
            raise ModelFormatError(f"{self._path}: not a readable checkpoint ({type(e).__name__}: {e})") from e
        if restored is None:
            raise ValueError(different)
        net.become(restored)
        net.recalls = recalls
        last = net.states[-1]
        for manifest in stored_rows(config).values():
            if self._rows is not None and isinstance(last, StoredLayer):
                self._rows.goes_on(manifest, last.store)
        self._saved_done = progress.done
        return progress

    def _difference(self, stored: Mapping[str, Any]) -> str:
        """What differs between this fit and the one that wrote the checkpoint, "" if nothing does."""
        stored = _completed(stored)
        for name in sorted(self._what.keys() | stored.keys()):
            found, wanted = self._what.get(name), stored.get(name)
            if found == wanted:
                continue
            if name in FINGERPRINTS:
                found, wanted = _whether_given(found, "others"), _whether_given(wanted, "those")
            where, found, wanted = _innermost(name, found, wanted)
            return f"{where}: found {found}, wanted {wanted}, with which {self._path} was written"
        return ""


def _whether_given(fingerprint: Any, others: str) -> str:
    """Of rows there is only a fingerprint, which tells nobody anything, and how many were kept back behind it."""
    _, comma, kept_back = str(fingerprint).partition(",")
    return "none" if fingerprint is None else others + comma + kept_back


def _innermost(where: str, found: Any, wanted: Any) -> tuple[str, Any, Any]:
    """What differs within two values, and where: of an object or a list only its first part that does."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for key in sorted(found.keys() | wanted.keys()):
            if found.get(key) != wanted.get(key):
                return _innermost(f"{where}: {key}", found.get(key), wanted.get(key))
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
            if one != other:
                return _innermost(f"{where}: {i}", one, other)
    return where, found, wanted


def _completed(what: Mapping[str, Any]) -> dict[str, Any]:
    """What an older slide stored, with the options that it did not know as all its fits had them."""
    return {"storage": "float32", **what, "rebuild": {"incremental": False, **what["rebuild"]}}


def resume_key(
    net: Model,
    epochs: int,
    schedule: Any,
    X: Any,
    Y: Any,
    more: Mapping[str, Any] | None = None,
    known: Callable[[], str] | None = None,
) -> dict[str, Any]:
    """What must be equal between a checkpoint and the fit that goes on from it, as JSON values.

    known : gives the fingerprint of X and Y, if it is made already
    """
    config = net.config()
    start = {name: config["progress"][name] for name in ("step", "epoch")}
    del config["progress"]
    options = (
        asdict(schedule) if is_dataclass(schedule) and not isinstance(schedule, type) else {}
    )  # of the user's own, a function for instance
    config |= {"epochs": epochs, "schedule": {"name": type(schedule).__name__, **options}, "start": start}
    config |= {"data": known() if known else fingerprint(X, Y), "arrays": _digest_of_learned(net), **(more or {})}
    plain: dict[str, Any] = json.loads(json.dumps(config, default=as_json))
    return plain


def _digest_of_learned(net: Model) -> str:
    """Of the weights that a fit starts from, unless they follow from the seed."""
    digest = hashlib.blake2b(digest_size=16)
    for state in net.states if net.step else []:
        digest.update(np.ascontiguousarray(state.arrays["rows"]).data)
    return digest.hexdigest()
