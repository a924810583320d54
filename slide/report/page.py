"""A page of pictures about one model: how good it is, how it learned, which labels it finds, what it confuses.

One self-contained HTML file without scripts, readable in light and dark, on a screen of any width. SECTIONS is what is
on it, in order: a new section is a function of a Report, put there. What they are made of is in slide/report/scored.py,
the HTML in slide/report/markup.py, charts in slide/report/charts.py, the command in slide/cli/verbs/report.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from itertools import islice
from typing import Any

import numpy as np

from slide import metrics
from slide.estimator.card import fact_text, in_words
from slide.report.charts import Series, bars, lines
from slide.report.decisions import decisions, reliability_chart, sure_of
from slide.report.markup import details, document, figures, percent, score_text, section, short, table
from slide.report.scored import LabelScore, Report, ScoredRows, confusions, label_scores
from slide.training.bars import metric_name
from slide.training.evaluation import KS

MAX_CONFUSED = 15
MAX_WORDS = 15
MAX_LABELS = 8  # best ones, and as many worst ones
LEAST_ROWS = (50, 20, 10, 5)  # that a label has among the scored rows to be called good or bad: as many as leave enough
FIRST = {1: "first", 3: "first three", 5: "first five"}
MEASURES = {  # by the name's part before @
    "p": "share of the first k labels that are true",
    "recall": "share of a row's true labels that are among the first k",
    "ndcg": "as P@k, a true label counting more the earlier it stands",
    "psp": "as P@k, a rare label counting more, over the most that could be had",
    "psndcg": "both: rare labels and early ones count more",
}


def page(report: Report) -> str:
    """The whole page as HTML."""
    parts = [f"<h1>{escape(report.title)}</h1>", *(part(report) for part in SECTIONS)]
    return document(report.title, "\n".join(part for part in parts if part))


# -- how good it is ----------------------------------------------------------------------------------------------------


def _summary(report: Report) -> str:
    data, net = report.clf.card_.data, report.clf.network_
    rows = f"{data['rows']:,} rows, " if isinstance(data.get("rows"), int) else ""
    trained = f"{rows}{net.n_features:,} features, {net.n_labels:,} labels; {in_words(net)}."
    scored = f" Scored on {report.scored.Y.shape[0]:,} rows of {report.scored.name}." if report.scored else ""
    return f'<p class="says">Trained on {escape(trained + scored)}</p>'


def _tiles(report: Report) -> str:
    """Four a row: what is right among the first labels, the same where rare labels weigh more, and what it took."""
    clf, tiles = report.clf, []
    if report.scored:
        found = _measures(report.scored)
        most = _most_possible(report.scored)
        for k in KS:
            title = "The first label is right" if k == 1 else f"Right among the {FIRST[k]}"
            limit = f"; at most {100 * most[k]:.1f} % can be" if most[k] < 0.9995 else ""
            tiles.append((found[f"p@{k}"], title, metric_name(f"p@{k}") + limit))
        tiles.append((found["recall@5"], "Of a row's true labels, among the first five", metric_name("recall@5")))
        weighted = [(f"psp@{k}", f"The {FIRST[k]}, rare labels counting more") for k in KS if f"psp@{k}" in found]
        tiles += [(found[name], title, metric_name(name)) for name, title in weighted]
    shown = [(f"{100 * value:.2f} %", title, name) for value, title, name in tiles]
    epochs = f"{clf.network_.epoch:,} epoch" + "s" * (clf.network_.epoch != 1)
    speed = f"{epochs}, {fact_text(clf.samples_per_second_)} samples a second"
    shown.append((f"{fact_text(clf.fit_seconds_)} s", "Training", speed))
    inside = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(title)}</span><small>{escape(name)}</small></div>'
        for value, title, name in shown
    )
    return f'<div class="tiles">{inside}</div>' + (_all_measures(report.scored) if report.scored else "")


def _measures(scored: ScoredRows) -> dict[str, float]:
    A, B = scored.propensity
    return metrics.evaluate(scored.Y, scored.ids, scored.Y_train, KS, A, B)


def _most_possible(scored: ScoredRows) -> dict[int, float]:
    """P@k of a model that is never wrong: a row with fewer than k labels leaves places empty."""
    counts = np.diff(scored.Y.indptr)
    return {k: float(np.minimum(counts, k).mean() / k) for k in KS}


def _all_measures(scored: ScoredRows) -> str:
    found = _measures(scored)
    rows = [
        [metric_name(f"{kind}@k"), *(f"{100 * found[f'{kind}@{k}']:.2f} %" for k in KS), says]
        for kind, says in MEASURES.items()
        if f"{kind}@1" in found
    ]
    return details("All measures, and what they mean", table(["", *(f"k = {k}" for k in KS), ""], rows))


def _learning(report: Report) -> str:
    history = report.clf.history_
    losses = [(r["epoch"], r["loss"]) for r in history if r["loss"] is not None and math.isfinite(r["loss"])]
    if not losses:
        return ""
    x, y = zip(*losses, strict=True)
    scored = [r for r in history if r["epoch_ended"] and "p@1" in r]
    curves = [Series(f"P@{k}", [r["epoch"] for r in scored], [100 * r[f"p@{k}"] for r in scored]) for k in KS]
    shown = lines(curves, "epochs", "%", dots=True) if scored else ""
    caption = "Mean loss over the last tenth of an epoch"
    caption += (
        ", and the share of right labels among the first k on the rows held out (P@k)."
        if scored
        else "; no rows were held out to score in between."
    )
    return section(
        "How it learned",
        caption,
        figures(("Loss", lines([Series("", x, y)], "epochs", "loss")), ("Held-out rows", shown)),
    )


# -- labels ------------------------------------------------------------------------------------------------------------


def _by_frequency(report: Report) -> str:
    scored = report.scored
    if not scored:
        return ""
    if scored.Y_train is None:
        return section("Rare and frequent labels", "Needs the labels of the training rows: `--train DATA`.", "")
    groups = metrics.by_frequency(scored.Y, scored.ids, scored.Y_train, max(KS))
    names = [f"{g.least:,}" if g.least == g.most else f"{g.least:,}-{g.most:,}" for g in groups]
    names[-1] = f"{groups[-1].least:,}+" if groups[-1].most > groups[-1].least else names[-1]
    places = list(range(len(groups)))
    both = [
        Series("true ones found", places, [100 * g.recall for g in groups]),
        Series("given ones right", places, [100 * g.precision for g in groups]),
    ]
    head = ["training rows", "labels", "true pairs", "found", "given"]
    cells = [[n, g.labels, g.true, g.found, g.predicted] for n, g in zip(names, groups, strict=True)]
    return section(
        "Rare and frequent labels",
        "Labels by the number of training rows that have them: how many of the true ones are among a row's first five "
        "(recall@5), and how many of those five are true (precision@5).",
        figures(
            ("Among the first five", bars(both, names, "training rows of the label", "%", 100)),
            ("Pairs of a row and a label", table(head, cells)),
        ),
    )


def _best_and_worst(report: Report) -> str:
    if not report.scored:
        return ""
    least, found = _judged(report.scored)
    n = min(MAX_LABELS, len(found) // 2)
    if not n:
        return ""
    worst = sorted(found, key=lambda label: (label.found / label.rows, -label.rows))[:n]
    return section(
        "Best and worst labels",
        f"Of the {len(found):,} labels that {least} or more of these rows have. Found: in how many of these rows "
        "the label is among the first five. Right: of the rows where it comes first, how many have it.",
        figures(("Best", _label_table(report, found[:n])), ("Worst", _label_table(report, worst, instead=True))),
    )


def _judged(scored: ScoredRows) -> tuple[int, list[LabelScore]]:
    """Labels with enough rows that a share of them says something, and how many rows that is."""
    found: list[LabelScore] = []
    for least in LEAST_ROWS:
        found = label_scores(scored, least)
        if len(found) >= 4 * MAX_LABELS:
            break
    return least, found


def _label_table(report: Report, labels: list[LabelScore], *, instead: bool = False) -> str:
    rows = []
    for s in labels:
        right = percent(s.right / s.first if s.first else math.nan)
        more = [report.name_of(s.instead) if s.instead >= 0 else ""] if instead else []
        rows.append([report.name_of(s.label), s.rows, percent(s.found / s.rows), right, *more])
    return table(["label", "rows", "found", "right", *(["instead"] if instead else [])], rows)


def _reliability(report: Report) -> str:
    scored = report.scored
    if not scored:
        return ""
    if not scored.proba:
        how = "Scores were never compared with rows that were not trained on: `slide calibrate MODEL DATA` does so."
        return section("Probabilities", how, "")
    truth = scored.Y, scored.ids, scored.scores
    n, said, true = sure_of(*truth)
    caption = (
        "Of the first labels that are given 80 %, 80 % should be right. Mean distance (ECE, 15 bins): "
        f"{100 * metrics.calibration_error(*truth):.1f} points."
    )
    if n:
        caption += (
            f" Labels among the five that are given over 50 %: {n:,}, said {percent(said)}, true {percent(true)}."
        )
    return section("Probabilities", caption, figures(("First label of a row", reliability_chart(*truth))))


def _decisions(report: Report) -> str:
    if not report.scored or report.scored.decided is None:
        return ""
    Y, said = report.scored.Y, report.scored.decided
    facts = decisions(Y, said)
    cells = [[name, percent(value)] for name, value in facts.items()]
    how = report.clf.thresholds_ or "predicted: labels of positive scores"
    a_row = [f"{m.nnz / max(Y.shape[0], 1):.2f}" for m in (said, Y)]
    caption = (
        f"Which labels `predict` gives is decided by a threshold ({how}). On these rows it gives {a_row[0]} labels a "
        f"row, which have {a_row[1]}. In macro F1 labels count alike, in the others by their rows."
    )
    return section("Decisions", caption, table(["", ""], cells))


def _confused(report: Report) -> str:
    scored = report.scored
    if not scored:
        return ""
    shown = ~scored.empty
    pairs = confusions(scored.Y[shown], scored.ids[shown, 0])
    cells = [[n, report.name_of(true), report.name_of(said)] for (true, said), n in pairs.most_common(MAX_CONFUSED)]
    if not cells:
        return ""
    caption = "Rows whose first label is wrong: a label they have, and what came first instead."
    if n := int(scored.empty.sum()):
        caption += (
            f" {n:,} rows are left out that have no feature which the model knows: all of them get the same labels."
        )
    return section("Most confused", caption, table(["rows", "has", "first"], cells))


def _words(report: Report) -> str:
    if not report.words:
        return ""
    n, right = sum(word.rows for word in report.words), sum(word.right for word in report.words)
    rows = [[w.name, w.rows, w.right, report.name_of(w.label)] for w in islice(report.words, MAX_WORDS)]
    caption = (
        f"The feature that added most to the score of the first label, in {n:,} rows drawn at random, of which "
        f"{right:,} are right. One that decides many rows and has nothing to do with their labels may be a leak."
    )
    return section("Words that spoke", caption, table(["feature", "rows", "right", "most often for"], rows))


def _examples(report: Report) -> str:
    if not report.scored or not report.n_examples:
        return ""
    rows = np.random.default_rng(0).permutation(report.scored.Y.shape[0])[: report.n_examples].tolist()
    inside = "\n".join(_example(report, report.scored, row) for row in rows)
    what = "probabilities" if report.scored.proba else "scores"
    caption = f"{len(rows)} rows of {report.scored.name} drawn at random: the first five labels with {what}, true ✓."
    return section("Examples", caption, f'<div class="examples">{inside}</div>') if rows else ""


def _example(report: Report, scored: ScoredRows, row: int) -> str:
    true = set(scored.Y.indices[scored.Y.indptr[row] : scored.Y.indptr[row + 1]].tolist())
    items = []
    for label, score in zip(scored.ids[row].tolist(), scored.scores[row].tolist(), strict=True):
        if label >= 0:
            kind = ' class="good"' if label in true else ""
            said = percent(score) if scored.proba else score_text(score)
            name = f"<span{kind}>{escape(report.name_of(label))}</span>"
            items.append(f'<li>{name} <span class="score">{said}</span></li>')
    missed = sorted(true - set(scored.ids[row].tolist()))
    listed = "; ".join(escape(report.name_of(label)) for label in missed[:10])
    more = f" and {len(missed) - 10:,} more" if len(missed) > 10 else ""
    below = f'<p class="missed">not among the five: {listed}{more}</p>' if missed else ""
    return f'<div class="example"><p>{escape(short(report.row_text(row)))}</p><ol>{"".join(items)}</ol>{below}</div>'


# -- inside, for those who want to know --------------------------------------------------------------------------------


def _retrieval(report: Report) -> str:
    history, tables = report.clf.history_, report.tables
    if report.clf.network_.states[-1].lsh is None:
        return ""
    shown: list[tuple[str, str]] = []
    caption = "Which neurons of the last layer are computed for a sample is decided by hash tables."
    if tables and tables.recall:
        names = [f"best {k}" for k in tables.recall]
        places = list(range(len(names)))
        both = [Series("tables", places, [100 * v for v in tables.recall.values()])]
        both.append(Series("a random set of that size", places, [100 * tables.chance] * len(names)))
        shown.append(("Of the exact best neurons, found", bars(both, names, "", "%", 100)))
        caption += (
            f" Among {tables.n_candidates:,} of {tables.n_neurons:,} neurons they hold these shares of the exact best."
        )
    if history:
        caption += _activity(history, shown)
    return section("Active set and retrieval", caption, figures(*shown), folded=True) if history or shown else ""


def _activity(history: list[dict[str, Any]], shown: list[tuple[str, str]]) -> str:
    """A chart of the active neurons where they change, and a sentence of what else happened."""
    active = [r["active"] for r in history]
    rebuilt = f"The tables were rebuilt {history[-1]['rebuilds']:,} times."
    if max(active) - min(active) < 0.005 * max(active):
        return f" {active[-1]:,.0f} neurons took part in a sample. {rebuilt}"
    curve = lines([Series("", [r["epoch"] for r in history], active)], "epochs", "neurons")
    shown.append(("Neurons that took part in a sample", curve))
    return f" {rebuilt}"


def _training(report: Report) -> str:
    facts = report.clf.card_.data | report.clf.card_.fit
    cells = [[name.replace("_", " "), fact_text(value)] for name, value in facts.items()]
    caption = "What the model file says of its training; `slide card MODEL` prints it as text."
    return section("Training", caption, table(["", ""], cells), folded=True) if cells else ""


#: The page, from top to bottom; what a section has nothing for, it leaves out.
SECTIONS: tuple[Callable[[Report], str], ...] = (
    _summary,
    _tiles,
    _learning,
    _by_frequency,
    _reliability,
    _decisions,
    _best_and_worst,
    _confused,
    _words,
    _examples,
    _retrieval,
    _training,
)
