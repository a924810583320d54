"""The lint of the C sources' floors finds what it is there for: each fault planted in a copy of csrc/."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT = ROOT / "tests" / "lint" / "c_floors.py"

pytestmark = pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="needs csrc/, which an installed package has not")


def said(folder: Path) -> str:
    return subprocess.run([sys.executable, str(LINT), str(folder)], capture_output=True, text=True, check=False).stderr


def test_the_sources_keep_their_floors() -> None:
    assert said(ROOT / "csrc") == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "wanted"),
    [
        (
            "core/rows.h",
            '#include "core/types.h"',
            '#include "core/types.h"\n#include "net/network.h"',
            "stands on no other",
        ),
        (
            "lsh/hash.c",
            '#include "lsh/hash.h"',
            '#include "lsh/hash.h"\n#include "linear/wide.h"',
            "stands on core, kernels",
        ),
        (
            "parse/xmc.c",
            '#include "parse/xmc.h"',
            '#include "parse/xmc.h"\n#include "core/rng.h"',
            "stands on no other",
        ),
        ("net/loss.c", '#include "net/loss.h"', '#include "loss.h"', "which is no file of csrc/"),
        ("core/types.h", "#include <stdint.h>", '#include "core/rows.h"', "include each other in a circle"),
        (
            "lsh/simhash.c",
            "static void sides(",
            "void f(void) { slide_hash(0, 0, 0, 0, 0); }\nstatic void sides(",
            "not include",
        ),
        ("net/network.c", '#include "net/scratch.h"', "", "slide_reserve of net/scratch.h, which it does not include"),
        (
            "lsh/simhash.c",
            '#include "lsh/families.h"',
            '#include "lsh/families.h"\n#include "lsh/hash.h"\nvoid f(void) { slide_hash(0, 0, 0, 0, 0); }',
            "call each other in a circle",
        ),
        ("net/infer.c", " num_threads(net->n_threads)", "", "does not say num_threads"),
        ("parse/xmc.c", " num_threads(plan->n_threads)", "", "does not say num_threads"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, file: str, old: str, new: str, wanted: str) -> None:
    folder = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc", folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    assert wanted in said(folder)


def test_a_file_outside_the_rooms_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    (tmp_path / "csrc" / "loose.c").write_text("int slide_loose;\n")
    assert "loose.c: lies in no room" in said(tmp_path / "csrc")
