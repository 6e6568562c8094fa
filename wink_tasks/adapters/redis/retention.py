"""Forgetting sessions, on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from wink_tasks.adapters.redis.commands import Commands, nonce
from wink_tasks.core.errors import SessionBusyError

TOMBSTONE_SECONDS: Final = 90 * 86_400


class Retention:
    """Drops sessions with all that is theirs, also the home records that live elsewhere."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._keys = commands.keys

    def delete(self, tenant: str, session: str) -> bool:
        """Drop one session; False where there is none. Raises SessionBusyError."""
        code, current = self._drop(tenant, session, "", "")
        if code == "busy":
            raise SessionBusyError(f"session {session!r} runs evaluation {current!r}: cancel it, or wait for its end")
        return code == "dropped"

    def expire(self, until: float, limit: int) -> int:
        """Drop up to `limit` sessions that did not change since `until`; those that have not ended are passed over."""
        dropped = 0
        queries = [self._oldest(partition, until, 0, limit) for partition in range(self._keys.partitions)]
        for partition, first in enumerate(self._commands.link.ask(*queries)):
            members, passed = first, 0
            while members and dropped < limit:
                for tenant, _, session in (member.decode().partition(":") for member in members[: limit - dropped]):
                    code, _ = self._drop(tenant, session, f"{until:.3f}", str(TOMBSTONE_SECONDS))
                    dropped += code == "dropped"
                    passed += code != "dropped"
                [members] = self._commands.link.ask(self._oldest(partition, until, passed, limit))
        return dropped

    def _oldest(self, partition: int, until: float, start: int, count: int) -> Sequence[Any]:
        return "ZRANGEBYSCORE", f"{self._keys.base(partition)}sessions", "-inf", until, "LIMIT", start, count

    def _drop(self, tenant: str, session: str, unchanged_since: str, tombstone: str) -> tuple[str, str]:
        [names] = self._commands.link.ask(("LRANGE", self._keys.of(session, tenant, "evaluations", session), 0, -1))
        code, *current = self._commands.run("drop", tenant, session, nonce(), unchanged_since, tombstone)
        homes = [self._keys.home(name.decode()) for name in names] if code == b"dropped" else []
        self._commands.link.ask(*(("DEL", key) for key in homes))
        return code.decode(), b"".join(current).decode()
