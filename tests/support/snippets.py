"""Runs what documentation shows: its blocks of Python, one after another, and its lines that begin with `slide`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from slide.cli.main import main

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_page(page: Path) -> dict[str, Any]:
    """The variables that the page leaves behind; a snippet that fails says where it stands in the page."""
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
