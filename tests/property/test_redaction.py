from __future__ import annotations

import json
from string import ascii_letters, digits
from urllib.parse import quote

import pytest
from hypothesis import example, given, strategies as st

from wink_tasks.core.redaction import MASK, redact

KEYS = st.sampled_from(
    "password DB_PASSWORD api_key apiKey APIKey OPENAI_API_KEY x-api-key Authorization access_token clientSecret"  # noqa: SIM905 - one a line is long
    " secret.value aws_secret_access_key Set-Cookie private-key auth".split()
)
# Of a kind that does not occur by chance in what surrounds it.
SECRETS = st.text(ascii_letters + digits + "_~+-", min_size=8, max_size=40).map(lambda text: f"Zq9{text}")
SURROUNDINGS = st.text(max_size=30).filter(lambda text: "Zq9" not in text)
PIECES = ["password", "error", "Bearer ", "=", ": ", '"', "'", "\\", " ", "\n", "://", "@", "abcdefgh", ",", MASK, "{"]
FRAGMENTS = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | FRAGMENTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(SURROUNDINGS, st.sampled_from(["redis", "rediss", "amqp", "https"]), st.text(min_size=0, max_size=8), SECRETS)
def test_a_url_loses_its_user_and_keeps_its_host(before: str, scheme: str, user: str, secret: str) -> None:
    shown = redact(f"{before} {scheme}://{quote(user, safe='')}:{secret}@host:6379/0 refused")
    assert secret not in shown
    assert "@host:6379/0 refused" in shown


@given(
    SURROUNDINGS.map("{} ".format) | st.sampled_from(["KeyError: '", "error: ", 'x="', "a=", '{"body": "{\\"']),
    KEYS,
    st.sampled_from(["=", ": ", " = ", " == ", '": "', "': '", '\\": \\"', "=Bearer ", ": Basic "]),
    SECRETS,
)
def test_a_key_that_tells_of_a_credential_loses_its_value_in_text(
    before: str, key: str, between: str, secret: str
) -> None:
    assert secret not in redact(f"{before}{key}{between}{secret}")


@given(KEYS, SECRETS | st.lists(SECRETS, min_size=1) | st.integers(), SURROUNDINGS)
def test_a_key_that_tells_of_a_credential_loses_its_value_in_a_mapping(key: str, secret: object, beside: str) -> None:
    assert redact({"request": [{key: secret}, beside]}) == {"request": [{key: MASK}, redact(beside)]}


@given(SHAPES)
@example({"password": None})
def test_what_is_masked_keeps_its_shape_and_is_masked_once(value: object) -> None:
    once = redact(value)
    assert type(once) is type(value)
    assert redact(once) == once


@given(KEYS, SECRETS)
def test_json_stays_json(key: str, secret: str) -> None:
    body = {"n": 1, key: secret, "inner": [{key: f'"{secret}'}, {key: None}], "text": json.dumps({key: secret})}
    masked = {"n": 1, key: MASK, "inner": [{key: MASK}, {key: None}], "text": json.dumps({key: MASK})}
    assert json.loads(redact(json.dumps(body))) == masked


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdefghij0123456789",
        "ghp_abcdefghijklmnopqrst0123",
        "github_pat_abcdefghijklmnopqrst",
        "xoxb-0123456789-abc",
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    ],
)
def test_a_token_of_known_shape_is_masked_wherever_it_stands(text: str) -> None:
    assert redact(f"Incorrect API key provided: {text}.") == f"Incorrect API key provided: {MASK}."
    assert redact((text, [text])) == (MASK, [MASK])


@pytest.mark.parametrize(
    "value",
    [
        "unexpected token: ')' in line 3",
        "the author of https://example.org/@somebody wrote total_tokens=12, tokens: 7",
        "key=value; monkey=banana; sort_key: name",
        {"input_tokens": 12, "key": "name", "author": "me", 3: "three"},
        {"password": None},
    ],
)
def test_what_is_no_credential_stays(value: object) -> None:
    assert redact(value) == value


def test_a_short_text_and_a_megabyte_cost_the_same_a_character() -> None:
    blob = "A1b2." * 200_000
    assert redact(f"token {blob}") == f"token {blob}"
