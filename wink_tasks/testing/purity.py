"""Whether reducers are pure: each is asked twice about each event, with copies, and what it calls is listened to."""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Protocol, cast

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import ReducerImpureError, UnknownSliceError, ValueInvalidError
from wink_tasks.core.events import AnyEvent, Event, Json, Recorded
from wink_tasks.core.log import Log
from wink_tasks.core.reducers import Reducers, Rule
from wink_tasks.core.slices import Clear, Extend, Reducer, ReducerContext, Replace, SliceView
from wink_tasks.core.snapshots import Window, followed
from wink_tasks.core.typed import slice_name, typed_json
from wink_tasks.runtime.session import Session
from wink_tasks.runtime.slices import SliceDeclarations

# Not strftime and asctime: parsers of dates call them with a date of their own.
_CLOCKS: Final = (
    *("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"),
    *("time_ns", "monotonic_ns", "perf_counter_ns", "process_time_ns", "thread_time_ns", "clock_gettime_ns"),
    *("localtime", "gmtime", "ctime"),
)
_CLOCK_CALLS: Final = frozenset(getattr(time, name) for name in _CLOCKS if hasattr(time, name))
_TODAY: Final = frozenset({"now", "utcnow", "today"})
_SHARED_RANDOM: Final = random.random.__self__  # type: ignore[attr-defined]  # what the module's functions belong to


class Declared(Protocol):
    """What the kit needs of a Wink."""

    @property
    def slices(self) -> SliceDeclarations:
        """Its slices and their reducers."""
        ...


@dataclass(frozen=True)
class Impurity:
    """What one reducer did on one event of a session."""

    reducer: str
    slice: str
    event: str
    seq: int
    what: str

    def __str__(self) -> str:
        return f"reducer {self.reducer} of slice {self.slice} {self.what} (event {self.seq}, {self.event})"


def check_purity(wink: Declared, events: Session | Iterable[object]) -> frozenset[str]:
    """The names of the reducers that were asked about `events`, all of which are pure on them.

    `events` are a session's, or examples of the application's own, from the first. Raises ReducerImpureError, which
    names each reducer that changes what it is given, reads the clock, draws randomness or gives two answers; and what
    a fold raises.
    """
    found, asked = _judged(wink.slices.reducers, events)
    if found:
        first: dict[tuple[str, str], Impurity] = {}
        for one in found:
            first.setdefault((one.reducer, one.what), one)
        raise ReducerImpureError("\n".join(map(str, first.values())))
    return asked


def impurities(wink: Declared, events: Session | Iterable[object]) -> tuple[Impurity, ...]:
    """As `check_purity`, but all that it finds, in the order of the events."""
    return _judged(wink.slices.reducers, events)[0]


def _judged(reducers: Reducers, events: Session | Iterable[object]) -> tuple[tuple[Impurity, ...], frozenset[str]]:
    found: list[Impurity] = []
    asked: set[str] = set()

    def watched(rule: Rule) -> Reducer[Any, Any]:
        asks = _Asked(rule, reducers, found)

        def reduce(view: SliceView[Any], event: object, *, context: ReducerContext) -> Any:
            asked.add(rule.name)
            return asks.twice(view, event, context)

        reduce.__module__, _, reduce.__qualname__ = rule.name.rpartition(".")
        return reduce

    given = events.events() if isinstance(events, Session) else events
    records = [_recorded(reducers, seq, one) for seq, one in enumerate(given, 1)]
    before = records[0].seq - 1 if records else 0
    start = Window(tenant="default", session="examples", seq=before, reducers=reducers.wrapped(watched))
    followed(start, records)
    return tuple(found), frozenset(asked)


def _recorded(reducers: Reducers, seq: int, given: object) -> Recorded:
    if isinstance(given, Recorded):
        return given
    if isinstance(given, Event):
        return Recorded(seq, 0.0, "example", cast("AnyEvent", given))
    if not reducers.knows(slice_name(type(given)) or ""):
        raise UnknownSliceError(f"{given!r} is no event that the application declares, so no reducer is asked about it")
    return Recorded(seq, 0.0, "example", reducers.dispatched(given))


class _Asked:
    """One rule, asked twice about each event."""

    def __init__(self, rule: Rule, reducers: Reducers, found: list[Impurity]) -> None:
        self._rule = rule
        self._values = reducers.slices[rule.slice].typed
        self._found = found

    def twice(self, view: SliceView[Any], event: object, context: ReducerContext) -> Any:
        """What it gives the first time."""
        answers = []
        for _ in range(2):
            handed, copy = _Handed(view), deepcopy(event)
            with _listening() as called:
                shown: SliceView[Any] = SliceView(cast("Log[Any]", handed))
                answers.append(_whole(self._rule.reducer(shown, copy, context=context), shown))
            self._note(event, context, handed, copy, called)
        first, second = (self._told(answer) for answer in answers)
        seen = {one.what for one in self._found if (one.reducer, one.seq) == (self._rule.name, context.seq)}
        if first != second and not any(what.startswith(("reads", "draws")) for what in seen):
            self._add(event, context, "gives another answer when it is asked again")
        return answers[0]

    def _note(
        self, event: object, context: ReducerContext, handed: _Handed, copy: object, called: Iterable[Any]
    ) -> None:
        if not _same(event, copy, _dumped):
            self._add(event, context, "changes the event")
        if not all(self._unchanged(value, other) for value, other in handed.copies.values()):
            self._add(event, context, "changes a value of its slice")
        for what in dict.fromkeys(filter(None, map(_outside, called))):
            self._add(event, context, what)

    def _unchanged(self, value: object, copy: object) -> bool:
        return _same(value, copy, self._values.dump)

    def _add(self, event: object, context: ReducerContext, what: str) -> None:
        rule = self._rule
        one = Impurity(rule.name, rule.slice, slice_name(type(event)) or type(event).__name__, context.seq, what)
        if one not in self._found:
            self._found.append(one)

    def _told(self, answer: Any) -> Json:
        items = answer.items if isinstance(answer, Extend | Replace) else (getattr(answer, "item", None),)
        return [type(answer).__name__, [item if item is None else self._values.dump(item) for item in items]]


class _Handed:
    """The values of a slice, copied as they are asked for: what a reducer does to one, no other fold sees."""

    def __init__(self, view: SliceView[Any]) -> None:
        self._view = view
        self.copies: dict[int, tuple[object, object]] = {}

    def last(self) -> object:
        newest = self._view.latest()
        return None if newest is None else self._copy(newest)

    def __iter__(self) -> Iterator[object]:
        return map(self._copy, self._view)

    def __len__(self) -> int:
        return len(self._view)

    def _copy(self, value: object) -> object:
        return self.copies.setdefault(id(value), (value, deepcopy(value)))[1]


@contextmanager
def _listening() -> Iterator[list[Any]]:
    """The functions written in C that this thread calls meanwhile: clocks and sources of randomness are among them.

    Garbage is collected afterwards: a callback of `gc` may well read the clock, as Hypothesis's does.
    """
    called: list[Any] = []
    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(lambda _frame, kind, what: called.append(what) if kind == "c_call" else None)
    try:
        yield called
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


def _outside(called: Any) -> str | None:
    """What a function written in C brings in from outside."""
    owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
    if isinstance(owner, type):
        today = issubclass(owner, date) and name in _TODAY
        return f"reads the clock ({owner.__module__}.{owner.__name__}.{name})" if today else None
    if called == os.urandom:
        return "draws randomness (os.urandom)"
    if owner is _SHARED_RANDOM or getattr(called, "__module__", "") == "_uuid":
        return f"draws randomness ({'uuid' if owner is not _SHARED_RANDOM else 'random'}.{name})"
    return f"reads the clock (time.{name})" if called in _CLOCK_CALLS else None


def _whole(operation: Any, view: SliceView[Any]) -> Any:
    """The operation with all that it would compute later computed now."""
    match operation:
        case Extend():
            return Extend(tuple(operation.items))
        case Replace():
            return Replace(tuple(operation.items))
        case Clear():
            predicate = operation.predicate
            return Replace(() if predicate is None else tuple(value for value in view if not predicate(value)))
        case _:
            return operation


def _dumped(event: object) -> Json:
    return encode(event) if isinstance(event, Event) else typed_json(type(event)).dump(event)


def _same(before: object, after: object, dump: Callable[[object], Json]) -> bool:
    """Also where what became of it fits its type no more."""
    try:
        return bool(dump(before) == dump(after))
    except ValueInvalidError:
        return False
