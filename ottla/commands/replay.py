"""`ottla replay`: a recording of `ottla serve --record`, played to a broker and compared with what it answers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from ottla.broker.errors import UsageError
from ottla.commands.base import EXIT_FAILED, EXIT_OK, Parser
from ottla.commands.output import Output

if TYPE_CHECKING:
    from ottla.commands.comparing import Difference
    from ottla.commands.playing import Exchange, Result

_MAX_SHOWN: Final = 200  # characters of a value

_EPILOG = """\
The recorded connections are opened again, and requests leave in the order in which they came. What a broker makes up
(ids of topics, producers, members, sessions and clusters, addresses, times) may be another, as long as it is the same
one throughout; everything else counts. Give it a broker without data of its own. Connections with secrets, as of SASL,
cannot be played: secrets are not recorded.

examples:
  ottla serve --ephemeral --record session.jsonl
  ottla serve --ephemeral --listen 127.0.0.1:9192
  ottla replay session.jsonl --against 127.0.0.1:9192
  ottla replay session.jsonl --against kafka:9092 --retry 30 --ignore errorMessage

exit codes: 0 all answers are equal, 1 some differ or it could not be played, 2 wrong flags.
"""


def define(parser: Parser) -> None:
    """The flags of `ottla replay`."""
    parser.description = "Play a recording to a broker, and show where its answers differ from the recorded ones."
    parser.epilog = _EPILOG
    parser.set_defaults(run=_run)
    parser.add_argument("file", metavar="FILE", help="what `ottla serve --record FILE` wrote")
    parser.add_argument("--against", metavar="HOST:PORT", required=True, help="the broker to play it to")
    parser.add_argument(
        "--ignore",
        metavar="FIELD",
        action="append",
        default=[],
        help="a field that may differ, as errorMessage or Metadata.errorMessage; may be repeated",
    )
    parser.add_argument(
        "--retry",
        metavar="SECONDS",
        default="0",
        help="ask again for so long where the broker says that something is not ready yet (default: 0)",
    )
    parser.add_argument(
        "--real-time", action="store_true", help="wait between requests as long as was waited then (default: don't)"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", default="10", help="how much longer an answer may take (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _run(flags: argparse.Namespace) -> int:
    from ottla.commands.comparing import Matching
    from ottla.commands.connect import parse_bootstrap, parse_timeout_ms
    from ottla.commands.playing import Player
    from ottla.commands.recorded import Recording

    out = Output.of(flags)
    against = parse_bootstrap(flags.against, "--against")
    if len(against) > 1:
        raise UsageError("--against takes one address; the broker there tells where the others are")
    timeout_s = parse_timeout_ms(flags.timeout) / 1000
    found: list[dict[str, Any]] = []

    def tell(exchange: Exchange, differences: list[Difference]) -> None:
        for difference in differences:
            if out.json:
                found.append({**_plain(exchange), "field": difference.path or None, **_values(difference)})
            else:
                out.line(_line(exchange, difference, out))

    player = Player(against[0], Matching(flags.ignore), tell, timeout_s=timeout_s, retry_s=_seconds(flags.retry))
    result = player.play(Recording(flags.file), real_time=flags.real_time)
    if out.json:
        out.document(
            {
                "played": result.played,
                "equal": result.played - result.different,
                "different": result.different,
                "not_played": [{**_plain(exchange), "reason": reason} for exchange, reason in result.not_played],
                "differences": found,
            }
        )
    else:
        _show_end(out, result)
    return EXIT_FAILED if result.different else EXIT_OK


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 1e6:
        raise UsageError(f"--retry {text}: give seconds, as in --retry 30")
    return seconds


def _plain(exchange: Exchange) -> dict[str, Any]:
    return {
        "n": exchange.n,
        "connection": exchange.connection,
        "api": exchange.api,
        "version": exchange.version,
        "client_id": exchange.client_id,
    }


def _values(difference: Difference) -> dict[str, Any]:
    return {"recorded": difference.before, "replayed": difference.after}


def _line(exchange: Exchange, difference: Difference, out: Output) -> str:
    from ottla.broker.logs import one_line
    from ottla.commands.comparing import shown

    who = f"#{exchange.n} {exchange.api} v{exchange.version} {exchange.client_id or '-'} #{exchange.connection}"
    before, after = (
        one_line(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...({len(text)} characters)")
        for text in (shown(difference.path, difference.before), shown(difference.path, difference.after))
    )
    where = f"{one_line(difference.path)}: " if difference.path else ""
    return f"{out.paint(one_line(who), 'bold')}  {where}was {out.paint(before, 'green')}, is {out.paint(after, 'red')}"


def _show_end(out: Output, result: Result) -> None:
    for exchange, reason in result.not_played:
        out.line(f"#{exchange.n} {exchange.api} was not played: {reason}")
    equal = result.played - result.different
    left = f", {len(result.not_played)} not played" if result.not_played else ""
    out.line(f"{result.played} requests played: {equal} answered alike, {result.different} differently{left}")
