"""The verbs of the command line, in the order of its help; a new verb is a file in this folder and a name here.

Every command builds the options of all verbs, so a verb imports what it alone needs when it runs.
"""

from __future__ import annotations

import slide
from slide.cli.parser import Parser
from slide.cli.verbs import (
    bench,
    completion,
    convert,
    evaluate,
    explain,
    features,
    info,
    lsh,
    optimize,
    predict,
    report,
    serve,
    train,
)

VERBS = (
    train.VERB,
    evaluate.VERB,
    predict.VERB,
    explain.VERB,
    optimize.VERB,
    serve.VERB,
    info.INFO,
    lsh.VERB,
    info.CARD,
    bench.VERB,
    convert.CONVERT,
    convert.COMPRESS,
    convert.CALIBRATE,
    convert.EXPORT,
    features.VERB,
    completion.VERB,
    report.VERB,
    info.CONFIG,
)

DESCRIPTION = """\
Train and serve classifiers with 10,000 to 10,000,000 labels on an ordinary CPU.

DATA is a file in the extreme-classification format (.txt: a line "rows features labels", then "label,label
feature:value feature:value ..." a row), SVMlight (.svm, .libsvm), .npz or .parquet, a table of text with labels (.csv,
.tsv, .jsonl, .parquet, .arrow: slide train --text COLUMN --labels COLUMN), each packed or not (docs/command-line.md);
- for standard input; or the name of an embedded data set: wordnet-hypernym.
"""

EXAMPLES = """\
examples:
  slide train wordnet-hypernym                                  train on embedded data, score its test part
  slide train train.txt --test test.txt --out model.slide       train, score, save
  slide predict model.slide test.txt -k 5 --out best.txt        the five best labels of each row
  slide info model.slide                                        what is in a model, or in a data file

slide COMMAND --help says more about each. Exit codes: 0 done, 2 bad input or nowhere to write, 130 stopped by Ctrl-C,
143 by SIGTERM, 141 the reader of the output went away.
"""


def make_parser() -> Parser:
    """The whole command line; what it parses has the verb's function as `run`."""
    parser = Parser(prog="slide", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"slide {slide.__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb in VERBS:
        verb.add_to(verbs)
    return parser
