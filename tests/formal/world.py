"""A store through the actions of Mailbox.tla. After each it looks whether the invariants hold, by what can be seen."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.formal.hands import MemoryHand, RedisHand
from wink_tasks.core.delivery import TABLE
from wink_tasks.core.errors import LeaseLostError, WinkError
from wink_tasks.core.events import TERMINAL, AnyEvent
from wink_tasks.ports.mailbox import Address, Claimed, NotClaimed, Receipt, Settled
from wink_tasks.testing.conformance.driver import TENANT, Driver, succeeded

IDS = {"turn": "e1", "outcome": "e1~outcome", "again": "e1~outcome2"}
SESSION = "s1"
OPEN = ("ready", "delayed", "leased")
REVIVED = {("dead", "ready"), ("dead", "delayed"), ("dead", "done")}
MOVES = {
    ("none", "ready"),
    ("none", "leased"),
    *REVIVED,
    *((state, to) for state in TABLE for to in TABLE[state].values()),
}
EMPTY = Claimed(receipt=None, message=None, deliveries=0, started_at=0, cancelled=False, head=0, opened_at=0)  # type: ignore[arg-type]


class ViolatedError(AssertionError):
    """An invariant does not hold; its text is the invariant's name in the model."""


@dataclass(frozen=True)
class Seen:
    """A message as the store shows it. `due`: its lease or its delay is over."""

    state: str = "none"
    due: bool = False
    epoch: int = 0
    deliveries: int = 0
    pardoned: int = 0

    @property
    def tried(self) -> int:
        """Deliveries that count."""
        return self.deliveries - self.pardoned


@dataclass
class Worker:
    """What a worker remembers."""

    pc: str = "idle"
    at: str = ""
    nonce: str = ""
    receipt: Receipt | None = None
    answer: Any = None


@dataclass
class Truth:
    """Who has the newest receipt of a message, who settled it, and how often."""

    owner: str = ""
    author: str = ""
    settled: int = 0


@dataclass
class World:
    """`messages` are those of the configuration, `fence` the halves of a receipt that it relies on.

    `asked` is the one invariant to look at; "" for all.
    """

    hand: RedisHand | MemoryHand
    messages: tuple[str, ...]
    retries: int
    fence: frozenset[str]
    asked: str = ""
    workers: dict[str, Worker] = field(default_factory=dict)
    truth: dict[str, Truth] = field(default_factory=dict)
    replica: Any = None

    def __post_init__(self) -> None:
        self.d = Driver(self.hand.store)
        self.truth = {name: Truth() for name in self.messages}
        self._nonces = map("n{}".format, itertools.count())
        self.replica = None, {name: Truth() for name in self.messages}
        self._events: list[AnyEvent] = []
        self.seen = self.look()

    def look(self) -> dict[str, Seen]:
        """The messages as they are."""
        return {name: self._seen(IDS[name]) for name in self.messages}

    def names(self) -> list[str]:
        """The events in the ledger, after those of the acceptance."""
        names = [type(event).__name__ for event in self._events]
        return [name for name in names if name != "EvaluationAccepted"]

    def step(self, name: str, *words: str) -> None:
        """Do an action of the model, and see that all is well. Raises ViolatedError."""
        before = self.seen
        getattr(self, name.lower())(*words)
        self.seen = after = self.look()
        self._events = self.d.events()[1:]
        if name != "FailOver":
            for message in self.messages:
                self._compare(name, before[message], after[message])
        for message in self.messages:
            self._judge(message, after[message], self.retries)
        if len(self.messages) > 1:
            self._judge_the_end(after)

    def violated(self, name: str) -> None:
        """An invariant does not hold."""
        if self.asked in ("", name):
            raise ViolatedError(name)

    # commands

    def send(self) -> None:
        """Accept; or, where the outcome is all there is, come to it."""
        self.d.accept("e1", SESSION, retries=self.retries)
        if "turn" not in self.messages:
            self.d.settle(self.d.claim("e1"), end=succeeded("e1"))

    def claim(self, w: str, m: str, told: str) -> None:
        """Ask for a message, or ask again."""
        worker = self._worker(w)
        if worker.pc == "idle":
            worker.nonce = next(self._nonces)
        epoch = self._seen(IDS[m]).epoch
        answer = self._asked(worker, "claims", told, lambda: self.d.ask(IDS[m], SESSION, w))
        if self._seen(IDS[m]).epoch > epoch:
            self.truth[m].owner = w
        worker.at = m
        if told == "told" and isinstance(answer, Claimed):
            worker.pc, worker.receipt = "holds", answer.receipt
        elif told == "told":
            assert isinstance(answer, NotClaimed)
            self._idle(w)

    def extend(self, w: str, m: str) -> None:
        """The keeper's."""
        worker = self._worker(w)
        if worker.receipt is not None and list(self.d.mailbox.extend([self._proof(worker)])) != ["stale"]:
            self._newest(w, m)

    def settle(self, w: str, m: str, told: str, then: str) -> None:
        """End the turn, or the outcome."""
        serves = ("turns",) if then == "goes-on" else ()
        end = {"end": succeeded("e1"), "serves": serves} if m == "turn" else {}

        def command(worker: Worker) -> Settled:
            claimed = msgspec.structs.replace(EMPTY, receipt=self._proof(worker))
            return self.d.settle(claimed, **end)

        answer = self._held(w, m, "settles", told, command)
        if isinstance(answer, Settled) and answer.claimed is not None:
            successor = next(name for name in IDS if IDS[name] == answer.claimed.message.id)
            self.truth[successor].owner = w
            if told == "told":
                self.workers[w] = Worker("holds", successor, "", answer.claimed.receipt)

    def nack(self, w: str, m: str, told: str, counts: str, when: str) -> None:
        """Give back."""
        options = {"delay": 3 if when == "later" else 0, "counts": counts == "counted", "error": ""}
        tried = self._seen(IDS[m]).tried
        answer = self._held(w, m, "nacks", told, lambda worker: self.d.mailbox.nack(self._proof(worker), **options))
        if isinstance(answer, tuple) and self._first:
            self.truth[m].owner = ""
            if counts == "counted" and tried > self.retries and self._seen(IDS[m]).state != "dead":
                self.violated("BuriedByTheLastNack")

    def bury(self, w: str, m: str, told: str) -> None:
        """Make a dead letter."""
        self._held(w, m, "buries", told, lambda worker: self.d.mailbox.bury(self._proof(worker), reason="r", error=""))

    def expire(self, m: str) -> None:
        """The reaper looks."""
        del m
        self.d.mailbox.reap()

    due = expire

    def ring(self, m: str) -> None:
        """The reaper looks when it is time to ring again."""
        self.lapse(m)
        self.d.mailbox.reap()

    def revive(self, m: str) -> None:
        """An operator's replay; what is not to be revived is left as it is."""
        with suppress(WinkError):
            if self.d.mailbox.revive(Address(TENANT, SESSION, IDS[m]), by="ann").effect == "ready":
                self.truth[m].owner = ""

    # what happens around it

    def lapse(self, m: str) -> None:
        """The time of a message comes."""
        self.hand.clock.advance(max(0.0, self.d.look(IDS[m], SESSION).due - self.hand.clock.now()))

    def crash(self, w: str) -> None:
        """Nothing is remembered."""
        self._idle(w)

    def losebell(self, m: str) -> None:
        """Doorbells are no part of the store."""

    doublebell = losebell

    def replicate(self) -> None:
        """The replica follows."""
        self.replica = self.hand.keep(), {name: Truth(**vars(truth)) for name, truth in self.truth.items()}

    def failover(self) -> None:
        """The replica takes over."""
        kept, truth = self.replica
        self.hand.fall_back(kept)
        self.truth = {name: Truth(**vars(one)) for name, one in truth.items()}

    # how

    def _worker(self, w: str) -> Worker:
        return self.workers.setdefault(w, Worker())

    def _idle(self, w: str) -> None:
        self.workers[w] = Worker()
        for truth in self.truth.values():
            truth.author = "" if truth.author == w else truth.author

    def _seen(self, message: str) -> Seen:
        record = self.d.ledger.message(TENANT, SESSION, message)
        if record is None:
            return Seen()
        due = record.state in ("leased", "delayed") and record.due <= self.hand.clock.now()
        return Seen(record.state, due, record.epoch, record.deliveries, record.pardoned)

    def _proof(self, worker: Worker) -> Receipt:
        """The receipt; where the configuration does not rely on nonces, with whatever nonce the store would take."""
        receipt = worker.receipt
        assert receipt is not None
        if "nonce" in self.fence:
            return receipt
        nonce = self.hand.nonce_of(SESSION, receipt.address.message) or receipt.nonce
        return msgspec.structs.replace(receipt, nonce=nonce)

    def _asked(self, worker: Worker, pc: str, told: str, command: Callable[[], Any]) -> Any:
        """The answer of a command. One whose reply was lost is asked again with its nonce."""
        self._first = worker.pc != pc
        if not self._first and not self.hand.repeats:
            return worker.answer
        with self.hand.saying(worker.nonce):
            try:
                answer = command()
            except LeaseLostError as error:
                answer = error
        if told == "lost":
            worker.pc, worker.answer = pc, answer
        return answer

    def _held(self, w: str, m: str, pc: str, told: str, command: Callable[[Worker], Any]) -> Any:
        """The answer of a command that only the newest receipt may give; None where the worker has no receipt."""
        worker = self._worker(w)
        if worker.receipt is None:
            return None
        if worker.pc == "holds":
            worker.nonce = next(self._nonces)
        was = self._seen(IDS[m])
        answer = self._asked(worker, pc, told, lambda: command(worker))
        refused = isinstance(answer, LeaseLostError)
        if not refused and (self._first or self._seen(IDS[m]) != was):
            self._newest(w, m)
            if pc == "settles":
                self.truth[m].settled += 1
                self.truth[m].author = w
        if refused and told == "told" and not self._first and self.truth[m].author == w:
            self.violated("ToldTheTruth")
        if told == "told":
            self._idle(w)
        return answer

    def _newest(self, w: str, m: str) -> None:
        if self.truth[m].owner != w:
            self.violated("NewestOnly")

    def _judge(self, message: str, seen: Seen, retries: int) -> None:
        if self.truth[message].settled > 1:
            self.violated("RecordedOnce")
        out = seen.tried == 2 + retries and seen.state not in ("dead", "done")
        if seen.epoch != seen.deliveries or seen.tried > 2 + retries or out:
            self.violated("Bounded")

    def _judge_the_end(self, seen: dict[str, Seen]) -> None:
        outcomes = self.messages[1:]
        events = [type(event) for event in self._events]
        ends = sum(event in TERMINAL for event in events)
        resumed = sum(event.__name__ == "EvaluationResumed" for event in events)
        if ends > 1 + resumed:
            self.violated("OneEnd")
        closed = seen["turn"].state in ("done", "dead")
        made = [(ends > place) == (seen[name].state != "none") for place, name in enumerate(outcomes)]
        if (closed and ends <= resumed) or not all(made):
            self.violated("NothingLost")
        newest = outcomes[min(resumed, len(outcomes) - 1)]
        if any(seen[name].state in OPEN and (ends <= resumed or name != newest) for name in outcomes):
            self.violated("OutcomeFollowsEnd")

    def _compare(self, name: str, was: Seen, now: Seen) -> None:
        """What may not happen from one moment to the next."""
        if was.state != now.state and (was.state, now.state) not in MOVES:
            self.violated("ByTheTable")
        if now.deliveries < was.deliveries or now.pardoned < was.pardoned or now.epoch < was.epoch:
            self.violated("NeverFall")
        running = was.state == "leased" and not was.due
        if running and now.state == "leased" and now.epoch != was.epoch:
            self.violated("Hidden")
        if running and now.state == "ready" and name not in ("Nack", "Extend"):
            self.violated("HiddenFromTheReaper")


def constants(configuration: str) -> tuple[tuple[str, ...], int, frozenset[str]]:
    """What a world is told of a configuration."""
    told = dict(re.findall(r"^  (\w+) = (.*)$", configuration, re.MULTILINE))
    messages = tuple(re.findall(r'"(\w+)"', told["Message"]))
    return messages, int(told["Retries"]), frozenset(re.findall(r'"(\w+)"', told["Fence"]))


def replay(world: Any, steps: Sequence[Sequence[str]]) -> None:
    """Do the actions, one after the other."""
    for step in steps:
        world.step(*step)
