"""How the command line is read: argparse with this program's way of reporting, verbs, and configuration files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn


class Help(argparse.RawDescriptionHelpFormatter):
    """Examples as they are written, and room for long options."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, max_help_position=30, **options)


class Parser(argparse.ArgumentParser):
    """argparse that reports an error as every other error of this program is reported."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=Help, allow_abbrev=False, **options)

    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Files may stand among the options of a verb: argparse would take DATA only right after MODEL."""
        if self._inside or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        if any(action.dest == "config" for action in self._actions):
            self._take_config(args or [])
        self._inside = True
        try:
            found, unknown = super().parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._did_you_mean(unknown)}")
        return found, unknown

    def _did_you_mean(self, unknown: Sequence[str]) -> str:
        """The nearest option to each of those that there are not."""
        import difflib

        options = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        flags = [word.split("=")[0] for word in unknown if word.startswith("--")]
        near = [match for flag in flags for match in difflib.get_close_matches(flag, options, 1)]
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
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, MemoryError):
        text = str(error) or "not enough memory"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())
