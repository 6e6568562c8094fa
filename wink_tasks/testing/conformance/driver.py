"""Drives a store as a runtime would, with little to say: evaluations of one prompt, their turns and calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pytest

from wink_tasks.core.delivery import Message
from wink_tasks.core.events import (
    AnyEvent,
    EvaluationAccepted,
    EvaluationSucceeded,
    ModelResponded,
    Recorded,
    Terminal,
    Terms,
    ToolReturned,
)
from wink_tasks.core.ids import call_id, evaluation_of, outcome_id, turn_id
from wink_tasks.core.limits import Usage
from wink_tasks.ports.ledger import MessageRecord
from wink_tasks.ports.mailbox import (
    Acceptance,
    Accepted,
    Address,
    Claimed,
    Doorbell,
    NotClaimed,
    Settled,
    Settlement,
)
from wink_tasks.ports.store import Store

TENANT = "acme"
TASKS = {"turn": "proj.review:turn", "call": "proj.read", "task": "proj.sync", "outcome": "proj.review:outcome"}
MAILBOXES = {"turn": "turns", "call": "tools", "task": "tools", "outcome": "turns"}


class Driver:
    """Short words for what a runtime does with a store. Evaluations are `e...`, sessions `s...`, workers `w...`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.mailbox = store.mailbox
        self.ledger = store.ledger

    def message(
        self, kind: Literal["turn", "call", "task", "outcome"], name: str, session: str = "s1", **options: Any
    ) -> Message:
        """A message of an evaluation."""
        fields = {
            "mailbox": MAILBOXES[kind],
            "task": TASKS[kind],
            "tenant": TENANT,
            "session": session,
            "evaluation": evaluation_of(name),
            **options,
        }
        return Message(id=name, kind=kind, **fields)

    def turn(self, evaluation: str, turn: int, session: str = "s1", **options: Any) -> Message:
        """The message of a turn."""
        return self.message("turn", turn_id(evaluation, turn), session, turn=turn, **options)

    def call(self, evaluation: str, index: int, session: str = "s1", **options: Any) -> Message:
        """The message of a call that the first turn asked for; it brings the second turn nearer."""
        options = {"wakes": turn_id(evaluation, 2), "call": f"c{index}", **options}
        name = options.pop("id", call_id(evaluation, 1, index))
        return self.message("call", name, session, index=index, **options)

    def acceptance(self, evaluation: str, session: str = "s1", **options: Any) -> Acceptance:
        """A run to accept. `options` are those of its first message, and `prompt`, `busy`, `tenant`, `retries`.

        Its first message is a turn, unless `kind` says "task".
        """
        prompt, busy, retries = (options.pop(name, None) for name in ("prompt", "busy", "retries"))
        kind = options.pop("kind", "turn")
        tenant = {"tenant": options.get("tenant", TENANT)}
        bounded = {} if retries is None else {"max_retries": retries}
        return Acceptance(
            event=EvaluationAccepted(
                evaluation=evaluation,
                prompt=prompt or "proj.review",
                digest="d",
                params={"path": "src/ä"},
                terms=Terms(models=("offline",)),
            ),
            message=self.message(kind, evaluation, session, **options, **bounded),
            outcome=self.message("outcome", outcome_id(evaluation), session, **tenant, **bounded),
            busy=busy or "wait",
            actor="client",
        )

    def accept(self, evaluation: str, session: str = "s1", **options: Any) -> Accepted:
        """Accept a run."""
        return self.mailbox.accept(self.acceptance(evaluation, session, **options))

    def append(self, *events: AnyEvent, expected: int, session: str = "s1") -> Sequence[Recorded]:
        """Append as an application does; what others wrote meanwhile."""
        return self.ledger.append(TENANT, session, events, expected=expected, actor="a1")

    def ask(self, message: str, session: str = "s1", owner: str = "w1", **options: Any) -> Claimed | NotClaimed:
        """Try to claim."""
        kind = "outcome" if "~outcome" in message else "call" if ".call" in message else "turn"
        address = Address(options.pop("tenant", TENANT), session, message)
        return self.mailbox.claim(
            address, task=options.pop("task", TASKS[kind]), owner=owner, after=options.pop("after", None), **options
        )

    def claim(self, message: str, session: str = "s1", owner: str = "w1", **options: Any) -> Claimed:
        """Claim what is there to be claimed."""
        answer = self.ask(message, session, owner, **options)
        assert isinstance(answer, Claimed), answer
        return answer

    def settle(
        self,
        claimed: Claimed,
        *events: AnyEvent,
        messages: Iterable[Message] = (),
        end: Terminal | None = None,
        serves: Iterable[str] = (),
        after: int | None = None,
    ) -> Settled:
        """Settle what was claimed."""
        return self.mailbox.settle(
            Settlement(
                receipt=claimed.receipt,
                actor="w1",
                events=events,
                messages=tuple(messages),
                end=end,
                serves=tuple(serves),
                after=after,
            )
        )

    def fan_out(self, evaluation: str, count: int, session: str = "s1", **options: Any) -> list[Claimed]:
        """Accept a run whose first turn asks for `count` parallel calls, and claim these."""
        self.accept(evaluation, session)
        self.settle(
            self.claim(evaluation, session),
            responded(evaluation, count),
            messages=[
                *(self.call(evaluation, index, session, reads=(0,), **options) for index in range(count)),
                self.turn(evaluation, 2, session, needs=count),
            ],
        )
        return [self.claim(call_id(evaluation, 1, index), session) for index in range(count)]

    def events(self, session: str = "s1") -> list[AnyEvent]:
        """What the ledger holds."""
        return [record.event for record in self.ledger.read(TENANT, session)]

    def names(self, session: str = "s1") -> list[str]:
        """The names of what the ledger holds, without the opening of the session."""
        return [type(event).__name__ for event in self.events(session)[1:]]

    def look(self, message: str, session: str = "s1") -> MessageRecord:
        """A message as it stands."""
        record = self.ledger.message(TENANT, session, message)
        assert record is not None, message
        return record

    def status(self, evaluation: str) -> str:
        """An evaluation's status."""
        record = self.ledger.evaluation(TENANT, evaluation)
        assert record is not None, evaluation
        return record.status


class Driven:
    """Tests of a driven store."""

    @pytest.fixture
    def d(self, store: Store) -> Driver:
        """The store under test, in short words."""
        return Driver(store)


def responded(evaluation: str, calls: int = 0, turn: int = 1) -> ModelResponded:
    """A model's answer."""
    return ModelResponded(
        evaluation=evaluation,
        turn=turn,
        model="offline",
        text=f"answer {turn}, calls {calls}",
        usage=Usage(),
        stop="tools" if calls else "end",
        request="r",
        seconds=0.5,
    )


def returned(evaluation: str, index: int = 0) -> ToolReturned:
    """A tool's answer."""
    return ToolReturned(evaluation=evaluation, turn=1, call=f"c{index}", tool="read", value={"n": index}, seconds=0.1)


def succeeded(evaluation: str) -> EvaluationSucceeded:
    """A good end."""
    return EvaluationSucceeded(evaluation=evaluation, output="done")


def rung(doorbells: Iterable[Doorbell]) -> list[str]:
    """The messages whose doorbells are to be rung."""
    return [doorbell.address.message for doorbell in doorbells]
