"""A group member in a process of its own, so that it can be killed: `python -m compat_tests.member`, and its handle.

The process, or the driver of another language (drivers.py), tells what happens to it as one JSON line an event, with
the machine's monotonic clock; it stops cleanly when its standard input closes. `Story` reads the events of several
members together: who owned and processed what.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, NamedTuple, Self

from compat_tests.client import Client, MemberConfig, load_client
from compat_tests.drivers import driver, flags, has_driver
from compat_tests.harness import DEADLINE_S, ROOT

_GIVEN_BACK = {"revoked", "lost"}
_GONE = {"suspended", "ended"}
_STDERR_SHOWN = 4000  # bytes of what a member complained of before it ended


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
        self._owned: dict[str, set[int]] = defaultdict(set)
        self._committed: dict[int, int] = {}
        self._failures: list[str] = []

    def add(self, event: Event) -> None:
        """Called by the members' reader threads."""
        with self.changed:
            self.events.append(event)
            self._note(event)
            self.changed.notify_all()

    def _note(self, event: Event) -> None:
        """Who waits looks at these after each event: they are kept, not found anew."""
        if event.name == "assigned":
            self._owned[event.member].update(event.value)
        elif event.name in _GIVEN_BACK:
            self._owned[event.member].difference_update(event.value)
        elif event.name in _GONE:
            self._owned.pop(event.member, None)
        elif event.name == "committed":
            for partition, offset in event.value.items():
                self._committed[int(partition)] = max(offset, self._committed.get(int(partition), 0))

    def fail(self, why: str) -> None:
        """A member did what it never should: nobody waits for it any longer."""
        with self.changed:
            self._failures.append(why)
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
        """Waits until the condition holds; it is looked at again after each event. A member that failed ends it."""
        with self.changed:
            met = self.changed.wait_for(lambda: bool(self._failures) or condition(), timeout_s)
            assert not self._failures, "\n".join(self._failures)
        if met:
            return
        tail = "\n".join(map(str, [e for e in self.events if e.name not in ("records", "committed")][-40:]))
        raise AssertionError(f"not within {timeout_s:.0f} s: {what}; owned {self.owned()}; events\n{tail}")

    def named(self, name: str, start: int = 0) -> list[Event]:
        """The events of one name since position `start`."""
        return [event for event in self.events[start:] if event.name == name]

    def owned(self) -> dict[str, set[int]]:
        """Member -> the partitions it owns now. One that ended or was suspended owns none: it cannot give them back."""
        with self.changed:
            return {member: set(partitions) for member, partitions in self._owned.items()}

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
        """(partition, offset) -> how often it was processed by a member that gave the partition back, read on from
        before it, or ended, without a commit beyond it being acknowledged to it.
        """
        left: Counter[tuple[int, int]] = Counter()
        open_records: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
        for event in self.events:
            mine = open_records[event.member]
            if event.name == "records":
                done = {(partition, offset) for partition, offset, _ in event.value}
                left.update(mine & done)
                mine |= done
            elif event.name == "committed":
                ends = {int(partition): end for partition, end in event.value.items()}
                mine -= {(partition, offset) for partition, offset in mine if offset < ends.get(partition, 0)}
            elif event.name in _GIVEN_BACK:
                given = {one for one in mine if one[0] in event.value}
                left.update(given)
                mine -= given
        for records in open_records.values():
            left.update(records)
        return left

    def committed(self) -> dict[int, int]:
        """Partition -> the highest committed offset that a member was told of."""
        with self.changed:
            return dict(self._committed)

    def join(self, client: str, bootstrap: str, config: MemberConfig, name: str = "") -> "Member":
        """Starts a member process."""
        member = Member(self, name or f"m{len(self.members)}", client, bootstrap, config)
        self.members.append(member)
        return member

    def stop(self, members: Iterable["Member"]) -> None:
        """A clean end of several members at once."""
        members = [*members]
        for member in members:
            member.ask_to_stop()
        for member in members:
            member.stop()

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
        self._is_to_end = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._last_words = ""
        self._process = subprocess.Popen(
            _command(client, bootstrap, config),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def kill(self) -> float:
        """SIGKILL. Gives the moment, on the monotonic clock."""
        at_s = time.monotonic()
        self._is_to_end = True
        self._process.kill()
        self._end()
        return at_s

    def ask_to_stop(self) -> None:
        """Begins a clean end."""
        assert self._process.stdin is not None
        self._is_to_end = True
        self._process.stdin.close()

    def stop(self) -> float:
        """A clean end: the member leaves its group. Gives the moment before, on the monotonic clock."""
        at_s = time.monotonic()
        self.ask_to_stop()
        self._end()
        assert self._process.returncode == 0, self._how_it_ended()
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
            if line.endswith("\n"):  # else a kill cut it off
                at_s, name, value = json.loads(line)
                self._story.add(Event(self.name, at_s, name, value))
        self._process.stdout.close()
        self._process.wait()
        with self._stderr:
            self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _STDERR_SHOWN))
            self._last_words = self._stderr.read().decode(errors="replace")
        self._story.add(Event(self.name, time.monotonic(), "ended", None))
        if not self._is_to_end:
            self._story.fail(self._how_it_ended())

    def _how_it_ended(self) -> str:
        return f"{self.name} ended with {self._process.returncode}\n{self._last_words}"


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
    serve_member(client, MemberConfig(**arguments))


def serve_member(client: Client, config: MemberConfig) -> None:
    """Runs the member in this process: commands from standard input, events to standard output."""
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
    client.run_member(config, emit, stop)


if __name__ == "__main__":
    _main()
