"""An application of a framework as a process: it tells what it does as JSON lines [name, value] on standard output,
takes commands on standard input, a line each, and ends cleanly when that ends. What it tells is its test module's
affair.
"""

import json
import subprocess
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from compat_tests.harness import DEADLINE_S, ROOT

_STDERR_SHOWN = 4_000  # characters of what it complained of


class App:
    """The process, and what it told."""

    def __init__(self, *command: str) -> None:
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True
        )
        self._events: list[tuple[str, Any]] = []
        self._ended = False
        self._changed = threading.Condition()  # its lock may be taken again by the conditions
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def events(self) -> list[tuple[str, Any]]:
        """All that it told so far."""
        with self._changed:
            return [*self._events]

    def told(self, name: str) -> list[Any]:
        """The values of the events of one name."""
        return [value for one, value in self.events() if one == name]

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Looks at the condition after each event."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or condition(), DEADLINE_S)
            assert condition(), f"not {what}: {self._events[-20:]}\n{self._complaints()}"

    def do(self, *words: object) -> None:
        """A command."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._end()

    def stop(self) -> None:
        """A clean end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._end()
        assert self._process.returncode == 0, self._complaints()

    def close(self) -> None:
        """Whatever became of it."""
        if self._process.poll() is None:
            self.kill()
        self._stderr.close()

    def _end(self) -> None:
        self._process.wait(DEADLINE_S)
        self._thread.join(DEADLINE_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # else a kill cut it off
                with self._changed:
                    self._events.append(tuple(json.loads(line)))
                    self._changed.notify_all()
        self._process.stdout.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _complaints(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()[-_STDERR_SHOWN:]
