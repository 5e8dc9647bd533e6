"""What every command rests on: its parser, its exit codes and its one error. Nothing that only one command needs.

A command's module has `define(parser)`, which gives the parser its flags and, by `set_defaults(run=...)`, the function
that takes the parsed flags and returns the exit code. Imported by `ottla serve` too: argparse and nothing more.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final, NoReturn

from ottla.broker.errors import UsageError

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, what a shell reports
EXIT_BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, what a shell reports of a program that writes to a closed pipe


class CommandError(Exception):
    """The command could not do what it was asked: one sentence that names the cause and the fix (exit code 1)."""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions as they are written, and room for the longest name of a command."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += 2  # argparse forgets by how much it indents commands


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage of everything; knows its commands by name.

    `default_verb` is put in where none is given: `ottla topics` is `ottla topics list`.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", _HelpFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)
        self.commands: dict[str, Parser] = {}
        self.default_verb: str | None = None
        self._below: argparse._SubParsersAction[Parser] | None = None
        self.set_defaults(parser=self)  # the innermost wins: that of the command which was asked for

    def add_command(
        self,
        name: str,
        *,
        help: str,  # noqa: A002
        run: Callable[[argparse.Namespace], int] | None = None,
        **options: Any,
    ) -> Parser:
        """A command below this one. `help` is its line in the help of this one; `options` go to its Parser."""
        if self._below is None:
            what = "commands" if self.prog == "ottla" else "verbs"
            self._below = self.add_subparsers(title=what, metavar=what[:-1].upper())
        options.setdefault("description", help[0].upper() + help[1:] + ".")
        command = self._below.add_parser(name, help=help, **options)
        if run is not None:
            command.set_defaults(run=run)
        self.commands[name] = command
        return command

    @property
    def arguments(self) -> str:
        """What may follow but flags, by the names in the help."""
        names = [str(action.metavar) for action in self._actions if not action.option_strings]
        return " and ".join(names)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help tells more)")
