"""What Apache Kafka said, cell by cell: data/kafka.jsonl.gz, and how it comes into being.

python -m compat_tests.differential.generated.recorded            asks a Kafka of its own, writes the file
python -m compat_tests.differential.generated.recorded words      where Ottla only words it otherwise
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from compat_tests.apache_kafka import ApacheKafka
from compat_tests.differential.generated.cases import cells
from compat_tests.differential.generated.differences import between
from compat_tests.differential.generated.playing import SILENCE_S, play
from compat_tests.differential.generated.scene import KAFKA_SETTINGS, SETTINGS, Stage
from compat_tests.harness import DEADLINE_S, Broker

FILE: Final = Path(__file__).parent / "data" / "kafka.jsonl.gz"


@contextmanager
def kafka_stage(folder: Path, *, patience_s: float = DEADLINE_S) -> Iterator[Stage]:
    """A Kafka that plays cells."""
    with ApacheKafka(folder, settings=KAFKA_SETTINGS, heap="-Xmx512M -Xms256M") as kafka:
        stage = Stage(kafka.port, patience_s=patience_s)
        yield stage
        stage.close()


@contextmanager
def ottla_stage(folder: Path) -> Iterator[Stage]:
    """An Ottla that does."""
    with Broker(folder, settings=SETTINGS) as broker:
        stage = Stage(broker.port)
        yield stage
        stage.close()


@cache
def recorded() -> dict[str, dict[str, Any]]:
    """By cell: by case: what was asked (its checksum) and what Kafka said."""
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        return {line["cell"]: line["cases"] for line in map(json.loads, file)}


def write(played: dict[str, dict[str, Any]]) -> None:
    """Into the file; the same answers give the same bytes."""
    lines = [json.dumps({"cell": cell, "cases": cases}, separators=(",", ":")) for cell, cases in played.items()]
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), 9, mtime=0))


def _record(folder: Path, apis: list[str]) -> None:
    before = recorded() if apis else {}
    with kafka_stage(folder / "kafka", patience_s=SILENCE_S) as stage:
        played = {
            str(cell): play(stage, cell) if not apis or cell.api in apis else before[str(cell)] for cell in cells()
        }
    write(played)
    print(f"{sum(map(len, played.values()))} exchanges in {len(played)} cells, {FILE.stat().st_size} bytes")


def _show_words(folder: Path) -> None:
    with ottla_stage(folder / "ottla") as stage:
        for cell in cells():
            for difference in between(play(stage, cell), recorded()[str(cell)]):
                if difference.is_words:
                    print(cell, difference)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        if sys.argv[1:] == ["words"]:
            _show_words(Path(scratch))
        else:
            _record(Path(scratch), sys.argv[1:])
