"""The faults with franz_go."""

import pytest

from compat_tests.driving import driven
from compat_tests.faults import FaultStories


@pytest.mark.compat
class TestFranzGoFaults(FaultStories):
    """Every story with franz_go."""

    adapter = driven("franz_go")
