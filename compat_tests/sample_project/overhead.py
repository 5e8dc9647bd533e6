"""A pytest plugin that measures what the fixture `ottla` costs each test, in ms: until it is there, and until it is
gone. Each process of a run leaves a file of its own in the folder that OTTLA_OVERHEAD names.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

FIXTURE: Final = "ottla"
MEASURED: Final = "OTTLA_OVERHEAD"

_set_up_ms: list[float] = []
_torn_down_ms: list[float] = []
_marked_s = 0.0  # when the teardown under way came to the next fixture


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    began_s = time.perf_counter()
    value = yield
    if fixturedef.argname == FIXTURE:
        _set_up_ms.append((time.perf_counter() - began_s) * 1000)
    return value


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    global _marked_s
    _marked_s = time.perf_counter()


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any]) -> None:
    global _marked_s
    now_s = time.perf_counter()
    if fixturedef.argname == FIXTURE and len(_torn_down_ms) < len(_set_up_ms):  # pytest may say it twice
        _torn_down_ms.append((now_s - _marked_s) * 1000)
    _marked_s = now_s


def pytest_unconfigure() -> None:
    if _set_up_ms and MEASURED in os.environ:
        measured = {"set_up_ms": _set_up_ms, "torn_down_ms": _torn_down_ms}
        (Path(os.environ[MEASURED]) / f"{os.getpid()}.json").write_text(json.dumps(measured))
