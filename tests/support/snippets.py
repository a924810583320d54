"""Runs what documentation shows: its blocks of Python, one after another, and its lines that begin with `slide`."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path
from typing import Any

from slide.cli.main import main

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_page(page: Path, folder: Path) -> dict[str, Any]:
    """Runs a page in a folder where it may leave files; returns the variables that it leaves behind.

    A snippet that fails says where it stands in the page.
    """
    with contextlib.chdir(folder):
        return _run(page)


def _run(page: Path) -> dict[str, Any]:
    text = page.read_text()
    names: dict[str, Any] = {}
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        if language == "python":
            above = text[: block.start(2)].count("\n")
            exec(compile("\n" * above + code, str(page), "exec"), names)
        elif language == "sh":
            for line in code.splitlines():
                assert line.startswith("slide "), line
                assert main(shlex.split(line)[1:]) == 0, line
    return names
