"""What every fit on the command line needs: options as Python takes them, Ctrl-C, facts to print, the model's file."""

from __future__ import annotations

import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slide
from slide.checks import require
from slide.cli.data import BlockData, MatrixData, TrainingData, validation_of
from slide.cli.files import is_stream, n_bytes, names_folder, naming, size, writable, writable_folder
from slide.cli.models import cluster_of
from slide.cli.scoring import METRICS
from slide.cli.text_data import TextData
from slide.estimator.classifier import SlideClassifier
from slide.estimator.presets import PRESETS
from slide.training.callbacks import file_logger

if TYPE_CHECKING:
    from slide.training.callbacks import FileLogger


def kind_of_data(args: Namespace) -> type[TrainingData]:
    """The kind of data that the options ask for."""
    if args.text:
        return TextData
    return MatrixData if args.rows_at_once is None else BlockData


# -- options -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FitOptions:
    """What a fit is asked for beside its data; validation is a share of the training rows, a data name, or None."""

    checkpoint: slide.Checkpoint | None
    validation: float | str | None
    early_stopping: slide.EarlyStopping | None
    log: FileLogger | None
    metric: str
    autotune: float | None
    calibrate: str | None
    cluster: Any = None

    @classmethod
    def of(cls, args: Namespace) -> FitOptions:
        """Checked before any work is done."""
        validation = validation_of(args)
        if args.patience is not None and validation is None:
            raise ValueError("--patience: found no --validation, wanted the rows to judge by: a file, or a share")
        if args.autotune is not None:
            _check_autotune(args)
        elif args.metric != "p@1" and validation is None:
            raise ValueError("--metric: found no --validation, wanted the rows to score: a file, or a share")
        _refuse_one_file_twice(args)
        early = None if args.patience is None else slide.EarlyStopping(args.patience, args.metric)
        log = args.log and file_logger(writable(args.log, args.data, args.test, args.out))
        how = args.metric, args.autotune, args.calibrate
        return cls(_checkpoint(args), validation, early, log or None, *how, cluster=_cluster(args))

    def eval_set(self, data: TrainingData) -> tuple[Any, Any] | float | None:
        """As ``SlideClassifier.fit`` takes it; files are read as the training data were."""
        return _held_out(data, self.validation) if isinstance(self.validation, str) else self.validation

    def calibration_rows(self, data: TrainingData) -> tuple[Any, Any] | bool:
        """As ``SlideClassifier.fit`` takes it."""
        return self.calibrate != "no" if self.calibrate in (None, "no") else _held_out(data, self.calibrate)


def _held_out(data: TrainingData, name: str) -> tuple[Any, Any]:
    held_out = data.held_out(name)
    assert held_out is not None
    return held_out.rows


def _refuse_one_file_twice(args: Namespace) -> None:
    """Files that are written must be different ones: a checkpoint is removed at the end of its fit."""
    files = [(f"--{name}", getattr(args, name)) for name in ("out", "checkpoint", "log") if getattr(args, name)]
    for at, (option, path) in enumerate(files):
        for other, there in files[:at]:
            if os.path.realpath(path) == os.path.realpath(there):
                raise ValueError(f"{option}: found {path}, wanted another file than that of {other}")


def _check_autotune(args: Namespace) -> None:
    """What has no sense for many fits of which one is kept."""
    require(args.autotune > 0, "--autotune", args.autotune, "minutes, over 0")
    for name in ("rows_at_once", "patience", "checkpoint", "log"):
        if getattr(args, name) is not None:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"--autotune: found {option} too, which goes with one fit; wanted one of them")


def _checkpoint(args: Namespace) -> slide.Checkpoint | None:
    """What --checkpoint, --checkpoint-minutes and --resume ask for."""
    if not args.checkpoint:
        if args.resume:
            raise ValueError("--resume: found no --checkpoint FILE, wanted the file to go on from")
        return None
    path = writable(args.checkpoint, args.data, args.test, args.out)
    if path.exists() and not args.resume:
        raise ValueError(f"--checkpoint: {path} is there already: go on from it with --resume, or remove it")
    return slide.Checkpoint(path, minutes=args.checkpoint_minutes, resume=args.resume)


def _cluster(args: Namespace) -> Any:
    """What --engine, --workers and --address ask for."""
    if args.engine is not None and args.autotune is not None:
        raise ValueError("--autotune: found --engine too, which does not go with it yet")
    if args.recovery == "exact" and not args.checkpoint:
        raise ValueError("--recovery: found exact, and no --checkpoint to go back to, wanted both")
    return cluster_of(args, args.out if in_parts(args) else None)


def in_parts(args: Namespace) -> bool:
    """Whether workers write the model into a folder, each its part."""
    return bool(args.engine and args.out) and names_folder(args.out)


def output(args: Namespace) -> Path | None:
    """Where the model goes, checked before any work is done."""
    if not args.out:
        return None
    return writable_folder(args.out) if in_parts(args) else writable(args.out, args.data, args.test)


def apply_preset(args: Namespace) -> None:
    """Puts the options of --preset where none were given, and forgets its name."""
    options = PRESETS[args.preset or "balanced"]
    args.preset = None
    for name, value in options.items():
        if not hasattr(args, name):
            setattr(args, name, value)
    if getattr(args, "wide", None) is True and not hasattr(args, "wide_options") and "wide" in options:
        args.wide = options["wide"]


def classifier_options(args: Namespace) -> dict[str, Any]:
    """Those options of SlideClassifier that were given, as Python takes them."""
    given = {k: v for k, v in vars(args).items() if k in SlideClassifier().get_params()}
    sizes = {k: getattr(args, k) for k in ("K", "L") if getattr(args, k) is not None}
    family = given.pop("lsh", "auto")
    if isinstance(family, slide.lsh.HashFamily):
        if sizes:
            raise ValueError(f"--{next(iter(sizes))}: the table [lsh] of the configuration file says it, K or L there")
        given["lsh"] = family
    elif family == "none":
        if sizes:
            raise ValueError(f"--{next(iter(sizes))}: --lsh none has no tables")
        given["lsh"] = None
    elif family != "auto" or sizes:
        given["lsh"] = slide.lsh.FAMILIES["simhash" if family == "auto" else family](**sizes)
    if isinstance(given.get("schedule"), str):
        given["schedule"] = slide.optim.SCHEDULES[given["schedule"].capitalize()]()
    if given.get("wide") is True and hasattr(args, "wide_options"):
        given["wide"] = args.wide_options
    if isinstance(given.get("optimizer"), slide.optim.Optimizer) and "lr" in given:
        given["optimizer"] = replace(given["optimizer"], lr=given["lr"])
    if isinstance(given.get("optimizer"), str):
        kinds = {"adagrad": slide.Adagrad, "adam": slide.Adam, "sgd": slide.SGD}
        rate = {"lr": given["lr"]} if "lr" in given else {}
        given["optimizer"] = kinds[given["optimizer"]](**rate)
    return given


# -- the fit -----------------------------------------------------------------------------------------------------------


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; its argument is the signal's number."""

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 or 143."""
        return 128 + int(self.args[0])


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does, so that what was learned is not lost. Only the main thread may say so."""

    def stop(number: int, _: object) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = [signal.SIGTERM, *([signal.SIGINT] if signal.getsignal(signal.SIGINT) != signal.SIG_IGN else [])]
    before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def which_model(clf: SlideClassifier, early: slide.EarlyStopping) -> str:
    """Which epoch's model was kept, and its score."""
    scores = [record[early.metric] for record in clf.history_ if record["epoch_ended"]]
    best = early.best_epoch(clf.history_)
    where = f"after epoch {best + 1} of {len(scores)}, which is kept"
    return f"best {early.metric} on the validation rows: {100 * scores[best]:.2f} {where}"


def interrupted(
    clf: SlideClassifier, target: Path | None, checkpoint: slide.Checkpoint | None, error: KeyboardInterrupt
) -> int:
    """Saves and says what is left of a training that was stopped; returns the exit code."""
    done = clf.network_.step if hasattr(clf, "fit_seconds_") else 0
    message = f"\nslide: stopped after {done:,} samples"
    if target and done:
        save(clf, target)
        message += f"; the model so far is in {target} ({size(target)})"
    elif target:
        message += f"; {target} was not written"
    if checkpoint and Path(checkpoint.path).exists():
        message += f"; the same command with --resume goes on from {checkpoint.path}"
    elif checkpoint:
        message += "; there is nothing to resume yet"
    print(message, file=sys.stderr)
    return error.exit_code if isinstance(error, Stopped) else 130


def save(clf: SlideClassifier, target: Path) -> dict[str, Any]:
    """SlideClassifier.save, or save_shards for a folder, named in what goes wrong; facts of what was written."""
    with naming(target):
        if target.is_dir():
            clf.save_shards(target)
        else:
            clf.save(target)
    return {"model": str(target), "model_bytes": None if is_stream(target) else n_bytes(target)}


def training_facts(clf: SlideClassifier, data: TrainingData, seconds: float) -> dict[str, Any]:
    """Facts of a training, for people and as JSON; scores on test rows are to be filled in."""
    net = clf.network_
    n = (clf.history_[-1]["samples"] if clf.history_ else 0) - net.samples_resumed
    validation: dict[str, Any] = next((r for r in reversed(clf.history_) if r["epoch"] == net.epoch and "p@1" in r), {})
    return {
        "data": data.name,
        "n_samples": data.n_rows,
        "n_features": net.n_features,
        "n_labels": net.n_labels,
        "epochs": net.epoch,
        "n_trained": n,
        "train_seconds": round(seconds, 3),
        "samples_per_second": round(n / seconds, 1),
        "n_threads": net.n_threads,
        "backend": net.backend,
        "isa": net.isa,
        "model": None,
        "model_bytes": None,
        **dict.fromkeys(METRICS),
        **_traffic(net, n, seconds),
        **{f"validation_{name}": round(100 * value, 2) for name, value in validation.items() if "@" in name},
    }


def _traffic(net: slide.Network, n: int, seconds: float) -> dict[str, Any]:
    """Of a network whose rows are in a file: how many were read a sample, and the share of the time that took."""
    found = net.traffic
    if found is None:
        return {}
    facts = {"rows_read_a_sample": round(found.read / max(n, 1), 2), "row_share": round(found.waiting / seconds, 3)}
    return {**facts, "rows_in_a_file": {k: round(v, 3) for k, v in vars(found).items()}}
