"""`ottla completion`: a script that teaches a shell the commands and flags of `ottla`."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from ottla.commands.base import EXIT_OK, Parser

_SHELLS: Final = ("bash", "zsh", "tcsh")

_EPILOG = """\
examples:
  eval "$(ottla completion bash)"                                       in this shell, or in ~/.bashrc for all
  ottla completion bash > ~/.local/share/bash-completion/completions/ottla
  ottla completion zsh > ~/.zfunc/_ottla                                with ~/.zfunc in fpath, before compinit
  ottla completion tcsh > ~/.ottla-completion.tcsh                      and source it from ~/.tcshrc
"""


def define(parser: Parser) -> None:
    """The flags of `ottla completion`."""
    parser.description = "Print a script that completes commands and flags of ottla in a shell."
    parser.epilog = _EPILOG
    parser.set_defaults(run=_run)
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help="bash, zsh or tcsh")


def _run(flags: argparse.Namespace) -> int:
    import shtab

    from ottla.cli import COMMANDS, root_parser

    sys.stdout.write(shtab.complete(root_parser(*COMMANDS), flags.shell) + "\n")
    return EXIT_OK
