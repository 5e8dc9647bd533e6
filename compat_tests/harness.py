"""A broker as a real process: start, wait for its ready line, kill -9, stop, start again on the same port and data.

Waiting is on events only: the ready line on a pipe, the end of a process. With OTTLA_COMPAT_KAFKA naming a folder that
holds `start.sh PORT DATADIR`, every broker is an Apache Kafka instead: the real broker judges the tests themselves.
"""

import contextlib
import itertools
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 120.0  # for anything that should take milliseconds: a busy machine may take its time, a fault never ends
CLOCK_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class BrokerError(AssertionError):
    """The broker process did not do what was asked; carries the tail of its log."""


class Broker:
    """One `ottla serve` process. `port` stays the same over restarts, and so does the data folder.

    advertise: HOST:PORT that clients are told (a gate in front), or None for the broker's own address.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        port: int = 0,
        advertise: str | None = None,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = port
        self.settings = dict(settings or {})
        self.args = list(args)
        self.advertise = advertise
        self.ready_line = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "broker.log"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def bootstrap(self) -> str:
        """HOST:PORT of the broker itself, never of a gate."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that the broker wrote to stderr, over all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def command(self) -> list[str]:
        """The command line, as a person would type it."""
        command = [sys.executable, "-m", "ottla", "serve", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--port-file", str(self._port_file), "--data", str(self.data)]
        if self.advertise is not None:
            command += ["--advertise", self.advertise]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        return command + self.args

    def start(self) -> Self:
        """Returns once the ready line has been read."""
        assert self._process is None, "the broker is running"
        self._port_file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        self.ready_line = self._read_line(self._process.stdout.fileno()).decode()
        self.port = int(self._port_file.read_text().split()[0])
        return self

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, no offset is checkpointed."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM: a clean stop, which must end with exit code 0."""
        code = self._signal(signal.SIGTERM)
        if code != 0:
            raise self._failure(f"exit code {code} after SIGTERM")

    def restart(self, *, kill: bool = False) -> Self:
        """Stops (or kills) and starts again on the same port and data."""
        if kill:
            self.kill()
        else:
            self.terminate()
        return self.start()

    def close(self) -> None:
        """Ends the process if it still runs."""
        if self._process is not None:
            self.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _port_file(self) -> Path:
        return self.folder / "port"

    def _signal(self, number: signal.Signals) -> int:
        process = self._process
        assert process is not None, "the broker is not running"
        process.send_signal(number)
        try:
            code = process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self._process = None
            raise self._failure(f"still running {DEADLINE_S:.0f} s after {number.name}") from None
        finally:
            if process.stdout is not None and process.returncode is not None:
                process.stdout.close()
        self._process = None
        return code

    def _read_line(self, fd: int) -> bytes:
        line = b""
        deadline = time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    self.close()
                    raise self._failure(f"no ready line within {DEADLINE_S:.0f} s")
                chunk = os.read(fd, 4096)
                if not chunk:
                    process = self._process
                    code = process.wait() if process is not None else None
                    self._process = None
                    raise self._failure(f"ended with exit code {code} before its ready line")
                line += chunk
        return line

    def _failure(self, what: str) -> BrokerError:
        tail = "\n".join(self.log.splitlines()[-30:])
        return BrokerError(f"broker: {what}; its log ends with\n{tail}")


class ApacheKafka(Broker):
    """The same handle on a real Apache Kafka, by the scripts in the folder that OTTLA_COMPAT_KAFKA names."""

    def __init__(self, folder: Path, **options: object) -> None:
        super().__init__(folder, **options)  # type: ignore[arg-type]
        self.scripts = Path(os.environ["OTTLA_COMPAT_KAFKA"])
        self._kafka_pid = 0

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        return self._kafka_pid

    def start(self) -> Self:
        """Returns once Kafka answers ApiVersions."""
        if not self.port:
            self.port = free_port(also=1000)
        settings = {"group.coordinator.append.linger.ms": "0", **self.settings}
        if self.advertise is not None:
            settings["advertised.listeners"] = f"PLAINTEXT://{self.advertise}"
        extra = "\n".join(f"{key}={value}" for key, value in settings.items())
        with self._log.open("ab") as log:
            subprocess.run(
                ["bash", str(self.scripts / "start.sh"), str(self.port), str(self.data)],
                env={**os.environ, "KAFKA_EXTRA": extra, "KAFKA_HEAP_OPTS": "-Xmx512M -Xms256M"},
                stdout=log,
                stderr=log,
                check=True,
                timeout=120,
            )
        self._kafka_pid = int((self.data / "pid").read_text())
        self._settle()
        return self

    def _settle(self) -> None:
        """Kafka answers before its coordinators are loaded: asks until they serve, which Ottla never needs."""
        from compat_tests.raw import NONE, RawConnection

        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            with RawConnection(self.port) as connection:
                answers = [connection.init_producer_id()[0], connection.find_coordinator("settle")]
                if answers == [NONE, NONE] and connection.committed_error("settle") == NONE:
                    return
            time.sleep(0.05)
        self.close()
        raise self._failure("its coordinators do not serve")

    def _signal(self, number: signal.Signals) -> int:
        script = ["bash", str(self.scripts / "stop.sh"), str(self.data), number.name.removeprefix("SIG")]
        subprocess.run(script, check=True, stdout=subprocess.DEVNULL, timeout=120)
        self._kafka_pid = 0
        return 0

    def close(self) -> None:
        """Ends the process if it still runs."""
        if self._kafka_pid:
            self.kill()


JUDGED_BY_KAFKA = "OTTLA_COMPAT_KAFKA" in os.environ


def make_broker(folder: Path, **options: object) -> Broker:
    """A broker that is not started yet: Ottla, or Apache Kafka where that judges."""
    kind = ApacheKafka if JUDGED_BY_KAFKA else Broker
    return kind(folder, **options)  # type: ignore[arg-type]


_FIRST_PORT, _PORTS_END = 17_000 + os.getpid() % 5_000, 31_000
_ports = itertools.cycle(range(_FIRST_PORT, _PORTS_END))


def free_port(*, also: int = 0) -> int:
    """A TCP port of 127.0.0.1 that is free now, below the ephemeral range, and was not given before: several may be
    asked for before the first one listens. `also`: so is the one that much higher.
    """
    for port in itertools.islice(_ports, _PORTS_END - _FIRST_PORT):
        with contextlib.ExitStack() as stack:
            try:
                for candidate in (port, port + also) if also else (port,):
                    probe = stack.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return port
    raise OSError("no free port")


def end_process(process: subprocess.Popen[bytes], number: signal.Signals, timeout_s: float) -> None:
    """Send a signal and wait for the end; SIGKILL if it takes too long."""
    process.send_signal(number)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system CPU that a process has used so far, children that ended included (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / CLOCK_TICKS


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no VmRSS for {pid}")
