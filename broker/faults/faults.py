"""The faults ordered of a broker: kept, counted and logged, and carried out at its gate.

Hangs there only while a fault may happen or one is under way. What a rule is and when it fires: rules.py; a request
that waits: flight.py.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from ottla.broker.dispatch import CloseConnection
from ottla.broker.faults import fencing
from ottla.broker.faults.fault import Fault, Firing, Request, UnknownFaultError, name_of
from ottla.broker.faults.flight import Answer, Flight, Steps
from ottla.broker.faults.layouts import Layout, layout_of
from ottla.broker.faults.partitions import (
    Taken,
    Touches,
    add_rows,
    empty_answer,
    has_batch,
    let_go_all,
    overwrite,
    put_in,
    spoil_batch,
    take_out,
)
from ottla.broker.faults.rules import AFTER, BEFORE, Rule
from ottla.broker.faults.stale import StaleMetadata
from ottla.broker.waiting import Parked
from ottla.log.door import Pending
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.frame import encode_response

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context
    from ottla.broker.handlers import Handler
    from ottla.wire.schema import Message

_TOLD_IN_TOPICS_FROM: Final = 13  # before, Metadata has no place for an error but the topics


class Faults:
    """All faults of `broker`. Its methods belong into the broker's loop."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._gate = broker.gate
        self._faults: dict[int, Fault] = {}
        self._ordered = 0
        self._under_way = 0  # requests

    @classmethod
    def of(cls, broker: Broker) -> Faults:
        """Those of `broker`, made when they are first asked for."""
        if broker.gate.faults is None:
            broker.gate.faults = cls(broker)
        return broker.gate.faults

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, rule: Rule) -> Fault:
        """From the next request on."""
        self._ordered += 1
        fault = self._faults[self._ordered] = Fault(self._ordered, rule)
        if rule.action.kind == "stale":
            fault.stale = StaleMetadata(self._broker.cluster)
        self._hang()
        return fault

    def all(self) -> list[Fault]:
        """Those that were not removed, also if they fire no more; in the order of their numbers."""
        return list(self._faults.values())

    def get(self, number: int) -> Fault:
        """Raises UnknownFaultError."""
        fault = self._faults.get(number)
        if fault is None:
            known = ", ".join(map(str, self._faults))
            hint = f"there are {known}" if known else "there are none"
            raise UnknownFaultError(f"there is no fault {number}; {hint}")
        return fault

    def remove(self, number: int) -> Fault:
        """It is no more; whom it keeps it lets go. Raises UnknownFaultError."""
        fault = self.get(number)
        del self._faults[number]
        fault.removed = True
        self._end(fault)
        return fault

    def clear(self) -> None:
        """As `remove`, all of them."""
        for number in tuple(self._faults):
            self.remove(number)

    def release(self, number: int, *, keep: bool = False) -> Fault:
        """Let go whom it keeps, and fire no more; with `keep` it goes on with those that come. Raises
        UnknownFaultError.
        """
        fault = self.get(number)
        if keep:
            self._let_go(fault)
        else:
            self._end(fault)
        return fault

    async def wait_fired(self, number: int, count: int = 1) -> Fault:
        """Wait until it has fired so often. Raises UnknownFaultError, also when it is removed meanwhile; ValueError: it
        never fires so often.
        """
        times = self.get(number).rule.times
        if times is not None and count > times:
            raise ValueError(f"fault {number} fires {times} times and no more, so never {count} times")
        return await self._wait(number, lambda fault: fault.fired >= count)

    async def wait_held(self, number: int, count: int = 1) -> Fault:
        """Wait until it keeps so many requests at once. Raises UnknownFaultError, as `wait_fired`."""
        return await self._wait(number, lambda fault: len(fault.waiting) >= count)

    async def _wait(self, number: int, is_so: Callable[[Fault], bool]) -> Fault:
        fault = self.get(number)
        while not is_so(fault):
            if fault.removed:
                raise UnknownFaultError(f"fault {number} was removed while waited for; it fired {fault.fired} times")
            await fault.changed.wait()
        return fault

    def _end(self, fault: Fault) -> None:
        fault.ended = True
        self._let_go(fault)
        fault.tell()
        self._hang()

    def _let_go(self, fault: Fault) -> None:
        for pending in tuple(fault.waiting):
            pending.resolve(None)

    def _hang(self) -> None:
        """At the gate while there is something to do, and else nowhere."""
        gate = self._gate
        wanted = self._under_way > 0 or not all(fault.is_over for fault in self._faults.values())
        if wanted and gate.detour is None:
            gate.taps = [*gate.taps, self]
            gate.detour = self
        elif not wanted and gate.detour is self:
            gate.taps = [tap for tap in gate.taps if tap is not self]
            gate.detour = None

    # ── at the gate ─────────────────────────────────────────────────────────────────────────────────────────────────

    def on_request(self, context: Context) -> None:
        """What is to be done is done by `take`."""

    def on_response(self, context: Context, response: Message) -> None:
        """It has been spoiled already, if at all."""

    def shut_down(self) -> None:
        """Nobody is to wait any more: those who do are served, or answered."""
        for fault in tuple(self._faults.values()):
            self._let_go(fault)

    def take(self, context: Context, handler: Handler) -> Message | Pending[Any] | Parked | None:
        """A request: what its handler answers, unless a fault wants otherwise."""
        asked = Request(self._broker, context)
        fault, late = self._firing(asked)
        if fault is not None:
            steps = _STEPS[fault.rule.action.kind](self, fault, asked, handler)
        elif late:
            steps = self._corrupt(late, asked, handler)
        else:
            served: Message | Pending[Any] | Parked | None = handler.handle(self._broker, context, context.request)
            return served
        self._under_way += 1
        return Flight(steps, self._landed).begin()

    def _landed(self) -> None:
        self._under_way -= 1
        self._hang()

    def _firing(self, asked: Request) -> tuple[Fault | None, list[Fault]]:
        """The first that fires, and those that look at the answer before they do. All that match have seen it."""
        first: Fault | None = None
        late: list[Fault] = []
        for fault in self._faults.values():
            rule = fault.rule
            if fault.is_over or not rule.matches(asked) or not fencing.can_fence(self._broker, rule, asked):
                continue
            if rule.action.kind == "corrupt":
                late.append(fault)
                continue
            fault.seen += 1
            if first is None and rule.fires(fault.seen, fault.fired, fault.id):
                first = fault
        return first, late

    def _fire(self, fault: Fault, asked: Request, did: str) -> None:
        fault.fired += 1
        partitions: list[str] = []
        if fault.rule.picks_partitions:
            for topic, indexes in fault.rule.touched(asked.topics).items():
                partitions += [topic] if indexes is None else [f"{topic}-{index}" for index in indexes]
        firing = Firing(
            number=fault.fired,
            seen=fault.seen,
            time_ms=self._broker.clock.wall_ms(),
            api=API[asked.key].name,
            version=asked.version,
            node=asked.node,
            connection=asked.connection,
            client_id=asked.client_id,
            partitions=tuple(partitions),
            did=did,
        )
        fault.log.append(firing)
        self._broker.log.info(
            "fault", id=fault.id, did=did, api=firing.api, client=firing.client_id, connection=firing.connection
        )
        fault.tell()

    # ── what becomes of a request ───────────────────────────────────────────────────────────────────────────────────

    def _serve(self, asked: Request, handler: Handler, request: Any = None) -> Steps:
        """As without any fault, however long that takes."""
        context = asked.context
        if request is None:
            request = context.request
        answer: Any
        try:
            answer = handler.handle(self._broker, context, request)
            if isinstance(answer, Parked):
                yield answer
                answer = answer.finish()
            elif isinstance(answer, Pending):
                yield answer
                answer = answer.result()
        except KafkaError as error:
            answer = handler.error(request, asked.version, error.code)
        served: Answer = answer
        return served

    def _keep(self, fault: Fault, delay_ms: int | None = None) -> Steps:
        """Wait until it is let go, or time is up."""
        if self._broker.stopping or fault.ended:
            return None
        pending: Pending[None] = Pending()
        fault.waiting[pending] = None
        timer = None
        if delay_ms is not None:
            timer = self._broker.timers.schedule(delay_ms, lambda: pending.resolve(None))
        fault.tell()
        try:
            yield pending
        finally:
            del fault.waiting[pending]
            if timer is not None:
                timer.cancel()
            fault.tell()
        return None

    def _keep_answer(self, fault: Fault, answer: Answer, delay_ms: int | None = None) -> Steps:
        """Wait as `_keep`, with an answer in hand, which is let go if the client goes first."""
        try:
            yield from self._keep(fault, delay_ms)
        except GeneratorExit:
            let_go_all(answer)
            raise
        return answer

    def _wait_and_serve(self, fault: Fault, asked: Request, handler: Handler) -> Steps:
        """`delay` and `hold`."""
        action = fault.rule.action
        delay_ms = action.value if action.kind == "delay" else None
        how = f"delayed by {delay_ms} ms" if delay_ms is not None else "held"
        if action.when == BEFORE:
            self._fire(fault, asked, f"{how} before applying")
            _own(asked)
            yield from self._keep(fault, delay_ms)
            answer = yield from self._serve(asked, handler)
            return answer
        self._fire(fault, asked, f"{how} after applying")
        answer = yield from self._serve(asked, handler)
        return (yield from self._keep_answer(fault, answer, delay_ms))

    def _drop(self, fault: Fault, asked: Request, handler: Handler) -> Steps:
        when = fault.rule.action.when
        did = f"closed the connection {when} applying"
        self._fire(fault, asked, did if when == BEFORE else f"{did}, without an answer")
        if when == AFTER:
            let_go_all((yield from self._serve(asked, handler)))
        raise _closed(fault, did)

    def _cut(self, fault: Fault, asked: Request, handler: Handler) -> Steps:
        value = fault.rule.action.value
        some = f"{value} bytes" if isinstance(value, int) else f"{value:g} of the bytes"
        did = f"sent {some} of the answer and closed the connection"
        self._fire(fault, asked, did)
        answer = yield from self._serve(asked, handler)
        raise _closed(fault, did, b"" if answer is None else _beginning(asked.context, answer, value))

    def _throttle(self, fault: Fault, asked: Request, handler: Handler) -> Steps:
        delay_ms = fault.rule.action.value
        self._fire(fault, asked, f"throttled for {delay_ms} ms")
        answer = yield from self._serve(asked, handler)
        context = asked.context
        context.throttle_ms = max(context.throttle_ms, delay_ms)
        connection = context.connection
        connection.muted_until_ms = max(connection.muted_until_ms, self._broker.clock.mono_ms() + delay_ms)
        if answer is not None and hasattr(answer, "throttle_time_ms"):
            answer.throttle_time_ms = context.throttle_ms
        return answer

    def _stale(self, fault: Fault, asked: Request, handler: Handler) -> Steps:
        self._fire(fault, asked, "answered as it was when the fault was ordered")
        assert fault.stale is not None
        return fault.stale.answer(asked.context, asked.context.request)
        yield  # a generator, as all of them

    def _fence(self, fault: Fault, asked: Request, handler: Handler) -> Steps:
        _own(asked)
        did = yield from fencing.fence(self._broker, fault.rule, asked)
        self._fire(fault, asked, did)
        return (yield from self._serve(asked, handler))

    def _corrupt(self, late: list[Fault], asked: Request, handler: Handler) -> Steps:
        """An answer without records has nothing to spoil: it does not count."""
        answer = yield from self._serve(asked, handler)
        layout = layout_of(asked.key, asked.version)
        assert layout is not None
        names = self._broker.cluster
        spoiled = False
        for fault in late:
            touches = fault.rule.touches
            if answer is None or fault.is_over or not has_batch(answer, layout, touches, names):
                continue
            fault.seen += 1
            if not spoiled and fault.rule.fires(fault.seen, fault.fired, fault.id):
                where = spoil_batch(answer, layout, touches, names)
                assert where is not None
                topic, partition, offset = where
                self._fire(fault, asked, f"flipped a bit of the CRC of the batch at {topic}-{partition}:{offset}")
                spoiled = True
        return answer

    def _error(self, fault: Fault, asked: Request, handler: Handler) -> Steps:
        rule, code = fault.rule, fault.rule.action.value
        layout = layout_of(asked.key, asked.version)
        request = asked.context.request
        if rule.picks_partitions and layout is not None:
            self._fire(fault, asked, f"answered {code.name} for the partitions, and served the others")
            return (yield from self._spoil(asked, handler, layout, rule.touches, code, whole=rule.partition is None))
        self._fire(fault, asked, f"answered {code.name}")
        if asked.key == ApiKey.METADATA and not request.topics and asked.version < _TOLD_IN_TOPICS_FROM:
            assert layout is not None
            answer = yield from self._serve(asked, handler)
            if answer is not None:
                overwrite(asked.key, layout, answer, lambda *_: True, self._broker.cluster, code, whole=True)
            return answer
        refused: Answer = handler.error(request, asked.version, code)
        return refused

    def _spoil(
        self, asked: Request, handler: Handler, layout: Layout, touches: Touches, code: ErrorCode, *, whole: bool
    ) -> Steps:
        """Errors for what `touches`; all else is served."""
        key, request, names = asked.key, asked.context.request, self._broker.cluster
        rest: Message | None = request
        taken: list[Taken] = []
        in_session = key == ApiKey.FETCH and request.session_epoch >= 0  # a session follows what the client named
        by_topic = layout.asked.partitions is None and layout.topic_error is not None
        if (layout.applies or key == ApiKey.FETCH) and not in_session and (whole or not by_topic):
            rest, taken = take_out(key, asked.version, layout, request, touches, names)
        if key == ApiKey.FETCH and rest is not None:
            at_once: Any = copy(rest)
            at_once.max_wait_ms = 0  # an error is not waited for
            rest = at_once
        answer: Answer
        if rest is None:
            answer = empty_answer(key)
        else:
            answer = yield from self._serve(asked, handler, rest)
        if key == ApiKey.PRODUCE and request.acks == 0:
            raise CloseConnection(f"Produce with acks=0 failed with {code.name} (client id {asked.client_id!r})")
        refused: int = getattr(answer, "error_code", 0)
        if answer is None or (key == ApiKey.FETCH and refused):
            return answer
        overwrite(key, layout, answer, touches, names, code, whole=whole)
        put_in(key, layout, answer, taken, code)
        if in_session:
            self._tell_session(asked, answer, layout, touches, code)
        return answer

    def _tell_session(self, asked: Request, answer: Any, layout: Layout, touches: Touches, code: ErrorCode) -> None:
        """What a session follows and has nothing to tell of goes wrong as well; and is looked at again."""
        session = asked.context.node.fetch_sessions.known(answer.session_id)
        if session is None:
            return
        rows: dict[str | bytes, Any] = {}  # one of each topic: it may have several
        told = set()
        for row in answer.responses:
            key = row.topic_id if session.by_id else row.topic
            rows[key] = row
            told.update([(key, each.partition_index) for each in row.partitions])
        for target in session.targets.values():
            name = name_of(target.key[0], self._broker)
            if name is None or not touches(name, target.index):
                continue
            row = rows.get(target.key[0])
            if row is None:
                row = rows[target.key[0]] = _fetch_row(target.topic, target.topic_id)
                answer.responses.append(row)
            if target.key not in told:
                add_rows(asked.key, layout, row, [target.index], code)
            target.sent_high_watermark = -1  # as after any error: the next answer tells it
            target.stir()


_STEPS: Final[dict[str, Callable[[Faults, Fault, Request, Any], Steps]]] = {
    "error": Faults._error,
    "delay": Faults._wait_and_serve,
    "hold": Faults._wait_and_serve,
    "drop": Faults._drop,
    "cut": Faults._cut,
    "throttle": Faults._throttle,
    "stale": Faults._stale,
    "fence": Faults._fence,
}


def _closed(fault: Fault, did: str, last: bytes = b"") -> CloseConnection:
    return CloseConnection(f"fault {fault.id} {did}", last)


def _own(asked: Request) -> None:
    """The request leaves the receive buffer, which others receive into while it waits. Only Produce has views of it."""
    if asked.key == ApiKey.PRODUCE:
        for topic in asked.context.request.topic_data:
            for data in topic.partition_data:
                data.records = None if data.records is None else bytearray(data.records)


def _beginning(context: Context, answer: Message, much: int | float) -> bytes:
    """The first bytes of an answer's frame, its size included; a share of it leaves out one byte at least."""
    try:
        parts: list[Any] = [*encode_response(context.api_key, context.api_version, context.correlation_id, answer)]
        size = sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)
        left = min(much, size) if isinstance(much, int) else int(size * much)
        taken: list[bytes] = []
        for part in parts:
            if left <= 0:
                break
            piece = part[:left] if isinstance(part, bytes) else part.read(0, min(left, part.nbytes))
            taken.append(piece)
            left -= len(piece)
        return b"".join(taken)
    finally:
        let_go_all(answer)


def _fetch_row(topic: str, topic_id: bytes) -> Any:
    from ottla.wire.messages.fetch import FetchResponse

    return FetchResponse.FetchableTopicResponse(topic=topic, topic_id=topic_id)
