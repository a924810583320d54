"""``slide serve``: models behind HTTP (slide/serving, docs/production.md)."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import fields
from typing import Any

from slide.checks import require
from slide.cli.models import cluster_of
from slide.cli.options import add_machine
from slide.cli.parser import Parser, Verb
from slide.serving.limits import Limits

TOKEN = "SLIDE_SERVE_TOKEN"

EXAMPLES = """\
examples:
  slide serve tags.slide
  slide serve tags=models/tags-7.slide subjects.slide --port 9000 --workers 4
  slide serve folder/ --engine torch --model-workers 4   of a model in parts, each worker holds one
  curl -d '{"texts": ["a feline that hunts mice"], "k": 3}' http://127.0.0.1:8000/v1/models/tags/predict

It answers on the loopback address unless --host says otherwise. http://127.0.0.1:8000/ is a page to try the models,
/docs lists the routes, /metrics is for Prometheus. A model whose file is replaced (by a rename) is loaded beside the
old one and takes its place. SIGTERM ends it when the requests under way are answered. Needs slide-xmc[serve].
"""

LIMITS = {
    "batch_rows": "rows predicted in one call",
    "queue_rows": "rows that may be queued; more is answered 503",
    "queue_seconds": "a row may have to wait; more is answered 503",
    "deadline": "seconds for an answer; then 504",
    "max_rows": "rows of a request",
    "max_body": "bytes of a request",
    "max_characters": "of a text",
    "max_k": "labels a row",
    "max_connections": "open connections of a process",
}


def add_options(parser: Parser) -> None:
    """The models, where to listen, and the limits of slide.serving.limits."""
    text = "a file or a folder of a model in parts, or NAME=FILE"
    parser.add_argument("models", metavar="MODEL", nargs="+", help=text)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="0: any (default: %(default)s)")
    text = f"that requests carry as a bearer token (default: the environment's {TOKEN}, or none)"
    parser.add_argument("--token", metavar="TEXT", help=text)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    text = "map the weights instead of reading them (default: with several workers)"
    parser.add_argument("--mmap", action="store_true", default=None, help=text)
    text = "bytes for each network in each process, like 1GB: what is more is in a file (default: all in memory)"
    parser.add_argument("--memory", metavar="SIZE", help=text)
    text = "workers hold the parts of models that are folders (docs/distributed.md)"
    parser.add_argument("--engine", choices=("local", "ray", "torch"), help=text)
    text = "how many hold a model, or the least and the most, like 2:8 (default: 2)"
    parser.add_argument("--model-workers", metavar="N", help=text)
    text = "of the Ray cluster, auto for the one of this machine (default: one is started here)"
    parser.add_argument("--address", metavar="HOST:PORT", help=text)
    parser.add_argument("--access-log", action="store_true", help="log each request")
    add_machine(parser)
    group = parser.add_argument_group("limits (names and defaults of slide.serving.limits.Limits)")
    for field in fields(Limits):
        kind = float if field.type == "float" else int
        help_ = f"{LIMITS[field.name]} (default: %(default)s)"
        group.add_argument(_flag(field.name), type=kind, default=field.default, metavar="N", help=help_)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def run(args: Namespace) -> int:
    """Serves until a signal ends it."""
    from slide.serving.metrics import prometheus
    from slide.serving.models import Loading, open_slots
    from slide.serving.server import Options, listening, run_alone, uvicorn

    uvicorn()
    require(1 <= args.workers <= 1024, "--workers", args.workers, "1 to 1,024")
    require(0 <= args.port < 65536, "--port", args.port, "0 to 65,535")
    cluster = _cluster(args)
    mmap = args.workers > 1 and args.memory is None if args.mmap is None else args.mmap
    options = Options(
        models=args.models,
        host=args.host,
        port=args.port,
        token=args.token or os.environ.get(TOKEN) or None,
        workers=args.workers,
        access_log=args.access_log,
        limits=Limits(**{field.name: getattr(args, field.name) for field in fields(Limits)}),
        loading=Loading(mmap, args.n_threads, args.backend, args.memory, cluster),
    )
    with listening(options) as sock:
        if args.workers == 1:
            prometheus()
            run_alone(options, sock)
            return 0
        from slide.serving.workers import Supervisor

        open_slots(args.models, options.loading)  # what cannot be served is said once, not by each process
        return 0 if Supervisor(options, sock).run() else 2


def _cluster(args: Namespace) -> Any:
    """Whose workers hold models in parts; None without --engine."""
    processes, args.workers = args.workers, args.model_workers
    try:
        cluster = cluster_of(args)
    finally:
        args.workers = processes
    alone = cluster is None or (processes == 1 and not args.mmap and args.memory is None)
    require(
        alone, "--engine", args.engine, "neither --workers, --mmap nor --memory beside it: its workers hold the model"
    )
    return cluster


VERB = Verb("serve", "MODEL... [--port N] [options]", "answer requests over HTTP", add_options, run, EXAMPLES)
