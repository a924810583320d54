"""What writing does to what is under the name: replaced whole, written through, or left as it is with a sentence."""

from __future__ import annotations

import errno
import gc
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.cli.main import main
from slide.io import atomic, formats
from slide.io.atomic import Place, replacing

X = sp.csr_array(np.eye(6, 4, dtype=np.float32) + np.float32(0.5))
Y = sp.csr_array(np.eye(6, 3, dtype=np.float32) + np.eye(6, 3, -3, dtype=np.float32))


def write(path: Any, content: bytes = b"new") -> None:
    with replacing(path) as file:
        file.write(content)


@pytest.fixture(scope="module")
def clf() -> slide.SlideClassifier:
    return slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1).fit(X, Y)


@pytest.fixture(scope="module")
def model(clf: slide.SlideClassifier, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "m.slide"
    clf.save(path)
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "t.txt"
    slide.write_xmc(path, X, Y)
    return str(path)


def writers(clf: slide.SlideClassifier) -> dict[str, Callable[[Any], object]]:
    """Everything in the library that writes a file of a given name."""
    return {
        "save": clf.save,
        "network": clf.network_.save,
        "compressed": lambda path: clf.compress().save(path),
        "xmc": lambda path: slide.write_xmc(path, X, Y),
        "npz": lambda path: formats.write(path, X, Y, "npz"),
        "svmlight": lambda path: formats.write(path, X, Y, "svmlight"),
        "parquet": lambda path: formats.write(path, X, Y, "parquet"),
        "onnx": lambda path: clf.export_onnx(path, k=2),
    }


KINDS = ("save", "network", "compressed", "xmc", "npz", "svmlight", "parquet", "onnx")
NEEDS = {"parquet": "pyarrow", "onnx": "onnx", "svmlight": "sklearn"}


def writer(clf: slide.SlideClassifier, kind: str) -> Callable[[Any], object]:
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind], reason=f"{NEEDS[kind]} is not installed")
    return writers(clf)[kind]


def read_pipe(path: Path, into: list[bytes]) -> threading.Thread:
    thread = threading.Thread(target=lambda: into.append(path.read_bytes()), daemon=True)
    thread.start()
    return thread


# -- files and links ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_permissions_stay(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


def test_a_new_file_has_those_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_nobody_else_may_read_it_before_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with replacing(path) as file:
        file.write(b"new")
        part = next(p for p in tmp_path.iterdir() if p.name != "a")
        assert stat.S_IMODE(part.stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    os.chown(path, 1234, 5678)
    path.chmod(0o640)
    write(path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 5678, 0o640)


def test_a_group_that_cannot_be_kept_leaves_its_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o664)
    old = os.stat_result((*path.stat()[:4], 4321, 4321, *path.stat()[6:]))
    monkeypatch.setattr(os, "fchown", refused)
    with open(path, "r+b") as file:
        atomic._take_after(file.fileno(), old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_stays_and_what_it_leads_to_is_replaced(clf: slide.SlideClassifier, tmp_path: Path, kind: str) -> None:
    (tmp_path / "far").mkdir()
    target, link, longer = tmp_path / "far" / "file", tmp_path / "link", tmp_path / "longer"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(Path("far") / "file")
    longer.symlink_to(link)
    writer(clf, kind)(longer)
    assert link.is_symlink()
    assert longer.is_symlink()
    assert len(target.read_bytes()) > 3
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["far", "file", "link", "longer"]


def test_a_link_to_nothing_makes_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("made")
    write(tmp_path / "link")
    assert (tmp_path / "made").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


def test_a_long_name_of_several_bytes_a_character(tmp_path: Path) -> None:
    write(tmp_path / ("\u6a21" * 80))
    assert len(list(tmp_path.iterdir())) == 1


def test_what_killed_writes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    name = "a[1]*"
    mine, others = f".{name}.{'0' * 16}.part", [name, f".{name}.part", f".b.{'0' * 16}.part", f".{name}.notes.part"]
    for each in (mine, *others):
        (tmp_path / each).touch()
    Place.of(tmp_path / name).remove_parts()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(others)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_only_file_is_left_as_it_is(clf: slide.SlideClassifier, tmp_path: Path, kind: str) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o444)
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(PermissionError, match=f"is read-only, and stays as it is: '{name}'"):
            writer(clf, kind)(name)
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "link"]


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop") as found:
        write(tmp_path / "loop")
    assert found.value.errno == errno.ELOOP
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write(tmp_path / "no" / "file")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write(tmp_path)
    with pytest.raises(FileNotFoundError, match="found no name"):
        write("")
    for wrong in (None, 3, ["a"]):
        with pytest.raises(TypeError, match="wanted a path or a file object"):
            write(wrong)
    assert [p.name for p in tmp_path.iterdir()] == ["loop"]


@pytest.mark.filterwarnings("ignore:Exception ignored in. <function ZipFile")  # NumPy 1 leaves the archive of npz open
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_device_is_an_error_that_names_it(clf: slide.SlideClassifier, kind: str) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    with pytest.raises(OSError, match="/dev/full") as found:
        writer(clf, kind)("/dev/full")
    assert found.value.errno == errno.ENOSPC
    del found
    gc.collect()


# -- what is written through -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_named_pipe_gets_what_a_file_would(clf: slide.SlideClassifier, tmp_path: Path, kind: str) -> None:
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    got: list[bytes] = []
    reader = read_pipe(pipe, got)
    writer(clf, kind)(link)
    reader.join(60)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert link.is_symlink()
    writer(clf, kind)(file)
    assert len(got[0]) > 50
    if kind == "npz":  # sizes stand behind the bytes where nobody can go back
        pipe.unlink()
        pipe.write_bytes(got[0])
        assert (formats.read(pipe, "npz")[0] != X).nnz == 0
    else:
        assert got[0] == file.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link", "pipe"]


def test_a_device_stays_one(tmp_path: Path) -> None:
    null = tmp_path / "null"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        null.open("wb").close()
    except OSError:
        null.symlink_to("/dev/null")
    write(null)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_under_its_names(name: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    if name == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
        name = str(tmp_path / "link")
    if not os.path.exists(name):
        pytest.skip(f"there is no {name} here")
    print("before", end=" ")
    write(name)
    print(" after", end="", flush=True)
    assert capfdbinary.readouterr().out == b"before new after"


def test_an_open_file_is_written_where_it_stands(tmp_path: Path) -> None:
    if not os.path.isdir("/dev/fd"):
        pytest.skip("there is no /dev/fd here")
    path = tmp_path / "log"
    path.write_bytes(b"first ")
    with open(path, "ab") as file:
        write(f"/dev/fd/{file.fileno()}")
    assert path.read_bytes() == b"first new"
    with pytest.raises(OSError, match="/dev/fd/9999"):
        write("/dev/fd/9999")


# -- commands ----------------------------------------------------------------------------------------------------------


def test_commands_write_through_what_is_no_file(
    model: str, data: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for out in ("-", "/dev/stdout"):
        assert main(["predict", model, data, "-k", "1", "--out", out]) == 0
        assert len(capfd.readouterr().out.splitlines()) == 6
        assert main(["card", model, "--out", out]) == 0
        assert capfd.readouterr().out.startswith("# Model card")
        assert main(["report", model, "--html", out]) == 0
        assert capfd.readouterr().out.rstrip().endswith("</html>")
    os.symlink("/dev/null", "null")
    for command in (
        ["predict", model, data, "-k", "1", "--out", "null"],
        ["convert", data, "null", "--to", "npz"],
        ["compress", model, "null"],
        ["train", data, "--epochs", "1", "--out", "null", "--test", data],
        ["train", data, "--epochs", "1", "--out", "null", "--log", "log.csv"],
    ):
        assert main(command) == 0, command
    assert sorted(os.listdir()) == ["log.csv", "null"]
    assert os.path.islink("null")


def test_standard_output_holds_the_result_alone(
    model: str, data: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "file"
    for command in (["convert", data], ["compress", model]):
        assert main([*command, str(file)]) == 0
        said = capfdbinary.readouterr().out
        for out in ("-", "/dev/stdout"):
            assert main([*command, out]) == 0
            assert capfdbinary.readouterr().out == file.read_bytes()
        assert str(file).encode() in said


def test_a_model_goes_into_a_pipe_once(data: str, tmp_path: Path) -> None:
    """With --test it is saved again after scoring: into a pipe only then, when all is known."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = read_pipe(pipe, got)
    assert main(["train", data, "--epochs", "1", "--out", str(pipe), "--test", data]) == 0
    reader.join(60)
    (tmp_path / "m.slide").write_bytes(got[0])
    assert len(slide.load(tmp_path / "m.slide").card_.scores) == 1  # type: ignore[union-attr]


def test_commands_say_what_they_cannot_write(
    model: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"old")
    old.chmod(0o444)
    for command in (
        ["predict", model, data, "--out", str(old)],
        ["train", data, "--out", str(old)],
        ["compress", model, str(old)],
        ["convert", data, str(old), "--to", "npz"],
        ["report", model, "--html", str(old)],
        ["card", model, "--out", str(old)],
    ):
        assert main(command) == 2
        assert f"{old}: is read-only, and stays as it is" in capsys.readouterr().err
    assert old.read_bytes() == b"old"
