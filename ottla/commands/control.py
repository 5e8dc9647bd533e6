"""A client of a broker's control surface (`ottla serve --control HOST:PORT`): calls in, JSON out, errors as sentences.

Not a command: what the commands rest on that steer a broker instead of using it.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ottla.broker.errors import UsageError
from ottla.commands.base import CommandError

VARIABLE = "OTTLA_CONTROL"
TIMEOUT_S = 30.0


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Give a parser --control."""
    parser.add_argument(
        "--control",
        metavar="[HOST:]PORT",
        help=f"where the broker serves its control surface, as `ottla serve --control` said (default: ${VARIABLE})",
    )


class Control:
    """The control surface of one broker. Raises UsageError: nobody said where it is."""

    def __init__(self, flags: argparse.Namespace) -> None:
        text: str | None = flags.control or os.environ.get(VARIABLE)
        if not text:
            raise UsageError(
                "where is the broker's control surface? Start it by `ottla serve --control PORT`,"
                f" and say --control PORT here, or set {VARIABLE}"
            )
        if text.isascii() and text.isdecimal():
            text = f"127.0.0.1:{text}"
        try:
            url = urlsplit(text if "://" in text else f"http://{text}")
            host, port = url.hostname, url.port
        except ValueError:
            host = port = None
        if not host or port is None:
            raise UsageError(f"--control {text}: give host and port, as in 127.0.0.1:9090")
        self._host, self._port = host, port
        self._shown = f"{host}:{port}"

    def get(self, *path: object, query: dict[str, str] | None = None) -> Any:
        """What the surface answers to GET /v1/path. Raises CommandError."""
        return self._ask("GET", path, None, query)

    def post(self, *path: object, body: dict[str, Any] | None = None) -> Any:
        """What the surface answers to POST /v1/path. Raises CommandError."""
        return self._ask("POST", path, body)

    def delete(self, *path: object) -> Any:
        """What the surface answers to DELETE /v1/path. Raises CommandError."""
        return self._ask("DELETE", path, None)

    def lines(self, *path: object, query: dict[str, str]) -> Iterator[Any]:
        """What the surface answers to GET /v1/path, a JSON value a line, as they come. Raises CommandError, also when
        the broker stops.
        """
        from http.client import HTTPConnection, HTTPException

        target = _target(path, query)
        connection = HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            with self._sentences():
                connection.request("GET", target)
                response = connection.getresponse()
                if response.status >= 400:
                    self._value(response.status, response.read())
            try:
                while text := response.readline():
                    if text.strip():
                        yield json.loads(text)
            except (OSError, HTTPException, ValueError):  # cut
                pass
            raise CommandError(f"the broker at {self._shown} is gone; start it again, with --control {self._shown}")
        finally:
            connection.close()

    def _ask(
        self,
        method: str,
        path: tuple[object, ...],
        body: dict[str, Any] | None,
        query: dict[str, str] | None = None,
    ) -> Any:
        from http.client import HTTPConnection

        connection = HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            with self._sentences():
                connection.request(
                    method,
                    _target(path, query),
                    None if body is None else json.dumps(body),
                    {"Content-Type": "application/json"},
                )
                response = connection.getresponse()
                status, content = response.status, response.read()
        finally:
            connection.close()
        return self._value(status, content)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """What goes wrong on the way, as CommandError."""
        from http.client import HTTPException

        try:
            yield
        except ConnectionRefusedError:
            raise CommandError(
                f"nothing listens on {self._shown}; start the broker with --control {self._shown},"
                " or name the right port"
            ) from None
        except TimeoutError:
            raise CommandError(f"{self._shown} did not answer within {TIMEOUT_S:.0f} s; see the broker's log") from None
        except (OSError, HTTPException) as error:
            raise CommandError(
                f"{self._shown} does not answer as a control surface does ({error or type(error).__name__});"
                " the port of --control is another than the one of Kafka clients"
            ) from None

    def _value(self, status: int, content: bytes) -> Any:
        try:
            value = json.loads(content)
        except ValueError:
            raise CommandError(
                f"{self._shown} is no control surface: it answered something else (HTTP {status});"
                " name the port that `ottla serve --control` said"
            ) from None
        if status >= 400:
            raise CommandError(str(value.get("error", value)) if isinstance(value, dict) else str(value))
        return value


def _target(path: tuple[object, ...], query: dict[str, str] | None = None) -> str:
    target = "/v1/" + "/".join(quote(str(part), safe="") for part in path)
    return target + ("?" + urlencode(query) if query else "")
