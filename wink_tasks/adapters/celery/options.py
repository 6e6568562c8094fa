"""The options of a call, Celery's and ours, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from celery import Celery

from wink_tasks.adapters.celery.canvas import ATTACHED, TAKEN_HEADERS, attached, stamps_in
from wink_tasks.core.codec import encode
from wink_tasks.core.errors import DeclarationError, ParametersInvalidError, UnsupportedError, ValueInvalidError
from wink_tasks.core.kinds import check_kind
from wink_tasks.core.limits import Budget
from wink_tasks.core.options import KINDS, CallOptions

PUBLISHING: Final = frozenset(
    {
        "producer",
        "publisher",
        "connection",
        "retry",
        "retry_policy",
        "add_to_parent",
        "shadow",
        "replaced_task_nesting",
    }
)
"""Options of Celery's that say how a message is published; a doorbell is published our way, its run being accepted."""

LIMITS: Final = frozenset({"time_limit", "soft_time_limit"})

OWN: Final = frozenset(CallOptions.__dataclass_fields__) - {"canvas"}


def call_options(app: Celery, options: Mapping[str, Any]) -> CallOptions:
    """Celery's and our options of a call.

    Raises UnsupportedError for one that would be lost, ParametersInvalidError for one that does not fit.
    """
    given = {name: value for name, value in options.items() if value is not None}
    stamps = stamps_in(given)
    known = OWN | PUBLISHING | ATTACHED | stamps.keys()
    lost = sorted(name for name, value in given.items() if name not in known and value)
    if lost:
        limits = " (for a limit of the whole run: deadline=)" if LIMITS.intersection(lost) else ""
        message = f"a run does not take {', '.join(lost)}{limits}: it would be lost, so nothing was sent"
        raise UnsupportedError(message)
    own = {name: value for name, value in given.items() if name in OWN}
    if isinstance(own.get("budget"), Mapping):
        own["budget"] = _budget(own["budget"])
    for name in ("deadline", "eta", "expires"):
        if isinstance(own.get(name), str):
            own[name] = _moment(name, own[name])
    own["queue"] = _queue(own.get("queue"))
    own["headers"] = {**_checked(own.get("headers") or {}), **({} if not stamps else _stamped(stamps))} or None
    return CallOptions(**own, canvas=attached(app, given) or None)


def _budget(given: Mapping[str, Any]) -> Budget:
    try:
        return Budget(**given)
    except (TypeError, DeclarationError) as error:
        fields = ", ".join(Budget.__struct_fields__)
        raise ParametersInvalidError(f"budget={given!r} does not fit: {error}; it takes {fields}") from error


def _queue(queue: Any) -> str | None:
    # A kombu.Queue is its name; a member of a StrEnum is text, and has another one.
    name = queue if isinstance(queue, str) else getattr(queue, "name", queue)
    if name is not None and not isinstance(name, str):
        message = f"queue={queue!r} does not fit: it takes a name, or a kombu.Queue"
        raise ParametersInvalidError(message)
    return name


def _moment(name: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{name}={text!r} does not fit: as text it is a moment of ISO 8601, like 2030-01-31T12:00:00+00:00"
        raise ParametersInvalidError(message) from error


def _checked(headers: Any) -> dict[str, Any]:
    check_kind("headers", headers, *KINDS["headers"])
    try:
        encode(headers)
    except ValueInvalidError as error:
        message = f"headers={headers!r} are kept as JSON: {error}"
        raise ParametersInvalidError(message) from error
    if clash := sorted(TAKEN_HEADERS & headers.keys()):
        message = f"headers: {', '.join(clash)} mean something to Celery: choose other names"
        raise ParametersInvalidError(message)
    return dict(headers)


def _stamped(stamps: Mapping[str, Any]) -> dict[str, Any]:
    return {"stamped_headers": sorted(stamps), "stamps": dict(stamps)}
