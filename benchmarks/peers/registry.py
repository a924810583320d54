"""The list of competitors, in the order of the table. To add one: write its adapter, name it here."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import commands
from benchmarks.peers import fasttext, napkinxc, omikuji, one_vs_rest, ours, pecos
from benchmarks.peers.child import Peer

MODULES = (ours, omikuji, pecos, napkinxc, fasttext, one_vs_rest)
ALL: tuple[Peer, ...] = tuple(peer for module in MODULES for peer in module.PEERS)


def choose(names: str | None) -> Sequence[Peer]:
    """The competitors named in a comma-separated list, or all. Raises ValueError naming the unknown one."""
    if not names:
        return ALL
    return commands.pick(names, {peer.name: peer for peer in ALL}, "peer")
