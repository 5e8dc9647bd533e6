"""UpdateFeatures (57), v0-2: move features of the cluster to other levels, all of them or none. KIP-584, KIP-778."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.features import check_update, finalized
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.update_features import UpdateFeaturesRequest, UpdateFeaturesResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

FeatureResult = UpdateFeaturesResponse.UpdatableFeatureResult


def handle(broker: Broker, context: Context, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse:
    for update in request.feature_updates:
        # v0 says "allow downgrade" instead of a type; Kafka does not listen to it any more.
        try:
            check_update(broker.cluster, update.feature, update.max_version_level, update.upgrade_type)
        except KafkaError as fault:
            return UpdateFeaturesResponse(error_code=fault.code, error_message=f"Nothing was changed: {fault.message}")
    if not request.validate_only:
        now = finalized(broker.cluster)
        wanted = {update.feature: update.max_version_level for update in request.feature_updates}
        changed = {name: level for name, level in wanted.items() if now[name] != level}
        broker.metadata.set_features(changed)
        for name, level in changed.items():
            broker.log.info("feature level changed", feature=name, level=level, was=now[name], by=context.client_id)
    return UpdateFeaturesResponse(
        error_message=None,
        results=[
            # Kafka's own oddity: a success has the text "NONE" in these versions.
            FeatureResult(feature=update.feature, error_code=0, error_message="NONE")
            for update in request.feature_updates
            if context.api_version < 2
        ],
    )


def error(request: UpdateFeaturesRequest, version: int, code: ErrorCode) -> UpdateFeaturesResponse:
    return UpdateFeaturesResponse(error_code=code, error_message=None)
