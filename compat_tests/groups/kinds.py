"""Which clients a group is made of: one library in one way, or several libraries together."""

from dataclasses import dataclass
from typing import Any

from compat_tests.client import MemberConfig
from compat_tests.drivers import missing


@dataclass(frozen=True)
class Part:
    """One library in one way: the name of its folder, and what it sets of MemberConfig."""

    client: str
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Kind:
    """A group whose members are of these parts in turn.

    claims_what_it_lost: a member that slept through its expulsion has to be replaced, see the client's FINDINGS.md.
    """

    name: str
    parts: tuple[Part, ...]
    static: bool = False
    claims_what_it_lost: bool = False

    def member(self, number: int, group: str, topic: str, session_timeout_ms: int) -> tuple[str, MemberConfig]:
        """Client and configuration of the member of that number."""
        part = self.parts[number % len(self.parts)]
        options = dict(part.options)
        if self.static:
            options["instance_id"] = f"instance-{number}"
        return part.client, MemberConfig(group, topic, session_timeout_ms, **options)

    @property
    def consumer(self) -> bool:
        """Whether its members speak the protocol of KIP-848."""
        return dict(self.parts[0].options).get("protocol") == "consumer"

    def missing(self) -> str | None:
        """Why it cannot run on this machine, or None."""
        return next((reason for part in self.parts if (reason := missing(part.client))), None)


def _part(client: str, **options: Any) -> Part:
    return Part(client, tuple(options.items()))


_KAFKA_PYTHON = _part("kafka_python", assignor="range")
_AIOKAFKA = _part("aiokafka", assignor="roundrobin")
_CONFLUENT = _part("confluent", assignor="range")
_CONFLUENT_848 = _part("confluent", protocol="consumer")
_AIOKAFKA_RANGE = _part("aiokafka", assignor="range")
_FRANZ_GO_RANGE = _part("franz_go", assignor="range")
_FRANZ_GO = _part("franz_go", assignor="cooperative-sticky")
_FRANZ_GO_848 = _part("franz_go", protocol="consumer")
_JAVA_EAGER = _part("java", assignor="range")
_JAVA_COOPERATIVE = _part("java", assignor="cooperative-sticky")
_JAVA_848 = _part("java", protocol="consumer")

KINDS = (
    Kind("kafka-python", (_KAFKA_PYTHON,)),
    Kind(
        "kafka-python-cooperative",
        (_part("kafka_python", assignor="cooperative-sticky"),),
        claims_what_it_lost=True,
    ),
    Kind("aiokafka", (_AIOKAFKA,)),
    Kind("confluent", (_CONFLUENT,)),
    Kind("confluent-cooperative", (_part("confluent", assignor="cooperative-sticky"),)),
    Kind("confluent-848", (_CONFLUENT_848,)),
    Kind("franz-go", (_FRANZ_GO,)),
    Kind("franz-go-848", (_FRANZ_GO_848,)),
    Kind("java-eager", (_JAVA_EAGER,)),
    Kind("java-cooperative", (_JAVA_COOPERATIVE,)),
    Kind("java-static", (_JAVA_EAGER,), static=True),
    Kind("java-848", (_JAVA_848,)),
    Kind("java-848-range", (_part("java", protocol="consumer", assignor="range"),)),
    # one group of several libraries: they read each other's subscriptions and assignments
    Kind(
        "all-with-range",
        (
            _KAFKA_PYTHON,
            _CONFLUENT,
            _part("aiokafka", assignor="range"),
            _part("franz_go", assignor="range"),
            _JAVA_EAGER,
        ),
    ),
    Kind("all-with-848", (_CONFLUENT_848, _FRANZ_GO_848, _JAVA_848)),
)

STATIC = tuple(  # no franz-go 848 and no sticky franz-go: see its FINDINGS.md
    Kind(name, parts, static=True)
    for name, parts in (
        ("kafka-python", (_KAFKA_PYTHON,)),
        ("aiokafka", (_AIOKAFKA,)),
        ("confluent", (_CONFLUENT,)),
        ("confluent-848", (_CONFLUENT_848,)),
        ("franz-go", (_FRANZ_GO_RANGE,)),
        ("java-eager", (_JAVA_EAGER,)),
        ("java-cooperative", (_JAVA_COOPERATIVE,)),
        ("java-848", (_JAVA_848,)),
    )
)
