from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from wink_tasks.core.errors import DeclarationError, LedgerFormatError, ReducerFailedError
from wink_tasks.core.events import Dispatched, SliceSeeded, StepDied, ToolReturned
from wink_tasks.core.log import Log
from wink_tasks.core.reducers import EventType, Reducers, Slices
from wink_tasks.core.slices import (
    Append,
    Clear,
    Extend,
    ReducerContext,
    Replace,
    SlicePolicy,
    append_all,
    applied,
    replace_latest,
    replace_latest_by,
    upsert_by,
)
from wink_tasks.core.typed import slice_name


@dataclass(frozen=True)
class Item:
    key: str
    amount: int = 0


@dataclass(frozen=True)
class Total:
    amount: int


def add_up(view: Any, event: Item, *, context: ReducerContext) -> Any:
    latest = view.latest()
    return Replace((Total(event.amount + (latest.amount if latest else 0)),))


NAME = slice_name(Item) or ""
TOTAL = slice_name(Total) or ""
CONTEXT = ReducerContext("acme", "s1", 7, "e1")


def dispatched(*items: Item, **options: Any) -> list[Dispatched]:
    return [Dispatched(name=NAME, data={"key": one.key, "amount": one.amount}, **options) for one in items]


def fold(reducers: Reducers, *events: Any, slices: Slices | None = None) -> Slices:
    state: Slices = slices or {}
    for event in events:
        state = reducers.folded(state, event, CONTEXT)
    return state


@pytest.mark.parametrize(
    ("operation", "after"),
    [
        (Append(4), [1, 2, 3, 4]),
        (Extend((4, 5)), [1, 2, 3, 4, 5]),
        (Replace((9,)), [9]),
        (Clear(), []),
        (Clear(lambda value: value > 1), [1]),
    ],
)
def test_operations(operation: Any, after: list[int]):
    assert list(applied(Log[int]().extended([1, 2, 3]), operation)) == after


A, B, A2 = Item("a", 1), Item("b", 2), Item("a", 3)


@pytest.mark.parametrize(
    ("reducer", "after"),
    [
        (append_all, [A, B, A2]),
        (replace_latest, [A2]),
        (replace_latest_by(lambda item: item.key), [B, A2]),
        (upsert_by(lambda item: item.key), [A2, B]),
    ],
)
def test_stock_reducers(reducer: Any, after: list[Item]):
    reducers = Reducers()
    reducers.add_rule(reducers.declare_slice(Item, SlicePolicy.STATE), Item, reducer)
    assert list(fold(reducers, *dispatched(A, B, A2))[NAME]) == after


def test_an_event_lands_in_its_own_slice_and_in_those_that_have_a_rule_on_it():
    reducers = Reducers()
    reducers.add_rule(reducers.declare_slice(Total, SlicePolicy.STATE), Item, add_up)
    slices = fold(reducers, *dispatched(A, B, A2))
    assert list(slices[NAME]) == [{"key": "a", "amount": 1}, {"key": "b", "amount": 2}, {"key": "a", "amount": 3}]
    assert list(slices[TOTAL]) == [Total(6)]


def test_what_a_tool_returned_is_an_event_of_its_type():
    reducers = Reducers()
    reducers.add_rule(reducers.declare_slice(Total, SlicePolicy.STATE), Item, add_up)
    value = {"key": "a", "amount": 5}
    event = ToolReturned(evaluation="e1", turn=1, call="c", tool="t", value=value, seconds=0.1, slice=NAME)
    assert list(fold(reducers, event)[TOTAL]) == [Total(5)]


def test_rules_on_the_ledgers_own_events():
    reducers = Reducers()
    count = lambda view, event, *, context: Append(Total(len(event.reason)))  # noqa: E731 - short
    reducers.add_rule(reducers.declare_slice(Total, SlicePolicy.STATE), StepDied, count)
    event = StepDied(evaluation="e1", message="m", reason="out of retries")
    assert list(fold(reducers, event)[TOTAL]) == [Total(14)]
    assert fold(reducers, *dispatched(A)).keys() == {NAME}


def test_of_a_tool_that_failed_only_slices_of_policy_log_take_notice():
    reducers = Reducers()
    reducers.add_rule(reducers.declare_slice(Total, SlicePolicy.LOG), Item, add_up)
    slices = fold(reducers, *dispatched(A, failed=True))
    assert list(slices[TOTAL]) == [Total(1)]
    assert NAME not in slices
    assert reducers.logs_event(NAME)
    assert not reducers.logs_event(TOTAL + "x")
    state = Reducers()
    state.add_rule(state.declare_slice(Total, SlicePolicy.STATE), Item, add_up)
    assert fold(state, *dispatched(A, failed=True)) == {}
    log = Reducers()
    log.declare_slice(Item, SlicePolicy.LOG)
    assert list(fold(log, *dispatched(A, failed=True))[NAME]) == [A]


def test_seeding_a_slice():
    reducers = Reducers()
    reducers.declare_slice(Item, SlicePolicy.STATE)
    event = SliceSeeded(slice=NAME, values=({"key": "z"},))
    assert list(fold(reducers, *dispatched(A), event)[NAME]) == [Item("z")]
    assert list(fold(Reducers(), *dispatched(A), event)[NAME]) == [{"key": "z"}]


def test_old_versions_are_lifted_and_those_of_the_future_refused():
    reducers = Reducers()
    lift = {1: lambda data: {"key": data["name"]}, 2: lambda data: {**data, "amount": 9}}
    reducers.declare_event(EventType(type=Item, version=3, upcast=lift))
    reducers.declare_slice(Item, SlicePolicy.STATE)
    assert list(fold(reducers, Dispatched(name=NAME, data={"name": "old"}))[NAME]) == [Item("old", 9)]
    with pytest.raises(LedgerFormatError, match="has version 4, this process knows it up to 3: upgrade"):
        fold(reducers, Dispatched(name=NAME, data={}, version=4))
    with pytest.raises(LedgerFormatError, match=r"key.*new version, and upcast"):
        fold(reducers, Dispatched(name=NAME, data={}, version=3))


def raises(view: Any, event: Item, *, context: ReducerContext) -> Any:
    raise ValueError("no")


def gives_nothing(view: Any, event: Item, *, context: ReducerContext) -> Any:
    return None


class Callable:
    def __call__(self, view: Any, event: Item, *, context: ReducerContext) -> Any:
        return 5


@pytest.mark.parametrize(
    ("reducer", "told"),
    [
        (raises, "raises of slice .*Total failed on .*Item, event 7 of session 's1': ValueError: no"),
        (gives_nothing, "TypeError: it returned None, not Append, Extend, Replace or Clear"),
        (Callable(), "Callable of slice .*it returned 5"),
        (partial(raises), "raises of slice"),
    ],
)
def test_a_reducer_that_fails_is_named(reducer: Any, told: str):
    reducers = Reducers()
    reducers.add_rule(reducers.declare_slice(Total, SlicePolicy.STATE), Item, reducer)
    with pytest.raises(ReducerFailedError, match=told):
        fold(reducers, *dispatched(A))


def test_what_cannot_be_declared():
    reducers = Reducers()
    reducers.declare_slice(Item, SlicePolicy.STATE)
    reducers.declare_event(EventType(type=Item))
    with pytest.raises(DeclarationError, match=r"slice .*Item is declared twice"):
        reducers.declare_slice(Item, SlicePolicy.LOG)
    with pytest.raises(DeclarationError, match=r"event .*Item is declared twice"):
        reducers.declare_event(EventType(type=Item))
    with pytest.raises(DeclarationError, match="slice <class 'int'> is no dataclass"):
        reducers.declare_slice(int, SlicePolicy.STATE)
    with pytest.raises(DeclarationError, match="event <class 'int'> is no dataclass"):
        EventType(type=int)
    with pytest.raises(DeclarationError, match=r"version 3 needs upcast for versions \[2\]"):
        EventType(type=Item, version=3, upcast={1: dict})


async def later(view: Any, event: Item, *, context: ReducerContext) -> Any:
    return add_up(view, event, context=context)


@pytest.mark.parametrize(
    ("reducer", "told"),
    [
        (lambda view, event: Replace((event,)), "got an unexpected keyword argument 'context'"),
        (lambda view, *, context: Clear(), r"is not of the shape \(view, event, \*, context\): too many positional"),
        (later, r"later of slice .*Total is async: a reducer is a plain function \(view, event, \*, context\)"),
        (3, r"reducer 3 of slice .*Total is no function \(view, event, \*, context\)"),
    ],
)
def test_a_reducer_of_the_wrong_shape_is_refused_where_it_is_declared(reducer: Any, told: str):
    reducers = Reducers()
    reducers.declare_slice(Total, SlicePolicy.STATE)
    with pytest.raises(DeclarationError, match=told):
        reducers.add_rule(TOTAL, Item, reducer)
    assert list(reducers.rules) == []


def test_a_reducer_is_on_a_type():
    reducers = Reducers()
    reducers.declare_slice(Total, SlicePolicy.STATE)
    with pytest.raises(DeclarationError, match=r"is on Item\(key='a', amount=0\), which is no type of event"):
        reducers.add_rule(TOTAL, Item("a"), add_up)


def adds(amount: int) -> Any:
    def reduce(view: Any, event: Item, *, context: ReducerContext) -> Any:
        return Append(Total(event.amount + amount))

    return reduce


def with_rule(reducer: Any, policy: SlicePolicy = SlicePolicy.STATE) -> Reducers:
    reducers = Reducers()
    reducers.add_rule(reducers.declare_slice(Total, policy), Item, reducer)
    return reducers


def test_the_fingerprint_tells_one_fold_from_another():
    different = [
        Reducers(),
        with_rule(adds(1)),
        with_rule(adds(2)),
        with_rule(add_up),
        with_rule(partial(add_up)),
        with_rule(Callable()),
        with_rule(add_up, SlicePolicy.LOG),
    ]
    assert len({reducers.fingerprint for reducers in different}) == len(different)
    assert with_rule(adds(1)).fingerprint == with_rule(adds(1)).fingerprint
    changed = with_rule(adds(1))
    before = changed.fingerprint
    changed.declare_slice(Item, SlicePolicy.STATE)
    assert changed.fingerprint != before


def test_a_slice_that_only_grows_is_known():
    reducers = with_rule(add_up)
    assert not reducers.grows_only(TOTAL)
    assert reducers.grows_only(NAME)
    assert with_rule(append_all).grows_only(TOTAL)
