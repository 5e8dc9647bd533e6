"""The pytest plugin, as projects use it: each test here is a project of its own, run by pytest in a process of its
own.
"""

from __future__ import annotations

import importlib.metadata
import textwrap
from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

Project = Callable[..., pytest.RunResult]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Runs the tests of `code` with pytest's own flags."""
    for name in ("PYTEST_ADDOPTS", "CI"):
        monkeypatch.delenv(name, raising=False)

    def run(code: str, *flags: str, ini: str = "") -> pytest.RunResult:
        pytester.makeini(f"[pytest]\n{ini}")
        pytester.makepyfile("import pytest\n" + textwrap.dedent(code))
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *flags)

    return run


def test_it_comes_with_the_package() -> None:
    (found,) = importlib.metadata.entry_points(group="pytest11", name="ottla")
    assert found.value == "ottla.pytest_plugin"


def test_a_run_without_it_imports_nothing_of_ottla_and_no_trio(project: Project) -> None:
    result = project(
        """
        import sys

        def test_modules():
            ours = [name for name in sys.modules if name.partition(".")[0] == "ottla"]
            assert ours == ["ottla", "ottla.pytest_plugin"]
            assert not {"trio", "h11", "re2", "cramjam", "kafka"} & set(sys.modules)
        """,
        "-p",
        "no:trio",  # pytest-trio brings it
    )
    result.assert_outcomes(passed=1)


def test_the_plugin_itself_imports_nothing_but_pytest(project: Project) -> None:
    result = project(
        """
        import subprocess, sys

        def test_modules():
            code = "import sys, pytest; before = set(sys.modules); import ottla.pytest_plugin;"
            code += "print(sorted(set(sys.modules) - before))"
            said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            assert said.strip() == "['ottla', 'ottla.pytest_plugin']"
        """
    )
    result.assert_outcomes(passed=1)


def test_each_test_has_a_broker_and_nothing_of_another(project: Project) -> None:
    result = project(
        """
        from kafka import KafkaProducer

        seen = set()

        @pytest.mark.parametrize("n", range(3))
        def test_one(ottla, n):
            assert ottla.topics == {}
            with KafkaProducer(bootstrap_servers=ottla.bootstrap_servers) as producer:
                producer.send("orders", b"%d" % n)
            assert [record.value for record in ottla.wait_for("orders")] == [b"%d" % n]
            seen.add(ottla.bootstrap_servers)

        def test_they_were_three(ottla):
            assert len(seen | {ottla.bootstrap_servers}) >= 2
        """
    )
    result.assert_outcomes(passed=4)


def test_a_session_is_shared_and_names_are_not(project: Project) -> None:
    result = project(
        """
        from kafka import KafkaConsumer, KafkaProducer

        brokers, names, kept = set(), set(), []

        @pytest.mark.parametrize("drink", ["tea", "coffee"])
        def test_orders(ottla_session, drink):
            orders, kitchen = ottla_session.topic("orders"), ottla_session.group("kitchen")
            assert orders == ottla_session.topic("orders")
            names.update((orders, kitchen, ottla_session.transactional_id("till")))
            brokers.add(ottla_session.bootstrap_servers)
            with KafkaProducer(bootstrap_servers=ottla_session.bootstrap_servers) as producer:
                producer.send(orders, drink.encode())
            consumer = KafkaConsumer(orders, group_id=kitchen, auto_offset_reset="earliest",
                bootstrap_servers=ottla_session.bootstrap_servers)
            assert next(consumer).value == drink.encode()
            consumer.commit()
            kept.append(consumer)  # and not closed: it may go on to ask for what was its own
            assert list(ottla_session.groups) == [kitchen]
            assert list(ottla_session.topics) == [orders]
            assert len(ottla_session.requests("Produce")) == 1

        def test_configs(ottla_session):
            audit = ottla_session.topic("audit", partitions=2, configs={"cleanup.policy": "compact"})
            assert ottla_session.topics[audit].configs == {"cleanup.policy": "compact"}
            assert ottla_session.groups == {}

        def test_at_the_end():
            assert (len(brokers), len(names)) == (1, 6)
        """
    )
    result.assert_outcomes(passed=4)


def test_what_a_test_leaves_in_a_session_is_deleted(project: Project) -> None:
    result = project(
        """
        from kafka import KafkaConsumer

        def test_one(ottla_session):
            orders = ottla_session.topic("orders")
            ottla_session.produce(orders, "tea")
            consumer = KafkaConsumer(orders, group_id=ottla_session.group("g"), auto_offset_reset="earliest",
                bootstrap_servers=ottla_session.bootstrap_servers)
            next(consumer)
            consumer.close()
            assert (len(ottla_session.broker.topics), len(ottla_session.broker.groups)) == (1, 1)

        def test_two(ottla_session):
            assert (ottla_session.broker.topics, ottla_session.broker.groups) == ({}, {})
        """
    )
    result.assert_outcomes(passed=2)


def test_a_group_of_the_new_protocol_is_left_behind_as_little(project: Project) -> None:
    result = project(
        """
        from confluent_kafka import Consumer

        kept = []

        def test_one(ottla_session):
            orders = ottla_session.topic("orders", partitions=1)
            ottla_session.produce(orders, "tea")
            consumer = Consumer({"bootstrap.servers": ottla_session.bootstrap_servers, "group.protocol": "consumer",
                "group.id": ottla_session.group("g"), "auto.offset.reset": "earliest"})
            consumer.subscribe([orders])
            assert consumer.poll(60).value() == b"tea"
            kept.append(consumer)

        def test_two(ottla_session):
            assert ottla_session.broker.groups == {}
        """
    )
    result.assert_outcomes(passed=2)


def test_a_cluster_is_made_by_a_function(project: Project) -> None:
    result = project(
        """
        def nodes(broker):
            return len(broker.bootstrap_servers.split(","))

        def test_one(ottla_cluster):
            three, two = ottla_cluster(), ottla_cluster(nodes=2, topics={"orders": 4})
            assert (nodes(three), nodes(two)) == (3, 2)
            assert two.topics["orders"].ends == (0, 0, 0, 0)
            assert three.topics == {}

        @pytest.mark.ottla(nodes=5)
        def test_marked(ottla_cluster):
            assert nodes(ottla_cluster()) == 5
            assert nodes(ottla_cluster(nodes=1)) == 1
        """
    )
    result.assert_outcomes(passed=2)


def test_markers_add_to_options_and_those_to_the_ini_file(project: Project) -> None:
    result = project(
        """
        pytestmark = pytest.mark.ottla(topics={"of-module": 2, "both": 2}, settings={"num.partitions": "7"})

        @pytest.mark.ottla(topics={"both": 3}, settings={"auto.create.topics.enable": "false"}, nodes=2)
        def test_one(ottla):
            partitions = {name: len(topic.ends) for name, topic in ottla.topics.items()}
            assert partitions == {"of-ini": 7, "of-option": 4, "of-module": 2, "both": 3}
            ottla.create_topic("new")
            assert len(ottla.topics["new"].ends) == 7
            assert len(ottla.bootstrap_servers.split(",")) == 2

        @pytest.mark.ottla(topics=["orders:6:cleanup.policy=compact"])
        def test_texts(ottla):
            assert ottla.topics["orders"].configs == {"cleanup.policy": "compact"}
            assert len(ottla.topics["orders"].ends) == 6
        """,
        "--ottla-topic=of-option:4",
        "--ottla-set=num.partitions=5",
        ini="ottla_topics =\n  of-ini\n  of-option:2\nottla_settings =\n  num.partitions=9\n",
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        ("node=1", "@pytest.mark.ottla knows no 'node'; it takes nodes, topics, settings"),
        ("3", "@pytest.mark.ottla takes names, as in nodes=3, not 3"),
        ("topics={'no/name': 1}", "cannot be as it is asked for: topic 'no/name:1': a topic name consists of"),
        ("settings={'nonsense': '1'}", "there is no broker setting nonsense"),
        ("nodes=0", "1 node or more, not 0"),
        ("clock='slow'", "clock='slow': it is 'frozen', or a clock of your own"),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_a_line(project: Project, mark: str, sentence: str) -> None:
    result = project(f"@pytest.mark.ottla({mark})\ndef test_one(ottla): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{sentence.replace('[', '[[]')}*"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    ("flags", "ini", "sentence"),
    [
        ((), "ottla_nodes = many", "ottla_nodes = many: give a number"),
        (("--ottla-requests=-1",), "", "ottla_requests = -1: give a number"),
        (("--ottla-log=loud",), "", "argument --ottla-log: invalid choice: 'loud'"),
    ],
)
def test_an_option_that_makes_no_sense_ends_the_run(
    project: Project, flags: tuple[str, ...], ini: str, sentence: str
) -> None:
    result = project("def test_one(): pass", *flags, ini=ini)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{sentence}*"])


_FAILS = """
    from kafka import KafkaConsumer

    @pytest.mark.ottla(topics={"orders": 2})
    def test_one(ottla):
        ottla.produce("orders", "tea", "milk", "soup")
        consumer = KafkaConsumer("orders", bootstrap_servers=ottla.bootstrap_servers, group_id="kitchen",
            client_id="cook", auto_offset_reset="earliest", enable_auto_commit=False)
        for _ in range(3):
            next(consumer)
        consumer.commit()
        ottla.produce("orders", "more", partition=1)
        consumer.close()
        assert False
"""


def test_a_failed_test_is_told_of_its_broker(project: Project) -> None:
    result = project(_FAILS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- ottla -*",
            "bootstrap servers: 127.0.0.1:*",
            "topics:",
            "  orders: 2 partitions, which end at 2, 2",
            "groups:",
            "  kitchen: Empty, classic, generation *, 0 members, lag 1",
            "    orders-0: at 2, lag 0",
            "    orders-1: at 1, lag 1",
            "last * requests:",
            "  ApiVersions v* cook * ms",
            "  JoinGroup v* cook * ms MEMBER_ID_REQUIRED",
            "  LeaveGroup v* cook * ms",
        ]
    )


def test_how_much_it_is_told_can_be_said(project: Project) -> None:
    result = project(_FAILS, "--ottla-requests=2", ini="ottla_log = info")
    result.stdout.fnmatch_lines(["last 2 requests:", "*- log of ottla -*", "*info*"])
    result = project(_FAILS, ini="ottla_requests = 0")
    assert "last" not in result.stdout.str().partition("bootstrap servers")[2].partition("short test summary")[0]


def test_a_test_that_fails_in_another_fixture_is_told_too_and_one_that_passes_is_not(project: Project) -> None:
    result = project(
        """
        @pytest.fixture
        def seeded(ottla):
            ottla.produce("orders", "tea")
            raise ValueError("no milk")

        def test_one(seeded): pass

        def test_two(ottla): pass

        def test_three(ottla_session, ottla_cluster):
            ottla_session.produce(ottla_session.topic("orders"), "tea")
            ottla_cluster(nodes=2).produce("others", "tea")
            assert False

        def test_four(ottla):
            ottla.stop()
            assert False
        """
    )
    result.assert_outcomes(passed=1, failed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at setup of test_one*", "*- ottla -*", "  orders: ends at 1", "requests: none", "*test_three*"]
    )
    result.stdout.fnmatch_lines(
        [
            "*- ottla_session -*",
            "topics:",
            "  orders: ends at 1",
            "groups: none",
            "*- ottla_cluster -*",
            "  others: ends at 1",
            "*test_four*",
            "*- ottla -*",
            "this broker does not run*",
        ]
    )
    assert result.stdout.str().count("- ottla -") == 2


def test_the_clock_and_the_faults_are_those_of_the_tests_broker(project: Project) -> None:
    result = project(
        """
        from kafka import KafkaProducer

        def test_faults(ottla, ottla_faults):
            ottla.create_topic("orders")
            fault = ottla_faults.produce(topic="orders").error("NOT_LEADER_OR_FOLLOWER", times=1)
            with KafkaProducer(bootstrap_servers=ottla.bootstrap_servers) as producer:
                producer.send("orders", b"tea").get(timeout=60)
            assert fault.fired == 1
            assert [one.errors for one in ottla.requests("Produce")] == [["NOT_LEADER_OR_FOLLOWER"], []]

        def test_clock(ottla, ottla_clock):
            ottla.create_topic("events", configs={"retention.ms": "604800000"})
            ottla.produce("events", "opened")
            ottla_clock.advance("6d")
            assert len(ottla.records("events")) == 1
            ottla_clock.advance("1d1h")
            assert ottla.records("events") == []

        @pytest.mark.ottla(clock="frozen")
        def test_frozen(ottla):
            ottla.produce("events", "one")
            ottla.clock.advance("1h")
            ottla.produce("events", "two")
            one, two = ottla.records("events")
            assert two.timestamp_ms - one.timestamp_ms == 3_600_000

        def test_nothing_in_an_hour(ottla, ottla_clock):
            import threading
            ottla_clock.freeze()
            ended = []
            waiting = threading.Thread(target=lambda: ended.append(ottla.expect_no_more("orders", for_s=3600)))
            waiting.start()
            while waiting.is_alive():
                ottla_clock.advance("30m")
            assert ended == [[]]
        """
    )
    result.assert_outcomes(passed=4)


def test_faults_and_a_frozen_clock_do_not_outlive_their_test_in_a_session(project: Project) -> None:
    result = project(
        """
        def test_one(ottla_session):
            ottla_session.clock.freeze()
            ottla_session.faults.produce().drop("after")
            ottla_session.produce(ottla_session.topic("orders"), "tea")

        def test_two(ottla_session):
            assert ottla_session.faults.all() == []
            assert not ottla_session.clock.is_frozen
            ottla_session.faults.produce(topic="orders").error("NOT_LEADER_OR_FOLLOWER", times=3)
            assert False
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["faults:", "  fault *NOT_LEADER_OR_FOLLOWER*, fired 0 times, holds 0"])


def test_help_tells_of_it(project: Project) -> None:
    result = project("", "--help")
    result.stdout.fnmatch_lines(["a Kafka broker for each test (Ottla):", "*--ottla-requests=N*", "*ottla_topics*"])
    result = project("", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.ottla(nodes=1, topics={}*"])
    result = project("", "--fixtures")
    for name in ("ottla", "ottla_session", "ottla_cluster", "ottla_clock", "ottla_faults"):
        result.stdout.fnmatch_lines([f"{name} *"])
    assert "_ottla_shared" not in result.stdout.str()


def test_processes_beside_each_other_share_nothing(project: Project) -> None:
    """pytest -n 2."""
    result = project(
        """
        import os

        @pytest.mark.parametrize("n", range(12))
        def test_one(ottla_session, ottla, n):
            assert ottla.topics == {}
            orders = ottla_session.topic("orders")
            ottla_session.produce(orders, str(n))
            assert [one.value for one in ottla_session.expect_no_more(orders, 1)] == [str(n).encode()]
            assert list(ottla_session.topics) == [orders]

        def test_told(ottla):
            ottla.produce("orders", "tea")
            assert False, os.environ["PYTEST_XDIST_WORKER"]
        """,
        "-n2",
    )
    result.assert_outcomes(passed=12, failed=1)
    result.stdout.fnmatch_lines(["*- ottla -*", "  orders: ends at 1"])


def test_trio_tests_use_both_kinds_of_broker(project: Project) -> None:
    result = project(
        """
        import trio
        from ottla.testing import AsyncBroker

        async def test_in_a_thread(ottla):
            ottla.produce("orders", "tea")
            assert len(ottla.wait_for("orders")) == 1
            assert len(await trio.to_thread.run_sync(ottla.records, "orders")) == 1

        async def test_in_this_loop():
            async with AsyncBroker() as broker:
                await broker.produce("orders", "tea")
                assert len(await broker.wait_for("orders")) == 1
        """,
        ini="trio_mode = true",
    )
    result.assert_outcomes(passed=2)


def test_asyncio_clients_use_it(project: Project) -> None:
    result = project(
        """
        import asyncio
        from aiokafka import AIOKafkaProducer

        async def produce(bootstrap):
            async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
                await producer.send_and_wait("orders", b"tea")

        def test_one(ottla):
            asyncio.run(produce(ottla.bootstrap_servers))
            assert [one.value for one in ottla.records("orders")] == [b"tea"]
        """
    )
    result.assert_outcomes(passed=1)


def test_our_modules_are_not_rewritten_but_tests_are(project: Project) -> None:
    """pytest rewrites the assertions of packages that have plugins; for ours that is time without use."""
    result = project(
        """
        import sys

        def test_one(ottla):
            loader = type(sys.modules["ottla.broker.broker"].__spec__.loader).__name__
            assert loader == "SourceFileLoader"
            assert type(__spec__.loader).__name__ == "AssertionRewritingHook"
        """
    )
    result.assert_outcomes(passed=1)
