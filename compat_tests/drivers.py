"""The clients of other languages: built once, started as processes by a command line; they tell events like members do.

Modes and their flags, the same for every driver (java/src/compat, franz_go):

    member    --group --topic|--pattern --protocol classic|consumer [--assignor --instance-id --batch
              --session-timeout-ms --heartbeat-interval-ms --isolation]      events: assigned, revoked, lost, records,
              committed, commit_failed
    producer  --topic --count --partitions [--codec]                         event: sent [[partition, offset, value]]
    txn       --transactional-id [--transaction-timeout-ms]                  commands, answered by done or error NAME:
              init, begin, send TOPIC PARTITION VALUE, queue TOPIC PARTITION VALUE, flush, commit, abort;
              Java alone: offsets GROUP TOPIC PARTITION OFFSET
    copy      the flags of member and of txn, --to TOPIC                     events of member, ready, and done for each
              committed transaction, commit_failed for each aborted one
    steps     the flags of member and of txn                                 as transactions/driver.py has them
    admin     (no flags)                                                     as admin/telling.py has them

Each event is one JSON line [monotonic seconds, name, value]. `failed NAME` and exit code 3: the client gave up.
"""

import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from compat_tests.harness import ROOT

_BUILT = ROOT / ".pytest_cache" / "d"  # what pytest's own cache keeps its folders in
_BUILD_DEADLINE_S = 540  # the first build fetches jars and modules


def has_driver(client: str) -> bool:
    """Whether the client is a driver; the others are adapters in Python."""
    return client in _BUILDS


def missing(client: str) -> str | None:
    """Why the driver of a client cannot be built here, or None. Clients in Python need no driver."""
    absent = [tool for tool in _TOOLS.get(client, ()) if shutil.which(tool) is None]
    return f"{' and '.join(absent)} not installed: no {client} driver" if absent else None


@functools.cache
def driver(client: str) -> tuple[str, ...]:
    """The start of the driver's command line: a mode and flags follow. Builds it if its sources have changed."""
    source = ROOT / "compat_tests" / client
    files = sorted(file for file in source.rglob("*") if file.suffix in _SOURCES or file.name in _SOURCES)
    stamp = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    build, command = _BUILDS[client]
    target = _BUILT / f"driver-{client}-{stamp}"
    if not target.exists():
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        fresh.mkdir(parents=True)
        build(source, fresh)
        try:
            fresh.rename(target)
        except OSError:  # another session was first
            shutil.rmtree(fresh)
    return command(target)


def flags(values: Mapping[str, object]) -> list[str]:
    """snake_case names and their values as --flags; what is None is left out."""
    words: list[str] = []
    for name, value in values.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def _build_java(source: Path, target: Path) -> None:
    jars = target / "jars"
    _run("mvn", "-q", "-B", "-f", source / "pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={jars}")
    _run("javac", "-Xlint:all", "-Werror", "-d", target / "classes", "-cp", f"{jars}/*", *source.rglob("*.java"))


def _java(target: Path, main: str = "compat.Driver") -> tuple[str, ...]:
    jvm = ("java", "-Xmx128M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
    level = os.environ.get("OTTLA_COMPAT_JAVA_LOG", "off")  # of slf4j: warn, info, debug, trace
    return (*jvm, f"-Dorg.slf4j.simpleLogger.defaultLogLevel={level}", "-cp", _classpath(target), main)


def _classpath(target: Path) -> str:
    return f"{target / 'classes'}{os.pathsep}{target / 'jars'}/*"


def _build_go(source: Path, target: Path) -> None:
    _run("go", "build", "-o", target / "driver", ".", cwd=source)


def _go(target: Path) -> tuple[str, ...]:
    return (str(target / "driver"),)


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=_BUILD_DEADLINE_S
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"


_TOOLS = {"java": ("java", "javac", "mvn"), "streams": ("java", "javac", "mvn"), "franz_go": ("go",)}
_SOURCES = {".java", ".go", "pom.xml", "go.mod", "go.sum"}
_BUILDS: dict[str, tuple[Callable[[Path, Path], None], Callable[[Path], tuple[str, ...]]]] = {
    "java": (_build_java, _java),
    "streams": (_build_java, functools.partial(_java, main="compat.StreamsApp")),
    "franz_go": (_build_go, _go),
}
