"""How one run differs from what its prompt declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from math import inf
from typing import Any, Final, Literal

from wink_tasks.core.errors import ParametersInvalidError
from wink_tasks.core.events import Json
from wink_tasks.core.kinds import are_models, check_kind, models_in
from wink_tasks.core.limits import Budget, is_number

LONGEST_KEY: Final = 1_000
"""Characters of an idempotency key."""

KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "session": (str, "text (of a Session: use session.id)"),
    **dict.fromkeys(("tenant", "queue", "idempotency_key", "task_id"), (str, "text")),
    "priority": (int, "a whole number"),
    "eta": (datetime, "an aware datetime (seconds: use countdown)"),
    **dict.fromkeys(("headers", "labels", "model_settings"), (Mapping, "names with values")),
    "budget": (Budget, "a Budget"),
}
"""What an option has to be, where nothing else would say so."""


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """How one run differs from what its prompt declares; None is "as declared".

    `deadline` is seconds from the first claim, or an aware datetime. `countdown` is seconds, `eta` an aware datetime;
    `expires` (seconds or an aware datetime) bounds the time until the start. `headers` go with the run's doorbells.
    Of all calls of a prompt with one `idempotency_key` and equal arguments, only the first starts a run, until that one
    fails or is cancelled. `canvas` is what a Celery signature attached, as JSON. Raises ParametersInvalidError.
    """

    session: str | None = None
    busy: Literal["wait", "reject"] | None = None
    tenant: str | None = None
    deadline: float | datetime | None = None
    budget: Budget | None = None
    model: str | Sequence[str] | None = None
    model_settings: Mapping[str, Json] | None = None
    labels: Mapping[str, str] | None = None
    queue: str | None = None
    countdown: float | None = None
    eta: datetime | None = None
    expires: float | datetime | None = None
    priority: int | None = None
    headers: Mapping[str, Json] | None = None
    idempotency_key: str | None = None
    task_id: str | None = None
    canvas: Mapping[str, Json] | None = None

    def __post_init__(self) -> None:
        for name, (kind, words) in KINDS.items():
            value = getattr(self, name)
            if value is not None:
                check_kind(name, value, kind, words)
        if self.model is not None and not are_models(models_in(self.model)):
            message = f'model={self.model!r} does not fit: it takes "provider:model", or several in a list'
            raise ParametersInvalidError(message)
        for name in ("deadline", "expires", "countdown"):
            value = getattr(self, name)
            moment = isinstance(value, datetime) and name != "countdown"
            number = is_number(value) and 0 <= value < inf
            if value is not None and not moment and not number:
                kinds = "seconds" if name == "countdown" else "seconds, or an aware datetime"
                message = f"{name}={value!r} does not fit: it takes {kinds}, not below zero"
                raise ParametersInvalidError(message)
        if self.busy not in (None, "wait", "reject"):
            message = f'busy={self.busy!r} does not fit: it takes "wait" or "reject"'
            raise ParametersInvalidError(message)
        if self.labels is not None and not _is_texts(self.labels):
            message = f"labels={self.labels!r} does not fit: it takes names with values that are text"
            raise ParametersInvalidError(message)
        key = self.idempotency_key
        if key is not None and not 0 < len(key) <= LONGEST_KEY:
            message = f"idempotency_key={key!r} does not fit: it takes text of 1 to {LONGEST_KEY} characters"
            raise ParametersInvalidError(message)
        if key is not None and self.task_id is not None:
            message = (
                f"task_id={self.task_id!r} and idempotency_key={key!r} both name the run: give one of them "
                f"(a member of a chain, group or chord has a task_id from Celery)"
            )
            raise ParametersInvalidError(message)

    def given(self) -> dict[str, Any]:
        """The options that are set."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}


def _is_texts(given: Mapping[Any, Any]) -> bool:
    return all(isinstance(text, str) for pair in given.items() for text in pair)
