"""Transactions: what readers see of them, offsets within them, and zombies. transactions/ has the storms."""

import contextlib

import pytest

from compat_tests.client import Client, Outgoing, RefusedError, Sender
from compat_tests.scenarios.base import Base, Name, needs, until

_FENCED = {"INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED"}


class Transacting(Base):
    """One producer, one topic."""

    @needs("transactions", "isolation")
    def test_readers_of_the_committed_see_what_was_committed(self, client: Client, fresh: Name) -> None:
        topic = fresh("transacted")
        client.create_topic(topic, 2)
        with (
            client.sender(transactional_id=fresh("tx")) as sender,
            client.reader(topic, [0, 1], isolation="read_committed") as committed,
            client.reader(topic, [0, 1]) as all_of_it,
        ):
            committed.seek_beginning()
            all_of_it.seek_beginning()
            for word, keep in (("kept", True), ("dropped", False), ("kept too", True)):
                sender.begin()
                sender.send(topic, [Outgoing(f"{word} {p}".encode(), partition=p) for p in (0, 1)])
                if keep:
                    sender.commit()
                else:
                    sender.abort()
            kept = [b"kept 0", b"kept 1", b"kept too 0", b"kept too 1"]
            assert sorted(one.value or b"" for one in committed.take(4)) == kept
            assert sorted(one.value or b"" for one in all_of_it.take(6)) == [b"dropped 0", b"dropped 1", *kept]

    @needs("transactions", "isolation")
    def test_an_open_transaction_holds_back_its_partition_alone(self, client: Client, fresh: Name) -> None:
        topic = fresh("open")
        client.create_topic(topic, 2)
        with (
            client.sender(transactional_id=fresh("tx")) as sender,
            client.sender() as plain,
            client.reader(topic, [0, 1], isolation="read_committed") as reader,
        ):
            reader.seek_beginning()
            sender.begin()
            sender.send(topic, [Outgoing(b"in doubt", partition=0)])
            plain.send(topic, [Outgoing(b"behind it", partition=0), Outgoing(b"beside it", partition=1)])
            assert [one.value for one in reader.take(1)] == [b"beside it"]
            sender.commit()
            assert [one.value for one in reader.take(2)] == [b"in doubt", b"behind it"]

    @needs("transactions", "transactions.offsets", "committed")
    def test_offsets_are_committed_with_the_transaction_or_not_at_all(self, client: Client, fresh: Name) -> None:
        topic, group = fresh("with-offsets"), fresh("copiers")
        client.create_topic(topic)
        with client.sender(transactional_id=fresh("tx")) as sender:
            for offset, keep, known in ((3, True, 3), (5, False, 3), (8, True, 8)):
                sender.begin()
                sender.send(topic, [Outgoing(b"copied")])
                sender.send_offsets(group, topic, {0: offset})
                if keep:
                    sender.commit()
                else:
                    sender.abort()
                # Apache Kafka may answer the end of a transaction before it has carried it out
                assert until(lambda known=known: client.committed(group, topic, [0]) == {0: known})

    @needs("transactions", "isolation")
    def test_a_second_producer_of_the_same_id_fences_the_first(self, client: Client, fresh: Name) -> None:
        topic, transactional_id = fresh("fenced"), fresh("tx")
        client.create_topic(topic)
        zombie = client.sender(transactional_id=transactional_id)
        zombie.begin()
        zombie.send(topic, [Outgoing(b"of the zombie", partition=0)])
        with (
            client.sender(transactional_id=transactional_id) as second,
            client.reader(topic, [0], isolation="read_committed") as reader,
        ):
            second.begin()
            second.send(topic, [Outgoing(b"of its successor", partition=0)])
            second.commit()
            with pytest.raises(RefusedError) as refused:
                _go_on(zombie, topic)
            assert refused.value.name in _FENCED
            reader.seek_beginning()
            assert [one.value for one in reader.take(1)] == [b"of its successor"]
        with contextlib.suppress(RefusedError):  # some libraries say so again
            zombie.__exit__(None, None, None)


def _go_on(zombie: Sender, topic: str) -> None:
    zombie.send(topic, [Outgoing(b"too late", partition=0)])
    zombie.commit()
