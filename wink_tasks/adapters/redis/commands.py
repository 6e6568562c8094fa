"""How a command reaches its partition, and where an evaluation id leads."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from wink_tasks.adapters.redis.keys import Keys
from wink_tasks.adapters.redis.link import Link
from wink_tasks.core.codec import encode
from wink_tasks.core.errors import taken
from wink_tasks.ports.clock import Clock

Call = tuple[list[str], list[Any]]


class Home(msgspec.Struct, frozen=True, array_like=True):
    """What stands at the home of an evaluation id, and is never overwritten."""

    tenant: str
    session: str
    prompt: str


class Commands:
    """Runs the scripts of the store. `clock` None takes the server's time."""

    def __init__(self, link: Link, keys: Keys, clock: Clock | None) -> None:
        self.link = link
        self.keys = keys
        self._clock = clock

    def run(self, name: str, tenant: str, session: str, *args: Any) -> Any:
        """The answer of a script in the partition of `session`."""
        keys, argv = self.call(self.keys.partition(session), tenant, session, *args)
        return self.link.run(name, keys, *argv)

    def run_each(self, name: str, calls: Iterable[tuple[int, Sequence[Any]]]) -> list[Any]:
        """The answers of a script in several partitions, in one round trip."""
        return self.link.run_each(name, [self.call(partition, *args) for partition, args in calls])

    def call(self, partition: int, *args: Any) -> Call:
        """Keys and arguments of a script."""
        base = self.keys.base(partition)
        return [f"{base}due"], [base, self.stated(), *args]

    def stated(self) -> str:
        """The time as a script is told it; empty where it asks the server."""
        return "" if self._clock is None else f"{self._clock.now():.3f}"

    def now(self) -> float:
        """Epoch seconds, as a script would see them."""
        if self._clock is not None:
            return round(self._clock.now(), 3)
        [(seconds, micros)] = self.link.ask(("TIME",))
        return int(seconds) + int(micros) // 1000 / 1000

    def reserve(self, evaluation: str, home: Home) -> bytes:
        """The home record for `accept` to write; empty where it is elsewhere, reserved for a week until `keep`.

        Raises DuplicateError.
        """
        record = encode(home)
        if self.keys.partition(evaluation) == self.keys.partition(home.session):
            return record
        if self.link.run("home", [self.keys.home(evaluation)], record) != record:
            raise taken(evaluation)
        return b""

    def keep(self, evaluation: str) -> None:
        """Make a reserved home record stay."""
        self.link.ask(("PERSIST", self.keys.home(evaluation)))

    def home(self, tenant: str | None, evaluation: str) -> Home | None:
        """The home record of an evaluation id, None where the tenant (any, if None) has none."""
        [record] = self.link.ask(("GET", self.keys.home(evaluation)))
        home = None if record is None else msgspec.json.decode(record, type=Home)
        return home if home is not None and tenant in (None, home.tenant) else None


def nonce() -> str:
    """What tells a repeated command from a new one."""
    return secrets.token_hex(8)
