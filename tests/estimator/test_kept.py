"""What can be trained can be kept: names of labels and columns of every type, and options that are objects.

Each comes back from a file, a pickle and a copy with the same types and predictions, or is refused before training.
"""

from __future__ import annotations

import copy
import datetime as dt
import enum
import io
import json
import pickle
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import slide
from slide.labels import stored_names

X, Y = slide.datasets.synthetic(60, 40, 3, nnz=6, labels_per_row=1)
LABEL = Y.indices
ZONE = dt.timezone(dt.timedelta(hours=2))


class Colour(enum.StrEnum):
    RED, GREEN, BLUE = "red", "green", "blue"


class Level(enum.IntEnum):
    LOW, MIDDLE, HIGH = 1, 2, 3


NAMES: dict[str, Any] = {
    "int64": np.array([3, -7, 2**62]),
    "int8": np.array([3, -7, 100], np.int8),
    "uint64": np.array([3, 2**63 + 1, 2**64 - 1], np.uint64),
    "big-endian": np.array([3, -7, 9], ">i4"),
    "bool": np.array([True, False, True]),
    "float64": np.array([1.0, -3.0, 2.0**70]),
    "float16": np.array([1.0, -3.0, 7.0], np.float16),
    "longdouble": np.array([1.0, -3.0, 7.0], np.longdouble),
    "huge ints": [2**70, -(2**80), 3],
    "ints that NumPy takes for floats": [2**63, 2**63 + 1, -1],
    "text": ["a", "b", "c"],
    "array of text": np.array(["a", "bb", "ccc"]),
    "odd text": ["", "two\nlines\t\r\0", "\ud800 alone, \U0001f600, e\u0301"],
    "text that differs by NUL": ["a", "a\0", "a\0\0"],
    "text like numbers": ["1", "01", "1.0"],
    "NumPy text": [np.str_("a"), np.str_("b"), np.str_("c")],
    "NumPy numbers": [np.int16(3), np.int64(5), np.uint8(7)],
    "enumeration of text": list(Colour),
    "enumeration of numbers": list(Level),
    "bytes": [b"a", b"\xff\0\n", b""],
    "array of bytes": np.array([b"a", b"bb", b"\xff"]),
    "bytes that differ by NUL": [b"a", b"a\0", b"b"],
    "numbers and bools": [0, True, 2.0],
    "dates": [dt.date(2024, 1, d) for d in (1, 2, 3)],
    "datetimes": [dt.datetime(2024, 1, d, 5, 6, 7, 89) for d in (1, 2, 3)],
    "datetimes of a zone": [dt.datetime(2024, 1, d, tzinfo=ZONE) for d in (1, 2, 3)],
    "datetimes in UTC": [dt.datetime(2024, 1, d, tzinfo=dt.timezone.utc) for d in (1, 2, 3)],  # noqa: UP017
    "datetimes in UTC by another name": [dt.datetime(2024, 1, d, tzinfo=zoneinfo.ZoneInfo("UTC")) for d in (1, 2, 3)],
    "Timestamps in UTC": pd.Series(pd.date_range("2024", periods=3, tz="UTC")),
    "times": [dt.time(h, 5, 6, 7) for h in (1, 2, 3)],
    "durations": [dt.timedelta(days=-d, microseconds=1) for d in (1, 2, 3)],
    "decimals": [Decimal("1.10"), Decimal("1.2"), Decimal("-3e400")],
    "fractions": [Fraction(1, 3), Fraction(2, 3), Fraction(5)],
    "uuids": [uuid.UUID(int=i) for i in (1, 2, 2**127)],
    **{
        f"datetime64[{unit}]": np.array([-5, 0, 7], f"datetime64[{unit}]")
        for unit in ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "25s")
    },
    **{f"timedelta64[{unit}]": np.array([-5, 0, 7], f"timedelta64[{unit}]") for unit in ("W", "D", "s", "ns")},
    "list of datetime64": [np.datetime64("2024-01-01"), np.datetime64("2024-01-02"), np.datetime64("2024-02-01")],
    "Timestamps": [pd.Timestamp(n) for n in (1, 2, 10**18)],
    "Timedeltas": [pd.Timedelta(n) for n in (1, 2, 10**15)],
    "pandas dates": pd.Series(pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01"])),
    "pandas nanoseconds": pd.Series(pd.to_datetime([1, 2, 3])),
    "pandas text": pd.Series(["a", "b", "c"], dtype="string"),
    "categories of text": pd.Series(["b", "a", "c"], dtype="category"),
    "categories of numbers": pd.Series([5, 3, 4], dtype="category"),
    "categories of dates": pd.Series(pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01"])).astype("category"),
}
if hasattr(np.dtypes, "StringDType"):  # of NumPy 2
    NAMES["array of text of any length"] = np.array(["a", "bb", "c" * 40], np.dtypes.StringDType())
#: What has no plain counterpart; the sentence says what helps.
REFUSED: dict[str, tuple[Any, str]] = {
    "periods": (pd.Series(pd.period_range("2024", periods=3, freq="Y")), "labels of type Period.* as text"),
    "intervals": (pd.Series(pd.interval_range(0, 3)), "labels of type Interval.* as text"),
    "zones by name": (pd.Series(pd.date_range("2024", periods=3, tz="Europe/Paris")), "time zone Europe/Paris"),
    "paths": ([Path("a"), Path("b"), Path("c")], "labels of type .*Path.* as text"),
    "tuples": ([("a", 1), ("a", 2), ("b", 1)], "types int, str|as a label"),
    "complex": ([1j, 2j, 3j], "complex"),
    "mixed": (["a", 1, b"c"], "types bytes, int, str"),
    "text and bytes": (["a", b"b", "c"], "types bytes, str"),
    "None": (["a", None, "c"], "None"),
    "NaN": (["a", float("nan"), "c"], "nan"),
    "NaT": (np.array(["2024-01-01", "NaT", "2024-01-03"], "datetime64[D]"), "NaT"),
    "a decimal that is none": ([Decimal("sNaN"), Decimal(1), Decimal(2)], "sNaN"),
    "more digits than Python writes": ([10**5000, 1, 2], "a number of 16,610 bits"),
    "a fraction of as many": ([Fraction(1, 10**5000), 1, 2], "a number of 16,610 bits"),
    "bytes that change": ([bytearray(b"a"), bytearray(b"b"), bytearray(b"c")], "bytearray"),
    "times with and without a zone": ([dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2, tzinfo=ZONE)] * 2, "time zone"),
    "more than float64": (np.array([1, 2**63 + 1, 3], np.longdouble), "float64 does not hold"),
}


def classifier(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1, **options)


def picked(names: Any) -> Any:
    """A name for each row."""
    if hasattr(names, "iloc"):
        return names.iloc[LABEL]
    return names[LABEL] if isinstance(names, np.ndarray) else [names[i] for i in LABEL]


def through_a_file(clf: Any, **how: Any) -> Any:
    box = io.BytesIO()
    clf.save(box)
    box.seek(0)
    return slide.load(box, **how)


KEEPING: dict[str, Callable[[Any], Any]] = {
    "file": through_a_file,
    "pickle": lambda clf: pickle.loads(pickle.dumps(clf)),
    "copy": copy.deepcopy,
    "compressed": lambda clf: through_a_file(clf.compress()),
}


def assert_equal(found: Any, wanted: Any) -> None:
    """With the same types, of the array and of what is in it."""
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
    assert [type(v) for v in list(found)] == [type(v) for v in list(wanted)]
    assert list(found) == list(wanted)


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("kind", NAMES)
def test_classes_are_kept(kind: str) -> None:
    y = picked(NAMES[kind])
    clf = classifier().fit(X, y)
    n_distinct = len(set(y))
    assert clf.n_labels_ == n_distinct
    for way, keep in KEEPING.items():
        again = keep(clf)
        assert_equal(again.classes_, clf.classes_)
        if way != "compressed":
            assert_equal(again.predict(X), clf.predict(X))
            assert_equal(again.predict_topk(X, 2, names=True)[0].ravel(), clf.predict_topk(X, 2, names=True)[0].ravel())
            assert again.score(X, y) == clf.score(X, y)
    again = through_a_file(clf)
    again.partial_fit(X, y)  # the same names are still known
    assert {type(v) for v in again.predict(X)} <= {type(v) for v in list(clf.classes_)}
    through_a_file(again)


@pytest.mark.parametrize("kind", [k for k in NAMES if k not in ("numbers and bools", "bool")])
def test_labels_in_lists_are_kept(kind: str) -> None:
    names = list(NAMES[kind])
    y = [[names[i], names[(i + 1) % 3]] for i in LABEL]
    clf = classifier().fit(X, y)
    again = through_a_file(clf)
    assert_equal(again.classes_, clf.classes_)
    for found, wanted in zip(again.predict(X), clf.predict(X), strict=True):
        assert_equal(found, wanted)


@pytest.mark.parametrize(
    "kind", ["text", "odd text", "bytes", "dates", "datetime64[ns]", "Timestamps", "int64", "uuids"]
)
def test_names_of_columns_of_an_indicator_are_kept(kind: str) -> None:
    names = list(NAMES[kind])
    clf = classifier().fit(X, Y, classes=names)
    again = through_a_file(clf)
    assert_equal(again.classes_, clf.classes_)
    assert list(again.predict_topk(X, 1, names=True)[0][:, 0]) == list(clf.predict_topk(X, 1, names=True)[0][:, 0])
    again.add_labels(["new"] if kind == "text" else [b"new"] if kind == "bytes" else [names[0]] * 0 or [_another(kind)])
    assert_equal(through_a_file(again).classes_, again.classes_)


def _another(kind: str) -> Any:
    return {
        "odd text": "\0",
        "dates": dt.date(1999, 1, 1),
        "datetime64[ns]": np.datetime64(99, "ns"),
        "Timestamps": pd.Timestamp(99),
        "int64": 17,
        "uuids": uuid.UUID(int=9),
    }[kind]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_kept_is_refused_before_training(kind: str) -> None:
    names, sentence = REFUSED[kind]
    clf = classifier()
    for y, classes in ((picked(names), None), (Y, names)):
        if classes is not None and "types" in sentence and kind != "tuples":
            continue  # columns need no order
        with pytest.raises(ValueError, match=sentence if classes is None else "found .* wanted"):
            clf.fit(X, y, classes=classes)
        assert not hasattr(clf, "network_")


def test_dates_of_another_unit_or_type_are_the_same_label() -> None:
    days = np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "datetime64[D]")
    clf = classifier().fit(X, days[LABEL])
    wanted = clf.score(X, days[LABEL])
    for other in (days.astype("datetime64[ns]"), pd.Series(days), days.astype(object), [pd.Timestamp(d) for d in days]):
        assert clf.score(X, picked(other)) == wanted
        assert through_a_file(clf).partial_fit(X, picked(other)).predict(X).dtype == days.dtype
    clf = classifier().fit(X, picked(list(days.astype(object))))
    assert clf.score(X, days[LABEL]) == clf.score(X, [dt.datetime.combine(d, dt.time()) for d in picked(days.tolist())])


def test_a_text_classifier_keeps_them_too() -> None:
    texts, days = ["one two", "two three", "three four"] * 5, [dt.date(2024, 1, d) for d in (1, 2, 3)] * 5
    clf = slide.SlideTextClassifier(epochs=1, n_threads=1).fit(texts, days)
    assert_equal(through_a_file(clf).predict(texts), clf.predict(texts))


def test_a_checkpoint_keeps_them(tmp_path: Path) -> None:
    days = np.array([1, 2, 3], "datetime64[ns]")
    checkpoint = slide.Checkpoint(tmp_path / "c", samples=1, minutes=None)
    clf = classifier().fit(X, days[LABEL], checkpoint=checkpoint)
    assert_equal(slide.load(tmp_path / "c").classes_, clf.classes_)  # type: ignore[union-attr]


def test_an_exported_graph_names_them_as_a_person_would(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    wanted = {
        "datetime64[D]": ["1969-12-27", "1970-01-01", "1970-01-08"],
        "datetime64[ns]": [
            "1969-12-31T23:59:59.999999995",
            "1970-01-01T00:00:00.000000000",
            "1970-01-01T00:00:00.000000007",
        ],
        "bytes": ["", "a", "\\xff\0\n"],
        "odd text": sorted(NAMES["odd text"]),
    }
    for kind, texts in wanted.items():
        classifier().fit(X, picked(NAMES[kind])).export_onnx(tmp_path / "m.onnx", k=1)
        found = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
        assert json.loads(found["labels"]) == texts


@pytest.mark.parametrize(
    "data", [b"{}", b"[[1]]", b"[null]", b'[{"date": "x"}]', b'[{"os": "system"}]', b"[{}]", b"[", b'[{"date": 3}]']
)
def test_names_that_no_file_of_ours_holds(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        stored_names.from_json(data, np.dtype(object))


# -- columns of X ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [["a", "b"], ["", " "], ["two\nlines", "NUL\0"], ["\ud800", "\U0001f600"], [Colour.RED, Colour.BLUE], [0, 1]],
    ids=["text", "blank", "control", "surrogates", "enumeration", "numbers"],
)
def test_names_of_columns_of_X_are_kept(names: list[Any]) -> None:
    frame = pd.DataFrame(np.eye(6, 2) + 0.5, columns=pd.Index(names, dtype=object))
    clf = classifier().fit(frame, list("abcabc"))
    for keep in KEEPING.values():
        again = keep(clf)
        assert hasattr(again, "feature_names_in_") == hasattr(clf, "feature_names_in_")
        if hasattr(clf, "feature_names_in_"):
            assert_equal(again.feature_names_in_, clf.feature_names_in_)
        assert again.predict(frame).shape == (6,)


# -- options that are objects ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Warm(slide.optim.Schedule):
    power: int = 2

    def after_warmup(self, progress: Any) -> Any:
        return 1 - progress**self.power


def falling(progress: Any) -> Any:
    return np.asarray(1 - 0.5 * progress, np.float32)


class Signs(slide.lsh.HashFamily):
    def prepare(self, K: int, dim: int, rng: np.random.Generator) -> Any:
        return 1 << np.arange(K)

    def codes(self, vectors: Any, bits: Any) -> Any:
        return np.repeat((vectors[:, : len(bits)] > 0) @ bits, self.L).reshape(-1, self.L)


@dataclass(frozen=True)
class Fast(slide.Adagrad):
    more: float = 1.0


class Often(slide.Rebuild):
    pass


class Wider(slide.Wide):
    pass


class Sims(slide.SimHash):
    pass


@dataclass(frozen=True)
class Weighted(Signs):
    weights: Any = None


@pytest.mark.parametrize(
    "schedule", [slide.optim.Schedule(0.1), slide.Cosine(0.2), slide.Linear(final=0.1), None], ids=repr
)
def test_schedules_are_kept(schedule: Any) -> None:
    clf = classifier(schedule=schedule).fit(X, LABEL)
    for keep in KEEPING.values():
        assert keep(clf).schedule == schedule


@pytest.mark.parametrize("schedule", [Warm(power=3), falling], ids=["class", "function"])
def test_a_schedule_of_ones_own_is_said_to_be_left_out(schedule: Any, tmp_path: Path) -> None:
    checkpoint = slide.Checkpoint(tmp_path / "c", samples=1, minutes=None)
    clf = classifier(schedule=schedule).fit(X, LABEL, checkpoint=checkpoint)
    with pytest.warns(
        UserWarning, match=f"schedule: the model was fitted with {type(schedule).__name__[:0]}.*is None now"
    ):
        again = through_a_file(clf)
    np.testing.assert_array_equal(again.predict_topk(X, 2), clf.predict_topk(X, 2))
    assert again.schedule is None
    assert copy.deepcopy(clf).schedule == pickle.loads(pickle.dumps(clf)).schedule == schedule


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"optimizer": Fast()}, r"optimizer: found Fast\(.*wanted SGD or Adagrad or Adam itself: .* holds no code"),
        ({"rebuild": Often()}, r"rebuild: found Often\(.*wanted Rebuild itself"),
        ({"wide": Wider()}, r"wide: found Wider\(.*wanted Wide or None itself"),
        ({"lsh": Sims(K=3, L=2)}, r"layers\[1\]\.lsh: found Sims\(.*wanted SimHash or"),
        ({"lsh": Weighted(K=3, L=2, weights=np.arange(3))}, r"lsh: found Weighted\(.*which a model file cannot hold"),
    ],
    ids=["optimizer", "rebuild", "wide", "lsh", "options of lsh"],
)
def test_classes_of_ones_own_are_refused_before_training(options: Any, sentence: str) -> None:
    clf = classifier(**options)
    with pytest.raises(ValueError, match=sentence):
        clf.fit(X, LABEL)
    assert not hasattr(clf, "network_")


def test_a_hash_family_of_ones_own_is_copied_and_pickled() -> None:
    clf = classifier(lsh=Signs(K=3, L=2), n_active=2).fit(X, LABEL)
    for again in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf)), through_a_file(clf, lsh=Signs(K=3, L=2))):
        assert again.network_.own_family == Signs(K=3, L=2)
        np.testing.assert_array_equal(again.predict_topk(X, 2, n_candidates=2), clf.predict_topk(X, 2, n_candidates=2))
    both = [slide.Sampled(8, Signs(K=3, L=2)), slide.Sampled(3, Signs(K=2, L=2))]
    with pytest.raises(ValueError, match="wanted one hash family of your own"):
        slide.Network([slide.SparseInput(40, 4), *both])


def test_what_callbacks_add_to_the_history_is_kept_or_named() -> None:
    class Adds(slide.Callback):
        def __init__(self, value: Any) -> None:
            self.value = value

        def on_epoch_end(self, progress: Any, network: Any) -> None:
            progress.metrics["mine"] = self.value

    for value in (np.float32(0.5), np.int64(3), True, np.array(0.25)):
        again = through_a_file(classifier().fit(X, LABEL, callback=Adds(value)))
        assert again.history_[-1]["mine"] == float(value)
    with pytest.raises(TypeError, match="metrics: found 'no' as 'mine', wanted a number"):
        classifier().fit(X, LABEL, callback=Adds("no"))
