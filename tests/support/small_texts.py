"""A table of five texts and their labels, which tests of slide/text/ share."""

from __future__ import annotations

ROWS = [
    ("A cat", "a feline that purrs and hunts mice", ["pet", "animal"]),
    ("The dog", "a loyal canine that barks, and barks", ["pet", "animal"]),
    ("Oak", "a tree with acorns", ["plant"]),
    ("Fir", "an evergreen tree that hunts for light", ["plant"]),
    ("Wolf", "a wild canine that hunts, barks and howls", ["animal"]),
]
TITLES, BODIES, TAGS = (list(column) for column in zip(*ROWS, strict=True))
SMALL = {"hidden": (8,), "epochs": 30, "n_threads": 1}
