"""The mailbox on Redis: each command is one script, so it happens as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wink_tasks.adapters.redis.commands import Commands, Home, nonce, taken
from wink_tasks.adapters.redis.rows import claimed, doorbell
from wink_tasks.core.codec import encode
from wink_tasks.core.delivery import LONGEST_ERROR
from wink_tasks.core.errors import LeaseLostError, SessionBusyError, UnknownRunError
from wink_tasks.core.events import CancelRequested, SessionOpened
from wink_tasks.ports.ledger import STATUS_OF
from wink_tasks.ports.mailbox import (
    Acceptance,
    Accepted,
    Address,
    Claimed,
    Depth,
    Doorbell,
    NotClaimed,
    Receipt,
    Settled,
    Settlement,
    Standing,
)


class RedisMailbox:
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

    def claim(self, address: Address, *, task: str, owner: str, after: int | None) -> Claimed | NotClaimed:
        """Take the message for its visibility timeout."""
        code, *answer = self._commands.run(
            "claim", address.tenant, address.session, address.message, nonce(), task, owner, _or_blank(after)
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
        for some, answer in zip(held.values(), self._commands.run_each("extend", proofs), strict=True):
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

    def nack(self, receipt: Receipt, *, delay: float, counts: bool, error: str) -> tuple[Doorbell, ...]:
        """Give the message back, to be claimed after `delay` seconds."""
        return _doorbells(*self._held("nack", receipt, repr(delay), int(counts), error[:LONGEST_ERROR]))

    def bury(self, receipt: Receipt, *, reason: str, error: str) -> tuple[Doorbell, ...]:
        """Make the message a dead letter now."""
        return _doorbells(*self._held("bury", receipt, reason[:LONGEST_ERROR], error[:LONGEST_ERROR]))

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
        """Make ready what is due, and ring again."""
        asked = (limit, nonce())
        answers = self._commands.run_each("reap", dict.fromkeys(range(self._commands.keys.partitions), asked))
        return _doorbells(*(specs for _, specs in answers))

    def depth(self, mailboxes: Iterable[str]) -> Mapping[str, Depth]:
        """Depth and age of each mailbox."""
        now = self._commands.now()
        return {mailbox: self._depth(mailbox, now) for mailbox in mailboxes}

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


def _proof(receipt: Receipt) -> tuple[str, int, str]:
    return receipt.address.message, receipt.epoch, receipt.nonce


def _doorbells(*answers: list[bytes]) -> tuple[Doorbell, ...]:
    return tuple(doorbell(spec) for specs in answers for spec in specs)
