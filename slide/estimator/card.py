"""The model card: what a model was trained on, how, how good it was and what it cannot do, as Markdown.

Facts are recorded at the end of a fit and stored in the model's file (slide/io/model_file.py); nothing here is needed
to predict.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import scipy.sparse as sp

from slide._version import __version__
from slide.io.fingerprint import fingerprint
from slide.network import Network
from slide.training.bars import metric_name

Fact = str | int | float | bool | None
Facts = dict[str, Fact]
AT_ONCE = 10_000  # entries of X whose digest takes less than a thread to start
MAX_SCORES = 20  # kept; the oldest goes first

LIMITS = (
    "Labels that no training row had are never predicted; `partial_fit` and `add_labels` bring new ones in.",
    "Scores rank the labels of a row. Probabilities are calibrated if rows were kept back for it (`calibration_`).",
    "Rare labels are found less often than frequent ones: PSP@k weighs them, `slide eval --by-frequency` shows them.",
    "The model repeats what its training data say, their errors and their gaps included.",
)


@dataclass
class Card:
    """What is known of a model's training; every value is a number, a string or None.

    data : of the training rows; fit : how they were trained on; scores : one entry for each time it was scored.
    """

    data: Facts = field(default_factory=dict)
    fit: Facts = field(default_factory=dict)
    scores: list[Facts] = field(default_factory=list)

    @classmethod
    def restored(cls, stored: Any) -> Card:
        """From a model file's JSON; raises ValueError for what a card does not hold."""
        if stored is None:
            return cls()
        return cls(_facts(stored["data"]), _facts(stored["fit"]), [_facts(score) for score in stored["scores"]])

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def scored(self, on: str, found: Mapping[str, Any]) -> None:
        """Records the metrics of one evaluation, in percent."""
        kept = {name: value for name, value in found.items() if "@" in name and "_" not in name and value is not None}
        self.scores = [*self.scores, {"on": on, "rows": found.get("n_test_samples"), **kept}][-MAX_SCORES:]


def _facts(stored: Any) -> Facts:
    for name, value in stored.items():
        if not (value is None or isinstance(value, str | int | float)):
            raise ValueError(f"card: found {type(value).__name__} for {name}, wanted a number or a string")
    return dict(stored)


class TrainingFacts:
    """What a card says of a fit; the digest of the data is made by a thread while the fit goes on."""

    def __init__(self, data: Facts) -> None:
        """data : of the rows."""
        self._data = data
        self._digest: Future[str] | None = None

    @classmethod
    def of(cls, X: sp.csr_array, Y: sp.csr_array) -> TrainingFacts:
        """For rows that are in memory, with their digest."""
        facts = cls.counted(X.shape[0], X.shape[1], Y.shape[1], X.nnz, Y.nnz)
        if X.nnz < AT_ONCE:
            facts._digest = Future()
            facts._digest.set_result(fingerprint(X, Y))
            return facts
        pool = ThreadPoolExecutor(1, "slide-fingerprint")
        facts._digest = pool.submit(fingerprint, X, Y)
        pool.shutdown(wait=False)
        return facts

    @classmethod
    def counted(cls, rows: int, features: int, labels: int, n_values: int, n_labelled: int) -> TrainingFacts:
        """For rows that were only counted."""
        means = {"features_per_row": n_values / max(rows, 1), "labels_per_row": n_labelled / max(rows, 1)}
        sizes: Facts = {"rows": rows, "features": features, "labels": labels}
        return cls(sizes | {name: round(mean, 3 if name[0] == "l" else 2) for name, mean in means.items()})

    def fingerprint(self) -> str:
        """Of rows in memory, once their digest is made (slide.io.fingerprint)."""
        assert self._digest is not None
        return self._digest.result()

    def card(self, net: Network, seconds: float, samples_per_second: float) -> Card:
        """After a fit that took so long."""
        data = self._data | {"fingerprint": self.fingerprint() if self._digest else None}
        fit: Facts = {
            "slide": __version__,
            "seconds": round(seconds, 6),
            "samples": net.step,
            "epochs": net.epoch,
            "samples_per_second": round(samples_per_second, 6),
            "threads": net.n_threads,
            "backend": net.backend,
            "instruction_set": net.isa,
            "seed": net.seed,
            "parameter_bytes": net.n_bytes + (sum(a.nbytes for a in _wide_arrays(net))),
            "process_peak_bytes": peak_bytes(),
        }
        return Card(data, fit)


def _wide_arrays(net: Any) -> list[Any]:
    state = net.wide_state
    return [] if state is None else [state.weights, state.bias, state.labels, state.indptr]


def peak_bytes() -> int | None:
    """The most memory this process has held so far; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -- Markdown ----------------------------------------------------------------------------------------------------------


def in_words(net: Network) -> str:
    """What a network is, as a noun phrase."""
    last = net.layers[-1]
    kind = "a network" if getattr(last, "lsh", None) is None else "an LSH-sampled network"
    if net.ranker is not None:
        return f"{kind} whose best labels are ranked by sparse rows"
    return f"{kind} with a sparse linear part" if net.wide else kind


def markdown(card: Card, kind: str, net: Network, changed: Mapping[str, Any]) -> str:
    """The card of a fitted classifier.

    kind : its class; net : its network; changed : options that are not the defaults
    """
    parts = [
        f"# Model card: {kind} for {net.n_labels:,} labels",
        f"An extreme-classification model made by slide: {in_words(net)}.",
        _section("Training data", card.data),
        _section("Training", card.fit),
        "## Options that are not the defaults\n\n"
        + ("\n".join(f"- `{name}={value!r}`" for name, value in changed.items()) or "None."),
        "## How good it is\n\n" + _scores(card.scores),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in LIMITS),
        '## Use\n\n```python\nimport slide\n\nclf = slide.load("model.slide")\n'
        "names, scores = clf.predict_topk(X, k=5, names=True)\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, facts: Facts) -> str:
    lines = [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in facts.items()]
    return f"## {title}\n\n" + ("\n".join(["| | |", "|---|---|", *lines]) if lines else "Not known.")


def _scores(scores: list[Facts]) -> str:
    if not scores:
        return "It was not scored. `slide eval MODEL DATA` does so."
    names = list(dict.fromkeys(name for score in scores for name in score if name not in ("on", "rows")))
    lines = [
        "| scored on | rows |" + "".join(f" {metric_name(name)} |" for name in names),
        "|---|---:|" + "---:|" * len(names),
    ]
    for score in scores:
        values = "".join(f" {_percent(score.get(name))} |" for name in names)
        lines.append(f"| {_cell(score.get('on'))} | {_cell(score.get('rows'))} |{values}")
    return "\n".join(lines) + "\n\nIn percent, one training with one seed; how far seeds move it: docs/reliability.md."


def fact_text(value: Fact) -> str:
    """A fact for people: the same on the card, on the report page and in ``slide info``.

    >>> fact_text(0.57187), fact_text(6994.54), fact_text(80896), fact_text(-0.0), fact_text(True), fact_text(None)
    ('0.5719', '6,995', '80,896', '0', 'yes', 'not known')
    """
    if value is None:
        return "not known"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    value += 0.0  # -0.0 is 0
    return f"{value:,.4g}" if math.isfinite(value) and abs(value) < 1000 else f"{value:,.0f}"


def _cell(value: Fact) -> str:
    """For a table of Markdown."""
    return fact_text(value).replace("|", "\\|").replace("\n", " ")


def _percent(value: Fact) -> str:
    return f"{value:.2f}" if isinstance(value, float) else fact_text(value)
