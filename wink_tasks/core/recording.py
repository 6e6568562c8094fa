"""Recordings: what models and tools answered in some runs, as a file of JSON lines that a test can replay.

The first line tells the version of the format; each other one is an answer, in the order in which they were asked for.
Everything is redacted. Of a request's transcript only what is new is written: `same` is how many of its first items
are those of the request before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import RecordingError
from wink_tasks.core.events import Call, Dispatched, Json, SliceSeeded, Stop
from wink_tasks.core.limits import Usage
from wink_tasks.core.redaction import redact

VERSION: Final = 1


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a model was asked, apart from the transcript."""

    model: str
    instructions: str
    tools: Json
    output: Json
    settings: Json


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """Base of all lines but the first."""


class ModelLine(Line, frozen=True, kw_only=True, tag="model"):
    """A model's answer, and what it was asked."""

    prompt: str
    asked: Asked
    same: int
    items: tuple[Json, ...]
    text: str
    stop: Stop
    usage: Usage
    calls: tuple[Call, ...] = ()


class ToolLine(Line, frozen=True, kw_only=True, tag="tool"):
    """What came of a call: the `index`-th of the answer before. `error` is the class of what the tool raised.

    `told` is what the model was told of a failure; `wrote` are the events that the tool dispatched.
    """

    tool: str
    index: int
    value: Json = None
    failed: bool = False
    told: str = ""
    error: str = ""
    wrote: tuple[Dispatched | SliceSeeded, ...] = ()


class EndLine(Line, frozen=True, kw_only=True, tag="end"):
    """How a run ended: with an output, or with the error `code`."""

    prompt: str
    output: Json = None
    code: str = ""
    message: str = ""


AnyLine = ModelLine | ToolLine | EndLine
_decoder: Final = msgspec.json.Decoder(AnyLine)


def lines_of(recording: Iterable[AnyLine]) -> Iterator[str]:
    """The file's lines."""
    yield encode({"wink_recording": VERSION}).decode()
    for line in recording:
        yield encode(redact(msgspec.to_builtins(line))).decode()


def read_lines(name: str, text: str) -> tuple[AnyLine, ...]:
    """What `lines_of` wrote. Raises RecordingError, which names the line; `name` is the file's."""
    first, *others = text.splitlines() or [""]
    try:
        version = msgspec.json.decode(first)["wink_recording"]
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise RecordingError(f"{name}, line 1: no recording begins with {first[:80]!r}") from error
    if version != VERSION:
        raise RecordingError(f"{name}, line 1: the recording has format version {version}, this one reads {VERSION}")
    return tuple(_read(name, number, line) for number, line in enumerate(others, 2))


def _read(name: str, number: int, line: str) -> AnyLine:
    try:
        found: AnyLine = _decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise RecordingError(f"{name}, line {number}: {error}; it begins {line[:80]!r}: record it again") from error
    return found


def new_items(before: Sequence[Json], items: Sequence[Json]) -> tuple[int, tuple[Json, ...]]:
    """How many of the first items are the same, and the others."""
    same = 0
    while same < min(len(before), len(items)) and before[same] == items[same]:
        same += 1
    return same, tuple(items[same:])


def in_one_order(items: Sequence[Json]) -> list[Json]:
    """The transcript with answers to calls that were made side by side in one order: they come as they end."""
    ordered: list[Json] = []
    answers: list[Json] = []
    for item in (*items, None):
        if isinstance(item, dict) and item.get("type") == "tool":
            answers.append(item)
            continue
        ordered += sorted(answers, key=lambda one: str(one["call"]))
        answers = []
        ordered += [] if item is None else [item]
    return ordered
