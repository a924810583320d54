"""``annif hyperopt``: options of a project are drawn, a model is trained on the cached documents, and scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import annif.eval
from annif.backend import hyperopt

from slide_annif.models import suggestions, trained
from slide_annif.parameters import classifier

if TYPE_CHECKING:
    from annif.corpus import DocumentCorpus
    from optuna.study.study import Study
    from optuna.trial import Trial

    from slide_annif.backend import SlideBackend


class SlideObjective(hyperopt.HPObjective):
    """One trial."""

    @classmethod
    def objective(cls, trial: Trial, args: dict[str, Any]) -> float:
        """Trains and scores."""
        drawn = {
            "epochs": trial.suggest_int("epochs", 2, 10),
            "words": trial.suggest_int("words", 1, 2),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "hidden": trial.suggest_categorical("hidden", [64, 128, 256]),
        }
        model = classifier({**args["params"], **drawn}, args["backend_id"], args["n_threads"])
        trained(model, args["documents"])
        batch = annif.eval.EvaluationBatch(args["subject_index"])
        found = suggestions(model, args["texts"], int(args["params"]["limit"]))
        batch.evaluate_many(found, args["gold"])
        return float(batch.results(metrics=[args["metric"]])[args["metric"]])


class SlideOptimizer(hyperopt.HyperparameterOptimizer):
    """Trials on the documents of the last training."""

    def __init__(self, backend: SlideBackend, corpus: DocumentCorpus, metric: str) -> None:
        super().__init__(backend, corpus, metric, SlideObjective)

    def _prepare(self, n_jobs: int = 1) -> dict[str, Any]:
        params = self._backend.params
        analyzed = self._backend._read(params, "analyzed")
        documents = list(self._corpus.documents)
        return {
            "params": params,
            "backend_id": self._backend.backend_id,
            "n_threads": 1 if n_jobs != 1 else None,
            "documents": self._backend.cached(),
            "texts": [self._backend.text_of(document.text, analyzed) for document in documents],
            "gold": [document.subject_set for document in documents],
            "subject_index": self._backend.project.subjects,
            "metric": self._metric,
        }

    def _postprocess(self, study: Study) -> hyperopt.HPRecommendation:
        lines = [f"{name}={value:.3g}" for name, value in study.best_params.items()]  # all are numbers
        return hyperopt.HPRecommendation(lines=lines, score=study.best_value)
