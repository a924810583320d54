"""Model files that this project wrote in the past still load, predict what they predicted, and go on learning.

The files are in golden/, one folder for each slide that wrote some; make_golden.py made them and says when to add more.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_golden import CHECKPOINTS, GOLDEN, MODELS, asked, load, predicted, rows

import slide
from slide.cli.main import main
from slide.io.model_file import describe

FILES = sorted(GOLDEN.glob("*/*.slide"))
#: Whose hash functions have changed since, so that tables filled anew return other neurons: MinHash ranks its elements
#: in other bins since 6da6647. What is exact is as it was.
HASHED_OTHERWISE = {"74507c2/network-minhash"}
WRITERS = {
    "2e46527",
    "e676eb7",
    "74507c2",
    "c949c36",
    "6a884d6",
    "6b246b3",
    "e896416",
    "611f266",
    "6495979",
    "4281225",
    "d3064d4",
}
WRITERS |= {"3a7f701", "be43a7c", "119b58a", "884d3c8"}
EVERY = pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])


def facts(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return found


def recorded(path: Path) -> dict[str, Any]:
    """What the model predicted, as far as it should today."""
    found: dict[str, Any] = facts(path)["predicted"]
    if f"{path.parent.name}/{path.stem}" in HASHED_OTHERWISE:
        del found["by tables"]
    return found


def header(path: Path) -> dict[str, Any]:
    return describe(path)


def network(model: Any) -> slide.Network:
    return getattr(model, "network_", model)


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Ids equal; scores within what another order of float32 sums makes of them."""
    assert found.keys() >= wanted.keys()
    for way in ("exact", "by tables", "probabilities"):
        if way in wanted:
            assert found[way]["ids"] == wanted[way]["ids"], way
            np.testing.assert_allclose(
                np.array(found[way]["scores"], float), np.array(wanted[way]["scores"], float), rtol=1e-4, atol=1e-5
            )
    if "predict" in wanted:
        assert found["predict"] == wanted["predict"]


def test_no_file_was_lost() -> None:
    """Every kind by some slide; all format versions; files and facts in pairs."""
    assert {path.stem for path in FILES} >= {*MODELS, *CHECKPOINTS}
    assert {path.with_suffix("") for path in FILES} == {path.with_suffix("") for path in GOLDEN.glob("*/*.json")}
    assert {header(path)["format_version"] for path in FILES} == {1, 2, 3, 4, 5}
    assert {path.parent.name for path in FILES} >= WRITERS


@EVERY
def test_it_predicts_as_recorded(path: Path) -> None:
    model, wanted = load(path), facts(path)
    assert network(model).step == wanted["step"]
    assert_same(predicted(path.stem, model), recorded(path))


@pytest.mark.thorough
@EVERY
def test_it_is_saved_and_loaded_again(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    load(path).save(copy)
    model, wanted = load(copy), facts(path)
    assert network(model).step == wanted["step"]
    assert_same(predicted(path.stem, model), recorded(path))


@EVERY
def test_info_describes_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(path), "--json"]) == 0
    shown, config = json.loads(capsys.readouterr().out.splitlines()[-1]), header(path)
    net = network(load(path))
    assert shown["format_version"] == config["format_version"]
    assert (shown["n_features"], shown["n_labels"]) == (net.n_features, net.n_labels)
    assert shown["samples_trained"] == facts(path)["step"]
    assert len(shown["layers"]) == len(net.layers)
    weights = "8 bits" if "compressed" in path.stem else "bfloat16" if "bfloat16" in path.stem else "float32"
    assert shown["weights"].startswith(weights)
    assert ("fit_seconds" in shown) == ("classifier" in config)


@EVERY
def test_it_goes_on_learning(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rows it was trained on; what is compressed says that it does not."""
    monkeypatch.setattr("slide.lsh.trained.STEPS", 3)  # of training directions: that they are is seen as well
    monkeypatch.setattr("slide.lsh.trained.STEPS_AT_THE_END", 3)
    model, data = load(path), rows()
    before, y = network(model).step, labels_as(model)
    if network(model).is_compressed:
        with pytest.raises(ValueError, match="compressed"):
            learn(path.stem, model, y)
        return
    learn(path.stem, model, y)
    assert network(model).step == before + data.X.shape[0]
    ids, scores = model.predict_topk(asked(path.stem, model), k=3)
    assert np.isfinite(scores).all()
    assert len(ids) == data.X_asked.shape[0]


def learn(kind: str, model: Any, y: Any) -> None:
    if hasattr(model, "partial_fit"):
        model.partial_fit(asked(kind, model, training=True), y)
    else:
        model.fit(rows().X, rows().Y)


def labels_as(model: Any) -> Any:
    """Labels of the training rows in the form in which this model had them, known ones alone."""
    if not hasattr(model, "partial_fit"):
        return rows().Y
    if not model._labels.named:
        return rows().Y
    names = model.classes_
    if model._labels.kind == "classes":
        return names[np.arange(rows().Y.shape[0]) % len(names)]
    return [[names[i] for i in row if i < len(names)] for row in np.split(rows().Y.indices, rows().Y.indptr[1:-1])]


CHECKPOINT_FILES = [path for path in FILES if path.stem in CHECKPOINTS]


@pytest.mark.thorough
@pytest.mark.parametrize("path", CHECKPOINT_FILES, ids=[f"{path.parent.name}/{path.stem}" for path in CHECKPOINT_FILES])
def test_a_checkpoint_is_resumed(path: Path, tmp_path: Path) -> None:
    """The fit goes on from there and ends where the one that was not interrupted ended."""
    if path.stem.endswith("trained") and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("directions are trained by NumPy's sums, which another release orders otherwise")
    model, arguments = CHECKPOINTS[path.stem]()
    copy = Path(shutil.copy(path, tmp_path))
    model.fit(**arguments, checkpoint=slide.Checkpoint(copy, minutes=None, resume=True))
    wanted = facts(path)
    assert network(model).samples_resumed == wanted["step"]
    assert network(model).step == wanted["finished"]["step"]
    assert_same(predicted(path.stem, model), wanted["finished"]["predicted"])
