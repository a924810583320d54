"""``slide completion``: scripts for shells, made from the whole command line by shtab (extra `completion`)."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import Any

from slide.cli.parser import Parser, Verb

SHELLS = ("bash", "zsh", "fish", "tcsh")
FILES = (
    "DATA",
    "DATA|X",
    "TEXT|DATA",
    "MODEL",
    "MODEL|DATA",
    "FILE",
    "OUT",
)  # what argparse calls arguments that are files

EXAMPLES = """\
examples:
  slide completion bash > ~/.local/share/bash-completion/completions/slide
  slide completion zsh > ~/.zsh/completions/_slide
  slide completion fish > ~/.config/fish/completions/slide.fish
"""


def add_options(parser: Parser) -> None:
    """The shell."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="one of %(choices)s")


def run(args: Namespace) -> int:
    """Prints a script that completes this command in a shell."""
    print(script(args.command_line, args.shell))
    return 0


def script(parser: Parser, shell: str) -> str:
    """The script that completes what the parser reads, for one of SHELLS.

    Raises
    ------
    ImportError
        Without shtab, or with one from before it knew this shell.
    """
    try:
        import shtab
    except ImportError as e:
        raise ImportError("completion needs shtab: pip install 'slide-xmc[completion]'") from e
    if shell not in shtab.SUPPORTED_SHELLS:
        raise ImportError(f"completion for {shell} needs a newer shtab: pip install -U shtab")
    _mark_files(parser, shtab.FILE)
    made: str = shtab.complete(parser, shell=shell)
    return made


def _mark_files(parser: argparse.ArgumentParser, how: Any) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _mark_files(verb, how)
        elif action.metavar in FILES:
            action.complete = how  # type: ignore[attr-defined]


VERB = Verb(
    "completion",
    "SHELL",
    "print a script that completes this command's verbs, options and files in a shell",
    add_options,
    run,
    EXAMPLES,
)
