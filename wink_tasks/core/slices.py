"""Slices, and what a reducer may do to one: values and pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from wink_tasks.core.log import Log

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
E_contra = TypeVar("E_contra", contravariant=True)


class SlicePolicy(Enum):
    """What becomes of what a tool dispatched when it fails: STATE is rolled back, LOG is kept."""

    STATE = "state"
    LOG = "log"


class Append(msgspec.Struct, Generic[T], frozen=True):
    """One more value at the end."""

    item: T


class Extend(msgspec.Struct, Generic[T], frozen=True):
    """More values at the end."""

    items: Iterable[T]


class Replace(msgspec.Struct, Generic[T], frozen=True):
    """These values instead of all."""

    items: Iterable[T]


class Clear(msgspec.Struct, Generic[T], frozen=True):
    """Without the values for which `predicate` holds; None: without any."""

    predicate: Callable[[T], bool] | None = None


Operation = Append[T] | Extend[T] | Replace[T] | Clear[T]


class SliceView(Generic[T]):
    """The values of a slice before an event, oldest first, as a reducer sees them."""

    __slots__ = ("_values",)

    def __init__(self, values: Log[T]) -> None:
        self._values = values

    def all(self) -> tuple[T, ...]:
        """Every value."""
        return tuple(self._values)

    def latest(self) -> T | None:
        """The newest value, None where there is none."""
        return self._values.last()

    def where(self, predicate: Callable[[T], bool]) -> tuple[T, ...]:
        """The values for which `predicate` holds."""
        return tuple(value for value in self._values if predicate(value))

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        return iter(self._values)


class ReducerContext(msgspec.Struct, frozen=True):
    """Where the event stands. A time that matters is a field of the event: whoever folds again has no clock."""

    tenant: str
    session: str
    seq: int
    evaluation: str


class Reducer(Protocol[T, E_contra]):
    """Pure: the same view and event give the same operation, wherever and whenever it is asked."""

    def __call__(self, view: SliceView[T], event: E_contra, *, context: ReducerContext) -> Operation[T]:
        """What the event does to the slice."""
        ...


def append_all(view: SliceView[T], event: T, *, context: ReducerContext) -> Operation[T]:  # noqa: ARG001 - the shape
    """Keep every event."""
    return Append(event)


def replace_latest(view: SliceView[T], event: T, *, context: ReducerContext) -> Operation[T]:  # noqa: ARG001 - the shape
    """Keep the newest event only."""
    return Replace((event,))


def replace_latest_by(key: Callable[[T], Any]) -> Reducer[T, T]:
    """Keep the newest event of each key, at the end."""

    def reduce(view: SliceView[T], event: T, *, context: ReducerContext) -> Operation[T]:  # noqa: ARG001 - the shape
        mine = key(event)
        return Replace((*view.where(lambda value: key(value) != mine), event))

    return reduce


def upsert_by(key: Callable[[T], Any]) -> Reducer[T, T]:
    """Keep the newest event of each key, where the first of that key was."""

    def reduce(view: SliceView[T], event: T, *, context: ReducerContext) -> Operation[T]:  # noqa: ARG001 - the shape
        mine, values = key(event), view.all()
        if all(key(value) != mine for value in values):
            return Append(event)
        return Replace(tuple(event if key(value) == mine else value for value in values))

    return reduce


def applied(values: Log[T], operation: Operation[T]) -> Log[T]:
    """The slice after `operation`. An append costs the same, however many values there are."""
    match operation:
        case Append(item):
            return values.added(item)
        case Extend(items):
            return values.extended(items)
        case Replace(items):
            return Log.of(items)
        case _:
            predicate = operation.predicate
            return Log.of(() if predicate is None else [value for value in values if not predicate(value)])
