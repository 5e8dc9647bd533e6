"""Settings of KIP-848 groups: the broker's, a group's own, their bounds, and that a live coordinator follows them."""

from __future__ import annotations

import pytest

from ottla.broker.cluster import BROKER_RESOURCE, GROUP_RESOURCE
from ottla.broker.config import BrokerConfig, check_together
from ottla.broker.config_types import BadValueError, definitions
from ottla.coordinator.group.config import ConsumerSettings, GroupConfig
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_alter_configs import alter, put

SESSION, HEARTBEAT, INTERVAL = (
    "consumer.session.timeout.ms",
    "consumer.heartbeat.interval.ms",
    "consumer.assignment.interval.ms",
)
BROKER_INTERVAL = "group.consumer.assignment.interval.ms"
DEFAULTS = ConsumerSettings(45_000, 5_000, 0)


def test_defaults_are_kafkas() -> None:
    config, known = BrokerConfig().group_config(), definitions().broker
    for name in GroupConfig.__slots__:
        definition = known.get(name.replace("_", "."))
        if definition is None or not name.startswith("group_consumer_"):
            continue
        value = getattr(config, name)
        assert ",".join(value) if isinstance(value, tuple) else str(value) == definition.default, name
    assert config.consumer_settings({}) == DEFAULTS
    assert config.may_upgrade
    assert config.may_downgrade
    assert config.group_coordinator_rebalance_protocols == {"classic", "consumer", "streams"}


@pytest.mark.parametrize(
    ("policy", "up", "down"),
    [
        ("DISABLED", False, False),
        ("Upgrade", True, False),
        ("downgrade", False, True),
        ("bidirectional", True, True),
    ],
)
def test_migration_policy(policy: str, up: bool, down: bool) -> None:
    config = BrokerConfig({"group.consumer.migration.policy": policy}).group_config()
    assert (config.may_upgrade, config.may_downgrade) == (up, down)


@pytest.mark.parametrize(
    "settings",
    [
        {"group.consumer.session.timeout.ms": "44000"},
        {"group.consumer.session.timeout.ms": "70000"},
        {"group.consumer.min.session.timeout.ms": "50000"},
        {"group.consumer.heartbeat.interval.ms": "1000"},
        {"group.consumer.max.heartbeat.interval.ms": "4000"},
        {"group.consumer.assignment.interval.ms": "15001"},
        {"group.consumer.max.heartbeat.interval.ms": "45000", "group.consumer.heartbeat.interval.ms": "45000"},
        {"group.consumer.assignors": "sticky"},
        {"group.consumer.assignors": ""},
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, str]) -> None:
    with pytest.raises(BadValueError, match=r"group\.consumer\."):
        check_together(BrokerConfig(settings))


def test_bounds_hold_for_what_was_set_before_them() -> None:
    config = GroupConfig(group_consumer_min_session_timeout_ms=45_000, group_consumer_max_session_timeout_ms=60_000)
    own = {SESSION: 90_000, HEARTBEAT: 1, INTERVAL: 0, "share.session.timeout.ms": 1}
    assert config.consumer_settings(own) == ConsumerSettings(60_000, 5_000, 0)


def heartbeat(group: str, member: str = "m") -> ConsumerGroupHeartbeatRequest:
    return ConsumerGroupHeartbeatRequest(
        group_id=group,
        member_id=member,
        rebalance_timeout_ms=30_000,
        subscribed_topic_names=["t"],
        topic_partitions=[],
    )


async def interval_ms(client: Client, group: str, member: str = "m") -> int:
    response = await client.ask(heartbeat(group, member), 1)
    assert response.error_code == 0
    return int(response.heartbeat_interval_ms)


async def test_a_groups_own_config_holds_at_once_and_for_it_alone(running: Running) -> None:
    async with await running.client() as client:
        assert await interval_ms(client, "g") == 5_000
        await put(client, GROUP_RESOURCE, "g", HEARTBEAT, "7000")
        assert await interval_ms(client, "g") == 7_000
        assert await interval_ms(client, "other") == 5_000
        await put(client, GROUP_RESOURCE, "g", SESSION, "50000")
        assert running.broker.configs.of("g") == ConsumerSettings(50_000, 7_000, 0)
        assert await alter(client, GROUP_RESOURCE, "g", (HEARTBEAT, 1, None)) == (0, None)
        assert await interval_ms(client, "g") == 5_000


async def test_a_live_coordinator_follows_the_brokers_setting(running: Running) -> None:
    configs = running.broker.configs
    async with await running.client() as client:
        await interval_ms(client, "g")  # the coordinator is there
        await put(client, BROKER_RESOURCE, "", BROKER_INTERVAL, "2000")
        assert configs.of("g").assignment_interval_ms == 2_000
        assert configs.group_config.group_consumer_assignment_interval_ms == 2_000
        await put(client, BROKER_RESOURCE, "1", BROKER_INTERVAL, "3000")
        await put(client, GROUP_RESOURCE, "own", INTERVAL, "500")
        assert configs.of("g").assignment_interval_ms == 3_000
        assert configs.of("own").assignment_interval_ms == 500
        for broker in ("1", ""):
            assert await alter(client, BROKER_RESOURCE, broker, (BROKER_INTERVAL, 1, None)) == (0, None)
        assert configs.of("g") == DEFAULTS


@pytest.mark.parametrize("settings", [{"group.coordinator.rebalance.protocols": "classic"}, {}])
async def test_where_consumer_groups_are_off(launcher: Launcher, settings: dict[str, str]) -> None:
    running = await launcher.start(settings)
    if not settings:
        running.broker.metadata.set_features({"group.version": 0})
    async with await running.client() as client:
        assert (await client.ask(heartbeat("g"), 1)).error_code == ErrorCode.UNSUPPORTED_VERSION
        response = await client.ask(ConsumerGroupDescribeRequest(group_ids=["g"]), 1)
        assert [group.error_code for group in response.groups] == [ErrorCode.UNSUPPORTED_VERSION]
