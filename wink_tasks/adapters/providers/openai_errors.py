"""What went wrong with a request, in the words of the one tree of errors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import (
    ContextTooLongError,
    ProviderError,
    ProviderUnavailableError,
    RequestRejectedError,
    ThrottledError,
)
from wink_tasks.core.events import Json
from wink_tasks.core.redaction import MASK, redact

LONGEST: Final = 1_000
"""Characters of what a server says that are kept."""

_THROTTLED: Final = 429
_TOO_LARGE: Final = 413
_INTERNAL: Final = 500
_PASSING: Final = frozenset({408, 409})
_NO_MONEY: Final = "insufficient_quota"
# OpenAI's code, and the type that llama.cpp gives; vLLM tells it in words only.
_TOO_LONG: Final = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_TOO_LONG_IN_WORDS: Final = "maximum context length"


def words(text: str, secret: str | None) -> str:
    """`text` as it may be recorded: short, without credentials, and without `secret` whatever its shape."""
    return redact(text.replace(secret, MASK) if secret else text)[:LONGEST]


def status_failure(
    status: int, headers: Mapping[str, str], body: Json, *, server: str, secret: str | None, now: datetime
) -> ProviderError:
    """The error for an answer of that status; `body` is what was under its "error", or all of it."""
    told = body if isinstance(body, dict) else {"message": body}
    said = told.get("message") or body or "nothing more"
    text = said if isinstance(said, str) else encode(said).decode()
    message = words(f"{server} answers {status}: {text}", secret)
    codes = {str(told.get("code")), str(told.get("type"))}
    if status == _THROTTLED and _NO_MONEY not in codes:
        return ThrottledError(message, retry_after(headers, now))
    if status >= _INTERNAL or status in _PASSING:
        return ProviderUnavailableError(message)
    if status == _TOO_LARGE or codes & _TOO_LONG or _TOO_LONG_IN_WORDS in text:
        return ContextTooLongError(message)
    return RequestRejectedError(message)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The pause in seconds that the headers ask for; None where they ask for none."""
    for name, unit in (("retry-after-ms", 1_000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if isfinite(seconds):
            return max(0.0, seconds)
    try:
        at = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
