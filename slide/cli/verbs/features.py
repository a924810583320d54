"""``slide features``: how a text model makes its features, for programs in other languages (docs/export.md)."""

from __future__ import annotations

import json
from argparse import Namespace

from slide.cli.files import opened, writable
from slide.cli.models import load_model
from slide.cli.options import add_machine, add_model
from slide.cli.parser import Parser, Verb
from slide.text.classifier import SlideTextClassifier

EXAMPLES = """\
examples:
  slide features tags.slide --out features.json
"""


def add_options(parser: Parser) -> None:
    """The model, and where it is written."""
    add_model(parser)
    parser.add_argument("--out", metavar="FILE", help="write here instead of to standard output")
    add_machine(parser)


def run(args: Namespace) -> int:
    """Writes the recipe as JSON."""
    from slide.text.recipe import recipe

    target = writable(args.out, args.model) if args.out else None
    model = load_model(args)
    if not isinstance(model, SlideTextClassifier):
        raise ValueError(f"{args.model}: takes rows of features, wanted a model of texts, which makes them")
    with opened(target) as out:
        out.write(json.dumps(recipe(model.vocabulary_)) + "\n")
    return 0


VERB = Verb(
    "features",
    "MODEL [--out FILE]",
    "how a text model makes its features, as JSON that another language can follow",
    add_options,
    run,
    EXAMPLES,
)
