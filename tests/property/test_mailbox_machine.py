"""Redis and the in-memory store, driven side by side by chance, answer alike and keep the invariants of DESIGN 6."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec import structs

from tests.server import EmbeddedServer
from wink_tasks.adapters.redis.store import RedisStore
from wink_tasks.core.errors import WinkError
from wink_tasks.core.events import (
    TERMINAL,
    AnyEvent,
    EvaluationFailed,
    EvaluationResumed,
    StepRevived,
    ToolReturned,
)
from wink_tasks.core.ids import call_id, turn_id
from wink_tasks.ports.ledger import MessageRecord
from wink_tasks.ports.mailbox import Address, Claimed, Receipt, Revived, Settled
from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.conformance.driver import TENANT, Driver, returned, rung, succeeded
from wink_tasks.testing.memory import MemoryStore

PREFIXES = (f"machine{number}" for number in itertools.count())
SESSIONS = ("s1", "s2")
EVALUATIONS = ("e1", "e2", "e3", "e4")
BEYOND_A_LEASE = 10.5
TURN = re.compile(r"~turn(\d+)")


def comparable(answer: Any) -> Any:
    """An answer without what each store makes up for itself."""
    match answer:
        case Claimed(receipt=receipt):
            return structs.replace(answer, receipt=structs.replace(receipt, nonce=""))
        case Settled(claimed=Claimed() as successor):
            return structs.replace(answer, claimed=comparable(successor))
        case Revived():
            return answer.effect, sorted(rung(answer.doorbells))
        case tuple():
            return sorted(rung(answer))
        case _:
            return answer


class MailboxMachine(RuleBasedStateMachine):
    """Each rule is done to both. `held` are the receipts of one message, newest last, as both stores gave them."""

    server: EmbeddedServer

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.redis = RedisStore(self.server.url, prefix=next(PREFIXES), partitions=2, clock=self.clock)
        self.both = (Driver(self.redis), Driver(MemoryStore(self.clock, partitions=2)))
        self.held: dict[str, list[tuple[Receipt, Receipt]]] = {}
        self.where: dict[str, str] = {}
        self.accepted: dict[str, str] = {}
        self.seen: dict[str, MessageRecord] = {}
        self.resumed: dict[str, int] = {}

    def teardown(self) -> None:
        """Whatever came before: if steps end, each evaluation ends once, and its outcome is delivered."""
        for _ in range(60):
            if not self.owed():
                break
            self.clock.advance(BEYOND_A_LEASE)
            self.reap(100)
            for message in self.owed():
                self.honest(message, lambda: None, "end")
        assert not self.owed()
        for evaluation, session in self.accepted.items():
            events = [event for event in self.both[0].events(session)[1:] if event.evaluation == evaluation]
            ends = sum(isinstance(event, TERMINAL) for event in events)
            assert ends == 1 + self.resumed.get(evaluation, 0)
        self.redis.close()

    def done_to_both(self, command: Callable[[Driver, int], Any]) -> tuple[Any, Any]:
        """What both answer, which is the same: a value or an error."""
        answers = []
        for place, driver in enumerate(self.both):
            try:
                answers.append(command(driver, place))
            except WinkError as error:
                answers.append((type(error), str(error)))
        if isinstance(answers[0], tuple) and answers[0] and isinstance(answers[0][0], type):
            assert answers[0] == answers[1]
        else:
            assert comparable(answers[0]) == comparable(answers[1])
        return answers[0], answers[1]

    def owed(self) -> list[str]:
        """The messages that are not closed."""
        records = [self.both[1].ledger.evaluation(TENANT, name) for name in self.accepted]
        return [message for record in records if record for message in record.open_messages]

    def session_of(self, message: str) -> str:
        """Where a message lives."""
        return self.accepted.get(message.partition("~")[0], "s1")

    def keep(self, answers: tuple[Any, Any]) -> None:
        """Remember receipts."""
        if all(isinstance(answer, Claimed) for answer in answers):
            name = answers[0].receipt.address.message
            self.held.setdefault(name, []).append((answers[0].receipt, answers[1].receipt))

    @rule(
        evaluation=st.sampled_from(EVALUATIONS),
        session=st.sampled_from(SESSIONS),
        busy=st.sampled_from(["wait", "wait", "reject"]),
        start=st.sampled_from([0.0, 0.0, 7.0]),
        limit=st.sampled_from([None, None, 5.0, 20.0]),
        retries=st.sampled_from([0, 1, 3]),
    )
    def accept(
        self, *, evaluation: str, session: str, busy: str, start: float, limit: float | None, retries: int
    ) -> None:
        options = {
            "busy": busy,
            "retries": retries,
            "not_before": start and self.clock.now() + start,
            "limit_at": None if limit is None else self.clock.now() + limit,
        }
        self.done_to_both(lambda driver, _: driver.accept(evaluation, session, **options))
        record = self.both[0].ledger.evaluation(TENANT, evaluation)
        if record is not None:
            self.accepted[evaluation] = record.session

    @precondition(lambda self: self.accepted)
    @rule(data=st.data(), after=st.sampled_from([None, 0, 2]))
    def claim(self, data: st.DataObject, after: int | None) -> None:
        names = [*self.accepted, *self.owed()]
        name = data.draw(st.sampled_from(names))
        self.keep(self.done_to_both(lambda driver, _: driver.ask(name, self.session_of(name), after=after)))

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        shape=st.sampled_from(["calls", "chain", "turn", "end", "fail"]),
        serves=st.sampled_from([(), ("turns",), ("tools", "turns")]),
    )
    def settle(self, data: st.DataObject, shape: str, serves: tuple[str, ...]) -> None:
        name, receipts = self.some_receipts(data)
        self.settled(name, receipts, shape, serves)

    def settled(self, name: str, receipts: tuple[Receipt, Receipt], shape: str, serves: tuple[str, ...]) -> None:
        """Settle as a runtime does: an outcome is the last, a call answers, a turn goes on or ends."""
        evaluation, session = name.partition("~")[0], self.session_of(name)
        turn = int(TURN.search(name)[1]) if TURN.search(name) else 1
        following = turn_id(evaluation, turn + 1)
        if "outcome" in name:
            shape = "outcome"
        elif ".call" in name:
            shape = "answer"

        def command(driver: Driver, place: int) -> Any:
            calls = [
                driver.call(
                    evaluation, index, session, id=call_id(evaluation, turn, index), reads=(0,), wakes=following
                )
                for index in (0, 1)
            ]
            follow = driver.turn(evaluation, turn + 1, session)
            shapes: dict[str, dict[str, Any]] = {
                "calls": {"messages": [*calls, structs.replace(follow, needs=2)]},
                "chain": {
                    "messages": [
                        structs.replace(calls[0], wakes=calls[1].id),
                        structs.replace(calls[1], needs=1),
                        structs.replace(follow, needs=1, limit_at=self.clock.now() + 15),
                    ]
                },
                "turn": {"messages": [follow]},
                "end": {"end": succeeded(evaluation)},
                "fail": {"end": EvaluationFailed(evaluation=evaluation, code="TurnLimitError", message="m")},
            }
            told = [] if shape == "outcome" else [structs.replace(returned(evaluation), call=name)]
            claimed = structs.replace(EMPTY, receipt=receipts[place])
            return driver.settle(claimed, *told, serves=serves, after=1, **shapes.get(shape, {}))

        answers = self.done_to_both(command)
        if isinstance(answers[0], Settled):
            self.keep((answers[0].claimed, answers[1].claimed))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), delay=st.sampled_from([0, 3]), counts=st.booleans())
    def nack(self, data: st.DataObject, delay: float, counts: bool) -> None:
        _, receipts = self.some_receipts(data)
        self.done_to_both(
            lambda driver, place: driver.mailbox.nack(receipts[place], delay=delay, counts=counts, error="boom")
        )

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def hold_back(self, data: st.DataObject) -> None:
        _, receipts = self.some_receipts(data)
        self.done_to_both(
            lambda driver, place: driver.mailbox.nack(
                receipts[place], delay=3, counts=False, error="", traceback="t", paused="held"
            )
        )

    @precondition(lambda self: self.held)
    @rule(data=st.data(), after=st.sampled_from([None, 2]))
    def resume(self, data: st.DataObject, after: int | None) -> None:
        _, receipts = self.some_receipts(data)
        self.done_to_both(lambda driver, place: driver.mailbox.resume(receipts[place], after=after))

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.seen)))
        address = Address(TENANT, self.session_of(name), name)
        self.done_to_both(lambda driver, _: driver.mailbox.wake(address))

    @precondition(lambda self: any(record.state == "dead" for record in self.seen.values()))
    @rule(data=st.data())
    def revive(self, data: st.DataObject) -> None:
        names = sorted(name for name, record in self.seen.items() if record.state in ("dead", "done"))
        name = data.draw(st.sampled_from(names))
        address = Address(TENANT, self.session_of(name), name)
        answer, _ = self.done_to_both(lambda driver, _: driver.mailbox.revive(address, by="ann"))
        if isinstance(answer, Revived) and answer.effect in ("ready", "waiting") and "outcome" not in name:
            evaluation = name.partition("~")[0]
            self.resumed[evaluation] = self.resumed.get(evaluation, 0) + 1

    @precondition(lambda self: self.held)
    @rule(data=st.data(), code=st.sampled_from(["", "ParamsChangedError"]))
    def bury(self, data: st.DataObject, code: str) -> None:
        _, receipts = self.some_receipts(data)
        said = {"reason": "poison", "error": "", "code": code}
        self.done_to_both(lambda driver, place: driver.mailbox.bury(receipts[place], **said))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), value=st.sampled_from([1, {"row": [2]}]))
    def checkpoint(self, data: st.DataObject, value: Any) -> None:
        _, receipts = self.some_receipts(data)
        self.done_to_both(lambda driver, place: driver.mailbox.checkpoint(receipts[place], value))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        _, receipts = self.some_receipts(data)
        self.done_to_both(lambda driver, place: list(driver.mailbox.extend([receipts[place]])))

    @rule(evaluation=st.sampled_from(EVALUATIONS))
    def cancel(self, evaluation: str) -> None:
        self.done_to_both(lambda driver, _: driver.mailbox.cancel(TENANT, evaluation, by="ann", reason="r"))

    @rule(limit=st.sampled_from([1, 100]))
    def reap(self, limit: int) -> None:
        self.done_to_both(lambda driver, _: driver.mailbox.reap(limit=limit))

    @rule(seconds=st.sampled_from([0.25, 4.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.held)
    @rule()
    def a_lease_expires(self) -> None:
        self.clock.advance(BEYOND_A_LEASE)

    @precondition(lambda self: self.owed())
    @rule(data=st.data(), shape=st.sampled_from(["calls", "chain", "turn", "end"]))
    def honest_step(self, data: st.DataObject, shape: str) -> None:
        self.honest(data.draw(st.sampled_from(self.owed())), lambda: None, shape)

    @precondition(lambda self: self.owed())
    @rule(data=st.data(), shape=st.sampled_from(["turn", "end"]))
    def step_of_a_zombie(self, data: st.DataObject, shape: str) -> None:
        """A worker stalls beyond its lease; another claims; both settle."""
        name = data.draw(st.sampled_from(self.owed()))
        self.honest(name, lambda: self.taken_over(name), shape)

    def taken_over(self, name: str) -> None:
        """Somebody else claims after the lease has expired."""
        self.clock.advance(BEYOND_A_LEASE)
        self.keep(self.done_to_both(lambda driver, _: driver.ask(name, self.session_of(name), "w2")))

    def honest(self, name: str, meanwhile: Callable[[], None], shape: str) -> None:
        """Claim a message and settle it, and go on with what follows."""
        answers = self.done_to_both(lambda driver, _: driver.ask(name, self.session_of(name)))
        self.keep(answers)
        if isinstance(answers[0], Claimed):
            meanwhile()
            self.settled(name, (answers[0].receipt, answers[1].receipt), shape, ())

    def some_receipts(self, data: st.DataObject) -> tuple[str, tuple[Receipt, Receipt]]:
        """Receipts of some message, most often the newest."""
        name = data.draw(st.sampled_from(sorted(self.held)))
        return name, self.held[name][data.draw(st.sampled_from([-1, -1, 0]))]

    @invariant()
    def both_hold_the_same(self) -> None:
        redis, memory = (driver.ledger for driver in self.both)
        for session in SESSIONS:
            ledger = redis.read(TENANT, session)
            assert list(ledger) == list(memory.read(TENANT, session))
            assert_sound([record.event for record in ledger])
            assert redis.session(TENANT, session) == memory.session(TENANT, session)
            assert list(redis.evaluations(TENANT, session)) == list(memory.evaluations(TENANT, session))
        depths = [driver.mailbox.depth(["turns", "tools"]) for driver in self.both]
        assert depths[0] == depths[1]
        assert self.both[0].mailbox.dead() == self.both[1].mailbox.dead()
        for mailbox in ("turns", "tools"):
            letters = [list(driver.mailbox.peek(mailbox)) for driver in self.both]
            assert letters[0] == letters[1]
            assert len(letters[0]) == depths[0][mailbox].dead

    @invariant()
    def messages_are_alike_and_counters_never_fall(self) -> None:
        for name in {*self.seen, *self.accepted, *self.owed()}:
            records = [driver.ledger.message(TENANT, self.session_of(name), name) for driver in self.both]
            assert records[0] is not None
            assert records[1] is not None
            assert bool(records[0].nonce) == bool(records[1].nonce)
            assert structs.replace(records[0], nonce="") == structs.replace(records[1], nonce="")
            now, before = records[0], self.seen.get(name)
            assert now is not None
            if before is not None:
                assert now.epoch >= before.epoch
                assert now.deliveries >= before.deliveries
                assert now.pardoned >= before.pardoned
                assert before.state != "done" or now.state == before.state
            self.seen[name] = now


def assert_sound(events: list[AnyEvent]) -> None:
    """The event of a step stands in the ledger at most once, and nothing follows an end but a dead letter's revival."""
    steps = [event.call for event in events if isinstance(event, ToolReturned)]
    assert len(steps) == len(set(steps))
    over: set[str] = set()
    for event in events[1:]:
        if isinstance(event, EvaluationResumed):
            over.discard(event.evaluation)
        assert event.evaluation not in over or isinstance(event, StepRevived)
        if isinstance(event, TERMINAL):
            over.add(event.evaluation)


EMPTY = Claimed(
    receipt=None,  # type: ignore[arg-type]  # replaced before use
    message=None,  # type: ignore[arg-type]
    deliveries=0,
    started_at=0,
    cancelled=False,
    head=0,
    opened_at=0.0,
)


# Without the phases that shrink and explain a failure: they would take longer than a test may.
def test_redis_and_memory_are_one_machine(redis_server: EmbeddedServer) -> None:
    MailboxMachine.server = redis_server
    run_state_machine_as_test(
        MailboxMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
            deadline=None,
            phases=[Phase.generate],
        ),
    )
