"""The parent's handle of a driver process. It notes what it asked for and what it was told, in a `History`: a driver
that is killed takes no knowledge with it.
"""

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Self

from compat_tests.drivers import driver, flags, has_driver
from compat_tests.harness import DEADLINE_S, ROOT
from compat_tests.transactions.driver import STEP_TIMEOUT_S, DriverConfig, StepError

ANSWER_TIMEOUT_S = 2 * STEP_TIMEOUT_S
Taken = tuple[int, int, str]
"""(partition, offset, value)."""


class DiedError(Exception):
    """The driver was killed, or ended, before it answered."""


class Worker:
    """One driver process."""

    def __init__(self, client: str, config: DriverConfig) -> None:
        self.config = config
        if has_driver(client):
            command = [*driver(client), "steps"]
        else:
            command = [sys.executable, "-m", "compat_tests.transactions.run_driver", client]
        self._process = subprocess.Popen(
            [*command, *flags({name: value for name, value in asdict(config).items() if value != ""})],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, step: str, *words: object) -> Any:
        """Does one step. Raises StepError, or DiedError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(" ".join(map(str, (step, *words))) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise DiedError(step) from error
        while True:
            try:
                line = self._answers.get(timeout=ANSWER_TIMEOUT_S)
            except queue.Empty:
                self.kill()  # it hangs: what it did is unknown, as if it had crashed
                raise StepError("NoAnswer", fatal=True) from None
            if not line:
                raise DiedError(step)
            _, event, value = json.loads(line)
            if event == "done":
                return value
            if event == "error":
                name, abort, fatal = value
                raise StepError(name, abort=abort, fatal=fatal)

    def send(self, records: Iterable[tuple[str, int, str]]) -> list[int]:
        """The offsets of the records, all acknowledged."""
        offsets: list[int] = self.ask("send", *(word for record in records for word in record))
        return offsets

    def take(self, timeout_ms: int) -> list[Taken]:
        """The group's next records, or none within the time."""
        return [(partition, offset, value) for partition, offset, value in self.ask("take", timeout_ms)]

    def read(self, topic: str, partitions: Sequence[int], end: str, isolation: str = "read_committed") -> list[Taken]:
        """All records up to each partition's one with the value `end`, which is left out."""
        found = self.ask("read", topic, isolation, end, *partitions)
        return [(partition, offset, value) for partition, offset, value in found if value != end]

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def pause(self) -> None:
        """SIGSTOP: no heartbeat leaves it any more."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it does not know that time has passed."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """A clean end, or SIGKILL if it takes too long."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(DEADLINE_S)
        except (OSError, subprocess.TimeoutExpired):
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # else a kill cut it off
                self._answers.put(line)
        self._answers.put("")
        self._process.stdout.close()
