"""AlterClientQuotas (49), v0-1: set and remove limits. KIP-546."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.quotas import checked_record, entity_of
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.alter_client_quotas import AlterClientQuotasRequest, AlterClientQuotasResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Wanted = AlterClientQuotasRequest.EntryData
Entry = AlterClientQuotasResponse.EntryData


def handle(broker: Broker, context: Context, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse:
    entries = []
    for wanted in request.entries:
        entry = _entry(wanted, ErrorCode.NONE)
        try:
            entity = entity_of((part.entity_type, part.entity_name) for part in wanted.entity)
            if len({op.key for op in wanted.ops}) < len(wanted.ops):
                raise KafkaError(ErrorCode.INVALID_REQUEST, "a quota is named twice")
            changes = [checked_record(entity, op.key, op.value, op.remove) for op in wanted.ops]
            if not request.validate_only:
                broker.metadata.change_quotas(changes)
        except KafkaError as failure:
            entry.error_code, entry.error_message = failure.code, failure.message or None
        entries.append(entry)
    broker.apply_quotas()
    return AlterClientQuotasResponse(entries=entries)


def error(request: AlterClientQuotasRequest, version: int, code: ErrorCode) -> AlterClientQuotasResponse:
    return AlterClientQuotasResponse(entries=[_entry(wanted, code) for wanted in request.entries])


def _entry(wanted: Wanted, code: ErrorCode) -> Entry:
    return Entry(
        error_code=code,
        error_message=None,
        entity=[
            AlterClientQuotasResponse.EntityData(entity_type=part.entity_type, entity_name=part.entity_name)
            for part in wanted.entity
        ],
    )
