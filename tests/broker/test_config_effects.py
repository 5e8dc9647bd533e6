"""Of each config it is known whether it acts: if it does, a test sees it; if not, the broker and its page say so."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from ottla.broker.cluster import BROKER_RESOURCE, CLIENT_METRICS_RESOURCE, GROUP_RESOURCE, TOPIC_RESOURCE
from ottla.broker.config import SETTINGS
from ottla.broker.config_effects import (
    BROKER,
    CLIENT_METRICS,
    GROUP,
    NO_EFFECT,
    TOPIC,
    documentation,
    effects,
    without_effect,
)
from ottla.broker.config_types import Definition, definitions
from tests.broker.conftest import Running
from tests.broker.effects import OBSERVED
from tests.broker.test_describe_configs import describe
from tools import draw_configs

FOLDER = Path(__file__).parent
KINDS = [BROKER, CLIENT_METRICS, GROUP, TOPIC]
RESOURCES = {
    BROKER: (BROKER_RESOURCE, "1"),
    CLIENT_METRICS: (CLIENT_METRICS_RESOURCE, "m"),
    GROUP: (GROUP_RESOURCE, "g"),
    TOPIC: (TOPIC_RESOURCE, "t"),
}


@pytest.fixture(scope="module")
def observed() -> dict[tuple[str, str], list[str]]:
    """The marks of all modules that have some."""
    for path in FOLDER.glob("test_*.py"):
        if "effects import" in path.read_text("utf-8"):
            import_module(f"tests.broker.{path.stem}")
    return OBSERVED


def known(kind: str) -> dict[str, Definition]:
    return getattr(definitions(), kind)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
def test_of_each_config_it_is_said_once_whether_it_acts(kind: str) -> None:
    assert effects()[kind].keys() == known(kind).keys()
    text = draw_configs.EFFECTS.read_text("utf-8")
    for name in known(kind):
        assert text.count(f'"{name}":') == sum(name in names for names in effects().values()), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_acts_is_seen_by_a_test_and_nothing_else_is(kind: str, observed: dict[tuple[str, str], list[str]]) -> None:
    acting = {name for name, effect in effects()[kind].items() if effect.reason is None}
    assert acting == {name for each, name in observed if each == kind}


def test_what_acts_is_read_from_the_settings() -> None:
    acting = {name for name, effect in effects()[BROKER].items() if effect.reason is None}
    assert acting <= SETTINGS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_each_config_is_documented(kind: str) -> None:
    for name, definition in known(kind).items():
        text, reason = documentation(kind, definition), effects()[kind][name].reason
        assert text is not None
        assert text.endswith(".")
        assert text.startswith(NO_EFFECT) == (reason is not None)
        assert len(text.removeprefix(f"{NO_EFFECT}{reason}. ")) > 10, name


@pytest.mark.parametrize("kind", KINDS)
async def test_clients_are_told(running: Running, kind: str) -> None:
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("t"))
    async with await running.client() as client:
        told = (await describe(client, *RESOURCES[kind], include_documentation=True)).configs
    assert {entry.name for entry in told} == {each.name for each in known(kind).values() if not each.hidden}
    for entry in told:
        idle = effects()[kind][entry.name].reason is not None
        assert entry.documentation.startswith(NO_EFFECT) == idle, entry.name


def test_a_setting_of_one_listener_is_like_that_of_all() -> None:
    names = ["num.partitions", "listener.name.out.ssl.protocol", "num.io.threads", "log.local.retention.ms"]
    assert without_effect(names) == ["listener.name.out.ssl.protocol", "log.local.retention.ms", "num.io.threads"]


def test_the_page_says_the_same() -> None:
    assert draw_configs.PAGE.read_text("utf-8") == draw_configs.page(), "python -m tools.draw_configs"
