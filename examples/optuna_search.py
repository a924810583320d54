"""Searches options of SlideClassifier with Optuna; trials that are behind after an epoch are pruned.

    pip install 'slide-xmc[examples]'
    python examples/optuna_search.py --trials 20

Judged on a tenth of the training rows, never on the test part.
"""

from __future__ import annotations

import argparse
from typing import Any

import optuna

import slide


class Report(slide.Callback):
    """Tells a trial the score of each epoch."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def on_epoch_end(self, progress: Any, network: Any) -> None:
        self.trial.report(progress.metrics["p@1"], progress.epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def search(X: Any, Y: Any, n_trials: int, epochs: int, seed: int = 0) -> optuna.Study:
    """A finished study of P@1 on a held-out tenth."""

    def objective(trial: optuna.Trial) -> float:
        wide = slide.Wide(lr=trial.suggest_float("wide_lr", 0.05, 0.5, log=True))
        clf = slide.SlideClassifier(
            (trial.suggest_categorical("hidden", [32, 64, 128]),),
            lr=trial.suggest_float("lr", 0.03, 0.3, log=True),
            epochs=epochs,
            wide=wide,
        )
        clf.fit(X, Y, eval_set=0.1, callback=Report(trial))
        return float(clf.history_[-1]["p@1"])

    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruner)
    study.optimize(objective, n_trials=n_trials)
    return study


def main() -> None:
    """Prints the best options found for the embedded WordNet data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    X, Y, _, _ = slide.datasets.load("wordnet-hypernym")
    study = search(X, Y, args.trials, args.epochs)
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    print(f"best P@1 {100 * study.best_value:.2f} with {study.best_params}; {pruned} of {args.trials} trials pruned")


if __name__ == "__main__":
    main()
