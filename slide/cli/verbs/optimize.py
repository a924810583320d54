"""``slide optimize``: a saved model that predicts faster, and is shown to lose little by it."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from slide.checks import require
from slide.cli.files import naming, size, writable
from slide.cli.models import load_classifier
from slide.cli.options import add_format, add_json, add_machine, add_model
from slide.cli.parser import Parser, Verb
from slide.cli.scoring import input_of
from slide.estimator.feature_groups import Group

EXAMPLES = """\
examples:
  slide optimize model.slide valid.txt --out fast.slide
  slide optimize tags.slide valid.csv --metric p@5 --max-loss 0.01 --out fast.slide
  slide optimize tags.slide valid.csv --metric agreement@5 --out fast.slide
  slide optimize clicks.slide valid.npz --feature-groups groups.json --out fast.slide

groups.json: {"local": ["age", "country"], "remote": {"columns": ["clicks", 17], "cost_ms": 5}}
"""


def add_options(parser: Parser) -> None:
    """The model, rows, and what may be lost; names and defaults of SlideClassifier.optimize."""
    add_model(parser)
    text = "rows that it was not trained on: a file, or an embedded data set (its test part)"
    parser.add_argument("data", metavar="DATA", help=text)
    add_format(parser)
    parser.add_argument("--out", metavar="FAST", required=True, help="where the model is written that predicts faster")
    text = "p, recall or ndcg @k, or agreement@k: labels that stay among the best k (default: %(default)s)"
    parser.add_argument("--metric", default="p@1", metavar="NAME", help=text)
    text = "of the metric, a share (default: %(default)s, half a point)"
    parser.add_argument("--max-loss", type=float, default=0.005, metavar="X", help=text)
    text = "that it loses no more (default: %(default)s)"
    parser.add_argument("--confidence", type=float, default=0.95, metavar="X", help=text)
    text = "JSON: groups by name, their columns by number or name, what they cost a row; the first is read first"
    parser.add_argument("--feature-groups", metavar="FILE", help=text)
    text = "rows of a call in service, whose time decides (default: %(default)s)"
    parser.add_argument("--batch", type=int, default=1, metavar="N", help=text)
    add_json(parser)
    add_machine(parser)


def run(args: Namespace) -> int:
    """Optimizes, writes and prints."""
    target = writable(args.out, args.model, args.data, args.feature_groups)
    groups = None if args.feature_groups is None else read_groups(args.feature_groups)
    clf = load_classifier(args, "a network alone is not optimized: it does not know how its rows are made")
    data = input_of(clf, args.model).scored(args.data, None, args.format)[0]
    if data.truth and (remark := data.truth.remark()):
        print(f"slide: warning: {data.name}: {remark}", file=sys.stderr, flush=True)
    print(data, flush=True)
    how = {name: getattr(args, name) for name in ("metric", "max_loss", "confidence", "batch")}
    fast = clf._optimized(data.X, data.Y, feature_groups=groups, say=_say, **how)
    print(fast.report_)
    print(f"plan: {fast.plan_}")
    with naming(target):
        fast.save(target)
    print(f"model: {target}, {size(target)}")
    if args.json:
        print(json.dumps(_facts(fast)))
    return 0


def read_groups(path: str) -> dict[str, Group]:
    """What SlideClassifier.optimize takes as `feature_groups`, from a JSON file, in its order.

    Raises
    ------
    OSError, ValueError
        For a file that cannot be read, or holds no such groups; the message names file and group.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            found = json.load(file, object_pairs_hook=_each_once)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: found what is no JSON object of groups: {error}") from error
    require(isinstance(found, dict), path, type(found).__name__, "a JSON object of groups by name")
    return {name: _group(given, f"{path}: {name}") for name, given in found.items()}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _group(given: Any, where: str) -> Group:
    fields = given if isinstance(given, dict) else {"columns": given}
    require("columns" in fields, where, f"the fields {', '.join(fields) or 'of nothing'}", "columns")
    unknown = sorted(fields.keys() - {"columns", "cost_ms"})
    require(not unknown, where, f"the field {', '.join(unknown)}", "columns and cost_ms")
    ok = isinstance(fields["columns"], list)
    require(ok, where, fields["columns"], "a list of columns, by number or name")
    try:
        return Group(**fields)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _facts(fast: Any) -> dict[str, Any]:
    """For programs: the plan, and the report without what was tried."""
    report = fast.report_.config()
    del report["trials"]
    return {"plan": fast.plan_.config(), "speedup": fast.report_.speedup, **report}


VERB = Verb(
    "optimize",
    "MODEL DATA --out FAST [--max-loss X] [options]",
    "make a model predict faster, with a bound on what it loses",
    add_options,
    run,
    EXAMPLES,
)
