"""Where Ottla answers an admin's call differently from Apache Kafka, and why. Whatever is not listed here is equal."""

from fnmatch import fnmatchcase
from typing import NamedTuple


class Difference(NamedTuple):
    """Paths within the answers of some clients' steps (patterns), and why they differ.

    says: what Ottla's answer must contain, where the request is not known to it.
    """

    clients: tuple[str, ...]
    step: str
    path: str
    reason: str
    says: str = ""

    def explains(self, step: str, path: str) -> bool:
        """Whether it is about this path of this step; an empty path asks for the step alone."""
        return fnmatchcase(step, self.step) and (not path or fnmatchcase(path, self.path))


def of(client: str) -> list[Difference]:
    """The differences that a client can see."""
    return [each for each in _DIFFERENCES if client in each.clients]


JAVA, GO, CONFLUENT, KAFKA_PYTHON = ("java",), ("franz_go",), ("confluent",), ("kafka_python",)
EVERYONE = JAVA + GO + CONFLUENT + KAFKA_PYTHON

# Public methods of an admin that no story calls.
NOT_CALLED: dict[str, dict[str, str]] = {}

_UNKNOWN_TO = {  # how each client says that the broker does not know a request
    "java": "UnsupportedVersionException",
    "franz_go": "broker is too old",
    "confluent": "_UNSUPPORTED_FEATURE",
    "kafka_python": "IncompatibleBrokerVersion",
}


def _not_built(reason: str, clients: tuple[str, ...], *steps: str) -> list[Difference]:
    return [Difference((client,), step, "*", reason, _UNKNOWN_TO[client]) for client in clients for step in steps]


def _config(reason: str, *names: str) -> list[Difference]:
    return [Difference(EVERYONE, "*configs of a broker", f"*/{name}*", reason) for name in names]


_WORDS = "the code is the same; Ottla says it in words of its own"
_ELR = "Apache Kafka 4.4 formats with eligible leader replicas, which sets min.insync.replicas for the cluster"
_SHARE = "share groups are not built"
_SECURITY = "SCRAM users, ACLs and delegation tokens are not built"
_QUORUM = "a quorum of one that has no voters to add or to remove, and no directory ids"
_STARTED = "Apache Kafka's own process has a controller's listener and was started with all of them named"
_AT_ONCE = "Ottla computes a target assignment within the heartbeat that asks for it (ARCHITECTURE.md)"
_OVERTAKEN = (
    "the story has put a marker of a later epoch into the partition: Apache Kafka's coordinator gives up its own and"
    " leaves the transaction in PrepareAbort, Ottla's counts the partition as ended"
)

_DIFFERENCES = [
    Difference(JAVA + CONFLUENT, "*", "*/message", _WORDS),
    Difference(GO, "*", "*/ErrMessage", _WORDS),
    Difference(GO, "describe quotas of an unknown kind", "/1", _WORDS),
    Difference(KAFKA_PYTHON, "*", "*/error_message", _WORDS),
    Difference(KAFKA_PYTHON, "*", "*/message", _WORDS),
    Difference(KAFKA_PYTHON, "describe consumer-live", "/consumer-live/error", _WORDS),
    # Configs
    Difference(EVERYONE, "*", "*min.insync.replicas*", _ELR),
    Difference(JAVA + GO, "describe configs of all brokers", "*/*n*", _ELR),
    Difference(
        GO, "set the whole state of all brokers", "/0/0/Err", f"{_ELR}, so that Apache Kafka refuses what Ottla does"
    ),
    Difference(GO, "configs of all brokers after setting the state", "*/log.retention.ms", "the state could be set"),
    *_config(
        _STARTED, "advertised.listeners", "listeners", "listener.security.protocol.map", "inter.broker.listener.name"
    ),
    *_config(_STARTED, "controller.listener.names", "controller.quorum.bootstrap.servers", "node.id", "process.roles"),
    *_config("Apache Kafka says its node.id here too", "broker.id"),
    *_config("the folder that stands for none given", "log.dir"),
    *_config("Ottla's own", "ottla.record.validation"),
    *_config("Ottla's default is the kernel's own choice", "socket.receive.buffer.bytes", "socket.send.buffer.bytes"),
    *_config("Ottla's default is a limit, where Apache Kafka has none", "queued.max.request.bytes"),
    *_config(_AT_ONCE, "group.consumer.assignment.interval.ms"),
    Difference(JAVA, "*", "*/consumer.assignment.interval.ms", _AT_ONCE),
    Difference(CONFLUENT, "configs of a group", "*/consumer.assignment.interval.ms", _AT_ONCE),
    # Transactions
    Difference(JAVA, "terminate a transaction", "/result*", _OVERTAKEN),
    Difference(JAVA, "describe transactions after all", "/txn-open/*", _OVERTAKEN),
    # The cluster
    Difference(
        JAVA + KAFKA_PYTHON,
        "describe features",
        "*.version*",
        "features of a cluster's metadata and of what is not built",
    ),
    Difference(KAFKA_PYTHON, "describe metadata quorum", "*/replica_directory_id", _QUORUM),
    Difference(KAFKA_PYTHON, "describe metadata quorum", "*/leader_epoch", "there was never an election"),
    Difference(KAFKA_PYTHON, "version data of a broker", "/api_versions/*", "requests that Ottla does not serve"),
    Difference(
        KAFKA_PYTHON, "API versions", "*", "the client fails on requests that it does not know; Ottla serves none"
    ),
    # Not built: the client says so at once
    *_not_built(_SHARE, JAVA, "describe share groups", "list offsets of share groups"),
    *_not_built(_SHARE, JAVA, "alter offsets of a share group", "delete offsets of a share group"),
    *_not_built(_SHARE, GO, "describe share groups", "offsets of share groups"),
    *_not_built(_SHARE, GO, "alter offsets of a share group", "delete offsets of a share group"),
    Difference(
        JAVA, "delete share groups", "*", f"{_SHARE}: there is no such group, which Apache Kafka made two steps earlier"
    ),
    *_not_built("streams groups (KIP-1071) are not built", JAVA, "describe streams groups"),
    *_not_built(
        _SECURITY, EVERYONE, "create ACLs", "describe ACLs", "delete ACLs", "describe SCRAM users", "alter SCRAM users"
    ),
    *_not_built(_SECURITY, JAVA, "describe a SCRAM user that is not"),
    *_not_built(_SECURITY, CONFLUENT, "describe a SCRAM user"),
    *_not_built(_SECURITY, JAVA + GO, "create a delegation token", "renew a delegation token"),
    *_not_built(_SECURITY, JAVA + GO, "expire a delegation token", "describe delegation tokens"),
    *_not_built(_QUORUM, JAVA, "add a raft voter", "remove a raft voter", "unregister a controller"),
]
