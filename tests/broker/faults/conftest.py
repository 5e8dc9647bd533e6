"""A broker with topics, and its faults. Every story is told to both drivers of connections."""

from __future__ import annotations

import pytest

from ottla.broker.faults.faults import Faults
from tests.broker.conftest import Running


@pytest.fixture(params=[True, False], ids=["reactor", "task-per-connection"])
def use_epoll(request: pytest.FixtureRequest) -> bool:
    driver: bool = request.param
    return driver


@pytest.fixture
async def faults(running: Running) -> Faults:
    """Of a broker with a topic of two partitions."""
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("t", 2))
    metadata.create_topic(metadata.plan_topic("u", 1))
    return Faults.of(running.broker)
