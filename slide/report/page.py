"""A page of pictures about one model: how it learned, which labels it finds, what it confuses, and examples.

One self-contained HTML file without scripts, readable in light and dark. Charts are in slide/report/charts.py, the
command in slide/cli/verbs/report.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide import metrics
from slide.engine.layout import FloatArray, IntArray
from slide.estimator.card import fact_text, in_words
from slide.report.charts import Series, bars, lines
from slide.training.bars import metric_name
from slide.training.evaluation import KS

if TYPE_CHECKING:
    from slide.estimator.classifier import SlideClassifier
    from slide.inference.lsh_report import LshReport

MAX_CONFUSED = 15
SHORT = 220  # characters of a text that are shown

STYLE = """
:root { color-scheme: light dark; --page: #fbfaf8; --card: #ffffff; --ink: #1d1f23; --soft: #666b73; --line: #e3e1dc;
  --s1: #2f6db5; --s2: #c2611f; --s3: #3d8a57; --good: #2c7a46; --bad: #b3372f; }
@media (prefers-color-scheme: dark) { :root { --page: #16181b; --card: #1e2125; --ink: #e8e8e6; --soft: #9aa0a8;
  --line: #33373d; --s1: #6fa8e8; --s2: #e8935a; --s3: #74c491; --good: #74c491; --bad: #ef8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 40px 0 4px; }
p.says { margin: 0 0 14px; color: var(--soft); max-width: 74ch; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 10px; margin: 22px 0; }
.tile, figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tile { padding: 10px 14px; } .tile span { color: var(--soft); }
.tile b { display: block; font-size: 22px; font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 14px; }
figure { margin: 0; padding: 14px 14px 8px; min-width: 0; } figcaption { font-weight: 600; margin-bottom: 8px; }
svg { width: 100%; height: auto; display: block; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg text.name { fill: var(--ink); } .grid { stroke: var(--line); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .touch { fill: transparent; }
.line.s1 { stroke: var(--s1); } .line.s2 { stroke: var(--s2); } .line.s3 { stroke: var(--s3); }
.bar.s1, .dot.s1 { fill: var(--s1); } .bar.s2, .dot.s2 { fill: var(--s2); } .bar.s3, .dot.s3 { fill: var(--s3); }
.bar:hover, .dot:hover { opacity: 0.75; }
.key { font-size: 13px; color: var(--soft); margin-bottom: 4px; } .key span { margin-right: 16px; }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; }
.key i.s1 { background: var(--s1); } .key i.s2 { background: var(--s2); } .key i.s3 { background: var(--s3); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 500; } td, th { padding: 5px 10px 5px 0; vertical-align: top;
  border-bottom: 1px solid var(--line); } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.example { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px;
  margin: 10px 0; }
.example p { margin: 0 0 6px; overflow-wrap: anywhere; } .example .true { color: var(--soft); font-size: 14px; }
ol { margin: 0; padding-left: 22px; } ol .score { color: var(--soft); font-variant-numeric: tabular-nums; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); } code { font-size: 13px; }
"""


@dataclass(frozen=True)
class ScoredRows:
    """A model's answers to rows with known labels.

    Y : indicator [n, n_labels]; ids, scores : [n, 5], as predict_topk gives them; Y_train : of the training rows;
    empty : bool [n], rows of which the model knows no feature.
    """

    name: str
    Y: sp.csr_array
    ids: IntArray
    scores: FloatArray
    Y_train: sp.csr_array | None
    propensity: tuple[float, float]
    empty: npt.NDArray[np.bool_]


def page(
    clf: SlideClassifier,
    title: str,
    scored: ScoredRows | None,
    tables: LshReport | None,
    label_names: Sequence[Any],
    row_text: Callable[[int], str],
    examples: int,
) -> str:
    """The whole page as HTML; row_text describes one of the scored rows."""
    parts = [f"<h1>{escape(title)}</h1>", _summary(clf), _tiles(clf, scored), _learning(clf.history_)]
    if scored:
        parts += [_by_frequency(scored)]
    parts += [_retrieval(clf.history_, tables)]
    if scored:
        parts += [_confused(scored, label_names), _examples(scored, label_names, row_text, examples)]
    parts += [_training(clf)]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


# -- parts of it -------------------------------------------------------------------------------------------------------


def _section(title: str, caption: str, inside: str) -> str:
    return f'<h2>{escape(title)}</h2>\n<p class="says">{escape(caption)}</p>\n{inside}'


def _figures(*pairs: tuple[str, str]) -> str:
    inside = "\n".join(f"<figure><figcaption>{escape(t)}</figcaption>{svg}</figure>" for t, svg in pairs if svg)
    return f'<div class="charts">{inside}</div>'


def _summary(clf: SlideClassifier) -> str:
    data, net = clf.card_.data, clf.network_
    rows = f"{data['rows']:,} rows, " if isinstance(data.get("rows"), int) else ""
    return f'<p class="says">{rows}{net.n_features:,} features, {net.n_labels:,} labels; {in_words(net)}.</p>'


def _tiles(clf: SlideClassifier, scored: ScoredRows | None) -> str:
    tiles = []
    if scored:
        A, B = scored.propensity
        found = metrics.evaluate(scored.Y, scored.ids, scored.Y_train, KS, A, B)
        names = [f"{m}@{k}" for m in ("p", "psp", "psndcg") for k in KS if f"{m}@{k}" in found]
        tiles += [(f"{100 * found[name]:.2f} %", metric_name(name)) for name in names]
    tiles += [
        (
            f"{fact_text(clf.fit_seconds_)} s",
            f"training, {clf.network_.epoch:,} epoch" + "s" * (clf.network_.epoch != 1),
        ),
        (fact_text(clf.samples_per_second_), "samples a second"),
    ]
    inside = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in tiles
    )
    return f'<div class="tiles">{inside}</div>'


def _learning(history: list[dict[str, Any]]) -> str:
    losses = [(r["epoch"], r["loss"]) for r in history if r["loss"] is not None]
    if not losses:
        return ""
    x, y = zip(*losses, strict=True)
    scored = [r for r in history if r["epoch_ended"] and "p@1" in r]
    curves = [Series(f"P@{k}", [r["epoch"] for r in scored], [100 * r[f"p@{k}"] for r in scored]) for k in KS]
    shown = lines(curves, "epochs", "%", dots=True) if scored else ""
    caption = "Mean loss over the last tenth of an epoch"
    caption += ", and precision on the rows held out." if scored else "; no rows were held out to score in between."
    return _section(
        "How it learned",
        caption,
        _figures(("Loss", lines([Series("", x, y)], "epochs", "loss")), ("Held-out rows", shown)),
    )


def _by_frequency(scored: ScoredRows) -> str:
    if scored.Y_train is None:
        return _section("Rare and frequent labels", "Needs the labels of the training rows: --train DATA.", "")
    groups = metrics.by_frequency(scored.Y, scored.ids, scored.Y_train, max(KS))
    names = [f"{g.least:,}" if g.least == g.most else f"{g.least:,}-{g.most:,}" for g in groups]
    names[-1] = f"{groups[-1].least:,}+" if groups[-1].most > groups[-1].least else names[-1]
    places = list(range(len(groups)))
    both = [
        Series("recall@5", places, [100 * g.recall for g in groups]),
        Series("precision@5", places, [100 * g.precision for g in groups]),
    ]
    head = ["training rows", "labels", "true pairs", "found", "predicted"]
    cells = [[n, g.labels, g.true, g.found, g.predicted] for n, g in zip(names, groups, strict=True)]
    return _section(
        "Rare and frequent labels",
        "Labels by the number of training rows that have them: how many of the true ones are among the best five, and "
        "how many of those five are true.",
        _figures(
            ("Among the best five", bars(both, names, "training rows of the label", "%", 100)),
            ("", _table(head, cells)),
        ),
    )


def _retrieval(history: list[dict[str, Any]], tables: LshReport | None) -> str:
    active = [(r["epoch"], r["active"], r["rebuilds"]) for r in history]
    figures = []
    if active:
        x, n_active, rebuilds = zip(*active, strict=True)
        figures.append(("Neurons that took part in a sample", lines([Series("", x, n_active)], "epochs", "neurons")))
        figures.append(("Rebuilds of the tables", lines([Series("", x, rebuilds)], "epochs", "rebuilds")))
    caption = "Which neurons are computed for a sample is decided by hash tables."
    if tables and tables.recall:
        names = [f"best {k}" for k in tables.recall]
        places = list(range(len(names)))
        both = [Series("tables", places, [100 * v for v in tables.recall.values()])]
        both.append(Series("a random set of that size", places, [100 * tables.chance] * len(names)))
        figures.append(("Of the exact best neurons, found", bars(both, names, "", "%", 100)))
        caption += (
            f" Among {tables.n_candidates:,} of {tables.n_neurons:,} neurons they hold these shares of the exact best."
        )
    return _section("Active set and retrieval", caption, _figures(*figures)) if figures else ""


def _confused(scored: ScoredRows, names: Sequence[Any]) -> str:
    shown = ~scored.empty
    pairs = confusions(scored.Y[shown], scored.ids[shown, 0])
    cells = [[n, _name(names, true), _name(names, said)] for (true, said), n in pairs.most_common(MAX_CONFUSED)]
    if not cells:
        return ""
    caption = "Rows whose best label is wrong: a label they have, and what was said instead."
    if n := int(scored.empty.sum()):
        caption += (
            f" {n:,} rows are left out that have no feature which the model knows: all of them get the same labels."
        )
    return _section("Most confused", caption, _table(["rows", "has", "said"], cells))


def confusions(Y: sp.csr_array, best: IntArray) -> Counter[tuple[int, int]]:
    """How often a row has the one label and not the other, which was its best one: (has, said) -> rows.

    >>> import numpy as np, scipy.sparse as sp
    >>> confusions(sp.csr_array([[1, 0, 1], [0, 1, 0]]), np.array([1, 1], np.int32)) == {(0, 1): 1, (2, 1): 1}
    True
    """
    found: Counter[tuple[int, int]] = Counter()
    for row, said in enumerate(best.tolist()):
        true = Y.indices[Y.indptr[row] : Y.indptr[row + 1]].tolist()
        if said >= 0 and said not in true:
            found.update((label, said) for label in true)
    return found


def _examples(scored: ScoredRows, names: Sequence[Any], row_text: Callable[[int], str], n: int) -> str:
    rows = np.random.default_rng(0).permutation(scored.Y.shape[0])[:n].tolist()
    parts = []
    for row in rows:
        true = set(scored.Y.indices[scored.Y.indptr[row] : scored.Y.indptr[row + 1]].tolist())
        items = []
        for label, score in zip(scored.ids[row].tolist(), scored.scores[row].tolist(), strict=True):
            if label >= 0:
                kind = "good" if label in true else ""
                name = f'<span class="{kind}">{_escaped(names, label)}</span>'
                items.append(f'<li>{name} <span class="score">{score_text(score)}</span></li>')
        missed = sorted(true - set(scored.ids[row].tolist()))
        listed = "; ".join(_escaped(names, label) for label in missed[:10])
        more = f" and {len(missed) - 10:,} more" if len(missed) > 10 else ""
        below = f'<p class="true">not among the five: {listed}{more}</p>' if missed else ""
        parts.append(
            f'<div class="example"><p>{escape(_short(row_text(row)))}</p><ol>{"".join(items)}</ol>{below}</div>'
        )
    caption = f"{len(rows)} rows of {scored.name} drawn at random: the best five labels with scores, true in green."
    return _section("Examples", caption, "\n".join(parts)) if rows else ""


def _training(clf: SlideClassifier) -> str:
    facts = clf.card_.data | clf.card_.fit
    cells = [[name.replace("_", " "), fact_text(value)] for name, value in facts.items()]
    caption = "What the model file says of its training; slide card MODEL prints it as text."
    return _section("Training", caption, _table(["", ""], cells)) if cells else ""


# -- words -------------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def cell(value: Any, tag: str, number: bool) -> str:
        text = f"{value:,}" if isinstance(value, int) else str(value)
        return f"<{tag}{' class=n' if number else ''}>{escape(text)}</{tag}>"

    numbers = [all(isinstance(row[i], int) for row in rows) for i in range(len(head))]
    top = "".join(cell(name, "th", n) for name, n in zip(head, numbers, strict=True))
    body = "".join(f"<tr>{''.join(cell(v, 'td', n) for v, n in zip(row, numbers, strict=True))}</tr>" for row in rows)
    return f'<div class="wide"><table>{f"<tr>{top}</tr>" if any(head) else ""}{body}</table></div>'


def score_text(score: float) -> str:
    """With two digits, and no sign before 0.

    >>> score_text(1.234), score_text(-0.001), score_text(-1.5)
    ('1.23', '0.00', '-1.50')
    """
    return f"{round(score, 2) + 0.0:.2f}"


def _name(names: Sequence[Any], label: int) -> str:
    return str(names[label])


def _escaped(names: Sequence[Any], label: int) -> str:
    return escape(_name(names, label))


def _short(text: str) -> str:
    return text if len(text) <= SHORT else text[: SHORT - 1].rstrip() + "…"
