"""The verbs of the command line and their options; what they do is in slide/cli/commands.py."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

import slide
from slide.cli.parser import Parser
from slide.estimator.presets import PRESETS
from slide.training.evaluation import METRICS as EVALUATED

DESCRIPTION = """\
Train and serve classifiers with 10,000 to 10,000,000 labels on an ordinary CPU.

DATA is a file in the extreme-classification format (.txt or .txt.gz: a line "rows features labels", then
"label,label feature:value feature:value ..." a row), SVMlight (.svm, .libsvm), .npz or .parquet (docs/command-line.md),
or the name of an embedded data set: wordnet-hypernym.
"""

EXAMPLES = """\
examples:
  slide train wordnet-hypernym                                  train on embedded data, score its test part
  slide train train.txt --test test.txt --out model.slide       train, score, save
  slide predict model.slide test.txt -k 5 --out best.txt        the five best labels of each row
  slide info model.slide                                        what is in a model, or in a data file

slide COMMAND --help says more about each. Exit codes: 0 done, 2 bad input or nowhere to write, 130 stopped by Ctrl-C or
SIGTERM, 141 the reader of the output went away.
"""

TRAIN_EXAMPLES = """\
examples:
  slide train wordnet-hypernym --out model.slide
  slide train train.txt.gz --test test.txt.gz --epochs 10 --hidden 256 --n-active 1500
  slide train train.txt --out model.slide --checkpoint run.checkpoint --resume   after a kill: goes on where it was
  slide train --config run.toml --epochs 3
  slide train data.csv --text title,body --labels tags --label-separator ';' --out tags.slide
  slide train train.txt --validation 0.1 --patience 2 --log run.csv --out model.slide
  slide train train.txt --test test.txt --json | tail -n 1 | jq '."p@1"'

Ctrl-C and SIGTERM stop within a second; with --out the model so far is saved. --json: percentages are 0 to 100.
"""

EVAL_EXAMPLES = """\
examples:
  slide eval model.slide test.txt --train train.txt
  slide eval model.slide wordnet-hypernym --by-frequency
"""

PREDICT_EXAMPLES = """\
examples:
  slide predict model.slide test.txt -k 5 > best.txt
  slide predict tags.slide --text "a feline that hunts mice"
  slide predict model.slide test.txt -k 100 --n-candidates 2000 --header --out scores.txt

A line of output belongs to a row of DATA and holds label:score pairs, best first. Labels in DATA are ignored. For a
model trained on text, DATA is a table with the columns it was trained on, and pairs have names and tabs between.
"""

INFO_EXAMPLES = """\
examples:
  slide info model.slide
  slide info train.txt.gz --json
"""


REPORT_EXAMPLES = """\
examples:
  slide report model.slide wordnet-hypernym --html report.html
  slide report model.slide test.txt --train train.txt --html report.html
"""

BENCH_EXAMPLES = """\
examples:
  slide bench wordnet-hypernym
  slide bench train.txt --epochs 1 --batch-size 1 --lsh simhash
"""

CONVERT_EXAMPLES = """\
examples:
  slide convert train.svm train.txt.gz
  slide convert train.txt train.npz
  slide convert wordnet-hypernym test.parquet --part test
"""

COMPLETION_EXAMPLES = """\
examples:
  slide completion bash > ~/.local/share/bash-completion/completions/slide
  slide completion zsh > ~/.zsh/completions/_slide
"""

LSH_EXAMPLES = """\
examples:
  slide lsh model.slide
  slide lsh model.slide wordnet-hypernym --plot tables.png
"""


def verb_parser(name: str) -> Parser:
    """The parser of one verb's options."""
    (verbs,) = (a.choices for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    found: Parser = verbs[name]
    return found


def make_parser() -> Parser:
    """The whole command line."""
    parser = Parser(prog="slide", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"slide {slide.__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(verbs)
    _add_eval(verbs)
    _add_predict(verbs)
    _add_info(verbs)
    _add_lsh(verbs)
    _add_card(verbs)
    _add_bench(verbs)
    _add_convert(verbs)
    _add_compress(verbs)
    _add_export(verbs)
    says = "print a script that completes this command's verbs, options and files in a shell"
    completion = _verb(verbs, "completion", "SHELL", says, COMPLETION_EXAMPLES)
    completion.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"), help="bash, zsh or tcsh")
    _add_report(verbs)
    config = _verb(verbs, "config", "[--json]", "say what runs here: instruction set, OpenMP, threads, versions")
    _add_json(config)
    return parser


def _verb(verbs: Any, name: str, usage: str, says: str, examples: str = "") -> Parser:
    from slide.cli import commands

    told = {"help": says, "description": says[0].upper() + says[1:] + ".", "epilog": examples}
    parser: Parser = verbs.add_parser(name, usage=f"slide {name} {usage}", **told)
    parser.add_argument("--debug", action="store_true", help="show where in the program an error arose")
    parser.set_defaults(run=commands.COMMANDS[name])
    return parser


def _add_model(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a file written by slide train --out")


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line of standard output")


def _add_propensity(parser: Parser) -> None:
    says = "of the propensity model behind PSP@k (default: {})"
    parser.add_argument("--A", type=float, default=0.55, metavar="X", help=says.format(0.55))
    parser.add_argument("--B", type=float, default=1.5, metavar="X", help=says.format(1.5))


def _add_train(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "train",
        "DATA [--test DATA] [--out MODEL] [--config FILE] [--json] [options]",
        "train a network and say how good it is",
        TRAIN_EXAMPLES,
    )
    says = "training data: a file, or the name of an embedded data set"
    parser.add_argument("data", metavar="DATA", nargs="?", help=says)
    says = "options from this TOML file, named as here with _ for -; flags override it"
    parser.add_argument("--config", metavar="FILE", help=says)
    says = "print all options in effect as such a file, and do nothing else"
    parser.add_argument("--print-config", action="store_true", help=says)
    parser.add_argument("--test", metavar="DATA", help="score on this file (an embedded data set brings its own)")
    parser.add_argument("--out", metavar="MODEL", help="save the model to this file")
    says = "read DATA, which is XMC text, N rows at a time: for files larger than memory"
    parser.add_argument("--rows-at-once", type=int, metavar="N", help=says)
    parser.add_argument("--checkpoint", metavar="FILE", help="save the training's state to this file now and then")
    says = "minutes between two checkpoints (default: %(default)g)"
    parser.add_argument("--checkpoint-minutes", type=float, metavar="X", default=5.0, help=says)
    parser.add_argument("--resume", action="store_true", help="go on from --checkpoint FILE, if it is there")
    says = "score this after each epoch, without training on it: data, or the share of DATA to hold out, like 0.1"
    parser.add_argument("--validation", metavar="DATA|X", help=says)
    says = "stop after N epochs without a better score there, and keep the best model"
    parser.add_argument("--patience", type=int, metavar="N", help=says)
    says = "which score: p, psp, ndcg or recall @1, @3 or @5 (default: %(default)s)"
    parser.add_argument("--metric", choices=EVALUATED, metavar="NAME", default="p@1", help=says)
    parser.add_argument("--log", metavar="FILE", help="write how the training went to this file (.csv, .jsonl)")
    _add_json(parser)
    _add_propensity(parser)
    _add_text(parser)
    _add_classifier(parser)


def _add_classifier(parser: Parser) -> None:
    """Names and defaults of slide.SlideClassifier."""
    group = parser.add_argument_group("the network and its training (names and defaults of slide.SlideClassifier)")
    defaults = inspect.signature(slide.SlideClassifier.__init__).parameters

    def option(*flags: str, says: str, **options: Any) -> None:
        name = options.get("dest") or flags[0][2:].replace("-", "_")
        default = in_words(defaults[name].default)
        group.add_argument(*flags, default=argparse.SUPPRESS, help=f"{says} (default: {default})", **options)

    says = "options for a purpose, before those given here: about half the time, the defaults, or the best scores"
    group.add_argument("--preset", choices=PRESETS, help=says)
    option("--hidden", type=widths, metavar="N[,N...]", says="widths of the hidden layers")
    option("--epochs", type=int, metavar="N", says="passes over the data")
    option("--n-active", type=int, metavar="N", says="labels that take part in a sample")
    option("--n-random", type=int, metavar="N", says="those of them drawn uniformly")
    option("--lr", type=float, metavar="X", says="learning rate")
    option("--dropout", type=float, metavar="X", says="chance that a feature is left out")
    option("--loss", choices=("softmax", "binary"), says="loss of the network")
    option("--activation", choices=("identity", "relu", "tanh"), says="of the hidden layers")
    option("--wide", action=argparse.BooleanOptionalAction, says="the sparse linear part")
    option("--normalize", action=argparse.BooleanOptionalAction, says="rows scaled to unit length")
    option(
        "--lsh",
        choices=("auto", "simhash", "wta", "dwta", "minhash", "euclidean", "query_cells", "none"),
        says="hash family of the tables",
    )
    group.add_argument("--K", type=int, metavar="N", help="hashes a table, with --lsh (default: by labels)")
    group.add_argument("--L", type=int, metavar="N", help="tables, with --lsh (default: 50)")
    option("--schedule", choices=("linear", "cosine", "constant"), says="of the learning rate")
    option("--optimizer", choices=("adagrad", "adam", "sgd"), says="takes --lr")
    option("--batch-size", type=int, metavar="N", says="samples that share an active set, 1 to 32")
    option("--storage", choices=("float32", "bfloat16"), says="of the network's weights")
    option("--random-state", "--seed", dest="random_state", type=int, metavar="N", says="seed")
    _add_machine(group, argparse.SUPPRESS)


def _add_text(parser: Parser) -> None:
    """Names and defaults of slide.TextFeatures."""
    group = parser.add_argument_group("where DATA is a table with text (.csv, .tsv, .jsonl, .parquet, .arrow)")
    group.add_argument("--text", metavar="COLUMN[,...]", help="columns of text; for embedded data: text")
    group.add_argument("--labels", metavar="COLUMN", help="column of labels; for embedded data: labels")
    group.add_argument("--label-separator", metavar="S", help="between the labels of a cell (default: one a cell)")
    group.add_argument("--words", type=int, metavar="N", help="0, 1, or 2 with pairs of words (default: 2)")
    group.add_argument("--characters", type=widths, metavar="N,N", help="pieces of words of N to N characters")
    group.add_argument("--min-rows", type=int, metavar="N", help="texts a feature is in (default: 2, of few texts 1)")
    group.add_argument("--max-share", type=float, metavar="X", help="of the texts a feature is in (default: 1)")
    group.add_argument("--max-features", type=int, metavar="N", help="the most frequent (default: no limit)")
    group.add_argument("--buckets", type=int, metavar="N", help="features share N columns, without a vocabulary")


def _add_machine(group: Any, default: Any = None) -> None:
    """Options that change how fast, not what."""
    says = "(default: the cores this process may use)"
    group.add_argument("--n-threads", "--threads", dest="n_threads", type=int, metavar="N", default=default, help=says)
    group.add_argument("--backend", choices=("c", "numba"), default=default, help="(default: c where it was built)")


def _add_scoring(parser: Parser) -> None:
    says = "score only about N labels a row, those the tables return (default: all labels, exactly)"
    parser.add_argument("--n-candidates", type=int, metavar="N", help=says)
    _add_machine(parser)


def _add_eval(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "eval",
        "MODEL DATA [--train DATA] [--json] [options]",
        "score a saved model on data with known labels",
        EVAL_EXAMPLES,
    )
    _add_model(parser)
    parser.add_argument("data", metavar="DATA", help="a file, or an embedded data set (its test part)")
    parser.add_argument("--train", metavar="DATA", help="what it was trained on: label frequencies for PSP@k")
    says = "also recall and precision of rare and frequent labels"
    parser.add_argument("--by-frequency", action="store_true", help=says)
    _add_json(parser)
    _add_propensity(parser)
    _add_scoring(parser)


def _add_predict(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "predict",
        "MODEL DATA | --text TEXT [-k N] [--out FILE] [options]",
        "write the best labels of each row",
        PREDICT_EXAMPLES,
    )
    _add_model(parser)
    parser.add_argument("data", metavar="DATA", nargs="?", help="a file, or an embedded data set (its test part)")
    says = "print the best labels of this text, with a model trained on text; may be repeated"
    parser.add_argument("--text", metavar="TEXT", action="append", help=says)
    parser.add_argument("-k", type=int, default=5, metavar="N", help="labels a row (default: 5)")
    parser.add_argument("--out", metavar="FILE", help="write here instead of to standard output")
    parser.add_argument("--header", action="store_true", help='a first line "rows labels", as score files have it')
    _add_scoring(parser)


def _add_info(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "info",
        "MODEL|DATA [--json]",
        "describe a model or data, without loading a model's weights",
        INFO_EXAMPLES,
    )
    parser.add_argument("path", metavar="MODEL|DATA", help="a model, a data file, or the name of an embedded data set")
    _add_json(parser)


def _add_lsh(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "lsh",
        "MODEL [DATA] [--plot FILE] [--json]",
        "what a model's hash tables are worth: recall against chance, buckets, age, memory, advice",
        LSH_EXAMPLES,
    )
    _add_model(parser)
    parser.add_argument("data", metavar="DATA", nargs="?", help="rows that were not trained on, for recall")
    parser.add_argument("--plot", metavar="FILE", help="draw recall and buckets (.png, .svg; needs matplotlib)")
    _add_json(parser)
    _add_machine(parser)


def _add_card(verbs: Any) -> None:
    parser = _verb(verbs, "card", "MODEL [--out FILE]", "the model card: data, options, time, scores and limits")
    _add_model(parser)
    parser.add_argument("--out", metavar="FILE", help="write here instead of to standard output")
    _add_machine(parser)


def _add_convert(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "convert",
        "DATA OUT [--from FORMAT] [--to FORMAT] [options]",
        "write rows and labels in another format",
        CONVERT_EXAMPLES,
    )
    parser.add_argument("data", metavar="DATA", help="a file, or the name of an embedded data set")
    parser.add_argument("out", metavar="OUT", help="the file to write")
    for flag, dest, says in (("--from", "source", "of DATA"), ("--to", "target", "of OUT")):
        says = f"format {says} (default: by its ending)"
        parser.add_argument(flag, dest=dest, choices=("xmc", "svmlight", "npz", "parquet"), help=says)
    says = "features of an SVMlight file count from 1 (default: from 0)"
    parser.add_argument("--one-based", action=argparse.BooleanOptionalAction, help=says)
    parser.add_argument("--part", choices=("train", "test"), help="of an embedded data set (default: train)")


def _add_compress(verbs: Any) -> None:
    says = "write a model that only predicts, in about a quarter of the bytes: weights of 8 bits"
    parser = _verb(verbs, "compress", "MODEL OUT", says)
    _add_model(parser)
    parser.add_argument("out", metavar="OUT", help="the model file to write")


def _add_export(verbs: Any) -> None:
    says = "write a model as an ONNX graph that scores every label exactly"
    parser = _verb(verbs, "export", "MODEL OUT [-k N]", says)
    _add_model(parser)
    parser.add_argument("out", metavar="OUT", help="the .onnx file to write")
    parser.add_argument("-k", type=int, default=5, metavar="N", help="labels a row (default: 5)")
    _add_machine(parser)


def _add_bench(verbs: Any) -> None:
    says = "train on data and say where the time goes: hashing, passes, updates, sparse part, rebuilds, reading"
    parser = _verb(verbs, "bench", "DATA [--json] [options]", says, BENCH_EXAMPLES)
    parser.add_argument("data", metavar="DATA", help="training data: a file, or the name of an embedded data set")
    _add_json(parser)
    _add_classifier(parser)


def _add_report(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "report",
        "MODEL [DATA] --html FILE [--train DATA] [options]",
        "a page of pictures: how it learned, which labels it finds, what it confuses, examples",
        REPORT_EXAMPLES,
    )
    _add_model(parser)
    parser.add_argument("data", metavar="DATA", nargs="?", help="rows that were not trained on, with labels")
    parser.add_argument("--html", metavar="FILE", required=True, help="write the page here")
    parser.add_argument("--train", metavar="DATA", help="what it was trained on: label frequencies")
    parser.add_argument("--examples", type=int, metavar="N", default=12, help="rows shown (default: %(default)s)")
    _add_propensity(parser)
    _add_machine(parser)


def widths(text: str) -> tuple[int, ...]:
    """``128`` or ``256,128``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, wanted whole numbers with commas between, like 256,128"
        ) from None


def in_words(default: object) -> str:
    """A default of the Python interface as the command line says it."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "chosen for you" if default is None else str(default)
