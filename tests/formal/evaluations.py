"""A store through the actions of Evaluation.tla, looking whether the invariants hold."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from tests.formal.hands import MemoryHand, RedisHand
from tests.formal.world import EMPTY, OPEN, ViolatedError
from wink_tasks.core.errors import LeaseLostError
from wink_tasks.core.events import TERMINAL, AnyEvent
from wink_tasks.core.ids import call_id, outcome_id, turn_id
from wink_tasks.ports.mailbox import Claimed, Receipt
from wink_tasks.testing.conformance.driver import TENANT, Driver, responded, returned, succeeded

SESSION = "s1"
RUNS = {"a": "e1", "b": "e2"}
CALLS = ("call0", "call1")
KINDS = ("turn", *CALLS, "second", "outcome")
SHORT, LONG, LIMIT = 10.0, 40_000.0, 5.0


def id_of(run: str, kind: str) -> str:
    """The message's id in the store."""
    name = RUNS[run]
    if kind in CALLS:
        return call_id(name, 1, CALLS.index(kind))
    return {"turn": name, "second": turn_id(name, 2), "outcome": outcome_id(name)}[kind]


class Evaluations:
    """`steps` are those to come: a message whose lease expires in them has a short one, any other a long one."""

    def __init__(
        self, hand: RedisHand | MemoryHand, runs: Sequence[str], steps: Sequence[Sequence[str]], asked: str = ""
    ) -> None:
        self.clock = hand.clock
        self.d = Driver(hand.store)
        self.runs = runs
        self.asked = asked
        self._expire = {tuple(words) for name, *words in steps if name == "Expire"}
        self._receipts: dict[str, Receipt] = {}
        self._late: set[str] = set()
        self._in_order: set[str] = set()
        self._before = self.look()

    def look(self) -> dict[tuple[str, str], str]:
        """The state of each message."""
        records = {(run, kind): self._record(run, kind) for run in self.runs for kind in KINDS}
        return {key: "none" if record is None else record.state for key, record in records.items()}

    def events(self, run: str) -> list[AnyEvent]:
        """What the ledger holds of an evaluation."""
        return [event for event in self.d.events()[1:] if event.evaluation == RUNS[run]]

    def names(self) -> list[tuple[str, str]]:
        """The events but those of the acceptance, as the model has them."""
        back = {name: run for run, name in RUNS.items()}
        told = [(type(event).__name__, back[event.evaluation]) for event in self.d.events()[1:]]
        return [event for event in told if event[0] != "EvaluationAccepted"]

    def step(self, name: str, *words: str) -> None:
        """Do an action of the model, and see that all is well. Raises ViolatedError."""
        before = self._before
        with suppress(LeaseLostError):
            getattr(self, name.lower())(*words)
        self._before = after = self.look()
        for key, state in before.items():
            if state in ("done", "dead") and after[key] != state:
                self.violated("ClosedStaysClosed")
            if name == "Cancel" and state == "leased" and after[key] != "leased":
                self.violated("WorkIsKept")
        for run in self.runs:
            self._judge(run, after)

    def violated(self, name: str) -> None:
        """An invariant does not hold."""
        if self.asked in ("", name):
            raise ViolatedError(name)

    def send(self, run: str) -> None:
        """Accept."""
        self.d.accept(RUNS[run], SESSION, **self._options(run, "turn"))

    def claim(self, run: str, kind: str) -> None:
        """Take."""
        answer = self.d.ask(id_of(run, kind), SESSION)
        if isinstance(answer, Claimed):
            self._receipts[id_of(run, kind)] = answer.receipt

    def extend(self, run: str, kind: str) -> None:
        """Hold."""
        self.d.mailbox.extend([self._receipts[id_of(run, kind)]])

    def settle(self, run: str, kind: str, shape: str) -> None:
        """End a step."""
        name, claimed = RUNS[run], msgspec.structs.replace(EMPTY, receipt=self._receipts[id_of(run, kind)])
        if kind == "outcome":
            self.d.settle(claimed)
        elif kind in CALLS:
            self.d.settle(claimed, returned(name, CALLS.index(kind)))
        elif shape == "ends":
            self.d.settle(claimed, responded(name, turn=2 if kind == "second" else 1), end=succeeded(name))
        else:
            ordered = shape == "in-order"
            self._in_order |= {run} if ordered else set()
            wakes = id_of(run, "call1") if ordered else id_of(run, "second")
            messages = [
                self.d.call(name, 0, SESSION, wakes=wakes, **self._options(run, "call0")),
                self.d.call(name, 1, SESSION, needs=int(ordered), **self._options(run, "call1")),
                self.d.turn(
                    name,
                    2,
                    SESSION,
                    needs=1 if ordered else 2,
                    limit_at=self.clock.now() + LIMIT,
                    **self._options(run, "second"),
                ),
            ]
            self.d.settle(claimed, responded(name, 2), messages=messages)

    def nack(self, run: str, kind: str) -> None:
        """Give back."""
        self.d.mailbox.nack(self._receipts[id_of(run, kind)], delay=0, counts=False, error="")

    def bury(self, run: str, kind: str) -> None:
        """Make a dead letter."""
        self.d.mailbox.bury(self._receipts[id_of(run, kind)], reason="r", error="")

    def cancel(self, run: str) -> None:
        """Ask to stop."""
        self.d.mailbox.cancel(TENANT, RUNS[run], by="ann", reason="r")

    def expire(self, run: str, kind: str) -> None:
        """A lease runs out, and the reaper looks."""
        record = self._record(run, kind)
        assert record is not None
        self.clock.advance(max(0.0, record.due - self.clock.now()))
        self.d.mailbox.reap()

    def due(self, run: str, kind: str) -> None:
        """A deadline passes, and the reaper looks."""
        self._late.add(run)
        self.expire(run, kind)

    def _options(self, run: str, kind: str) -> dict[str, float]:
        return {"visibility_timeout": SHORT if (run, kind) in self._expire else LONG}

    def _record(self, run: str, kind: str):
        return self.d.ledger.message(TENANT, SESSION, id_of(run, kind))

    def _judge(self, run: str, seen: dict[tuple[str, str], str]) -> None:
        events = self.events(run)
        state = {kind: seen[run, kind] for kind in KINDS}
        ends = [place for place, event in enumerate(events) if isinstance(event, TERMINAL)]
        if ends and ends != [len(events) - 1]:
            self.violated("OneEnd")
        answers = [getattr(event, "call", "") for event in events]
        if any(answers.count(f"c{index}") > 1 for index in (0, 1)):
            self.violated("RecordedOnce")
        if ends and (state["outcome"] == "none" or any(state[kind] in OPEN for kind in KINDS if kind != "outcome")):
            self.violated("EndClosesAll")
        self._judge_waiting(run, state, ended=bool(ends))

    def _judge_waiting(self, run: str, state: dict[str, str], *, ended: bool) -> None:
        session = self.d.ledger.session(TENANT, SESSION)
        current = session is not None and session.current == RUNS[run]
        works = [kind for kind in KINDS if kind != "outcome" and state[kind] in ("ready", "leased")]
        if not current and works:
            self.violated("OneAtATime")
        waits = session is not None and session.current and RUNS[run] in session.waiting
        if state["turn"] != "none" and not ended and not (works if current else waits):
            self.violated("NothingLost")
        if "second" in works and run not in self._late and any(state[kind] in OPEN for kind in CALLS):
            self.violated("FanIn")
        if run in self._in_order and "call1" in works and state["call0"] in OPEN:
            self.violated("InOrder")
