"""kcat lists, produces and consumes."""

import json
import shutil
import subprocess
from collections.abc import Callable

import pytest

from compat_tests.harness import DEADLINE_S, Broker

pytestmark = pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed (Debian: apt install kcat)")

Kcat = Callable[..., str]


@pytest.fixture
def kcat(broker: Broker) -> Kcat:
    """Runs kcat on the module's broker and gives its output; it must end with exit code 0 within the deadline."""

    def run(*arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["kcat", "-b", broker.bootstrap, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_list(kcat: Kcat, broker: Broker, fresh: Callable[[str], str]) -> None:
    topic = fresh("listed")
    kcat("-P", "-t", topic, stdin="x\n")
    cluster = json.loads(kcat("-L", "-J"))
    assert [one["name"] for one in cluster["brokers"]] == [broker.bootstrap]
    assert cluster["controllerid"] == cluster["brokers"][0]["id"]
    partitions = {one["topic"]: one["partitions"] for one in cluster["topics"]}[topic]
    assert [(one["partition"], one["leader"]) for one in partitions] == [(0, cluster["brokers"][0]["id"])]


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_produce_and_consume(kcat: Kcat, fresh: Callable[[str], str], codec: str) -> None:
    topic = fresh(codec)
    lines = [f"key-{n}:value {n} " + "x" * 100 for n in range(500)]
    kcat("-P", "-t", topic, "-K:", "-z", codec, "-H", "origin=kcat", stdin="\n".join(lines) + "\n")
    read = kcat("-C", "-t", topic, "-e", "-q", "-o", "beginning", "-f", "%o %h %k:%s\n").splitlines()
    assert read == [f"{n} origin=kcat {line}" for n, line in enumerate(lines)]


def test_consume_from_offset_end_and_timestamp(kcat: Kcat, fresh: Callable[[str], str]) -> None:
    topic = fresh("places")
    kcat("-P", "-t", topic, stdin="".join(f"{n}\n" for n in range(100)))
    assert kcat("-C", "-t", topic, "-e", "-q", "-o", "90").split() == [str(n) for n in range(90, 100)]
    assert kcat("-C", "-t", topic, "-e", "-q", "-o", "-3").split() == ["97", "98", "99"]
    assert kcat("-C", "-t", topic, "-e", "-q", "-o", "s@1000").split() == [str(n) for n in range(100)]
    assert f"{topic} [0] offset 100" in kcat("-Q", "-t", f"{topic}:0:-1")


def test_consume_in_a_group_goes_on_where_it_stopped(kcat: Kcat, fresh: Callable[[str], str]) -> None:
    topic, group = fresh("grouped"), fresh("kcats")
    options = ["-G", group, "-q", "-X", "auto.offset.reset=earliest"]
    kcat("-P", "-t", topic, stdin="".join(f"{n}\n" for n in range(100)))
    assert kcat(*options, "-c", "60", topic).split() == [str(n) for n in range(60)]
    assert kcat(*options, "-c", "40", topic).split() == [str(n) for n in range(60, 100)]
