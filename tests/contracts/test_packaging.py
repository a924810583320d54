"""What users get who have no compiler, one that fails, one without OpenMP; and what the distributions hold.

Every test builds a copy of the source tree in a temporary folder and looks at the wheel without installing it. The
other half, the wheel installed in an empty environment, is `make test-wheel`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SOURCES = ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
FOLDERS = ("csrc", "slide", "tests", "benchmarks")

# An editable install answers for modules that the package under test lacks, which is what is being asked here.
ALONE = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if not finder.__module__.startswith("__editable__")]
"""

TRAIN = """
import slide

X, Y = slide.datasets.synthetic(300, 50, 40, nnz=5, labels_per_row=2)
net = slide.Network([slide.SparseInput(50, 16), slide.Sampled(40, n_active=20, n_random=5)], n_threads={threads})
net.fit(X, Y)
ids, scores = net.predict_topk(X[:3], k=5)
assert ids.shape == (3, 5) and scores[:, 0].min() > -1e9
print(net.backend, slide.__file__)
"""


@pytest.fixture
def tree(checkout: Path, tmp_path: Path) -> Path:
    """A copy of what a source distribution is made of, with nothing built in it."""
    copy = tmp_path / "tree"
    copy.mkdir()
    for name in SOURCES:
        shutil.copy(checkout / name, copy)
    for name in FOLDERS:
        shutil.copytree(checkout / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return copy


def build(tree: Path, *command: str, ok: bool = True, **env: str) -> str:
    """Runs setup.py with a clean set of the variables that it reads; returns all that the build said."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SLIDE_") and k not in ("CC", "CFLAGS", "LDFLAGS")}
    done = subprocess.run(
        [sys.executable, "setup.py", *command],
        cwd=tree,
        env={**clean, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == ok, done.stdout
    return done.stdout


def unpacked_wheel(tree: Path, room: Path) -> Path:
    """Where the one wheel in dist/ was unpacked to."""
    (wheel,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(room)
    return room


def python(code: str, package: Path) -> subprocess.CompletedProcess[str]:
    """Runs code against the unpacked package, from a folder where no other slide is in reach."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE + code],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def extensions(package: Path) -> list[str]:
    return [p.name for p in (package / "slide" / "engine").iterdir() if p.suffix in (".so", ".pyd")]


def assert_trains_on_numba(package: Path) -> None:
    done = python(TRAIN.format(threads=1), package)
    assert done.stdout.split() == ["numba", str(package / "slide" / "__init__.py")]
    assert "was not built" in done.stderr


def test_no_compiler_gives_a_working_install_and_a_warning(tree: Path, tmp_path: Path) -> None:
    said = build(tree, "bdist_wheel", CC="/bin/false")
    assert "WITHOUT its C engine: no working C compiler (tried: /bin/false)" in said
    package = unpacked_wheel(tree, tmp_path / "package")
    assert extensions(package) == []
    assert_trains_on_numba(package)


def test_no_compiler_is_an_error_where_the_extension_is_required(tree: Path) -> None:
    said = build(tree, "bdist_wheel", ok=False, CC="/bin/false", SLIDE_REQUIRE_EXT="1")
    assert "no working C compiler" in said


def test_sources_that_do_not_compile_fall_back_and_take_the_older_build_along(tree: Path) -> None:
    (tree / "csrc" / "aaa.c").write_text("#error broken on purpose\n")
    suffix = subprocess.run(
        [sys.executable, "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    older = tree / "slide" / "engine" / f"_c{suffix}"
    older.write_bytes(b"an older build")
    said = build(tree, "build_ext", "--inplace", ok=False, SLIDE_REQUIRE_EXT="1")
    assert "broken on purpose" in said
    assert older.exists()
    said = build(tree, "build_ext", "--inplace")
    assert "broken on purpose" in said
    assert "WITHOUT its C engine" in said
    assert not older.exists()


def test_leaving_the_extension_out_on_purpose_gives_a_wheel_for_any_machine(tree: Path, tmp_path: Path) -> None:
    said = build(tree, "bdist_wheel", SLIDE_NO_EXT="1", SLIDE_REQUIRE_EXT="1", CC="/bin/false")
    assert "WITHOUT its C engine: SLIDE_NO_EXT is set" in said
    assert [p.name.split("-", 2)[2] for p in (tree / "dist").iterdir()] == ["py3-none-any.whl"]
    assert extensions(unpacked_wheel(tree, tmp_path / "package")) == []


def test_a_compiler_without_openmp_gives_one_thread_and_a_warning(tree: Path, tmp_path: Path) -> None:
    real = shutil.which("gcc") or shutil.which("cc")
    if real is None:
        pytest.skip("needs a C compiler to hide OpenMP from")
    compiler = tmp_path / "cc"
    compiler.write_text(
        "#!/bin/sh\n"
        'for argument in "$@"; do\n'
        '    case "$argument" in -fopenmp|-lomp) echo "unsupported option $argument" >&2; exit 1 ;; esac\n'
        "done\n"
        f'exec "{real}" "$@"\n'
    )
    compiler.chmod(0o755)
    said = build(tree, "bdist_wheel", CC=str(compiler), SLIDE_REQUIRE_EXT="1")
    assert "WITHOUT OpenMP: it will use ONE thread" in said
    assert "WITHOUT its C engine" not in said
    package = unpacked_wheel(tree, tmp_path / "package")
    assert len(extensions(package)) == 1
    done = python(TRAIN.format(threads=1) + "from slide.engine import _c; print(_c.openmp_threads())", package)
    assert done.stdout.split() == ["c", str(package / "slide" / "__init__.py"), "0"]


def test_the_source_distribution_is_whole_and_holds_nothing_generated(tree: Path) -> None:
    (tree / "slide" / "engine" / "_c.c").write_text("/* generated */")
    (tree / "slide" / "engine" / "_c.so").write_bytes(b"built")
    build(tree, "sdist")
    (archive,) = (tree / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        held = {Path(*Path(member.name).parts[1:]) for member in tar if member.isfile()}
    expected = {p.relative_to(tree) for folder in FOLDERS for p in (tree / folder).rglob("*") if p.is_file()}
    generated = {Path("slide/engine/_c.c"), Path("slide/engine/_c.so")}
    assert held & generated == set()
    assert (expected - generated) - held == set()
    assert {Path(name) for name in SOURCES} <= held


def test_the_wheel_holds_the_data_the_types_and_both_licences(tree: Path, tmp_path: Path) -> None:
    build(tree, "bdist_wheel", SLIDE_NO_EXT="1")
    package = unpacked_wheel(tree, tmp_path / "package")
    wanted = {p.relative_to(tree) for p in (tree / "slide" / "datasets" / "data").rglob("*") if p.is_file()}
    wanted |= {Path("slide/py.typed"), *(p.relative_to(tree) for p in (tree / "slide").rglob("*.py"))}
    assert wanted - {p.relative_to(package) for p in package.rglob("*")} == set()
    licences = [p.name for p in package.glob("*.dist-info/licenses/**/LICENSE*")]
    assert len(licences) == 2


def test_wheels_are_wanted_for_every_machine_that_the_docs_name(checkout: Path) -> None:
    pytest.importorskip("cibuildwheel", reason="cibuildwheel is not installed")
    found: set[str] = set()
    for platform in ("linux", "macos"):
        command = [
            sys.executable,
            "-m",
            "cibuildwheel",
            "--print-build-identifiers",
            "--platform",
            platform,
            str(checkout),
        ]
        found |= set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    machines = [
        "manylinux_x86_64",
        "manylinux_aarch64",
        "musllinux_x86_64",
        "musllinux_aarch64",
        "macosx_x86_64",
        "macosx_arm64",
    ]
    assert found == {f"cp3{minor}-{machine}" for minor in range(11, 15) for machine in machines}
