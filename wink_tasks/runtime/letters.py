"""Dead letters as an operator sees them: what is in the mailbox, joined with what its ledger says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from wink_tasks.core.events import EvaluationAccepted, Json, ModelResponded
from wink_tasks.ports.ledger import Ledger
from wink_tasks.ports.mailbox import Address, Mailbox, Peeked
from wink_tasks.ports.rejections import Rejected, Rejections

REJECTED = "rejected:"
"""What the mailbox of rejected messages begins with; the rest is the queue they came from."""


class Letters(Protocol):
    """Where dead letters are."""

    @property
    def mailbox(self) -> Mailbox:
        """Ours."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What happened."""
        ...

    @property
    def rejections(self) -> Rejections:
        """Celery's."""
        ...


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter. Times are epoch seconds; `error` is the last failure, as "class: message".

    `payload` is the message as it was sent; `arguments` are the prompt's or the tool's, from the ledger. Of what Celery
    rejected, kind is "rejected" and the payload what is known of it.
    """

    id: str
    kind: str
    mailbox: str
    task: str
    reason: str
    died_at: float
    error: str = ""
    error_class: str = ""
    traceback: str = ""
    deliveries: int = 0
    claimed_at: float = 0.0
    tenant: str = ""
    session: str = ""
    evaluation: str = ""
    prompt: str = ""
    labels: Mapping[str, str] = {}
    arguments: Json = None
    payload: Json = None

    @property
    def address(self) -> Address:
        """Where it is, if it is one of ours."""
        return Address(self.tenant, self.session, self.id)

    @property
    def is_rejected(self) -> bool:
        """Whether it is one of Celery's."""
        return self.kind == "rejected"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which of them. `age` is the seconds since it died; texts match any part, a prompt's name also its last part."""

    mailbox: str = ""
    prompt: str = ""
    tenant: str = ""
    reason: str = ""
    error: str = ""
    age: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    ids: Sequence[str] = ()

    def of(self, letter: DeadLetter, now: float) -> bool:
        """Whether it is one of these."""
        return (
            self.mailbox in ("", letter.mailbox)
            and self.tenant in ("", letter.tenant)
            and is_named(letter.prompt, self.prompt)
            and self.reason.lower() in letter.reason.lower()
            and self.error.lower() in letter.error.lower()
            and now - letter.died_at >= self.age
            and self.labels.items() <= letter.labels.items()
            and (not self.ids or letter.id in self.ids)
        )


def is_named(name: str, wanted: str) -> bool:
    """Whether a prompt bears the name that is wanted; its last part is enough, and '' is any."""
    return wanted in ("", name, name.rpartition(".")[2])


def error_class(error: str) -> str:
    """The class in "class: message"; '' where nothing was raised, as where the process died."""
    name, told, _ = error.partition(": ")
    return name if told and name.replace(".", "").isidentifier() else ""


def dead_letters(store: Letters, wanted: Wanted, now: float) -> Iterator[DeadLetter]:
    """The dead letters that are wanted, mailbox by mailbox, oldest first, those of Celery last."""
    for mailbox in store.mailbox.dead():
        if wanted.mailbox in ("", mailbox):
            for peeked in store.mailbox.peek(mailbox):
                if wanted.of(letter := _of_ledger(peeked, store.ledger), now):
                    yield letter
    if not wanted.mailbox or wanted.mailbox.startswith(REJECTED):
        for rejected in store.rejections.kept():
            if wanted.of(letter := of_rejected(rejected), now):
                yield letter


def is_turn(letter: DeadLetter) -> bool:
    """Whether its evaluation can go on from it."""
    return letter.kind not in ("call", "outcome", "rejected")


def running(ledger: Ledger, wanted: Wanted, now: float) -> Iterator[DeadLetter]:
    """The runs that have not ended and are wanted: as if each were a letter that came when it was accepted."""
    for record in ledger.running():
        [accepted] = ledger.read(record.tenant, record.session, after=record.accepted_seq - 1, count=1)
        messages = [ledger.message(record.tenant, record.session, name) for name in record.open_messages]
        terms = accepted.event.terms if isinstance(accepted.event, EvaluationAccepted) else None
        run = DeadLetter(
            id=record.id,
            kind="run",
            mailbox=next((one.mailbox for one in messages if one is not None), ""),
            task=record.prompt,
            reason="",
            error="; ".join(one.error for one in messages if one is not None and one.error),
            died_at=record.accepted_at,
            tenant=record.tenant,
            session=record.session,
            evaluation=record.id,
            prompt=record.prompt,
            labels={} if terms is None else terms.labels,
        )
        if wanted.of(run, now):
            yield run


def _of_ledger(peeked: Peeked, ledger: Ledger) -> DeadLetter:
    sent = peeked.sent
    record = ledger.evaluation(sent.tenant, sent.evaluation)
    seqs = [*([record.accepted_seq] if record is not None else []), *sent.reads]
    found = [one.event for seq in seqs for one in ledger.read(sent.tenant, sent.session, after=seq - 1, count=1)]
    accepted = next((event for event in found if isinstance(event, EvaluationAccepted)), None)
    asked = next((event for event in found if isinstance(event, ModelResponded)), None)
    arguments = None if accepted is None else accepted.params
    if sent.kind == "call" and asked is not None:
        arguments = asked.calls[sent.index].arguments
    return DeadLetter(
        id=sent.id,
        kind=sent.kind,
        mailbox=sent.mailbox,
        task=sent.task,
        reason=peeked.reason,
        died_at=peeked.since,
        error=peeked.error,
        error_class=error_class(peeked.error),
        traceback=peeked.traceback,
        deliveries=peeked.deliveries,
        claimed_at=peeked.claimed_at,
        tenant=sent.tenant,
        session=sent.session,
        evaluation=sent.evaluation,
        prompt="" if accepted is None else accepted.prompt,
        labels={} if accepted is None else accepted.terms.labels,
        arguments=arguments,
        payload=msgspec.to_builtins(sent),
    )


def of_rejected(rejected: Rejected) -> DeadLetter:
    """One of Celery's as a dead letter."""
    return DeadLetter(
        id=rejected.id,
        kind="rejected",
        mailbox=f"{REJECTED}{rejected.queue}",
        task=rejected.task,
        reason=rejected.reason,
        died_at=rejected.at,
        error=rejected.error,
        error_class=error_class(rejected.error),
        payload=msgspec.to_builtins(rejected),
    )
