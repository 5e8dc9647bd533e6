"""How clients and suites are called on the page, and in which order they stand there. What is not here keeps its
folder's name and comes last.
"""

from __future__ import annotations

from typing import Final

#: client folder: title, language
CLIENTS: Final[dict[str, tuple[str, str]]] = {
    "kafka_python": ("kafka-python", "Python"),
    "kafka_python_2": ("kafka-python 2", "Python"),
    "confluent": ("confluent-kafka", "Python on librdkafka"),
    "aiokafka": ("aiokafka", "Python"),
    "java": ("kafka-clients", "Java"),
    "java_2": ("kafka-clients (old)", "Java"),
    "franz_go": ("franz-go", "Go"),
    "sarama": ("Sarama", "Go"),
    "kafka_go": ("kafka-go", "Go"),
    "kafkajs": ("KafkaJS", "JavaScript"),
    "rskafka": ("rskafka", "Rust"),
}

#: folder: title, and what more is to say
SUITES: Final[dict[str, tuple[str, str]]] = {
    "groups": ("Groups under storms: crashes, zombies, rolling restarts", ""),
    "transactions": ("Transactions", "tv1, tv2: the level of `transaction.version`."),
    "admin": (
        "Every method of an admin client",
        "Compared with Apache Kafka's answers; differences: [differences.py](../compat_tests/admin/differences.py).",
    ),
    "faults": (
        "Faults that were ordered, and what clients make of them",
        "One list, `compat_tests/faults/`; where libraries differ, the story says which one does what.",
    ),
    "recipes": ("The recipes of docs/testing.md, in four languages", ""),
    "sample_project": ("A thousand tests, each with a broker of its own", ""),
    "nodes": ("Nodes: leads that move, nodes that go down", ""),
    "streams": ("Kafka Streams", ""),
    "connect": ("Kafka Connect", ""),
    "spring": ("Spring Kafka", ""),
    "faststream": ("FastStream", ""),
    "kcat": ("kcat", ""),
    "topics": ("Topics that change under load and crashes", ""),
    "folders": ("Data folders that go from Ottla to Apache Kafka and back", ""),
    "differential": ("Stories told to Ottla and to Apache Kafka, word for word", ""),
    "raw_protocol": ("The raw protocol", ""),
    "cli": ("Ottla's own command line", ""),
}

#: scenarios of a module
SCENARIOS: Final[dict[str, str]] = {
    "producing": "Producing",
    "consuming": "Consuming",
    "grouping": "Groups",
    "administering": "Administering",
    "transacting": "Transactions",
    "failing": "Errors and retries",
}

CONFIGS: Final[dict[str, str]] = {
    "topic": "topics",
    "broker": "the broker",
    "group": "groups",
    "client_metrics": "client metrics",
}


def client_title(client: str) -> str:
    """A client's, or that of a group of several as it is."""
    return CLIENTS[client][0] if client in CLIENTS else client


def place(known: dict[str, object], name: str) -> tuple[int, str]:
    """A key to sort by: as in the table, then by name."""
    names = [*known]
    return (names.index(name) if name in names else len(names)), name
