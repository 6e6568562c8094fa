"""The ledger's reading side on Redis."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import ceil
from typing import Any, Final

import msgspec

from wink_tasks.adapters.redis.commands import Commands, nonce
from wink_tasks.adapters.redis.forks import Forks
from wink_tasks.adapters.redis.retention import Retention
from wink_tasks.adapters.redis.rows import pairs, recorded
from wink_tasks.core.codec import encode
from wink_tasks.core.errors import UnknownSessionError
from wink_tasks.core.events import AnyEvent, Recorded
from wink_tasks.ports.ledger import Archiving, EvaluationRecord, MessageRecord, SessionRecord, Snapshot

PAGE: Final = 100
CLOSED: Final = (
    *("last", "answer", "kind", "mailbox", "task", "tenant", "session"),
    *("epoch", "deliveries", "pardoned", "owner"),
)
"""What is kept of a closed message, line by line: see lua/_commit.lua."""


class RedisLedger:
    """See the port for what each method does."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._link = commands.link
        self._keys = commands.keys
        self._forks = Forks(commands)
        self._retention = Retention(commands, self._forks)

    def read(self, tenant: str, session: str, *, after: int = 0, count: int | None = None) -> Sequence[Recorded]:
        """The events after `after`."""
        return self._forks.read(tenant, session, after=after, count=count)

    def wait(self, tenant: str, session: str, *, after: int, timeout: float) -> Sequence[Recorded]:
        """The events after `after`, as soon as there is one."""
        return self.wait_any({(tenant, session): after}, timeout=timeout).get((tenant, session), ())

    def wait_any(
        self, cursors: Mapping[tuple[str, str], int], *, timeout: float
    ) -> Mapping[tuple[str, str], Sequence[Recorded]]:
        """The events after the cursors, as soon as there is one."""
        owners = {self._key(*owner, "ledger").encode(): owner for owner in cursors}
        positions = [f"{after}-0" for after in cursors.values()]

        def query(left: float) -> Sequence[Any]:
            return "XREAD", "BLOCK", ceil(left * 1000), "STREAMS", *owners, *positions

        came = {owners[key]: recorded(entries) for key, entries in self._link.wait(query, timeout) or ()}
        return {owner: self._forks.joined(owner[0], own, after=cursors[owner]) for owner, own in came.items()}

    def append(
        self, tenant: str, session: str, events: Sequence[AnyEvent], *, expected: int, actor: str
    ) -> Sequence[Recorded]:
        """Append `events` where `expected` is the last sequence number."""
        code, *answer = self._commands.run(
            "append", tenant, session, nonce(), expected, actor, *(encode(event) for event in events)
        )
        if code == b"short":
            raise UnknownSessionError(f"session {session!r} of tenant {tenant!r} does not reach {expected}")
        return self._forks.joined(tenant, recorded(*answer), after=expected) if answer else ()

    def fork(self, tenant: str, parent: str, session: str, *, at: int, events: Sequence[AnyEvent], actor: str) -> None:
        """Open a session whose first events are another's."""
        self._forks.open(tenant, parent, session, at=at, events=events, actor=actor)

    def forks(self, tenant: str, session: str) -> Sequence[str]:
        """The sessions that read this one's first events."""
        return self._forks.of(tenant, session)

    def snapshot(self, tenant: str, session: str) -> Snapshot | None:
        """The snapshot that was kept last."""
        [row] = self._link.ask(("HGETALL", self._key(tenant, session, "snapshot")))
        fields = pairs(row)
        if not fields:
            return None
        return Snapshot(seq=int(fields[b"seq"]), fingerprint=fields[b"fingerprint"].decode(), slices=fields[b"slices"])

    def keep_snapshot(self, tenant: str, session: str, snapshot: Snapshot) -> None:
        """Keep a snapshot instead of an older one."""
        self._commands.run("snapshot", tenant, session, snapshot.seq, snapshot.fingerprint, snapshot.slices)

    def evaluation(self, tenant: str, evaluation: str) -> EvaluationRecord | None:
        """The evaluation of that id."""
        home = self._commands.home(tenant, evaluation)
        return None if home is None else next(iter(self._evaluations(tenant, home.session, [evaluation])), None)

    def tenant_of(self, evaluation: str) -> str | None:
        """The tenant to which an evaluation id belongs."""
        home = self._commands.home(None, evaluation)
        return None if home is None else home.tenant

    def session(self, tenant: str, session: str) -> SessionRecord | None:
        """The session of that name."""
        return next(iter(self._sessions([(tenant, session)])), None)

    def message(self, tenant: str, session: str, message: str) -> MessageRecord | None:
        """The message, while it is remembered."""
        row, closed = self._link.ask(
            ("HGETALL", self._keys.of(session, "message", message)), ("GET", self._keys.of(session, "closed", message))
        )
        fields = _texts(row)
        if fields:
            known = {**msgspec.json.decode(fields["spec"]), **fields}
        elif closed:
            known = dict(zip(CLOSED, closed.decode().split("\n"), strict=True)) | {"id": message, "state": "done"}
        else:
            return None
        if (known["tenant"], known["session"]) != (tenant, session):
            return None
        return msgspec.convert(known, MessageRecord, strict=False)

    def sessions(self, *, tenant: str | None = None, limit: int = 50) -> Sequence[SessionRecord]:
        """The sessions that changed last, newest first."""
        partitions = range(self._keys.partitions)
        newest = heapq.merge(*(self._changed(partition, tenant) for partition in partitions), reverse=True)
        return self._sessions([(owner, name) for _, owner, name in islice(newest, limit)])

    def active_sessions(self) -> int:
        """How many sessions run an evaluation."""
        bases = map(self._keys.base, range(self._keys.partitions))
        return sum(self._link.ask(*(("SCARD", f"{base}active") for base in bases)))

    def running(self) -> Iterator[EvaluationRecord]:
        """The evaluations that have not ended."""
        bases = map(self._keys.base, range(self._keys.partitions))
        for members in self._link.ask(*(("SMEMBERS", f"{base}active") for base in bases)):
            places = (member.decode().partition(":") for member in sorted(members))
            for session in self._sessions([(tenant, name) for tenant, _, name in places]):
                yield from self._evaluations(session.tenant, session.session, [session.current, *session.waiting])

    def evaluations(self, tenant: str, session: str) -> Sequence[EvaluationRecord]:
        """All evaluations of a session, in the order of acceptance."""
        [names] = self._link.ask(("LRANGE", self._key(tenant, session, "evaluations"), 0, -1))
        return self._evaluations(tenant, session, [name.decode() for name in names])

    def delete(self, tenant: str, session: str) -> bool:
        """Drop a session with all that is its own."""
        return self._retention.delete(tenant, session)

    def expire(self, *, older_than: float, limit: int = 100, archive: Archiving | None = None) -> int:
        """Drop up to `limit` sessions that did not change for `older_than` seconds."""
        return self._retention.expire(self._commands.now() - older_than, limit, archive)

    def retire(self, tenant: str, session: str, *, head: int, where: str) -> bool:
        """Drop a session that is archived."""
        return self._retention.retire(tenant, session, head, where)

    def expired(self, tenant: str, session: str) -> bool:
        """Whether a session of that name was dropped by its retention, or retired."""
        [found] = self._link.ask(("EXISTS", self._key(tenant, session, "expired")))
        return bool(found)

    def archived(self, tenant: str, session: str) -> str:
        """Where a session that was dropped is archived."""
        return self._retention.archived(tenant, session)

    def restore(
        self,
        tenant: str,
        session: str,
        *,
        created_at: float,
        events: Sequence[Recorded],
        evaluations: Sequence[EvaluationRecord],
    ) -> bool:
        """Write a whole session."""
        there = self.session(tenant, session) is not None
        return not there and self._retention.restore(tenant, session, created_at, events, evaluations)

    def _key(self, tenant: str, session: str, kind: str) -> str:
        return self._keys.of(session, tenant, kind, session)

    def _changed(self, partition: int, tenant: str | None) -> Iterator[tuple[float, str, str]]:
        """The sessions of a partition, newest first, in pages."""
        key, start = f"{self._keys.base(partition)}sessions", 0
        while True:
            [page] = self._link.ask(("ZREVRANGE", key, start, start + PAGE - 1, "WITHSCORES"))
            for member, score in zip(page[::2], page[1::2], strict=True):
                owner, _, name = member.decode().partition(":")
                if tenant in (None, owner):
                    yield float(score), owner, name
            if len(page) < 2 * PAGE:
                return
            start += PAGE

    def _sessions(self, names: Sequence[tuple[str, str]]) -> list[SessionRecord]:
        queries = [
            query
            for tenant, name in names
            for query in (
                ("HGETALL", self._key(tenant, name, "session")),
                ("LRANGE", self._key(tenant, name, "waiting"), 0, -1),
            )
        ]
        answers = self._link.ask(*queries)
        return [
            SessionRecord(
                tenant=tenant,
                session=name,
                head=int(row["head"]),
                created_at=float(row["created"]),
                updated_at=float(row["updated"]),
                current=row["current"],
                waiting=tuple(item.decode() for item in waiting),
                parent=row.get("parent", ""),
                base=int(row.get("base", 0)),
            )
            for (tenant, name), row, waiting in zip(names, map(_texts, answers[::2]), answers[1::2], strict=True)
            if row
        ]

    def _evaluations(self, tenant: str, session: str, names: Sequence[str]) -> list[EvaluationRecord]:
        queries = [
            query
            for name in names
            for query in (
                ("HGETALL", self._keys.of(session, tenant, "evaluation", name)),
                ("SMEMBERS", self._keys.of(session, tenant, "open", name)),
            )
        ]
        answers = self._link.ask(*queries)
        return [
            msgspec.convert(
                {
                    **row,
                    "id": name,
                    "tenant": tenant,
                    "cancelled": row["cancelled"] == "1",
                    "open_messages": sorted(message.decode() for message in owed),
                },
                EvaluationRecord,
                strict=False,
            )
            for name, row, owed in zip(names, map(_texts, answers[::2]), answers[1::2], strict=True)
            if row
        ]


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in pairs(flat).items()}
