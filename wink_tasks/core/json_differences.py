"""In what two JSON values differ, field by field, and how that is told to people."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from wink_tasks.core.codec import encode
from wink_tasks.core.events import Json

LONGEST_VALUE: Final = 300
"""Characters that are told of one value."""


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place at which two values differ; a side that has nothing there is absent."""

    at: str
    recorded: Json | UnsetType = UNSET
    now: Json | UnsetType = UNSET


def differences(recorded: Json | UnsetType, now: Json | UnsetType, at: str = "") -> Iterator[Difference]:
    """Every place, as deep as it goes: `at` is like `findings[2].line`."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*recorded, *now)):
            place = f"{at}.{key}" if at else str(key)
            yield from differences(recorded.get(key, UNSET), now.get(key, UNSET), place)
    elif isinstance(recorded, list | tuple) and isinstance(now, list | tuple):
        for index in range(max(len(recorded), len(now))):
            ours, theirs = recorded[index : index + 1], now[index : index + 1]
            yield from differences(ours[0] if ours else UNSET, theirs[0] if theirs else UNSET, f"{at}[{index}]")
    elif type(recorded) is not type(now) or recorded != now:
        yield Difference(at=at, recorded=recorded, now=now)


def told(difference: Difference) -> Iterator[str]:
    """A difference in lines: texts of several lines as a diff."""
    recorded, now = difference.recorded, difference.now
    if isinstance(recorded, str) and isinstance(now, str) and ("\n" in recorded or "\n" in now):
        yield f"{difference.at}:"
        lines = unified_diff(recorded.splitlines(), now.splitlines(), "recorded", "now", lineterm="", n=2)
        yield from (f"  {line}" for line in lines)
        return
    yield f"{difference.at}: recorded {_shown(recorded)}, now {_shown(now)}"


def _shown(value: Json | UnsetType) -> str:
    if value is UNSET:
        return "nothing"
    text = encode(value).decode()
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
