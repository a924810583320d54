"""slide: extreme classification on CPUs by LSH-sampled networks and HOGWILD training (SLIDE, arXiv 1903.03129).

Importing loads NumPy and SciPy and nothing else heavy; everything below is imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

#: Where each public name lives.
_WHERE = {
    "Network": "slide.network",
    "Wide": "slide.model.pairs",
    "SparseInput": "slide.layers",
    "Dense": "slide.layers",
    "Sampled": "slide.layers",
    "SimHash": "slide.lsh",
    "WTA": "slide.lsh",
    "DWTA": "slide.lsh",
    "QueryCells": "slide.lsh.query_cells",
    "MinHash": "slide.lsh",
    "EuclideanHash": "slide.lsh.euclidean",
    "SGD": "slide.optim",
    "Adagrad": "slide.optim",
    "Adam": "slide.optim",
    "Constant": "slide.optim",
    "Linear": "slide.optim",
    "Cosine": "slide.optim",
    "Rebuild": "slide.optim",
    "Checkpoint": "slide.training.checkpoint",
    "Callback": "slide.training.callbacks",
    "CSVLogger": "slide.training.callbacks",
    "JSONLogger": "slide.training.callbacks",
    "ProgressBar": "slide.training.callbacks",
    "EarlyStopping": "slide.training.evaluation",
    "TensorBoardLogger": "slide.training.loggers",
    "MLflowLogger": "slide.training.loggers",
    "SlideClassifier": "slide.estimator.classifier",
    "SlideTextClassifier": "slide.text.classifier",
    "TextFeatures": "slide.text.features",
    "read_table": "slide.text.tables",
    "load": "slide.loading",
    "XMCBlocks": "slide.io.xmc_blocks",
    "read_xmc": "slide.io.xmc",
    "write_xmc": "slide.io.xmc",
    "show_config": "slide.engine.info",
    "SlideError": "slide.errors",
    "DataFormatError": "slide.errors",
    "ModelFormatError": "slide.errors",
    "NonFiniteError": "slide.errors",
    "NotFittedError": "slide.errors",
}
_MODULES = ("datasets", "metrics", "lsh", "optim", "layers", "errors")

if TYPE_CHECKING:
    from slide import datasets, errors, layers, lsh, metrics, optim
    from slide.engine.info import show_config
    from slide.errors import DataFormatError, ModelFormatError, NonFiniteError, NotFittedError, SlideError
    from slide.estimator.classifier import SlideClassifier
    from slide.io.xmc import read_xmc, write_xmc
    from slide.io.xmc_blocks import XMCBlocks
    from slide.layers import Dense, Sampled, SparseInput
    from slide.loading import load
    from slide.lsh import DWTA, WTA, MinHash, SimHash
    from slide.lsh.euclidean import EuclideanHash
    from slide.lsh.query_cells import QueryCells
    from slide.model.pairs import Wide
    from slide.network import Network
    from slide.optim import SGD, Adagrad, Adam, Constant, Cosine, Linear, Rebuild
    from slide.text.classifier import SlideTextClassifier
    from slide.text.features import TextFeatures
    from slide.text.tables import read_table
    from slide.training.callbacks import Callback, CSVLogger, JSONLogger, ProgressBar
    from slide.training.checkpoint import Checkpoint
    from slide.training.evaluation import EarlyStopping
    from slide.training.loggers import MLflowLogger, TensorBoardLogger


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
