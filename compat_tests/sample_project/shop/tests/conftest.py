"""What the tests of the shop have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shop import Counter

from ottla.testing import Broker


@pytest.fixture
def counter(ottla: Broker) -> Iterator[Counter]:
    """Where orders are placed, in a shop of the test's own."""
    with Counter(ottla.bootstrap_servers) as counter:
        yield counter
