"""A session's file: what is written is read again, and anything else is refused with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec import structs

from tests.property.strategies import event_of, json_values
from wink_tasks.core.archive import FORMAT, Archived, ArchivedRun, file_name, read, written
from wink_tasks.core.errors import ArchiveInvalidError
from wink_tasks.core.events import (
    AnyEvent,
    Dispatched,
    EvaluationAccepted,
    EvaluationSucceeded,
    Recorded,
    SessionOpened,
    SliceSeeded,
    Terms,
)

RUN = ArchivedRun(
    id="r1",
    prompt="proj.review",
    mailbox="turns",
    status="SUCCESS",
    accepted_seq=2,
    accepted_at=10.5,
    started_at=11.0,
    ended_seq=3,
    ended_at=12.125,
    cancelled=False,
)
EVENTS: tuple[AnyEvent, ...] = (
    SessionOpened(tenant="acme", session="s/1"),
    EvaluationAccepted(evaluation="r1", prompt="proj.review", digest="d", params={"p": "ä"}, terms=Terms(models=())),
    EvaluationSucceeded(evaluation="r1", output={"b": 1, "a": [None, 1.5]}),
)
WHOLE = Archived(
    tenant="acme",
    session="s/1",
    created_at=10.001,
    events=tuple(Recorded(seq, 10 + seq / 1000, "h:1", event) for seq, event in enumerate(EVENTS, 1)),
    runs=(RUN,),
    slices={"proj.Plan": ({"steps": []},), "proj.Note": ("x", "y")},
)


def resigned(lines: list[bytes]) -> list[bytes]:
    """The lines with a checksum that fits, as who forges them would write."""
    checksum = sha256(b"".join(lines[:-1])).hexdigest()
    return [*lines[:-1], json.dumps({"kind": "end", "sha256": checksum}).encode() + b"\n"]


def changed(place: int, **fields: Any) -> Callable[[list[bytes]], list[bytes]]:
    def change(lines: list[bytes]) -> list[bytes]:
        line = {**json.loads(lines[place]), **fields}
        return resigned([*lines[:place], json.dumps(line).encode() + b"\n", *lines[place + 1 :]])

    return change


def test_a_file_gives_back_what_was_written_and_each_line_is_an_object_that_says_its_kind() -> None:
    lines = list(written(WHOLE, fingerprint="f"))
    assert read(lines, "a.jsonl") == WHOLE
    objects = [json.loads(line) for line in lines]
    assert [one["kind"] for one in objects] == ["session", *["event"] * 3, "run", "slice", "slice", "end"]
    assert objects[0] | {"kind": 0} == {
        "kind": 0,
        "format": FORMAT,
        "tenant": "acme",
        "session": "s/1",
        "created_at": 10.001,
        "events": 3,
        "runs": 1,
        "slices": 2,
        "fingerprint": "f",
        "unfolded": "",
    }
    assert objects[3]["event"] == {
        "type": "EvaluationSucceeded",
        "evaluation": "r1",
        "output": {"a": [None, 1.5], "b": 1},
    }
    assert objects[-1]["sha256"] == sha256(b"".join(lines[:-1])).hexdigest()
    assert lines == list(written(read(lines, "a.jsonl"), fingerprint="f"))
    assert WHOLE.unended == ()


@given(
    events=st.lists(event_of(Dispatched) | event_of(SliceSeeded), max_size=5),
    times=st.lists(st.integers(0, 10**13), min_size=6, max_size=6),
    values=st.dictionaries(st.text("ab.", min_size=1), st.lists(json_values, max_size=2).map(tuple), max_size=2),
)
def test_any_ledger_is_read_as_it_was(events: list[AnyEvent], times: list[int], values: dict[str, Any]) -> None:
    ledger = [SessionOpened(tenant="t", session="s"), *events]
    records = tuple(Recorded(seq, times[seq - 1] / 1000, "a\n\u2028", event) for seq, event in enumerate(ledger, 1))
    whole = Archived(tenant="t", session="s", created_at=times[0] / 1000, events=records, slices=values)
    assert read(b"".join(written(whole)).splitlines(keepends=True), "f") == whole


def test_a_copy_of_a_session_at_work_says_which_runs_had_not_ended() -> None:
    at_work = structs.replace(
        WHOLE, events=WHOLE.events[:2], runs=(structs.replace(RUN, status="STARTED", ended_seq=0, ended_at=0.0),)
    )
    assert read(written(at_work), "a.jsonl").unended == ("r1",)


@pytest.mark.parametrize(
    ("line", "spoil", "told"),
    [
        (1, lambda lines: [], "cut off"),
        (1, lambda lines: [b"hello\n", *lines[1:]], "malformed"),
        (1, lambda lines: [b"\xff\n", *lines[1:]], "begins"),
        (1, changed(0, format=FORMAT + 1, session=None), f"version {FORMAT + 1}, this process reads up to {FORMAT}"),
        (1, changed(0, format=None), r"\$.format"),
        (1, changed(0, kind="event"), "kind"),
        (1, changed(0, tenant="a:b"), "tenant 'a:b'"),
        (1, changed(0, session="x y"), "session 'x y'"),
        (2, changed(0, tenant="globex"), "no ledger of tenant 'globex'"),
        (2, changed(0, events=0, runs=0, slices=0), "no ledger"),
        (2, changed(1, event={"type": "SliceSeeded", "slice": "x", "values": []}), "no ledger"),
        (3, lambda lines: lines[:2], "cut off"),
        (3, lambda lines: [*lines[:2], lines[2][:-1]], "cut off"),
        (3, lambda lines: [*lines[:2], lines[2][:40] + b"\n", *lines[3:]], "malformed"),
        (3, lambda lines: [*lines[:2], b"[" * 100_000 + b"\n", *lines[3:]], "begins"),
        (3, changed(2, seq=4), "event 4 where event 2 belongs"),
        (3, changed(2, at=1.00001), "milliseconds"),
        (3, changed(2, version=99), "version 99, this process reads up to 1: upgrade"),
        (3, changed(2, version=0), r"\$.version"),
        (3, changed(2, event={"type": "Invented"}), "Invented"),
        (4, changed(2, event={"type": "SliceSeeded", "slice": "x", "values": []}), "not under way"),
        (4, changed(0, events=2), "kind"),
        (5, changed(0, events=4), "kind"),
        (5, changed(4, accepted_seq=9), "beyond the last one, 3"),
        (5, changed(4, ended_seq=4), "beyond"),
        (5, changed(4, accepted_seq=1), "event 1 does not accept run 'r1'"),
        (5, changed(4, prompt="p"), "does not accept run 'r1' of 'p'"),
        (5, changed(4, id="r2"), "does not accept run 'r2'"),
        (5, changed(4, ended_seq=2), "event 2 does not end run 'r1'"),
        (8, lambda lines: [*lines[:3], lines[3].replace(b"1.5", b"1.6"), *lines[4:]], "checksum"),
        (8, lambda lines: [lines[0], lines[1].replace(b'"seq"', b' "seq"'), *lines[2:]], "checksum"),
        (9, lambda lines: [*lines, b"\n"], "after the end"),
    ],
)
def test_what_is_no_whole_unchanged_ledger_is_refused_with_its_line(
    line: int, spoil: Callable[[list[bytes]], list[bytes]], told: str
) -> None:
    with pytest.raises(ArchiveInvalidError, match=told) as refused:
        read(spoil(list(written(WHOLE))), "dir/a.jsonl")
    assert refused.value.line == line
    assert str(refused.value).startswith(f"dir/a.jsonl, line {line}: ")


def test_each_session_that_ever_bore_a_name_has_a_file_of_its_own() -> None:
    name = file_name("acme", "nightly/2026 ä:1", 10.5)
    assert name.startswith("acme/nightly_2026_1.")
    assert name.endswith(".jsonl")
    others = [file_name("acme", "nightly/2026 ä:1", 10.501), file_name("acme", "nightly_2026_1", 10.5)]
    others += [file_name("acme", "x" * 200, 1), file_name("acme", "X" * 200, 1)]
    assert len({name.lower(), *(other.lower() for other in others)}) == 5
    assert all(len(other) < 120 for other in others)
