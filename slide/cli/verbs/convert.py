"""``slide convert``, ``compress`` and ``export``: data in another format, a smaller model, an ONNX graph."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

import slide
from slide.cli.data import MatrixData, read_data, read_test
from slide.cli.files import naming, size, writable
from slide.cli.models import load_model
from slide.cli.options import add_machine, add_model
from slide.cli.parser import Parser, Verb
from slide.io import formats
from slide.training import bars

EXAMPLES = """\
examples:
  slide convert train.svm train.txt.gz
  slide convert train.txt train.npz
  slide convert wordnet-hypernym test.parquet --part test
"""


# -- convert -----------------------------------------------------------------------------------------------------------


def add_options(parser: Parser) -> None:
    """Data and formats."""
    parser.add_argument("data", metavar="DATA", help="a file, or the name of an embedded data set")
    parser.add_argument("out", metavar="OUT", help="the file to write")
    for flag, dest, text in (("--from", "source", "of DATA"), ("--to", "target", "of OUT")):
        text = f"format {text} (default: by its ending)"
        parser.add_argument(flag, dest=dest, choices=("xmc", "svmlight", "npz", "parquet"), help=text)
    text = "features of an SVMlight file count from 1 (default: from 0)"
    parser.add_argument("--one-based", action=argparse.BooleanOptionalAction, help=text)
    parser.add_argument("--part", choices=("train", "test"), help="of an embedded data set (default: train)")


def run(args: Namespace) -> int:
    """Writes data in another format."""
    target = writable(args.out, args.data)
    kinds = args.source or formats.format_of(args.data), args.target or formats.format_of(args.out)
    if args.data in slide.datasets.names():
        data = read_test(args.data) if args.part == "test" else read_data(args.data)
    elif args.part:
        raise ValueError(f"--part: {args.data} is a file, and has no parts")
    else:
        zero_based = None if args.one_based is None else not args.one_based
        with bars.waiting(f"reading {args.data} ..."):
            data = MatrixData(args.data, *formats.read(args.data, kinds[0], zero_based=zero_based))
    print(data, flush=True)
    with naming(target), bars.waiting(f"writing {target} ..."):
        formats.write(target, data.X, data.Y, kinds[1])
    print(f"{kinds[1]}: {target} ({size(target)})")
    return 0


# -- compress, export --------------------------------------------------------------------------------------------------


def add_compress_options(parser: Parser) -> None:
    """Two model files."""
    add_model(parser)
    parser.add_argument("out", metavar="OUT", help="the model file to write")


def run_compress(args: Namespace) -> int:
    """Writes a model with weights of 8 bits."""
    target = writable(args.out, args.model)
    with bars.waiting(f"loading {args.model} ..."):
        model = slide.load(args.model)
    with naming(target):
        model.compress().save(target)
    print(f"compressed: {target} ({size(target)}, {size(Path(args.model))} before)")
    return 0


def add_export_options(parser: Parser) -> None:
    """The model, the graph, and how many labels it answers with."""
    add_model(parser)
    parser.add_argument("out", metavar="OUT", help="the .onnx file to write")
    parser.add_argument("-k", type=int, default=5, metavar="N", help="labels a row (default: 5)")
    add_machine(parser)


def run_export(args: Namespace) -> int:
    """Writes a model as an ONNX graph."""
    target = writable(args.out, args.model)
    model = load_model(args)
    with naming(target):
        model.export_onnx(target, k=args.k)
    print(f"onnx: {target} ({size(target)})")
    return 0


CONVERT = Verb(
    "convert",
    "DATA OUT [--from FORMAT] [--to FORMAT] [options]",
    "write rows and labels in another format",
    add_options,
    run,
    EXAMPLES,
)
COMPRESS = Verb(
    "compress",
    "MODEL OUT",
    "write a model that only predicts, in about a quarter of the bytes: weights of 8 bits",
    add_compress_options,
    run_compress,
)
EXPORT = Verb(
    "export",
    "MODEL OUT [-k N]",
    "write a model as an ONNX graph that scores every label exactly",
    add_export_options,
    run_export,
)
