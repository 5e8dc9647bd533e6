"""franz-go through every scenario."""

import pytest

from compat_tests.driving import driven
from compat_tests.scenarios import Scenarios


class TestFranzGo(Scenarios):
    """The scenarios with franz-go."""

    adapter = driven("franz_go")
    pytestmark = pytest.mark.compat
