"""The mailbox on Redis: each command is one script, so it happens as a whole or not at all."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from wink_tasks.adapters.redis.commands import Commands, Home, nonce
from wink_tasks.adapters.redis.rows import claimed, doorbell, lane, peeked
from wink_tasks.core.codec import clean, encode
from wink_tasks.core.delivery import LONGEST_ERROR, LONGEST_TRACEBACK, Again, not_dead, ring_again
from wink_tasks.core.errors import LeaseLostError, NotDeadError, SessionBusyError, UnknownRunError, taken
from wink_tasks.core.events import CancelRequested, Json, SessionOpened
from wink_tasks.ports.ledger import STATUS_OF
from wink_tasks.ports.mailbox import (
    Acceptance,
    Accepted,
    Address,
    Claimed,
    Depth,
    Doorbell,
    Listed,
    Mailbox,
    NotClaimed,
    Peeked,
    Receipt,
    Reopened,
    Reopening,
    Revived,
    Settled,
    Settlement,
    Standing,
)

PAGE: Final = 100
"""How many messages of a partition are looked at in one read."""

SPARED: Final = 500
"""Messages of a partition that one script looks at after the store was away."""


PURGED_AT_ONCE: Final = 1_000
"""How many dead letters of a partition one script forgets."""


class RedisMailbox(Mailbox):
    """See the port for what each command does."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def accept(self, acceptance: Acceptance) -> Accepted:
        """Open the session where there is none, record the run, and owe its first turn."""
        event, message = acceptance.event, acceptance.message
        home = self._commands.reserve(event.evaluation, Home(message.tenant, message.session, event.prompt))
        code, *answer = self._commands.run(
            "accept",
            message.tenant,
            message.session,
            event.evaluation,
            event.prompt,
            home,
            nonce(),
            acceptance.actor,
            acceptance.busy,
            encode(SessionOpened(tenant=message.tenant, session=message.session)),
            encode(event),
            encode(acceptance.outcome),
            encode(message),
        )
        if code == b"duplicate":
            raise taken(event.evaluation)
        if code == b"busy":
            raise SessionBusyError(f"session {message.session!r} runs evaluation {answer[0].decode()!r}: wait for it")
        if not home:
            self._commands.keep(event.evaluation)
        seq, specs = answer
        return Accepted(created=code == b"created", seq=int(seq), doorbells=_doorbells(specs))

    def claim(
        self, address: Address, *, task: str, owner: str, after: int | None, patient: bool = False, put_off: float = 0.0
    ) -> Claimed | NotClaimed:
        """Take the message for its visibility timeout."""
        known = _or_blank(after), int(patient), put_off
        code, *answer = self._commands.run(
            "claim", address.tenant, address.session, address.message, nonce(), task, owner, *known
        )
        if code == b"claimed":
            return claimed(answer[0])
        return NotClaimed(reason=code.decode(), doorbells=_doorbells(*answer))

    def extend(self, receipts: Sequence[Receipt]) -> Sequence[Standing]:
        """Hold each message for another visibility timeout from now."""
        held: dict[int, list[Receipt]] = {}
        for receipt in receipts:
            held.setdefault(self._commands.keys.partition(receipt.address.session), []).append(receipt)
        proofs = {partition: [part for one in some for part in _proof(one)] for partition, some in held.items()}
        standings: dict[Receipt, Standing] = {}
        for some, answer in zip(held.values(), self._commands.run_each("extend", proofs.items()), strict=True):
            standings.update(zip(some, (standing.decode() for standing in answer), strict=True))
        return [standings[receipt] for receipt in receipts]

    def settle(self, settlement: Settlement) -> Settled:
        """Append the events, end the message, and create what follows."""
        end = settlement.end
        events = [encode(event) for event in (*settlement.events, *(() if end is None else (end,)))]
        specs, first, ended, hand = self._held(
            "settle",
            settlement.receipt,
            settlement.actor,
            _or_blank(settlement.after),
            f" {' '.join(settlement.serves)} ",
            "" if end is None else STATUS_OF[type(end)],
            len(events),
            *events,
            *map(encode, settlement.messages),
            once=settlement.nonce,
        )
        return Settled(
            first=int(first),
            ended=ended == b"1",
            doorbells=_doorbells(specs),
            claimed=None if hand is None else claimed(hand),
        )

    def nack(
        self,
        receipt: Receipt,
        *,
        delay: float,
        counts: bool,
        error: str,
        traceback: str = "",
        paused: str = "",
        begun: bool = False,
    ) -> tuple[Doorbell, ...]:
        """Give the message back, to be claimed after `delay` seconds."""
        told = error[:LONGEST_ERROR], traceback[-LONGEST_TRACEBACK:], paused[:LONGEST_ERROR]
        return _doorbells(*self._held("nack", receipt, repr(delay), int(counts), *told, int(begun)))

    def resume(self, receipt: Receipt, *, after: int | None) -> Claimed:
        """Let the clock run on of an evaluation whose message was held back."""
        [hand] = self._held("resume", receipt, _or_blank(after))
        return claimed(hand)

    def bury(
        self, receipt: Receipt, *, reason: str, error: str, traceback: str = "", code: str = ""
    ) -> tuple[Doorbell, ...]:
        """Make the message a dead letter now."""
        told = reason[:LONGEST_ERROR], error[:LONGEST_ERROR], traceback[-LONGEST_TRACEBACK:]
        return _doorbells(*self._held("bury", receipt, *told, code))

    def wake(self, address: Address) -> tuple[Doorbell, ...]:
        """Make a message ready now that is delayed until a time."""
        _, specs = self._commands.run("wake", address.tenant, address.session, address.message, nonce())
        return _doorbells(specs)

    def revive(self, address: Address, *, by: str) -> Revived:
        """Try a dead letter again."""
        code, answer = self._commands.run(
            "revive", address.tenant, address.session, address.message, nonce(), clean(by)
        )
        if code == b"alive":
            raise NotDeadError(not_dead(address.message, address.tenant, answer.decode()))
        return Revived(effect=code.decode(), doorbells=_doorbells(answer))

    def reopen(self, reopening: Reopening) -> Reopened:
        """Let an evaluation go on that failed."""
        sent, changed = reopening.message, reopening.changed
        told = (nonce(), clean(reopening.by), reopening.head, b"" if changed is None else encode(changed))
        messages = encode(reopening.outcome), encode(sent)
        code, *specs = self._commands.run("reopen", sent.tenant, sent.session, sent.evaluation, *told, *messages)
        return Reopened(effect=code.decode(), doorbells=_doorbells(*specs))

    def purge(self, addresses: Sequence[Address]) -> int:
        """Forget these dead letters."""
        letters: dict[int, list[str]] = {}
        for one in addresses:
            place = letters.setdefault(self._commands.keys.partition(one.session), [])
            place += (one.tenant, one.session, one.message)
        size, purged = 3 * PURGED_AT_ONCE, 0
        for start in range(0, max(map(len, letters.values()), default=0), size):
            parts = {partition: all_of[start : start + size] for partition, all_of in letters.items()}
            calls = [(partition, (nonce(), *some)) for partition, some in parts.items() if some]
            purged += sum(self._commands.run_each("purge", calls))
        return purged

    def peek(self, mailbox: str, *, state: Listed = "dead") -> Iterator[Peeked]:
        """The messages of a mailbox in that state."""
        partitions = range(self._commands.keys.partitions)
        listed = (self._listed(self._commands.keys.base(partition), mailbox, state) for partition in partitions)
        return heapq.merge(*listed, key=lambda one: (one.since, one.sent.id))

    def dead(self) -> Mapping[str, int]:
        """The mailboxes that hold dead letters, and how many."""
        bases = [self._commands.keys.base(partition) for partition in range(self._commands.keys.partitions)]
        held = self._commands.link.ask(*(("SMEMBERS", f"{base}buried") for base in bases))
        places = [(base, name.decode()) for base, names in zip(bases, held, strict=True) for name in names]
        counts = self._commands.link.ask(*(("ZCARD", f"{base}dead:{name}") for base, name in places)) if places else ()
        found: Counter[str] = Counter()
        for (_, name), count in zip(places, counts, strict=True):
            found[name] += count
        return {name: found[name] for name in sorted(+found)}

    def checkpoint(self, receipt: Receipt, value: Json) -> None:
        """Keep how far the step is."""
        self._held("checkpoint", receipt, encode(value))

    def cancel(self, tenant: str, evaluation: str, *, by: str, reason: str) -> tuple[Doorbell, ...]:
        """Record the wish, close what nobody works on, and end the evaluation where nobody works on it at all."""
        home = self._commands.home(tenant, evaluation)
        event = encode(CancelRequested(evaluation=evaluation, by=by, reason=reason))
        if home is not None:
            code, *answer = self._commands.run("cancel", tenant, home.session, evaluation, nonce(), by, reason, event)
            if code == b"cancelled":
                return _doorbells(*answer)
        raise UnknownRunError(f"tenant {tenant!r} has no evaluation {evaluation!r}")

    def reap(self, *, limit: int = 100) -> tuple[Doorbell, ...]:
        """Make ready what is due, and ring again what got lost."""
        every = range(self._commands.keys.partitions)
        answers = self._commands.run_each("reap", [(partition, (limit, nonce())) for partition in every])
        lanes = [dict(map(lane, found)) for _, _, _, found in answers]
        plans = ring_again(lanes, max(float(at) for _, _, at, _ in answers))
        asked = [(partition, (limit, nonce(), *_asked(plan))) for partition, plan in enumerate(plans) if plan]
        answers += self._commands.run_each("reap", asked) if asked else []
        return _doorbells(*(specs for _, specs, _, _ in answers))

    def confirm(self, doorbells: Sequence[Doorbell]) -> None:
        """These were published."""
        published: dict[str, list[str]] = {}
        for bell in doorbells:
            key = self._commands.keys.of(bell.address.session, "unconfirmed")
            published.setdefault(key, []).append(bell.address.message)
        self._commands.link.tell(*(("ZREM", key, *messages) for key, messages in published.items()))

    def spare(self) -> None:
        """Hold the leases that have expired for another timeout."""
        over = dict.fromkeys(range(self._commands.keys.partitions), 0)
        while over:
            answers = self._commands.run_each("spare", [(at, (passed, SPARED)) for at, passed in over.items()])
            found = zip(over.items(), answers, strict=True)
            over = {at: passed + others for (at, passed), (spared, others) in found if spared + others}

    def depth(self, mailboxes: Iterable[str]) -> Mapping[str, Depth]:
        """Depth and age of each mailbox."""
        now = self._commands.now()
        return {mailbox: self._depth(mailbox, now) for mailbox in mailboxes}

    def _listed(self, base: str, mailbox: str, state: Listed) -> Iterator[Peeked]:
        start = 0
        while True:
            page = ("ZRANGE", f"{base}{state}:{mailbox}", start, start + PAGE - 1, "WITHSCORES")
            [found] = self._commands.link.ask(page)
            if not found:
                return
            rows = self._commands.link.ask(*(("HGETALL", f"{base}message:{name.decode()}") for name in found[::2]))
            for row, since in zip(rows, found[1::2], strict=True):
                if row:  # else it was closed meanwhile
                    yield peeked(row, state, float(since))
            if len(found) < 2 * PAGE:
                return
            start += PAGE

    def _depth(self, mailbox: str, now: float) -> Depth:
        keys = self._commands.keys
        queries: list[tuple[Any, ...]] = []
        for base in map(keys.base, range(keys.partitions)):
            queries += [("ZCARD", f"{base}{state}:{mailbox}") for state in ("ready", "leased", "dead")]
            queries.append(("ZRANGE", f"{base}ready:{mailbox}", 0, 0, "WITHSCORES"))
        answers = self._commands.link.ask(*queries)
        ready, leased, dead = (sum(answers[state::4]) for state in range(3))
        oldest = min((float(first[1]) for first in answers[3::4] if first), default=now)
        return Depth(ready=ready, leased=leased, dead=dead, age=max(0.0, now - oldest))

    def _held(self, name: str, receipt: Receipt, *args: Any, once: str = "") -> list[Any]:
        """What a command answers that only the newest receipt may give. Raises LeaseLostError."""
        address = receipt.address
        code, *answer = self._commands.run(
            name,
            address.tenant,
            address.session,
            address.message,
            once or nonce(),
            receipt.epoch,
            receipt.nonce,
            *args,
        )
        if code == b"stale":
            raise LeaseLostError(f"cannot {name} message {address.message!r}: another worker has it, or it is closed")
        return list(answer)


def _or_blank(number: int | None) -> str:
    return "" if number is None else str(number)


def _asked(plan: Mapping[str, Again]) -> Iterable[str | int]:
    for name, again in plan.items():
        yield from (name, "" if again.before is None else f"{again.before:.6f}", again.probes)


def _proof(receipt: Receipt) -> tuple[str, int, str]:
    return receipt.address.message, receipt.epoch, receipt.nonce


def _doorbells(*answers: list[bytes]) -> tuple[Doorbell, ...]:
    return tuple(doorbell(spec) for specs in answers for spec in specs)
