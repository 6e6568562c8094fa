"""Forgetting sessions, on Redis, and bringing them back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from wink_tasks.adapters.redis.commands import Commands, Home, nonce
from wink_tasks.adapters.redis.forks import Forks
from wink_tasks.core.codec import VERSION, encode
from wink_tasks.core.errors import SessionBusyError, StoreRefusedError, taken
from wink_tasks.core.events import Recorded
from wink_tasks.core.forking import still_forked
from wink_tasks.ports.ledger import Archiving, EvaluationRecord

TOMBSTONE_SECONDS: Final = 90 * 86_400
PIECE_EVENTS: Final = 500
PIECE_BYTES: Final = 1_000_000


class Retention:
    """Drops sessions with all that is theirs, also the home records that live elsewhere."""

    def __init__(self, commands: Commands, forks: Forks) -> None:
        self._commands = commands
        self._forks = forks
        self._keys = commands.keys

    def delete(self, tenant: str, session: str) -> bool:
        """Drop one session; False where there is none. Raises SessionBusyError, SessionForkedError."""
        return self._dropped(tenant, session, "", "", "", "")

    def retire(self, tenant: str, session: str, head: int, where: str) -> bool:
        """Drop one session that is archived; False where it has other than `head` events. Raises as `delete`."""
        return self._dropped(tenant, session, "", str(TOMBSTONE_SECONDS), str(head), where)

    def archived(self, tenant: str, session: str) -> str:
        """Where a dropped session is."""
        [tombstone] = self._commands.link.ask(("GET", self._keys.of(session, tenant, "expired", session)))
        return "" if tombstone is None else tombstone.decode().partition(" ")[2]

    def expire(self, until: float, limit: int, archive: Archiving | None) -> int:
        """Drop up to `limit` sessions that did not change since `until`; others are passed over.

        These are sessions that have not ended, or have forks.
        """
        dropped = 0
        queries = [self._oldest(partition, until, 0, limit) for partition in range(self._keys.partitions)]
        for partition, first in enumerate(self._commands.link.ask(*queries)):
            members, passed = first, 0
            while members and dropped < limit:
                for tenant, _, session in (member.decode().partition(":") for member in members[: limit - dropped]):
                    where: str | None = ""
                    if archive is not None:
                        where = None if self._forks.of(tenant, session) else archive(tenant, session)
                    code = "kept"
                    if where is not None:
                        code, _ = self._drop(tenant, session, f"{until:.3f}", str(TOMBSTONE_SECONDS), "", where)
                    dropped += code == "dropped"
                    passed += code != "dropped"
                [members] = self._commands.link.ask(self._oldest(partition, until, passed, limit))
        return dropped

    def _oldest(self, partition: int, until: float, start: int, count: int) -> Sequence[Any]:
        return "ZRANGEBYSCORE", f"{self._keys.base(partition)}sessions", "-inf", until, "LIMIT", start, count

    def _dropped(self, tenant: str, session: str, *conditions: str) -> bool:
        code, why = self._drop(tenant, session, *conditions)
        if code == "busy":
            raise SessionBusyError(f"session {session!r} runs evaluation {why[0]!r}: cancel it, or wait for its end")
        if code == "lent":
            raise still_forked(session, why)
        return code == "dropped"

    def _drop(self, tenant: str, session: str, *conditions: str) -> tuple[str, list[str]]:
        """What became of it, and who is in the way."""
        names, (parent, loan) = self._commands.link.ask(
            ("LRANGE", self._keys.of(session, tenant, "evaluations", session), 0, -1),
            ("HMGET", self._keys.of(session, tenant, "session", session), "parent", "loan"),
        )
        code, *rest = self._commands.run("drop", tenant, session, nonce(), *conditions)
        if code == b"lent":
            forks = self._forks.settled(tenant, session, rest[0])
            return ("lent", forks) if forks else self._drop(tenant, session, *conditions)
        if code == b"dropped":
            self._commands.link.ask(*(("DEL", self._keys.home(name.decode())) for name in names))
            if parent is not None:
                self._forks.give_back(tenant, parent.decode(), loan.decode())
        return code.decode(), [one.decode() for one in rest]

    def restore(
        self,
        tenant: str,
        session: str,
        created_at: float,
        events: Sequence[Recorded],
        evaluations: Sequence[EvaluationRecord],
    ) -> bool:
        """Bring events in pieces that nobody sees, then make the session of them in one script."""
        mark = nonce()
        homes = {one.id: self._commands.reserve(one.id, Home(tenant, session, one.prompt)) for one in evaluations}
        for piece in _pieces(events):
            self._commands.run("stage", tenant, session, mark, piece[0].seq, *chain.from_iterable(map(_stored, piece)))
        runs = chain.from_iterable(_fields(one, homes[one.id]) for one in evaluations)
        code, *which = self._commands.run("restore", tenant, session, mark, f"{created_at:.3f}", len(events), *runs)
        if code == b"taken":
            raise taken(which[0].decode())
        if code == b"short":
            raise StoreRefusedError(f"what was brought of session {session!r} is gone before all of it was: try again")
        for name, home in homes.items():
            if not home and code == b"restored":
                self._commands.keep(name)
        return bool(code == b"restored")


def _pieces(events: Sequence[Recorded]) -> Iterator[Sequence[Recorded]]:
    """No script takes more than some hundred events, or about a megabyte of them beside one that is larger."""
    start = size = 0
    for place, record in enumerate(events):
        own = len(encode(record.event))
        if place > start and (place - start >= PIECE_EVENTS or size + own > PIECE_BYTES):
            yield events[start:place]
            start, size = place, 0
        size += own
    yield events[start:]


def _stored(record: Recorded) -> tuple[Any, ...]:
    return round(record.at * 1000), record.actor, VERSION, encode(record.event)


def _fields(record: EvaluationRecord, home: bytes) -> tuple[Any, ...]:
    times = (f"{at:.3f}" if at else "0" for at in (record.accepted_at, record.started_at, record.ended_at))
    accepted_at, started_at, ended_at = times
    said = (record.id, home, record.prompt, record.mailbox, record.status, record.accepted_seq)
    return (*said, accepted_at, started_at, record.ended_seq, ended_at, int(record.cancelled))
