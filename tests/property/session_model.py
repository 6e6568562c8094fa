"""What a session must hold, as plain lists: one entry an event of its ledger, and the slices after each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from wink_tasks import SlicePolicy, reducer, upsert_by
from wink_tasks.core.events import ToolFailed
from wink_tasks.runtime.slices import SliceDeclarations

REFUSED = "refused"


@dataclass(frozen=True)
class Noted:
    """Of policy STATE, and only ever appended to."""

    text: str


@dataclass(frozen=True)
class Logged:
    """Of policy LOG, and only ever appended to."""

    text: str


@dataclass(frozen=True)
class Marked:
    """Of policy LOG, kept by a rule of its own."""

    key: str
    value: int


@dataclass(frozen=True)
class Told:
    """What tools and tasks return: nobody declares its slice."""

    text: str


@dataclass(frozen=True)
class Tally:
    """Of policy STATE, kept by rules on events of other types, also one of the ledger's own."""

    notes: int = 0
    logs: int = 0
    failures: int = 0

    @reducer(on=Noted)
    def note(self, event: Noted) -> Tally:
        if event.text == REFUSED:
            raise ValueError(event.text)
        return replace(self, notes=self.notes + 1)

    @reducer(on=Logged)
    def log(self, _: Logged) -> Tally:
        return replace(self, logs=self.logs + 1)

    @reducer(on=ToolFailed)
    def fail(self, _: ToolFailed) -> Tally:
        return replace(self, failures=self.failures + 1)


SLICES = (Tally, Marked, Told, Logged, Noted)
LOGS = (Marked, Logged)


def declare(slices: SliceDeclarations) -> None:
    """Declare them all."""
    slices.register(Noted)
    slices.register(Logged, policy=SlicePolicy.LOG)
    slices.register(Marked, {Marked: upsert_by(lambda mark: mark.key)}, policy=SlicePolicy.LOG)
    slices.install(Tally, initial=Tally)


# What may be done to a session


@dataclass(frozen=True)
class Seed:
    """A slice is given other values, maybe none."""

    slice: type
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Inner:
    """An inner transaction of a call."""

    moves: tuple[Any, ...]
    fails: bool


@dataclass(frozen=True)
class Outside:
    """Somebody else writes while a call runs."""

    value: object


@dataclass(frozen=True)
class Refresh:
    """A call reads what came since."""


@dataclass(frozen=True)
class ReadAll:
    """A call reads every value, not only what a snapshot has."""


texts = st.sampled_from(["a", "b", "ä"])
values: dict[type, st.SearchStrategy[Any]] = {
    Noted: st.builds(Noted, texts),
    Logged: st.builds(Logged, texts),
    Marked: st.builds(Marked, st.sampled_from("xyz"), st.integers(0, 9)),
    Tally: st.builds(Tally, st.integers(0, 9)),
}
events = st.one_of(values[Noted], values[Logged], values[Marked])
seeds = st.sampled_from(sorted(values, key=repr)).flatmap(
    lambda slice_: st.builds(Seed, st.just(slice_), st.lists(values[slice_], max_size=2).map(tuple))
)
changes = st.one_of(events, seeds)
others = st.one_of(st.sampled_from([Noted(REFUSED), Refresh(), ReadAll()]), st.builds(Outside, changes))
steps = st.one_of(changes, others)
moves = st.recursive(
    st.lists(steps, max_size=5).map(tuple),
    lambda inner: st.lists(st.one_of(steps, st.builds(Inner, inner, st.booleans())), min_size=2, max_size=5).map(tuple),
    max_leaves=3,
)


# What must come of it


@dataclass(frozen=True)
class Entry:
    """An event of the ledger: its name, and what it brings. `run` is its evaluation, `calls` what a model asks for."""

    name: str
    change: object = None
    failed: bool = False
    run: str = ""
    calls: int = 0


Lists = dict[type, list[Any]]


def entry_of(change: object) -> Entry:
    """The entry of an event that is dispatched, or of a slice that is seeded."""
    return Entry("SliceSeeded" if isinstance(change, Seed) else "Dispatched", change)


def kept(entries: Sequence[Entry]) -> list[Entry]:
    """What is left of them where they were written in vain."""
    seeded = [entry.change.slice if isinstance(entry.change, Seed) else type(entry.change) for entry in entries]
    return [
        replace(entry, failed=entry.name == "Dispatched")
        for entry, slice_ in zip(entries, seeded, strict=True)
        if slice_ in LOGS
    ]


def after(lists: Lists, entry: Entry) -> Lists:
    """The slices after one more entry."""
    lists = dict(lists)
    tally: Tally = lists[Tally][-1] if lists[Tally] else Tally()
    match entry.change:
        case Seed(slice_, given):
            lists[slice_] = list(given)
        case Marked() as mark:
            marks = [mark if one.key == mark.key else one for one in lists[Marked]]
            lists[Marked] = marks if mark in marks else [*marks, mark]
        case Noted() | Logged() | Told() as value:
            lists[type(value)] = [*lists[type(value)], value]
    if isinstance(entry.change, Noted):
        lists[Tally] = [replace(tally, notes=tally.notes + 1)]
    if isinstance(entry.change, Logged) and not entry.failed:
        lists[Tally] = [replace(tally, logs=tally.logs + 1)]
    if entry.name == "ToolFailed":
        lists[Tally] = [replace(tally, failures=tally.failures + 1)]
    return lists


def said(entries: Sequence[Entry]) -> list[str]:
    """Who speaks in the transcript."""
    speakers, unanswered = [], 0
    for entry in entries:
        match entry.name:
            case "EvaluationStarted":
                speakers.append("UserSaid")
            case "ModelResponded":
                speakers.append("ModelSaid")
                unanswered = entry.calls
            case "ToolReturned" | "ToolFailed":
                speakers.append("ToolAnswered")
                unanswered -= 1
            case "StepDied" if unanswered:
                speakers.append("ToolAnswered")
                unanswered -= 1
            case "EvaluationCancelled":
                speakers += ["ToolAnswered"] * unanswered
                unanswered = 0
    return speakers


class Book:
    """A session: its entries, and its slices after each, before the first one too."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries: list[Entry] = []
        self.lists: list[Lists] = [{slice_: [] for slice_ in SLICES}]
        self.add(*entries)

    @property
    def head(self) -> int:
        """How many entries there are."""
        return len(self.entries)

    def add(self, *entries: Entry) -> None:
        """Write."""
        for entry in entries:
            self.entries.append(entry)
            self.lists.append(after(self.lists[-1], entry))

    def with_pending(self, seq: int, pending: Sequence[Entry]) -> Lists:
        """The slices as somebody sees them who knows it up to `seq`, and has written more."""
        lists = self.lists[seq]
        for entry in pending:
            lists = after(lists, entry)
        return lists

    def forked(self, at: int) -> Book:
        """Another one that goes on from there: what had not ended is cancelled."""
        begun = self.entries[:at]
        runs = [entry.run for entry in begun if entry.name == "EvaluationAccepted"]
        over = {entry.run for entry in begun if entry.name in ENDS}
        cut = [Entry("EvaluationCancelled", run=run) for run in runs if run not in over]
        return Book([*begun, Entry("SessionForked"), *cut])


ENDS = ("EvaluationSucceeded", "EvaluationFailed", "EvaluationCancelled")
