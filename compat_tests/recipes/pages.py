"""What a page of docs/ consists of: files. A block of code whose first line names one, as in ```python test_it.py, is
that file; others are only shown. Pure text: who runs the files is test_recipes.py.
"""

from __future__ import annotations

import re
from pathlib import Path

_BLOCK = re.compile(r"^```(?P<language>\w+) +(?P<name>[\w.-]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^```console\n\$ (?P<line>.*)\n```$", re.MULTILINE)


def files(page: Path) -> dict[str, str]:
    """Name -> text, in the order of the page. Raises AssertionError: a name stands there twice."""
    found: dict[str, str] = {}
    for block in _BLOCK.finditer(page.read_text()):
        name = block["name"]
        assert name not in found, f"{page.name} has two files {name}"
        found[name] = block["text"]
    return found


def command(page: Path) -> list[str]:
    """The words of the first command that the page shows."""
    shown = _COMMAND.search(page.read_text())
    assert shown is not None, f"{page.name} shows no command"
    return shown["line"].split()
