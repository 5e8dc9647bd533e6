"""The life of brokers in a process: nothing is left of them, however they and the process end, and none is mistaken for
one's own by a forked child.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from ottla.log.lock import FolderLock
from ottla.testing import Broker
from ottla.testing.folders import PREFIX, VARIABLE, make_folder, place, remove_folder, sweep

TIMEOUT_S = 60


@pytest.fixture
def brokers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where brokers have their folders, those of programs included."""
    folder = tmp_path / "brokers"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def run(code: str, *, signalled: signal.Signals | None = None) -> subprocess.CompletedProcess[str]:
    """A Python program; one that is `signalled` gets that once it has said something."""
    program = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = ""
    if signalled is not None:
        first = process.stdout.readline()
        process.send_signal(signalled)
    out, errors = process.communicate(timeout=TIMEOUT_S)
    return subprocess.CompletedProcess(program, process.returncode, first + out, errors)


def use() -> None:
    with Broker(topics=["orders"]) as broker:
        broker.produce("orders", "tea")
        assert broker.wait_for("orders")[0].value == b"tea"


# ── many ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_USE = """
    import gc, os, threading, tracemalloc
    from ottla.broker.broker import Broker as Whole
    from ottla.testing import Broker

    def use():
        with Broker(topics=["orders"]) as broker:
            broker.produce("orders", "tea")
            assert broker.wait_for("orders")[0].value == b"tea"

    def there():
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    use()
"""


def test_nothing_is_left_of_many(brokers: Path) -> None:
    """In a process of its own, where nobody else opens and closes."""
    done = run(
        f"""{_USE}
    first = there()
    for _ in range(300):
        use()
    assert there() == first, (first, there())
    """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(brokers.iterdir())


def test_memory_comes_back() -> None:
    done = run(
        f"""{_USE}
    for _ in range(50):
        use()
    tracemalloc.start()
    sizes = []
    for _ in range(2):
        for _ in range(100):
            use()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    print(sizes[1] - sizes[0])
    """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 100 * 1024  # a kilobyte each would be something that is kept


def test_one_that_ended_goes_away_though_its_object_stays() -> None:
    """What a test keeps of it, in a fixture or a traceback, holds no log, no buffers and no connections."""
    done = run(
        f"""{_USE}
    broker = Broker(topics=["orders"])
    with broker:
        broker.produce("orders", "tea")
        assert [one for one in gc.get_objects() if isinstance(one, Whole)]
    gc.collect()
    print(len([one for one in gc.get_objects() if isinstance(one, Whole)]), broker.bootstrap_servers[:10])
    """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 127.0.0.1:\n", "")


# ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_end_comes_once() -> None:
    broker = Broker()
    broker.stop()  # it never ran
    with broker:
        pass
    broker.stop()
    with pytest.raises(RuntimeError, match=r"does not run: call start\(\)"):
        broker.records("orders")
    with pytest.raises(RuntimeError, match="started once; make another"):
        broker.start()


def test_who_waits_when_it_ends_is_told() -> None:
    broker = Broker().start()
    told: list[str] = []
    looked = threading.Event()

    def wait() -> None:
        try:
            broker.wait_for("orders", 2, where=lambda _: looked.set() or True, timeout_s=TIMEOUT_S)
        except RuntimeError as error:
            told.append(str(error))

    broker.produce("orders", "tea")
    thread = threading.Thread(target=wait)
    thread.start()
    looked.wait()
    broker.stop()
    thread.join()
    assert told == ["this broker was stopped meanwhile"]


def test_a_fault_of_its_own_is_raised_once() -> None:
    broker = Broker().start()

    def crash() -> None:
        raise ZeroDivisionError("our mistake")

    broker._submit(crash)
    assert broker._thread is not None
    broker._thread.join(TIMEOUT_S)
    with pytest.raises(RuntimeError, match=r"this broker failed: .*our mistake"):
        broker.records("orders")
    with pytest.raises(RuntimeError, match=r"the broker failed: .*our mistake"):
        broker.stop()
    broker.stop()


def test_a_start_that_fails_leaves_nothing(brokers: Path) -> None:
    done = run(
        f"""{_USE}
    first = there()
    for _ in range(3):
        try:
            Broker(topics={{"no/name": 1}}).start()
        except ValueError as error:
            print(error)
    assert there() == first, (first, there())
    """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith("(topic 'no/name')")
    assert not list(brokers.iterdir())


def test_a_test_that_is_interrupted_can_end_its_broker() -> None:
    """Ctrl-C while it waits."""
    done = run(
        """
        import signal, threading
        from ottla.testing import Broker
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts us may let it be ignored
        with Broker(topics=["orders"]) as broker:
            broker.produce("orders", "tea")
            looked = []
            def interrupt(record):
                if not looked:
                    looked.append(1)
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                return True
            try:
                broker.wait_for("orders", 2, where=interrupt, timeout_s=600)
            except KeyboardInterrupt:
                print("interrupted", len(broker.records("orders")))
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted 1\n", "")


def test_a_start_that_is_interrupted_leaves_nothing(brokers: Path) -> None:
    done = run(
        """
        import signal, threading
        import ottla.testing.instance as instance
        from ottla.testing import Broker

        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts us may let it be ignored
        told = threading.Event()
        load = instance.Store.open
        def interrupted(*args, **options):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            told.wait(60)
            return load(*args, **options)
        instance.Store.open = interrupted
        try:
            Broker().start()
        except KeyboardInterrupt:
            told.set()
            for thread in threading.enumerate():
                if thread.name == "ottla":
                    thread.join(60)
            print("interrupted", threading.active_count())
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted 1\n", "")
    assert not list(brokers.iterdir())


def test_an_interrupt_that_comes_just_after_a_start_leaves_nothing_either(brokers: Path) -> None:
    done = run(
        """
        import threading
        from concurrent.futures import Future
        from ottla.testing import Broker

        result = Future.result
        def interrupted(self, *args):
            Future.result = result
            result(self, *args)
            raise KeyboardInterrupt
        Future.result = interrupted
        broker = Broker()
        try:
            broker.start()
        except KeyboardInterrupt:
            broker._thread.join(60)
            print("interrupted", threading.active_count())
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted 1\n", "")
    assert not list(brokers.iterdir())


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_process_that_forgets_to_stop_ends_and_leaves_no_folder(brokers: Path) -> None:
    done = run(
        """
        from ottla.testing import Broker
        broker = Broker().start()
        print(broker._instance.broker.store.path)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).parent == brokers
    assert not list(brokers.iterdir())


def test_what_a_killed_process_leaves_is_swept_and_what_lives_is_not(brokers: Path) -> None:
    killed = run(
        """
        import time
        from ottla.testing import Broker
        broker = Broker(topics=["orders"]).start()
        print(broker._instance.broker.store.path, flush=True)
        time.sleep(600)
        """,
        signalled=signal.SIGKILL,
    )
    left = Path(killed.stdout.strip())
    with Broker() as broker:
        assert left.is_dir()  # it is young: who has just made it may not have locked it yet
        assert sweep(str(brokers), young_s=0) == [str(left)]
        broker.produce("orders", "still here")
        assert len(list(brokers.iterdir())) == 1
    assert not list(brokers.iterdir())


def test_the_first_broker_of_a_process_sweeps(brokers: Path) -> None:
    left = brokers / f"{PREFIX}left"
    left.mkdir()
    (left / ".lock").touch()
    os.utime(left, (0, 0))
    assert run("from ottla.testing import Broker; Broker().start().stop()").returncode == 0
    assert not left.exists()


def test_a_sweep_passes_over_what_is_not_ours(tmp_path: Path) -> None:
    held = tmp_path / f"{PREFIX}held"
    held.mkdir()
    for name in ("somebody-elses", f"{PREFIX}left", f"{PREFIX}without-lock"):
        (tmp_path / name).mkdir()
    (tmp_path / f"{PREFIX}file").write_text("no folder")
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "somebody-elses")
    (tmp_path / f"{PREFIX}left" / ".lock").touch()
    lock = FolderLock(str(held))
    removed = sweep(str(tmp_path), young_s=0)
    lock.release()
    assert sorted(Path(path).name for path in removed) == [f"{PREFIX}left", f"{PREFIX}without-lock"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        f"{PREFIX}file",
        f"{PREFIX}held",
        f"{PREFIX}link",
        "somebody-elses",
    ]
    assert sweep(str(tmp_path / "not-there")) == []


def test_a_folder_is_where_it_is_asked_for_and_else_in_memory_or_where_others_are(brokers: Path) -> None:
    path = make_folder()
    assert Path(path).parent == brokers
    remove_folder(path)
    assert not os.path.exists(path)
    os.environ[VARIABLE] = ""  # as if it were not set; put back by the fixture
    assert os.path.isdir(place())


# ── forks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def in_child(work: object) -> int:
    """The exit code of a forked child that does `work`; what it raises is 1."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()  # type: ignore[operator]
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(topics=["orders"]) as broker:
        yield broker


def test_a_forked_child_reaches_the_broker_as_a_client_only(broker: Broker) -> None:
    def child() -> None:
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
            producer.send("orders", b"from the child").get(TIMEOUT_S)
        with pytest.raises(RuntimeError, match="of the process that this one was forked from"):
            broker.records("orders")
        broker.stop()  # leaves it alone: it is not the child's
        use()  # one of its own

    assert in_child(child) == 0
    assert [one.value for one in broker.records("orders")] == [b"from the child"]


def test_a_child_that_lives_on_keeps_no_port_and_no_connection_open() -> None:
    broker = Broker().start()
    host, port = broker.bootstrap_servers.split(":")
    client = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
    while not broker._call(lambda: len(broker._instance.server.connections)):
        pass
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.close(writes)
        os.read(reads, 1)  # until the parent is done
        os._exit(0)
    os.close(reads)
    try:
        broker.stop()
        assert client.recv(1) == b""  # hung up, though the child lives
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
    finally:
        client.close()
        os.close(writes)
        os.waitpid(child, 0)


def test_workers_of_multiprocessing_end_without_touching_it(broker: Broker) -> None:
    import multiprocessing

    worker = multiprocessing.get_context("fork").Process(target=sorted, args=([3, 1],))
    worker.start()
    worker.join(TIMEOUT_S)
    assert worker.exitcode == 0
    broker.produce("orders", "tea")
    assert len(broker.records("orders")) == 1
