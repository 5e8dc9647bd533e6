"""What a broker in the test's own process costs a test: Ottla, kfake (in a Go program) and nafka (in Python), started,
asked once and stopped, again and again.

    python -m bench.in_process [--count 200] [--rounds 3] [--json]

Each is a process of its own, in turns, another one first each round; figures are medians, in milliseconds. nafka gets
an environment of its own, since it needs an old kafka-python, and a Python of 3.12 or later.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.brokers import KFAKE, BrokerError, why_not
from compat_tests import apache_kafka
from compat_tests.harness import ROOT

NAFKA: Final = "nafka==0.1"
_NAFKA_PYTHONS: Final = ("python3.13", "python3.12", "python3")
_SHARED: Final = """
import json, socket, sys, time

def ask(address):
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(bytes([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255]))  # ApiVersions v0
        assert len(sock.recv(4)) == 4

def measure(start, stop):
    measured = {"start": [], "answer": [], "stop": []}
    for _ in range(int(sys.argv[1])):
        at = [time.perf_counter()]
        broker, address = start()
        at.append(time.perf_counter())
        ask(address)
        at.append(time.perf_counter())
        stop(broker)
        at.append(time.perf_counter())
        for name, began, ended in zip(measured, at, at[1:]):
            measured[name].append((ended - began) * 1000)
    json.dump(measured, sys.stdout)
"""
_OTTLA: Final = f"""{_SHARED}
from ottla.testing import Broker

def start():
    broker = Broker().start()
    return broker, broker.bootstrap_servers

measure(start, Broker.stop)
"""
_IN_NAFKA: Final = f"""{_SHARED}
from nafka.runner import BrokerThreadRunner

def start():
    runner = BrokerThreadRunner()
    host, port = runner.start().socket_addr
    return runner, f"{{host}}:{{port}}"

def stop(runner):
    runner.stop()
    runner.event_loop.close()

measure(start, stop)
"""

Cycles = dict[str, list[float]]
Measure = Callable[[int], Cycles]


def ottla() -> Measure:
    return lambda count: _said([sys.executable, "-c", _OTTLA, str(count)])


def kfake() -> Measure:
    """Raises BrokerError: there is no Go, or it does not build."""
    missing = why_not("kfake")
    if missing is not None:
        raise BrokerError(missing)
    program = apache_kafka.cache_folder() / "kfake-cycles"
    program.parent.mkdir(parents=True, exist_ok=True)
    _run(["go", "build", "-o", str(program), "./cycles"], KFAKE, "kfake does not build")
    return lambda count: _said([str(program), "-count", str(count)])


def nafka() -> Measure:
    """Raises BrokerError: there is no Python for it, or it cannot be installed."""
    folder = apache_kafka.cache_folder() / "nafka"
    python = folder / "bin" / "python"
    if not python.exists():
        _run([_python_for_nafka(), "-m", "venv", str(folder)], ROOT, "no environment can be made for nafka")
    _run([str(python), "-m", "pip", "install", "--quiet", NAFKA], ROOT, "nafka cannot be installed")
    return lambda count: _said([str(python), "-W", "ignore", "-c", _IN_NAFKA, str(count)])


def _python_for_nafka() -> str:
    recent = "import sys; sys.exit(sys.version_info < (3, 12))"
    for name in _NAFKA_PYTHONS:
        found = shutil.which(name)
        if found is not None and not subprocess.run([found, "-c", recent], capture_output=True).returncode:
            return found
    raise BrokerError("nafka needs Python 3.12 or later")


CANDIDATES: Final = {"Ottla": ottla, "kfake": kfake, "nafka": nafka}


def _run(command: list[str], folder: Path, trouble: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise BrokerError(f"{trouble}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _said(command: list[str]) -> Cycles:
    cycles: Cycles = json.loads(_run(command, ROOT, f"{Path(command[0]).name} failed"))
    return {name: values[len(values) // 10 :] for name, values in cycles.items()}  # the first warm it up


def measured(count: int, rounds: int) -> dict[str, Cycles | str]:
    """By name the cycles of each, or why it was not measured."""
    found: dict[str, Cycles | str] = {}
    ready: dict[str, Measure] = {}
    for name, prepare in CANDIDATES.items():
        try:
            ready[name] = prepare()
        except BrokerError as error:
            found[name] = str(error)
    for turn in range(rounds):
        names = list(ready)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            try:
                cycles = ready[name](count)
            except BrokerError as error:
                found[name] = str(error)
                del ready[name]
                continue
            before = found.setdefault(name, {"start": [], "answer": [], "stop": []})
            assert isinstance(before, dict)
            for step, values in cycles.items():
                before[step] += values
    return found


def table(found: dict[str, Cycles | str]) -> str:
    """In Markdown: medians, and in brackets what nine of ten stay below."""
    lines = ["| broker | start | first answer | stop |", "| --- | ---: | ---: | ---: |"]
    for name, cycles in found.items():
        if isinstance(cycles, str):
            lines.append(f"| {name} | not measured: {cycles} | | |")
        else:
            steps = [f"{statistics.median(each):.2f} ({_ninth(each):.2f})" for each in cycles.values()]
            lines.append(f"| {name} | {' | '.join(steps)} |")
    return "\n".join(lines)


def _ninth(values: list[float]) -> float:
    return statistics.quantiles(values, n=10)[-1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.in_process", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="cycles of each in a round (default: 200)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--json", action="store_true", help="every figure, in milliseconds")
    flags = parser.parse_args()
    found = measured(flags.count, flags.rounds)
    print(json.dumps(found) if flags.json else table(found))
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
