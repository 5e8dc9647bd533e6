"""Clients that are processes: those of other languages, and Python ones that cannot live beside their newer selves.

Each has a folder with its own pinned dependencies, is built once, and started by a command line. Modes and flags are
the same for every driver; a mode that a driver does not have ends with exit code 2.

    client    (no flags)    the calls of client.py, see below
    member    --group --topic|--pattern --protocol classic|consumer [--assignor --instance-id --batch
              --session-timeout-ms --heartbeat-interval-ms --isolation]      events: assigned, revoked, lost, records,
              committed, commit_failed

Java and franz-go also tell the stories of transactions/ and admin/:

    producer  --topic --count --partitions [--codec]                         event: sent [[partition, offset, value]]
    txn       --transactional-id [--transaction-timeout-ms]                  commands, answered by done or error NAME:
              init, begin, send TOPIC PARTITION VALUE, queue TOPIC PARTITION VALUE, flush, commit, abort;
              Java alone: offsets GROUP TOPIC PARTITION OFFSET
    copy      the flags of member and of txn, --to TOPIC                     events of member, ready, and done for each
              committed transaction, commit_failed for each aborted one
    steps     the flags of member and of txn                                 as transactions/driver.py has them
    admin     (no flags)                                                     as admin/telling.py has them

All take --bootstrap HOST:PORT. Each event is one JSON line [monotonic seconds, name, value] on standard output; the end
of standard input is the request to stop cleanly. `failed NAME` and exit code 3: the client gave up. Standard error is
for people.

Mode client: one command a line, a JSON object {"do": NAME, ...}, carried out one after the other, each answered by one
event, done VALUE or error NAME (Kafka's error code as a number, or its name, such as UNKNOWN_TOPIC_OR_PARTITION; else
the library's words). Names and meanings are those of client.py; bytes are base64 or null, codec and partitioner may be
null, maps have text as keys. A library lacks what its test module says that it lacks: those commands never come.

    version                                          "1.2.3"
    create_topic topic partitions configs{}          null
    topics                                           {topic: partitions}
    add_partitions topic total                       null
    delete_topic topic                               null
    delete_records topic before{partition: offset}   null
    config topic                                     {name: value}
    set_config topic name value                      null
    ends topic partitions[]                          {partition: offset}
    committed group topic partitions[]               {partition: offset or null}
    groups                                           [group]
    group group                                      [state, members]
    delete_group group                               null
    sender compression partitioner idempotent transactional_id          handle (a number)
           Java and franz-go: request_timeout_ms, if it is not the library's own
    send handle topic records[[value, key, [[name, value]], partition or null, timestamp_ms or null]]
                                                     [[partition, offset]]
    begin | commit | abort handle                    null
    send_offsets handle group topic offsets{}        null
    reader topic partitions[] isolation              handle
    seek_beginning | seek_end handle                 null
    seek handle offsets{partition: offset}           null
    seek_time handle timestamp_ms                    {partition: offset or null}
    pause | resume handle partitions[]               null
    take handle count                                [[partition, offset, timestamp_ms, key, value, [[name, value]]]]
    close handle                                     null
"""

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from compat_tests.harness import ROOT

_BUILT = ROOT / ".pytest_cache" / "d"  # what pytest's own cache keeps its folders in
_BUILD_DEADLINE_S = 540  # the first build fetches jars and modules


def has_driver(client: str) -> bool:
    """Whether the client is a driver; the others are adapters in Python."""
    return client in _DRIVERS


def missing(client: str) -> str | None:
    """Why the driver of a client cannot be built here, or None. Clients in Python need no driver."""
    kind = _DRIVERS.get(client)
    absent = [tool for tool in kind.tools if shutil.which(tool) is None] if kind else []
    return f"{' and '.join(absent)} not installed: no {client} driver" if absent else None


def driver(client: str) -> tuple[str, ...]:
    """The start of the driver's command line: a mode and flags follow. Builds it if its sources have changed."""
    return _DRIVERS[client].command(built(client))


@functools.cache
def built(client: str) -> Path:
    """The folder of what was made of the client's sources, which is made if they have changed."""
    source = ROOT / "compat_tests" / client
    files = [*_files(source), *(_java_sources(source) if (source / "pom.xml").exists() else ())]
    stamp = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    kind = _DRIVERS[client]
    target = _BUILT / f"driver-{client}-{stamp}"
    if not target.exists():
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        fresh.mkdir(parents=True)
        kind.build(source, fresh)
        try:
            fresh.rename(target)
        except OSError:  # another session was first
            shutil.rmtree(fresh)
    return target


def flags(values: Mapping[str, object]) -> list[str]:
    """snake_case names and their values as --flags; what is None is left out."""
    words: list[str] = []
    for name, value in values.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def _build_java(source: Path, target: Path) -> None:
    _build_jars(source, target)
    classpath = f"{target / 'jars'}/*"
    _run("javac", "-Xlint:all", "-Werror", "-d", target / "classes", "-cp", classpath, *_java_sources(source))


def _build_jars(source: Path, target: Path) -> None:
    """What needs no code of ours."""
    jars = target / "jars"
    _run("mvn", "-q", "-B", "-f", source / "pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={jars}")


def _java_sources(source: Path) -> list[Path]:
    """A folder without sources of its own, of an older client, names those of its sibling that it can compile."""
    listed = source / "sources.txt"
    if not listed.exists():
        return [*source.rglob("*.java")]
    return [(source / line).resolve() for line in listed.read_text().split()]


def _java(target: Path, main: str = "compat.Driver", level: str = "off") -> tuple[str, ...]:
    jvm = ("java", "-Xmx128M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
    level = os.environ.get("OTTLA_COMPAT_JAVA_LOG", level)  # of slf4j: warn, info, debug, trace
    return (*jvm, f"-Dorg.slf4j.simpleLogger.defaultLogLevel={level}", "-cp", _classpath(target), main)


def _classpath(target: Path) -> str:
    return f"{target / 'classes'}{os.pathsep}{target / 'jars'}/*"


def _build_go(source: Path, target: Path) -> None:
    _run("go", "build", "-o", target / "driver", ".", cwd=source)


def _build_node(source: Path, target: Path) -> None:
    for file in _files(source):
        shutil.copy(file, target)
    _run("npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", cwd=target)


def _node(target: Path) -> tuple[str, ...]:
    return ("node", str(target / "driver.js"))


def _build_rust(source: Path, target: Path) -> None:
    _run("cargo", "build", "--quiet", "--release", "--locked", "--target-dir", _BUILT / "rust", cwd=source)
    shutil.copy(_BUILT / "rust" / "release" / "driver", target)


def _build_python(source: Path, target: Path) -> None:
    _run(sys.executable, "-m", "venv", target / "venv")
    _run(_venv(target), "-m", "pip", "--disable-pip-version-check", "-q", "install", "-r", source / "requirements.txt")


def _python(target: Path, run: str) -> tuple[str, ...]:
    return (_venv(target), "-m", *run.split())


def _venv(target: Path) -> str:
    return str(target / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")


def _binary(target: Path) -> tuple[str, ...]:
    return (str(target / "driver"),)


def _files(source: Path) -> list[Path]:
    """What a driver is made of: its sources and its pinned dependencies, and the Go modules beside it that it uses."""
    named = (file for file in source.rglob("*") if file.suffix in _SOURCES or file.name in _SOURCES)
    own = sorted(file for file in named if not {"node_modules", "target"} & {*file.relative_to(source).parts})
    module = source / "go.mod"
    beside = re.findall(r"=> (\.\./\S+)", module.read_text()) if module.exists() else []
    return own + [file for path in beside for file in _files(source / path)]


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=_BUILD_DEADLINE_S
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"


class _Kind(NamedTuple):
    """How drivers of one language are made: the tools it takes, (sources, target folder) -> built, its command line."""

    tools: tuple[str, ...]
    build: Callable[[Path, Path], None]
    command: Callable[[Path], tuple[str, ...]]


_SOURCES = {".java", ".go", ".js", ".rs", "pom.xml", "go.mod", "go.sum", "sources.txt", "package.json"} | {
    "package-lock.json",
    "Cargo.toml",
    "Cargo.lock",
    "requirements.txt",
}
_CONNECT = "org.apache.kafka.connect.cli.ConnectDistributed"
_JAVA = _Kind(("java", "javac", "mvn"), _build_java, _java)
_GO = _Kind(("go",), _build_go, _binary)
_DRIVERS = {
    "java": _JAVA,
    "java_2": _JAVA,
    "connect": _Kind(("java", "mvn"), _build_jars, functools.partial(_java, main=_CONNECT, level="info")),
    "recipes": _Kind(("java", "javac", "mvn"), _build_jars, _java),
    "streams": _JAVA._replace(command=functools.partial(_java, main="compat.StreamsApp")),
    "spring": _JAVA._replace(command=functools.partial(_java, main="compat.App")),
    "franz_go": _GO,
    "sarama": _GO,
    "kafka_go": _GO,
    "kafkajs": _Kind(("node", "npm"), _build_node, _node),
    "rskafka": _Kind(("cargo",), _build_rust, _binary),
    "kafka_python_2": _Kind((), _build_python, functools.partial(_python, run="compat_tests.serving kafka_python_2")),
    "faststream": _Kind((), _build_python, functools.partial(_python, run="compat_tests.faststream.app")),
}
