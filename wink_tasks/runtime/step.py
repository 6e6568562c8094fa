"""The shell around every step: claim, do what core decides, settle, ring; and go on with what follows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from hashlib import blake2b
from traceback import format_exception

from msgspec import structs

from wink_tasks.core.codec import clean
from wink_tasks.core.errors import LeaseLostError, LedgerUnavailableError
from wink_tasks.core.events import EvaluationAccepted, EvaluationFailed, EvaluationSucceeded, Recorded, Terminal
from wink_tasks.core.ids import OUTCOME, TURN
from wink_tasks.core.redaction import redact
from wink_tasks.core.retry import backoff
from wink_tasks.core.session import fold
from wink_tasks.ports.mailbox import Address, Claimed, NotClaimed, Settled, Settlement
from wink_tasks.ports.work import Observer
from wink_tasks.runtime.call import work_call
from wink_tasks.runtime.outcome import work_outcome
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.turn import work_turn
from wink_tasks.runtime.work import Postponed, Result, Worked

log = logging.getLogger(__name__)

SETTLE_AGAIN = 1.0
"""Seconds between two tries to settle while the store is away."""


class Steps:
    """Runs steps in this process. One instance serves all threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._closing = threading.Event()

    def close(self) -> None:
        """Go on with nothing, and give up what cannot be settled while the store is away."""
        self._closing.set()

    def run(self, address: Address, task: str, *, serves: Collection[str], observer: Observer) -> bool:
        """See `ports.work`."""
        parts = self._parts
        turn = task not in parts.registry.tools and not task.endswith(OUTCOME)
        after = parts.cache.known(address.tenant, address.session)
        claimed: Claimed | NotClaimed | None = parts.mailbox.claim(
            address, task=task, owner=parts.actor, after=after if turn else None
        )
        if isinstance(claimed, NotClaimed):
            parts.ringer.ring(claimed.doorbells)
            return False
        began = parts.clock.monotonic()
        steps = 0
        while claimed is not None:
            steps += 1
            elapsed = parts.clock.monotonic() - began
            go_on = steps < parts.continuation_steps and elapsed < parts.continuation_seconds
            claimed, error = self._step(claimed, serves if go_on else (), observer, first=steps == 1)
            if error is not None and steps == 1:
                raise error
        return True

    def _step(
        self, claimed: Claimed, serves: Collection[str], observer: Observer, *, first: bool
    ) -> tuple[Claimed | None, Exception | None]:
        parts, message = self._parts, claimed.message
        stop = Stop()
        began = parts.clock.monotonic()
        parts.keeper.hold(claimed.receipt, limit=self._limit(claimed), stop=stop)
        error: Exception | None = None
        try:
            if not first:
                observer.began(message)
            name = "wink.prompt.evaluate" if message.kind == "turn" else f"wink.{message.kind}"
            attributes = {"wink.task": message.task, "wink.run": message.evaluation, "wink.turn": message.turn}
            with parts.tracer.span(name, attributes, parent=message.trace):
                result = self._work(claimed, stop)
            if isinstance(result, Postponed):
                doorbells = parts.mailbox.nack(
                    claimed.receipt, delay=result.delay, counts=result.counts, error=clean(redact(result.error))
                )
                parts.ringer.ring(doorbells)
                return None, None
            error = result.error
            go_on = () if self._closing.is_set() or (first and error is not None) else serves
            if result.end is not None:
                go_on = (message.mailbox,)  # the outcome is the settler's own to deliver
            settled = self._settle(claimed, result, go_on)
        except LeaseLostError as lost:
            log.warning("step %s does not count: %s", message.id, lost)
            return None, None
        finally:
            parts.keeper.release(claimed.receipt)
            if not first:
                observer.ended(message, parts.clock.monotonic() - began, error)
        parts.ringer.ring(settled.doorbells)
        self._measure(claimed, result.end, settled)
        return self._remembered(claimed, result, settled), error

    def _work(self, claimed: Claimed, stop: Stop) -> Result:
        parts, message = self._parts, claimed.message
        if claimed.cancelled and message.kind != "outcome":
            return Postponed(0.0, "its evaluation was cancelled", counts=False)
        try:
            match message.kind:
                case "turn":
                    return work_turn(parts, claimed, stop)
                case "call":
                    return work_call(parts, claimed, stop)
                case _:
                    return work_outcome(parts, claimed)
        except LedgerUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - a step's own error costs a delivery, not a worker
            trace = redact("".join(format_exception(error)))
            log.error("step %s failed (delivery %d):\n%s", message.id, claimed.deliveries, trace)  # noqa: TRY400 - redacted
            parts.metrics.counter("wink.errors", 1, {"type": type(error).__name__})
            return Postponed(backoff(claimed.deliveries, parts.draw()), f"{type(error).__name__}: {error}", counts=True)

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
                if self._closing.wait(SETTLE_AGAIN):
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
        cache.keep(fold(fold(state, between), records))
        return None if successor is None else structs.replace(successor, tail=())

    def _limit(self, claimed: Claimed) -> float:
        """For how long the keeper renews, in seconds: the step's own limit."""
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
