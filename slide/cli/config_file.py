"""``slide train --config FILE``: options from a TOML file, named as on the command line and in Python.

Keys are the long options of ``slide train`` with underscores; what Python takes as an object (slide.Wide, Rebuild, a
hash family, an optimizer, a schedule) is a table. Flags on the command line override the file.
"""

from __future__ import annotations

import argparse
import inspect
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import slide
from slide.cli.suggestions import nearest
from slide.lsh import FAMILIES
from slide.optim import OPTIMIZERS, SCHEDULES

NOT_IN_FILES = ("help", "debug", "config", "print_config")
PATHS = ("data", "test", "out", "checkpoint", "log", "validation", "calibrate")
#: Tables whose `kind` names a class.
KINDS: dict[str, Mapping[str, type]] = {
    "lsh": FAMILIES,
    "optimizer": {name.lower(): kind for name, kind in OPTIMIZERS.items()},
    "schedule": {name.lower(): kind for name, kind in SCHEDULES.items()},
}
#: Tables without one.
PLAIN: dict[str, type] = {"wide": slide.Wide, "rebuild": slide.Rebuild}
#: What a value of each annotation may be; TOML has no None.
SIMPLE: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "None": (),
}


def read_options(path: str, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """What a file says, as defaults for the parser of ``slide train``; relative paths are beside the file.

    Raises
    ------
    ValueError
        For what is no TOML, unknown keys and wrong values; names file and key.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:  # editors of Windows mark what they save
        try:
            found = tomllib.loads(file.read())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
            raise ValueError(f"{path}: no TOML file: {e}") from e
    actions = {a.dest: a for a in parser._actions if a.dest not in NOT_IN_FILES}
    options: dict[str, Any] = {}
    for key, value in found.items():
        name = _other_flags(actions).get(key, key)
        if name in options:
            raise ValueError(f"{path}: found {key} and {name}, which are the same, wanted one of them")
        options[name] = _value(path, name, value, actions)
    folder = os.path.dirname(path)
    for key in PATHS:
        if isinstance(options.get(key), str) and not _is_no_path(key, options[key]):
            options[key] = os.path.join(folder, options[key])
    if "lr" in options and "lr" in found.get("optimizer", {}):
        raise ValueError(f"{path}: found lr and [optimizer] lr, wanted one of them")
    if "wide" in options:
        options["wide_options"] = options["wide"]  # what --wide means
    return options


def _other_flags(actions: Mapping[str, argparse.Action]) -> dict[str, str]:
    """What options are also called: seed for random_state, threads for n_threads."""
    pairs = [(flag[2:].replace("-", "_"), name) for name, a in actions.items() for flag in a.option_strings]
    return {flag: name for flag, name in pairs if flag != name and not flag.startswith("no_")}


def _is_no_path(key: str, text: str) -> bool:
    """Embedded data sets go by their names, and shares of the rows for validation by a number."""
    try:
        return (
            text in slide.datasets.names()
            or (key == "calibrate" and text == "no")
            or (key == "validation" and float(text) >= 0)
        )
    except ValueError:
        return False


def _value(path: str, key: str, value: Any, actions: Mapping[str, argparse.Action]) -> Any:
    if isinstance(value, dict) and (key in KINDS or key in PLAIN):
        return _object(path, key, value)
    if key not in actions:
        raise ValueError(f"{path}: found the key {key!r}, {_wanted(key, [*actions, *PLAIN])}")
    action = actions[key]
    wanted = _kind_of(action)
    if not _fits(action, value):
        raise ValueError(f"{path}: {key}: found {value!r}, wanted {wanted}")
    if isinstance(value, list):
        return tuple(value) if action.type else ",".join(value)
    return str(value) if action.dest == "validation" else value


def _object(path: str, key: str, options: Mapping[str, Any]) -> Any:
    given = dict(options)
    if key in KINDS:
        kind = given.pop("kind", None)
        if not isinstance(kind, str) or kind not in KINDS[key]:
            raise ValueError(f"{path}: [{key}] kind: found {kind!r}, wanted one of {', '.join(KINDS[key])}")
        made: Callable[..., Any] = KINDS[key][kind]
    else:
        made = PLAIN[key]
    known = inspect.signature(made).parameters
    for name in given:
        if name not in known:
            raise ValueError(f"{path}: [{key}]: found the key {name!r}, {_wanted(name, list(known))}")
        kinds = str(known[name].annotation).replace(" ", "").split("|")
        if set(kinds) <= set(SIMPLE) and not any(isinstance(given[name], SIMPLE[k]) for k in kinds):
            raise ValueError(f"{path}: [{key}] {name}: found {given[name]!r}, wanted {' or '.join(kinds)}")
    try:
        return made(**given)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{path}: [{key}]: {e}") from e


def _wanted(key: str, known: list[str]) -> str:
    near = nearest(key, known, 3, 0.5)
    return f"wanted {' or '.join(near)}" if near else f"wanted one of {', '.join(sorted(set(known)))}"


def _fits(action: argparse.Action, value: Any) -> bool:
    if action.nargs == 0:
        return isinstance(value, bool) or (action.dest == "normalize" and value == "auto")
    if action.choices is not None:
        return value in action.choices
    number = isinstance(value, int) and not isinstance(value, bool)
    if action.type is int:
        return number
    if action.type is float:
        return number or isinstance(value, float)
    if action.type is not None:  # widths
        return isinstance(value, list) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if action.dest == "validation" and isinstance(value, float):
        return True
    names = isinstance(value, list) and all(isinstance(v, str) for v in value)
    return isinstance(value, str) or (names and action.dest == "text")


def _kind_of(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "true or false"
    if action.choices is not None:
        return "one of " + ", ".join(map(str, action.choices))
    kinds: dict[Any, str] = {int: "a whole number", float: "a number", None: "a string"}
    return kinds.get(action.type, "a list of whole numbers")


# -- written again -----------------------------------------------------------------------------------------------------


def dump(args: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """Every option in effect as TOML that ``--config`` reads; those without a value are comments."""
    defaults = slide.SlideClassifier().get_params()
    lines, tables = [], []
    dests = dict.fromkeys([*(a.dest for a in parser._actions), "rebuild"])
    for key in dests:
        if key in NOT_IN_FILES:
            continue
        value: Any = getattr(args, key, defaults.get(key))
        if key == "lr" and hasattr(getattr(args, "optimizer", None), "lr"):
            continue  # the optimizer has it
        if key == "optimizer" and hasattr(value, "lr") and hasattr(args, "lr"):
            value = replace(value, lr=args.lr)
        if key in PATHS and isinstance(value, str) and not _is_no_path(key, value):
            value = os.path.abspath(value)
        if value is None:
            lines.append(f"# {key} =")
        elif hasattr(value, "__dataclass_fields__"):
            tables.append(_table(key, value))
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _table(key: str, value: Any) -> str:
    lines = [f"\n[{key}]"]
    if key in KINDS:
        kind = next(name for name, made in KINDS[key].items() if made is type(value))
        lines.append(f"kind = {_toml(kind)}")
    options = asdict(value).items()
    return "\n".join(lines + [f"# {name} =" if v is None else f"{name} = {_toml(v)}" for name, v in options])


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
