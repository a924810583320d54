"""The command line: what it prints, writes and returns; that it says what Python says; how it stops."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.cli.main import main
from slide.training.bars import Bar, Lines, duration
from slide.training.progress import Progress

METRICS = ["p@1", "p@3", "p@5", "psp@1", "psp@3", "psp@5"]
SMALL = ["--epochs", "3", "--hidden", "16", "--n-active", "30", "--n-threads", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.txt, test.txt and a model.slide trained on them with the options SMALL."""
    where = tmp_path_factory.mktemp("cli")
    X, Y = slide.datasets.synthetic(900, 300, 60, nnz=10, labels_per_row=2)
    slide.write_xmc(where / "train.txt", X[:600], Y[:600])
    slide.write_xmc(where / "test.txt", X[600:], Y[600:])
    assert main(["train", str(where / "train.txt"), "--out", str(where / "model.slide"), *SMALL]) == 0
    return where


def python(*args: str | Path, **options: Any) -> subprocess.Popen[str]:
    """The command in a process of its own, run where it finds the same slide as these tests do."""
    command = [sys.executable, "-W", "error", "-m", "slide", *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    root = Path(slide.__file__).parent.parent
    return subprocess.Popen(command, text=True, env={**os.environ, "PYTHONPATH": str(root)}, **pipes)


def last_json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


# -- train -------------------------------------------------------------------------------------------------------------


def test_train_reports_what_python_reports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "again.slide"
    data = [str(folder / "train.txt"), "--test", str(folder / "test.txt")]
    assert main(["train", *data, "--out", str(out), "--json", *SMALL]) == 0
    told = last_json(capsys.readouterr().out)

    X, Y = slide.read_xmc(folder / "train.txt")
    X_test, Y_test = slide.read_xmc(folder / "test.txt")
    clf = slide.SlideClassifier(hidden=(16,), epochs=3, n_active=30, n_threads=1).fit(X, Y)
    wanted = slide.metrics.evaluate(Y_test, clf.predict_topk(X_test, k=5)[0], Y)
    assert wanted["p@1"] > 0.2  # or nothing was learned, and agreement says little
    for name in METRICS:
        assert told[name] == pytest.approx(100 * wanted[name], abs=0.006), name
    assert (told["n_samples"], told["n_features"], told["n_labels"]) == (600, 300, 60)
    assert told["n_test_samples"] == 300
    assert told["model_bytes"] == out.stat().st_size
    assert told["samples_per_second"] == pytest.approx(3 * 600 / told["train_seconds"], rel=0.2)


def test_train_for_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(folder / "train.txt"), "--test", str(folder / "test.txt"), *SMALL]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{folder / 'train.txt'}: 600 rows, 300 features, 60 labels\n")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert rows["%"] == ["@1", "@3", "@5"]
    assert len(rows["P"]) == len(rows["PSP"]) == 3
    epochs = [line.split()[1] for line in err.splitlines() if line.startswith("epoch")]
    assert epochs[-1] == "3/3"
    assert set(epochs) == {"1/3", "2/3", "3/3"}


def test_train_without_test_data_has_no_score(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(folder / "train.txt"), "--json", *SMALL]) == 0
    told = last_json(capsys.readouterr().out)
    assert [told[name] for name in METRICS] == [None] * 6
    assert told["model"] is None


def test_fewer_labels_than_the_largest_k(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.txt"
    path.write_text("4 3 2\n0 0:1\n1 1:1\n0 0:1 2:1\n1 1:1 2:1\n")
    assert main(["train", str(path), "--test", str(path), "--json", "--epochs", "30", "--n-threads", "1"]) == 0
    told = last_json(capsys.readouterr().out)
    assert told["p@1"] == 100
    assert told["p@5"] == 20  # one of five places, the label there is


def test_options_reach_the_classifier(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "options.slide"
    options = "--hidden 24,16 --epochs 1 --n-active 25 --n-random 7 --lr 0.02 --dropout 0.25 --loss binary --no-wide "
    options += "--activation relu --no-normalize --lsh wta --K 2 --L 9 --optimizer adam --seed 5 --threads 1 "
    options += "--backend c"
    pytest.importorskip("slide.engine._c", reason="the C extension was not built")
    assert main(["train", str(folder / "train.txt"), "--out", str(out), *options.split()]) == 0
    clf = slide.load(out)
    assert isinstance(clf, slide.SlideClassifier)
    wanted = {
        **{"hidden": (24, 16), "epochs": 1, "n_active": 25, "n_random": 7, "lr": 0.02, "dropout": 0.25},
        **{"loss": "binary", "wide": False, "activation": "relu", "normalize": False, "random_state": 5},
        **{"lsh": slide.WTA(K=2, L=9), "optimizer": slide.Adam(0.02), "n_threads": 1, "backend": "c"},
    }
    assert {name: clf.get_params()[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("flags", "lsh"),
    [
        ("", slide.QueryCells()),
        ("--lsh none", None),
        ("--lsh query_cells --K 7", slide.QueryCells(K=7)),
        ("--K 4", slide.SimHash(K=4)),
        ("--lsh dwta --L 6", slide.DWTA(L=6)),
        ("--lsh euclidean --K 3", slide.EuclideanHash(K=3)),
    ],
)
def test_hash_families(folder: Path, flags: str, lsh: slide.SimHash | None) -> None:
    out = folder / "family.slide"
    assert main(["train", str(folder / "train.txt"), "--out", str(out), *SMALL, *flags.split()]) == 0
    network = slide.load(out).network_  # type: ignore[union-attr]
    assert network.layers[-1].lsh == lsh


@pytest.mark.slow
def test_an_embedded_data_set_brings_its_test_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "wordnet-hypernym", "--epochs", "1", "--json"]) == 0
    told = last_json(capsys.readouterr().out)
    assert (told["n_samples"], told["n_test_samples"]) == (80_896, 14_182)
    assert told["p@1"] > 30


# -- eval, predict, info, config ---------------------------------------------------------------------------------------


def test_eval_agrees_with_train(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test, model = (str(folder / name) for name in ("train.txt", "test.txt", "model.slide"))
    main(["train", train, "--test", test, "--json", *SMALL])
    trained = last_json(capsys.readouterr().out)
    assert main(["eval", model, test, "--train", train, "--json"]) == 0
    told = last_json(capsys.readouterr().out)
    assert [told[name] for name in METRICS] == [trained[name] for name in METRICS]
    assert told["train_seconds"] > 0
    assert told["samples_per_second"] > 0


def test_eval_without_training_data_says_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(folder / "model.slide"), str(folder / "test.txt"), "--json"]) == 0
    out = capsys.readouterr().out
    assert "--train" in out
    told = last_json(out)
    assert told["psp@1"] is None
    assert told["p@1"] > 0


def test_propensity_options_matter(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "eval",
        str(folder / "model.slide"),
        str(folder / "test.txt"),
        "--train",
        str(folder / "train.txt"),
        "--json",
    ]
    told = []
    for more in ([], ["--A", "0.9", "--B", "0.2"]):
        assert main([*command, *more]) == 0
        told.append(last_json(capsys.readouterr().out))
    assert told[0]["p@5"] == told[1]["p@5"]
    assert told[0]["psp@1"] != told[1]["psp@1"]


def test_predict_writes_label_and_score_best_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "best.txt"
    command = ["predict", str(folder / "model.slide"), str(folder / "test.txt"), "-k", "4"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert main([*command, "--out", str(out), "--header"]) == 0
    header, *lines = out.read_text().splitlines()
    assert header == "300 60"
    assert lines == printed.splitlines()

    model = slide.load(folder / "model.slide")
    ids, scores = model.predict_topk(slide.read_xmc(folder / "test.txt")[0], k=4)
    pairs = [[pair.split(":") for pair in line.split()] for line in lines]
    np.testing.assert_array_equal([[int(i) for i, _ in row] for row in pairs], ids)
    np.testing.assert_allclose([[float(s) for _, s in row] for row in pairs], scores, rtol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_predict_leaves_out_what_tables_do_not_return(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "narrow.slide"
    one_each = slide.SimHash(K=3, L=1, capacity=1)  # a query meets one neuron at most
    X, Y = slide.read_xmc(folder / "train.txt")
    clf = slide.SlideClassifier(hidden=(16,), epochs=1, lsh=one_each, wide=False, n_threads=1).fit(X, Y)
    clf.save(path)
    assert main(["predict", str(path), str(folder / "train.txt"), "-k", "3", "--n-candidates", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = (clf.predict_topk(X, k=3, n_candidates=3)[0] >= 0).sum(axis=1)
    assert found.min() < 3
    assert [len(line.split()) for line in lines] == found.tolist()


def test_info_of_a_model_loads_no_weights(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("info loaded the arrays")

    monkeypatch.setattr("slide.io.model_file.read_model", never)
    assert main(["info", str(folder / "model.slide"), "--json"]) == 0
    out = capsys.readouterr().out
    told = last_json(out)
    assert (told["n_features"], told["n_labels"], told["samples_trained"]) == (300, 60, 1800)
    assert told["model_bytes"] == (folder / "model.slide").stat().st_size
    assert "sparse_input(n_features=300, n=16" in out


def test_info_of_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data.txt"
    path.write_text("3 4 5\n0,2 0:1 1:2\n2\n 3:1\n")
    assert main(["info", str(path), "--json"]) == 0
    told = last_json(capsys.readouterr().out)
    assert told["features_per_sample"] == told["labels_per_sample"] == 1
    assert (told["samples_without_features"], told["samples_without_labels"]) == (1, 1)
    assert (told["labels_without_samples"], told["samples_per_label_max"]) == (3, 2)


def test_info_of_an_embedded_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "wordnet-hypernym", "--json"]) == 0
    told = last_json(capsys.readouterr().out)
    assert (told["n_samples"], told["n_test_samples"], told["n_labels"]) == (80_896, 14_182, 12_702)


def test_config_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json"]) == 0
    assert last_json(capsys.readouterr().out)["versions"]["slide"] == slide.__version__


@pytest.mark.parametrize("command", [[], ["train"], ["eval"], ["predict"], ["info"], ["config"]])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(" ".join(["usage: slide", *command]))
    assert "examples:" in out or command == ["config"]


def test_help_tells_the_defaults_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    defaults = slide.SlideClassifier().get_params()
    assert f"--epochs N passes over the data (default: {defaults['epochs']})" in out
    assert f"widths of the hidden layers (default: {defaults['hidden'][0]})" in out


@pytest.mark.parametrize(
    ("command", "found", "meant"),
    [
        ("train d.txt --hiden 64", "--hiden 64", "--hidden"),
        ("train d.txt --epoch=3 --n-activ 9", "--epoch=3 --n-activ 9", "--epochs and --n-active"),
        ("predict m.slide d.txt --n-candidate 3", "--n-candidate 3", "--n-candidates"),
        ("config --jsn", "--jsn", "--json"),
        ("train d.txt --zzzz", "--zzzz", None),
        ("eval m.slide d.txt extra", "extra", None),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(
    command: str, found: str, meant: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 2
    suggestion = f"; did you mean {meant}?" if meant else ""
    verb = command.split()[0]
    wanted = f"slide: error: unrecognized arguments: {found}{suggestion} (see slide {verb} --help)\n"
    assert capsys.readouterr().err == wanted


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"slide {slide.__version__}\n"


# -- progress ----------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fit_of(chunks: int, seconds: float) -> list[Progress]:
    """What the callback of a fit of 2 epochs of 1,000 samples sees."""
    told = []
    for i in range(1, 2 * chunks + 1):
        p = Progress(epochs=2, total=2000, epoch=(i - 1) // chunks, done=1000 * i // chunks, seconds=seconds * i)
        p.loss, p.epoch_ended = 1.5, i % chunks == 0
        told.append(p)
    return told


def test_plain_lines_are_few() -> None:
    stream = io.StringIO()
    shown = Lines(stream)
    for p in fit_of(chunks=100, seconds=0.1):  # ten seconds an epoch
        shown(p)
    lines = stream.getvalue().splitlines()
    assert [line.split()[1:3] for line in lines] == [["1/2", "25%"], ["1/2", "50%"], ["2/2", "75%"], ["2/2", "100%"]]
    assert lines[0] == "epoch 1/2  25%  loss 1.500  100 samples/s  15.0 s left"


def test_a_bar_leaves_a_line_for_each_epoch() -> None:
    stream = Terminal()
    shown = Bar(stream, 2000)
    for p in fit_of(chunks=50, seconds=0.2):
        shown(p)
    shown.close()
    drawn = stream.getvalue()
    assert "epoch 1/2  10% |" in drawn
    assert "loss 1.500  100 samples/s  18.0 s left" in drawn
    left = [line.split("\r")[-1] for line in drawn.split("\n")]
    assert [line[:15] for line in left if line.strip()] == ["epoch 1/2  50% ", "epoch 2/2 100% "]


def test_a_terminal_shows_and_clears_what_is_going_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["eval", str(folder / "model.slide"), str(folder / "test.txt")]) == 0
    drawn = stream.getvalue()
    assert f"loading {folder / 'model.slide'} ..." in drawn
    assert "scoring" in drawn
    assert drawn.split("\r")[-1].strip() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.4, "59.4 s"), (61, "1:01"), (3599.9, "1:00:00"), (float("inf"), "some time")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# -- how it stops ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_interrupt_saves_the_model_so_far(folder: Path, request: pytest.FixtureRequest) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, handler))
    out = folder / "stopped.slide"
    more = ["--epochs", "100000", "--hidden", "16", "--n-threads", "1"]
    with python("train", folder / "train.txt", "--test", folder / "test.txt", "--out", out, *more) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("training on 600 rows")
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        printed, rest = process.communicate()
    assert first.startswith("epoch 1/100000")
    assert process.returncode == 130
    assert rest.splitlines()[-1].startswith("slide: stopped after ")
    assert str(out) in rest.splitlines()[-1]
    assert "Traceback" not in rest
    assert "@1" not in printed
    model = slide.load(out)
    assert isinstance(model, slide.SlideClassifier)
    assert 0 < model.network_.step < 600 * 100_000
    ids, _ = model.predict_topk(slide.read_xmc(folder / "test.txt")[0], k=5)
    assert (ids >= 0).all()


def test_interrupt_before_the_first_step_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(slide.SlideClassifier, "fit", stop)
    out = folder / "never.slide"
    assert main(["train", str(folder / "train.txt"), "--out", str(out), *SMALL]) == 130
    assert "stopped after 0 samples" in capsys.readouterr().err
    assert not out.exists()


def test_interrupt_while_predicting_leaves_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = sorted(folder.iterdir())
    monkeypatch.setattr(slide.SlideClassifier, "predict_topk", stop)
    out = folder / "never.txt"
    assert main(["predict", str(folder / "model.slide"), str(folder / "test.txt"), "--out", str(out)]) == 130
    assert capsys.readouterr().err == "\nslide: stopped\n"
    assert sorted(folder.iterdir()) == before


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    big = folder / "big.txt"
    X, Y = slide.read_xmc(folder / "test.txt")
    slide.write_xmc(big, X[np.arange(20_000) % 300], Y[np.arange(20_000) % 300])  # more than a pipe holds
    with python("predict", folder / "model.slide", big) as process:
        assert process.stdout is not None
        assert ":" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert err == ""
    assert process.returncode == 141


def test_the_module_is_the_command() -> None:
    with python("--version") as process:
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, f"slide {slide.__version__}\n", "")
