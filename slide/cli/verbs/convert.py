"""``slide convert``, ``compress``, ``calibrate``, ``export``: data in another format, a model of another kind."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

import slide
from slide.cli.data import MatrixData, read_data, read_test
from slide.cli.files import naming, size, writable
from slide.cli.models import load_classifier, load_model, network_of, network_rows
from slide.cli.options import add_format, add_machine, add_model
from slide.cli.parser import Parser, Verb
from slide.cli.scoring import input_of, unlabelled
from slide.cli.sources import MATRICES, TABLES, is_text_table, label, source_of
from slide.io import formats
from slide.io.content import inner_name
from slide.io.delimited import DELIMITERS
from slide.text.table_files import kind_of_name, read_columns, write_columns
from slide.training import bars

SEPARATOR = "|"  # which no label of an embedded data set holds

EXAMPLES = """\
examples:
  slide convert train.svm train.txt.gz
  slide convert train.txt train.npz
  slide convert wordnet-hypernym test.parquet --part test
  slide convert table.tsv table.jsonl.gz
  slide convert wordnet-hypernym glosses.csv   its texts, with labels by name and | between them
"""


# -- convert -----------------------------------------------------------------------------------------------------------


def add_options(parser: Parser) -> None:
    """Data and formats."""
    parser.add_argument("data", metavar="DATA", help="a file, or the name of an embedded data set")
    parser.add_argument("out", metavar="OUT", help="the file to write")
    for flag, dest, text in (("--from", "source", "of DATA"), ("--to", "target", "of OUT")):
        text = f"format {text} (default: by its ending)"
        parser.add_argument(flag, dest=dest, choices=tuple(dict.fromkeys((*MATRICES, *TABLES))), help=text)
    text = "features of an SVMlight file count from 1 (default: from 0)"
    parser.add_argument("--one-based", action=argparse.BooleanOptionalAction, help=text)
    parser.add_argument("--part", choices=("train", "test"), help="of an embedded data set (default: train)")


def run(args: Namespace) -> int:
    """Writes data in another format: matrices as matrices, a table as a table."""
    target = writable(args.out, args.data)
    to_table = args.target or kind_of_name(args.out)
    if is_text_table(args.data, args.source):
        return _convert_table(args, target, to_table)
    if args.data in slide.datasets.names() and to_table not in (None, *MATRICES):
        return _embedded_table(args, target, to_table)
    kind = args.target or (formats.format_of_name(inner_name(args.out)) or "xmc")
    if to_table not in (None, *MATRICES):
        wanted = f"one of {', '.join(MATRICES)}, or a table as DATA (--from says what it is)"
        raise ValueError(f"{args.out}: found the name of a table, wanted {wanted}")
    data = _matrices(args)
    print(data, flush=True)
    with naming(target), bars.waiting(f"writing {target} ..."):
        formats.write(target, data.X, data.Y, kind)
    print(f"{kind}: {target} ({size(target)})")
    return 0


def _matrices(args: Namespace) -> MatrixData:
    if args.data in slide.datasets.names():
        return read_test(args.data) if args.part == "test" else read_data(args.data)
    if args.part:
        raise ValueError(f"--part: {args.data} is a file, and has no parts")
    if args.one_based is None:
        return read_data(args.data, args.source)
    with bars.waiting(f"reading {args.data} ..."):
        X, Y = formats.read(source_of(args.data), args.source, zero_based=not args.one_based)
    return MatrixData(label(args.data), X, Y)


def _convert_table(args: Namespace, target: Path, kind: str | None) -> int:
    if kind not in TABLES:
        wanted = f"one, {', '.join(TABLES)}: texts become features by a model's vocabulary (slide train --text)"
        raise ValueError(f"{args.out}: found the name of no table, wanted {wanted}")
    with bars.waiting(f"reading {args.data} ..."):
        columns = read_columns(source_of(args.data), None, args.source)
    n = len(next(iter(columns.values()), []))
    print(f"{label(args.data)}: {n:,} rows, columns {', '.join(columns)}", flush=True)
    with naming(target), bars.waiting(f"writing {target} ..."):
        write_columns(target, columns, kind)
    print(f"{kind}: {target} ({size(target)})")
    return 0


def _embedded_table(args: Namespace, target: Path, kind: str) -> int:
    """Texts and labels of an embedded data set; a list of labels where the format has lists, else one cell."""
    with bars.waiting(f"unpacking {args.data} ..."):
        raw = slide.datasets.load_text(args.data)
    test = args.part == "test"
    texts, labels = (raw.test_texts, raw.test_labels) if test else (raw.train_texts, raw.train_labels)
    cells = [SEPARATOR.join(names) for names in labels] if kind in DELIMITERS else labels
    print(f"{args.data}: {len(texts):,} rows, columns text, labels", flush=True)
    with naming(target), bars.waiting(f"writing {target} ..."):
        write_columns(target, {"text": texts, "labels": cells}, kind)
    print(f"{kind}: {target} ({size(target)})")
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


def add_calibrate_options(parser: Parser) -> None:
    """The model, the rows, and the file to write."""
    add_model(parser)
    parser.add_argument("data", metavar="DATA", help="rows that were not trained on, with labels: 20 or more")
    add_format(parser)
    parser.add_argument("--out", metavar="OUT", required=True, help="the model file to write")
    text = "tune which labels are predicted, as slide train --threshold does (default: as the model was)"
    parser.add_argument("--threshold", metavar="WISH", help=text)
    add_machine(parser)


def run_calibrate(args: Namespace) -> int:
    """Writes a model whose probabilities were learned on these rows."""
    target = writable(args.out, args.model, args.data)
    clf = load_classifier(args, "probabilities are a SlideClassifier's")
    data, _ = input_of(clf, args.model).scored(args.data, kind=args.format)
    unlabelled(data)
    with bars.waiting("calibrating ..."):
        clf._calibrate(network_rows(clf, data.X[0 : data.X.shape[0]]), data.Y, args.threshold)
    print("\n".join(str(found) for found in (clf.calibration_, clf.thresholds_) if found))
    with naming(target):
        clf.save(target)
    print(f"calibrated: {target} ({size(target)})")
    return 0


def add_export_options(parser: Parser) -> None:
    """The model, the graph, and how many labels it answers with."""
    add_model(parser)
    parser.add_argument("out", metavar="OUT", help="the .onnx file to write")
    parser.add_argument("-k", type=int, metavar="N", help="labels a row (default: 5, or all there are)")
    add_machine(parser)


def run_export(args: Namespace) -> int:
    """Writes a model as an ONNX graph."""
    target = writable(args.out, args.model)
    model = load_model(args)
    with naming(target):
        model.export_onnx(target, k=min(5, network_of(model).n_labels) if args.k is None else args.k)
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
CALIBRATE = Verb(
    "calibrate",
    "MODEL DATA --out OUT [options]",
    "learn what a model's scores are worth, on rows that it was not trained on",
    add_calibrate_options,
    run_calibrate,
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
