"""Why a run stands where it stands, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from wink_tasks.core.events import EvaluationCancelled, EvaluationFailed
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.fleet import Fleet, Worker
from wink_tasks.ports.ledger import EvaluationRecord, Ledger, MessageRecord


def explain(record: EvaluationRecord, *, ledger: Ledger, fleet: Fleet, clock: Clock) -> str:
    """What the run waits for, who works on it, or how it ended."""
    if record.ended_seq:
        return _ended(record, ledger)
    if record.status == "WAITING":
        session = ledger.session(record.tenant, record.session)
        return f"waits in session {record.session!r} behind run {session.current if session else '?'}"
    found = [ledger.message(record.tenant, record.session, message) for message in record.open_messages]
    messages = sorted((one for one in found if one is not None), key=lambda one: _ORDER.index(one.state))
    asked = "; cancel was requested" if record.cancelled else ""
    if not messages:
        return f"has no open message{asked}"
    return _open(messages[0], fleet.workers(), clock.now()) + asked


_ORDER = ("leased", "ready", "delayed", "done", "dead")


def _ended(record: EvaluationRecord, ledger: Ledger) -> str:
    last = ledger.read(record.tenant, record.session, after=record.ended_seq - 1, count=1)[0].event
    if isinstance(last, EvaluationFailed):
        return f"failed: {last.code}: {last.message}"
    if isinstance(last, EvaluationCancelled):
        return f"was cancelled: {last.reason}"
    return "succeeded"


def _open(message: MessageRecord, workers: Sequence[Worker], now: float) -> str:
    what = f"{message.kind} {message.id}"
    tried = f", delivery {message.deliveries}" if message.deliveries > 1 else ""
    fault = f", last error: {message.error}" if message.error else ""
    if message.state == "leased":
        return f"{what} is leased by {message.owner}{tried}{fault}"
    if message.state == "delayed":
        left = f" for {max(0.0, message.due - now):.0f} s more" if message.due else ""
        return f"{what} is delayed{left}{tried}{fault}"
    if not any(message.mailbox in worker.mailboxes for worker in workers):
        return f"{what} is ready, but no live worker serves mailbox {message.mailbox!r} (start one with -Q)"
    return f"{what} is ready in mailbox {message.mailbox!r}{tried}{fault}"
