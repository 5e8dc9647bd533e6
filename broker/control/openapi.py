"""The routes of the control surface as an OpenAPI 3.1 document, for programs that make clients of such. Reads the
table of routes (routes.py), knows none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ottla import __version__

if TYPE_CHECKING:
    from ottla.broker.control.routes import Route

_ERROR: Final = {
    "description": "It cannot be done; the sentence says why, `code` is Kafka's error where there is one.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"error": {"type": "string"}, "code": {"type": "string"}},
                "required": ["error"],
            }
        }
    },
}


def described(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ottla's control surface",
            "version": __version__,
            "description": "Here tests steer a broker: nodes, faults, the clock, groups, snapshots.",
        },
        "paths": paths,
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in route.parts
        if part.startswith("{")
    ]
    parameters += [
        {"name": name, "in": "query", "description": means, "schema": {"type": "string"}}
        for name, means in route.asks.items()
    ]
    operation: dict[str, Any] = {"operationId": _id(route), "summary": route.does}
    if parameters:
        operation["parameters"] = parameters
    if route.takes is not None:
        operation["requestBody"] = {
            "required": bool(route.takes.get("required")),
            "content": {"application/json": {"schema": route.takes}},
        }
    operation["responses"] = {
        "200": {"description": "Done.", "content": {route.gives: {"schema": {}}}},
        "4XX": _ERROR,
    }
    return operation


def _id(route: Route) -> str:
    """Unique, as method and path are: `post_nodes_stop`."""
    named = [part.strip("{}").replace(".", "_").replace("-", "_") for part in route.parts[1:]]
    return "_".join([route.method.lower(), *(named or ["index"])])
