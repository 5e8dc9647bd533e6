"""`ottla log dump` and `ottla log check`: their flags, what they print, and their exit codes.

What is in the files is read in log/dump.py, what is wrong with a folder found in log/check.py; both are imported when a
command runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from ottla.broker.errors import StartupError, UsageError
from ottla.broker.logs import one_line, quoted
from ottla.log.clock import Clock, SystemClock

if TYPE_CHECKING:
    from ottla.log.check import Finding

EXIT_OK = 0
EXIT_DAMAGED = 1
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, what a shell reports of a program that writes to a closed pipe

_DUMP_DESCRIPTION = """\
Show what is in files of a data folder, Ottla's or Kafka's: segments (.log), their indexes (.index, .timeindex,
.txnindex), producer snapshots (.snapshot), checkpoints and properties. Nothing is changed.
"""

_DUMP_EPILOG = """\
examples:
  ottla log dump ottla-data/orders-0/*.log                    a line for each batch
  ottla log dump --records ottla-data/orders-0/*.log          and one for each record
  ottla log dump --verify ottla-data/orders-0/*               is every checksum and index entry right?
  ottla log dump --records --json ottla-data/__consumer_offsets-*/*.log
      the groups' records decoded, a JSON object a line

exit codes: 0 all is well, 1 something in a file is damaged or cannot be read, 2 wrong flags or no such file.
"""

_CHECK_DESCRIPTION = """\
Verify a whole data folder, Ottla's or Kafka's: every batch's checksum, the segments one after another, indexes,
snapshots, checkpoints, and the folders against the metadata log. Without --repair nothing is changed.
"""

_CHECK_EPILOG = """\
--repair does what a start after a crash does, for the whole folder: damaged batches are dropped, undamaged ones stay,
and whatever can be made anew from the batches is. Offsets that are lost are not used again. Make a copy first.

examples:
  ottla log check ottla-data
  ottla log check --repair ottla-data

exit codes: 0 no damage (any more), 1 damage or a folder that cannot be read, 2 wrong flags or no such folder.
"""


def add_commands(log: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Give the parser of `ottla log` its two commands; returns their parsers by name."""
    raw = argparse.RawDescriptionHelpFormatter
    commands = log.add_subparsers(title="commands", dest="log_command", metavar="COMMAND")
    dump = commands.add_parser(
        "dump",
        help="show what is in files",
        description=_DUMP_DESCRIPTION,
        epilog=_DUMP_EPILOG,
        formatter_class=raw,
        allow_abbrev=False,
    )
    dump.add_argument("files", metavar="FILE", nargs="+", help="a file of a data folder")
    dump.add_argument("--records", action="store_true", help="show the records in the batches too")
    dump.add_argument(
        "--verify", action="store_true", help="check checksums and records, and indexes against the log beside them"
    )
    dump.add_argument("--json", action="store_true", help="print a JSON object a line")
    dump.add_argument(
        "--as",
        dest="family",
        choices=("offsets", "transactions", "metadata", "share"),
        help="decode records as those of __consumer_offsets, __transaction_state, __cluster_metadata or"
        " __share_group_state (default: by the folder's name)",
    )
    check = commands.add_parser(
        "check",
        help="verify a data folder, and repair it",
        description=_CHECK_DESCRIPTION,
        epilog=_CHECK_EPILOG,
        formatter_class=raw,
        allow_abbrev=False,
    )
    check.add_argument("folder", metavar="DIR", help="the data folder, as in ottla serve --data DIR")
    check.add_argument("--repair", action="store_true", help="mend what is damaged; no broker may run on the folder")
    check.add_argument("--json", action="store_true", help="print a JSON object a line")
    return {"log dump": dump, "log check": check}


def run(flags: argparse.Namespace) -> int:
    """Run `ottla log dump` or `ottla log check`; returns the exit code.

    Raises UsageError, StartupError: the text is one sentence.
    """
    command = run_dump if flags.log_command == "dump" else run_check
    try:
        code = command(flags, sys.stdout, SystemClock())
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has seen enough
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere
        return EXIT_BROKEN_PIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise StartupError(f"{where}{error.strerror or error}") from error


# --- dump


def run_dump(flags: argparse.Namespace, out: TextIO, clock: Clock) -> int:
    """`ottla log dump`."""
    from ottla.log.dump import DumpError, describe

    for path in flags.files:
        if not os.path.isfile(path):
            what = "is a folder; name the files in it" if os.path.isdir(path) else "no such file"
            raise UsageError(f"{path}: {what}")
    quiet = out.isatty()  # lines and a bar do not go together
    progress = Progress(sys.stderr, sum(map(os.path.getsize, flags.files)), clock, quiet=quiet)
    write = _json_writer(out) if flags.json else _text_writer(out)
    code = EXIT_OK
    try:
        for path in flags.files:
            facts = describe(
                path, records=flags.records, verify=flags.verify, family=flags.family, advance=progress.advance
            )
            for fact in facts:
                if fact["kind"] == "problem":
                    code = EXIT_DAMAGED
                write(fact)
    except DumpError as error:
        raise UsageError(str(error)) from error
    finally:
        progress.clear()
    return code


def _json_writer(out: TextIO) -> Callable[[dict[str, Any]], None]:
    """Bytes that are no UTF-8 are written as `name_hex` instead of `name`."""
    import json

    encode = json.JSONEncoder(ensure_ascii=False).encode

    def write(fact: dict[str, Any]) -> None:
        out.write(encode(_json_ready(fact)) + "\n")

    return write


def _json_ready(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_ready(item) for item in value]
    if not isinstance(value, dict):
        return value.hex() if isinstance(value, bytes) else _escaped_text(value) if isinstance(value, str) else value
    ready = {}
    for name, item in value.items():
        if isinstance(item, bytes):
            try:
                ready[name] = item.decode()
            except UnicodeDecodeError:
                ready[f"{name}_hex"] = item.hex()
        else:
            ready[name] = _json_ready(item)
    return ready


def _escaped_text(text: str) -> str:
    """Header names that are no UTF-8 carry their bytes as surrogates, which cannot be printed."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _text_writer(out: TextIO) -> Callable[[dict[str, Any]], None]:
    def write(fact: dict[str, Any]) -> None:
        out.write(text_line(fact) + "\n")

    return write


def text_line(fact: dict[str, Any]) -> str:
    """A fact of log/dump.py as a person reads it."""
    kind = fact["kind"]
    if kind == "file":
        rest = {name: value for name, value in fact.items() if name not in ("kind", "path", "type")}
        return f"{one_line(fact['path'])}: {fact['type']} {_fields(rest)}"
    if kind == "batch":
        return "batch " + _batch_fields(fact)
    if kind == "problem":
        where = f"entry {fact['entry']} " if fact.get("entry", -1) >= 0 else ""
        where = f"at byte {fact['position']}: " if "position" in fact else where
        return f"  DAMAGED {where}{one_line(fact['text'])}"
    if kind == "property":
        return f"  {one_line(str(fact['name']))}={one_line(str(fact['value']))}"
    if kind == "total":
        counts = [_count(count, _SINGULAR[name]) for name, count in fact.items() if name != "kind"]
        return f"total {', '.join(counts)}"
    rest = {name: value for name, value in fact.items() if name != "kind"}
    if kind == "record":
        rest["headers"] = [f"{h['key']}={_text(h['value'])}" for h in fact.get("headers", ())] or None
        rest |= {name: "null" for name in ("key", "value") if name in fact and fact[name] is None}
        return "  record " + _fields(rest)
    return "  " + _fields(rest)


_SINGULAR = {
    "batches": ("batch", "batches"),
    "records": ("record", "records"),
    "entries": ("entry", "entries"),
    "properties": ("property", "properties"),
    "problems": ("problem", "problems"),
    "partitions": ("partition", "partitions"),
    "segments": ("segment", "segments"),
    "bytes": ("byte", "bytes"),
}


def _count(number: int, word: tuple[str, str]) -> str:
    return f"{number or 'no'} {word[number != 1]}"


def _batch_fields(fact: dict[str, Any]) -> str:
    """Without what is as if unset."""
    shown = {"offsets": f"{fact['base_offset']}..{fact['last_offset']}"}
    for name, value in fact.items():
        if name in ("kind", "base_offset", "last_offset", "crc_valid") or value is False:
            continue
        if (
            name in ("producer_id", "producer_epoch", "base_sequence", "last_sequence", "base_timestamp_ms")
            and value == -1
        ):
            continue
        shown[name] = value
    return _fields(shown)


def _fields(fields: dict[str, Any]) -> str:
    """`name=value` words; times as UTC, without the `_ms` of the name."""
    words = []
    for name, value in fields.items():
        if value is None:
            continue
        if name.endswith("_ms") and isinstance(value, int):
            words.append(f"{name.removesuffix('_ms')}={_time(value)}")
        elif value is True:
            words.append(name)
        else:
            words.append(f"{name}={_text(value)}")
    return " ".join(words)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return quoted(value.decode())
        except UnicodeDecodeError:
            return quoted("0x" + value.hex())
    if isinstance(value, dict):
        return "{" + " ".join(f"{name}={_text(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return "null" if value is None else quoted(_escaped_text(str(value)))


def _time(wall_ms: int) -> str:
    """UTC with milliseconds; the bare number where there is no such date."""
    second, ms = divmod(wall_ms, 1000)
    if not 0 <= second < 253_402_300_800:  # the year 10000
        return str(wall_ms)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{ms:03}Z"


# --- check


def run_check(flags: argparse.Namespace, out: TextIO, clock: Clock) -> int:
    """`ottla log check`."""
    from ottla.log.check import check, lock, repair
    from ottla.log.data_folder import StoreError
    from ottla.log.ids import Ids
    from ottla.log.lock import FolderLockedError
    from ottla.wire.errors import KafkaError

    path = os.path.abspath(flags.folder)
    if not os.path.isdir(path):
        raise UsageError(f"{flags.folder}: no such folder; give the data folder of a broker")
    report = _Report(path, out, clock, as_json=flags.json)
    held = None
    try:
        try:
            held = lock(path, create=flags.repair)
        except FolderLockedError as error:
            holder = f"process {error.pid}" if error.pid is not None else "another process"
            if flags.repair:
                raise StartupError(f"{path} is in use by {holder}; stop it, then repair") from error
            report.note(f"in use by {holder}: what it has not written yet cannot be checked")
            damages = report.show(check(path, report.counts, in_use=True, advance=report.advance))
        else:
            damages = report.show(check(path, report.counts, advance=report.advance))
        if damages and flags.repair:
            for sentence in repair(path, damages, clock=clock, ids=Ids()):
                report.repaired(sentence)
            report.again()
            damages = report.show(check(path, report.counts, advance=report.advance))
    except (StoreError, KafkaError) as error:
        raise StartupError(str(error)) from error
    finally:
        report.progress.clear()
        if held is not None:
            held.release()
    report.summary(may_repair=not flags.repair)
    return EXIT_DAMAGED if damages else EXIT_OK


class _Report:
    """Prints findings as they come, and the summary."""

    def __init__(self, path: str, out: TextIO, clock: Clock, *, as_json: bool) -> None:
        self._path = path
        self._out = out
        self._clock = clock
        self._write = _json_writer(out) if as_json else None
        self.again()

    def again(self) -> None:
        """Another check begins."""
        from ottla.log.check import Counts, log_bytes

        self.counts = Counts()
        self.progress = Progress(sys.stderr, log_bytes(self._path), self._clock)
        self.advance = self.progress.advance

    def _say(self, kind: str, text: str, **facts: object) -> None:
        self.progress.clear()
        if self._write is not None:
            self._write({"kind": kind, **facts, "text": text})
        else:
            where = f"{facts['path']}: " if facts.get("path", ".") != "." else ""
            self._out.write(f"{kind:7} {one_line(where + text)}\n")

    def show(self, findings: Iterator[Finding]) -> list[Finding]:
        """Print them; returns those that are damage."""
        damages = []
        for finding in findings:
            self._say("damage" if finding.damage else "note", finding.text, path=finding.path)
            if finding.damage:
                damages.append(finding)
        return damages

    def note(self, text: str) -> None:
        self._say("note", text, path=".")

    def repaired(self, text: str) -> None:
        self._say("repair", text.replace(self._path + os.sep, ""))

    def summary(self, *, may_repair: bool) -> None:
        """The last line."""
        counts = self.counts
        numbers = {name: getattr(counts, name) for name in counts.__slots__}
        places = _count(counts.damages, ("place", "places"))
        verdict = f"damage at {places}" if counts.damages else "no damage"
        seen = [_count(numbers[name], _SINGULAR[name]) for name in ("partitions", "segments", "batches", "bytes")]
        hint = "; ottla log check --repair keeps all that is good" if counts.damages and may_repair else ""
        if self._write is not None:
            self._write({"kind": "total", "path": self._path, **numbers})
        else:
            self._out.write(f"{one_line(self._path)}: {verdict} in {', '.join(seen)}{hint}\n")


# --- progress


class Progress:
    """A bar on a terminal, for work that takes more than a second. `total` and what `advance` is told are bytes."""

    _PATIENCE_MS = 1000
    _INTERVAL_MS = 100
    _WIDTH = 30

    def __init__(self, stream: TextIO, total: int, clock: Clock, *, quiet: bool = False) -> None:
        self._stream = stream if stream.isatty() and not quiet else None
        self._total = max(total, 1)
        self._clock = clock
        self._done = 0
        self._next_ms = clock.mono_ms() + self._PATIENCE_MS
        self._shown = 0

    def advance(self, nbytes: int) -> None:
        """So much more is done."""
        self._done += nbytes
        if self._stream is None or self._clock.mono_ms() < self._next_ms:
            return
        self._next_ms = self._clock.mono_ms() + self._INTERVAL_MS
        share = min(self._done / self._total, 1.0)
        bar = "#" * int(share * self._WIDTH)
        line = f"[{bar:.<{self._WIDTH}}] {share:4.0%} of {self._total / 2**20:.0f} MiB"
        self._stream.write("\r" + line.ljust(self._shown))
        self._stream.flush()
        self._shown = len(line)

    def clear(self) -> None:
        """Leave the line empty, for others to write."""
        if self._stream is not None and self._shown:
            self._stream.write("\r" + " " * self._shown + "\r")
            self._stream.flush()
            self._shown = 0
