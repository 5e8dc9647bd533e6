"""Errors that end a command or the start of a broker. Nothing that happens on the wire."""

from __future__ import annotations


class StartupError(Exception):
    """The broker cannot start; the text is one sentence that names the cause and the fix (exit code 1)."""


class UsageError(Exception):
    """The command line or the config file is wrong: one sentence that names the cause and the fix (exit code 2)."""
