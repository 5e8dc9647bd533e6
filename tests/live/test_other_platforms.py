"""What Windows and other systems lack is taken away in a process of its own: a broker is still imported and serves.

No fcntl, resource, pread, pwrite, fdatasync. The file lock is that of Windows, played by a fake.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

PREPARE = """
import os, socket, sys, types
import pytest, trio  # these find out for themselves what there is
for name in ("fcntl", "resource"):
    sys.modules[name] = None
locks = []
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda fd, mode, count: locks.append(fd))
for name in ("pread", "pwrite", "preadv", "pwritev", "readv", "writev", "fdatasync", "posix_fadvise"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("MSG_MORE", "MSG_DONTWAIT"):
    if hasattr(socket, name):
        delattr(socket, name)
"""

SERVE = """
from pathlib import Path
import ottla.log.store
from tests.broker.conftest import Launcher
from tests.broker.test_connection import METADATA, PRODUCE, fetch, fetched, metadata, produce

ottla.log.store.open_file_limit = lambda: 64  # the one place that asks for the platform by name


async def main() -> None:
    big = b"x" * 700_000
    async with trio.open_nursery() as nursery:
        launcher = Launcher(nursery, Path(sys.argv[1]))
        for turn in range(2):
            running = await launcher.start()
            async with await running.client() as client:
                await client.ask(metadata("t"), METADATA)
                answer = await client.ask(produce("t", b"small"), PRODUCE)
                assert answer.responses[0].partition_responses[0].base_offset == 2 * turn
                await client.ask(produce("t", big), PRODUCE)
                assert await fetched(client, fetch("t", 0)) == [b"small", big] * (turn + 1)
            await launcher.stop()


trio.run(main)
assert locks
print("served")
"""


def run(code: str, *arguments: str) -> str:
    """What a new Python prints that runs `code` at the top of the repository."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_broker_serves_without_what_only_some_systems_have(tmp_path: Path) -> None:
    assert run(PREPARE + SERVE, str(tmp_path / "data")) == "served\n"


def test_every_module_is_imported_without_what_only_some_systems_have() -> None:
    modules = [
        f"ottla.{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}"
        for part in ("wire", "log", "coordinator", "broker")
        for path in sorted((ROOT / part).rglob("*.py"))
        if path.stem != "__init__"
    ]
    assert len(modules) > 150
    imports = "\n".join(f"import {module}" for module in modules)
    assert run(f"{PREPARE}\n{imports}\nprint('imported')") == "imported\n"
