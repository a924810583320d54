"""slide: extreme classification on CPUs by LSH-sampled networks and HOGWILD training (SLIDE, arXiv 1903.03129).

Importing loads NumPy and SciPy and nothing else heavy. All that is public is listed in __init__.pyi, which says to
type checkers and to this file alike where each name lives; it is imported when first used.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from slide._version import __version__ as __version__

#: The module of each public name.
_MODULES: dict[str, str] = {
    name: module
    for module, name in re.findall(
        r"^from (\S+) import (\w+) as \2$", Path(__file__).with_suffix(".pyi").read_text(), flags=re.MULTILINE
    )
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'slide' has no attribute {name!r}")
    module = _MODULES[name]
    try:
        value = getattr(import_module(module), name) if module != "slide" else import_module(f"slide.{name}")
    except AttributeError:  # a module of that package
        value = import_module(f"{module}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
