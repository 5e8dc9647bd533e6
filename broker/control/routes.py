"""Which call a request is: the table of routes, each a function with a sentence that says what it does.

A call takes a `Call` and returns a JSON value, or something to await that does. What cannot be done it says by
KafkaError or Refused. The same table describes itself to other programs: openapi.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from ottla.broker.control.http import Reply, Request
from ottla.broker.errors import StartupError
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.broker import Broker

PREFIX = "v1"
_NOT_FOUND = frozenset(
    (
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.GROUP_ID_NOT_FOUND,
        ErrorCode.BROKER_ID_NOT_REGISTERED,
    )
)


class Refused(Exception):  # noqa: N818  # an answer, not a fault
    """What was asked cannot be done; a sentence says why and what to do. `status` is HTTP's."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class Call:
    """One request to a route: `params` are the names in its path."""

    __slots__ = ("_body", "broker", "params", "query")

    def __init__(self, broker: Broker, params: dict[str, str], query: dict[str, str], body: Any) -> None:
        self.broker = broker
        self.params = params
        self.query = query
        self._body = body

    def number(self, name: str) -> int:
        """A number in the path. Raises Refused."""
        text = self.params[name]
        if not text.isascii() or not text.isdecimal() or len(text) > 10:
            raise Refused(f"{text!r} is not a {name}: give a number")
        return int(text)

    def body(self) -> dict[str, Any]:
        """The fields of the body, none if there is no body. Raises Refused."""
        if self._body is None:
            return {}
        if not isinstance(self._body, dict):
            raise Refused("the body must be a JSON object")
        return self._body

    def field(self, name: str, kind: type[Any], example: str) -> Any:
        """A field of the body, which must be there. Raises Refused."""
        value = self.body().get(name)
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            raise Refused(f"the body must be a JSON object with {name!r}, as in {example}")
        return value


Run = Callable[[Call], Any]
Schema = Mapping[str, Any]  # JSON schema, as OpenAPI 3.1 takes it


def object_of(fields: Mapping[str, Schema], *, required: Iterable[str] = ()) -> Schema:
    """The schema of a JSON object with these fields and no others."""
    return {
        "type": "object",
        "properties": dict(fields),
        "required": list(required),
        "additionalProperties": False,
    }


class Route:
    """A method and a path, with {names} in it, and what is called there."""

    __slots__ = ("asks", "does", "gives", "method", "parts", "path", "run", "takes")

    def __init__(
        self,
        method: str,
        path: str,
        run: Run,
        does: str,
        *,
        takes: Schema | None = None,
        asks: Mapping[str, str] | None = None,
        gives: str = "application/json",
    ) -> None:
        """`does`: a sentence. `takes`: the body, None if there is none. `asks`: what may stand behind `?`, with what it
        means. `gives`: the media type of the answer.
        """
        self.method = method
        self.path = f"/{PREFIX}{path}"
        self.parts = self.path.strip("/").split("/")
        self.run = run
        self.does = does
        self.takes = takes
        self.asks = dict(asks or {})
        self.gives = gives

    def match(self, path: list[str]) -> dict[str, str] | None:
        """The names in the path, if it is this one."""
        if len(path) != len(self.parts):
            return None
        params: dict[str, str] = {}
        for part, text in zip(self.parts, path, strict=True):
            if part.startswith("{"):
                params[part[1:-1]] = text
            elif part != text:
                return None
        return params


class Router:
    """Answers requests from a table of routes."""

    def __init__(self, broker: Broker, routes: Iterable[Route]) -> None:
        self._broker = broker
        self._routes = [
            *routes,
            Route("GET", "", self._index, "What there is: this list."),
            Route("GET", "/openapi.json", self._description, "What there is, as OpenAPI 3.1."),
        ]

    async def answer(self, request: Request) -> Reply:
        """Never raises: what goes wrong is in the reply."""
        allowed = []
        for route in self._routes:
            params = route.match(request.path or [PREFIX])
            if params is None:
                continue
            if route.method == request.method:
                return await self._run(route, Call(self._broker, params, request.query, request.body))
            allowed.append(route.method)
        path = "/" + "/".join(request.path)
        if allowed:
            methods = ", ".join(allowed)
            return Reply.refusal(405, f"{path} takes {methods}, not {request.method}", (("Allow", methods),))
        return Reply.refusal(404, f"there is nothing at {path}; GET /{PREFIX} lists what there is")

    async def _run(self, route: Route, call: Call) -> Reply:
        try:
            _refuse_unknown(route, call)
            value = route.run(call)
            if isawaitable(value):
                value = await value
        except Refused as refused:
            return Reply.refusal(refused.status, str(refused))
        except KafkaError as error:
            status = 404 if error.code in _NOT_FOUND else 409
            return Reply(status, {"error": error.message or error.code.name, "code": error.code.name})
        except StartupError as error:  # a port that somebody else has taken
            return Reply.refusal(409, str(error))
        except Exception as error:
            self._broker.log.error("control request failed", error, route=route.path)
            return Reply.refusal(500, "the broker failed to do that; its log says why")
        return value if isinstance(value, Reply) else Reply(200, value)

    def _index(self, call: Call) -> Any:
        from ottla import __version__

        return {
            "ottla": __version__,
            "cluster": call.broker.cluster.cluster_id,
            "routes": [{"method": route.method, "path": route.path, "does": route.does} for route in self._routes],
        }

    def _description(self, call: Call) -> Any:
        from ottla.broker.control.openapi import described

        return described(self._routes)


def _refuse_unknown(route: Route, call: Call) -> None:
    """What a route does not know is a slip of the pen, not something to pass over."""
    known = () if route.takes is None else route.takes["properties"]
    for kind, given, there in (("behind ?", call.query, route.asks), ("in the body", call.body(), known)):
        unknown = next((name for name in given if name not in there), None)
        if unknown is not None:
            takes = f"it takes {', '.join(there)}" if there else "it takes nothing there"
            raise Refused(f"{route.path} knows no {unknown!r} {kind}; {takes}")
