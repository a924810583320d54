"""Measures what new tables find, and enlarges those that find too little, while a network trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from slide.layers import Sampled
from slide.lsh import HashFamily
from slide.model.model import Model
from slide.model.parameters import add_tables
from slide.model.snapshot import families


def grow_tables(net: Model) -> bool:
    """Enlarges the tables of layers whose last rebuild found less than their family wants. Whether there were any."""
    grown = False
    for i, family in families(net.layers):
        bigger = family.grown(net.states[i].n)
        if net.recalls.get(i, 1.0) < family.wanted_recall and bigger is not None:
            del net.recalls[i]  # of tables that are gone
            _change_family(net, i, bigger)
            grown = True
    return grown


def _change_family(net: Model, index: int, family: HashFamily) -> None:
    """The larger tables start as copies of the present ones."""
    state = net.states[index]
    old = state.lsh
    assert old is not None
    try:
        add_tables(state, family, np.random.default_rng([net.seed, index]), {})
    except MemoryError:
        return
    layer = net.layers[index]
    assert state.lsh is not None
    assert isinstance(layer, Sampled)
    family.grow(old, state.lsh)
    net.replace_layer(index, replace(layer, lsh=family))
