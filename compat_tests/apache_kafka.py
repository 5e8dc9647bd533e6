"""A real Apache Kafka, one node in KRaft mode, from the jars on Maven Central: the judge, and what to measure against.

Jars are fetched once into the user's cache folder; OTTLA_KAFKA_JARS names a folder that has them already. JVM flags and
the one-node settings are those of the stock distribution's scripts.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from compat_tests.harness import end_process, free_port

VERSION = "4.4.0"
FETCH_TIMEOUT_S = 600
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
_LOG4J = "2.25.3"
_ARTIFACTS = (
    ("org.apache.kafka", "kafka_2.13", None),
    ("org.apache.kafka", "kafka-clients", None),
    ("org.apache.logging.log4j", "log4j-core", _LOG4J),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", _LOG4J),
    ("org.apache.logging.log4j", "log4j-1.2-api", _LOG4J),
)
_JVM = (
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
)
_API_VERSIONS = bytes.fromhex("0000000d 0012 0000 00000001 0003 737461")  # v0, client id "sta"


def unavailable() -> str | None:
    """Why it can't run here, None if it can."""
    if shutil.which("java") is None:
        return "Apache Kafka needs java"
    if "OTTLA_KAFKA_JARS" not in os.environ and not _cache(VERSION).is_dir() and shutil.which("mvn") is None:
        return "Apache Kafka's jars are fetched by mvn, or put into a folder that OTTLA_KAFKA_JARS names"
    return None


def jars(version: str = VERSION) -> Path:
    """The folder with Kafka's jars, fetched if need be. Raises RuntimeError with Maven's words."""
    if "OTTLA_KAFKA_JARS" in os.environ:
        return Path(os.environ["OTTLA_KAFKA_JARS"])
    folder = _cache(version)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wanted = "".join(
            f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
            f"<version>{fixed or version}</version></dependency>"
            for group, name, fixed in _ARTIFACTS
        )
        pom = Path(scratch, "pom.xml")
        pom.write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>ottla</groupId><artifactId>kafka</artifactId>"
            f"<version>1</version><packaging>pom</packaging><dependencies>{wanted}</dependencies></project>"
        )
        fetched = Path(scratch, "jars")
        done = subprocess.run(
            ["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"],
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
        )
        if done.returncode:
            raise RuntimeError(f"mvn did not fetch Kafka {version}: {(done.stdout + done.stderr)[-500:]}")
        with contextlib.suppress(OSError):  # somebody else was faster
            fetched.rename(folder)
    return folder


def cache_folder() -> Path:
    """Where other brokers are kept once they were fetched or built; it may not be there yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ottla"


def _cache(version: str) -> Path:
    return cache_folder() / f"kafka-{version}"


class ApacheKafka:
    """One broker, its own controller. `settings` are broker properties; `port` 0 takes a free one."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        version: str = VERSION,
        heap: str = "-Xmx1G -Xms1G",
    ) -> None:
        self.folder = folder
        self.port = port
        self.settings = dict(settings or {})
        self._version = version
        self._heap = heap.split()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running JVM."""
        assert self._process is not None, "Kafka is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it wrote to its log, over all its starts."""
        path = self.folder / "kafka.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def prepare(self) -> None:
        """Fetch the jars and format the storage, so that `start` is Kafka's own time."""
        if not self.port:
            self.port = free_port(also=1000)  # the controller's
        self._write_properties()
        if (self.folder / "data" / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        arguments = ["format", "--standalone", f"--cluster-id={cluster}", "-c", str(self._properties)]
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "-Xmx256M", *arguments),
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
        )
        if done.returncode:
            raise RuntimeError(f"Kafka's storage was not formatted: {(done.stdout + done.stderr)[-500:]}")

    def start(self) -> Self:
        """Returns once it answers ApiVersions. Raises RuntimeError with the end of its log."""
        assert self._process is None, "Kafka is running"
        self.prepare()
        with (self.folder / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", *self._heap, *_JVM, str(self._properties)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise RuntimeError(f"Kafka did not start; its log ends with\n{self.log[-2000:]}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _write_properties(self) -> None:
        listeners = f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.port + 1000}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.port + 1000}",
            "listeners": listeners,
            "advertised.listeners": listeners,
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            **self.settings,
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        (self.folder / "log4j2.yaml").write_text(
            "Configuration:\n  Appenders:\n    Console: {name: C, PatternLayout: {pattern: '[%d] %p %m (%c)%n'}}\n"
            "  Loggers:\n    Root: {level: INFO, AppenderRef: {ref: C}}\n"
        )

    def _java(self, main: str, *arguments: str) -> list[str]:
        flags = [argument for argument in arguments if argument.startswith(("-X", "-server", "-D"))]
        rest = [argument for argument in arguments if argument not in flags]
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}"
        return ["java", *flags, logging, "-cp", f"{jars(self._version)}/*", main, *rest]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.settimeout(5)
                sock.sendall(_API_VERSIONS)
                return len(sock.recv(100)) > 8
        except OSError:
            return False

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            end_process(process, number, STOP_TIMEOUT_S)
