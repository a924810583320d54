"""`slide.load`: the network or classifier that a model file holds. How files are read is in slide/io/model_file.py.

It stands above everything that can be stored, since a file says by name which class it holds. It is not called
load.py: importing a module of this name would put it where the function `slide.load` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slide.checks import require
from slide.engine.select import resolve_backend
from slide.engine.threads import resolve_threads
from slide.estimator.classifier import SlideClassifier
from slide.io.file_objects import name_of
from slide.io.model_file import check_own_family, header_errors, read_model
from slide.io.shards import is_folder, read_shards
from slide.lsh import HashFamily
from slide.model.store.size import parse_memory
from slide.network import Network


def load(
    path: Any,
    *,
    mmap: bool = False,
    max_bytes: int | None = None,
    n_threads: int | None = None,
    backend: str | None = None,
    lsh: HashFamily | None = None,
    memory: int | str | None = None,
    cluster: Any = None,
) -> SlideClassifier | Network:
    """The classifier or network that was saved: ready to predict and to go on training.

    Parameters
    ----------
    path : path of a file written by ``SlideClassifier.save`` or ``Network.save``, of a folder written by
        ``SlideClassifier.save_shards``, or file object
        Opened for reading bytes; it is read from where it stands, so many bytes as the model has, and stays open.
    mmap : bool
        Map the weights instead of reading them: loading is immediate and processes share the pages; training on them
        changes this process's copy only. Checksums of mapped arrays are not verified, and a file that another process
        cuts short ends this one by a bus error: map only files that you wrote.
    max_bytes : int or None
        What tables and hash functions may take: their sizes are claimed by the file, which does not hold them. None: 1
        GiB, and 32 times the file's size.
    n_threads, backend : as in Network
    lsh : HashFamily or None
        The hash family, if it was one of your own (slide.lsh.HashFamily): files hold no code.
    memory : int, str or None
        Bytes for the network, like "4GB": where it takes more, the rows of its output layer are copied to a temporary
        file, and as many as fit are in memory (docs/memory.md). None: all in memory, whatever it was trained with.
    cluster : slide.distributed.Local, Torch or Ray, or None
        Workers that hold a part each of a model in a folder, and find its labels together, each of which is scored; it
        only predicts (docs/distributed.md). None: the whole is brought together here.

    Raises
    ------
    ModelFormatError
        If the file is no model, truncated, altered, of a newer format version, or asks for more than max_bytes.
    MemoryError
        If there is not enough for what it needs; says how much that is.
    ValueError
        If it needs a hash family of your own and lsh is not that one; says which.
    """
    n_threads, backend = resolve_threads(n_threads), resolve_backend(backend)
    budget = parse_memory(memory)
    require(budget is None or not mmap, "mmap", mmap, "False with memory=")
    in_parts, name = is_folder(path), name_of(path)
    if cluster is not None:
        require(in_parts, "cluster", cluster, f"None: {name} is no folder that save_shards wrote")
        require(budget is None and not mmap and lsh is None, "cluster", cluster, "None with memory=, mmap= or lsh=")
        return cluster.load(path, n_threads)
    if in_parts:
        require(budget is None and not mmap, "memory or mmap", "a folder", "a file that save wrote")
        config, arrays = file = read_shards(path, max_bytes=max_bytes)
    else:
        config, arrays = file = read_model(path, mmap=mmap, max_bytes=max_bytes, map_rows=budget is not None)
    with header_errors(name):
        file.snapshot.own_families()
    check_own_family(file.snapshot, lsh, name)
    with header_errors(name):
        net = Network.of(file.snapshot, n_threads, backend, lsh, budget)
        if "classifier" not in config:
            return net
        return classifier_class(config["classifier"])._restore(net, config["classifier"], arrays)


def classifier_class(config: Mapping[str, Any]) -> type[SlideClassifier]:
    """By the name under which it was stored; those without one are older than the text classifier."""
    kind = config.get("kind", "SlideClassifier")
    if kind == "SlideTextClassifier":
        from slide.text.classifier import SlideTextClassifier

        return SlideTextClassifier
    if kind != "SlideClassifier":
        raise ValueError(f"a classifier of kind {kind!r}")
    return SlideClassifier
