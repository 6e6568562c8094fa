"""Masks credentials in whatever is about to be logged, recorded or shown.

What is masked: the value of a key whose words tell of a credential (in a mapping, and as `key=value` or `key: value` in
text), the user part of a URL, and tokens of well-known shape. It errs on the side of masking too much.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
_PAIR: Final = re.compile(
    r"""(?<![\w.-])(?P<key>[\w.-]++)(?P<between>["']?\s{0,3}[:=]\s{0,3})"""
    r"""(?P<value>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|(?:(?:Bearer|Basic|Token)\s)?[^\s,;&"'\\<>(){}\[\]\x1b]+)"""
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
    return _PAIR.sub(_pair, _KNOWN.sub(MASK, _URL_USER.sub(f"://{MASK}@", text)))


def _pair(match: re.Match[str]) -> str:
    key, between, value = match["key"], match["between"], match["value"]
    quote = value[0] if value[0] in "\"'" else ""
    if _tells_of_credential(key) and not (key.lower() == "token" and len(value) < _SHORTEST_TOKEN):
        return f"{key}{between}{quote}{MASK}{quote}"
    if quote:  # KeyError: 'password=...'
        return f"{key}{between}{quote}{_PAIR.sub(_pair, value[1:-1])}{quote}"
    return match[0]
