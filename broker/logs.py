"""The log that a person reads on stderr, and the ready line. One line an event, with named fields; text or JSON.

A writer of our own: stdlib logging costs 18 ms of cpu at start, formats before it escapes, and would still need all of
this. Nothing that a client sent can break out of its field: control characters, newlines and bidirectional marks are
escaped, long values cut. What is worth an event is decided where it happens.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, TextIO

from ottla.log.clock import Clock, SystemClock

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FORMATS: Final = ("text", "json")
MAX_VALUE_CHARS: Final = 500
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}


class Log:
    """Writes events to `stream`: `log.info("member joined", group=group, member=member_id)`.

    `format` is "text" or "json" (one object a line: ts, level, event, the fields), `level` the lowest that is written.
    A stream that is full or closed loses events; it never fails the caller.
    """

    __slots__ = ("_clock", "_json", "_last_second", "_last_second_text", "_stream", "_threshold")

    def __init__(self, stream: TextIO, format: str = "text", clock: Clock | None = None, level: str = "info") -> None:  # noqa: A002
        self._stream = stream
        self._json = format == "json"
        self._clock = clock or SystemClock()
        self._threshold = LEVELS[level]
        self._last_second = -1
        self._last_second_text = ""

    @property
    def level(self) -> str:
        """The lowest level that is written."""
        return next(name for name, number in LEVELS.items() if number == self._threshold)

    @level.setter
    def level(self, level: str) -> None:
        self._threshold = LEVELS[level]

    def debug(self, event: str, /, **fields: object) -> None:
        if self._threshold <= 10:
            self._write("debug", event, fields, None)

    def info(self, event: str, /, **fields: object) -> None:
        if self._threshold <= 20:
            self._write("info", event, fields, None)

    def warning(self, event: str, /, **fields: object) -> None:
        if self._threshold <= 30:
            self._write("warning", event, fields, None)

    def error(self, event: str, error: BaseException | None = None, /, **fields: object) -> None:
        """`error` is written with its traceback: after the line, each line marked, or as a field in JSON."""
        self._write("error", event, fields, error)

    def _write(self, level: str, event: str, fields: Mapping[str, object], error: BaseException | None) -> None:
        render = _json_line if self._json else _text_line
        try:
            self._stream.write(render(self._now(), level, event, fields, error) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # the reader is gone; the broker is not
            pass

    def _now(self) -> str:
        """UTC with milliseconds, ISO 8601."""
        second, ms = divmod(self._clock.wall_ms(), 1000)
        if second != self._last_second:
            self._last_second = second
            self._last_second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._last_second_text}.{ms:03}Z"


def ready_line(
    bootstrap: str,
    data_dir: str,
    version: str,
    elapsed_ms: int,
    format: str = "text",  # noqa: A002
    *,
    control: str | None = None,
) -> str:
    """The one line on stdout that says that clients may come. `bootstrap` is what they put into bootstrap.servers,
    `control` the URL of the control surface if there is one.
    """
    if format == "json":
        import json

        facts = {"event": "ready", "bootstrap": bootstrap, "data": data_dir, "version": version, "start_ms": elapsed_ms}
        return json.dumps(facts | ({} if control is None else {"control": control}))
    surface = "" if control is None else f" control={control}"
    return f"Ottla {version} ready: bootstrap={bootstrap} data={quoted(data_dir)} start_ms={elapsed_ms}{surface}"


def one_line(text: str) -> str:
    """`text` with everything escaped that is not printable."""
    return text if text.isprintable() else "".join(_escaped(char) for char in text)


def quoted(text: str) -> str:
    """`text` as it stands if it is one plain word, else in double quotes with escapes; cut after MAX_VALUE_CHARS."""
    if len(text) > MAX_VALUE_CHARS:
        return f"{quoted(text[:MAX_VALUE_CHARS])}...({len(text)} characters)"
    if text and text.isprintable() and not any(char in text for char in ' "=\\'):
        return text
    return '"' + "".join(_ESCAPES.get(char) or _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _value_text(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return quoted(bytes(value).hex())
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return quoted(",".join(str(item) for item in value))
    return quoted(str(value))


def _text_line(now: str, level: str, event: str, fields: Mapping[str, object], error: BaseException | None) -> str:
    line = f"{now} {level.upper():7} {one_line(event)}"
    for name, value in fields.items():
        if value is not None:
            line += f" {name}={_value_text(value)}"
    if error is not None:
        line += f" error={quoted(_describe(error))}"
        for trace_line in _traceback(error).splitlines():
            line += f"\n  | {one_line(trace_line)}"
    return line


def _json_line(now: str, level: str, event: str, fields: Mapping[str, object], error: BaseException | None) -> str:
    import json

    entry: dict[str, object] = {"ts": now, "level": level, "event": event}
    for name, value in fields.items():
        if value is not None:
            entry[name] = _json_value(value)
    if error is not None:
        entry["error"] = _describe(error)
        entry["traceback"] = _traceback(error)
    return json.dumps(entry, default=str)  # ASCII: whatever is not, is escaped


def _json_value(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value).hex()
    text = str(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}...({len(text)} characters)"


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _traceback(error: BaseException) -> str:
    if error.__traceback__ is None:
        return ""
    import traceback

    return "".join(traceback.format_exception(error))
