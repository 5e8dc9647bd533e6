"""How a command reaches a broker: --bootstrap, the file of --config, and one sentence for all that can go wrong.

kafka-python is imported when the broker has been found to listen, since that takes longer than finding out.
"""

from __future__ import annotations

import argparse
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from ottla.broker.errors import UsageError
from ottla.commands.base import CommandError, Parser
from ottla.commands.properties import client_options, read_properties

if TYPE_CHECKING:
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.admin import KafkaAdminClient

DEFAULT_BOOTSTRAP: Final = "localhost:9092"
ENVIRONMENT: Final = "OTTLA_BOOTSTRAP"
DEFAULT_PORT: Final = 9092
_TLS_ALERT: Final = b"\x15\x03"
_API_VERSIONS: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # v0, correlation id 1, no client id

# What a code means for a person, and what helps. {what} is what was asked for.
_SENTENCES: Final = {
    "UNKNOWN_TOPIC_OR_PARTITION": "there is no {what}; `ottla topics` lists the topics there are",
    "UNKNOWN_TOPIC_ID": "there is no {what}; `ottla topics` lists the topics there are",
    "TOPIC_ALREADY_EXISTS": "{what} exists already; choose another name, or say --if-not-exists",
    "GROUP_ID_NOT_FOUND": "there is no {what}; `ottla groups` lists the groups there are",
    "NON_EMPTY_GROUP": "{what} has members; stop them first (`ottla groups members` shows who they are)",
    "UNKNOWN_MEMBER_ID": "{what} has members; stop them first (`ottla groups members` shows who they are)",
    "GROUP_SUBSCRIBED_TO_TOPIC": "members of the group still read {what}; stop them first",
    "TOPIC_AUTHORIZATION_FAILED": "you are not allowed to do this with {what}; name a user who is, with --config FILE",
    "GROUP_AUTHORIZATION_FAILED": "you are not allowed to do this with {what}; name a user who is, with --config FILE",
    "CLUSTER_AUTHORIZATION_FAILED": "you are not allowed to do this in this cluster; name a user who is, with"
    " --config FILE",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "you are not allowed to use this transactional id; name a user who is,"
    " with --config FILE",
    "UNKNOWN": "{what}: the broker failed at this; its log says why",
    "LEADER_NOT_AVAILABLE": "{what} has no leader just now; try again, or see `ottla topics describe`",
    "NOT_ENOUGH_REPLICAS": "{what} has fewer replicas in sync than min.insync.replicas asks for; bring nodes back, or"
    " write with --acks 1",
}


class Target:
    """A cluster to talk to: `bootstrap` addresses, `options` of a kafka-python client, how long to wait."""

    def __init__(self, bootstrap: list[tuple[str, int]], options: dict[str, Any], timeout_ms: int) -> None:
        self.bootstrap = bootstrap
        self.options = options
        self.timeout_ms = timeout_ms

    def __str__(self) -> str:
        return ",".join(address_text(*address) for address in self.bootstrap)

    @property
    def plain(self) -> bool:
        """Whether a broker can be asked without TLS, and without a proxy between."""
        return self.options.get("security_protocol", "PLAINTEXT") in ("PLAINTEXT", "SASL_PLAINTEXT")


# ── what was asked for ──────────────────────────────────────────────────────────────────────────────────────────────


def add_flags(parser: Parser, *, json: str = "print one JSON document") -> None:
    """The flags that all client commands share."""
    group = parser.add_argument_group("where to, and how")
    group.add_argument(
        "-b",
        "--bootstrap",
        metavar="HOST:PORT",
        help=f"a broker of the cluster; more after commas (default: ${ENVIRONMENT}, else {DEFAULT_BOOTSTRAP})",
    )
    group.add_argument(
        "--config",
        metavar="FILE",
        help="client properties as Kafka's tools have them: security.protocol, sasl.*, ssl.*",
    )
    group.add_argument("--timeout", metavar="SECONDS", default="10", help="how long an answer may take (default: 10)")
    group.add_argument("--json", action="store_true", help=json)
    group.add_argument("--verbose", action="store_true", help="show the log of the client library on stderr")


def target(flags: argparse.Namespace, environment: Mapping[str, str] | None = None) -> Target:
    """The cluster that `flags` and what they leave to file and environment name. Raises UsageError."""
    environment = os.environ if environment is None else environment
    properties = read_properties(flags.config) if flags.config is not None else {}
    options = client_options(properties, flags.config or "")
    text = flags.bootstrap
    where = f"--bootstrap {text}"
    if text is None and properties.get("bootstrap.servers"):
        text, where = properties["bootstrap.servers"], f"{flags.config}: bootstrap.servers"
    if text is None:
        text, where = environment.get(ENVIRONMENT) or DEFAULT_BOOTSTRAP, f"${ENVIRONMENT}"
    return Target(parse_bootstrap(text, where), options, parse_timeout_ms(flags.timeout))


def parse_bootstrap(text: str, where: str) -> list[tuple[str, int]]:
    """HOST[:PORT],... as addresses. `where` is named if they are none. Raises UsageError."""
    addresses = []
    for item in text.split(","):
        item = item.strip().rpartition("://")[2]
        host, port = item, str(DEFAULT_PORT)
        if item.startswith("["):
            host, _, port = item[1:].partition("]")
            port = port.removeprefix(":") or str(DEFAULT_PORT)
        elif item.count(":") == 1:
            host, _, port = item.partition(":")
        if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port[:6]) < 65536:
            raise UsageError(f"{where}: {item or text} is no address of a broker; give HOST:PORT, as localhost:9092")
        addresses.append((host, int(port)))
    return addresses


def parse_timeout_ms(text: str) -> int:
    """Seconds as milliseconds. Raises UsageError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 1_000_000:  # neither NaN
        raise UsageError(f"--timeout {text}: give seconds, as in --timeout 30")
    return max(1, int(seconds * 1000))


def address_text(host: str, port: int) -> str:
    """HOST:PORT, with brackets where the host is an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# ── is there a broker ───────────────────────────────────────────────────────────────────────────────────────────────


def probe(cluster: Target, timeout_ms: int | None = None) -> None:
    """Returns if one of the addresses answers as a Kafka broker does (where only TLS could tell: if it listens).

    Raises CommandError: why the first of them does not.
    """
    if cluster.options.get("proxy_url"):
        return
    first: CommandError | None = None
    for host, port in cluster.bootstrap:
        try:
            _probe(host, port, (timeout_ms or cluster.timeout_ms) / 1000, cluster)
            return
        except CommandError as error:
            first = first or error
    assert first is not None
    raise first


def _probe(host: str, port: int, timeout_s: float, cluster: Target) -> None:
    where = address_text(host, port)
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            if not cluster.plain:
                _try_tls(connection, host, where, cluster.options)
                return
            connection.sendall(_API_VERSIONS)
            head = b""
            while len(head) < 8:
                part = connection.recv(8 - len(head))
                if not part:
                    break
                head += part
    except socket.gaierror as error:
        raise CommandError(
            f"the host name {host} cannot be resolved ({(error.strerror or str(error)).lower()}); name the broker with"
            f" --bootstrap HOST:PORT or ${ENVIRONMENT}"
        ) from error
    except ConnectionRefusedError as error:
        raise CommandError(
            f"nothing listens on {where} (connection refused); start a broker (`ottla serve`), or name another with"
            f" --bootstrap HOST:PORT or ${ENVIRONMENT}"
        ) from error
    except TimeoutError as error:
        raise CommandError(
            f"{where} did not answer within {timeout_s:g} s; is it the right address, and a Kafka broker?"
            " Name another with --bootstrap, or give it longer with --timeout SECONDS"
        ) from error
    except ConnectionError:
        head = b""  # it hung up, as something that does not understand us may
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandError(
            f"{where} cannot be reached ({reason.lower()}); check --bootstrap and the network"
        ) from error
    if head[:2] == _TLS_ALERT:
        raise CommandError(
            f"{where} speaks TLS only; put security.protocol=SSL (or SASL_SSL) into a file and name it with --config"
        )
    if not (len(head) == 8 and head[0] == 0 and head[4:] == b"\x00\x00\x00\x01"):
        what = "hung up" if not head else "answered, but not as a Kafka broker does"
        raise CommandError(
            f"{where} {what}; is it the port of a broker, without TLS? Name another with --bootstrap HOST:PORT"
        )


def _try_tls(connection: socket.socket, host: str, where: str, options: Mapping[str, Any]) -> None:
    """Raises CommandError if there is no TLS, or a certificate that is not trusted."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=options.get("ssl_cafile"))
        context.check_hostname = options.get("ssl_check_hostname", True)
        with context.wrap_socket(connection, server_hostname=host):
            return
    except ssl.SSLCertVerificationError as error:
        raise CommandError(
            f"the certificate of {where} is not trusted ({error.verify_message.rstrip('.')}); name the authority that"
            " signed it with ssl.ca.location=FILE.pem in the file of --config"
        ) from error
    except FileNotFoundError as error:
        raise CommandError(
            f"there is no file {options.get('ssl_cafile')}; correct it in the file of --config"
        ) from error
    except (ssl.SSLError, ConnectionError) as error:
        raise CommandError(
            f"{where} does not speak TLS ({getattr(error, 'reason', None) or 'it hung up'}); say"
            " security.protocol=PLAINTEXT in the file of --config, or name the port that does"
        ) from error


# ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def admin(flags: argparse.Namespace) -> Iterator[KafkaAdminClient]:
    """An admin client of the cluster that `flags` name. Raises UsageError, CommandError, also for the block."""
    cluster = target(flags)
    probe(cluster)
    prepare_library(verbose=flags.verbose)
    with admin_of(cluster) as client:
        yield client


@contextmanager
def admin_of(cluster: Target) -> Iterator[KafkaAdminClient]:
    """An admin client of a cluster that has been probed. Raises CommandError, also for the block."""
    from kafka.admin import KafkaAdminClient

    with translated(cluster):
        client = KafkaAdminClient(**_common(cluster))
        try:
            yield client
        except Exception as error:
            blame_advertised(client, error)
            raise
        finally:
            client.close()


@contextmanager
def consumer(flags: argparse.Namespace, **options: Any) -> Iterator[KafkaConsumer]:
    """A consumer with these options. Raises as `admin` does. Closing commits nothing."""
    cluster = target(flags)
    prepare_library(verbose=flags.verbose)
    from kafka import KafkaConsumer

    with translated(cluster):
        client = KafkaConsumer(**_common(cluster), enable_auto_commit=False, allow_auto_create_topics=False, **options)
        try:
            yield client
        finally:
            client.close(autocommit=False)


@contextmanager
def producer(flags: argparse.Namespace, **options: Any) -> Iterator[KafkaProducer]:
    """A producer with these options. Raises as `admin` does. What is unsent at a failure is given up."""
    cluster = target(flags)
    prepare_library(verbose=flags.verbose)
    from kafka import KafkaProducer

    with translated(cluster):
        client = KafkaProducer(
            **_common(cluster),
            allow_auto_create_topics=False,
            max_block_ms=cluster.timeout_ms,
            delivery_timeout_ms=cluster.timeout_ms + 1000,
            **options,
        )
        try:
            yield client
        except BaseException:
            with suppress(Exception):  # what went wrong first is what counts
                client.close(timeout=0)
            raise
        client.close(timeout=cluster.timeout_ms / 1000)


def _common(cluster: Target) -> dict[str, Any]:
    return {
        "client_id": "ottla",
        "request_timeout_ms": cluster.timeout_ms,
        "bootstrap_timeout_ms": cluster.timeout_ms,
        **cluster.options,
        "bootstrap_servers": [address_text(*address) for address in cluster.bootstrap],
    }


def prepare_library(*, verbose: bool) -> None:
    """kafka-python's log, quiet unless `verbose`, and codecs for compressed records."""
    import logging

    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    else:
        logging.getLogger("kafka").addHandler(logging.NullHandler())
        logging.getLogger("kafka").propagate = False
    from ottla.commands.codecs import teach_codecs

    teach_codecs()


# ── what went wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def translated(cluster: Target) -> Iterator[None]:
    """Errors of kafka-python leave the block as CommandError."""
    from kafka.errors import KafkaError

    try:
        yield
    except KafkaError as error:
        raise CommandError(error_sentence(error, str(cluster), cluster.timeout_ms)) from error


def error_sentence(error: Exception, where: str, timeout_ms: int) -> str:
    """One sentence for an error of kafka-python: what happened at `where`, and what helps."""
    from kafka import errors

    if isinstance(error, errors.SaslAuthenticationFailedError | errors.UnsupportedSaslMechanismError):
        said = _said(error)
        return f"{where} refused the login{f' ({said})' if said else ''}; check sasl.* in the file of --config"
    if "SaslHandshake" in str(error):
        return f"{where} knows no login (SASL); say security.protocol=PLAINTEXT or SSL in the file of --config"
    if isinstance(error, errors.IncompatibleBrokerVersion | errors.UnsupportedVersionError):
        return f"the broker at {where} is too old for this ({_said(error)})"
    code = getattr(error, "message", None)
    if isinstance(error, errors.BrokerResponseError) and isinstance(code, str):
        return code_sentence(code, None, _concerns(code), str(error.description or ""))
    if isinstance(error, errors.KafkaTimeoutError | errors.KafkaConnectionError | errors.NodeNotReadyError):
        said = _said(error)
        return (
            f"{where} did not answer as it should within {timeout_ms / 1000:g} s{f' ({said})' if said else ''}; is it"
            " the right address, and does security.protocol fit? --verbose shows more, --timeout SECONDS waits longer"
        )
    return f"{type(error).__name__}: {_said(error) or 'no more is known'}; --verbose shows what came before"


def _concerns(code: str) -> str:
    """What an error that came alone is about."""
    if "GROUP" in code or "MEMBER" in code:
        return "this group"
    return "this topic" if "TOPIC" in code else "the request"


def _said(error: Exception) -> str:
    return ", ".join(str(argument) for argument in error.args).strip().rstrip(".")


def code_sentence(code: str, message: str | None, what: str, description: str = "") -> str:
    """One sentence for an error code of a broker. `message` is what the broker said with it, `what` what was asked."""
    sentence = _SENTENCES.get(code)
    if sentence is not None:
        return f"{sentence.format(what=what)} ({code})"
    said = (message or description or "the broker refused").strip().rstrip(".")
    return f"{what}: {said} ({code})"


def error_of(code: int, message: str | None, what: str) -> str:
    """The sentence for an error code in an answer."""
    from kafka.errors import for_code

    error = for_code(code)
    return code_sentence(str(error.message or f"error {code}"), message, what, str(error.description or ""))


def blame_advertised(client: KafkaAdminClient, error: Exception) -> None:
    """If `error` comes from brokers whose advertised addresses cannot be reached, raises CommandError saying so."""
    from kafka import errors

    if not isinstance(error, errors.KafkaConnectionError | errors.NodeNotReadyError | errors.KafkaTimeoutError):
        return
    for node in client._manager.cluster.brokers():
        try:
            socket.create_connection((node.host, node.port), 2).close()
        except (OSError, UnicodeError) as reason:
            raise CommandError(
                f"the cluster tells clients to reach node {node.node_id} on {address_text(node.host, node.port)}, which"
                f" cannot be reached from here ({getattr(reason, 'strerror', None) or reason}); its"
                " advertised.listeners must be an address that clients can reach"
            ) from error


def report(failures: list[str], say: Callable[[str], object]) -> int:
    """Say each failure in a line of its own; the exit code."""
    from ottla.broker.logs import one_line

    for sentence in failures:
        say(f"ottla: {one_line(sentence)}\n")
    return 1 if failures else 0
