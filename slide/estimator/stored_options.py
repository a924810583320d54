"""A classifier's options in a model file: as they were given, so that a loaded one says what was asked for.

The network knows what became of them: "auto" has become a hash family, None an optimizer. Files of before hold that
alone; there an option counts as the default where the default would have become the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from slide.checks import warn
from slide.estimator.build import widths
from slide.estimator.labels import Labels
from slide.layers import Sampled
from slide.lsh import FAMILIES, HashFamily, auto
from slide.model.pairs import Wide
from slide.model.snapshot import family_config, optimizer_from
from slide.network import Network
from slide.optim import SCHEDULES, Adagrad, Optimizer, Rebuild, Schedule
from slide.training.ranking import Rank

KNOWN_SCHEDULES: dict[str, type[Schedule]] = {**SCHEDULES, "Schedule": Schedule}


def stored_options(params: Mapping[str, Any], labels: Labels, seed: int) -> dict[str, Any]:
    """The options but for the schedule, as JSON values; a hash family of the user's own is left to the network.

    labels : by whose columns class weights are stored; seed : of the network, for a random_state that is a generator
    """
    stored = {name: _stored(value) for name, value in params.items() if name != "schedule"}
    family = params["lsh"]
    if isinstance(family, HashFamily) and family.is_custom:
        del stored["lsh"]
    if params["random_state"] is not None:
        stored["random_state"] = seed
    if isinstance(params["class_weight"], Mapping):
        columns = labels.ids(list(params["class_weight"]), drop_unknown=True).tolist()
        pairs = zip(columns, params["class_weight"].values(), strict=True)
        stored["class_weight"] = [[column, float(weight)] for column, weight in pairs if column >= 0]
    return stored | {"hidden": list(widths(params["hidden"]))}


def _stored(value: Any) -> Any:
    if isinstance(value, HashFamily):
        return family_config(value)
    if isinstance(value, Optimizer):
        return {"name": type(value).__name__, **asdict(value)}
    if isinstance(value, Wide | Rank):
        return {"kind": type(value).__name__, **asdict(value)}
    return asdict(value) if isinstance(value, Rebuild) else value


def restored_options(stored: Mapping[str, Any], schedule: Mapping[str, Any] | None, network: Network) -> dict[str, Any]:
    """The inverse; what the file does not say follows from the network."""
    options = {"schedule": _schedule(schedule), **stored, "hidden": tuple(stored["hidden"])}
    options["lsh"] = _family(stored["lsh"]) if "lsh" in stored else _family_of(network)
    if "optimizer" not in stored:
        options["optimizer"] = None if network.optimizer == Adagrad(stored.get("lr", 0.1)) else network.optimizer
    elif stored["optimizer"] is not None:
        options["optimizer"] = optimizer_from(stored["optimizer"])
    if "rebuild" not in stored:
        options["rebuild"] = None if network.rebuild == Rebuild() else network.rebuild
    elif stored["rebuild"] is not None:
        options["rebuild"] = Rebuild(**stored["rebuild"])
    if "wide" not in stored:
        options["wide"] = network.ranker is not None or network.wide == Wide() or network.wide or False
    elif isinstance(stored["wide"], Mapping):
        given = dict(stored["wide"])
        options["wide"] = {"Wide": Wide, "Rank": Rank}[given.pop("kind")](**given)
    return options


def _family(stored: Any) -> Any:
    if not isinstance(stored, Mapping):
        return stored
    options = dict(stored)
    return FAMILIES[options.pop("kind")](**options)


def _family_of(network: Network) -> Any:
    last = network.layers[-1]
    assert isinstance(last, Sampled)
    chosen = auto(last.n, last.n_active, last.n_random) if last.lsh is not None else None
    return "auto" if last.lsh is not None and last.lsh == chosen else last.lsh


def stored_schedule(schedule: Schedule | None) -> dict[str, Any] | None:
    """By name and options; of one of the user's own the name alone, since a file holds no code."""
    if schedule is None or type(schedule) not in KNOWN_SCHEDULES.values():
        return None if schedule is None else {"own": getattr(schedule, "__qualname__", type(schedule).__qualname__)}
    return {"name": type(schedule).__name__, **asdict(schedule)}


def _schedule(stored: Mapping[str, Any] | None) -> Schedule | None:
    if stored and "own" in stored:
        warn(
            f"schedule: the model was fitted with {stored['own']}, whose code a file does not hold: it is None now; "
            "set it before the next fit"
        )
        return None
    options = dict(stored or {})
    return KNOWN_SCHEDULES[options.pop("name")](**options) if options else None
