"""`python -m ottla.testing -- CMD`: a broker for as long as a command runs, for tests in any language.

The command finds it by KAFKA_BOOTSTRAP_SERVERS, and with --control its surface by OTTLA_CONTROL. Signals are the
command's, and so is the exit code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from ottla.broker.errors import StartupError, UsageError
from ottla.commands.base import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Parser
from ottla.log.data_folder import StoreError

if TYPE_CHECKING:
    from ottla.testing.broker import Broker

EXIT_NOT_EXECUTABLE: Final = 126
EXIT_NOT_FOUND: Final = 127
EXIT_SIGNALLED: Final = 128  # and the number, as shells have it
PROGRAM: Final = "python -m ottla.testing"
_PASSED_ON: Final = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_EPILOG: Final = f"""\
The command finds the broker by the variable KAFKA_BOOTSTRAP_SERVERS, and with --control its control surface by
OTTLA_CONTROL, where POST /v1/brokers starts further brokers, one for each test.

examples:
  {PROGRAM} -- pytest
  {PROGRAM} --topic orders:6 --topic audit:1:cleanup.policy=compact -- npm test
  {PROGRAM} --nodes 3 --set min.insync.replicas=2 --control -- go test ./...

Exits with the command's own code; with {EXIT_NOT_FOUND} if there is no such command; with {EXIT_SIGNALLED} and its
number if a signal ended it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    split = given.index("--") if "--" in given else len(given)
    try:
        flags = _parser().parse_args(given[:split])
        command = given[split + 1 :]
        if not command:
            raise UsageError(f"there is no command to run; give it behind --, as in {PROGRAM} -- pytest")
        broker = _broker(flags)
        with _signals() as pass_on, broker:
            return _run(command, broker, pass_on)
    except SystemExit as done:  # --help
        return int(done.code or EXIT_OK)
    except (UsageError, ValueError) as error:
        return _refused(str(error), EXIT_USAGE)
    except (StartupError, StoreError, OSError) as error:
        return _refused(str(error), EXIT_FAILED)


def _refused(sentence: str, code: int) -> int:
    print(f"{PROGRAM}: {sentence}", file=sys.stderr)
    return code


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [FLAGS] -- COMMAND [ARGUMENTS]",
        description="Runs a command with a broker of its own, which is gone without a trace when the command ends.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="NAME[:PARTITIONS[:KEY=VALUE,...]]",
        help="a topic that is there from the start; may be repeated",
    )
    parser.add_argument("--nodes", type=_count, default=1, metavar="N", help="a cluster of N nodes (default: 1)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a broker setting, by Kafka's name; may be repeated",
    )
    parser.add_argument("--control", action="store_true", help="a control surface (HTTP), for tests in other languages")
    parser.add_argument("--data", metavar="DIR", help="keep the data there (default: nothing is kept)")
    parser.add_argument(
        "--log-level",
        default="warning",
        choices=("debug", "info", "warning", "error"),
        help="what the broker says on stderr (default: warning)",
    )
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 100:
        raise UsageError(f"--nodes {text}: give a number from 1 to 100")
    return int(text)


def _broker(flags: Any) -> Broker:
    """Raises UsageError, ValueError."""
    from ottla.testing.broker import Broker
    from ottla.testing.settings import parse_settings

    return Broker(
        nodes=flags.nodes,
        topics=flags.topic,
        settings=parse_settings(flags.set, "--set"),
        data=flags.data,
        log=sys.stderr,
        log_level=flags.log_level,
        control=flags.control,
    )


PassOn = Callable[[subprocess.Popen[bytes]], None]


@contextmanager
def _signals() -> Iterator[PassOn]:
    """Inside, signals end nothing here: they go to the process that is given, also those that came before it was."""
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and _is_in_front():
            return  # Ctrl-C: the terminal has told the command, too
        if process is None:
            early.append(number)
        else:
            with suppress(OSError):  # it has just ended
                process.send_signal(number)

    def pass_on(to: subprocess.Popen[bytes]) -> None:
        nonlocal process
        process = to
        for number in early:
            to.send_signal(number)

    before = {number: signal.signal(number, handle) for number in _PASSED_ON}
    try:
        yield pass_on
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_in_front() -> bool:
    """Whether the terminal's Ctrl-C goes to the process group that we share with the command."""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (OSError, AttributeError):  # no terminal; Windows
        return os.name != "posix"


def _run(command: Sequence[str], broker: Broker, pass_on: PassOn) -> int:
    env = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}
    env.pop("OTTLA_CONTROL", None)
    if broker.has_control:
        env["OTTLA_CONTROL"] = broker.control_url
    try:
        process = subprocess.Popen(command, env=env)
    except FileNotFoundError:
        return _refused(f"there is no command {command[0]!r}", EXIT_NOT_FOUND)
    except OSError as error:
        return _refused(f"{command[0]!r} cannot be run: {error.strerror}", EXIT_NOT_EXECUTABLE)
    pass_on(process)
    code = process.wait()
    return code if code >= 0 else EXIT_SIGNALLED - code


if __name__ == "__main__":
    sys.exit(main())
