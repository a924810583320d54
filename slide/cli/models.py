"""The models that commands are given: loaded from their files, and the network in each."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import Any

import slide
from slide.engine.threads import resolve_threads
from slide.estimator.classifier import SlideClassifier
from slide.io.shards import is_folder
from slide.network import Network
from slide.training import bars

Model = SlideClassifier | Network


def load_model(args: Namespace) -> Model:
    """The model that the command line names, on the threads and the back end it asks for."""
    n_threads = resolve_threads(args.n_threads)
    with bars.waiting(f"loading {args.model} ..."):
        memory = getattr(args, "memory", None)
        how = {"n_threads": n_threads, "backend": args.backend, "memory": memory, "cluster": cluster_of(args)}
        return slide.load(args.model, **how)


def cluster_of(args: Namespace, parts_to: str | None = None) -> Any:
    """What --engine, --workers and --address ask for, of commands that have them; parts_to: see ClusterFits."""
    engine = getattr(args, "engine", None)
    if engine is None:
        for name in ("workers", "address", "recovery"):
            if getattr(args, name, None) is not None:
                raise ValueError(f"--{name}: found no --engine, wanted the name of one")
        return None
    from slide.distributed.engines import from_name

    recovery = getattr(args, "recovery", None) or "partial"
    return from_name(engine, args.workers, getattr(args, "n_threads", None), args.address, recovery, parts_to)


def load_classifier(args: Namespace, purpose: str) -> SlideClassifier:
    """As load_model, for what a network alone cannot do.

    Raises
    ------
    ValueError
        For a file that holds a network; purpose ends the sentence.
    """
    model = load_model(args)
    if not isinstance(model, SlideClassifier):
        raise ValueError(f"{args.model}: holds a network, and {purpose}")
    return model


def warn_of_uncalibrated(clf: SlideClassifier, source: str) -> None:
    """Says that a model's probabilities were learned on no rows."""
    if clf.calibration_ is None:
        said = "its probabilities are not calibrated and too sure of themselves; slide calibrate mends that"
        print(f"slide: warning: {source}: {said}", file=sys.stderr, flush=True)


def network_of(model: Model) -> Network:
    """A classifier's network, or the network itself."""
    return model.network_ if isinstance(model, SlideClassifier) else model


def network_rows(model: Model, X: Any) -> Any:
    """X as the network takes it: a classifier counts words and scales, a network takes rows as they are."""
    return model._rows(X) if isinstance(model, SlideClassifier) else X


def is_model(path: str) -> bool:
    """Whether a file opens as a model does: 8 bytes of length, then JSON. Its name decides where it is too short. A
    folder is one where it holds a model in parts."""
    if is_folder(path):
        return True
    if path in slide.datasets.names() or not os.path.isfile(path):
        return path.endswith(".slide")
    with open(path, "rb") as file:
        head = file.read(9)
    return head[8:] == b"{" or path.endswith(".slide")
