"""Data to try things on: a real set that comes with the package, and synthetic ones of any shape.

The packed files are in data/, made by pack.py; embedded.py unpacks them; planted.py draws. No network is used.
"""

from __future__ import annotations

from slide.datasets.embedded import Text, load, load_label_names, load_text, names
from slide.datasets.planted import synthetic

__all__ = ["Text", "load", "load_label_names", "load_text", "names", "synthetic"]
