"""``slide predict``: the best labels of each row of data, or of texts on the command line."""

from __future__ import annotations

from argparse import Namespace

from slide.cli.files import opened, writable
from slide.cli.models import load_model, network_of
from slide.cli.options import add_format, add_model, add_scoring
from slide.cli.parser import Parser, Verb
from slide.cli.scoring import blocks, input_of
from slide.text.classifier import SlideTextClassifier

DEFAULT_K = 5

EXAMPLES = """\
examples:
  slide predict model.slide test.txt -k 5 > best.txt
  slide predict tags.slide --text "a feline that hunts mice"
  cut -f 2 new.tsv | slide predict tags.slide - -k 1
  slide predict model.slide test.txt -k 100 --n-candidates 2000 --header --out scores.txt

A line of output belongs to a row of DATA and holds label:score pairs, best first. Labels in DATA are ignored. For a
model trained on text, DATA is a table with the columns it was trained on, or anything else with a text a line, and
pairs have names and tabs between. DATA - is standard input.
"""


def add_options(parser: Parser) -> None:
    """The model, rows or texts, and what is written of each."""
    add_model(parser)
    parser.add_argument("data", metavar="DATA", nargs="?", help="a file, - for standard input, or an embedded data set")
    add_format(parser)
    text = "print the best labels of this text, with a model trained on text; may be repeated"
    parser.add_argument("--text", metavar="TEXT", action="append", help=text)
    parser.add_argument("-k", type=int, metavar="N", help="labels a row (default: 5, or all there are)")
    parser.add_argument("--out", metavar="FILE", help="write here instead of to standard output")
    parser.add_argument("--header", action="store_true", help='a first line "rows labels", as score files have it')
    add_scoring(parser)


def run(args: Namespace) -> int:
    """Writes label:score pairs, a line for each row."""
    if args.text:
        return _print_texts(args)
    if not args.data:
        raise ValueError("DATA: found none, wanted a file, or texts after --text")
    target = writable(args.out, args.data, args.model) if args.out else None
    model = load_model(args)
    given = input_of(model, args.model)
    data = given.predicted(args.data, args.format)
    k = min(DEFAULT_K, network_of(model).n_labels) if args.k is None else args.k
    with opened(target) as out:
        header = f"{data.X.shape[0]} {network_of(model).n_labels}\n" if args.header else ""
        for _, ids, scores in blocks(model, data.X, k, args.n_candidates):
            out.write(header)  # after the first block is scored: what cannot be predicted leaves no output
            out.writelines(given.lines(ids, scores))
            header = ""
    return 0


def _print_texts(args: Namespace) -> int:
    """Prints the best labels of the texts on the command line."""
    if args.data or args.out:
        raise ValueError("--text: found DATA or --out too, wanted either texts or a table")
    clf = load_model(args)
    if not isinstance(clf, SlideTextClassifier):
        raise ValueError(f"{args.model}: found a model of other features, wanted one trained on text")
    k = DEFAULT_K if args.k is None else args.k
    names, scores = clf.predict_topk(args.text, k, n_candidates=args.n_candidates, names=True)
    for number, text in enumerate(args.text):
        if len(args.text) > 1:
            print(("\n" if number else "") + text)
        for name, score in zip(names[number], scores[number], strict=True):
            if name is not None:
                print(f"{round(float(score), 3) + 0.0:8.3f}  {name}")
    return 0


VERB = Verb(
    "predict",
    "MODEL DATA | --text TEXT [-k N] [--out FILE] [options]",
    "write the best labels of each row",
    add_options,
    run,
    EXAMPLES,
)
