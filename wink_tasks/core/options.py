"""How one run differs from what its prompt declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from math import inf
from typing import Any, Literal

from wink_tasks.core.errors import ParametersInvalidError
from wink_tasks.core.events import Json
from wink_tasks.core.limits import Budget


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """How one run differs from what its prompt declares; None is "as declared".

    `deadline` is seconds from the first claim, or an aware datetime. `countdown` is seconds, `eta` an aware datetime;
    `expires` (seconds or an aware datetime) bounds the time until the start. Raises ParametersInvalidError.
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
    task_id: str | None = None

    def __post_init__(self) -> None:
        for name in ("deadline", "expires", "countdown"):
            value = getattr(self, name)
            moment = isinstance(value, datetime) and name != "countdown"
            number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf
            if value is not None and not moment and not number:
                kinds = "seconds" if name == "countdown" else "seconds, or an aware datetime"
                message = f"{name}={value!r} does not fit: it takes {kinds}, not below zero"
                raise ParametersInvalidError(message)
        if self.busy not in (None, "wait", "reject"):
            message = f'busy={self.busy!r} does not fit: it takes "wait" or "reject"'
            raise ParametersInvalidError(message)

    def given(self) -> dict[str, Any]:
        """The options that are set."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
