"""``slide info``, ``card`` and ``config``: what is in a model or in data, a model's card, what runs on this machine."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

import numpy as np

import slide
from slide.checks import require
from slide.cli.data import read_data
from slide.cli.files import opened, writable
from slide.cli.models import is_model, load_classifier
from slide.cli.options import add_format, add_json, add_machine, add_model
from slide.cli.parser import Parser, Verb
from slide.cli.sources import is_text_table, label, source_of
from slide.errors import ModelFormatError
from slide.estimator.card import fact_text
from slide.estimator.planned import ServingPlan
from slide.estimator.speed_report import SpeedReport
from slide.io.model_file import describe
from slide.io.shards import describe_shards, is_folder
from slide.model.snapshot import TABLE_ARRAYS, layer_from
from slide.model.store.size import BudgetError, Needs, parse_memory
from slide.text.table_files import read_columns
from slide.training import bars

EXAMPLES = """\
examples:
  slide info model.slide
  slide info train.txt.gz --json
"""


# -- info --------------------------------------------------------------------------------------------------------------


def add_options(parser: Parser) -> None:
    """A file of either kind."""
    parser.add_argument("path", metavar="MODEL|DATA", help="a model, a data file, or the name of an embedded data set")
    add_format(parser)
    text = "say how many output rows of a model this budget would hold, like 4GB"
    parser.add_argument("--memory", metavar="SIZE", help=text)
    add_json(parser)


def run(args: Namespace) -> int:
    """Describes a model or data."""
    memory = parse_memory(args.memory)
    if is_model(args.path):
        facts = describe_model(args.path, memory)
    else:
        require(memory is None, "--memory", args.memory, f"a model: {args.path} is data")
        facts = describe_data(args.path, args.format)
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<{width}}{_format(value)}")
    if args.json:
        print(json.dumps(facts))
    return 0


def _format(value: Any) -> str:
    if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
        return "; ".join(f"{k!r}: {_format(v)}" for k, v in value.items())
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {_format(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "; ".join(map(_format, value))
    return fact_text(value)


def describe_model(path: str, memory: int | None = None) -> dict[str, Any]:
    """Facts from a model's header; memory : bytes of a budget that it is held against."""
    header = describe_shards(path) if is_folder(path) else describe(path)
    net = header["network"]
    layers = net["layers"]
    parts = {"parts": header["parts"]} if "parts" in header else {}
    facts = {
        "model": path,
        **parts,
        "format_version": header["format_version"],
        "n_features": layers[0]["n_features"],
        "n_labels": layers[-1]["n"],
        "layers": [_named(layer) for layer in layers],
        "wide": _options(net["wide"]) if net.get("wide") else "none",
        "rank": _ranked(header["array_bytes"]),
        "optimizer": _named(net["optimizer"], "name"),
        "loss": net["loss"],
        "samples_trained": net["progress"]["step"],
        "epochs_trained": net["progress"]["epoch"],
        "weights": _storage(header),
        "weights_bytes": sum(n for name, n in header["array_bytes"].items() if _is_parameter(name)),
        "model_bytes": header["file_bytes"],
        **_memory(path, header, memory),
    }
    classifier = header.get("classifier", {})
    if "optimized" in classifier:
        plan = ServingPlan.restored(classifier["optimized"]["plan"])
        facts["optimized"] = f"{plan} ({SpeedReport.restored(classifier['optimized']['report']).summary})"
    fitted = classifier.get("fitted", {})
    return facts | {k.rstrip("_"): v for k, v in fitted.items()}


def _memory(path: str, header: dict[str, Any], budget: int | None) -> dict[str, Any]:
    """What the network takes in memory, and what a budget would hold of it (docs/memory.md): nothing is allocated."""
    net = header["network"]
    try:
        layers = [layer_from(layer, None) for layer in net["layers"]]
    except (LookupError, TypeError, ValueError, AttributeError) as e:
        raise ModelFormatError(f"{path}: no layers that slide knows: {e}") from e
    try:
        needs = Needs.of_file(layers, net.get("batch_size"), header["array_bytes"])
    except BudgetError:  # such a model is in memory, or nowhere
        if budget is not None:
            raise
        return {}
    facts = {"network_bytes": needs.all_bytes, "least_memory": needs.least}
    return facts if budget is None else facts | {"rows_in_memory": needs.split(budget)[0]}


def _is_parameter(name: str) -> bool:
    """Whether an array is learned; tables, hash functions, and names of labels and features are beside the weights."""
    layer, _, what = name.partition(".")
    return (layer.startswith("layer") and what not in TABLE_ARRAYS) or layer in ("wide", "rank")


def _ranked(array_bytes: dict[str, int]) -> str:
    """What the sparse rows hold that rank the network's best labels."""
    if "rank.weights" in array_bytes:
        return f"{array_bytes['rank.weights'] // 4:,} weights of sparse rows"
    if "rank.codes" in array_bytes:
        return f"{array_bytes['rank.codes']:,} weights of sparse rows, of 8 bits"
    return "none"


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


def describe_data(name: str, kind: str | None = None) -> dict[str, Any]:
    """Sizes and frequencies of a data file or of an embedded data set's training part; of a table, its columns."""
    if is_text_table(name, kind):
        return describe_table(name, kind)
    data = read_data(name, kind)
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
    return facts | ({"n_test_samples": data.test.n_rows} if data.test else {})


def describe_table(name: str, kind: str | None = None) -> dict[str, Any]:
    """Rows of a table, and of each column how many cells are filled and how many differ; of text, its mean length."""
    with bars.waiting(f"reading {name} ..."):
        columns = read_columns(source_of(name), None, kind)
    n = len(next(iter(columns.values()), []))
    return {"data": label(name), "n_samples": n, "columns": {k: _column(v) for k, v in columns.items()}}


def _column(cells: list[Any]) -> dict[str, Any]:
    filled = [cell for cell in cells if cell is not None and cell != "" and cell != []]
    facts: dict[str, Any] = {"filled": len(filled), "distinct": len({str(cell) for cell in filled})}
    lengths = [len(cell) for cell in filled if isinstance(cell, str | list)]
    return facts | ({"mean_length": sum(lengths) / len(lengths)} if lengths else {})


def _median(ascending: Any, zeros: int) -> float:
    """Of so many zeros and then these numbers."""
    n = zeros + len(ascending)
    middle = [int(ascending[i - zeros]) if i >= zeros else 0 for i in ((n - 1) // 2, n // 2)] if n else [0, 0]
    return sum(middle) / 2


# -- card, config ------------------------------------------------------------------------------------------------------


def add_card_options(parser: Parser) -> None:
    """The model, and where the card is written."""
    add_model(parser)
    parser.add_argument("--out", metavar="FILE", help="write here instead of to standard output")
    add_machine(parser)


def run_card(args: Namespace) -> int:
    """Prints a model's card, or writes it to a file."""
    target = writable(args.out, args.model) if args.out else None
    clf = load_classifier(args, "a card belongs to a SlideClassifier")
    with opened(target) as out:
        out.write(clf.card())
    return 0


def run_config(args: Namespace) -> int:
    """Prints slide.show_config()."""
    facts = slide.show_config()
    if args.json:
        print(json.dumps(facts))
    return 0


INFO = Verb(
    "info",
    "MODEL|DATA [--json]",
    "describe a model or data, without loading a model's weights",
    add_options,
    run,
    EXAMPLES,
)
CARD = Verb(
    "card",
    "MODEL [--out FILE]",
    "the model card: data, options, time, scores and limits",
    add_card_options,
    run_card,
)
CONFIG = Verb(
    "config",
    "[--json]",
    "say what runs here: instruction set, OpenMP, threads, versions",
    add_json,
    run_config,
)
