"""``slide train --config``, ``--print-config`` and ``slide completion``."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from engine_strategies import planted_data
from snippets import BLOCK, run_page

import slide
from slide.cli.config_file import dump
from slide.cli.main import main
from slide.cli.verbs.registry import VERBS, make_parser
from slide.cli.verbs.train import options_parser

D, N = 300, 200


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data in a folder that is not the working one."""
    (tmp_path / "elsewhere").mkdir()
    slide.write_xmc(tmp_path / "train.txt", *planted_data(300, D, N))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def parsed(folder: Path, text: str, *flags: str) -> Any:
    (folder / "run.toml").write_text(text)
    return make_parser().parse_args(["train", "--config", str(folder / "run.toml"), *flags])


EVERYTHING = """
data = "train.txt"
out = "model.slide"
validation = 0.2
log = "run.csv"
hidden = [12]
epochs = 2
n_active = 40
n_threads = 1
random_state = 7
normalize = true
[wide]
prune = 0.0
[rebuild]
every = 100
growth = 0.0
[lsh]
kind = "simhash"
K = 3
L = 7
[optimizer]
kind = "adam"
lr = 0.01
[schedule]
kind = "cosine"
warmup = 0.1
"""


def test_a_file_says_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run.toml").write_text(EVERYTHING)
    assert main(["train", "--config", f"{folder}/run.toml", "--epochs", "3", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    clf = slide.load(folder / "model.slide")
    assert isinstance(clf, slide.SlideClassifier)
    assert facts["epochs"] == clf.epochs == 3  # a flag overrides
    assert facts["n_trained"] == 3 * 240
    assert (folder / "run.csv").exists()
    wanted = {
        "hidden": (12,),
        "n_active": 40,
        "random_state": 7,
        "normalize": True,
        "wide": slide.Wide(prune=0.0),
        "rebuild": slide.Rebuild(every=100, growth=0.0),
        "lsh": slide.SimHash(K=3, L=7),
        "optimizer": slide.Adam(0.01),
        "schedule": slide.Cosine(warmup=0.1),
    }
    assert {name: clf.get_params()[name] for name in wanted} == wanted


def test_what_is_printed_is_read_as_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = parsed(folder, EVERYTHING, "--print-config", "--loss", "binary", "--A", "0.6")
    assert main(["train", "--config", f"{folder}/run.toml", "--print-config", "--loss", "binary", "--A", "0.6"]) == 0
    printed = capsys.readouterr().out
    assert not (folder / "model.slide").exists()
    after = parsed(folder, printed)
    ours, theirs = ({k: v for k, v in vars(a).items() if k not in ("config", "print_config")} for a in (before, after))
    for name in PATHS:
        ours[name] = ours[name] and str(Path(ours[name]).resolve())
    assert theirs.items() >= ours.items()
    assert dump(after, options_parser()) == printed


PATHS = ("data", "out", "log")


def test_the_defaults_are_printed_where_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "wordnet-hypernym", "--print-config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {
        'data = "wordnet-hypernym"',
        "hidden = [128]",
        "n_active = 300",
        "# n_random =",
        'normalize = "auto"',
    } <= set(lines)


def test_a_preset_stands_behind_what_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = slide.SlideClassifier.preset("fast")

    def printed(*flags: str) -> str:
        assert main(["train", "wordnet-hypernym", "--preset", "fast", "--print-config", *flags]) == 0
        return capsys.readouterr().out

    lines = printed("--epochs", "9").splitlines()
    assert {"epochs = 9", f"n_active = {fast.n_active}", "# preset =", f"row_pairs = {fast.wide.row_pairs}"} <= set(
        lines
    )
    assert f"row_pairs = {fast.wide.row_pairs}" in printed("--wide")
    assert "wide = false" in printed("--no-wide")
    (folder / "run.toml").write_text(f'data = "{folder}/train.txt"\npreset = "fast"\nn_active = 30\n')
    assert main(["train", "--config", f"{folder}/run.toml", "--out", f"{folder}/m", "--hidden", "8"]) == 0
    clf = slide.load(folder / "m")
    assert (clf.epochs, clf.n_active, clf.hidden, clf.wide) == (fast.epochs, 30, (8,), fast.wide)


@pytest.mark.parametrize(
    ("flat", "flags", "wanted"), [("", [], 0.3), ("lr = 0.2", [], 0.2), ("", ["--lr", "0.5"], 0.5)]
)
def test_a_rate_is_the_optimizers(
    flat: str, flags: list[str], wanted: float, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = "lr = 0.3" if not flat else ""
    (folder / "run.toml").write_text(f"{flat}\n[optimizer]\nkind = 'adam'\n{table}\n")
    command = ["train", f"{folder}/train.txt", "--config", f"{folder}/run.toml", *flags]
    assert main([*command, "--epochs", "1", "--n-active", "40", "--out", "m"]) == 0
    assert slide.load("m").network_.optimizer == slide.Adam(wanted)
    capsys.readouterr()
    assert main([*command, "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert f"lr = {wanted}" in printed[printed.index("[optimizer]") :]
    assert main(["train", "--config", str(folder / "run.toml")]) == 2  # no data named
    parsed(folder, printed)


def test_wide_on_the_command_line_is_the_wide_of_the_file(folder: Path) -> None:
    from slide.cli.fitting import classifier_options

    args = parsed(folder, "[wide]\nprune = 0.7\n", "--wide")
    assert classifier_options(args)["wide"] == slide.Wide(prune=0.7)
    assert classifier_options(parsed(folder, "[wide]\nprune = 0.7\n", "--no-wide"))["wide"] is False


def test_files_may_be_called_like_numbers(folder: Path) -> None:
    args = parsed(folder, 'out = "2024"\nvalidation = 0.2\n')
    assert (args.out, args.validation) == (str(folder / "2024"), "0.2")


def test_names_with_strange_letters_come_through(folder: Path) -> None:
    args = parsed(folder, "")
    args.out = '/tmp/a "b" \\ \t é \U000e0001.slide'
    assert parsed(folder, dump(args, options_parser())).out == args.out


def test_text_columns_and_embedded_names(folder: Path) -> None:
    args = parsed(folder, 'data = "wordnet-hypernym"\ntext = ["title", "body"]\nlabels = "tags"\ncharacters = [3, 5]\n')
    assert (args.data, args.text, args.labels, args.characters) == ("wordnet-hypernym", "title,body", "tags", (3, 5))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3", "found the key 'epoch', wanted epochs"),
        ("zzz = 3", "found the key 'zzz', wanted one of A, B, K, L, activation"),
        ("epochs = '3'", "epochs: found '3', wanted a whole number"),
        ("epochs = true", "epochs: found True, wanted a whole number"),
        ("lr = '0.1'", "lr: found '0.1', wanted a number"),
        ("hidden = 128", "hidden: found 128, wanted a list of whole numbers"),
        ("json = 1", "json: found 1, wanted true or false"),
        ("loss = 'hinge'", "loss: found 'hinge', wanted one of softmax, binary"),
        ("out = 3", "out: found 3, wanted a string"),
        ("text = [1]", "text: found [1], wanted a string"),
        ("[wide]\nprun = 1", "[wide]: found the key 'prun', wanted prune"),
        ("[wide]\nprune = -1", "[wide]: Wide(prune=): found -1"),
        ("[lsh]\nK = 3", "[lsh] kind: found None, wanted one of simhash"),
        ("[lsh]\nkind = 'simhash'\nK = 99", "[lsh]: SimHash(K=): found 99"),
        ("[optimizer]\nkind = 'lion'", "[optimizer] kind: found 'lion', wanted one of sgd, adagrad, adam"),
        ("[optimizer]\nkind = ['sgd']", "[optimizer] kind: found ['sgd'], wanted one of"),
        ("[wide]\nlr = 'x'", "[wide] lr: found 'x', wanted float"),
        ("lr = 1.0\n[optimizer]\nkind = 'sgd'\nlr = 2.0", "found lr and [optimizer] lr, wanted one of them"),
        ("a = " + "[" * 9000, "no TOML file"),
        ("[epochs]\nx = 1", "epochs: found {'x': 1}, wanted a whole number"),
        ("epochs = ", "no TOML file"),
        ("\xff", "no TOML file"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    text: str, says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "run.toml").write_bytes(text.encode("latin-1"))
    assert main(["train", "train.txt", "--config", f"{folder}/run.toml"]) == 2
    error = capsys.readouterr().err
    assert f"run.toml: {says}" in error
    assert error.count("\n") == 1


def test_missing_things_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", "nowhere.toml"]) == 2
    assert "nowhere.toml: No such file" in capsys.readouterr().err
    assert main(["train"]) == 2
    assert "DATA: found none" in capsys.readouterr().err
    (folder / "run.toml").write_text("[lsh]\nkind = 'simhash'\n")
    assert main(["train", f"{folder}/train.txt", "--config", f"{folder}/run.toml", "--K", "3"]) == 2
    assert "--K: the table [lsh]" in capsys.readouterr().err


@pytest.mark.slow
def test_the_page_about_it_runs(checkout: Path, folder: Path) -> None:
    page = checkout / "docs" / "command-line.md"
    (toml,) = (code for language, code in BLOCK.findall(page.read_text()) if language == "toml")
    (folder / "run.toml").write_text(toml)
    run_page(page, folder)
    assert (folder / "model.slide").exists()


# -- completion --------------------------------------------------------------------------------------------------------


def completed(words: list[str]) -> list[str]:
    """What bash offers for the last word."""
    line = " ".join(words)
    script = f"""source <(cat)
        COMP_WORDS=({" ".join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; COMP_LINE={line!r}
        _shtab_slide slide {words[-1]!r} {words[-2]!r}; printf '%s\\n' "${{COMPREPLY[@]}}" """
    run = subprocess.run(["bash", "-c", script], input=scripted("bash"), capture_output=True, text=True, check=True)
    return run.stdout.split()


def scripted(shell: str) -> str:
    pytest.importorskip("shtab", reason="shtab is not installed")
    from slide.cli.verbs.completion import script

    return script(make_parser(), shell)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash is installed")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["slide", "tr"], ["train"]),
        (["slide", "train", "--n-"], ["--n-active", "--n-random", "--n-threads"]),
        (["slide", "train", "--loss", "b"], ["binary"]),
        (["slide", "completion", "z"], ["zsh"]),
    ],
)
def test_bash_offers_verbs_options_and_choices(words: list[str], offered: list[str]) -> None:
    assert sorted(completed(words)) == offered


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert scripted("zsh").startswith("#compdef slide")
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == scripted("zsh") + "\n"
    assert main(["completion", "csh"]) == 2


def offered_by_fish(line: str) -> list[str]:
    command = ["fish", "--no-config", "-c", f"source; complete -C {line!r}"]
    run = subprocess.run(command, input=scripted("fish"), capture_output=True, text=True, check=True)
    return [one.partition("\t")[0] for one in run.stdout.splitlines()]


def test_fish_has_every_verb() -> None:
    told = scripted("fish")
    assert all(f"'{verb.name}'" in told or f" {verb.name} " in told or f'"{verb.name}"' in told for verb in VERBS)


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish is installed")
def test_fish_offers_verbs_options_and_choices() -> None:
    assert offered_by_fish("slide predi") == ["predict"]
    assert offered_by_fish("slide train --n-") == ["--n-active", "--n-random", "--n-threads"]
    assert offered_by_fish("slide train --loss b") == ["binary"]


def test_a_shell_that_shtab_does_not_know_yet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shtab = pytest.importorskip("shtab", reason="shtab is not installed")
    monkeypatch.setattr(shtab, "SUPPORTED_SHELLS", ["bash", "zsh"])
    assert main(["completion", "fish"]) == 2
    assert "completion for fish needs a newer shtab" in capsys.readouterr().err


def test_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'slide-xmc[completion]'" in capsys.readouterr().err
