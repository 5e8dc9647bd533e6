"""Error codes of the Kafka protocol and the two exceptions that wire code raises.

Here: the codes, which of them a client may retry, `KafkaError` (an answer with that code) and `ProtocolError`
(bytes that are no message: the connection closes). Not here: which condition leads to which code; handlers know that.
"""

from enum import IntEnum


class ErrorCode(IntEnum):
    """Every error code of Kafka 4.4, named as in Kafka's own `Errors`."""

    UNKNOWN_SERVER_ERROR = -1  # catch-all for an exception the broker has no code for
    NONE = 0  # success
    OFFSET_OUT_OF_RANGE = 1  # fetch or delete position lies outside [log start, log end]
    # record data failed CRC or structural checks; also a keyless record sent to a compacted topic on old clients
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3  # topic or partition not known here, or caller may not see it
    INVALID_FETCH_SIZE = 4  # fetch size field is not usable
    LEADER_NOT_AVAILABLE = 5  # partition has currently no leader
    NOT_LEADER_OR_FOLLOWER = 6  # asked a broker that is neither leader nor usable follower for this partition
    REQUEST_TIMED_OUT = 7  # wait for replication or a controller answer ran past its time limit
    BROKER_NOT_AVAILABLE = 8  # broker is not alive (never sent by a modern broker)
    REPLICA_NOT_AVAILABLE = 9  # a listed replica is not alive; informational in Metadata
    MESSAGE_TOO_LARGE = 10  # batch is larger than max.message.bytes
    STALE_CONTROLLER_EPOCH = 11  # controller epoch in the request is outdated
    OFFSET_METADATA_TOO_LARGE = 12  # commit metadata string exceeds offset.metadata.max.bytes
    NETWORK_EXCEPTION = 13  # client-side: connection dropped before the reply
    COORDINATOR_LOAD_IN_PROGRESS = 14  # coordinator partition is still being read in
    COORDINATOR_NOT_AVAILABLE = 15  # no coordinator is elected or its topic is not usable yet
    NOT_COORDINATOR = 16  # this broker does not coordinate that group or transactional id
    INVALID_TOPIC_EXCEPTION = 17  # topic name is illegal, or the topic is internal and may not be written that way
    RECORD_LIST_TOO_LARGE = 18  # whole record set exceeds segment.bytes
    NOT_ENOUGH_REPLICAS = 19  # ISR smaller than min.insync.replicas before append (acks=all)
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20  # appended, but ISR fell under min.insync.replicas before acknowledgement
    INVALID_REQUIRED_ACKS = 21  # acks not in -1, 0, 1
    ILLEGAL_GENERATION = 22  # generation does not match the group's (also commit from a stale classic member)
    INCONSISTENT_GROUP_PROTOCOL = 23  # protocol type differs or no assignor is common to all members
    INVALID_GROUP_ID = 24  # group id empty or otherwise illegal for this call
    UNKNOWN_MEMBER_ID = 25  # member id not in the group
    INVALID_SESSION_TIMEOUT = 26  # session timeout outside the broker's min..max
    REBALANCE_IN_PROGRESS = 27  # group is rebalancing: rejoin
    INVALID_COMMIT_OFFSET_SIZE = 28  # offset commit record would exceed the batch limit
    TOPIC_AUTHORIZATION_FAILED = 29  # not allowed on topic
    GROUP_AUTHORIZATION_FAILED = 30  # not allowed on group
    CLUSTER_AUTHORIZATION_FAILED = 31  # not allowed on cluster
    INVALID_TIMESTAMP = 32  # record timestamp too far from broker time, or mixed timestamp types
    UNSUPPORTED_SASL_MECHANISM = 33  # SASL mechanism not enabled on the listener
    ILLEGAL_SASL_STATE = 34  # request not allowed in this step of authentication
    UNSUPPORTED_VERSION = 35  # api version not supported
    TOPIC_ALREADY_EXISTS = 36  # topic exists
    INVALID_PARTITIONS = 37  # bad partition count
    INVALID_REPLICATION_FACTOR = 38  # bad replication factor
    INVALID_REPLICA_ASSIGNMENT = 39  # bad manual replica assignment
    INVALID_CONFIG = 40  # bad config name or value
    NOT_CONTROLLER = 41  # broker asked is not the active controller
    INVALID_REQUEST = 42  # well-formed bytes, meaningless content
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43  # log's message format cannot serve this request
    POLICY_VIOLATION = 44  # a configured policy plug-in refused
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45  # producer sequence has a gap
    DUPLICATE_SEQUENCE_NUMBER = 46  # producer sequence already appended but no longer in the remembered window
    INVALID_PRODUCER_EPOCH = 47  # producer epoch older than the current one
    INVALID_TXN_STATE = 48  # call not allowed in the present transaction state
    INVALID_PRODUCER_ID_MAPPING = 49  # producer id does not belong to this transactional id
    INVALID_TRANSACTION_TIMEOUT = 50  # transaction timeout above transaction.max.timeout.ms, or not positive
    CONCURRENT_TRANSACTIONS = 51  # previous transaction operation still completing: retry
    TRANSACTION_COORDINATOR_FENCED = 52  # marker came from an outdated transaction coordinator
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53  # not allowed on transactional id
    SECURITY_DISABLED = 54  # no authorizer configured
    OPERATION_NOT_ATTEMPTED = 55  # batch item skipped because another item failed
    KAFKA_STORAGE_ERROR = 56  # disk error on the log directory
    LOG_DIR_NOT_FOUND = 57  # no such log directory on the broker
    SASL_AUTHENTICATION_FAILED = 58  # credentials refused
    UNKNOWN_PRODUCER_ID = 59  # no producer state kept for this producer id
    REASSIGNMENT_IN_PROGRESS = 60  # partition reassignment already running
    DELEGATION_TOKEN_AUTH_DISABLED = 61  # delegation tokens not enabled (no secret key)
    DELEGATION_TOKEN_NOT_FOUND = 62  # no such delegation token
    DELEGATION_TOKEN_OWNER_MISMATCH = 63  # caller is neither owner nor renewer
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64  # delegation token calls need an authenticated, non-token connection
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65  # not allowed on delegation token
    DELEGATION_TOKEN_EXPIRED = 66  # delegation token has expired
    INVALID_PRINCIPAL_TYPE = 67  # renewer principal type not User
    NON_EMPTY_GROUP = 68  # group still has members
    GROUP_ID_NOT_FOUND = 69  # no such group
    FETCH_SESSION_ID_NOT_FOUND = 70  # fetch session id not cached
    INVALID_FETCH_SESSION_EPOCH = 71  # fetch session epoch out of step
    LISTENER_NOT_FOUND = 72  # leader has no endpoint for the listener used
    TOPIC_DELETION_DISABLED = 73  # delete.topic.enable is false
    FENCED_LEADER_EPOCH = 74  # caller's leader epoch is behind the broker's
    UNKNOWN_LEADER_EPOCH = 75  # caller's leader epoch is ahead of the broker's
    UNSUPPORTED_COMPRESSION_TYPE = 76  # client too old for the partition's codec (zstd)
    STALE_BROKER_EPOCH = 77  # broker epoch outdated
    OFFSET_NOT_AVAILABLE = 78  # leader elected too recently to know its high watermark: retry
    MEMBER_ID_REQUIRED = 79  # first join gets a generated member id and must come again with it
    PREFERRED_LEADER_NOT_AVAILABLE = 80  # preferred replica not available for election
    GROUP_MAX_SIZE_REACHED = 81  # group.max.size reached
    FENCED_INSTANCE_ID = 82  # static instance id is now used by another member
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83  # no eligible leader for election
    ELECTION_NOT_NEEDED = 84  # leader already as wanted
    NO_REASSIGNMENT_IN_PROGRESS = 85  # no reassignment to cancel
    GROUP_SUBSCRIBED_TO_TOPIC = 86  # group still subscribes to that topic
    INVALID_RECORD = 87  # a record failed validation; see per-record errors
    UNSTABLE_OFFSET_COMMIT = 88  # offset has a pending transactional commit and a stable read was asked
    THROTTLING_QUOTA_EXCEEDED = 89  # mutation quota exceeded; retry after throttle time
    PRODUCER_FENCED = 90  # a newer producer with the same transactional id exists
    RESOURCE_NOT_FOUND = 91  # named resource not there
    DUPLICATE_RESOURCE = 92  # same resource named twice
    UNACCEPTABLE_CREDENTIAL = 93  # credential not acceptable (e.g. too few SCRAM iterations)
    INCONSISTENT_VOTER_SET = 94  # voter sets disagree
    INVALID_UPDATE_VERSION = 95  # feature level not usable
    FEATURE_UPDATE_FAILED = 96  # feature update failed
    PRINCIPAL_DESERIALIZATION_FAILURE = 97  # forwarded principal unreadable
    SNAPSHOT_NOT_FOUND = 98  # snapshot not there
    POSITION_OUT_OF_RANGE = 99  # snapshot position out of range
    UNKNOWN_TOPIC_ID = 100  # topic id not known here
    DUPLICATE_BROKER_REGISTRATION = 101  # broker id taken
    BROKER_ID_NOT_REGISTERED = 102  # broker id not registered
    INCONSISTENT_TOPIC_ID = 103  # topic id in request differs from the log's
    INCONSISTENT_CLUSTER_ID = 104  # cluster id differs
    TRANSACTIONAL_ID_NOT_FOUND = 105  # transactional id not known
    FETCH_SESSION_TOPIC_ID_ERROR = 106  # session mixes topic ids and names
    INELIGIBLE_REPLICA = 107  # replica not eligible for ISR
    NEW_LEADER_ELECTED = 108  # leader changed while ISR was updated
    OFFSET_MOVED_TO_TIERED_STORAGE = 109  # offset now lives in tiered storage
    FENCED_MEMBER_EPOCH = 110  # member epoch fenced: give up partitions and rejoin with epoch 0
    UNRELEASED_INSTANCE_ID = 111  # instance id still owned by a live member
    UNSUPPORTED_ASSIGNOR = 112  # server-side assignor not known
    STALE_MEMBER_EPOCH = 113  # member epoch old: retry after next heartbeat
    MISMATCHED_ENDPOINT_TYPE = 114  # endpoint is of the other kind (broker / controller)
    UNSUPPORTED_ENDPOINT_TYPE = 115  # endpoint kind not supported
    UNKNOWN_CONTROLLER_ID = 116  # controller id unknown
    UNKNOWN_SUBSCRIPTION_ID = 117  # telemetry subscription id outdated
    TELEMETRY_TOO_LARGE = 118  # telemetry payload too large
    INVALID_REGISTRATION = 119  # broker registration refused
    TRANSACTION_ABORTABLE = 120  # abort the transaction, then go on with the same producer
    INVALID_RECORD_STATE = 121  # share acknowledgement does not fit the record's state
    SHARE_SESSION_NOT_FOUND = 122  # share session unknown
    INVALID_SHARE_SESSION_EPOCH = 123  # share session epoch out of step
    FENCED_STATE_EPOCH = 124  # share state epoch outdated
    INVALID_VOTER_KEY = 125  # voter key mismatch
    DUPLICATE_VOTER = 126  # voter exists
    VOTER_NOT_FOUND = 127  # voter unknown
    INVALID_REGULAR_EXPRESSION = 128  # subscription regex invalid (RE2/J syntax)
    REBOOTSTRAP_REQUIRED = 129  # client metadata too old: bootstrap again
    STREAMS_INVALID_TOPOLOGY = 130  # streams topology invalid
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131  # streams topology epoch invalid
    STREAMS_TOPOLOGY_FENCED = 132  # streams topology epoch outdated
    SHARE_SESSION_LIMIT_REACHED = 133  # share session cache full
    GROUP_DELETION_FAILED = 134  # group deletion failed; see per-group message
    STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED = 135  # streams topology description refused; see message
    CONTROLLER_ID_NOT_REGISTERED = 136  # controller id not registered


#: The topic or partition that was asked for is not there.
NOT_THERE: frozenset[ErrorCode] = frozenset((ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID))

#: A client may send the same request again after these.
RETRIABLE: frozenset[ErrorCode] = frozenset(
    {
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.REPLICA_NOT_AVAILABLE,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.LISTENER_NOT_FOUND,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
        ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        ErrorCode.ELECTION_NOT_NEEDED,
        ErrorCode.UNSTABLE_OFFSET_COMMIT,
        ErrorCode.THROTTLING_QUOTA_EXCEEDED,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
        ErrorCode.SHARE_SESSION_NOT_FOUND,
        ErrorCode.INVALID_SHARE_SESSION_EPOCH,
        ErrorCode.SHARE_SESSION_LIMIT_REACHED,
    }
)

#: After these a client asks for Metadata first.
REFRESHES_METADATA: frozenset[ErrorCode] = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.REPLICA_NOT_AVAILABLE,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.LISTENER_NOT_FOUND,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
        ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        ErrorCode.ELECTION_NOT_NEEDED,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
    }
)


class KafkaError(Exception):
    """An error that the protocol has a code for; a handler answers with `code`, and `message` where there is room."""

    def __init__(self, code: ErrorCode, message: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name


class ProtocolError(Exception):
    """Bytes that are not the message they should be; the connection they came from is closed.

    `api` is the message's name, `version` the version it was read at, `field` the path of the field and
    `offset` the byte in the buffer. Each is None where it is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        api: str | None = None,
        version: int | None = None,
        field: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.api = api
        self.version = version
        self.field = field
        self.offset = offset

    def __str__(self) -> str:
        where = self.api or ""
        if self.version is not None:
            where += f" v{self.version}"
        if self.field is not None:
            where += f" {self.field}"
        if self.offset is not None:
            where += f" at byte {self.offset}"
        return f"{where.strip()}: {self.message}" if where else self.message
