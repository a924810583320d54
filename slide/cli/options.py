"""Groups of options that several verbs share; a verb's own options are in its file in slide/cli/verbs/."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from typing import Any

import slide
from slide.cli.parser import Parser
from slide.cli.sources import MATRICES, TABLES
from slide.estimator.presets import PRESETS


def add_model(parser: Parser) -> None:
    """The file of a model."""
    parser.add_argument("model", metavar="MODEL", help="a file written by slide train --out")


def add_workers(parser: Parser, engines: Sequence[str], purpose: str, number: str) -> None:
    """Several workers instead of one process (slide.distributed)."""
    parser.add_argument("--engine", choices=engines, help=f"{purpose} (docs/distributed.md)")
    parser.add_argument("--workers", metavar="N", help=f"how many, or the least and the most, like 2:8 ({number})")
    text = "of the Ray cluster, auto for the one of this machine (default: one is started here)"
    parser.add_argument("--address", metavar="HOST:PORT", help=text)


def add_recovery(parser: Parser) -> None:
    """What the workers of a fit do when one of them is lost."""
    text = (
        "exact: all go back to --checkpoint when a worker is lost, and the model has the bits of a fit that lost none"
    )
    parser.add_argument("--recovery", choices=("partial", "exact"), help=f"{text} (default: partial)")


def add_prediction_workers(parser: Parser) -> None:
    """Of a model in parts."""
    text = "MODEL is a folder of a model in parts, of which workers hold one each"
    add_workers(parser, ("local", "ray", "torch"), text, "default: 2")


def add_format(parser: Parser) -> None:
    """The format of DATA, where neither its name nor its content says it."""
    kinds = (*MATRICES, *(kind for kind in TABLES if kind not in MATRICES), "lines")
    text = "format of DATA: one of %(choices)s (default: by its ending, or how it begins); lines: a text each"
    parser.add_argument("--format", choices=kinds, metavar="NAME", help=text)


def add_text(parser: Parser) -> None:
    """Columns of a table; names and defaults of slide.TextFeatures."""
    group = parser.add_argument_group("where DATA is a table with text (.csv, .tsv, .jsonl, .parquet, .arrow)")
    group.add_argument("--text", metavar="COLUMN[,...]", help="columns of text; for embedded data: text")
    group.add_argument("--labels", metavar="COLUMN", help="column of labels; for embedded data: labels")
    group.add_argument("--label-separator", metavar="S", help="between the labels of a cell (default: one a cell)")
    group.add_argument("--words", type=int, metavar="N", help="0, 1, or 2 with pairs of words (default: 2)")
    group.add_argument("--characters", type=widths, metavar="N,N", help="pieces of words of N to N characters")
    group.add_argument("--stop-words", metavar="FILE", help="words to leave out, one or several a line")
    text = "take accents off letters, in training and prediction"
    group.add_argument("--strip-accents", action="store_true", default=None, help=text)
    text = r"what a word is, as a regular expression of Python, like '[\w#+]+' (default: letters, digits, their marks)"
    group.add_argument("--token-pattern", metavar="REGEX", help=text)
    group.add_argument("--min-rows", type=int, metavar="N", help="texts a feature is in (default: 2, of few texts 1)")
    group.add_argument("--max-share", type=float, metavar="X", help="of the texts a feature is in (default: 1)")
    group.add_argument("--max-features", type=int, metavar="N", help="the most frequent (default: no limit)")
    group.add_argument("--buckets", type=int, metavar="N", help="features share N columns, without a vocabulary")


def add_json(parser: Parser) -> None:
    """Facts for programs."""
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line of standard output")


def add_propensity(parser: Parser) -> None:
    """Constants of the propensity model (slide/metrics/propensity.py)."""
    text = "of the propensity model behind PSP@k (default: {})"
    parser.add_argument("--A", type=float, default=0.55, metavar="X", help=text.format(0.55))
    parser.add_argument("--B", type=float, default=1.5, metavar="X", help=text.format(1.5))


def add_scoring(parser: Parser) -> None:
    """How labels are scored."""
    text = "score only about N labels a row, those the tables return (default: all, or those that a ranked model takes)"
    parser.add_argument("--n-candidates", type=int, metavar="N", help=text)
    text = "bytes for the network, like 4GB: what is more is in a file (default: all in memory)"
    parser.add_argument("--memory", metavar="SIZE", help=text)
    add_machine(parser)


def add_machine(group: Any, default: Any = None) -> None:
    """Options that change how fast, not what."""
    text = "(default: the cores this process may use)"
    group.add_argument("--n-threads", "--threads", dest="n_threads", type=int, metavar="N", default=default, help=text)
    group.add_argument("--backend", choices=("c", "numba"), default=default, help="(default: c where it was built)")


def add_classifier(parser: Parser) -> None:
    """Names and defaults of slide.SlideClassifier."""
    group = parser.add_argument_group("the network and its training (names and defaults of slide.SlideClassifier)")
    defaults = inspect.signature(slide.SlideClassifier.__init__).parameters

    def option(*flags: str, help: str, **options: Any) -> None:
        name = options.get("dest") or flags[0][2:].replace("-", "_")
        default = in_words(defaults[name].default)
        group.add_argument(*flags, default=argparse.SUPPRESS, help=f"{help} (default: {default})", **options)

    text = "options for a purpose, before those given here: about half the time, the defaults, or the best scores"
    group.add_argument("--preset", choices=PRESETS, help=text)
    option("--hidden", type=widths, metavar="N[,N...]", help="widths of the hidden layers")
    option("--epochs", type=int, metavar="N", help="passes over the data")
    option("--n-active", type=int, metavar="N", help="labels that take part in a sample")
    option("--n-random", type=int, metavar="N", help="those of them drawn uniformly")
    option("--lr", type=float, metavar="X", help="learning rate")
    option("--dropout", type=float, metavar="X", help="chance that a feature is left out")
    option("--loss", choices=("softmax", "binary"), help="loss of the network")
    option("--activation", choices=("identity", "relu", "tanh"), help="of the hidden layers")
    option(
        "--wide", action=argparse.BooleanOptionalAction, help="a sparse linear part, pairs or ranking as the data want"
    )
    option("--normalize", action=argparse.BooleanOptionalAction, help="rows scaled to unit length")
    option(
        "--lsh",
        choices=("auto", "simhash", "wta", "dwta", "minhash", "euclidean", "query_cells", "none"),
        help="hash family of the tables",
    )
    group.add_argument("--K", type=int, metavar="N", help="hashes a table, with --lsh (default: by labels)")
    group.add_argument("--L", type=int, metavar="N", help="tables, with --lsh (default: 50)")
    option("--schedule", choices=("linear", "cosine", "constant"), help="of the learning rate")
    option("--optimizer", choices=("adagrad", "adam", "sgd"), help="takes --lr")
    option("--batch-size", type=int, metavar="N", help="samples that share an active set, 1 to 32")
    option("--storage", choices=("float32", "bfloat16"), help="of the network's weights")
    option("--memory", metavar="SIZE", help="bytes for the network, like 4GB; what is more is in a file")
    text = "which labels are predicted: f1, macro-f1, precision=0.9, a probability like 0.5, or a number of labels"
    option("--threshold", metavar="WISH", help=text)
    option("--random-state", "--seed", dest="random_state", type=int, metavar="N", help="seed")
    add_machine(group, argparse.SUPPRESS)


def widths(text: str) -> tuple[int, ...]:
    """``128`` or ``256,128``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, wanted whole numbers with commas between, like 256,128"
        ) from None


def in_words(default: object) -> str:
    """A default of the Python interface as the command line text it."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "chosen for you" if default is None else str(default)
