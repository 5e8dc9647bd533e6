"""Where Ottla's time goes in a scenario: py-spy samples the running broker from outside, so that it stays as fast."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.brokers import Broker
from bench.scenario import Scenario, Size

SHOWN = 15
RATE_HZ = 500
EVERYWHERE = 0.9  # of the samples: what only calls what is in so many tells nothing
LONGER = 4.0  # times the turns that are measured: more samples


def why_not() -> str | None:
    """Why nothing can be profiled here; None if it can."""
    return None if _program() else "--profile needs py-spy: pip install py-spy"


class Profiler:
    """Has a scenario told once more, sampled while it is metered; keeps the stacks beside the results and shows the
    dearest functions.
    """

    def __init__(self, results: Path, size: Size, show: Callable[[str], None]) -> None:
        self._stem = results.with_suffix("")
        self._size = Size("profile", size.scale * LONGER)
        self._show = show

    def __call__(self, broker: Broker, scenario: Scenario) -> None:
        """Nothing for brokers that are not Ottla."""
        if broker.kind != "ottla":
            return
        stacks: Counter[str] = Counter()
        broker.sampler = lambda pid: _sampled(pid, stacks)
        try:
            scenario.tell(broker, self._size)
        finally:
            broker.sampler = None
        if not stacks:
            self._show(f"{scenario.name}, {broker.name}: no samples; nothing of it is metered")
            return
        path = Path(f"{self._stem}-{scenario.name}-{broker.name}.stacks")
        path.write_text("".join(f"{stack} {count}\n" for stack, count in stacks.items()))
        self._show(f"{scenario.name}, {broker.name}: {path}\n{dearest(stacks)}\n")


def dearest(stacks: Counter[str]) -> str:
    """The functions that most samples were in, themselves and with what they call. `stacks`: how often each
    `outer;inner;innermost` was seen.
    """
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for stack, count in stacks.items():
        names = stack.split(";")
        own[names[-1]] += count
        for name in set(names):
            whole[name] += count
    total = stacks.total()
    for name in [name for name, count in whole.items() if count > EVERYWHERE * total and not own[name]]:
        del whole[name]
    lines = []
    for title, ranked in (("by own time", own), ("with what they call", whole)):
        lines.append(f"{'own':>6} {'all':>6}  {title}")
        for name, _ in ranked.most_common(SHOWN):
            lines.append(f"{own[name] / total:6.1%} {whole[name] / total:6.1%}  {name}")
    return "\n".join(lines)


@contextlib.contextmanager
def _sampled(pid: int, stacks: Counter[str]) -> Iterator[None]:
    """Adds what is seen inside the `with`, from when py-spy says that it samples."""
    program = _program()
    assert program is not None, "why_not() was not asked"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stacks")
        options = ["--rate", str(RATE_HZ), "--format", "raw", "--function", "--output", str(path)]
        sampler = subprocess.Popen(
            [program, "record", "--pid", str(pid), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert sampler.stdout is not None
        said = sampler.stdout.readline()  # "Sampling process ..."
        try:
            yield
        finally:
            sampler.send_signal(signal.SIGINT)
            said += sampler.communicate(timeout=60)[0]
        if not path.exists():
            print(f"py-spy gave no profile: {said.strip()[-200:]}", file=sys.stderr)
            return
        for line in path.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            stacks[stack] += int(count)


def _program() -> str | None:
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")
