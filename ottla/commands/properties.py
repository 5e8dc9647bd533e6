"""The file of --config: client properties as Kafka's own tools and librdkafka have them, as options of kafka-python."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ottla.broker.errors import UsageError
from ottla.broker.properties import PropertiesError, parse_properties

_Reader = Callable[[str], Any]


def _same(text: str) -> str:
    return text


def _upper(text: str) -> str:
    return text.upper()


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("say true or false")
    return text.lower() == "true"


def _check_hostname(text: str) -> bool:
    return text.lower() not in ("", "none")  # Kafka: https is the default, empty switches it off


_KNOWN: Final[dict[str, tuple[str, _Reader]]] = {  # a property -> kafka-python's option, how it is read
    "client.id": ("client_id", _same),
    "request.timeout.ms": ("request_timeout_ms", int),
    "security.protocol": ("security_protocol", _upper),
    "sasl.mechanism": ("sasl_mechanism", _upper),
    "sasl.mechanisms": ("sasl_mechanism", _upper),
    "sasl.username": ("sasl_plain_username", _same),
    "sasl.password": ("sasl_plain_password", _same),
    "sasl.kerberos.service.name": ("sasl_kerberos_service_name", _same),
    "ssl.ca.location": ("ssl_cafile", _same),
    "ssl.truststore.location": ("ssl_cafile", _same),
    "ssl.certificate.location": ("ssl_certfile", _same),
    "ssl.keystore.location": ("ssl_certfile", _same),
    "ssl.key.location": ("ssl_keyfile", _same),
    "ssl.key.password": ("ssl_password", _same),
    "ssl.crl.location": ("ssl_crlfile", _same),
    "ssl.endpoint.identification.algorithm": ("ssl_check_hostname", _check_hostname),
    "enable.ssl.certificate.verification": ("ssl_check_hostname", _flag),
    "socks5.proxy": ("proxy_url", _same),
}
_READ_ELSEWHERE: Final = {"sasl.jaas.config", "ssl.truststore.type", "ssl.keystore.type"}
_MATTERS: Final = ("sasl.", "ssl.", "security.")  # a mistake in these must not pass in silence
_STORES: Final = {"ssl.truststore.location": "ssl.truststore.type", "ssl.keystore.location": "ssl.keystore.type"}


def read_properties(path: str) -> dict[str, str]:
    """The properties in a file; of several with one key the last counts. Raises UsageError."""
    try:
        with open(path, encoding="utf-8") as file:
            entries = parse_properties(file.read())
    except PropertiesError as error:
        raise UsageError(f"--config {path}: {error}") from None
    except FileNotFoundError:
        raise UsageError(f"--config {path}: no such file; give a file of client properties") from None
    except UnicodeDecodeError:
        raise UsageError(f"--config {path}: it is no UTF-8 text; give a file of client properties") from None
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror or error}; give a file that can be read") from None
    return {entry.key: entry.value.strip() for entry in entries}


def client_options(properties: Mapping[str, str], path: str) -> dict[str, Any]:
    """kafka-python's options for what of `properties` concerns a connection; what concerns none is left out.

    Raises UsageError where security would not be what the file asks for.
    """
    options: dict[str, Any] = {}
    for key, text in properties.items():
        if key in _KNOWN:
            option, read = _KNOWN[key]
            try:
                options[option] = read(text)
            except ValueError:
                raise UsageError(f"--config {path}: {key}={text} cannot be read; see Kafka's documentation") from None
            kind = properties.get(_STORES.get(key, ""), "PEM" if text.endswith(".pem") else "JKS").upper()
            if key in _STORES and kind != "PEM":
                raise UsageError(
                    f"--config {path}: {key} is a {kind} file, which Python cannot read; export it as PEM and set"
                    f" {_STORES[key]}=PEM"
                )
        elif key.startswith(_MATTERS) and key not in _READ_ELSEWHERE:
            raise UsageError(f"--config {path}: {key} is not known to this client; remove it, or use {_alike(key)}")
    login = properties.get("sasl.jaas.config")
    if login is not None:
        options |= _login(login, path)
    return options


def _login(text: str, path: str) -> dict[str, str]:
    r"""User and password of a sasl.jaas.config: `...PlainLoginModule required username="u" password="p";`."""
    said = {
        name: re.sub(r"\\(.)", r"\1", value) for name, value in re.findall(r'(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"', text)
    }
    if "username" not in said or "password" not in said:
        raise UsageError(
            f"--config {path}: sasl.jaas.config names no user; write sasl.username=... and sasl.password=... instead"
        )
    return {"sasl_plain_username": said["username"], "sasl_plain_password": said["password"]}


def _alike(key: str) -> str:
    from ottla.broker.config_types import nearest

    return nearest(key, _KNOWN) or "one of " + ", ".join(sorted(name for name in _KNOWN if name.startswith(_MATTERS)))
