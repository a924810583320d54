"""What a fit tells callbacks, its history and the files it is written to; scores on held-out rows, early stopping."""

from __future__ import annotations

import csv
import doctest
import importlib
import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from engine_strategies import planted_data
from fits import HELD, ROWS, D, N, Stopped, assert_same, classifier, stop_at
from snippets import run_page

import slide
from slide.cli.main import main
from slide.training import callbacks
from slide.training.callbacks import FileLogger
from slide.training.loggers import scalars


class Told(slide.Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def on_fit_begin(self, progress: Any, network: Any) -> None:
        self.calls.append(("begin", progress.done))

    def on_chunk(self, progress: Any, network: Any) -> None:
        self.calls.append(("chunk", progress.done))
        assert network.step == progress.done

    def on_rebuild(self, progress: Any, network: Any) -> None:
        self.calls.append(("rebuild", progress.rebuilds))

    def on_checkpoint(self, progress: Any, network: Any) -> None:
        self.calls.append(("checkpoint", progress.done))

    def on_epoch_end(self, progress: Any, network: Any) -> None:
        self.calls.append(("epoch", progress.epoch))

    def on_record(self, record: Any, progress: Any) -> None:
        self.calls.append(("record", record["samples"]))
        assert progress.history[-1] is record

    def on_fit_end(self, progress: Any, network: Any) -> None:
        self.calls.append(("end", progress.done))

    def numbers(self, what: str) -> list[int]:
        return [n for name, n in self.calls if name == what]


# -- callbacks ---------------------------------------------------------------------------------------------------------


def test_a_callback_hears_of_everything_in_its_order(tmp_path: Path) -> None:
    told = Told()
    checkpoint = slide.Checkpoint(tmp_path / "c", samples=200)
    clf = classifier().fit(*planted_data(ROWS, D, N), callback=told, checkpoint=checkpoint)
    assert told.calls[0] == ("begin", 0)
    assert told.calls[-1] == ("end", 3 * ROWS)
    assert told.numbers("epoch") == [0, 1, 2]
    assert told.numbers("chunk") == sorted(set(told.numbers("chunk")))
    assert len(told.numbers("rebuild")) > 10
    assert told.numbers("rebuild") == list(range(1, len(told.numbers("rebuild")) + 1))
    assert len(told.numbers("checkpoint")) > 3
    assert told.numbers("record") == [record["samples"] for record in clf.history_]


@pytest.mark.parametrize("at", [1, 400, 701])
def test_stop_ends_the_fit_before_the_next_chunk_and_leaves_a_model_that_predicts(at: int) -> None:
    seen = []

    def stop(progress: Any) -> None:
        seen.append(progress.done)
        progress.stop = progress.done >= at

    clf = classifier().fit(*planted_data(ROWS, D, N), callback=[stop])
    assert clf.network_.step == seen[-1] >= at
    assert all(done < at for done in seen[:-1])
    assert seen[-1] < 3 * ROWS
    assert clf.predict_topk(HELD[0][:3], 4, n_candidates=20)[0].shape == (3, 4)


def test_an_error_in_a_callback_ends_the_fit_and_others_are_told() -> None:
    class Fails(slide.Callback):
        def on_epoch_end(self, progress: Any, network: Any) -> None:
            raise Stopped

    told = Told()
    with pytest.raises(Stopped):
        classifier().fit(*planted_data(ROWS, D, N), callback=[Fails(), told])
    assert told.calls[-1] == ("end", ROWS)


@pytest.mark.parametrize("wrong", [3, "bar", [print, 4], slide.Callback])
def test_what_is_no_callback_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"callback: found .* wanted a function, a slide\.Callback"):
        classifier().fit(*planted_data(ROWS, D, N), callback=wrong)


def test_a_fit_that_is_watched_is_the_same_fit() -> None:
    watched = classifier().fit(*planted_data(ROWS, D, N), callback=[print_nothing, Told()], eval_set=HELD)
    assert_same(watched, classifier().fit(*planted_data(ROWS, D, N)))


def print_nothing(progress: Any) -> None:
    assert progress.seconds > 0


# -- history -----------------------------------------------------------------------------------------------------------


def test_the_history_says_how_the_fit_went() -> None:
    clf = classifier(epochs=4, lr=0.5).fit(*planted_data(ROWS, D, N))
    samples = [record["samples"] for record in clf.history_]
    assert samples == sorted(set(samples))
    assert samples[-1] == 4 * ROWS
    assert [r["epoch"] for r in clf.history_ if r["epoch_ended"]] == [1, 2, 3, 4]
    assert clf.history_[-1]["loss"] < clf.history_[0]["loss"]
    assert clf.history_[0]["lr"] > clf.history_[-1]["lr"] > 0
    first = clf.history_[0]
    assert first["lr"] == pytest.approx(0.5 * (1 - (first["samples"] - 1) / (4 * ROWS)), rel=1e-4)
    assert {tuple(record) for record in clf.history_} == {tuple(first)}


def test_a_long_fit_has_a_short_history() -> None:
    X, Y = planted_data(3000, D, N)
    clf = classifier(epochs=40, hidden=(2,), n_active=10, n_random=2, wide=False).fit(X, Y)
    assert 40 <= len(clf.history_) <= 240


def test_the_history_is_kept_in_files_and_comes_back_after_a_kill(tmp_path: Path) -> None:
    data = planted_data(ROWS, D, N)
    whole = classifier().fit(*data, eval_set=HELD)
    whole.save(tmp_path / "model")
    assert slide.load(tmp_path / "model").history_ == whole.history_
    resumed = classifier()
    with pytest.raises(Stopped):
        resumed.fit(*data, eval_set=HELD, callback=stop_at(900), checkpoint=slide.Checkpoint(tmp_path / "c", samples=1))
    resumed.fit(*data, eval_set=HELD, checkpoint=slide.Checkpoint(tmp_path / "c", samples=1, resume=True))
    assert_same(whole, resumed)
    ends = [
        [{k: r[k] for k in ("samples", "p@1", "lr")} for r in c.history_ if r["epoch_ended"]] for c in (whole, resumed)
    ]
    assert ends[0] == ends[1]
    other = slide.Checkpoint(tmp_path / "c", resume=True)
    with pytest.raises(ValueError, match="eval_set: found None, wanted"):
        classifier().fit(*data, checkpoint=other)


# -- loggers -----------------------------------------------------------------------------------------------------------


def test_files_hold_the_history(tmp_path: Path) -> None:
    logs: list[FileLogger] = [callbacks.file_logger(tmp_path / f"run{kind}") for kind in (".csv", ".jsonl")]
    clf = classifier().fit(*planted_data(ROWS, D, N), eval_set=HELD, callback=logs)
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == clf.history_
    with open(tmp_path / "run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["samples"]) for row in rows] == [record["samples"] for record in clf.history_]
    assert [row["p@5"] for row in rows] == [str(r["p@5"]) if r["epoch_ended"] else "" for r in clf.history_]


def test_the_log_of_a_resumed_fit_is_whole(tmp_path: Path) -> None:
    data, checkpoint = planted_data(ROWS, D, N), slide.Checkpoint(tmp_path / "c", samples=1, resume=True)
    for stop in (500, 1000, 10**9):
        log = slide.JSONLogger(tmp_path / "run.jsonl")
        clf = classifier()
        try:
            clf.fit(*data, callback=[log, stop_at(stop)], checkpoint=checkpoint)
        except Stopped:
            assert (tmp_path / "run.jsonl").read_text()
    samples = [json.loads(line)["samples"] for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert samples == sorted(set(samples)) == [record["samples"] for record in clf.history_]


def test_a_log_needs_a_folder_and_a_known_ending(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"CSVLogger\(path=\): found .*nowhere.*, wanted a file in a folder"):
        slide.CSVLogger(tmp_path / "nowhere" / "run.csv")
    with pytest.raises(ValueError, match=r"log: found .*run.txt.*, wanted a name that ends in .csv"):
        callbacks.file_logger(tmp_path / "run.txt")


def test_tensorboard_gets_every_finite_number(tmp_path: Path) -> None:
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is not installed")
    log = slide.TensorBoardLogger(tmp_path)
    clf = classifier(epochs=1).fit(*planted_data(ROWS, D, N), eval_set=HELD, callback=log)
    (file,) = tmp_path.iterdir()
    raw, found, at = file.read_bytes(), {}, 0
    while at < len(raw):  # TFRecord: length, its checksum, an event, its checksum
        (length,) = struct.unpack_from("<Q", raw, at)
        event = event_pb2.Event.FromString(raw[at + 12 : at + 12 + length])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        at += 12 + length + 4
    wanted = {(name.replace("@", "_"), r["samples"]): v for r in clf.history_ for name, v in scalars(r).items()}
    assert {(tag.replace("@", "_"), step) for tag, step in found} == set(wanted)
    for (tag, step), value in found.items():
        assert value == pytest.approx(wanted[tag.replace("@", "_"), step], rel=1e-6)


def test_mlflow_gets_every_finite_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        clf = classifier(epochs=1).fit(*planted_data(ROWS, D, N), eval_set=HELD, callback=slide.MLflowLogger())
    stored = mlflow.get_run(run.info.run_id).data
    assert stored.metrics["p_at_1"] == pytest.approx(clf.history_[-1]["p@1"])
    assert stored.params["loss"] == "softmax"


@pytest.mark.parametrize("name", ["TensorBoardLogger", "MLflowLogger"])
def test_loggers_say_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in ("tensorboardX", "mlflow"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'slide-xmc\[(tensorboard|mlflow)\]'"):
        getattr(slide, name)(*(["runs"] if name == "TensorBoardLogger" else []))


def test_numbers_that_are_none_are_left_out() -> None:
    record = {"epoch": 1.0, "epoch_ended": True, "samples": 7, "loss": None, "active": float("nan"), "lr": 0.5}
    assert scalars(record) == {"epoch": 1.0, "lr": 0.5}


def test_a_bar_writes_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    bar = slide.ProgressBar(stream)
    classifier().fit(*planted_data(ROWS, D, N), callback=bar, eval_set=HELD)
    lines = stream.getvalue().splitlines()
    assert [line[:9] for line in lines if "epoch" in line] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "P@1 " in lines[-1]


# -- command line ------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, rows, seed in (("train", ROWS, 1), ("held", 100, 2)):
        slide.write_xmc(tmp_path / f"{name}.txt", *planted_data(rows, D, N, seed=seed))
    return tmp_path


@pytest.mark.parametrize("validation", ["0.2", "held.txt"])
def test_train_scores_validation_rows_and_logs(
    validation: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    told = ["--epochs", "9", "--schedule", "constant", "--threads", "1", "--hidden", "8", "--json"]
    early = ["--validation", validation, "--patience", "1", "--metric", "p@3", "--log", "run.csv", "--out", "m"]
    assert main(["train", "train.txt", *told, *early]) == 0
    out = capsys.readouterr().out
    facts = json.loads(out.splitlines()[-1])
    history = slide.load("m").history_
    best = max(record["p@3"] for record in history if record["epoch_ended"])
    assert facts["validation_p@3"] == pytest.approx(100 * best, abs=0.01)
    assert f"best p@3 on the validation rows: {100 * best:.2f}" in out
    assert len((files / "run.csv").read_text().splitlines()) == 1 + len(history)
    assert slide.load("m").schedule == slide.Constant()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--patience", "2"], "--patience: found no --validation"),
        (["--validation", "0.2", "--patience", "0"], "EarlyStopping(patience=): found 0"),
        (["--validation", "2"], "eval_set: found 2.0, wanted a share of the 700 rows"),
        (["--validation", "nothing.txt"], "nothing.txt: no such file"),
        (["--log", "run.txt"], "wanted a name that ends in .csv"),
        (["--log", "no/run.csv"], "no/run.csv: there is no folder"),
        (["--log", "train.txt"], "is read by this command"),
    ],
)
def test_train_refuses_in_one_sentence(
    options: list[str], says: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    assert main(["train", "train.txt", "--out", "m", "--epochs", "1", *options]) == 2
    assert says in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


def test_text_is_scored_on_a_validation_table(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in (("t", 60), ("v", 10)):
        lines = [f"a thing{i % 5} of words,l{i % 5}" for i in range(rows)]
        (files / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    told = ["--text", "text", "--labels", "label", "--epochs", "5", "--threads", "1", "--json"]
    assert main(["train", str(files / "t.csv"), *told, "--validation", str(files / "v.csv")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["validation_p@1"] == 100.0


# -- documentation -----------------------------------------------------------------------------------------------------


def test_the_page_about_it_runs(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_page(checkout / "docs" / "training.md", tmp_path)
    out = capsys.readouterr().out
    assert "on the held-out tenth after 14,400 samples" in out
    assert "kept the model of epoch" in out


@pytest.mark.parametrize("module", ["training.callbacks", "training.early_stopping"])
def test_examples_in_docstrings(module: str) -> None:
    tried = doctest.testmod(importlib.import_module(f"slide.{module}"))
    assert tried.attempted > 1
    assert tried.failed == 0
