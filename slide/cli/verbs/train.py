"""``slide train``: what is asked for on the command line becomes a fit, a model file and scores.

Training on text is in slide/cli/verbs/text.py, which shares most of this; the other verbs are in slide/cli/commands.py.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import slide
from slide.cli.commands import METRICS, score, table
from slide.cli.data import Data, InBlocks, check_columns, naming, read_blocks, read_data, read_test, size, writable
from slide.estimator.classifier import SlideClassifier
from slide.estimator.presets import PRESETS
from slide.training import bars
from slide.training.callbacks import FileLogger, file_logger


@dataclass(frozen=True)
class Wishes:
    """What a fit is asked for beside its data; validation is a share of the training rows, a data name, or None."""

    checkpoint: slide.Checkpoint | None
    validation: float | str | None
    early_stopping: slide.EarlyStopping | None
    log: FileLogger | None

    @classmethod
    def of(cls, args: Namespace) -> Wishes:
        """Checked before any work is done."""
        validation: float | str | None = args.validation
        with suppress(TypeError, ValueError):
            validation = float(args.validation)
        if args.patience is not None and validation is None:
            raise ValueError("--patience: found no --validation, wanted the rows to judge by: a file, or a share")
        early = None if args.patience is None else slide.EarlyStopping(args.patience, args.metric)
        log = args.log and file_logger(writable(args.log, args.data, args.test, args.out))
        return cls(checkpoint_of(args), validation, early, log or None)

    def eval_set(self, read: Callable[[str], tuple[Any, Any]]) -> tuple[Any, Any] | float | None:
        """As ``SlideClassifier.fit`` takes it; read makes a pair of a data set's name."""
        return read(self.validation) if isinstance(self.validation, str) else self.validation


def train(args: Namespace) -> int:
    """Trains, saves, scores; saves what there is if interrupted."""
    from slide.cli.verbs import text

    apply_preset(args)
    if args.print_config:
        from slide.cli.config_file import dump
        from slide.cli.options import verb_parser

        classifier_options(args)  # refuses what contradicts itself
        print(dump(args, verb_parser("train")), end="")
        return 0
    if not args.data:
        raise ValueError(
            "DATA: found none, wanted a file, or the name of an embedded data set (see slide train --help)"
        )
    if args.text:
        return text.train(args)
    text.check_columns(args.data)
    target = writable(args.out, args.data, args.test) if args.out else None
    data: Data | InBlocks
    if args.rows_at_once is None:
        data, test = read_data(args.data)
    else:
        data, test = _in_blocks(args), None
    if args.test:
        test = read_test(args.test)
    if test:
        test = check_columns(test, *data.sizes[1:], data.name)
    wishes = Wishes.of(args)
    clf = SlideClassifier(**classifier_options(args))
    print(data, flush=True)
    if test:
        print(test, flush=True)
    eval_set = wishes.eval_set(lambda name: _fitting(name, data))
    if isinstance(data, InBlocks):
        seconds = fit(clf, data.sizes[0], clf.fit_blocks, (data.blocks,), wishes, eval_set=eval_set)
    else:
        told = {"eval_set": eval_set, "checkpoint": wishes.checkpoint}
        seconds = fit(clf, data.sizes[0], clf.fit, (data.X, data.Y), wishes, **told)
    if not seconds:
        return interrupted(clf, target, wishes.checkpoint)
    facts = trained(clf, data, seconds)
    if target:
        save(clf, target)
        facts |= {"model": str(target), "model_bytes": target.stat().st_size}
    print(f"trained {facts['n_trained']:,} samples in {bars.duration(seconds)}: ", end="")
    print(f"{facts['samples_per_second']:,.0f} samples/s, {facts['n_threads']} threads", flush=True)
    if target:
        print(f"model: {target} ({size(target)})", flush=True)
    if test:
        facts |= score(clf, test, data.Y, A=args.A, B=args.B)
        keep_score(clf, facts, target)
        print(table(facts))
    discard(wishes.checkpoint)
    if args.json:
        print(json.dumps(facts))
    return 0


def _in_blocks(args: Namespace) -> InBlocks:
    """What --rows-at-once asks for; refuses what needs all rows at once."""
    if args.checkpoint:
        raise ValueError("--checkpoint: found --rows-at-once, wanted one of them: only a fit in memory is resumed")
    if isinstance(Wishes.of(args).validation, float):
        raise ValueError(f"--validation: found {args.validation} and --rows-at-once, wanted a file to score by")
    return read_blocks(args.data, args.rows_at_once)


def _fitting(name: str, data: Data | InBlocks) -> tuple[Any, Any]:
    """Rows and labels to score by, which have the columns of those to train on."""
    held = check_columns(read_test(name), *data.sizes[1:], data.name)
    return held.X, held.Y


def fit(
    clf: SlideClassifier, n: int, train: Callable[..., Any], data: tuple[Any, ...], wishes: Wishes, **told: Any
) -> float | None:
    """Wall-clock seconds of train(*data, **told) on n rows, preparation included; None if it was interrupted."""
    begin = time.perf_counter()
    try:
        with _stoppable(), bars.follow_fit(clf.epochs * n) as shown:
            callback = [shown, wishes.log] if wishes.log else shown
            train(*data, callback=callback, early_stopping=wishes.early_stopping, **told)
    except KeyboardInterrupt:
        return None
    if wishes.early_stopping:
        print(_which_model(clf, wishes.early_stopping))
    return time.perf_counter() - begin


def _which_model(clf: SlideClassifier, early: slide.EarlyStopping) -> str:
    scores = [record[early.metric] for record in clf.history_ if record["epoch_ended"]]
    best = early.best_epoch(clf.history_)
    where = f"after epoch {best + 1} of {len(scores)}, which is kept"
    return f"best {early.metric} on the validation rows: {100 * scores[best]:.2f} {where}"


def checkpoint_of(args: Namespace) -> slide.Checkpoint | None:
    """What --checkpoint, --checkpoint-minutes and --resume ask for."""
    if not args.checkpoint:
        if args.resume:
            raise ValueError("--resume: found no --checkpoint FILE, wanted the file to go on from")
        return None
    path = writable(args.checkpoint, args.data, args.test, args.out)
    if path.exists() and not args.resume:
        raise ValueError(f"--checkpoint: {path} is there already: go on from it with --resume, or remove it")
    return slide.Checkpoint(path, minutes=args.checkpoint_minutes, resume=args.resume)


def discard(checkpoint: slide.Checkpoint | None) -> None:
    """Training is over, and its model saved."""
    if checkpoint:
        Path(checkpoint.path).unlink(missing_ok=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does, so that what was learned is not lost. Only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupted(clf: SlideClassifier, target: Path | None, checkpoint: slide.Checkpoint | None) -> int:
    """Says what is left of a training that was stopped."""
    done = clf.network_.step if hasattr(clf, "fit_seconds_") else 0
    told = f"\nslide: stopped after {done:,} samples"
    if target and done:
        save(clf, target)
        told += f"; the model so far is in {target} ({size(target)})"
    elif target:
        told += f"; {target} was not written"
    if checkpoint and Path(checkpoint.path).exists():
        told += f"; --resume goes on from {checkpoint.path}"
    print(told, file=sys.stderr)
    return 130


def save(clf: SlideClassifier, target: Path) -> None:
    """SlideClassifier.save, with the file named in what goes wrong."""
    with naming(target):
        clf.save(target)


def keep_score(clf: SlideClassifier, facts: dict[str, Any], target: Path | None) -> None:
    """Puts the scores of the test rows into the model's card, and writes the file again."""
    clf.card_.scored(facts["test"], facts)
    if target:
        save(clf, target)
        facts["model_bytes"] = target.stat().st_size


def trained(clf: SlideClassifier, data: Data | InBlocks, seconds: float) -> dict[str, Any]:
    """Facts of a training, for people and as JSON."""
    net = clf.network_
    n = (clf.history_[-1]["samples"] if clf.history_ else 0) - net.samples_resumed
    validation: dict[str, Any] = next((r for r in reversed(clf.history_) if r["epoch"] == net.epoch and "p@1" in r), {})
    return {
        "data": data.name,
        "n_samples": data.sizes[0],
        "n_features": data.sizes[1],
        "n_labels": data.sizes[2],
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
        **{f"validation_{name}": round(100 * validation[name], 2) for name in METRICS if name in validation},
    }


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
