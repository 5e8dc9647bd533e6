"""The `ottla` command, also as `python -m ottla`. What it takes lives in cli.py."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return its exit code."""
    # Imported here so that the ready line counts what these imports take.
    from ottla.log.clock import SystemClock

    started_ms = SystemClock().mono_ms()
    from ottla.cli import run

    return run(sys.argv[1:] if argv is None else argv, started_ms=started_ms)


if __name__ == "__main__":
    sys.exit(main())
