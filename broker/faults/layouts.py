"""Where requests and answers have topics, partitions and groups: a table, and reading by it.

One place that knows the shapes; what is done with the places found is partitions.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Protocol

from ottla.wire.apis import API, ApiKey
from ottla.wire.schema import ZERO_UUID, Message, Struct, StructMeta

Topics = dict[str, list[int] | None]  # by name the partitions, None: all of them


class TopicNames(Protocol):
    """Which topics there are, and what they are called."""

    def names(self) -> Iterable[str]: ...
    def name_of(self, topic_id: bytes) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message has topics, and each of them its partitions. `name` None: the topics are plain names; `id`: the
    attribute of the topic's id, where it has one; `partitions` None: there are none; `index` None: they are plain
    numbers. `within`: a list whose elements have `topics` each.
    """

    topics: str
    name: str | None = "name"
    id: str | None = None
    partitions: str | None = "partitions"
    index: str | None = "partition_index"
    within: str | None = None

    def holders(self, message: Message) -> Iterator[Any]:
        """What has an attribute `topics`."""
        if self.within is None:
            yield message
        else:
            yield from getattr(message, self.within)

    def rows(self, message: Message) -> Iterator[Any]:
        """All topics, as they stand in `message`; none where it says "all"."""
        for holder in self.holders(message):
            yield from getattr(holder, self.topics) or ()

    def means_all(self, message: Message) -> bool:
        """Whether it says "all topics" instead of naming some."""
        return any(getattr(holder, self.topics) is None for holder in self.holders(message))

    def name_in(self, row: Any, names: TopicNames) -> str | None:
        """The name of a topic; None: it is named by an id that there is not."""
        if self.name is None:
            return row if isinstance(row, str) else None
        if self.id is not None:
            topic_id = getattr(row, self.id)
            if topic_id != ZERO_UUID:
                return names.name_of(topic_id)
        name: str | None = getattr(row, self.name)
        return name

    def indexes(self, row: Any) -> list[int] | None:
        """The partitions of a topic; None: all."""
        if self.partitions is None:
            return None
        listed = getattr(row, self.partitions)
        return list(listed) if self.index is None else [getattr(each, self.index) for each in listed]


@dataclass(frozen=True, slots=True)
class Layout:
    """An API's request and answer. `topic`, `partition`: the classes of the answer's rows, `error` the attribute of the
    error in the innermost of them, `topic_error` that of the topic, where both have one; `blank`: what else a row
    with an error says, `blank_unknown` if the error is that the topic is not there. `applies`: it changes something, so
    that what is refused must not reach the handler. `leads`: it asks leaders. `until`: the last version that has this
    form.
    """

    asked: Place
    told: Place
    topic: str
    partition: str | None
    error: str = "error_code"
    blank: Mapping[str, Any] = field(default_factory=dict)
    blank_unknown: Mapping[str, Any] | None = None
    topic_error: str | None = None
    applies: bool = False
    leads: bool = False
    until: int = 1 << 15


_BY_INDEX: Final = Place("topics")
_BY_INDEX_OR_ID: Final = Place("topics", id="topic_id")
_TOPICS_ONLY: Final = Place("topics", partitions=None)

#: By API its forms, the oldest versions first.
LAYOUTS: Final[dict[int, tuple[Layout, ...]]] = {
    ApiKey.PRODUCE: (
        Layout(
            Place("topic_data", id="topic_id", partitions="partition_data", index="index"),
            Place("responses", id="topic_id", partitions="partition_responses", index="index"),
            "TopicProduceResponse",
            "PartitionProduceResponse",
            blank={"base_offset": -1},
            applies=True,
            leads=True,
        ),
    ),
    ApiKey.FETCH: (
        Layout(
            Place("topics", name="topic", id="topic_id", index="partition"),
            Place("responses", name="topic", id="topic_id"),
            "FetchableTopicResponse",
            "PartitionData",
            blank={"high_watermark": -1, "records": b"", "aborted_transactions": None},  # as in Kafka after a read,
            blank_unknown={"high_watermark": -1, "records": b""},  # and before it: they are none, or unknown
            leads=True,
        ),
    ),
    ApiKey.LIST_OFFSETS: (
        Layout(_BY_INDEX, _BY_INDEX, "ListOffsetsTopicResponse", "ListOffsetsPartitionResponse", leads=True),
    ),
    ApiKey.METADATA: (
        Layout(
            Place("topics", id="topic_id", partitions=None),
            _BY_INDEX_OR_ID,
            "MetadataResponseTopic",
            "MetadataResponsePartition",
            blank={"leader_id": -1},
            topic_error="error_code",
            applies=True,  # it creates topics
        ),
    ),
    ApiKey.OFFSET_COMMIT: (
        Layout(
            _BY_INDEX_OR_ID,
            _BY_INDEX_OR_ID,
            "OffsetCommitResponseTopic",
            "OffsetCommitResponsePartition",
            applies=True,
        ),
    ),
    ApiKey.OFFSET_FETCH: (
        Layout(
            Place("topics", partitions="partition_indexes", index=None),
            _BY_INDEX,
            "OffsetFetchResponseTopic",
            "OffsetFetchResponsePartition",
            blank={"committed_offset": -1},
            until=7,
        ),
        Layout(
            Place("topics", id="topic_id", partitions="partition_indexes", index=None, within="groups"),
            Place("topics", id="topic_id", within="groups"),
            "OffsetFetchResponseTopics",
            "OffsetFetchResponsePartitions",
            blank={"committed_offset": -1},
        ),
    ),
    ApiKey.DELETE_RECORDS: (
        Layout(
            _BY_INDEX,
            _BY_INDEX,
            "DeleteRecordsTopicResult",
            "DeleteRecordsPartitionResult",
            blank={"low_watermark": -1},
            applies=True,
            leads=True,
        ),
    ),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: (
        Layout(
            Place("topics", name="topic", index="partition"),
            Place("topics", name="topic", index="partition"),
            "OffsetForLeaderTopicResult",
            "EpochEndOffset",
            leads=True,
        ),
    ),
    ApiKey.ADD_PARTITIONS_TO_TXN: (
        Layout(
            Place("v3_and_below_topics", index=None),
            Place("results_by_topic_v3_and_below", partitions="results_by_partition"),
            "AddPartitionsToTxnTopicResult",
            "AddPartitionsToTxnPartitionResult",
            error="partition_error_code",
            applies=True,
            until=3,
        ),
        # Brokers ask so: all of a transaction, or nothing of it.
        Layout(
            Place("topics", index=None, within="transactions"),
            Place("topic_results", partitions="results_by_partition", within="results_by_transaction"),
            "AddPartitionsToTxnTopicResult",
            "AddPartitionsToTxnPartitionResult",
            error="partition_error_code",
        ),
    ),
    ApiKey.TXN_OFFSET_COMMIT: (
        Layout(
            _BY_INDEX_OR_ID,
            _BY_INDEX_OR_ID,
            "TxnOffsetCommitResponseTopic",
            "TxnOffsetCommitResponsePartition",
            applies=True,
        ),
    ),
    ApiKey.OFFSET_DELETE: (
        Layout(
            _BY_INDEX,
            _BY_INDEX,
            "OffsetDeleteResponseTopic",
            "OffsetDeleteResponsePartition",
            applies=True,
        ),
    ),
    ApiKey.DESCRIBE_PRODUCERS: (
        Layout(
            Place("topics", partitions="partition_indexes", index=None),
            _BY_INDEX,
            "TopicResponse",
            "PartitionResponse",
        ),
    ),
    ApiKey.ELECT_LEADERS: (
        Layout(
            Place("topic_partitions", name="topic", index=None),
            Place("replica_election_results", name="topic", partitions="partition_result", index="partition_id"),
            "ReplicaElectionResult",
            "PartitionResult",
            applies=True,
        ),
    ),
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: (
        Layout(
            _BY_INDEX,
            Place("responses"),
            "ReassignableTopicResponse",
            "ReassignablePartitionResponse",
            applies=True,
        ),
    ),
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: (
        Layout(
            _TOPICS_ONLY,
            _BY_INDEX,
            "DescribeTopicPartitionsResponseTopic",
            "DescribeTopicPartitionsResponsePartition",
            blank={"leader_id": -1},
            topic_error="error_code",
        ),
    ),
    ApiKey.CREATE_TOPICS: (Layout(_TOPICS_ONLY, _TOPICS_ONLY, "CreatableTopicResult", None, applies=True),),
    ApiKey.DELETE_TOPICS: (
        Layout(
            Place("topic_names", name=None, partitions=None),
            Place("responses", partitions=None),
            "DeletableTopicResult",
            None,
            applies=True,
            until=5,
        ),
        Layout(
            Place("topics", id="topic_id", partitions=None),
            Place("responses", id="topic_id", partitions=None),
            "DeletableTopicResult",
            None,
            applies=True,
        ),
    ),
    ApiKey.CREATE_PARTITIONS: (
        Layout(_TOPICS_ONLY, Place("results", partitions=None), "CreatePartitionsTopicResult", None, applies=True),
    ),
}

_TOPIC_RESOURCE: Final = 2
_WITH_RESOURCES: Final = (ApiKey.DESCRIBE_CONFIGS, ApiKey.ALTER_CONFIGS, ApiKey.INCREMENTAL_ALTER_CONFIGS)
#: The APIs whose requests name topics.
NAMES_TOPICS: Final = frozenset((*LAYOUTS, *_WITH_RESOURCES))

_GROUP_LISTS: Final = {
    ApiKey.DESCRIBE_GROUPS: "groups",
    ApiKey.DELETE_GROUPS: "groups_names",
    ApiKey.CONSUMER_GROUP_DESCRIBE: "group_ids",
}
#: The APIs whose requests name groups.
NAMES_GROUPS: Final = frozenset(
    (
        ApiKey.OFFSET_COMMIT,
        ApiKey.OFFSET_FETCH,
        ApiKey.FIND_COORDINATOR,
        ApiKey.JOIN_GROUP,
        ApiKey.HEARTBEAT,
        ApiKey.LEAVE_GROUP,
        ApiKey.SYNC_GROUP,
        ApiKey.ADD_OFFSETS_TO_TXN,
        ApiKey.TXN_OFFSET_COMMIT,
        ApiKey.OFFSET_DELETE,
        ApiKey.CONSUMER_GROUP_HEARTBEAT,
        *_GROUP_LISTS,
    )
)


def layout_of(key: int, version: int) -> Layout | None:
    """How an API's messages are laid out; None: they name no topics, or no rows of an answer belong to them."""
    return next((layout for layout in LAYOUTS.get(key, ()) if version <= layout.until), None)


def topics_in(key: int, version: int, request: Message, names: TopicNames) -> Topics:
    """The topics and partitions that a request names, as far as there are such topics where it names them by id."""
    found: Topics = {}
    layout = layout_of(key, version)
    if layout is None:
        if key in _WITH_RESOURCES:
            resources: Any = getattr(request, "resources", ())
            found = {each.resource_name: None for each in resources if each.resource_type == _TOPIC_RESOURCE}
        return found
    place = layout.asked
    if place.means_all(request) or (key == ApiKey.METADATA and version == 0 and not _count(place, request)):
        found.update(dict.fromkeys(names.names()))
    for row in place.rows(request):
        name = place.name_in(row, names)
        if name is None:
            continue
        indexes, before = place.indexes(row), found.get(name, [])
        found[name] = None if indexes is None or before is None else [*before, *indexes]
    return found


def groups_in(key: int, version: int, request: Any) -> frozenset[str]:
    """The ids of the groups that a request names."""
    if key == ApiKey.FIND_COORDINATOR:
        keys = request.coordinator_keys if version >= 4 else [request.key]
        return frozenset(keys) if request.key_type == 0 else frozenset()
    if key in _GROUP_LISTS:
        return frozenset(getattr(request, _GROUP_LISTS[ApiKey(key)]))
    if key == ApiKey.OFFSET_FETCH and version >= 8:
        return frozenset(group.group_id for group in request.groups)
    return frozenset((request.group_id,)) if key in NAMES_GROUPS else frozenset()


def row_class(key: int, name: str) -> type[Struct]:
    """A class of rows in an API's answer."""
    found: type[Struct] = getattr(API[key].response, name)
    return found


@cache
def carries_errors(key: int) -> bool:
    """Whether an API's answer has a place for an error at all."""
    response = API[key].response
    structs: list[StructMeta] = [response, *(each for each in vars(response).values() if isinstance(each, StructMeta))]
    return any(name.endswith("error_code") for each in structs for name in each.FIELDS)


def _count(place: Place, request: Message) -> int:
    return sum(1 for _ in place.rows(request))
