"""The story that each client tells: a little of all it does. Short, since every request of it is kept."""

from __future__ import annotations

from compat_tests.client import Client, MemberConfig, Outgoing
from compat_tests.member import Story

TOPIC, GROUP, TRANSACTIONAL_ID = "orders", "billing", "till"
_STAMP_MS = 1_700_000_000_000


def tell(client: Client) -> None:
    """To the client's broker, which is fresh. What the client lacks is left out."""
    client.create_topic(TOPIC, 2, {"retention.ms": "-1"} if _can(client, "configs") else None)
    _write_and_read(client)
    if _can(client, "groups", "committed"):
        _share(client)
    if _can(client, "transactions", "isolation"):
        _transact(client)
    _administer(client)


def _can(client: Client, *features: str) -> bool:
    return not any(feature in client.lacks for feature in features)


def _write_and_read(client: Client) -> None:
    headers = (("trace", b"1"),) if _can(client, "headers") else ()
    stamped = _can(client, "timestamps", "configs")  # they are of long ago: retention must not take them
    records = [
        Outgoing(b"value %d" % n, b"key %d" % n, headers, n % 2, _STAMP_MS + n if stamped else None) for n in range(10)
    ]
    with client.sender() as sender, client.reader(TOPIC, [0, 1]) as reader:
        sender.send(TOPIC, records[:5])
        sender.send(TOPIC, records[5:])
        reader.seek_beginning()
        assert len(reader.take(10)) == 10
        if stamped and _can(client, "seek_time"):
            assert reader.seek_time(_STAMP_MS + 4) == {0: 2, 1: 2}


def _share(client: Client) -> None:
    with Story() as story:
        member = story.join(client.name, client.bootstrap, MemberConfig(GROUP, TOPIC))
        story.wait_for(lambda: story.committed() == {0: 5, 1: 5}, "all is committed")
        member.stop()
    assert client.committed(GROUP, TOPIC, [0, 1]) == {0: 5, 1: 5}


def _transact(client: Client) -> None:
    with client.sender(transactional_id=TRANSACTIONAL_ID) as sender:
        for word in (b"kept", b"dropped"):
            sender.begin()
            sender.send(TOPIC, [Outgoing(word, partition=0)])
            if word == b"kept":
                if _can(client, "transactions.offsets"):
                    sender.send_offsets(GROUP, TOPIC, {0: 6})
                sender.commit()
            else:
                sender.abort()


def _administer(client: Client) -> None:
    if _can(client, "topics"):
        client.topics()
    if _can(client, "configs"):
        client.set_config(TOPIC, "retention.ms", "3600000")
        client.config(TOPIC)
    if _can(client, "ends"):
        client.ends(TOPIC, [0, 1])
    if _can(client, "list_groups"):
        client.groups()
    if _can(client, "groups", "describe_group"):
        client.group(GROUP)
    if _can(client, "groups", "delete_group"):
        client.delete_group(GROUP)
    if _can(client, "add_partitions"):
        client.add_partitions(TOPIC, 3)
    if _can(client, "delete_records"):
        client.delete_records(TOPIC, {0: 2})
    if _can(client, "delete_topic"):
        client.delete_topic(TOPIC)
