"""python -m compat_tests.page RESULTS.json... [--write | --check]

Neither: the page, on stdout. --write: into docs/compatibility.md. --check: exit code 1, with a sentence for each thing
that is wrong, if the committed page says something else, a cell is red, or a test is missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from compat_tests.page.checking import disagreement, faults
from compat_tests.page.facts import facts
from compat_tests.page.tables import page
from compat_tests.page.told import read
from compat_tests.results import ROOT, tree


def main(arguments: list[str] | None = None, file: Path = ROOT / "docs" / "compatibility.md") -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m compat_tests.page", description="docs/compatibility.md")
    parser.add_argument("results", nargs="*", type=Path, help="what `pytest --results=FILE` wrote; the last one counts")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="write the page")
    what.add_argument("--check", action="store_true", help="exit code 1 if the page or a test is not as it should be")
    asked = parser.parse_args(arguments)
    absent = [str(one) for one in asked.results if not one.exists()]
    if absent or not asked.results:
        print(f"no results{' in ' if absent else ''}{', '.join(absent)}: make test test-long compat", file=sys.stderr)
        return 1
    told, known = read(asked.results), facts()
    wanted = page(told, known)
    said = faults(told, known, tree())
    if asked.check:
        said += disagreement(file.read_text("utf-8") if file.exists() else "", wanted)
    elif asked.write:
        file.write_text(wanted, "utf-8")
    else:
        print(wanted, end="")
    for each in said:
        print(each, file=sys.stderr)
    return int(bool(said) and asked.check)


if __name__ == "__main__":
    sys.exit(main())
