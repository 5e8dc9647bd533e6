"""What the log looks like to a person and to a machine, and that no client can forge a line of it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from ottla.broker.logs import MAX_VALUE_CHARS, Log, ready_line
from ottla.log.clock import ManualClock

NOON = 1_700_000_000_123  # 2023-11-14T22:13:20.123Z


def make_log(style: str = "text", level: str = "info") -> tuple[Log, io.StringIO]:
    stream = io.StringIO()
    return Log(stream, style, ManualClock(wall_ms=NOON), level), stream


def test_an_event_is_one_line_with_its_fields() -> None:
    log, stream = make_log()
    log.info(
        "group rebalanced", group="orders", generation=3, reason="a member joined", members=["a", "b"], leader=None
    )
    assert stream.getvalue() == (
        "2023-11-14T22:13:20.123Z INFO    group rebalanced"
        ' group=orders generation=3 reason="a member joined" members=a,b\n'
    )


def test_json_has_the_same_in_one_object() -> None:
    log, stream = make_log("json")
    log.warning("group rebalanced", group="orders", generation=3, stable=True, members={"b", "a"}, id=b"\x01\xff")
    assert json.loads(stream.getvalue()) == {
        "ts": "2023-11-14T22:13:20.123Z",
        "level": "warning",
        "event": "group rebalanced",
        "group": "orders",
        "generation": 3,
        "stable": True,
        "members": ["a", "b"],
        "id": "01ff",
    }


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "evil",
    [
        "x\n2023-11-14T22:13:20.123Z INFO    forged",
        "x\r\nforged",
        "\x1b[2J\x1b[31mred",
        "x\u2028forged\u2029",
        "\u202egnirts",
        "\x00\x7f\x85",
        "\ud800",
        'a" level="error',
        "",
    ],
)
def test_no_value_breaks_out_of_its_field(style: str, evil: str) -> None:
    log, stream = make_log(style)
    log.info("joined", member=evil, after="end")
    text = stream.getvalue()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    assert text[:-1].isprintable()
    text.encode("utf-8")
    if style == "json":
        assert json.loads(text)["member"] == evil
    else:
        assert text.endswith(" after=end\n")
        assert 'level="error' not in text


def test_a_long_value_is_cut() -> None:
    for style in ("text", "json"):
        log, stream = make_log(style)
        log.info("joined", member="m" * 100_000)
        assert len(stream.getvalue()) < MAX_VALUE_CHARS + 150
        assert "(100000 characters)" in stream.getvalue()


def test_levels_below_the_threshold_are_silent() -> None:
    for level, lines in (("debug", 4), ("info", 3), ("warning", 2), ("error", 1)):
        log, stream = make_log(level=level)
        log.debug("a")
        log.info("b")
        log.warning("c")
        log.error("d")
        assert stream.getvalue().count("\n") == lines


def failed(message: str) -> Exception:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_an_exception_comes_with_its_traceback_marked() -> None:
    log, stream = make_log()
    log.error("request failed", failed("bad\nINFO forged"), api="Fetch")
    first, *trace = stream.getvalue().splitlines()
    assert first.endswith('ERROR   request failed api=Fetch error="ValueError: bad\\nINFO forged"')
    assert trace
    assert all(line.startswith("  | ") for line in trace)
    log, stream = make_log("json")
    log.error("request failed", failed("bad"))
    entry = json.loads(stream.getvalue())
    assert entry["error"] == "ValueError: bad"
    assert "in failed" in entry["traceback"]


def test_a_reader_that_is_gone_fails_nobody(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w")
    log = Log(stream, "text", ManualClock())
    stream.close()
    log.info("still here")


def test_the_clock_moves_the_timestamp() -> None:
    clock = ManualClock(wall_ms=NOON)
    stream = io.StringIO()
    log = Log(stream, "text", clock)
    log.info("a")
    clock.advance(900)
    log.info("b")
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == [
        "2023-11-14T22:13:20.123Z",
        "2023-11-14T22:13:21.023Z",
    ]


def test_the_ready_line() -> None:
    assert ready_line("[::1]:9092", "/var/lib/ottla data", "1.2.3", 205) == (
        'Ottla 1.2.3 ready: bootstrap=[::1]:9092 data="/var/lib/ottla data" start_ms=205'
    )
    assert json.loads(ready_line("127.0.0.1:9092", "/data", "1.2.3", 205, "json")) == {
        "event": "ready",
        "bootstrap": "127.0.0.1:9092",
        "data": "/data",
        "version": "1.2.3",
        "start_ms": 205,
    }
    assert "\n" not in ready_line("127.0.0.1:9092", "/a\nb", "1", 1)
