"""The brokers that take turns: Ottla of this tree or of another revision, Apache Kafka, kfake, or any start command.

Here: how each is started and stopped. Not here: what is asked of them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench import processes
from compat_tests import apache_kafka
from compat_tests.harness import ROOT, end_process, free_port

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
KFAKE = Path(__file__).parent / "kfake"


class BrokerError(Exception):
    """A broker can't be had, or did not start; says why."""


class Broker(ABC):
    """One broker on 127.0.0.1 with a data folder of its own below `folder`. `kind`: ottla, kafka, kfake or command."""

    kind = "command"

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.port = 0
        self.settings: Mapping[str, str] = {}
        self.spent: list[processes.Spent] = []
        """What the meters measured, for whoever empties the list."""
        self.sampler: Callable[[int], contextlib.AbstractContextManager[None]] | None = None
        """Is given the process id of what a meter measures, and is around it: a profiler."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """Of the running process."""

    @abstractmethod
    def start(self) -> None:
        """Returns once it answers; `exec_s` is when it was executed, by time.perf_counter. Raises BrokerError."""

    @abstractmethod
    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end; nothing if it does not run."""

    @abstractmethod
    def another(self, folder: Path) -> Broker:
        """One of the same kind, not started."""

    exec_s = 0.0

    def stop(self) -> None:
        """Cleanly."""
        self.end(signal.SIGTERM)

    def kill(self) -> None:
        """At once."""
        self.end(signal.SIGKILL)

    @contextlib.contextmanager
    def fresh(self, settings: Mapping[str, str] | None = None) -> Iterator[Broker]:
        """Another one with an empty folder and properties of its own, not started; ended and removed afterwards."""
        folder = Path(tempfile.mkdtemp(prefix=f"{self.kind}-", dir=self.folder.parent))
        other = self.another(folder)
        other.settings, other.spent, other.sampler = {**self.settings, **(settings or {})}, self.spent, self.sampler
        try:
            yield other
        finally:
            other.kill()
            shutil.rmtree(folder, ignore_errors=True)

    def version(self) -> str:
        """Of the program, if it is known."""
        return ""

    @abstractmethod
    def prepare(self) -> None:
        """What need not be part of a start: formatting, compiling."""

    def restart(self) -> None:
        """Stop cleanly and start again on the same port and data."""
        self.stop()
        self.start()

    @contextlib.contextmanager
    def meter(self) -> Iterator[processes.Spent]:
        """What the broker and this process use up inside the `with`. Raises BrokerError if another one answered."""
        sampled = contextlib.nullcontext() if self.sampler is None else self.sampler(self.pid)
        with sampled, processes.meter(self.pid) as spent:
            yield spent
        if spent.wall_s > 0.1 and not spent.broker_cpu_s:
            raise BrokerError(f"{self.name} used no CPU: it has ended, or another process answers at port {self.port}")
        self.spent.append(spent)


class Command(Broker):
    """A broker started by a command line in which {port} and {dir} are filled in; it stays in the foreground."""

    def __init__(self, name: str, folder: Path, command: str) -> None:
        super().__init__(name, folder)
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    def prepare(self) -> None:
        pass

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.port:
            self.port = free_port()
        log = self.folder / "broker.log"
        with log.open("ab") as output:
            self.exec_s = time.perf_counter()
            self._process = subprocess.Popen(
                self._line(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._env(), cwd=self._cwd()
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise BrokerError(f"{self.name} did not start: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.001)

    def end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            end_process(process, number, STOP_TIMEOUT_S)

    def another(self, folder: Path) -> Broker:
        return Command(self.name, folder, self._command)

    def _line(self) -> list[str]:
        return [part.format(port=self.port, dir=self.folder / "data") for part in shlex.split(self._command)]

    def _env(self) -> dict[str, str]:
        return dict(os.environ)

    def _cwd(self) -> Path | None:
        return None


class Ottla(Command):
    """`ottla serve` of the tree at `tree`."""

    kind = "ottla"

    def __init__(self, name: str, folder: Path, tree: Path = ROOT) -> None:
        super().__init__(name, folder, "")
        self.tree = tree

    def prepare(self) -> None:
        """Bytecode is there from the first start on, as where pip installed it."""
        subprocess.run([sys.executable, "-m", "compileall", "-q", *_CODE], cwd=self.tree, check=True, env=self._env())

    def version(self) -> str:
        revision = self.name.partition("@")[2]
        return _asked_git("rev-parse", "--short", revision) if revision else tree_revision()

    def another(self, folder: Path) -> Broker:
        return Ottla(self.name, folder, self.tree)

    def _line(self) -> list[str]:
        line = [sys.executable, "-m", "ottla", "serve", "--listen", f"127.0.0.1:{self.port}"]
        line += ["--data", str(self.folder / "data")]
        for key, value in self.settings.items():
            line += ["--set", f"{key}={value}"]
        return line

    def _env(self) -> dict[str, str]:
        env = {**os.environ, "PYTHONPATH": str(self.tree)}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        return env

    def _cwd(self) -> Path:
        return self.tree


_CODE = ("ottla", "wire", "log", "coordinator", "broker")


class Kfake(Command):
    """franz-go's fake of Kafka, its data in a folder."""

    kind = "kfake"

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder, f"{_kfake_program()} -port {{port}} -data {{dir}}")

    def prepare(self) -> None:
        program = _kfake_program()
        program.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["go", "build", "-o", str(program), "."], cwd=KFAKE, capture_output=True, text=True)
        if done.returncode:
            raise BrokerError(f"kfake does not build: {done.stderr[-300:]}")

    def version(self) -> str:
        for line in (KFAKE / "go.mod").read_text().splitlines():
            if "/pkg/kfake " in line:
                return line.split()[-1]
        return ""

    def another(self, folder: Path) -> Broker:
        return Kfake(self.name, folder)


class Kafka(Broker):
    """Apache Kafka, one node."""

    kind = "kafka"

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self._kafka: apache_kafka.ApacheKafka | None = None

    @property
    def pid(self) -> int:
        return self._made().pid

    def prepare(self) -> None:
        try:
            self._made().prepare()
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            raise BrokerError(str(error)) from None

    def start(self) -> None:
        self.prepare()
        kafka = self._made()
        self.exec_s = time.perf_counter()
        try:
            kafka.start()
        except RuntimeError as error:
            raise BrokerError(str(error)) from None
        self.port = kafka.port

    def end(self, number: signal.Signals) -> None:
        if self._kafka is not None:
            self._kafka.stop() if number is signal.SIGTERM else self._kafka.kill()

    def version(self) -> str:
        return apache_kafka.VERSION

    def another(self, folder: Path) -> Broker:
        return Kafka(self.name, folder)

    def _made(self) -> apache_kafka.ApacheKafka:
        if self._kafka is None:
            self._kafka = apache_kafka.ApacheKafka(self.folder, port=free_port(also=1000), settings=self.settings)
        return self._kafka


def why_not(kind: str) -> str | None:
    """Why a broker of this kind can't be measured here; None if it can."""
    if kind == "kafka":
        return apache_kafka.unavailable()
    if kind == "kfake" and shutil.which("go") is None:
        return "kfake needs go"
    return None


def make(spec: str, folder: Path, trees: contextlib.ExitStack) -> Broker:
    """`ottla`, `ottla@REVISION`, `kafka`, `kfake` or NAME=COMMAND. Raises BrokerError with a sentence."""
    name, equals, command = spec.partition("=")
    if equals and "{port}" not in command:
        raise BrokerError(f"the command of {name!r} has no {{port}}: that is where it is told the port to listen on")
    place = folder / "".join(each if each.isalnum() else "-" for each in name)
    if equals:
        return Command(name, place, command)
    if name == "ottla":
        return Ottla(name, place)
    if name.startswith("ottla@"):
        return Ottla(name, place, trees.enter_context(_tree_of(name.partition("@")[2], folder)))
    if name in ("kafka", "kfake"):
        missing = why_not(name)
        if missing is not None:
            raise BrokerError(missing)
        return Kafka(name, place) if name == "kafka" else Kfake(name, place)
    raise BrokerError(
        f"no broker {spec!r}: ottla, ottla@REVISION, kafka, kfake or NAME=COMMAND with {{port}} and {{dir}}"
    )


def tree_revision() -> str:
    """Which commit this tree is, and whether it was changed since."""
    return _asked_git("describe", "--always", "--dirty") or "unknown"


def _asked_git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def _tree_of(revision: str, folder: Path) -> Iterator[Path]:
    tree = Path(tempfile.mkdtemp(prefix="tree-", dir=folder))
    try:
        packed = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True)
        if packed.returncode:
            raise BrokerError(f"git knows no revision {revision!r}: {packed.stderr.decode().strip()}")
        subprocess.run(["tar", "-x", "-C", str(tree)], input=packed.stdout, check=True)
        yield tree
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def _kfake_program() -> Path:
    return apache_kafka.cache_folder() / "kfake"


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
