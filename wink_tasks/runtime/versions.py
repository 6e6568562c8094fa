"""What a worker does whose definition is not the one that a run goes by: see `on_change`."""

from __future__ import annotations

from typing import Final

from wink_tasks.core.events import EvaluationFailed, PromptChanged
from wink_tasks.core.prompt import PromptDefinition
from wink_tasks.core.task import TaskDefinition
from wink_tasks.runtime.work import Postponed, Worked

UNKNOWN_HERE: Final = 5.0
"""Seconds until what this worker does not know, or knows otherwise, is offered again."""

PARAMS_CHANGED: Final = "its recorded parameters do not fit any more"
"""Why a message is a dead letter whose run was accepted with other parameters."""

_DIGITS: Final = 12


def change(
    definition: PromptDefinition | TaskDefinition, evaluation: str, digest: str, version: str
) -> PromptChanged | None:
    """The change from what a run went by so far to what is declared here; None where that is the same."""
    if (definition.digest, definition.version) == (digest, version):
        return None
    return PromptChanged(
        evaluation=evaluation,
        before=digest,
        digest=definition.digest,
        version_before=version,
        version=definition.version,
    )


def halted(
    definition: PromptDefinition | TaskDefinition, changed: PromptChanged, *, actor: str, left: float | None
) -> Postponed | Worked | None:
    """What becomes of a step that is not to go on with the change; None where it is.

    `left` are the seconds to the deadline, None without one.
    """
    if definition.on_change == "continue":
        return None
    old, new = _named(changed.before, changed.version_before), _named(changed.digest, changed.version)
    what = f"{definition.name} is {new} at worker {actor}, and the run goes by {old}"
    if definition.on_change == "fail":
        end = EvaluationFailed(
            evaluation=changed.evaluation, code="PromptChangedError", message=f"{what} (on_change='fail')"
        )
        return Worked(end=end)
    if left is not None and left <= 0:
        late = f"the deadline passed while it was parked: {what}"
        return Worked(end=EvaluationFailed(evaluation=changed.evaluation, code="DeadlineExceededError", message=late))
    pause = UNKNOWN_HERE if left is None else min(UNKNOWN_HERE, left)
    return Postponed(pause, f"parked until a worker with the old one takes it: {what}", counts=False)


def _named(digest: str, version: str) -> str:
    return f"version {version} ({digest[:_DIGITS]})" if version else digest[:_DIGITS]
