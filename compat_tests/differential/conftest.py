"""Fixtures: both brokers, each fresh, with the same settings."""

import os
import shutil
from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path

import pytest

from compat_tests.differential.asking import Story
from compat_tests.harness import ROOT, ApacheKafka, Broker

SCRIPTS = Path(os.environ.get("OTTLA_COMPAT_KAFKA", ROOT.parent / "shared" / "kafka"))
VERSION = "4.4.0"  # the release whose rules Ottla follows
SETTINGS = {
    "group.min.session.timeout.ms": "100",
    "group.initial.rebalance.delay.ms": "0",
    "group.max.size": "3",
    "auto.create.topics.enable": "false",
}

Telling = Callable[[Story], None]


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Broker]]:
    """Apache Kafka and Ottla."""
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    if not (SCRIPTS / "start.sh").is_file():
        pytest.skip(f"no start.sh in {SCRIPTS}: set OTTLA_COMPAT_KAFKA")
    folder = tmp_path_factory.mktemp("differential")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTTLA_COMPAT_KAFKA", str(SCRIPTS))
        patch.setenv("KAFKA_VERSION", VERSION)
        with (
            ApacheKafka(folder / "kafka", settings=SETTINGS) as kafka,
            Broker(folder / "ottla", settings=SETTINGS) as ottla,
        ):
            yield kafka, ottla


@pytest.fixture
def tell_both(both: tuple[Broker, Broker], fresh: Callable[[str], str]) -> Callable[[Telling], None]:
    """Tells a story to both and compares what they said, word for word."""

    def tell(telling: Telling) -> None:
        name = fresh("story")
        transcripts = []
        for broker in both:
            with Story(broker.port, name) as story:
                telling(story)
                transcripts.append(story.transcript)
        theirs, ours = transcripts
        if ours != theirs:
            pytest.fail("\n".join(unified_diff(theirs, ours, "Apache Kafka", "Ottla", lineterm="", n=2)), pytrace=False)

    return tell
