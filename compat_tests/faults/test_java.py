"""The faults with java."""

import pytest

from compat_tests.driving import driven
from compat_tests.faults import FaultStories


@pytest.mark.compat
class TestJavaFaults(FaultStories):
    """Every story with java."""

    adapter = driven("java")
