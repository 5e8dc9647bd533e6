"""Ready means ready: after the ready line no first request meets a retriable error, and the start costs little."""

import sys
from pathlib import Path

import pytest

from compat_tests.harness import Broker, cpu_seconds, make_broker, resident_mib
from compat_tests.raw import MEMBER_ID_REQUIRED, NONE, RawConnection, one_batch, produce_request


def _metadata_then_produce(connection: RawConnection) -> None:
    assert connection.metadata("first") == (NONE, [NONE])
    assert connection.produce(produce_request("first", one_batch([b"x" * 100]))) == (NONE, 0)


def _find_coordinator(connection: RawConnection) -> None:
    assert connection.find_coordinator("group") == NONE


def _init_producer_id(connection: RawConnection) -> None:
    assert connection.init_producer_id()[0] == NONE


def _join_group(connection: RawConnection) -> None:
    error, member = connection.join_group("group")
    assert error == MEMBER_ID_REQUIRED  # Kafka's way to hand out the member id (KIP-394)
    assert connection.join_group("group", member) == (NONE, member)


MAX_CPU_S = 0.4
FIRST = [_metadata_then_produce, _find_coordinator, _init_producer_id, _join_group]


def _start_and_ask(folder: Path, starts: int) -> None:
    """Each start is on a new data folder and another request goes first; all others follow."""
    for number in range(starts):
        with make_broker(folder / str(number)) as broker:
            turn = number % len(FIRST)
            for ask in FIRST[turn:] + FIRST[:turn]:
                with RawConnection(broker.port) as connection:
                    ask(connection)


def test_first_requests_meet_no_retriable_error(tmp_path: Path) -> None:
    _start_and_ask(tmp_path, 12)


@pytest.mark.long
def test_first_requests_of_200_starts_meet_no_retriable_error(tmp_path: Path) -> None:
    _start_and_ask(tmp_path, 200)


def test_first_requests_after_restart_meet_no_retriable_error(own_broker: Broker) -> None:
    with RawConnection(own_broker.port) as connection:
        for ask in FIRST:
            ask(connection)
    for offset, kill in enumerate((True, False, True), start=1):
        own_broker.restart(kill=kill)
        with RawConnection(own_broker.port) as connection:
            assert connection.produce(produce_request("first", one_batch([b"x"]))) == (NONE, offset)
            for ask in FIRST[1:]:
                ask(connection)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc: Linux only")
def test_cold_start_costs_little(tmp_path: Path) -> None:
    """At most 0.4 s of CPU and 45 MB to the first acknowledged produce.

    The best CPU of some, since a busy machine costs some; `pytest -s` shows the figures.
    """
    costs: list[tuple[float, float]] = []
    while len(costs) < 5 or (min(costs)[0] > MAX_CPU_S and len(costs) < 20):
        with make_broker(tmp_path / str(len(costs))) as broker:
            with RawConnection(broker.port) as connection:
                _metadata_then_produce(connection)
            costs.append((cpu_seconds(broker.pid), resident_mib(broker.pid)))
    cpu_s, memory_mib = min(cpu for cpu, _ in costs), max(memory for _, memory in costs)
    print(f"cold start to the first acknowledged produce: {cpu_s:.2f} s CPU, {memory_mib:.1f} MiB", file=sys.stderr)
    assert cpu_s <= MAX_CPU_S
    assert memory_mib * 1.048576 <= 45
