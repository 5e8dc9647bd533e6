"""What a process costs: CPU seconds, memory, and what others used meanwhile. Linux in full, elsewhere by ps."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_LINUX = sys.platform == "linux"
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Spent:
    """What went by inside a `meter`: seconds by the wall, of CPU by the broker, by this process and by all others."""

    __slots__ = ("broker_cpu_s", "client_cpu_s", "others_cpu_s", "wall_s")

    def __init__(self) -> None:
        self.wall_s = self.broker_cpu_s = self.client_cpu_s = self.others_cpu_s = 0.0


@contextlib.contextmanager
def meter(pid: int) -> Iterator[Spent]:
    """Measures what runs inside the `with`; the figures are there behind it."""
    spent = Spent()
    machine_s, broker_s, own_s, began_s = _machine_cpu_s(), cpu_s(pid), time.process_time(), time.perf_counter()
    yield spent
    spent.wall_s = time.perf_counter() - began_s
    spent.client_cpu_s = time.process_time() - own_s
    spent.broker_cpu_s = cpu_s(pid) - broker_s
    spent.others_cpu_s = max(0.0, _machine_cpu_s() - machine_s - spent.broker_cpu_s - spent.client_cpu_s)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children that live."""
    if _LINUX:
        own_s = time.clock_gettime(~pid << 3 | 2)  # the kernel's number of another process's CPU clock: ns, not ticks
        return own_s + sum(cpu_s(child) for child in _children(pid))
    shown = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    days, _, clock = shown.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + 86_400 * int(days or 0)


def rss_mib(pid: int) -> float:
    """Resident memory of a process, MiB."""
    if _LINUX:
        return _status(pid, "VmRSS")
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True).stdout
    return int(shown) / 1024


def peak_rss_mib(pid: int) -> float:
    """The most it was so far, MiB; what it is now where the system does not tell."""
    return _status(pid, "VmHWM") if _LINUX else rss_mib(pid)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # a thread that ended meanwhile, or a kernel that does not tell
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _status(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _machine_cpu_s() -> float:
    """CPU seconds that all processes have used; 0 where the system does not tell."""
    if not _LINUX:
        return 0.0
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq = (int(field) for field in file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS
