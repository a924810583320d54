"""``slide lsh``: what a model's tables are worth, printed, as JSON, or as a picture (which needs matplotlib)."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slide.cli.files import naming, writable
from slide.cli.models import load_model, network_of, network_rows
from slide.cli.options import add_format, add_json, add_machine, add_model
from slide.cli.parser import Parser, Verb
from slide.cli.scoring import input_of
from slide.inference.lsh_report import MAX_QUERIES, coverage
from slide.io.atomic import replacing
from slide.network import Network

if TYPE_CHECKING:
    from slide.inference.lsh_report import LshReport

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)  # of the neurons, along the curve

EXAMPLES = """\
examples:
  slide lsh model.slide
  slide lsh model.slide wordnet-hypernym --plot tables.png
"""


def add_options(parser: Parser) -> None:
    """The model, rows to measure recall on, and a picture."""
    add_model(parser)
    parser.add_argument("data", metavar="DATA", nargs="?", help="rows that were not trained on, for recall")
    add_format(parser)
    parser.add_argument("--plot", metavar="FILE", help="draw recall and coverage (.png, .svg; needs matplotlib)")
    add_json(parser)
    add_machine(parser)


def run(args: Namespace) -> int:
    """Reports on the tables of a model's last layer."""
    picture = writable(args.plot, args.model, args.data) if args.plot else None
    if picture:
        _pyplot()  # before the work, not after it
    model = load_model(args)
    net = network_of(model)
    X = Y = None
    if args.data:
        rows, _ = input_of(model, args.model).scored(args.data, kind=args.format)
        some = slice(0, min(MAX_QUERIES, rows.X.shape[0]))
        X, Y = network_rows(model, rows.X[some]), rows.Y[some, : net.n_labels]
    report = net.lsh_report(X, Y)
    print(report)
    if picture:
        plot(net, X, report, picture)
        print(f"plot: {picture}")
    if args.json:
        print(json.dumps(report.to_dict()))
    return 0


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as e:
        raise ImportError("--plot needs matplotlib: pip install 'slide-xmc[bench]'") from e
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot(net: Network, X: Any, report: LshReport, path: Path) -> None:
    """Recall against candidates (with queries), and how many neurons how many buckets hold."""
    pyplot = _pyplot()
    n_parts = 1 if X is None else 2
    figure, axes = pyplot.subplots(1, n_parts, figsize=(5 * n_parts, 4), layout="constrained", squeeze=False)
    if X is not None:
        sizes = sorted({max(10, int(share * report.n_neurons)) for share in SHARES})
        sizes = [n for n in sizes if n <= report.n_neurons]
        shares = [100 * n / report.n_neurons for n in sizes]
        axis = axes[0, 0]
        axis.plot(shares, [net.retrieval_recall(X, n_candidates=n)[0] for n in sizes], "o-", label="tables")
        axis.plot(shares, [share / 100 for share in shares], "--", color="grey", label="chance")
        axis.set(xscale="log", ylim=(0, 1), xlabel="candidates, % of the neurons", ylabel="recall of the best ten")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.legend(frameon=False)
    _coverage(axes[0, -1], coverage(net.states[report.layer]), report)
    figure.suptitle(f"{report.n_neurons:,} neurons: {report.family.split('(')[0]}")
    with naming(path), replacing(path) as file:
        figure.savefig(file, dpi=120, format=path.suffix.lstrip(".").lower() or "png")
    pyplot.close(figure)


def _coverage(axis: Any, shares: npt.NDArray[np.float64], report: LshReport) -> None:
    """How many neurons are found in how many places: low at the left, many neurons that no query reaches."""
    axis.step(range(1, len(shares) + 1), 100 * shares, where="mid", color="#4477aa")
    axis.set(xscale="log", ylim=(0, 105), xlabel="buckets", ylabel="neurons in so many or more, %")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    said = f"{report.unreachable:.1%} in none; buckets hold {report.mean_size:,.0f}, {report.full:.0%} are full"
    axis.set_title(said, fontsize="medium")


VERB = Verb(
    "lsh",
    "MODEL [DATA] [--plot FILE] [--json]",
    "what a model's hash tables are worth: recall against chance, buckets, age, memory, advice",
    add_options,
    run,
    EXAMPLES,
)
