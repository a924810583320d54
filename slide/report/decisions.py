"""What a report page says of probabilities and of the labels that are predicted."""

from __future__ import annotations

import scipy.sparse as sp

from slide import metrics
from slide.engine.layout import FloatArray, IntArray
from slide.report.charts import Series, bars

N_BINS = 10  # of the chart; the error is of 15, as everybody gives it


def reliability_chart(Y: sp.csr_array, ids: IntArray, probabilities: FloatArray) -> str:
    """Of the best labels: what they say beside how many are true, as SVG."""
    found = metrics.reliability(Y, ids, probabilities, 1, N_BINS)
    names = [f"{100 * b.low:.0f}-{100 * b.high:.0f}" for b in found]
    places = list(range(len(found)))
    both = [
        Series("said", places, [100 * b.said for b in found]),
        Series("true", places, [100 * b.true for b in found]),
    ]
    return bars(both, names, "% that are said", "%", 100)


def sure_of(Y: sp.csr_array, ids: IntArray, probabilities: FloatArray, least: float = 0.5) -> tuple[int, float, float]:
    """Of all labels that are given more: how many, what they say on average, and the share that is true."""
    bins = metrics.reliability(Y, ids, probabilities, ids.shape[1], round(1 / (1 - least)))
    if not bins or bins[-1].low < least:
        return 0, float("nan"), float("nan")
    return bins[-1].n, bins[-1].said, bins[-1].true


def decisions(Y: sp.csr_array, said: sp.csr_array) -> dict[str, float]:
    """Precision, recall and F1 of label sets, said [n, n_labels] as Y, of all pairs together; and F1 by label."""
    found = metrics.label_report(Y, said)
    right, given, true = (sum(getattr(q, name) for q in found) for name in ("right", "predicted", "support"))
    f1 = [q.f1 for q in found if q.support]
    return {
        "precision: given labels that are right": right / given if given else float("nan"),
        "recall: true labels that are given": right / true if true else float("nan"),
        "micro F1": 2 * right / max(given + true, 1),
        "macro F1": sum(f1) / max(len(f1), 1),
    }
