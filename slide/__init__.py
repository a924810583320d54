"""slide: extreme classification on CPUs by LSH-sampled networks and HOGWILD training (SLIDE, arXiv 1903.03129).

Importing loads NumPy and SciPy and nothing else heavy; everything below is imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

#: Where each public name lives.
_WHERE = {
    "Network": "slide.network",
    "Rank": "slide.learn_ranker",
    "Wide": "slide.wide",
    "SparseInput": "slide.layers",
    "Dense": "slide.layers",
    "Sampled": "slide.layers",
    "SimHash": "slide.lsh",
    "WTA": "slide.lsh",
    "DWTA": "slide.lsh",
    "QueryCells": "slide.cells",
    "MinHash": "slide.lsh",
    "EuclideanHash": "slide.euclidean",
    "SGD": "slide.optim",
    "Adagrad": "slide.optim",
    "Adam": "slide.optim",
    "Constant": "slide.optim",
    "Linear": "slide.optim",
    "Cosine": "slide.optim",
    "Rebuild": "slide.optim",
    "Checkpoint": "slide.checkpoint",
    "Callback": "slide.callbacks",
    "CSVLogger": "slide.callbacks",
    "JSONLogger": "slide.callbacks",
    "ProgressBar": "slide.callbacks",
    "EarlyStopping": "slide.evaluation",
    "TensorBoardLogger": "slide.loggers",
    "MLflowLogger": "slide.loggers",
    "SlideClassifier": "slide.classifier",
    "SlideTextClassifier": "slide.text",
    "TextFeatures": "slide.text_features",
    "read_table": "slide.text_tables",
    "load": "slide.model_file",
    "XMCBlocks": "slide.blocks",
    "read_xmc": "slide.xmc",
    "write_xmc": "slide.xmc",
    "show_config": "slide.config",
    "SlideError": "slide.errors",
    "DataFormatError": "slide.errors",
    "ModelFormatError": "slide.errors",
    "NonFiniteError": "slide.errors",
    "NotFittedError": "slide.errors",
}
_MODULES = ("datasets", "metrics", "lsh", "optim", "layers", "errors")

if TYPE_CHECKING:
    from slide import datasets, errors, layers, lsh, metrics, optim
    from slide.blocks import XMCBlocks
    from slide.callbacks import Callback, CSVLogger, JSONLogger, ProgressBar
    from slide.cells import QueryCells
    from slide.checkpoint import Checkpoint
    from slide.classifier import SlideClassifier
    from slide.config import show_config
    from slide.errors import DataFormatError, ModelFormatError, NonFiniteError, NotFittedError, SlideError
    from slide.euclidean import EuclideanHash
    from slide.evaluation import EarlyStopping
    from slide.layers import Dense, Sampled, SparseInput
    from slide.learn_ranker import Rank
    from slide.loggers import MLflowLogger, TensorBoardLogger
    from slide.lsh import DWTA, WTA, MinHash, SimHash
    from slide.model_file import load
    from slide.network import Network
    from slide.optim import SGD, Adagrad, Adam, Constant, Cosine, Linear, Rebuild
    from slide.text import SlideTextClassifier
    from slide.text_features import TextFeatures
    from slide.text_tables import read_table
    from slide.wide import Wide
    from slide.xmc import read_xmc, write_xmc


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
    elif name in _MODULES:
        value = import_module(f"slide.{name}")
    else:
        raise AttributeError(f"module 'slide' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "DWTA",
    "SGD",
    "WTA",
    "Adagrad",
    "Adam",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "Constant",
    "Cosine",
    "DataFormatError",
    "Dense",
    "EarlyStopping",
    "EuclideanHash",
    "JSONLogger",
    "Linear",
    "MLflowLogger",
    "MinHash",
    "ModelFormatError",
    "Network",
    "NonFiniteError",
    "NotFittedError",
    "ProgressBar",
    "QueryCells",
    "Rank",
    "Rebuild",
    "Sampled",
    "SimHash",
    "SlideClassifier",
    "SlideError",
    "SlideTextClassifier",
    "SparseInput",
    "TensorBoardLogger",
    "TextFeatures",
    "Wide",
    "XMCBlocks",
    "__version__",
    "datasets",
    "errors",
    "layers",
    "load",
    "lsh",
    "metrics",
    "optim",
    "read_table",
    "read_xmc",
    "show_config",
    "write_xmc",
]
