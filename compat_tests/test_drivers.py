"""What the Java and franz-go clients do outside of storms and transactions: produce with every codec, patterns."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from compat_tests.client import MemberConfig
from compat_tests.confluent.adapter import Adapter
from compat_tests.drivers import driver, flags, missing
from compat_tests.harness import DEADLINE_S, Broker
from compat_tests.member import Story

pytestmark = pytest.mark.long

Name = Callable[[str], str]
COUNT = 300
PARTITIONS = 3


@pytest.fixture(params=["java", "franz_go"])
def client(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_it_produces_is_read_by_another_client(client: str, broker: Broker, fresh: Name, codec: str) -> None:
    topic, other = fresh(f"from-{client}"), Adapter(broker.bootstrap)
    other.create_topic(topic, PARTITIONS)
    values = {"bootstrap": broker.bootstrap, "topic": topic, "count": COUNT, "partitions": PARTITIONS, "codec": codec}
    sent = _told([*driver(client), "producer", *flags(values)])["sent"]
    assert sent == [[n % PARTITIONS, n // PARTITIONS, str(n)] for n in range(COUNT)]
    with other.reader(topic, range(PARTITIONS)) as reader:
        reader.seek_beginning()
        received = [[one.partition, one.offset, (one.value or b"").decode()] for one in reader.take(COUNT)]
    assert sorted(received) == sorted(sent)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_it_consumes_all_topics_of_a_pattern(client: str, broker: Broker, fresh: Name, protocol: str) -> None:
    prefix, other = fresh(f"pattern-{protocol}"), Adapter(broker.bootstrap)
    for name, partitions in (("a", 2), ("b", 3), ("other", 4)):
        other.create_topic(f"{prefix}.{name}", partitions)
    with Story() as story:
        config = MemberConfig(fresh("group"), topic="", pattern=rf"{prefix}\.[ab]", protocol=protocol)
        member = story.join(client, broker.bootstrap, config)
        story.wait_for(
            lambda: sorted(p for event in story.named("assigned") for p in event.value) == [0, 0, 1, 1, 2],
            "it has the partitions of both topics",
        )
        member.stop()


def _told(command: list[str]) -> dict[str, Any]:
    """Event name -> value, of a driver that runs to its end."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3 * DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: value for _, name, value in map(json.loads, done.stdout.splitlines())}
