"""Many runs of Kafka's command line tools in one JVM (ToolShell.java): a few milliseconds each, not a second."""

import base64
import os
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple, Self

from compat_tests.java_tools import verbs

_JAVA = Path(__file__).with_name("ToolShell.java")
_DEADLINE_S = 540  # the first run fetches Kafka's jars
_PACKAGES = {
    "ConfigCommand": "kafka.admin",
    "ConsoleConsumer": "org.apache.kafka.tools.consumer",
    "ReassignPartitionsCommand": "org.apache.kafka.tools.reassign",
}
_FIRST = ("FeatureCommand", "MetadataQuorumCommand")  # --bootstrap-server stands before their verb


class Said(NamedTuple):
    """How a tool ended: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout that are not blank, without blanks around them."""
        return [line.strip() for line in self.out.splitlines() if line.strip()]


class ToolShell:
    """The tools on one broker. `script` runs a class on Kafka's class path (tool.sh)."""

    def __init__(self, script: Path, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._process = subprocess.Popen(
            ["bash", str(script), str(_JAVA)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "FAST": "1"},
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()

    def __call__(self, name: str, *arguments: str, stdin: str = "") -> str:
        """Runs a tool on the broker and gives its output; it must end with exit code 0."""
        said = self.ask(name, *arguments, stdin=stdin)
        assert said.code == 0, f"{name} {' '.join(arguments)}\n{said.out}{said.err}"
        return said.out

    def ask(self, name: str, *arguments: str, stdin: str = "") -> Said:
        """Runs a tool on the broker, whatever comes of it."""
        where = ("--bootstrap-server", self.bootstrap)
        return self.run(name, *((*where, *arguments) if name in _FIRST else (*arguments, *where)), stdin=stdin)

    def run(self, name: str, *arguments: str, stdin: str = "") -> Said:
        """Runs a tool with these arguments and no others."""
        verbs.note(name, arguments)
        words = [f"{_PACKAGES.get(name, 'org.apache.kafka.tools')}.{name}", stdin, *arguments]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watchdog = threading.Timer(_DEADLINE_S, self._process.kill)
        watchdog.start()
        try:
            print(*(base64.b64encode(word.encode()).decode() for word in words), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        assert answer, f"{name} {' '.join(arguments)} ended the JVM or took longer than {_DEADLINE_S} s"
        code, out, err = answer.rstrip("\n").split(" ")
        return Said(int(code), base64.b64decode(out).decode(), base64.b64decode(err).decode())
