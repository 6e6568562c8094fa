"""The way to the server: what is repeated, what is given up, and what is said then."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from wink_tasks.adapters.redis.embedded import EmbeddedServer
from wink_tasks.adapters.redis.link import CONNECTIONS
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.errors import ConfigurationError, LedgerUnavailableError, StoreRefusedError, WinkError
from wink_tasks.core.events import Recorded
from wink_tasks.testing.conformance.driver import TENANT, Driver, responded


class FakeServer:
    """Answers every command with `reply`, or says nothing."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.asked = 0
        self.url = f"redis://user:secret@127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while data := connection.recv(65536):
                self.asked += 1
                if self._reply:
                    connection.sendall(b"+OK\r\n" if b"AUTH" in data else self._reply)

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()


@pytest.fixture
def fake(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    server = FakeServer(request.param)
    yield server
    server.close()


def failure(url: str, give_up_after: float = 0.3) -> tuple[WinkError, float]:
    """How a command fails, and after how many seconds."""
    store = RedisStore(url, give_up_after=give_up_after)
    began = time.monotonic()
    with pytest.raises(WinkError) as caught:
        Driver(store).accept("e1")
    store.close()
    return caught.value, time.monotonic() - began


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    error, seconds = failure(f"redis://:secret@127.0.0.1:{port}/0")
    assert isinstance(error, LedgerUnavailableError)
    assert f"redis://:***@127.0.0.1:{port}/0 did not answer within 0.3 s" in str(error)
    assert "refused" in str(error)
    assert isinstance(error.__cause__, Exception)
    assert 0.1 < seconds < 0.6


@pytest.mark.parametrize("fake", [b""], indirect=True)
def test_nobody_answers(fake: FakeServer) -> None:
    error, seconds = failure(fake.url)
    assert isinstance(error, LedgerUnavailableError)
    assert "secret" not in str(error)
    assert "Timeout" in str(error)
    assert 0.1 < seconds < 0.6
    assert fake.asked > 1


@pytest.mark.parametrize(
    ("fake", "advice"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "still loading"),
        (b"-READONLY You can't write against a read only replica.\r\n", "point WINK_REDIS_URL at the primary"),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "cannot write to its disk"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "at its maxmemory"),
        (b"-BUSY Redis is busy running a script.\r\n", "keeps it busy"),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", "too few replicas"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "lost its primary"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "cluster is down"),
        (b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", "moves what the command needs"),
        (b"-ASK 5 127.0.0.1:1\r\n", "moves what the command needs"),
        (b"-MOVED 5 127.0.0.1:1\r\n", "another node"),
        (b"-ERR Error running script: @user_script: 7: -OOM command not allowed\r\n", "at its maxmemory"),
    ],
    indirect=["fake"],
)
def test_what_the_server_refuses_is_explained(fake: FakeServer, advice: str) -> None:
    error, _ = failure(fake.url)
    assert isinstance(error, LedgerUnavailableError)
    assert advice in str(error)


@pytest.mark.parametrize("fake", [b"-ERR something new\r\n"], indirect=True)
def test_what_nobody_foresaw_is_told_as_it_is_and_is_for_good(fake: FakeServer) -> None:
    error, seconds = failure(fake.url, 3.0)
    assert isinstance(error, StoreRefusedError)
    assert not error.retryable
    assert "something new" in str(error)
    assert "secret" not in str(error)
    assert seconds < 1


def test_who_is_not_let_in_has_a_wrong_configuration(redis_url: str) -> None:
    with Redis.from_url(redis_url) as admin:
        admin.acl_setuser("reader", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@read", "+@connection"])
        try:
            for password, reason in (("wrong", "invalid username-password"), ("pw", "no permissions")):
                error, seconds = failure(redis_url.replace("//", f"//reader:{password}@"), 3.0)
                assert isinstance(error, ConfigurationError)
                assert "redis://reader:***@" in str(error)
                assert reason in str(error)
                assert seconds < 1, "asking again would not help"
        finally:
            admin.acl_deluser("reader")


@pytest.mark.parametrize("url", ["http://localhost:6379", "redis://localhost:port"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match=url):
        RedisStore(url)


def test_a_restart_costs_time_only(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        store = RedisStore(server.url, give_up_after=20.0)
        d = Driver(store)
        d.accept("e1")
        claimed = d.claim("e1")
        server.stop()
        back = threading.Thread(target=server.start)
        back.start()
        assert d.settle(claimed, responded("e1")).first == 3
        back.join()
        assert d.names() == ["EvaluationAccepted", "ModelResponded"]
        store.close()


def test_connections_that_the_server_closed_are_replaced(redis_url: str) -> None:
    store = RedisStore(redis_url)
    d = Driver(store)
    d.accept("e1")
    with Redis.from_url(redis_url) as admin:
        admin.client_kill_filter(_type="normal", skipme=True)
    assert d.claim("e1").deliveries == 1
    store.close()
    assert d.look("e1").state == "leased", "a closed store connects again"
    store.close()


def test_an_answer_that_came_too_late_is_told_to_nobody(redis_url: str) -> None:
    store = RedisStore(redis_url, give_up_after=0.06)
    with pytest.raises(LedgerUnavailableError, match="Timeout"):
        store.link.wait(lambda _: ("BLPOP", "nobody", "0.3"), 0.0)
    for number in range(3):
        assert store.link.ask(("ECHO", number)) == [str(number).encode()]
    store.close()


def test_of_several_commands_one_may_be_refused(redis_url: str) -> None:
    store = RedisStore(redis_url)
    with pytest.raises(StoreRefusedError, match="wrong number of arguments"):
        store.link.ask(("ECHO", "1"), ("GET",), ("ECHO", "2"))
    assert store.link.ask(("ECHO", "3"), ("ECHO", "4")) == [b"3", b"4"]
    store.close()


def test_a_waiting_reader_gives_up_on_a_server_that_is_gone(redis_url: str) -> None:
    server = FakeServer(b"")
    store = RedisStore(server.url, give_up_after=0.2)
    with pytest.raises(LedgerUnavailableError):
        store.ledger.wait(TENANT, "s1", after=0, timeout=0.05)
    store.close()
    server.close()


def test_a_waiting_reader_waits_on_when_its_connection_breaks(redis_url: str) -> None:
    store = RedisStore(redis_url, give_up_after=1.0)
    d = Driver(store)
    d.accept("e1")
    claimed = d.claim("e1")
    heard: list[Recorded] = []
    reader = threading.Thread(target=lambda: heard.extend(store.ledger.wait(TENANT, "s1", after=2, timeout=30)))
    reader.start()
    with Redis.from_url(redis_url, decode_responses=True) as admin:
        for _ in range(2):
            while not (waiting := [client for client in admin.client_list() if client["cmd"] == "xread"]):
                threading.Event().wait(0.005)
            admin.client_kill_filter(_id=waiting[0]["id"])
    d.settle(claimed, responded("e1"))
    reader.join(10)
    assert [record.event for record in heard] == [responded("e1")]
    store.close()


def test_any_number_of_waiting_readers_takes_nobodys_place_and_leaves_few_connections(redis_url: str) -> None:
    store = RedisStore(redis_url)
    d = Driver(store)
    d.accept("e1")
    heard: list[Recorded] = []
    readers = [
        threading.Thread(target=lambda: heard.extend(store.ledger.wait(TENANT, "s1", after=2, timeout=30)))
        for _ in range(120)
    ]
    with Redis.from_url(redis_url, decode_responses=True) as admin:
        strangers = {client["id"] for client in admin.client_list()}  # of this test's and of others' making

        def ours() -> int:
            return sum(client["id"] not in strangers for client in admin.client_list())

        for reader in readers:
            reader.start()
        while sum(client["cmd"] == "xread" for client in admin.client_list()) < len(readers):
            threading.Event().wait(0.005)
        assert d.settle(d.claim("e1"), responded("e1")).first == 3
        for reader in readers:
            reader.join(10)
            assert not reader.is_alive()
        assert [record.event for record in heard] == [responded("e1")] * len(readers)
        until = time.monotonic() + 10
        while ours() > CONNECTIONS:
            assert time.monotonic() < until, "what is idle beyond CONNECTIONS stays open"
            threading.Event().wait(0.005)
        assert CONNECTIONS - 1 <= ours() <= CONNECTIONS
    store.close()


FORKS = """
import os
import sys
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.events import Recorded
from wink_tasks.testing.conformance.driver import Driver

store = RedisStore(sys.argv[1])
d = Driver(store)
d.accept("e0", "s0")
children = []
for number in range(1, 4):
    child = os.fork()
    if not child:
        for step in range(20):
            assert d.accept(f"e{number}.{step}", f"s{number}").seq == step + 2
        store.close()
        os._exit(0)
    children.append(child)
for step in range(20):
    assert d.status("e0") == "PENDING"
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
"""


def test_a_fork_has_connections_of_its_own(redis_url: str) -> None:
    forks = subprocess.run(
        [sys.executable, "-c", FORKS, redis_url], check=False, capture_output=True, text=True, timeout=60
    )
    assert forks.returncode == 0, forks.stderr


def test_hints_are_sent_without_waiting_and_their_answers_disturb_nobody(redis_url: str) -> None:
    store = RedisStore(redis_url)
    link = store.link
    link.tell()
    link.tell(("SET", "a", "1"), ("INCR", "b"), ("NOSUCH", "command"))
    link.tell(("INCR", "b"))
    assert link.ask(("GET", "a"), ("GET", "b")) == [b"1", b"2"]
    store.close()


def test_a_hint_that_gets_lost_is_no_error(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        store = RedisStore(server.url, give_up_after=0.3)
        assert store.link.ask(("PING",)) == [b"PONG"]
        store.link.tell(("SET", "a", "1"))
    for _ in range(3):
        store.link.tell(("SET", "a", "2"))
    with pytest.raises(LedgerUnavailableError):
        store.link.ask(("PING",))
    store.close()
