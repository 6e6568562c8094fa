"""Masks credentials in whatever is about to be logged, recorded or shown.

What is masked: the value of a key whose words tell of a credential (in a mapping, and as `key=value` or `key: value` in
text), the user part of a URL, and tokens of well-known shape. It errs on the side of masking too much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

MASK: Final = "***"

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_CREDENTIALS: Final = frozenset(
    {
        *("apikey", "auth", "authorization", "cookie", "cookies", "credential", "credentials", "passphrase", "passwd"),
        *("password", "passwords", "pwd", "secret", "secrets", "token"),
    }
)
_KEYS: Final = frozenset(
    {("access", "key"), ("api", "key"), ("encryption", "key"), ("private", "key"), ("signing", "key")}
)

_URL_USER: Final = re.compile(r"://[^\s/?#'\"<>\\]+@")
_KNOWN: Final = re.compile(
    r"\b(?:sk-[\w-]{16,}|gh[opsur]_\w{20,}|github_pat_\w{20,}|xox[a-z]-[\w-]{10,}|AKIA[A-Z0-9]{16}"
    r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]+)|(?<=\bBearer )[\w.~+/=-]{8,}"
)
# Begins at the start of a run only and never gives back: linear also in a megabyte of base64.
_KEY: Final = re.compile(r"""(?<![\w.-])(?P<key>[\w.-]++)\\*["']?\s{0,3}[:=]{1,2}\s{0,3}""")
# In quotes; in quotes that are escaped, or cut off; or bare.
_VALUE: Final = re.compile(
    r"""(?P<quote>["'])(?:(?!(?P=quote))[^\\]|\\.)*+(?P=quote)|(?P<open>\\*["'])[^\\\n]*"""
    r"""|(?!(?:null|true|false|None|True|False)\b)(?:(?:Bearer|Basic|Token)\s)?[^\s,;&"'\\<>(){}\[\]\x1b]+""",
    re.DOTALL,
)
# "unexpected token: ')'" is what parsers say; a real token is longer.
_SHORTEST_TOKEN: Final = 8


def redact(value: T) -> T:
    """The same text, mapping, list or tuple without credentials. Anything else is returned as it is."""
    return cast("T", _redacted(value))


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {key: _entry(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_redacted(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _entry(key: object, value: Any) -> Any:
    if value is not None and isinstance(key, str) and _tells_of_credential(key):
        return MASK
    return _redacted(value)


def _tells_of_credential(key: str) -> bool:
    words = [word.lower() for word in _WORD.findall(key)]
    return not _CREDENTIALS.isdisjoint(words) or any(pair in _KEYS for pair in pairwise(words))


def _text(text: str) -> str:
    return "".join(_pairs_masked(_KNOWN.sub(MASK, _URL_USER.sub(f"://{MASK}@", text))))


def _pairs_masked(text: str) -> Iterator[str]:
    done = 0
    # Each key is looked at, also one within the value of another: `KeyError: 'password=...'`.
    for found in _KEY.finditer(text):
        value = _VALUE.match(text, found.end())
        if found.start() < done or value is None or not _tells_of_credential(found["key"]):
            continue
        if found["key"].lower() == "token" and len(value[0]) < _SHORTEST_TOKEN:
            continue
        closing = value["quote"] or ""
        yield f"{text[done : found.end()]}{closing or value['open'] or ''}{MASK}{closing}"
        done = value.end()
    yield text[done:]
