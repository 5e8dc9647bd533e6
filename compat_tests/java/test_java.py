"""The newest Java client through every scenario."""

import pytest

from compat_tests.driving import driven
from compat_tests.scenarios import Scenarios


@pytest.mark.compat
class TestJava(Scenarios):
    """The scenarios with the newest Java client."""

    adapter = driven("java")
