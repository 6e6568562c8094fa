"""The shell around every step: claim, do what core decides, settle, ring; and go on with what follows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from hashlib import blake2b
from traceback import format_exception

from msgspec import structs

from wink_tasks.core.codec import clean
from wink_tasks.core.errors import (
    LeaseLostError,
    LedgerUnavailableError,
    ReducerFailedError,
    RollbackFailedError,
    WinkError,
)
from wink_tasks.core.events import EvaluationAccepted, EvaluationFailed, EvaluationSucceeded, Recorded, Terminal
from wink_tasks.core.ids import OUTCOME, TURN
from wink_tasks.core.redaction import redact
from wink_tasks.core.retry import backoff
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.snapshots import due
from wink_tasks.ports.mailbox import Address, Claimed, Doorbell, NotClaimed, Settled, Settlement
from wink_tasks.ports.work import Observer, StepEnd
from wink_tasks.runtime.call import work_call
from wink_tasks.runtime.last import LastDeliveries
from wink_tasks.runtime.outcome import work_outcome
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.pausing import held_back
from wink_tasks.runtime.session import snapshot_of
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.task import limit_of, work_task
from wink_tasks.runtime.turn import work_turn
from wink_tasks.runtime.work import Buried, Postponed, Result, Worked

log = logging.getLogger(__name__)

SETTLE_AGAIN = 1.0
"""Seconds between two tries to settle while the store is away."""

LAST_AGAIN = 1.0
"""Seconds after which a message on its last delivery, that another one of that kind kept out, is tried again; about."""


class Steps:
    """Runs steps in this process. One instance serves all threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._last = LastDeliveries()
        self._closing = False
        self._leaving = threading.Event()

    @property
    def closing(self) -> bool:
        """See `ports.work`."""
        return self._closing

    def close(self) -> None:
        """Claim nothing, and go on with nothing: each slot ends with the step in its hands."""
        self._closing = True

    def give_up(self) -> None:
        """Beside that, give up what cannot be settled because the store is away."""
        self._closing = True
        self._leaving.set()

    def run(self, address: Address, task: str, *, serves: Collection[str], observer: Observer) -> StepEnd:
        """See `ports.work`."""
        parts = self._parts
        turn = task not in parts.registry.tasks and not task.endswith(OUTCOME)
        after = parts.cache.known(address.tenant, address.session)
        put_off = LAST_AGAIN * (0.5 + parts.draw()) if self._last.claiming(address) else 0.0
        claimed: Claimed | NotClaimed | None = None
        try:
            claimed = parts.mailbox.claim(
                address, task=task, owner=parts.actor, after=after if turn else None, patient=True, put_off=put_off
            )
        finally:
            if not isinstance(claimed, Claimed):
                self._last.not_claimed(address)
        if isinstance(claimed, NotClaimed):
            parts.ringer.ring(claimed.doorbells)
            return self._not_claimed(address, claimed)
        began = parts.clock.monotonic()
        steps, first = 0, StepEnd(kind="absent")
        while claimed is not None:
            steps += 1
            elapsed = parts.clock.monotonic() - began
            go_on = steps < parts.continuation_steps and elapsed < parts.continuation_seconds
            claimed, end = self._step(claimed, serves if go_on else (), observer, first=steps == 1)
            if steps == 1:
                first = end
                if end.error is not None:
                    raise end.error
        return first

    def _not_claimed(self, address: Address, answer: NotClaimed) -> StepEnd:
        """What is told of a message that was not to be had: what nobody ever worked on was closed by a cancellation."""
        if answer.reason == "dead":
            return StepEnd(
                kind="dead", reason=f"{address.message} is a dead letter: it was tried as often as it may be"
            )
        if answer.reason == "gone":
            record = self._parts.ledger.message(address.tenant, address.session, address.message)
            if record is not None and record.state == "done" and record.deliveries == 0:
                return StepEnd(kind="revoked", reason="its evaluation ended before it began")
        return StepEnd(kind="absent", reason=answer.reason)

    def _step(
        self, claimed: Claimed, serves: Collection[str], observer: Observer, *, first: bool
    ) -> tuple[Claimed | None, StepEnd]:
        parts, message = self._parts, claimed.message
        stop = Stop()
        began = parts.clock.monotonic()
        ended = StepEnd(kind="absent")
        try:
            if not first:
                observer.began(message)
            parts.keeper.hold(claimed.receipt, limit=self._limit(claimed), stop=stop)
            name = "wink.prompt.evaluate" if message.kind == "turn" else f"wink.{message.kind}"
            attributes = {"wink.task": message.task, "wink.run": message.evaluation, "wink.turn": message.turn}
            with (
                parts.tracer.span(name, attributes, parent=message.trace),
                parts.interrupts.working(stop),
            ):
                result = self._work(claimed, stop)
            if not isinstance(result, Worked):
                parts.ringer.ring(self._given_back(claimed, result))
                ended = _end_of(result, revoked=claimed.cancelled or stop.cancelled)
                return None, ended
            go_on = () if self._closing or (first and result.error is not None) else serves
            if result.end is not None:
                go_on = (message.mailbox,)  # the outcome is the settler's own to deliver
            settled = self._recorded(claimed, result, go_on)
            ended = StepEnd(kind="revoked" if result.cut else "settled", error=result.error)
        except LeaseLostError as lost:
            self._lost(claimed, stop, lost)
            return None, StepEnd(kind="absent", reason=str(lost))
        finally:
            self._last.over(claimed)
            parts.keeper.release(claimed.receipt)
            if not first:
                observer.ended(message, parts.clock.monotonic() - began, ended)
        parts.ringer.ring(settled.doorbells)
        self._measure(claimed, result.end, settled)
        return self._remembered(claimed, result, settled), ended

    def _given_back(self, claimed: Claimed, result: Postponed | Buried) -> tuple[Doorbell, ...]:
        error, mailbox = clean(redact(result.error)), self._parts.mailbox
        if isinstance(result, Buried):
            return mailbox.bury(claimed.receipt, reason=result.reason, error=error, code=result.code)
        return mailbox.nack(
            claimed.receipt,
            delay=result.delay,
            counts=result.counts,
            error=error,
            traceback=clean(redact(result.traceback)),
            paused=clean(redact(result.paused)),
        )

    def _work(self, claimed: Claimed, stop: Stop) -> Result:
        parts, message = self._parts, claimed.message
        if not self._last.admit(claimed):
            return Postponed(LAST_AGAIN * (0.5 + parts.draw()), "", counts=False)
        if claimed.cancelled and message.kind != "outcome":
            return Postponed(0.0, "its evaluation was cancelled", counts=False)
        if message.kind != "outcome" and (held := held_back(parts, claimed)) is not None:
            return held
        if claimed.paused:
            after = parts.cache.known(message.tenant, message.session)
            claimed = parts.mailbox.resume(claimed.receipt, after=after if message.kind == "turn" else None)
        try:
            match message.kind:
                case "turn":
                    return work_turn(parts, claimed, stop)
                case "call":
                    return work_call(parts, claimed, stop)
                case "task":
                    return work_task(parts, claimed, stop)
                case _:
                    return work_outcome(parts, claimed)
        except (LedgerUnavailableError, LeaseLostError):
            raise
        except Exception as error:  # noqa: BLE001 - a step's own error costs a delivery, not a worker
            trace = redact("".join(format_exception(error)))
            log.error("step %s failed (delivery %d):\n%s", message.id, claimed.deliveries, trace)  # noqa: TRY400 - redacted
            parts.metrics.counter("wink.errors", 1, {"type": type(error).__name__})
            delay = backoff(claimed.deliveries, parts.draw())
            return Postponed(delay, f"{type(error).__name__}: {error}", counts=True, traceback=trace)

    def _recorded(self, claimed: Claimed, worked: Worked, serves: Collection[str]) -> Settled:
        """Settle, and tell the step's transaction whether it counts."""
        transaction = worked.transaction
        if transaction is None:
            return self._settle(claimed, worked, serves)
        known: bool | None = None
        try:
            settled = self._settle(claimed, worked, serves)
            known = True
        except LeaseLostError:
            known = False
            raise
        finally:
            try:
                transaction.close(settled=known)
            except RollbackFailedError as error:  # whoever has the call now puts it back, or ends its evaluation
                log.error("step %s does not count, and is not undone: %s", claimed.message.id, error)  # noqa: TRY400 - said
                self._parts.metrics.counter("wink.errors", 1, {"type": type(error).__name__})
        return settled

    def _settle(self, claimed: Claimed, worked: Worked, serves: Collection[str]) -> Settled:
        """Repeated until it is answered: the outcome may have been paid for."""
        parts = self._parts
        address = claimed.receipt.address
        settlement = Settlement(
            receipt=claimed.receipt,
            actor=parts.actor,
            nonce=blake2b(claimed.receipt.nonce.encode(), digest_size=8).hexdigest(),
            events=worked.events,
            messages=worked.messages,
            end=worked.end,
            serves=serves,
            after=parts.cache.known(address.tenant, address.session) or None,
        )
        while True:
            try:
                return parts.mailbox.settle(settlement)
            except LedgerUnavailableError as error:
                log.warning("outcome of %s not recorded yet: %s", claimed.message.id, error)
                if self._leaving.wait(SETTLE_AGAIN):
                    raise

    def _remembered(self, claimed: Claimed, worked: Worked, settled: Settled) -> Claimed | None:
        """Bring the kept session to the end of this settlement, where it is known up to its beginning.

        What is returned is the successor, without the tail that is folded already.
        """
        successor, cache = settled.claimed, self._parts.cache
        state = cache.get(claimed.receipt.address.tenant, claimed.receipt.address.session)
        between = () if successor is None else successor.tail
        if state is None or state.seq + len(between) + 1 != settled.first:
            return successor
        own = worked.events if worked.end is None else (*worked.events, worked.end)
        records = [Recorded(settled.first + place, 0.0, self._parts.actor, event) for place, event in enumerate(own)]
        try:
            after = fold(fold(state, between), records)
        except ReducerFailedError as error:  # it is recorded all the same: whoever reads it next tells of it
            log.warning("what %s recorded cannot be folded: %s", claimed.message.id, error)
            return successor
        cache.keep(after)
        self._snapshot(state.seq, after)
        return None if successor is None else structs.replace(successor, tail=())

    def _lost(self, claimed: Claimed, stop: Stop, lost: LeaseLostError) -> None:
        """Say that a step was worked on in vain."""
        message = claimed.message
        if stop.why == "handed back":
            log.info("step %s was handed back before it ended; another worker has it", message.id)
            return
        log.warning("step %s of %s does not count: %s", message.id, message.task, lost)
        self._parts.metrics.counter("wink.mailbox.leases_lost", 1, {"task": message.task})

    def _snapshot(self, before: int, after: SessionState) -> None:
        """Nothing depends on it: whoever finds none reads the ledger."""
        if not due(before, after.seq):
            return
        try:
            self._parts.ledger.keep_snapshot(after.tenant, after.session, snapshot_of(after))
        except WinkError as error:
            log.warning("no snapshot of session %r: %s", after.session, error)

    def _limit(self, claimed: Claimed) -> float:
        """For how long the keeper renews, in seconds: the step's own limit."""
        if claimed.message.kind == "task":
            own = limit_of(self._parts, claimed)
        else:
            tool = self._parts.registry.tools.get(claimed.message.task)
            own = None if tool is None else tool.timeout
        return own if own is not None else self._parts.step_limit

    def _measure(self, claimed: Claimed, end: Terminal | None, settled: Settled) -> None:
        if not settled.ended or claimed.message.kind == "outcome":
            return
        status = "cancelled"
        if isinstance(end, EvaluationSucceeded | EvaluationFailed):
            status = "success" if isinstance(end, EvaluationSucceeded) else "failure"
        prompt = claimed.message.task.removesuffix(TURN)
        if claimed.message.kind == "call" and isinstance(accepted := claimed.read[0].event, EvaluationAccepted):
            prompt = accepted.prompt
        seconds = max(0.0, self._parts.clock.now() - claimed.started_at)
        self._parts.metrics.histogram("wink.prompt.duration_seconds", seconds, {"prompt": prompt, "status": status})
        if isinstance(end, EvaluationFailed):
            self._parts.metrics.counter("wink.errors", 1, {"type": end.code})


def _end_of(result: Postponed | Buried, *, revoked: bool) -> StepEnd:
    if isinstance(result, Buried):
        return StepEnd(kind="dead", reason=redact(result.error or result.reason))
    return StepEnd(kind="revoked" if revoked else "returned", reason=redact(result.error), delay=result.delay)
