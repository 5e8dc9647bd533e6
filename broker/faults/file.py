"""The file of `ottla serve --faults`: a list of rules in YAML (or JSON, which is YAML), read before anybody can come.

PyYAML is imported here, so only by who has such a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ottla.broker.errors import UsageError
from ottla.broker.faults.rules import parse_rules

if TYPE_CHECKING:
    from ottla.broker.faults.rules import Rule

_MOST_BYTES = 1 << 20


def read_rules(path: str) -> list[Rule]:
    """The rules in a file. Raises UsageError: a sentence that names the line or the rule at fault."""
    said = f"--faults {path}"
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{said}: no such file; give the path of a YAML file with a list of rules") from None
    except OSError as error:
        raise UsageError(f"{said}: {error.strerror}; give a readable YAML file with a list of rules") from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{said}: more than {_MOST_BYTES} bytes are no list of rules; name another file")
    try:
        return parse_rules(_loaded(content, said))
    except ValueError as error:
        raise UsageError(f"{said}: {error}") from None


def _loaded(content: bytes, said: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise UsageError(f"{said}: reading YAML needs PyYAML; install it by `pip install 'ottla[yaml]'`") from None
    try:
        return yaml.safe_load(content)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{said}{where}: {error.problem or 'this is no YAML'}; rules begin with '- '") from None
    except (yaml.YAMLError, RecursionError):
        raise UsageError(f"{said}: this is no YAML text; write a list of rules, each beginning with '- '") from None
