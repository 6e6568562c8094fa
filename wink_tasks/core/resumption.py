"""Whether an evaluation that ended can go on, and from where. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wink_tasks.core.errors import NotResumableError
from wink_tasks.core.evaluation import DEATHS, FOR_GOOD, EvaluationState, advance, limit_of
from wink_tasks.core.events import (
    TERMINAL,
    Changed,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationResumed,
    Recorded,
)
from wink_tasks.core.session import SessionState


def ended_evaluation(state: SessionState, evaluation: str) -> EvaluationState:
    """The evaluation as it ended last. Raises NotResumableError where it has not."""
    if evaluation in state.open:
        raise NotResumableError(f"run {evaluation} has not ended: only one that failed is resumed")
    return next(one for one in reversed(tuple(state.ended)) if one.id == evaluation)


def refuse_gone_on(state: SessionState, records: Sequence[Recorded], evaluation: str) -> None:
    """Raise NotResumableError where the session went on without the evaluation since it ended.

    What others said since would stand in the middle of its part of the transcript.
    """
    mine = [one.seq for one in records if one.evaluation == evaluation and isinstance(one.event, TERMINAL)]
    ended = mine[-1]
    others = (one.evaluation for one in records[ended:] if one.evaluation not in ("", evaluation))
    other = next(others, None) or next(iter(state.open), None)
    if other is not None:
        raise NotResumableError(
            f"session {state.session!r} went on after run {evaluation} had ended, with run {other}: fork the session "
            f"at event {ended - 1}, before that end, and start a run in the fork"
        )


def refuse_for_good(state: EvaluationState, changed: Changed | None, *, seconds: float, now: float) -> None:
    """Raise NotResumableError where the evaluation ended otherwise than as failed, or would fail at once again.

    `seconds` is how long its clock stood still, `now` epoch seconds.
    """
    if reason := _why_not(state, changed, seconds, now):
        raise NotResumableError(f"run {state.id} cannot be resumed: {reason}")


def _why_not(state: EvaluationState, changed: Changed | None, seconds: float, now: float) -> str:
    end = state.end
    if isinstance(end, EvaluationCancelled) or state.cancel_requested:
        return "it was cancelled; fork its session to go on from there"
    if not isinstance(end, EvaluationFailed):
        return "it succeeded"
    if end.code in FOR_GOOD:
        return f"it ended for good, by {end.code}; fork its session before that, or start another run"
    if not state.terms.models:
        one_step = "a durable task has one step: start another run"
        return one_step if end.code not in DEATHS or changed is not None else ""
    after = advance(state, EvaluationResumed(evaluation=state.id, seconds=seconds, changed=changed))
    limit = limit_of(after, now) if after.phase == "asking" else None
    return f"it would end at once again: {limit.message}; give another budget, deadline or max_turns" if limit else ""
