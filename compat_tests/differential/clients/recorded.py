"""What clients asked and Apache Kafka answered: data/CLIENT.jsonl.gz, and how it comes into being.

python -m compat_tests.differential.clients.recorded [CLIENT ...]   tells the story to an Ottla that records it, plays
that to a Kafka of its own, and keeps what Kafka answered, in the form of a recording (docs/recording.md)
"""

from __future__ import annotations

import gzip
import importlib
import json
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from compat_tests.apache_kafka import ApacheKafka
from compat_tests.client import Client
from compat_tests.differential.clients.story import tell
from compat_tests.harness import Broker
from compat_tests.page.names import CLIENTS
from ottla.commands.comparing import ABSENT, Difference, Matching
from ottla.commands.playing import Exchange, Player
from ottla.commands.recorded import Line, Recording

DATA: Final = Path(__file__).parent / "data"
DIFFERENCES: Final = Path(__file__).parents[2] / "differences.toml"
SETTINGS: Final = {"auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": "0"}
KAFKA_SETTINGS: Final = {**SETTINGS, "group.coordinator.append.linger.ms": "0"}
PATIENCE_S: Final = 10.0
#: How people are told, and what a broker can do: generated/ compares what is announced.
_SEEN_ELSEWHERE: Final = ("errorMessage", "apiKeys", "supportedFeatures", "finalizedFeatures", "finalizedFeaturesEpoch")
#: What a Fetch tells that has waited longer: ends that have moved on, and what came with that.
_ENDS: Final = re.compile(r"\.(highWatermark|lastStableOffset)$")
_NEWS: Final = re.compile(r"\.(records|abortedTransactions)\[\d+\]$|^responses\[[^.]*\]$")
RETRY_S: Final = 30.0  # a Kafka that has just started is not ready for everything


class Differing(NamedTuple):
    """A field that Ottla and Kafka answer otherwise; values as JSON."""

    api: str
    field: str
    ours: str
    theirs: str

    @classmethod
    def of(cls, exchange: Exchange, one: Difference) -> Differing:
        """As differences.toml has it: what is long is only there."""
        return cls(exchange.api, one.path, _short(one.after), _short(one.before))


def _short(value: Any) -> str:
    return json.dumps("<absent>" if value is ABSENT else "<there>" if isinstance(value, dict | list) else value)


def known(client: str) -> dict[Differing, str]:
    """What must differ in a client's story, and why."""
    return {
        Differing(one["api"], one["field"], json.dumps(one["ours"]), json.dumps(one["theirs"])): one["reason"]
        for one in tomllib.loads(DIFFERENCES.read_text())["of_clients"]
        if client in one["clients"]
    }


class _Copying(Player):
    """Plays, and keeps what was asked and answered, in the words of the broker that it plays to."""

    def __init__(self, address: tuple[str, int], matching: Matching) -> None:
        super().__init__(address, matching, lambda exchange, differences: None, timeout_s=PATIENCE_S, retry_s=RETRY_S)
        self._translating = matching
        self._answers: dict[int, Any] = {}
        self.lines: list[Line] = []

    def _ask(self, line: Line) -> None:
        translated = {**line, "request": self._translating.translate(line["request"])} if "request" in line else line
        self.lines.append(translated)
        super()._ask(line)

    def _answer(self, asked: Any, version: int, took_s: float) -> Any:
        answer = super()._answer(asked, version, took_s)
        self._answers[asked.exchange.n] = answer
        return answer

    def _hear(self, line: Line) -> None:
        super()._hear(line)
        self.lines.append({**line, "response": self._answers.get(line["n"], line["response"])})


def clients() -> list[str]:
    """Whose stories are kept."""
    return sorted(path.name.removesuffix(".jsonl.gz") for path in DATA.glob("*.jsonl.gz"))


def play(client: str, port: int, folder: Path) -> tuple[int, set[Differing]]:
    """The client's story to the broker on 127.0.0.1: how many exchanges, and where it answers otherwise than Kafka."""
    path = folder / f"{client}.jsonl"
    with gzip.open(DATA / f"{client}.jsonl.gz") as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)
    waiting = overtaken(Recording(str(path)).lines())
    found: set[Differing] = set()

    def tell(exchange: Exchange, differences: list[Difference]) -> None:
        if not (exchange.n in waiting and all(map(is_news, differences))):
            found.update(Differing.of(exchange, one) for one in differences)

    player = Player(("127.0.0.1", port), Matching(_SEEN_ELSEWHERE), tell, timeout_s=PATIENCE_S, retry_s=RETRY_S)
    result = player.play(Recording(str(path)))
    assert not result.not_played
    return result.played, found


def overtaken(lines: Iterable[Line]) -> set[int]:
    """The numbers of the Fetches that waited in vain while others asked: in another replay they may have waited for
    what those wrote, since who waits, waits for time.
    """
    found: set[int] = set()
    fetching: dict[int, bool] = {}  # by number: whether others have asked since
    for line in lines:
        if line["kind"] == "request":
            fetching = dict.fromkeys(fetching, True)
            if line.get("api") == "Fetch":
                fetching[line["n"]] = False
        elif line["kind"] == "response" and fetching.pop(line["n"], False):
            partitions = [one for topic in line["response"]["responses"] for one in topic["partitions"]]
            if not any(one["records"] for one in partitions):
                found.add(line["n"])
    return found


def is_news(one: Difference) -> bool:
    """Whether a Fetch would differ in this if it had waited longer: an end further on, or something that came."""
    if _ENDS.search(one.path):
        return one.before is ABSENT or (isinstance(one.after, int) and one.after > one.before)
    return one.before is ABSENT and _NEWS.search(one.path) is not None


@contextmanager
def ottla(folder: Path, *args: str) -> Iterator[Broker]:
    """A fresh Ottla."""
    with Broker(folder, settings=SETTINGS, args=args) as broker:
        yield broker


@contextmanager
def kafka(folder: Path) -> Iterator[ApacheKafka]:
    """A fresh Kafka."""
    with ApacheKafka(folder, settings=KAFKA_SETTINGS, heap="-Xmx512M -Xms256M") as broker:
        yield broker


def record(adapter: type[Client], folder: Path) -> None:
    """Tells, plays, keeps."""
    told = folder / "told.jsonl"
    with ottla(folder / "ottla", "--record", str(told)) as broker:
        client = adapter(broker.bootstrap)
        tell(client)
        client.close()
        broker.terminate()
    with kafka(folder / "kafka") as broker:
        copying = _Copying(("127.0.0.1", broker.port), Matching())
        recording = Recording(str(told))
        copying.play(recording)
    lines = [recording.head, *copying.lines]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    packed = gzip.compress(text.encode(), 9, mtime=0)
    DATA.mkdir(exist_ok=True)
    (DATA / f"{adapter.name}.jsonl.gz").write_bytes(packed)
    print(f"{adapter.name}: {copying.result.played} exchanges, {copying.result.different} differ, {len(packed)} bytes")


def _adapter(name: str) -> type[Client]:
    """That of the client folder's scenarios."""
    module = importlib.import_module(f"compat_tests.{name}.test_{name}")
    (found,) = [one.adapter for one in vars(module).values() if isinstance(one, type) and vars(one).get("adapter")]
    return found


if __name__ == "__main__":
    for name in sys.argv[1:] or CLIENTS:
        with tempfile.TemporaryDirectory() as scratch:
            record(_adapter(name), Path(scratch))
