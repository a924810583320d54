"""The ``slide`` command: its exit codes, and errors as one sentence. Its verbs: slide/cli/verbs/registry.py.

Exit codes: 0 done, 2 bad input or nowhere to write, 130 stopped by Ctrl-C, 143 by SIGTERM, 141 the reader of our output
went away.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import slide
from slide.cli.files import said_apart, standard_streams
from slide.cli.parser import sentence
from slide.cli.verbs.registry import make_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    with standard_streams():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    try:
        parser = make_parser()
        args = parser.parse_args(argv)
    except SystemExit as e:  # argparse has said what there is to say
        return int(e.code or 0)
    args.command_line = parser  # for the verb that completes it
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            with said_apart(getattr(args, "out", None)):
                code: int = args.run(args)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            print("\nslide: stopped", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # What is still buffered has no reader; without this the interpreter complains when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except (slide.errors.SlideError, ValueError, OSError, MemoryError, ImportError) as e:
            if args.debug:
                traceback.print_exc()
            print(f"slide: error: {sentence(e)}", file=sys.stderr)
            return 2


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"slide: warning: {message}", file=sys.stderr)
