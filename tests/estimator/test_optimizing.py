"""clf.optimize: what is chosen, declined, kept in files, and refused once the model has changed. Times are made up."""

from __future__ import annotations

import copy
import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.cli.main import main
from slide.cli.verbs.optimize import read_groups
from slide.estimator import optimizing
from slide.estimator.planned import PlannedNetwork, ServingPlan

N, TRAIN = 2_600, 600
LOSS = 0.02  # for which few rows are enough


def made_up(plan: ServingPlan) -> float:
    """Milliseconds: fewer bits, candidates and ranked labels are faster."""
    ms = 1.0 if plan.n_candidates is None else 0.2 + plan.n_candidates / 1_000
    ms *= 0.7 if plan.bits == 8 else 1.0
    return ms * (1.0 if plan.n_ranked is None else 0.5 + plan.n_ranked / 100)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[ServingPlan], float]], None]:
    """Sets how long plans take."""

    def set_times(ms: Callable[[ServingPlan], float]) -> None:
        def timed(search: Any, plans: Any, *_: Any) -> None:
            for tried in plans:
                tried.ms = ms(tried.plan)

        monkeypatch.setattr(optimizing._Search, "_time", timed)

    set_times(made_up)
    return set_times


@pytest.fixture(scope="module")
def data() -> tuple[sp.csr_array, sp.csr_array]:
    return slide.datasets.synthetic(N, 300, 120, nnz=8, labels_per_row=1)


@pytest.fixture(scope="module")
def wide(data: Any) -> slide.SlideClassifier:
    X, Y = data
    return slide.SlideClassifier(hidden=16, epochs=4, n_active=60, n_threads=1).fit(X[:TRAIN], Y[:TRAIN])


@pytest.fixture(scope="module")
def ranked(data: Any) -> slide.SlideClassifier:
    X, Y = data
    rank = slide.Rank(n_negatives=20, C=1.0)
    return slide.SlideClassifier(hidden=16, epochs=4, n_active=60, wide=rank, n_threads=1).fit(X[:TRAIN], Y[:TRAIN])


@pytest.fixture(scope="module")
def held(data: Any) -> tuple[sp.csr_array, sp.csr_array]:
    X, Y = data
    return X[TRAIN:], Y[TRAIN:]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("kind", ["wide", "ranked"])
@pytest.mark.parametrize("metric", ["p@1", "agreement@3"])
def test_a_faster_plan_is_found_and_keeps_its_promise(
    kind: str, metric: str, held: Any, request: pytest.FixtureRequest
) -> None:
    clf = request.getfixturevalue(kind)
    X, Y = held
    fast = clf.optimize(X, Y if metric == "p@1" else None, metric=metric, max_loss=0.1)
    report = fast.report_
    assert report.declined is None
    assert report.speedup >= 1.3
    assert fast.plan_ != ServingPlan()
    assert made_up(fast.plan_) == pytest.approx(report.ms)
    assert report.loss <= report.bound <= 0.1
    assert report.n_chosen == report.n_confirmed == 1_000
    assert type(fast) is type(clf)
    before, after = clf.predict_topk(X, 3)[0], fast.predict_topk(X, 3)[0]
    assert before.shape == after.shape
    assert (after >= 0).all()
    if metric == "p@1":
        assert fast.score(X, Y) > clf.score(X, Y) - 0.1
        assert fast.evaluate(X, Y)["p@1"] == pytest.approx(fast.score(X, Y))
    else:
        assert np.mean([len(set(a) & set(b)) / 3 for a, b in zip(before, after, strict=True)]) > 0.9
    assert fast.predict(X[:5]).shape == clf.predict(X[:5]).shape
    one = fast.predict_topk(X[:1], 3)
    assert np.array_equal(one[0][0], after[0])
    assert "times as fast" in str(report)
    assert not hasattr(clf, "report_")


@pytest.mark.usefixtures("clock")
def test_files_pickles_and_copies_predict_the_same(ranked: slide.SlideClassifier, held: Any) -> None:
    X, Y = held
    fast = ranked.optimize(X, Y, max_loss=0.1)
    expected = fast.predict_topk(X, 5)
    file = io.BytesIO()
    fast.save(file)
    file.seek(0)
    assert fast.plan_.n_ranked
    for again in (slide.load(file, n_threads=1), pickle.loads(pickle.dumps(fast)), copy.deepcopy(fast)):
        assert isinstance(again.network_, PlannedNetwork)
        found = again.predict_topk(X, 5)
        assert np.array_equal(found[0], expected[0])
        assert np.array_equal(found[1], expected[1])
        assert again.plan_ == fast.plan_
        assert again.report_ == fast.report_
        file = io.BytesIO()
        again.save(file)
    assert ranked.network_.ranker is not None
    assert fast.network_.ranker is not None
    assert ranked.network_.ranker.n == 20 > fast.network_.ranker.n  # the view has its own, and changed no other


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("how", ["trained", "labels", "fitted"])
def test_it_refuses_once_the_model_has_changed(how: str, wide: slide.SlideClassifier, held: Any) -> None:
    X, Y = held
    clf = copy.deepcopy(wide)
    fast = clf.optimize(X, Y, max_loss=0.1)
    assert fast.predict_topk(X[:1])[0].shape == (1, 5)
    if how == "trained":
        clf.partial_fit(X[:10], Y[:10])
    elif how == "labels":
        clf.add_labels(2)
    else:
        clf.fit(X[:50], Y[:50])
    for call in (fast.predict, fast.predict_topk, lambda X: fast.score(X, Y[:1])):
        with pytest.raises(ValueError, match="was trained or its labels changed since it was optimized"):
            call(X[:1])


@pytest.mark.usefixtures("clock")
def test_it_only_predicts(wide: slide.SlideClassifier, held: Any) -> None:
    X, Y = held
    fast = wide.optimize(X, Y, max_loss=0.1)
    wanted = "found an optimized model, which only predicts; wanted the one it was made from"
    for call in (lambda: fast.partial_fit(X[:5], Y[:5]), lambda: fast.add_labels(1), fast.compress):
        with pytest.raises(ValueError, match=wanted):
            call()
    with pytest.raises(ValueError, match="optimize: found 'an optimized model'"):
        fast.optimize(X, Y)


# -- it declines -------------------------------------------------------------------------------------------------------


def declined(fast: slide.SlideClassifier, clf: slide.SlideClassifier, X: Any) -> str:
    assert fast.plan_ == ServingPlan()
    assert np.array_equal(fast.predict_topk(X)[1], clf.predict_topk(X)[1])
    assert fast.report_.speedup < 1.3
    assert fast.report_.declined in str(fast.report_)
    return str(fast.report_.declined)


@pytest.mark.usefixtures("clock")
def test_it_declines_with_too_few_rows(wide: slide.SlideClassifier, held: Any) -> None:
    X, Y = held
    assert "too few rows: found 1,000, wanted at least 1,5" in declined(wide.optimize(X[:1_000], Y[:1_000]), wide, X)


def test_it_declines_where_nothing_is_fast_enough(wide: slide.SlideClassifier, held: Any, clock: Any) -> None:
    X, Y = held
    clock(lambda plan: 1.0 if plan == ServingPlan() else 0.8)
    assert "no plan was 1.3 times as fast" in declined(wide.optimize(X, Y, max_loss=LOSS), wide, X)


def test_it_declines_where_all_lose_too_much(
    wide: slide.SlideClassifier, held: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = held
    monkeypatch.setattr(optimizing._Search, "_losses", lambda self, before, after, which: np.full(len(which), 0.25))
    reason = declined(wide.optimize(X, Y, max_loss=LOSS), wide, X)
    assert "lost 25.00 points or more of p@1 on 1,000 rows, 2 were allowed" in reason


@pytest.mark.usefixtures("clock")
def test_it_declines_what_other_rows_do_not_confirm(
    wide: slide.SlideClassifier, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans that lost nothing on the rows they were chosen on, and much on the others."""
    X, Y = held
    seen: list[Any] = []

    def losses(self: Any, before: Any, after: Any, which: Any) -> Any:
        seen.append(which)
        return np.zeros(len(which)) if np.array_equal(which, self.rows.chosen) else np.full(len(which), 0.5)

    monkeypatch.setattr(optimizing._Search, "_losses", losses)
    fast = wide.optimize(X, Y, max_loss=LOSS)
    reason = declined(fast, wide, X)
    assert "unconfirmed: the surest plan" in reason
    assert "lost 50.00 points of p@1 on 1,000 rows" in reason
    assert not set(seen[0]) & set(seen[-1])
    assert [trial.bound is None for trial in fast.report_.trials][:1] == [False]


def test_it_declines_a_plan_that_was_fast_by_chance(wide: slide.SlideClassifier, held: Any, clock: Any) -> None:
    X, Y = held
    asked: list[ServingPlan] = []

    def ms(plan: ServingPlan) -> float:
        asked.append(plan)
        return 1.0 if asked.count(plan) > 1 else made_up(plan)

    clock(ms)
    reason = declined(wide.optimize(X, Y, max_loss=0.1), wide, X)
    assert "is 1.00 times as fast as the model as it is" in reason


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_loss": 0}, "max_loss: found 0"),
        ({"max_loss": 2.0}, "max_loss: found 2.0"),
        ({"confidence": 0.3}, "confidence: found 0.3"),
        ({"confidence": 1}, "confidence: found 1"),
        ({"batch": 0}, "batch: found 0"),
        ({"metric": "psp@1"}, "metric: found 'psp@1'"),
        ({"metric": "p@121"}, "k from 1 to 120"),
        ({"feature_groups": {"all": [1]}}, "feature_groups: found"),
        ({"feature_groups": {"a": [1], "b": [1, 2]}}, "found 'a column in two groups'"),
        ({"feature_groups": {"a": [1], "b": [300]}}, r"feature_groups\['b'\]: found 300"),
        ({"feature_groups": {"a": ["x"], "b": [3]}}, r"feature_groups\['a'\]: found 'x'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: dict[str, Any], sentence: str, wide: slide.SlideClassifier, held: Any
) -> None:
    with pytest.raises(ValueError, match=sentence):
        wide.optimize(*held, **options)


def test_labels_are_wanted_where_the_metric_needs_them(wide: slide.SlideClassifier, held: Any) -> None:
    with pytest.raises(ValueError, match="y_val: found 'no labels for p@1'"):
        wide.optimize(held[0])
    with pytest.raises(ValueError, match="X_val and y_val: found '2,000 and 5 rows'"):
        wide.optimize(held[0], held[1][:5])
    with pytest.raises(slide.NotFittedError):
        slide.SlideClassifier().optimize(*held)


# -- groups of features ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grouped() -> tuple[slide.SlideClassifier, sp.csr_array, np.ndarray]:
    """Half of the rows are told by the first 20 columns alone, the others by the last 20."""
    rng = np.random.default_rng(2)
    y = rng.integers(20, size=2_600)
    remote = rng.random(2_600) < 0.5
    X = sp.csr_array(np.eye(40, dtype=np.float32)[np.where(remote, y + 20, y)])
    return slide.SlideClassifier(hidden=8, epochs=8, n_threads=1, wide=True).fit(X[:600], y[:600]), X[600:], y[600:]


@pytest.mark.usefixtures("clock")
def test_rows_that_the_first_group_decides_stop_there(grouped: Any) -> None:
    clf, X, y = grouped
    groups = {"cheap": range(20), "remote": slide.Group(range(20, 40), cost_ms=50)}
    fast = clf.optimize(X, y, max_loss=LOSS, feature_groups=groups)
    assert fast.plan_.first == "cheap"
    assert fast.plan_.margin is not None
    assert fast.report_.share_whole == pytest.approx(0.5, abs=0.15)
    assert fast.report_.base_ms == 51
    assert 1.5 < fast.report_.speedup < 2.5
    assert fast.score(X, y) > clf.score(X, y) - LOSS
    asked: list[np.ndarray] = []

    def rest(which: np.ndarray) -> sp.csr_array:
        asked.append(which)
        return X[which]

    cheap = X.copy()
    cheap.data = np.where(cheap.indices < 20, cheap.data, 0)
    ids, scores = fast.predict_topk(cheap, 2, rest=rest)
    assert len(asked) == 1
    assert len(asked[0]) == pytest.approx(len(y) / 2, rel=0.3)
    expected = fast.predict_topk(X, 2)
    assert np.array_equal(ids, expected[0])
    assert np.array_equal(scores, expected[1])
    file = io.BytesIO()
    fast.save(file)
    file.seek(0)
    assert np.array_equal(slide.load(file).predict_topk(X, 2)[0], ids)
    with pytest.raises(ValueError, match=r"rest: found '1 rows', wanted the [\d,]+ asked for"):
        fast.predict_topk(cheap, 2, rest=lambda which: X[:1])
    with pytest.raises(ValueError, match=r"rest: found .* for an optimized model"):
        clf.predict_topk(cheap, 2, rest=rest)


@pytest.mark.usefixtures("clock")
def test_groups_of_a_file(grouped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clf, X, y = grouped
    clf.save(tmp_path / "model.slide")
    target = sp.csr_array((np.ones(len(y)), (np.arange(len(y)), y)), shape=(len(y), 20))
    slide.formats.write(tmp_path / "valid.npz", X, target)
    groups = {"cheap": list(range(20)), "remote": {"columns": list(range(20, 40)), "cost_ms": 50}}
    (tmp_path / "groups.json").write_text(json.dumps(groups))
    command = ["optimize", str(tmp_path / "model.slide"), str(tmp_path / "valid.npz"), "--max-loss", str(LOSS)]
    command += ["--feature-groups", str(tmp_path / "groups.json")]
    assert main([*command, "--out", str(tmp_path / "fast.slide"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (facts["plan"]["first"], facts["base_ms"]) == ("cheap", 51)
    assert slide.load(tmp_path / "fast.slide").network_.first_columns.tolist() == list(range(20))
    (tmp_path / "groups.json").write_text('{"cheap": [0], "remote": ["clicks"]}')
    assert main([*command, "--out", str(tmp_path / "fast.slide")]) == 2
    assert "feature_groups['remote']: found 'clicks'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1, 2]", "found 'list', wanted a JSON object of groups by name"),
        ("{", "no JSON object of groups"),
        ('{"a": [1], "a": [2]}', "a name twice"),
        ('{"a": 3, "b": [1]}', "groups.json: a: found 3, wanted a list of columns"),
        ('{"a": "bc", "b": [1]}', "groups.json: a: found 'bc', wanted a list of columns"),
        ('{"a": {"cost_ms": 1}, "b": [1]}', "groups.json: a: found 'the fields cost_ms', wanted columns"),
        ('{"a": {"columns": [1], "ms": 1}, "b": [1]}', "groups.json: a: found 'the field ms', wanted"),
        ('{"a": {"columns": [1], "cost_ms": -1}, "b": [1]}', "groups.json: a: Group(cost_ms=): found -1"),
    ],
)
def test_a_file_that_holds_no_groups_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read_groups(str(path))


# -- texts, lists, one class -------------------------------------------------------------------------------------------

WORDS = [f"word{i}" for i in range(60)]


@pytest.fixture(scope="module")
def texts() -> tuple[slide.SlideTextClassifier, list[str], list[list[str]]]:
    rng = np.random.default_rng(4)
    picked = [sorted(rng.choice(60, 3, replace=False)) for _ in range(1_400)]
    found = [" ".join(WORDS[i] for i in row) for row in picked]
    labels = [[f"about {row[0] % 10}", f"with {row[1] % 10}"] for row in picked]
    clf = slide.SlideTextClassifier(hidden=8, epochs=3, n_threads=1).fit(found[:400], labels[:400])
    return clf, found[400:], labels[400:]


@pytest.mark.usefixtures("clock")
def test_texts_and_lists_of_labels(texts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clf, rows, labels = texts
    fast = clf.optimize(rows, labels, max_loss=0.1)
    assert fast.report_.declined is None
    assert isinstance(fast.predict(rows[0])[0], list)
    assert fast.predict_topk("word1 word2", 1, names=True)[0].shape == (1, 1)
    clf.save(tmp_path / "tags.slide")
    table = ["text,labels", *(f"{text},{'|'.join(some)}" for text, some in zip(rows, labels, strict=True))]
    (tmp_path / "valid.csv").write_text("\n".join(table))
    clf.table_ = {"text": ["text"], "labels": "labels", "separator": "|"}
    clf.save(tmp_path / "tags.slide")
    out = tmp_path / "fast.slide"
    command = ["optimize", str(tmp_path / "tags.slide"), str(tmp_path / "valid.csv"), "--max-loss", "0.1"]
    assert main([*command, "--out", str(out), "--json"]) == 0
    said = capsys.readouterr().out
    facts = json.loads(said.splitlines()[-1])
    assert facts["declined"] is None
    assert facts["speedup"] >= 1.3
    assert "times as fast" in said
    again = slide.load(out)
    assert again.plan_ == fast.plan_
    assert main(["eval", str(out), str(tmp_path / "valid.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["p@1"] == pytest.approx(100 * fast.score(rows, labels), abs=0.01)
    assert main(["info", str(out)]) == 0
    assert str(fast.plan_) in capsys.readouterr().out


@pytest.mark.usefixtures("clock")
def test_one_class_has_no_lead_to_stop_at(data: Any) -> None:
    X, _ = data
    clf = slide.SlideClassifier(hidden=4, epochs=1, n_threads=1).fit(X[:50], ["only"] * 50)
    fast = clf.optimize(X, ["only"] * N, feature_groups={"a": range(100), "b": range(100, 300)})
    assert fast.plan_.margin is None
    assert fast.predict(X[:2]).tolist() == ["only", "only"]


def test_times_are_measured_from_rows_to_labels(wide: slide.SlideClassifier, held: Any) -> None:
    """With the real clock: every plan has a time, and no time of a report is missing."""
    X, Y = held
    fast = wide.optimize(X, Y, max_loss=0.1, batch=4)
    report = fast.report_
    assert report.batch == 4
    if report.declined is None:
        assert min(report.base_ms, report.ms, report.base_batch_ms, report.batch_ms) > 0
    else:
        assert report.base_ms > 0
