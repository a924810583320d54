"""What each verb of the command line does. Its options are in slide/cli/options.py, training in slide/cli/verbs/train.py."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp

import slide
from slide.cli.data import Data, check_columns, naming, read_data, read_test, size, whole_file, writable
from slide.engine.threads import resolve_threads
from slide.estimator.classifier import SlideClassifier
from slide.network import Network
from slide.text.classifier import SlideTextClassifier
from slide.training import bars
from slide.training.evaluation import KS

METRICS = [f"{name}@{k}" for name in ("p", "psp") for k in KS]
ROWS_AT_ONCE = 1024  # scored by one call, so that Ctrl-C and the bar are served in between

Model = SlideClassifier | Network


# -- eval, predict -----------------------------------------------------------------------------------------------------


def evaluate(args: Namespace) -> int:
    """Scores a saved model."""
    from slide.cli.verbs import text

    known = args.train or args.data in slide.datasets.names()
    if args.by_frequency and not known:
        raise ValueError("--by-frequency: found no --train, wanted the training data to count labels in")
    model = load_model(args)
    net = network_of(model)
    if isinstance(model, SlideTextClassifier):
        data = text.test_data(model, args, labels=True)
        return _evaluated(args, model, data, text.train_labels(model, args))
    train_part, test_part = read_data(args.data)
    data, Y_train = test_part or train_part, train_part.Y if test_part else None
    data = check_columns(data, net.n_features, net.n_labels, args.model)
    if args.train:
        trained_on = read_data(args.train)[0]
        trained_on = check_columns(trained_on, net.n_features, net.n_labels, args.model)
        Y_train = trained_on.Y
    return _evaluated(args, model, data, Y_train)


def _evaluated(args: Namespace, model: Model, data: Data, Y_train: sp.csr_array | None) -> int:
    """Scores and prints."""
    net = network_of(model)
    print(data, flush=True)
    facts = {
        "model": args.model,
        "model_bytes": os.path.getsize(args.model),
        "n_features": net.n_features,
        "n_labels": net.n_labels,
        "train_seconds": getattr(model, "fit_seconds_", None),
        "samples_per_second": getattr(model, "samples_per_second_", None),
        **dict.fromkeys(METRICS),
        **score(model, data, Y_train, args.n_candidates, A=args.A, B=args.B),
    }
    print(table(facts))
    if Y_train is None:
        print("PSP@k needs the training data: --train DATA")
    if args.by_frequency:
        print(frequency_table(facts))
    if args.json:
        print(json.dumps(facts))
    return 0


def score(
    model: Model, data: Data, Y_train: sp.csr_array | None, n_candidates: int | None = None, **propensity: float
) -> dict[str, Any]:
    """Every metric in percent, and how long scoring took."""
    begin = time.perf_counter()
    n = data.Y.shape[0]
    ids, _ = predicted(model, data, n_candidates)
    seconds = time.perf_counter() - begin
    found = slide.metrics.evaluate(data.Y, ids, Y_train, KS, **propensity)
    facts = {"test": data.name, "n_test_samples": n, "predict_seconds": round(seconds, 3), **percent(found)}
    if Y_train is None:
        return facts
    groups = slide.metrics.by_frequency(data.Y, ids, Y_train, max(KS))
    return facts | {"by_frequency": [group._asdict() for group in groups]}


def predicted(model: Model, data: Data, n_candidates: int | None = None) -> tuple[Any, Any]:
    """The five best labels of each row and their scores, [n, 5]; -1 where there are fewer labels."""
    n, n_labels = data.Y.shape
    k = min(max(KS), n_labels)
    ids, scores = np.full((n, max(KS)), -1, np.int32), np.zeros((n, max(KS)), np.float32)
    for rows, best, values in blocks(model, data.X, k, n_candidates):
        ids[rows, :k], scores[rows, :k] = best, values
    return ids, scores


def percent(found: Mapping[str, float]) -> dict[str, float | None]:
    """Fractions as percentages to print; None for what is not defined."""
    return {name: round(100 * value, 2) if math.isfinite(value) else None for name, value in found.items()}


def frequency_table(facts: dict[str, Any]) -> str:
    """What the labels of each frequency are worth."""
    lines = [f"{'training rows':>16}{'labels':>11}{'true':>11}{'recall@5':>11}{'precision@5':>13}"]
    for group in [slide.metrics.Frequency(**g) for g in facts["by_frequency"]]:
        span = f"{group.least:,}" if group.least == group.most else f"{group.least:,} to {group.most:,}"
        shares = [f"{100 * x:.2f}" if math.isfinite(x) else "" for x in (group.recall, group.precision)]
        lines.append(f"{span:>16}{group.labels:>11,}{group.true:>11,}{shares[0]:>11}{shares[1]:>13}")
    return "\n".join(lines)


def table(facts: dict[str, Any]) -> str:
    """P@k and PSP@k as people read them."""
    lines = ["  %   " + "".join(f"{'@' + str(k):>8}" for k in KS)]
    for name in ("p", "psp"):
        values = [facts[f"{name}@{k}"] for k in KS]
        if None not in values:
            lines.append(f"{name.upper():<6}" + "".join(f"{v:8.2f}" for v in values))
    n, seconds = facts["n_test_samples"], facts["predict_seconds"]
    lines.append(f"scored {n:,} rows in {bars.duration(seconds)}: {1000 * seconds / max(n, 1):.3g} ms a row")
    return "\n".join(lines)


def predict(args: Namespace) -> int:
    """Writes label:score pairs, a line for each row."""
    from slide.cli.verbs import text

    if args.text:
        return text.predict_texts(args)
    if not args.data:
        raise ValueError("DATA: found none, wanted a file, or texts after --text")
    target = writable(args.out, args.data, args.model) if args.out else None
    model = load_model(args)
    texts = model if isinstance(model, SlideTextClassifier) else None
    data = text.test_data(texts, args, labels=False) if texts else read_test(args.data)
    with whole_file(target) if target else _standard_output() as out:
        first = True
        for _, ids, scores in blocks(model, data.X, args.k, args.n_candidates):
            if first and args.header:
                out.write(f"{data.X.shape[0]} {network_of(model).n_labels}\n")
            first = False
            out.writelines(text.lines(texts, ids, scores) if texts else _lines(ids, scores))
    return 0


def _lines(ids: Any, scores: Any) -> Iterator[str]:
    for labels, values in zip(ids.tolist(), scores.tolist(), strict=True):
        yield " ".join(f"{i}:{s:.6g}" for i, s in zip(labels, values, strict=True) if i >= 0) + "\n"


def blocks(model: Model, X: sp.csr_array, k: int, n_candidates: int | None) -> Iterator[tuple[slice, Any, Any]]:
    """Rows, ids and scores of predict_topk, a block of rows at a time."""
    n = X.shape[0]
    with bars.follow_rows("scoring", n) as advance:
        for first in range(0, max(n, 1), ROWS_AT_ONCE):
            rows = slice(first, min(first + ROWS_AT_ONCE, n))
            yield rows, *model.predict_topk(X[rows], k, n_candidates=n_candidates)
            advance(rows.stop - first)


@contextmanager
def _standard_output() -> Iterator[IO[str]]:
    yield sys.stdout


def load_model(args: Namespace) -> Model:
    """The model that an evaluation or prediction names."""
    n_threads = resolve_threads(args.n_threads)
    with bars.waiting(f"loading {args.model} ..."):
        return slide.load(args.model, n_threads=n_threads, backend=args.backend)


def network_of(model: Model) -> Network:
    """A classifier's network, or the network itself."""
    return model.network_ if isinstance(model, SlideClassifier) else model


# -- info, config ------------------------------------------------------------------------------------------------------


def info(args: Namespace) -> int:
    """Describes a model or data."""
    facts = describe_model(args.path) if is_model(args.path) else describe_data(args.path)
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<{width}}{_told(value)}")
    if args.json:
        print(json.dumps(facts))
    return 0


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_told(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "; ".join(map(_told, value))
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def is_model(path: str) -> bool:
    """Whether a file opens as a model does: 8 bytes of length, then JSON. Its name decides where it is too short."""
    if path in slide.datasets.names() or not os.path.isfile(path):
        return path.endswith(".slide")
    with open(path, "rb") as file:
        head = file.read(9)
    return head[8:] == b"{" or path.endswith(".slide")


def describe_model(path: str) -> dict[str, Any]:
    """Facts from a model's header."""
    from slide.io.model_file import describe

    header = describe(path)
    net = header["network"]
    layers = net["layers"]
    facts = {
        "model": path,
        "format_version": header["format_version"],
        "n_features": layers[0]["n_features"],
        "n_labels": layers[-1]["n"],
        "layers": [_named(layer) for layer in layers],
        "wide": _options(net["wide"]) if net.get("wide") else "none",
        "optimizer": _named(net["optimizer"], "name"),
        "loss": net["loss"],
        "samples_trained": net["progress"]["step"],
        "epochs_trained": net["progress"]["epoch"],
        "weights": _storage(header),
        "weights_bytes": sum(header["array_bytes"].values()),
        "model_bytes": header["file_bytes"],
    }
    fitted = header.get("classifier", {}).get("fitted", {})
    return facts | {k.rstrip("_"): v for k, v in fitted.items()}


def _storage(header: dict[str, Any]) -> str:
    if "layer0.codes" in header["array_bytes"]:
        return "8 bits, to predict only"
    return str(header["network"].get("storage", "float32"))


def _named(config: dict[str, Any], key: str = "kind") -> str:
    """``sampled(n=12702, n_active=300)``."""
    rest = {k: _named(v) if isinstance(v, dict) else v for k, v in config.items() if k != key}
    return f"{config[key]}({_options(rest)})"


def _options(config: dict[str, Any]) -> str:
    return ", ".join(f"{k}={v}" for k, v in config.items())


def describe_data(name: str) -> dict[str, Any]:
    """Sizes and frequencies of a data file or of an embedded data set's training part."""
    data, test = read_data(name)
    n, d = data.X.shape
    features, labels = np.diff(data.X.indptr), np.diff(data.Y.indptr)
    frequency = np.unique(data.Y.indices, return_counts=True)[1]  # of those met: a header may promise 2^31 labels
    unmet = data.Y.shape[1] - len(frequency)
    facts: dict[str, Any] = {
        "data": data.name,
        "n_samples": n,
        "n_features": d,
        "n_labels": data.Y.shape[1],
        "features_per_sample": float(features.mean()) if n else 0.0,
        "labels_per_sample": float(labels.mean()) if n else 0.0,
        "samples_without_features": int((features == 0).sum()),
        "samples_without_labels": int((labels == 0).sum()),
        "labels_without_samples": unmet,
        "samples_per_label_median": _median(np.sort(frequency), unmet),
        "samples_per_label_max": int(frequency.max(initial=0)),
    }
    return facts | ({"n_test_samples": test.X.shape[0]} if test else {})


def _median(ascending: Any, zeros: int) -> float:
    """Of so many zeros and then these numbers."""
    n = zeros + len(ascending)
    middle = [int(ascending[i - zeros]) if i >= zeros else 0 for i in ((n - 1) // 2, n // 2)] if n else [0, 0]
    return sum(middle) / 2


def config(args: Namespace) -> int:
    """Prints slide.show_config()."""
    facts = slide.show_config()
    if args.json:
        print(json.dumps(facts))
    return 0


def card(args: Namespace) -> int:
    """Prints a model's card, or writes it to a file."""
    target = writable(args.out, args.model) if args.out else None
    model = load_model(args)
    if not isinstance(model, SlideClassifier):
        raise ValueError(f"{args.model}: holds a network, and a card belongs to a SlideClassifier")
    with whole_file(target) if target else _standard_output() as out:
        out.write(model.card())
    return 0


def convert(args: Namespace) -> int:
    """Writes data in another format."""
    from slide.io import formats

    target = writable(args.out, args.data)
    kinds = args.source or formats.format_of(args.data), args.target or formats.format_of(args.out)
    if args.data in slide.datasets.names():
        data = read_test(args.data) if args.part == "test" else read_data(args.data)[0]
    elif args.part:
        raise ValueError(f"--part: {args.data} is a file, and has no parts")
    else:
        zero_based = None if args.one_based is None else not args.one_based
        with bars.waiting(f"reading {args.data} ..."):
            data = Data(args.data, *formats.read(args.data, kinds[0], zero_based=zero_based))
    print(data, flush=True)
    with naming(target), bars.waiting(f"writing {target} ..."):
        formats.write(target, data.X, data.Y, kinds[1])
    print(f"{kinds[1]}: {target} ({size(target)})")
    return 0


def compress(args: Namespace) -> int:
    """Writes a model with weights of 8 bits."""
    target = writable(args.out, args.model)
    with bars.waiting(f"loading {args.model} ..."):
        model = slide.load(args.model)
    with naming(target):
        model.compress().save(target)
    print(f"compressed: {target} ({size(target)}, {size(Path(args.model))} before)")
    return 0


def export(args: Namespace) -> int:
    """Writes a model as an ONNX graph."""
    target = writable(args.out, args.model)
    model = load_model(args)
    with naming(target):
        model.export_onnx(target, k=args.k)
    print(f"onnx: {target} ({size(target)})")
    return 0


def bench(args: Namespace) -> int:
    """Trains, and says where the time goes."""
    from slide.cli.verbs import bench

    return bench.bench(args)


def completion(args: Namespace) -> int:
    """Prints a script that completes this command in a shell."""
    from slide.cli import completion as made

    print(made.script(args.shell))
    return 0


def report(args: Namespace) -> int:
    """Writes a page of pictures about a model."""
    from slide.cli.verbs import report

    return report.report(args)


def lsh(args: Namespace) -> int:
    """Reports on a model's tables."""
    from slide.cli.verbs import lsh

    return lsh.lsh(args)


def train(args: Namespace) -> int:
    """Trains, saves, scores."""
    from slide.cli.verbs import train

    return train.train(args)


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "info": info,
    "lsh": lsh,
    "card": card,
    "convert": convert,
    "bench": bench,
    "completion": completion,
    "compress": compress,
    "export": export,
    "report": report,
    "config": config,
}
