"""Metrics of extreme classification on sparse matrices: precision, nDCG and recall at k, and propensity-scored ones.

Truth and predictions may be indicators, ids, names, lists, scores or data frames (``precision_at_k`` lists the forms);
of ids nothing of the size rows x labels is ever made. Results are fractions, 0 to 1. Rows without a true label count,
and score 0. Labels that nothing can predict are missed, and said.
"""

from slide.metrics.calibration import ReliabilityBin, calibration_error, reliability
from slide.metrics.labels import LabelQuality, label_report, write_label_report
from slide.metrics.pairs import without_pairs
from slide.metrics.propensity import inverse_propensity, psndcg_at_k, psp_at_k
from slide.metrics.ranking import ndcg_at_k, precision_at_k, recall_at_k
from slide.metrics.summary import Frequency, by_frequency, evaluate

__all__ = [
    "Frequency",
    "LabelQuality",
    "ReliabilityBin",
    "by_frequency",
    "calibration_error",
    "evaluate",
    "inverse_propensity",
    "label_report",
    "ndcg_at_k",
    "precision_at_k",
    "psndcg_at_k",
    "psp_at_k",
    "recall_at_k",
    "reliability",
    "without_pairs",
    "write_label_report",
]
