"""Completion scripts for shells, made from the parser by shtab (extra `completion`)."""

from __future__ import annotations

import argparse
from typing import Any

from slide.cli.options import make_parser

FILES = ("DATA", "DATA|X", "MODEL", "MODEL|DATA", "FILE", "OUT")  # what argparse calls arguments that are files


def script(shell: str) -> str:
    """The script for "bash", "zsh" or "tcsh".

    Raises
    ------
    ImportError
        Without shtab.
    """
    try:
        import shtab
    except ImportError as e:
        raise ImportError("completion needs shtab: pip install 'slide-xmc[completion]'") from e
    parser = make_parser()
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
