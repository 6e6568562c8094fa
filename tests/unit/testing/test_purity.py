"""Reducers that are not what they should be are found, by name."""

from __future__ import annotations

import gc
import random
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import count
from random import Random
from typing import Any

import pytest

from wink_tasks import Append, Clear, Extend, ReducerContext, Replace, Wink, reducer
from wink_tasks.core.errors import ReducerFailedError, ReducerImpureError, UnknownSliceError
from wink_tasks.core.events import CancelRequested
from wink_tasks.testing import answer, call, check_purity, impurities, scripted

ticks = count()


@dataclass
class Seen:
    name: str
    at: float = 0.0
    tags: list[str] = field(default_factory=list)


@dataclass
class Board:
    names: list[str] = field(default_factory=list)
    made: float = 0.0

    @reducer(on=Seen)
    def pin(self, event: Seen) -> Board:
        self.names.append(event.name)
        return Board(list(self.names))


def name_of(rule: Any) -> str:
    return f"{rule.__module__}.{rule.__qualname__}"


def with_rule(rule: Any, on: type = Seen) -> Wink:
    wink = Wink()
    wink.slices.event(Seen)
    wink.slices.register(Board, {on: rule})
    return wink


def tags_the_event(view: Any, event: Seen, *, context: ReducerContext) -> Append[Board]:
    event.tags.append("seen")
    return Append(Board([event.name]))


def spoils_the_event(view: Any, event: Seen, *, context: ReducerContext) -> Append[Board]:
    event.name = None  # type: ignore[assignment]
    return Append(Board(["x"]))


def edits_the_newest(view: Any, event: Seen, *, context: ReducerContext) -> Append[Board] | Clear[Board]:
    if (newest := view.latest()) is None:
        return Append(Board())
    assert newest is view.latest()
    newest.names.append(event.name)
    return Clear(lambda board: not board.names)


def reads_the_clock(view: Any, event: Seen, *, context: ReducerContext) -> Append[Board]:
    return Append(Board(made=time.time()))


def asks_today(view: Any, event: Seen, *, context: ReducerContext) -> Append[Board]:
    return Append(Board([str(datetime.now(UTC).year), str(date.today().year)]))  # noqa: DTZ011 - the subject


def asks_late(view: Any, event: Seen, *, context: ReducerContext) -> Extend[Board]:
    return Extend(Board(made=time.monotonic_ns() * 0.0) for _ in range(2))


def clears_by_the_clock(view: Any, event: Seen, *, context: ReducerContext) -> Any:
    return Clear(lambda board: board.made > time.time()) if len(view) else Append(Board())


def draws(view: Any, event: Seen, *, context: ReducerContext) -> Append[Board]:
    return Append(Board([str(random.randint(1, 3)), str(uuid.uuid4()), secrets.token_hex()]))  # noqa: S311


def draws_an_id_of_this_host(view: Any, event: Seen, *, context: ReducerContext) -> Append[Board]:
    return Append(Board([str(uuid.uuid1())]))


def counts_outside(view: Any, event: Seen, *, context: ReducerContext) -> Append[Board]:
    return Append(Board([str(next(ticks))]))


def pure(view: Any, event: Seen, *, context: ReducerContext) -> Replace[Board]:
    luck = Random(event.name).random()  # noqa: S311 - the same for the same event
    day = datetime.fromtimestamp(event.at, UTC).strftime("%A")
    earlier = [name for board in view if board.names for name in board.names]
    return Replace((Board([*earlier, f"{event.name} {luck} {day} {len(view)}"]),))


def clears(view: Any, event: Seen, *, context: ReducerContext) -> Clear[Board]:
    return Clear()


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (tags_the_event, ["changes the event"]),
        (spoils_the_event, ["changes the event"]),
        (edits_the_newest, ["changes a value of its slice"]),
        (reads_the_clock, ["reads the clock (time.time)"]),
        (asks_today, ["reads the clock (datetime.datetime.now)", "reads the clock (datetime.date.today)"]),
        (asks_late, ["reads the clock (time.monotonic_ns)"]),
        (clears_by_the_clock, ["reads the clock (time.time)"]),
        (draws, ["draws randomness (random.getrandbits)", "draws randomness (os.urandom)"]),
        (counts_outside, ["gives another answer when it is asked again"]),
    ],
)
def test_each_impurity_is_reported_with_its_reducer(rule: Any, told: list[str]):
    wink = with_rule(rule)
    examples = [Seen("a"), Seen("b")]
    found = impurities(wink, examples)
    assert {one.reducer for one in found} == {name_of(rule)}
    assert list(dict.fromkeys(one.what for one in found)) == told
    with pytest.raises(ReducerImpureError) as caught:
        check_purity(wink, examples)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(told), "each once, however many events showed it"
    assert all(f"reducer {name_of(rule)} of slice" in line for line in lines)
    assert isinstance(caught.value, AssertionError)
    assert examples == [Seen("a"), Seen("b")]


def test_an_id_made_of_clock_and_host_is_found():
    found = impurities(with_rule(draws_an_id_of_this_host), [Seen("a")])
    assert any(one.what.startswith(("draws randomness", "reads the clock")) for one in found)


def test_an_installed_method_is_reported_by_its_own_name():
    wink = Wink()
    wink.slices.install(Board, initial=Board)
    [one, *_] = impurities(wink, [Seen("a"), Seen("b")])
    assert (one.reducer, one.what, one.seq) == (name_of(Board.pin), "changes a value of its slice", 2)
    what = f"of slice {__name__}.Board changes a value of its slice (event 2, {__name__}.Seen)"
    assert str(one) == f"reducer {name_of(Board.pin)} {what}"


@pytest.mark.parametrize("rule", [pure, clears])
def test_pure_reducers_pass_and_are_named(rule: Any):
    assert check_purity(with_rule(rule), [Seen("a", at=86_400.0), Seen("b")]) == {name_of(rule)}
    assert check_purity(with_rule(rule), []) == frozenset()


@pytest.mark.parametrize("collects", [True, False])
def test_a_collection_of_garbage_is_not_the_reducers(collects: bool):
    def reads_the_clock_as_well(_phase: str, _info: object) -> None:
        time.perf_counter()

    before, thresholds = gc.isenabled(), gc.get_threshold()
    gc.callbacks.append(reads_the_clock_as_well)
    gc.set_threshold(1)
    (gc.enable if collects else gc.disable)()
    try:
        assert check_purity(with_rule(pure), [Seen("a"), Seen("b")]) == {name_of(pure)}
        assert gc.isenabled() is collects
    finally:
        (gc.enable if before else gc.disable)()
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(reads_the_clock_as_well)


def test_the_events_of_a_session_and_of_the_ledger_itself():
    wink = with_rule(pure)

    @wink.tool
    def look(name: str) -> Seen:
        """Look."""
        return Seen(name)

    @wink.prompt(output=str, model="offline:m", tools=[look])
    def chat(text: str) -> str:
        """You talk."""
        return text

    with scripted(wink, {chat: [call(look, name="x"), answer("done")]}):
        run = chat.delay("hello")
        assert run.get() == "done"
        session = wink.session(run.id)
        assert check_purity(wink, session) == {name_of(pure)}
        tail = [one for one in session.events() if one.seq > 3]
        assert check_purity(wink, tail) == {name_of(pure)}

    def on_cancel(view: Any, event: CancelRequested, *, context: ReducerContext) -> Append[Board]:
        return Append(Board([event.reason], made=time.perf_counter()))

    event = CancelRequested(evaluation="e", by="me", reason="x")
    [one] = impurities(with_rule(on_cancel, CancelRequested), [event])
    assert (one.event, one.what) == ("CancelRequested", "reads the clock (time.perf_counter)")


def test_what_cannot_be_judged_is_an_error():
    def refuses(view: Any, event: Seen, *, context: ReducerContext) -> Append[Board]:
        raise ValueError("no")

    with pytest.raises(ReducerFailedError, match=r"reducer .*refuses of slice .*Board failed on .*Seen, event 1"):
        check_purity(with_rule(refuses), [Seen("a")])
    with pytest.raises(ReducerFailedError, match="it returned None, not Append"):
        check_purity(with_rule(lambda view, event, *, context: None), [Seen("a")])
    with pytest.raises(UnknownSliceError, match="3 is no event that the application declares"):
        check_purity(with_rule(pure), [3])
