"""Statuses, codes and headers of OpenAI and of servers like it, as errors."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wink_tasks.adapters.providers.openai_errors import retry_after, status_failure, words
from wink_tasks.core.errors import (
    ContextTooLongError,
    ProviderUnavailableError,
    RequestRejectedError,
    ThrottledError,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def failure(status, body=None, key=None, **headers):
    return status_failure(status, headers, body, server="http://here/v1", secret=key, now=NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Tue, 24 Nov 2026 12:01:30 -0000"}, 90.0),
        ({"retry-after": "Tue, 24 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Tue, 24 Nov 99999999999999999999 11:00:00 GMT"}, None),
        ({"retry-after": "tomorrow"}, None),
    ],
)
def test_the_pause_that_headers_ask_for(headers, seconds):
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, {"message": "Slow down.", "code": "rate_limit_exceeded"}, ThrottledError),
        (429, {"message": "No money.", "code": "insufficient_quota"}, RequestRejectedError),
        (429, {"message": "No money.", "type": "insufficient_quota", "code": None}, RequestRejectedError),
        (500, {"message": "Oops."}, ProviderUnavailableError),
        (502, "<html>Bad gateway</html>", ProviderUnavailableError),
        (503, None, ProviderUnavailableError),
        (529, {"message": "Overloaded."}, ProviderUnavailableError),
        (408, {"message": "Timeout."}, ProviderUnavailableError),
        (409, {"message": "Conflict."}, ProviderUnavailableError),
        (400, {"message": "Bad.", "code": "invalid_value"}, RequestRejectedError),
        (401, {"message": "Who?", "code": "invalid_api_key"}, RequestRejectedError),
        (404, {"detail": "Not Found"}, RequestRejectedError),
        (400, {"message": "Too long.", "code": "context_length_exceeded"}, ContextTooLongError),
        (400, {"message": "Too long.", "code": 400, "type": "exceed_context_size_error"}, ContextTooLongError),
        (400, {"message": "This model's maximum context length is 4096 tokens.", "code": 400}, ContextTooLongError),
        (413, "Payload Too Large", ContextTooLongError),
    ],
)
def test_each_status_has_its_error(status, body, error):
    assert type(failure(status, body)) is error


def test_a_throttled_one_tells_the_pause():
    error = failure(429, {"message": "Slow down."}, **{"retry-after": "2"})
    assert isinstance(error, ThrottledError)
    assert error.retry_after == 2.0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"message": "No such model."}, "No such model."),
        ({"detail": "Not Found"}, '{"detail":"Not Found"}'),
        ("plain words", "plain words"),
        (None, "nothing more"),
        ({"message": ["a", "b"]}, '["a","b"]'),
    ],
)
def test_the_message_is_the_servers(body, told):
    assert str(failure(404, body)) == f"http://here/v1 answers 404: {told}"


def test_no_credential_is_told():
    message = str(failure(401, {"message": "wrong key: my own key, not sk-abcdefghijklmnopqrst"}, key="my own key"))
    assert message == "http://here/v1 answers 401: wrong key: ***, not ***"


def test_words_are_short():
    assert len(words("x" * 5_000, None)) == 1_000
