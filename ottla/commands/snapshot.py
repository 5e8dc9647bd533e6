"""`ottla snapshot`: all that a broker has in one file, saved, listed, loaded into a data folder, removed.

With --control a running broker saves what it has, where it keeps snapshots; without, files and folders of this machine
are meant.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from ottla.broker.options import DEFAULT_DATA_DIR
from ottla.commands.base import EXIT_FAILED, EXIT_OK, CommandError, Parser
from ottla.commands.control import VARIABLE, Control, add_flag
from ottla.commands.output import Output

_EPILOG = """\
Snapshots are kept in the folder of --dir, else of $OTTLA_SNAPSHOTS, else in ./ottla-snapshots. They are tar files
(NAME.tar.zst): copy them, commit them, load them on another machine.

examples:
  ottla snapshot save seed                       the data folder ./ottla-data, which no broker uses just now
  ottla snapshot save seed --control 9990        what a running broker has now, while it goes on
  ottla serve --ephemeral --snapshot seed        a broker that begins with it, and keeps nothing
  ottla snapshot load seed --data ./data         a data folder with it, for `ottla serve --data ./data`
  ottla snapshot list
"""


def define(parser: Parser) -> None:
    """The verbs of `ottla snapshot`."""
    parser.description = (
        "Save all that a broker has (records, topics, groups, transactions) to a file; begin with it again."
    )
    parser.epilog = _EPILOG
    parser.default_verb = "list"
    save = _verb(parser, "save", _save, "save a data folder, or what a running broker has")
    save.add_argument("name", metavar="NAME", help="what it is called from now on")
    save.add_argument(
        "--data", metavar="DIR", help=f"the data folder, of a broker that has stopped ({DEFAULT_DATA_DIR})"
    )
    add_flag(save)
    save.add_argument("--replace", action="store_true", help="replace the snapshot of that name")
    load = _verb(parser, "load", _load, "make a data folder of a snapshot")
    load.add_argument("name", metavar="NAME|FILE", help="a snapshot's name, or its path")
    load.add_argument("--data", metavar="DIR", help=f"a folder that is empty or not there yet ({DEFAULT_DATA_DIR})")
    listing = _verb(parser, "list", _list, "show the snapshots")
    add_flag(listing)
    remove = _verb(parser, "rm", _remove, "remove a snapshot")
    remove.add_argument("name", metavar="NAME", help="which one")
    add_flag(remove)


def _verb(parser: Parser, name: str, run: Any, line: str) -> Parser:
    verb = parser.add_command(name, help=line, run=run)
    verb.add_argument("--dir", metavar="DIR", help="folder of the snapshots (default: $OTTLA_SNAPSHOTS)")
    verb.add_argument("--json", action="store_true", help="print one JSON document")
    return verb


def _save(flags: argparse.Namespace) -> int:
    from ottla.broker.snapshots import described, in_short, save_folder
    from ottla.log.clock import SystemClock

    if _asks_a_broker(flags):
        body = {"name": flags.name, "replace": True} if flags.replace else {"name": flags.name}
        return _show(flags, [in_short(Control(flags).post("snapshots", body=body))])
    with _sentences():
        path, manifest = save_folder(
            flags.data or DEFAULT_DATA_DIR, flags.name, SystemClock().wall_ms(), folder=flags.dir, replace=flags.replace
        )
        return _show(flags, [in_short(described(flags.name, path, manifest))])


def _load(flags: argparse.Namespace) -> int:
    from ottla.log.snapshot import find, unpack

    folder = flags.data or DEFAULT_DATA_DIR
    with _sentences():
        manifest = unpack(find(flags.name, flags.dir), folder)
    out = Output.of(flags)
    if out.json:
        out.document({"data": os.path.abspath(folder), "bytes": manifest.size_bytes, **manifest.facts})
    else:
        out.table(["data", "topics", "bytes"], [[folder, len(manifest.facts["topics"]), manifest.size_bytes]])
    return EXIT_OK


def _list(flags: argparse.Namespace) -> int:
    if _asks_a_broker(flags):
        return _show(flags, Control(flags).get("snapshots")["snapshots"])
    from ottla.broker.snapshots import saved

    with _sentences():
        return _show(flags, saved(flags.dir))


def _remove(flags: argparse.Namespace) -> int:
    if _asks_a_broker(flags):
        Control(flags).delete("snapshots", flags.name)
        return EXIT_OK
    from ottla.log.snapshot import find, place_of

    with _sentences():
        place_of(flags.name)  # by its name only
        os.unlink(find(flags.name, flags.dir))
    return EXIT_OK


def _asks_a_broker(flags: argparse.Namespace) -> bool:
    """--data and --dir are folders of this machine."""
    if flags.control and (flags.dir or getattr(flags, "data", None)):
        raise CommandError("--control asks a broker, which has its own folders; give it without --data and --dir")
    here = flags.dir or getattr(flags, "data", None)
    return bool(flags.control or (os.environ.get(VARIABLE) and not here))


@contextmanager
def _sentences() -> Iterator[None]:
    """What goes wrong, as CommandError."""
    from ottla.log.snapshot import SnapshotError

    try:
        yield
    except SnapshotError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(
            f"{error.filename or 'the snapshot'}: {error.strerror}; fix that, or give another folder"
        ) from None


def _show(flags: argparse.Namespace, snapshots: list[dict[str, Any]]) -> int:
    out = Output.of(flags)
    if out.json:
        out.document({"snapshots": snapshots})
    else:
        columns = ["name", "saved", "topics", "records", "groups", "bytes", "file"]
        out.table(columns, [_row(one) for one in snapshots])
    return EXIT_FAILED if any("error" in one for one in snapshots) else EXIT_OK


def _row(one: dict[str, Any]) -> list[Any]:
    if "error" in one:
        return [one["name"], None, None, None, None, None, one["error"]]
    saved = datetime.fromtimestamp(one["saved_ms"] / 1000).astimezone().isoformat(" ", "seconds")
    return [one["name"], saved, len(one["topics"]), one["records"], len(one["groups"]), one["bytes"], one["path"]]
