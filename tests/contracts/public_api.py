"""The public API as text: names, parameters and defaults of all that `slide` and its public modules promise.

    python tests/contracts/public_api.py

writes public_api.txt anew: run it when the API changes on purpose, and say in CHANGELOG.md what changed. Annotations
are left out: they name modules and types of the inside, which may move.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slide

SNAPSHOT = Path(__file__).with_name("public_api.txt")
COMMAND = "python tests/contracts/public_api.py"
#: Beside `slide` itself. Their `__all__` says what of them is public.
MODULES = ("datasets", "distributed", "errors", "layers", "lsh", "metrics", "optim")
#: In such a list for the package's other modules.
INSIDE = {"slide.lsh.require"}
BUILT_IN = ("builtins", "abc", "typing")
SIMPLE = (bool, int, float, str, tuple, type(None))


def public() -> dict[str, Any]:
    """Every public object by its whole name, modules included."""
    found = {f"slide.{name}": getattr(slide, name) for name in slide.__all__}
    for name in MODULES:
        module = importlib.import_module(f"slide.{name}")
        found |= {f"slide.{name}.{inner}": getattr(module, inner) for inner in module.__all__}
    return {name: value for name, value in found.items() if name not in INSIDE}


def described() -> str:
    """The snapshot."""
    lines = [line for name, value in sorted(public().items()) for line in _lines(name, value)]
    return f"# The public API: tests/contracts/test_public_api.py compares it. Anew, on purpose: {COMMAND}\n" + "".join(
        f"{line}\n" for line in lines
    )


def _lines(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        home = _home(value)
        if home not in (name, None):  # told of once, with its members
            yield f"{name} is {home}"
            return
        bases = ", ".join(b.__name__ for b in value.__mro__[1:] if _is_public_class(b))
        yield f"class {name}{_signature(value)}" + (f" of {bases}" if bases else "")
        for member in sorted(_members(value)):
            yield f"    {_member(value, member)}"
    elif inspect.isroutine(value):
        yield f"{name}{_signature(value)}"
    elif inspect.ismodule(value):
        yield f"{name}: module"
    elif isinstance(value, dict):
        yield f"{name}: dict of {sorted(value)}"
    elif name == "slide.__version__":
        yield f"{name}: {type(value).__name__}"  # which version it is, is no promise
    else:
        yield f"{name} = {value!r}"


def _home(value: type) -> str | None:
    """The shortest public name of a class: that under which its members are listed."""
    names = [name for name, other in public().items() if other is value]
    return min(names, key=lambda name: (name.count("."), name), default=None)


def _is_public_class(value: type) -> bool:
    return value is not object and (value.__module__ == "builtins" or _home(value) is not None)


def _members(cls: type) -> Iterator[str]:
    """What does not begin with an underscore, inherited or not, unless Python brings it; annotated attributes too."""
    own = [base for base in cls.__mro__ if base.__module__ not in BUILT_IN]
    names = {name for base in own for name in (*vars(base), *inspect.get_annotations(base))}
    return (name for name in names if not name.startswith("_"))


def _member(cls: type, name: str) -> str:
    field = {f.name: f for f in dataclasses.fields(cls)}.get(name) if dataclasses.is_dataclass(cls) else None
    if field is not None or name in getattr(cls, "_fields", ()):
        return f"{name}: field"
    value = inspect.getattr_static(cls, name, None)
    if isinstance(value, property):
        return f"{name}: property" + (", can be set" if value.fset else "")
    if isinstance(value, classmethod | staticmethod):
        return f"{name}{_signature(value.__func__)}: {type(value).__name__}"
    if inspect.isroutine(value):
        return f"{name}{_signature(value)}"
    return f"{name} = {value!r}" if isinstance(value, SIMPLE) and value is not None else f"{name}: attribute"


def _signature(value: Any) -> str:
    """Names, kinds and defaults of the parameters."""
    if inspect.isclass(value) and issubclass(value, BaseException):
        return ""  # Python's versions do not agree on it
    signature = inspect.signature(value)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


if __name__ == "__main__":
    SNAPSHOT.write_text(described())
    print(f"{SNAPSHOT}: {len(SNAPSHOT.read_text().splitlines())} lines", file=sys.stderr)
