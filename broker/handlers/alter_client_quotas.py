"""AlterClientQuotas (49), v0-1: set and remove limits. KIP-546.

An ip may be the name of a host. Those are looked up in a thread, so that a slow name server stalls nobody else.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import trio

from ottla.broker.quotas import IP, checked_record, entity_of
from ottla.broker.waiting import Parked
from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.alter_client_quotas import AlterClientQuotasRequest, AlterClientQuotasResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Wanted = AlterClientQuotasRequest.EntryData
Entry = AlterClientQuotasResponse.EntryData

_LOOKUPS: Final = trio.CapacityLimiter(2)  # at a time: the threads of the disk are not theirs


def handle(broker: Broker, context: Context, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse | Parked:
    names = {
        part.entity_name
        for wanted in request.entries
        for part in wanted.entity
        if part.entity_type == IP and part.entity_name and not _is_address(part.entity_name)
    }
    if not names:
        return _alter(broker, request, unknown=())
    found: Pending[frozenset[str]] = Pending()
    trio.lowlevel.spawn_system_task(_look_up, names, found)
    return Parked(found, lambda: _alter(broker, request, unknown=found.result()))


def error(request: AlterClientQuotasRequest, version: int, code: ErrorCode) -> AlterClientQuotasResponse:
    return AlterClientQuotasResponse(entries=[_entry(wanted, code) for wanted in request.entries])


def _alter(broker: Broker, request: AlterClientQuotasRequest, unknown: Collection[str]) -> AlterClientQuotasResponse:
    """`unknown`: names that no host has."""
    entries: dict[frozenset[tuple[str, str | None]], Entry] = {}
    for wanted in request.entries:
        parts = [(part.entity_type, part.entity_name) for part in wanted.entity]
        is_again = frozenset(parts) in entries
        entry = entries.setdefault(frozenset(parts), _entry(wanted, ErrorCode.NONE))
        try:
            if is_again:  # the first one stays as it was carried out, and yet the answer is this, as Kafka's
                raise KafkaError(ErrorCode.INVALID_REQUEST, "an entity that is named again is left as it is")
            entity = entity_of(parts)
            if (missing := next((name for _, name in entity if name in unknown), None)) is not None:
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"{missing} is not a valid IP or resolvable host.")
            if len({op.key for op in wanted.ops}) < len(wanted.ops):
                raise KafkaError(ErrorCode.INVALID_REQUEST, "a quota is named twice")
            changes = [checked_record(entity, op.key, op.value, op.remove) for op in wanted.ops]
            if not request.validate_only:
                broker.metadata.change_quotas(changes)
        except KafkaError as failure:
            entry.error_code, entry.error_message = failure.code, failure.message or None
    broker.apply_quotas()
    return AlterClientQuotasResponse(entries=list(entries.values()))


def _is_address(name: str) -> bool:
    if "%" in name:  # whether there is such an interface is to be asked, too
        return False
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


async def _look_up(names: set[str], found: Pending[frozenset[str]]) -> None:
    try:
        found.resolve(await trio.to_thread.run_sync(_unknown, names, abandon_on_cancel=True, limiter=_LOOKUPS))
    except RuntimeError:  # there is no thread to be had; nobody but the client is to suffer from it
        found.fail(KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR))


def _unknown(names: set[str]) -> frozenset[str]:
    """Those that no host has."""
    return frozenset(name for name in names if not _is_host(name))


def _is_host(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
    except (OSError, ValueError):  # nobody knows it, or it is no name at all
        return False


def _entry(wanted: Wanted, code: ErrorCode) -> Entry:
    return Entry(
        error_code=code,
        error_message=None,
        entity=[
            AlterClientQuotasResponse.EntityData(entity_type=part.entity_type, entity_name=part.entity_name)
            for part in wanted.entity
        ],
    )
