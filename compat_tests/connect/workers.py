"""Workers of Kafka Connect as processes, and their REST interface. What they copy is the tests' affair."""

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from compat_tests.drivers import driver
from compat_tests.harness import DEADLINE_S, ROOT, end_process, free_port

_LOOK_AGAIN_S = 0.05  # a worker has nothing to wait on: it is asked again until it says so
_LOG_SHOWN = 6_000  # bytes of a worker's log in a failure


class Worker:
    """One worker of a cluster in distributed mode. Restarts keep its port, which is its name in the cluster."""

    def __init__(self, folder: Path, bootstrap: str, cluster: str, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._log = folder / "worker.log"
        lines = {
            "bootstrap.servers": bootstrap,
            "group.id": cluster,
            "listeners": f"http://127.0.0.1:{self._port}",
            "plugin.discovery": "service_load",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "offset.flush.interval.ms": "200",
            "offset.storage.partitions": "5",
            "session.timeout.ms": "6000",
            "heartbeat.interval.ms": "500",
            "scheduled.rebalance.max.delay.ms": "0",  # a dead worker's tasks move at once
            "metadata.recovery.strategy": "none",  # see ../java/FINDINGS.md
            **(settings or {}),
        }
        for kind in ("config", "offset", "status"):
            lines[f"{kind}.storage.topic"] = f"{cluster}-{kind}"
            lines[f"{kind}.storage.replication.factor"] = "1"
        self._properties = folder / "worker.properties"
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))

    @property
    def name(self) -> str:
        """What the cluster calls it."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Begins to start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*driver("connect"), str(self._properties)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def sleep(self) -> None:
        """SIGSTOP: it holds what it has and believes what it knows, but does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """A clean end, and all its offsets committed."""
        assert self._process is not None
        end_process(self._process, signal.SIGTERM, DEADLINE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One REST request. None if the worker is not up, has no leader yet, or does not know what was asked for."""
        request = urllib.request.Request(f"http://{self.name}{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            if error.code in (404, 409, 500, 503):  # not there (yet), rebalancing, starting
                return None
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error
        except OSError:
            return None

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        """Looks until there is something to see, and gives it."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            if found := look():
                return found
            if self._process is not None and (code := self._process.poll()) is not None:
                raise AssertionError(f"the worker ended with {code}\n{self._tail()}")
            time.sleep(_LOOK_AGAIN_S)
        raise AssertionError(f"not within {DEADLINE_S:.0f} s: {what}\n{self._tail()}")

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """A request that is repeated until it is carried out."""
        return self.until(f"{method} {path}", lambda: _said(self.ask(method, path, body)))[0]

    def runs(self, connector: str, state: str = "RUNNING") -> list[str]:
        """Waits until the connector and its tasks are in the state; gives the names of the workers of its tasks."""

        def look() -> list[str]:
            status = self.ask("GET", f"/connectors/{connector}/status")
            if status is None or not status["tasks"]:
                return []
            states = {status["connector"]["state"], *(task["state"] for task in status["tasks"])}
            return [task["worker_id"] for task in status["tasks"]] if states == {state} else []

        return list(self.until(f"{connector} is {state}", look))

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-_LOG_SHOWN:]


def _said(answer: Any) -> list[Any]:
    """Something that is true, for an answer that may be empty."""
    return [] if answer is None else [answer]
