"""The gate: every decoded request and every response passes here, as objects. Faults, recording, metrics, quotas
hook in here.

Knows headers, versions and errors; knows no API. What an API does lives in handlers/<api>.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from ottla.broker.handlers import Handler, handlers
from ottla.broker.waiting import Parked
from ottla.log.door import FileSlice, Pending
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.frame import decode_request_header, encode_response
from ottla.wire.repeats import RepeatedProduce
from ottla.wire.schema import Message

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.connection import Connection
    from ottla.broker.faults.faults import Faults
    from ottla.broker.nodes import Node
    from ottla.broker.recording import Recorder

_UNKNOWN = ErrorCode.UNKNOWN_SERVER_ERROR

Reply = list[bytes | FileSlice]


class Context:
    """One request on its way: who asked, what, and the decoded message."""

    __slots__ = (
        "api_key",
        "api_version",
        "client_id",
        "connection",
        "correlation_id",
        "request",
        "size",
        "throttle_ms",
    )

    def __init__(
        self, connection: Connection, api_key: int, api_version: int, correlation_id: int, client_id: str, size: int
    ) -> None:
        self.connection = connection
        self.api_key = api_key
        self.api_version = api_version
        self.correlation_id = correlation_id
        self.client_id = client_id
        self.size = size  # bytes of the frame
        self.throttle_ms = 0  # how long a quota mutes the connection after this request
        self.request: Any = None

    @property
    def node(self) -> Node:
        """The node that was asked."""
        return self.connection.node

    @property
    def client_host(self) -> str:
        """The peer's address as Kafka prints it in groups: "/127.0.0.1"."""
        return f"/{self.connection.host}"


class Tap(Protocol):
    """Sees every request and response at the gate."""

    def on_request(self, context: Context) -> Message | None:
        """A message returned here is the answer; the handler is not called."""
        ...

    def on_response(self, context: Context, response: Message) -> None: ...


class Detour(Protocol):
    """Takes requests instead of their handlers: the tap that may also put off, keep back or spoil an answer."""

    def take(self, context: Context, handler: Handler) -> Message | Pending[Any] | Parked | None:
        """As `handler.handle`, which it may call, now or later, or not. A request that outlives this call must have
        been copied out of the receive buffer. To end the connection it raises CloseConnection."""
        ...

    def shut_down(self) -> None:
        """Nobody is to wait any more."""


class Tethered(Parked):
    """A request that nothing else may ever wake: it is abandoned as soon as the client hangs up."""

    __slots__ = ()


class CloseConnection(Exception):  # noqa: N818  # an instruction, not an error
    """Raised by a handler whose answer to a request is to close (Produce with acks=0 that failed). `last` leaves
    before."""

    def __init__(self, reason: str, last: bytes = b"") -> None:
        super().__init__(reason)
        self.last = last


class Gate:
    """Takes a frame's bytes, gives the bytes of its answer, a `Parked` request, or None when there is no answer."""

    __slots__ = ("_broker", "_handlers", "_muted", "connected", "counts", "detour", "faults", "recorder", "taps")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._handlers = handlers
        self.taps: list[Tap] = []
        self._muted: set[Pending[None]] = set()
        self.detour: Detour | None = None  # one of the taps
        self.faults: Faults | None = None  # once somebody ordered some; it hangs here only while they may happen
        self.connected = 0  # connections so far, all nodes' together
        self.recorder: Recorder | None = None  # one of the taps
        self.counts: dict[tuple[int, int], int] = {}  # (api key, version) -> requests seen

    def handle(
        self, connection: Connection, view: memoryview, start: int, end: int, *, recorded: bool = False
    ) -> Reply | GateParked | None:
        """One request frame, `view[start:end]` without its size. Raises ProtocolError or CloseConnection: close."""
        repeated = connection.repeated
        if self.taps:  # they may keep what they see
            if self.recorder is not None and not recorded:
                return self.recorder.handle(connection, view, start, end)  # which comes back here
        elif repeated is not None:
            frame = view[start:end]
            if repeated.take(frame):
                return self._handle_again(connection, repeated, frame)
        header = decode_request_header(view, start, end)
        api_key, version = header.api_key, header.api_version
        handler = self._handlers.get(api_key)
        client_id = header.client_id or ""
        context = Context(connection, api_key, version, header.correlation_id, client_id, end - start)
        if handler is None:
            raise ProtocolError(f"{_api_name(api_key)} is not served (client id {client_id!r})")
        if not handler.min_version <= version <= handler.max_version:
            if api_key != ApiKey.API_VERSIONS:
                raise ProtocolError(f"{_api_name(api_key)} v{version} is not served (client id {client_id!r})")
            # KIP-511: an ApiVersions of the future is answered in v0, so that the client can come back lower
            context.api_version = 0
            return self._answer(context, handler.error(None, 0, ErrorCode.UNSUPPORTED_VERSION))
        counted = (api_key, version)
        self.counts[counted] = self.counts.get(counted, 0) + 1
        # No more than the frame: a decoder may copy what it is given.
        frame = view[start:end]
        context.request = handler.request.decode(frame, version, header.body_offset - start)
        if self.taps:
            for tap in self.taps:
                instead = tap.on_request(context)
                if instead is not None:
                    return self._answer(context, instead)
            if self.detour is not None:
                detour = self.detour
                return self._run(context, handler, lambda: detour.take(context, handler))
        reply = self._run(context, handler, lambda: handler.handle(self._broker, context, context.request))
        if handler.handle_again is not None and not self.taps and not isinstance(reply, GateParked):
            connection.repeated = RepeatedProduce.of(frame, header.body_offset - start, context)
        return reply

    def _handle_again(
        self, connection: Connection, repeated: RepeatedProduce, frame: memoryview
    ) -> Reply | GateParked | None:
        """A request of which `take` has put what is new into the one that was decoded before."""
        api_key, version = repeated.counted
        self.counts[repeated.counted] += 1
        handler = self._handlers[api_key]
        context = Context(connection, api_key, version, repeated.correlation_id, repeated.client_id, len(frame))
        context.request = request = repeated.request
        try:
            answer: bytes | Message | None = handler.handle_again(self._broker, connection.node, repeated)
        except Exception as error:
            connection.repeated = None
            self._report(context, error)
            return self._answer(context, handler.error(request, version, _UNKNOWN))
        if answer is not None:
            repeated.let_go()
            return [answer] if isinstance(answer, bytes) else self._answer(context, answer)
        reply = self._run(context, handler, lambda: handler.handle(self._broker, context, request))
        if isinstance(reply, GateParked):  # the request is still in use
            connection.repeated = None
        else:
            repeated.let_go()
        return reply

    def finish(self, parked: GateParked) -> Reply | None:
        """The answer of a parked request whose wait is over."""
        context = parked.context
        reply = self._run(context, self._handlers[context.api_key], parked.finish)
        if isinstance(reply, GateParked):
            raise RuntimeError(f"{_api_name(context.api_key)} parked twice")
        return reply

    def mute(self, connection: Connection) -> Pending[None]:
        """Settled when the connection may be read again: its quota says so, or the broker stops."""
        silence: Pending[None] = Pending()
        delay_ms = connection.muted_until_ms - self._broker.clock.mono_ms()
        connection.muted_until_ms = 0
        if delay_ms <= 0 or self._broker.stopping:
            silence.resolve(None)
        else:
            self._muted.add(silence)
            timer = self._broker.timers.schedule(delay_ms, lambda: silence.resolve(None))
            silence.then(lambda _: timer.cancel())
            silence.then(self._muted.discard)
        return silence

    def unmute_all(self) -> None:
        """Nobody is to wait any more."""
        if self.detour is not None:
            self.detour.shut_down()
        for silence in tuple(self._muted):
            silence.resolve(None)

    def _run(
        self, context: Context, handler: Handler, work: Callable[[], Message | Pending[Any] | Parked | None]
    ) -> Reply | GateParked | None:
        try:
            response = work()
        except (ProtocolError, CloseConnection):
            raise
        except KafkaError as error:
            response = handler.error(context.request, context.api_version, error.code)
        except Exception as error:
            self._report(context, error)
            response = handler.error(context.request, context.api_version, _UNKNOWN)
        if response is None:
            return None
        if isinstance(response, Message):
            try:
                return self._answer(context, response)
            except Exception as error:  # an answer that its version cannot carry is our mistake, not the client's
                self._report(context, error)
                return self._answer(context, handler.error(context.request, context.api_version, _UNKNOWN))
        if isinstance(response, Pending):
            return GateParked(context, response, response.result, None)
        tethered = isinstance(response, Tethered)
        return GateParked(context, response.pending, response.finish, response.abandon, tethered=tethered)

    def _report(self, context: Context, error: Exception) -> None:
        self._broker.log.error(
            "request failed",
            error,
            api=_api_name(context.api_key),
            version=context.api_version,
            client=context.client_id,
            correlation_id=context.correlation_id,
        )

    def _answer(self, context: Context, response: Message) -> Reply:
        if self.taps:
            for tap in self.taps:
                tap.on_response(context, response)
        frame = encode_response(context.api_key, context.api_version, context.correlation_id, response)
        return cast("Reply", frame)  # slices in our responses are the log's


class GateParked:
    """A parked request together with its context; the connection waits for `pending`, then calls `Gate.finish`. One
    that is `tethered` it abandons as soon as the client hangs up."""

    __slots__ = ("abandon", "context", "finish", "pending", "tethered")

    def __init__(
        self,
        context: Context,
        pending: Pending[Any],
        finish: Callable[[], Message | None],
        abandon: Callable[[], None] | None,
        *,
        tethered: bool = False,
    ) -> None:
        self.context = context
        self.pending = pending
        self.finish = finish
        self.abandon = abandon
        self.tethered = tethered


def _api_name(key: int) -> str:
    spec = API.get(key)
    return spec.name if spec is not None else f"API key {key}"
