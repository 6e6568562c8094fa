"""Forks on Redis: a session whose first events are another's.

Both may live in different slots, so no script sees both. First the parent notes a *loan*, which keeps it from being
dropped; then the fork is opened, and names the loan. A loan whose fork did not come within `LOAN_HOLDS` seconds, or is
gone, counts no more after `LOAN_KEPT`. Readers join the two ledgers here: nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wink_tasks.adapters.redis.commands import Commands, nonce
from wink_tasks.adapters.redis.rows import pairs, recorded
from wink_tasks.core.codec import encode
from wink_tasks.core.errors import UnknownSessionError
from wink_tasks.core.events import AnyEvent, Recorded, SessionForked
from wink_tasks.core.forking import no_event, session_taken

LOAN_HOLDS: Final = 60
LOAN_KEPT: Final = 3_600
"""Seconds. Between them lies what the clocks of two servers may differ."""


class Forks:
    """Opens forks, reads through them, and tells who has some."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._keys = commands.keys

    def open(self, tenant: str, parent: str, session: str, *, at: int, events: Sequence[AnyEvent], actor: str) -> None:
        """See the port's `fork`."""
        code = b"late"
        while code == b"late":
            loan = nonce()
            lent, *rest = self._commands.run("lend", tenant, parent, loan, session, at)
            if lent == b"none":
                raise UnknownSessionError(f"tenant {tenant!r} has no session {parent!r}")
            if lent == b"beyond":
                raise no_event(parent, at, int(rest[0]))
            options = (loan, rest[0], LOAN_HOLDS, parent, at, actor)
            [code] = self._commands.run("fork", tenant, session, *options, *(encode(event) for event in events))
            if code != b"forked":
                self.give_back(tenant, parent, loan)
        if code == b"taken":
            raise session_taken(session)

    def read(self, tenant: str, session: str, *, after: int = 0, count: int | None = None) -> tuple[Recorded, ...]:
        """The events after `after`, at most `count`."""
        bound = () if count is None else ("COUNT", count)
        key = self._keys.of(session, tenant, "ledger", session)
        [entries] = self._commands.link.ask(("XRANGE", key, f"{after + 1}-0", "+", *bound))
        return self.joined(tenant, recorded(entries), after=after, count=count)

    def joined(
        self, tenant: str, own: tuple[Recorded, ...], *, after: int, count: int | None = None
    ) -> tuple[Recorded, ...]:
        """What a session's own ledger has after `after`, behind what its parent has of it.

        A fork's own ledger begins with `SessionForked`: who asks for what comes before it, gets that event first.
        """
        if not own or own[0].seq == after + 1 or not isinstance(own[0].event, SessionForked):
            return own
        forked = own[0].event
        wanted = forked.seq - after if count is None else min(count, forked.seq - after)
        inherited = self.read(tenant, forked.parent, after=after, count=wanted)
        return (*inherited, *own)[:count]

    def give_back(self, tenant: str, parent: str, loan: str) -> None:
        """The fork is gone, or never came."""
        self._commands.link.ask(("HDEL", self._keys.of(parent, tenant, "forks", parent), loan))

    def of(self, tenant: str, parent: str) -> list[str]:
        """The forks that there are of a session."""
        [loans] = self._commands.link.ask(("HGETALL", self._keys.of(parent, tenant, "forks", parent)))
        return self.settled(tenant, parent, loans)

    def settled(self, tenant: str, parent: str, loans: Sequence[bytes]) -> list[str]:
        """The forks that there are, of the loans as the parent's hash has them; the others are given back once old."""
        forks = []
        for loan, note in pairs(loans).items():
            when, _, fork = note.decode().partition(" ")
            key = self._keys.of(fork, tenant, "session", fork)
            [named] = self._commands.link.ask(("HGET", key, "loan"))
            if named == loan or self._commands.now() < float(when) + LOAN_KEPT:
                forks.append(fork)
            else:
                self.give_back(tenant, parent, loan.decode())
        return forks
