"""How the command line is read: argparse with this program's way of reporting, verbs, and configuration files."""

from __future__ import annotations

import argparse
import errno
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from slide.cli.suggestions import nearest

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)  # what writing says of a disk


class Help(argparse.RawDescriptionHelpFormatter):
    """Examples as they are written, and room for long options."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, max_help_position=30, **options)


class Parser(argparse.ArgumentParser):
    """argparse that reports an error as every other error of this program is reported."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=Help, allow_abbrev=False, **options)

    _inside = False

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Files may stand among the options of a verb: argparse would take DATA only right after MODEL."""
        if self._inside:
            return super().parse_known_args(args, namespace)
        self._given = list(sys.argv[1:] if args is None else args)
        if self._subparsers is not None:
            if self._given and self._unknown(self._given[:1]):
                self.error(f"unrecognized arguments: {self._given[0]}")
            return super().parse_known_args(args, namespace)
        if any(action.dest == "config" for action in self._actions):
            self._take_config(args or [])
        if single := [word for word in self._given if self._has_one_dash_too_few(word)]:
            self.error(f"unrecognized arguments: {' '.join(single)}")
        self._inside = True
        try:
            found, unknown = super().parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as e:
            near = nearest(str(value), [str(choice) for choice in action.choices or ()])
            if near:
                e.message += f"; did you mean {near[0]!r}?"
            raise

    @property
    def _flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings]

    def _unknown(self, words: Sequence[str]) -> list[str]:
        """Those that are long options, but none of this parser."""
        flags = [word.split("=")[0] for word in words if word.startswith("--") and word != "--"]
        return [flag for flag in flags if flag not in self._flags]

    def _has_one_dash_too_few(self, word: str) -> bool:
        """``-hidden``, which argparse takes for ``-h idden``; but not ``-k5``."""
        if not re.fullmatch(r"-[a-zA-Z][a-zA-Z-]+", word.split("=")[0]):
            return False
        return word[:2] not in self._flags or (word[:2] == "-h" and f"-{word.split('=')[0]}" in self._flags)

    def _did_you_mean(self) -> str:
        """The nearest option to each of those given that there are not."""
        words = [f"-{word}" if self._has_one_dash_too_few(word) else word for word in self._given]
        options = [flag for flag in self._flags if flag.startswith("--")]
        near = [match for flag in self._unknown(words) for match in nearest(flag, options)]
        near += [flag for word in words if word not in self._given and (flag := word.split("=")[0]) in options]
        return f"; did you mean {' and '.join(dict.fromkeys(near))}?" if near else ""

    def _take_config(self, args: Sequence[str]) -> None:
        """What a configuration file says becomes the defaults, which flags override."""
        from slide.cli.config_file import read_options

        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        first.add_argument("--config", nargs="?")
        try:
            path = first.parse_known_args(args)[0].config
            self.set_defaults(**(read_options(path, self) if path else {}))
        except OSError as e:
            self.error(f"--config: {sentence(e)}")
        except ValueError as e:
            self.error(f"--config: {e}")

    def error(self, message: str) -> NoReturn:
        message += "" if "did you mean" in message else self._did_you_mean()
        self.exit(2, f"slide: error: {message} (see {self.prog} --help)\n")


@dataclass(frozen=True)
class Verb:
    """A command: its name, what follows the name in its usage line, one line of help, its options and what it does."""

    name: str
    usage: str
    help: str
    add_options: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    examples: str = ""

    def add_to(self, verbs: Any) -> None:
        """Puts the verb into argparse's group of verbs."""
        described = {"help": self.help, "description": self.help[0].upper() + self.help[1:] + "."}
        parser: Parser = verbs.add_parser(
            self.name, usage=f"slide {self.name} {self.usage}", epilog=self.examples, **described
        )
        parser.add_argument("--debug", action="store_true", help="show where in the program an error arose")
        self.add_options(parser)
        parser.set_defaults(run=self.run)


def sentence(error: BaseException) -> str:
    """An exception as one line for a reader who never sees the program."""
    if isinstance(error, OSError) and error.strerror:
        name = error.filename or ("standard output" if error.errno in FULL else None)  # files are named
        text = f"{name}: {error.strerror}" if name else error.strerror
    elif isinstance(error, MemoryError):
        text = str(error) or "not enough memory"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())
