"""Feature levels: what ApiVersions tells of them, how UpdateFeatures and --feature change them, as in Kafka 4.4."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.broker.app import _set_features
from ottla.broker.features import TRANSACTION_VERSION, level
from ottla.broker.handlers import handlers
from ottla.broker.options import ServeOptions
from ottla.wire.apis import ApiKey
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.update_features import UpdateFeaturesRequest
from tests.broker.conftest import Client, Launcher, Running

UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3


async def told(client: Client, version: int = 4) -> Any:
    return await client.ask(ApiVersionsRequest(client_software_name="tests", client_software_version="1.0"), version)


async def finalized(client: Client) -> dict[str, int]:
    """Only those whose level was found equal at both ends."""
    features = (await told(client)).finalized_features
    return {each.name: each.max_version_level for each in features if each.min_version_level == each.max_version_level}


async def update(
    client: Client, *updates: tuple[str, int, int], validate_only: bool = False, version: int = 2
) -> tuple[int, str | None]:
    request = UpdateFeaturesRequest(
        feature_updates=[
            UpdateFeaturesRequest.FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=kind)
            for name, level, kind in updates
        ],
        validate_only=validate_only,
    )
    response = await client.ask(request, version)
    if response.error_code == 0 and version < 2:  # Kafka's own oddity
        assert [(each.feature, each.error_code, each.error_message) for each in response.results] == [
            (name, 0, "NONE") for name, _, _ in updates
        ]
    else:
        assert not response.results
    return response.error_code, response.error_message


async def test_transactions_are_of_the_second_generation(running: Running) -> None:
    async with await running.client() as client:
        new, old = await told(client, 4), await told(client, 3)
        assert (await finalized(client))[TRANSACTION_VERSION] == 2
    ranges = {each.name: (each.min_version, each.max_version) for each in new.supported_features}
    assert ranges[TRANSACTION_VERSION] == (0, 2)
    assert not old.supported_features, "a minimum of 0 breaks older clients"
    assert old.finalized_features


async def test_a_feature_has_the_level_that_the_handlers_carry(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(handlers, ApiKey.END_TXN)
    async with await running.client() as client:
        assert TRANSACTION_VERSION not in await finalized(client)
        assert TRANSACTION_VERSION not in {each.name for each in (await told(client)).supported_features}


async def test_down_and_up_again(running: Running) -> None:
    async with await running.client() as client:
        epochs = [(await told(client)).finalized_features_epoch]
        for wanted, kind, version in ((1, SAFE_DOWNGRADE, 1), (0, UNSAFE_DOWNGRADE, 2), (2, UPGRADE, 2)):
            assert await update(client, (TRANSACTION_VERSION, wanted, kind), version=version) == (0, None)
            assert (await finalized(client)).get(TRANSACTION_VERSION, 0) == wanted, "0 is left out"
            assert level(running.broker.cluster, TRANSACTION_VERSION) == wanted
            epochs.append((await told(client)).finalized_features_epoch)
        assert epochs == sorted(set(epochs)), "clients believe the highest epoch"
        assert await update(client, (TRANSACTION_VERSION, 2, UPGRADE)) == (0, None)
        assert (await told(client)).finalized_features_epoch == epochs[-1], "nothing was changed"
    assert "feature level changed feature=transaction.version level=1 was=2" in running.log_text


async def test_a_level_survives_a_restart(launcher: Launcher) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        await update(client, (TRANSACTION_VERSION, 1, SAFE_DOWNGRADE))
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as client:
        assert (await finalized(client))[TRANSACTION_VERSION] == 1


async def test_serve_can_be_told(running: Running) -> None:
    """--feature: a level in any direction, which stays when the flag is gone."""
    for levels, wanted in (({TRANSACTION_VERSION: 1}, 1), ({}, 1), ({TRANSACTION_VERSION: 2}, 2)):
        before = running.broker.metadata.end_offset
        for _ in range(2):
            _set_features(running.broker, ServeOptions(features=levels))
        assert level(running.broker.cluster, TRANSACTION_VERSION) == wanted
        assert running.broker.metadata.end_offset == before + len(levels), "only what changes is written"


@pytest.mark.parametrize("validate_only", [True, False])
@pytest.mark.parametrize(
    ("name", "wanted", "kind", "reason"),
    [
        (TRANSACTION_VERSION, 1, UPGRADE, "a lower level needs the upgrade type of a safe or unsafe downgrade"),
        (TRANSACTION_VERSION, 0, UPGRADE, "a lower level needs"),
        (TRANSACTION_VERSION, 3, UPGRADE, "its levels here are 0 to 2"),
        (TRANSACTION_VERSION, -1, SAFE_DOWNGRADE, "0 or more"),
        (TRANSACTION_VERSION, 1, 0, "upgrade type 0 is not known"),
        (TRANSACTION_VERSION, 1, 9, "upgrade type 9 is not known"),
        ("nope", 1, UPGRADE, "there is no such feature here"),
        ("nope", 0, SAFE_DOWNGRADE, "there is no such feature here"),
        ("", 1, UPGRADE, "there is no such feature here"),
        ("metadata.version", 7, SAFE_DOWNGRADE, "there is no such feature here"),
    ],
)
async def test_what_is_refused(
    running: Running, name: str, wanted: int, kind: int, reason: str, validate_only: bool
) -> None:
    async with await running.client() as client:
        before = await finalized(client)
        for version in (1, 2):
            good = (TRANSACTION_VERSION, 1, SAFE_DOWNGRADE)
            code, text = await update(client, good, (name, wanted, kind), validate_only=validate_only, version=version)
            assert code == ErrorCode.INVALID_UPDATE_VERSION
            assert text is not None
            assert reason in text
        assert await finalized(client) == before, "all or none"


async def test_only_asking_changes_nothing(running: Running) -> None:
    async with await running.client() as client:
        for wanted, kind in ((1, SAFE_DOWNGRADE), (2, SAFE_DOWNGRADE), (0, UNSAFE_DOWNGRADE), (2, UPGRADE)):
            assert await update(client, (TRANSACTION_VERSION, wanted, kind), validate_only=True) == (0, None)
        assert await update(client) == (0, None)
        assert (await finalized(client))[TRANSACTION_VERSION] == 2


async def test_version_0_cannot_downgrade(running: Running) -> None:
    """Its flag for that is one that Kafka does not look at any more."""
    key = UpdateFeaturesRequest.FeatureUpdateKey(feature=TRANSACTION_VERSION, max_version_level=1, allow_downgrade=True)
    async with await running.client() as client:
        response = await client.ask(UpdateFeaturesRequest(feature_updates=[key]), 0)
        assert response.error_code == ErrorCode.INVALID_UPDATE_VERSION
        assert (await finalized(client))[TRANSACTION_VERSION] == 2
