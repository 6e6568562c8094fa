"""Letting an evaluation go on that failed, from its last good point: its answers and tool results stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from wink_tasks.core.delivery import Message
from wink_tasks.core.errors import NotDeadError, NotResumableError, ParametersInvalidError, UnknownPromptError
from wink_tasks.core.evaluation import DEATHS, EvaluationState
from wink_tasks.core.events import Changed, Recorded, StepDied
from wink_tasks.core.ids import OUTCOME, TURN, outcome_id, resumed_turn_id
from wink_tasks.core.kinds import check_kind, models_in
from wink_tasks.core.limits import Budget
from wink_tasks.core.options import CallOptions
from wink_tasks.core.resumption import ended_evaluation, refuse_for_good, refuse_gone_on
from wink_tasks.core.session import SessionState, fold
from wink_tasks.ports.ledger import EvaluationRecord
from wink_tasks.ports.mailbox import Address, Reopened, Reopening, Revived
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.submit import epoch_of

EARLY_AGAIN: Final = 0.1
"""Seconds until it is looked again whether an evaluation's end was told to Celery."""

EARLY_AT_MOST: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """Resumes evaluations. `work` lets time pass in a process without workers, `check_models` refuses unknown ones."""

    parts: Parts
    visibility_timeout: float
    work: Callable[[float], object]
    check_models: Callable[[str, Sequence[str]], None]

    def resume(self, record: EvaluationRecord, *, by: str, **terms: Any) -> None:
        """Let the evaluation go on, by changed `terms`. Where its end is on its way to Celery, that is waited for.

        Raises NotResumableError, UnknownPromptError, ParametersInvalidError, DeclarationError for an unknown model.
        """
        clock, changed = self.parts.clock, _changed(self.parts.clock.now(), **terms)
        if changed is not None and changed.models:
            self.check_models(record.prompt, changed.models)
        ends_at = clock.monotonic() + EARLY_AT_MOST
        while True:
            state, records = self._read(record)
            done = self._try(record, state, records, changed, by)
            self.parts.ringer.ring(done.doorbells)
            if done.effect in ("reopened", "ready", "waiting"):
                return
            if done.effect == "early" and clock.monotonic() >= ends_at:
                raise NotResumableError(
                    f"the end of run {record.id} was not told to Celery yet: try again in a moment (is a worker there?)"
                )
            if done.effect == "early":
                self.parts.ledger.wait(record.tenant, record.session, after=state.seq, timeout=EARLY_AGAIN)
                self.work(EARLY_AGAIN)

    def _read(self, record: EvaluationRecord) -> tuple[SessionState, Sequence[Recorded]]:
        records = self.parts.ledger.read(record.tenant, record.session)
        return fold(SessionState(reducers=self.parts.registry.reducers), records), records

    def _try(
        self,
        record: EvaluationRecord,
        state: SessionState,
        records: Sequence[Recorded],
        changed: Changed | None,
        by: str,
    ) -> Revived | Reopened:
        evaluation, now = ended_evaluation(state, record.id), self.parts.clock.now()
        refuse_for_good(evaluation, changed, seconds=max(0.0, now - record.ended_at), now=now)
        refuse_gone_on(state, records, record.id)
        if changed is None and getattr(evaluation.end, "code", "") in DEATHS:
            died = [one.event for one in records if one.evaluation == record.id and isinstance(one.event, StepDied)]
            try:  # its own message keeps its place in the mailbox, and a durable task has no other
                return self.parts.mailbox.revive(Address(record.tenant, record.session, died[-1].message), by=by)
            except NotDeadError:
                if not evaluation.terms.models:
                    raise
        ends = sum(one.id == record.id for one in state.ended)
        return self.parts.mailbox.reopen(
            self._reopening(record, evaluation, head=state.seq, ends=ends, changed=changed, by=by)
        )

    def _reopening(
        self,
        record: EvaluationRecord,
        evaluation: EvaluationState,
        *,
        head: int,
        ends: int,
        changed: Changed | None,
        by: str,
    ) -> Reopening:
        prompt = self.parts.registry.prompts.get(record.prompt)
        if prompt is None:
            message = f"no prompt is called {record.prompt!r} here: resume run {record.id} where it is declared"
            raise UnknownPromptError(message)
        turn = evaluation.turns + (evaluation.stood != "answered")
        common = {
            "mailbox": record.mailbox,
            "tenant": record.tenant,
            "session": record.session,
            "evaluation": record.id,
            "visibility_timeout": self.visibility_timeout,
            "trace": self.parts.tracer.headers(),
        }
        limit = evaluation.deadline_at if changed is None or changed.deadline_at is None else changed.deadline_at
        return Reopening(
            message=Message(
                id=resumed_turn_id(record.id, turn, ends),
                kind="turn",
                task=f"{prompt.name}{TURN}",
                turn=turn,
                limit_at=limit,
                shown=f"turn={turn}",
                **common,  # type: ignore[arg-type]  # passed through to Message
            ),
            outcome=Message(id=outcome_id(record.id), kind="outcome", task=f"{prompt.name}{OUTCOME}", **common),  # type: ignore[arg-type]
            head=head,
            changed=changed,
            by=by,
        )


def _changed(
    now: float,
    *,
    budget: Budget | None,
    deadline: float | datetime | None,
    model: str | Sequence[str] | None,
    max_turns: int | None,
) -> Changed | None:
    CallOptions(deadline=deadline, budget=budget, model=model)
    if max_turns is not None:
        check_kind("max_turns", max_turns, int, "a whole number")
        if max_turns < 1:
            raise ParametersInvalidError(f"max_turns={max_turns!r} does not fit: it takes a number from 1 on")
    seconds = None if isinstance(deadline, datetime) else deadline
    at = epoch_of("deadline", deadline) if isinstance(deadline, datetime) else None
    changed = Changed(
        budget=budget,
        deadline=seconds,
        deadline_at=at if seconds is None else now + seconds,
        models=() if model is None else models_in(model),
        max_turns=max_turns,
    )
    return None if changed == Changed() else changed
