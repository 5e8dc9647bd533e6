"""A producer's retry is answered with the first offset and stored once, whatever happened to the broker in between."""

from collections.abc import Callable

import pytest

from compat_tests.harness import Broker
from compat_tests.raw import (
    DUPLICATE_SEQUENCE,
    NONE,
    OUT_OF_ORDER_SEQUENCE,
    RawConnection,
    count_records,
    one_batch,
    produce_request,
)


def _batch(producer_id: int, epoch: int, base_sequence: int, count: int = 3) -> bytes:
    values = [b"value %d" % (base_sequence + n) for n in range(count)]
    return one_batch(values, producer_id=producer_id, producer_epoch=epoch, base_sequence=base_sequence)


@pytest.mark.parametrize("between", ["nothing", "restart", "kill -9"])
def test_duplicate_is_answered_with_its_first_offset(
    own_broker: Broker, fresh: Callable[[str], str], between: str
) -> None:
    topic = fresh("retry")
    with RawConnection(own_broker.port) as connection:
        connection.make_topic(topic)
        connection.produce(produce_request(topic, one_batch([b"before"])))
        error, producer_id, epoch = connection.init_producer_id()
        assert error == NONE
        batches = [_batch(producer_id, epoch, sequence) for sequence in range(0, 21, 3)]
        for place, batch in enumerate(batches):
            assert connection.produce(produce_request(topic, batch)) == (NONE, 1 + 3 * place)
    if between != "nothing":
        own_broker.restart(kill=between == "kill -9")
    with RawConnection(own_broker.port) as connection:
        # Kafka remembers the last five batches of a producer, and over a restart at least the last one
        for place in range(2 if between == "nothing" else 6, 7):
            assert connection.produce(produce_request(topic, batches[place])) == (NONE, 1 + 3 * place)
        assert connection.produce(produce_request(topic, batches[0])).error in (
            OUT_OF_ORDER_SEQUENCE,
            DUPLICATE_SEQUENCE,
        )
        gap = _batch(producer_id, epoch, 30)
        assert connection.produce(produce_request(topic, gap)).error == OUT_OF_ORDER_SEQUENCE
        assert connection.produce(produce_request(topic, _batch(producer_id, epoch, 21))) == (NONE, 22)
        assert connection.end_offset(topic) == 25
        assert count_records(connection.fetch(topic)) == 25


def test_producer_ids_are_never_given_twice(own_broker: Broker) -> None:
    given = []
    for kill in (False, True, None):
        with RawConnection(own_broker.port) as connection:
            answers = [connection.init_producer_id() for _ in range(3)]
        assert {error for error, _, _ in answers} == {NONE}
        given += [producer_id for _, producer_id, _ in answers]
        if kill is not None:
            own_broker.restart(kill=kill)
    assert len(set(given)) == len(given)
