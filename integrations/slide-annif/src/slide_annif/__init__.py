"""slide as a backend of Annif: ``ANNIF_CONFIG=slide_annif.Config annif train PROJECT ...``.

Annif finds backends in a table of its own, which is fixed, and reads its configuration from a class that the
environment names. Importing this module, for instance for that class, puts "slide" into the table; slide itself is
imported when a project first asks for it. The backend is in backend.py.
"""

from __future__ import annotations

import annif.backend
from annif import default_config

__all__ = ["Config", "DevelopmentConfig", "ProductionConfig", "register"]

BACKEND = "slide"


class Config(default_config.Config):
    """Annif's own for commands."""


class ProductionConfig(default_config.ProductionConfig):
    """Annif's own for servers: projects are loaded when they start."""


class DevelopmentConfig(default_config.DevelopmentConfig):
    """Annif's own for development."""


def register() -> None:
    """Puts the backend into Annif's table; an Annif that has one of this name keeps its own.

    Raises
    ------
    ImportError
        If this Annif has no such table.
    """
    table = getattr(annif.backend, "_backend_fns", None)
    if not isinstance(table, dict):
        raise ImportError("annif.backend._backend_fns: found no table of backends, wanted that of Annif 1.4")
    table.setdefault(BACKEND, _backend)


def _backend() -> type:
    """Imports it; called by Annif, which takes a ValueError for a backend that is not installed."""
    try:
        from slide_annif.backend import SlideBackend
    except ImportError as error:
        raise ValueError(f"slide not available, cannot use slide backend: {error}") from error
    return SlideBackend


register()
