"""A group member in a process of its own, so that it can be killed: `python -m compat_tests.member`, and its handle.

The process, or the driver of another language (drivers.py), tells what happens to it as one JSON line an event, with
the machine's monotonic clock; it stops cleanly when its standard input closes. `Story` reads the events of several
members together: who owned and processed what.
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, NamedTuple, Self

from compat_tests.client import MemberConfig, load_client
from compat_tests.drivers import driver, flags, has_driver
from compat_tests.harness import DEADLINE_S, ROOT

_GIVEN_BACK = {"revoked", "lost"}
_GONE = {"suspended", "ended"}


class Event(NamedTuple):
    """What a member told. at_s: monotonic clock of the machine, comparable between processes."""

    member: str
    at_s: float
    name: str
    value: Any


class Story:
    """The events of several members in order of arrival. All waiting happens here."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.changed = threading.Condition()
        self.members: list[Member] = []

    def add(self, event: Event) -> None:
        """Called by the members' reader threads."""
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
        """Waits until the condition holds; it is looked at again after each event."""
        with self.changed:
            if self.changed.wait_for(condition, timeout_s):
                return
        tail = "\n".join(map(str, [e for e in self.events if e.name not in ("records", "committed")][-40:]))
        raise AssertionError(f"not within {timeout_s:.0f} s: {what}; owned {self.owned()}; events\n{tail}")

    def named(self, name: str, start: int = 0) -> list[Event]:
        """The events of one name since position `start`."""
        return [event for event in self.events[start:] if event.name == name]

    def owned(self) -> dict[str, set[int]]:
        """Member -> the partitions it owns now. One that ended or was suspended owns none: it cannot give them back."""
        owned: dict[str, set[int]] = defaultdict(set)
        for event in self.events:
            if event.name == "assigned":
                owned[event.member].update(event.value)
            elif event.name in _GIVEN_BACK:
                owned[event.member].difference_update(event.value)
            elif event.name in _GONE:
                owned.pop(event.member, None)
        return dict(owned)

    def shared_among(self, names: Iterable[str], partitions: int) -> bool:
        """Each of the members owns something, and together they own each partition exactly once."""
        owned = self.owned()
        parts = sorted(partition for name in names for partition in owned.get(name, ()))
        return all(owned.get(name) for name in names) and parts == list(range(partitions))

    def two_owners(self) -> list[str]:
        """Each moment at which a partition was given to a member while another one still had it."""
        owner: dict[int, str] = {}
        faults = []
        for event in sorted(self.events, key=lambda event: event.at_s):
            if event.name == "assigned":
                for partition in event.value:
                    if owner.get(partition, event.member) != event.member:
                        faults.append(f"{partition} to {event.member} while {owner[partition]} has it: {event}")
                    owner[partition] = event.member
            elif event.name in _GIVEN_BACK | _GONE:
                for partition in event.value if event.name in _GIVEN_BACK else list(owner):
                    if owner.get(partition) == event.member:
                        del owner[partition]
        return faults

    def processed(self) -> Counter[tuple[int, int]]:
        """(partition, offset) -> how often it was processed."""
        return Counter((p, offset) for event in self.named("records") for p, offset, _ in event.value)

    def uncommitted(self) -> Counter[tuple[int, int]]:
        """(partition, offset) -> how often it was processed without a commit being acknowledged after it."""
        open_batches: dict[str, list[tuple[int, int]]] = {}
        left: Counter[tuple[int, int]] = Counter()
        for event in self.events:
            if event.name == "records":
                left.update(open_batches.pop(event.member, ()))
                open_batches[event.member] = [(p, offset) for p, offset, _ in event.value]
            elif event.name == "committed":
                open_batches.pop(event.member, None)
        for batch in open_batches.values():
            left.update(batch)
        return left

    def committed(self) -> dict[int, int]:
        """Partition -> the highest committed offset that a member was told of."""
        highest: dict[int, int] = {}
        for event in self.named("committed"):
            for partition, offset in event.value.items():
                highest[int(partition)] = max(offset, highest.get(int(partition), 0))
        return highest

    def join(self, client: str, bootstrap: str, config: MemberConfig, name: str = "") -> "Member":
        """Starts a member process."""
        member = Member(self, name or f"m{len(self.members)}", client, bootstrap, config)
        self.members.append(member)
        return member

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.kill()


class Member:
    """The handle of one member process."""

    def __init__(self, story: Story, name: str, client: str, bootstrap: str, config: MemberConfig) -> None:
        self.name = name
        self._story = story
        self._process = subprocess.Popen(
            _command(client, bootstrap, config),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def kill(self) -> float:
        """SIGKILL. Gives the moment, on the monotonic clock."""
        at_s = time.monotonic()
        self._process.kill()
        self._end()
        return at_s

    def stop(self) -> float:
        """A clean end: the member leaves its group. Gives the moment before, on the monotonic clock."""
        assert self._process.stdin is not None
        at_s = time.monotonic()
        self._process.stdin.close()
        self._end()
        assert self._process.returncode == 0, f"{self.name} ended with {self._process.returncode}"
        return at_s

    def hold(self) -> None:
        """The member stays with the next records it gets, before their commit, says `holding`, and waits for `go`."""
        self._command("hold")

    def go(self) -> None:
        """Ends `hold`. May be said while the member is suspended."""
        self._command("go")

    def suspend(self) -> None:
        """SIGSTOP: the member does nothing at all until `resume`, and is thought dead. What it owned is lost to it."""
        self._process.send_signal(signal.SIGSTOP)
        self._story.add(Event(self.name, time.monotonic(), "suspended", None))

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def _command(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _end(self) -> None:
        self._process.wait(DEADLINE_S)
        self._thread.join(DEADLINE_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at_s, name, value = json.loads(line)
            self._story.add(Event(self.name, at_s, name, value))
        self._process.stdout.close()
        self._story.add(Event(self.name, time.monotonic(), "ended", None))


def _command(client: str, bootstrap: str, config: MemberConfig) -> list[str]:
    """The command line of a member process."""
    values = {"bootstrap": bootstrap, **asdict(config)}
    if has_driver(client):
        return [*driver(client), "member", *flags(values)]
    return [sys.executable, "-m", "compat_tests.member", json.dumps({"client": client, **values})]


def _main() -> None:
    parser = argparse.ArgumentParser(description="one member of a consumer group")
    parser.add_argument("arguments", type=json.loads)
    arguments = parser.parse_args().arguments
    client = load_client(arguments.pop("client"))(arguments.pop("bootstrap"))
    stop, hold, go = threading.Event(), threading.Event(), threading.Event()

    def read_commands() -> None:
        for line in sys.stdin:
            (hold if line == "hold\n" else go).set()
        stop.set()
        go.set()

    def emit(name: str, value: Any) -> None:
        print(json.dumps([time.monotonic(), name, value]), flush=True)
        if name == "records" and hold.is_set():
            hold.clear()
            emit("holding", None)
            go.wait()
            go.clear()

    threading.Thread(target=read_commands, daemon=True).start()
    client.run_member(MemberConfig(**arguments), emit, stop)


if __name__ == "__main__":
    _main()
