"""Where an application declares events, slices and reducers, and how it reads and writes a slice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial, update_wrapper
from inspect import getmembers_static
from typing import Any, Generic, Protocol, TypeVar, overload

from wink_tasks.core.errors import DeclarationError, UnknownSliceError, UnsupportedError
from wink_tasks.core.log import Log
from wink_tasks.core.reducers import EventType, Reducers, Upcast, check_shape
from wink_tasks.core.session import SessionState
from wink_tasks.core.slices import (
    Operation,
    Reducer,
    ReducerContext,
    Replace,
    SlicePolicy,
    SliceView,
)
from wink_tasks.core.snapshots import Window
from wink_tasks.core.typed import TypedJson, slice_name, typed_json

T = TypeVar("T")
E = TypeVar("E")
C = TypeVar("C", bound=type)

_MARK = "__wink_reduces__"


def reducer(*, on: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a method of a class for `SliceDeclarations.install`: `(self, event)` gives the value that follows `self`.

    It may also give an operation (Append, Extend, Replace, Clear), and ask for `context` by keyword.
    """

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        setattr(method, _MARK, (*getattr(method, _MARK, ()), on))
        return method

    return mark


class SliceDeclarations:
    """What `Wink.slices` is. Declaring does no I/O; all processes that fold a session should declare the same.

    One that stands alone is a set of reducers to try on old ledgers (`wink replay --reducers`).
    """

    def __init__(self, returned: Callable[[], Collection[str]] = tuple) -> None:
        self.reducers = Reducers(returned)

    @overload
    def event(self, type_: C, /) -> C: ...
    @overload
    def event(self, /, *, version: int = 1, upcast: Mapping[int, Upcast] | None = None) -> Callable[[C], C]: ...
    def event(self, type_: Any = None, /, *, version: int = 1, upcast: Mapping[int, Upcast] | None = None) -> Any:
        """Declare an event: a frozen dataclass or a pydantic model. `upcast[n]` lifts its JSON from version n to n + 1.

        Raises DeclarationError.
        """

        def declare(type_: C) -> C:
            self.reducers.declare_event(EventType(type=type_, version=version, upcast=dict(upcast or {})))
            return type_

        return declare if type_ is None else declare(type_)

    def register(
        self,
        type_: type[T],
        rules: Mapping[type, Reducer[T, Any]] | None = None,
        *,
        policy: SlicePolicy = SlicePolicy.STATE,
    ) -> None:
        """Declare a slice. `rules` gives, for types of events, the reducer that keeps it.

        Several slices may have rules on one event. Raises DeclarationError, also for a slice that is declared already.
        """
        name = self.reducers.declare_slice(type_, policy)
        for on, rule in (rules or {}).items():
            self.reducers.add_rule(name, on, rule)

    def install(
        self, type_: type[T], *, initial: Callable[[], T] | None = None, policy: SlicePolicy = SlicePolicy.STATE
    ) -> type[T]:
        """Declare a slice of one value that the methods marked with `@reducer` keep. `initial` is what it starts from.

        Without it the first event that comes before a value is an error of that reducer. Raises DeclarationError.
        """
        marked = [(on, method) for _, method in getmembers_static(type_) for on in getattr(method, _MARK, ())]
        if not marked:
            raise DeclarationError(f"{type_.__qualname__} has no method that is marked with @reducer(on=...)")
        name = self.reducers.declare_slice(type_, policy)
        for on, method in marked:
            shape = "(self, event), or (self, event, *, context)"
            context = {"context": None} if _asks(method) else {}
            check_shape(method.__qualname__, name, shape, method, None, None, **context)
            rule = update_wrapper(partial(_by_method, method=method, initial=initial), method)
            self.reducers.add_rule(name, on, rule)
        return type_


def _by_method(
    view: SliceView[Any],
    event: object,
    *,
    context: ReducerContext,
    method: Callable[..., Any],
    initial: Callable[[], Any] | None,
) -> Operation[Any]:
    latest = view.latest()
    if latest is None:
        if initial is None:
            raise LookupError("the slice has no value yet, and no initial=")
        latest = initial()
    after = method(latest, event, **({"context": context} if _asks(method) else {}))
    return Replace((after,)) if isinstance(after, type(latest)) else after


def _asks(method: Callable[..., Any]) -> bool:
    code = method.__code__
    return "context" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


class Writer(Protocol):
    """Who writes what a slice is asked to."""

    def dispatch(self, event: object) -> int:
        """See `Session.dispatch`."""
        ...

    def seed(self, type_: type[T], values: Iterable[T]) -> int:
        """Give the slice of that type these values instead of all that it has."""
        ...


class Slice(Generic[T]):
    """The values of one type in a session, oldest first, as the session's view has them.

    `read` gives them, `complete` also those that are absent. Without a `writer` it can only be read.
    """

    def __init__(
        self,
        type_: type[T],
        read: Callable[[], Log[Any]],
        *,
        typed: bool,
        complete: Callable[[], Log[Any]],
        writer: Writer | None = None,
    ) -> None:
        self._type = type_
        self._json: TypedJson[T] = typed_json(type_)
        self._read = read
        self._typed = typed
        self._complete = complete
        self._writer = writer

    def all(self) -> tuple[T, ...]:
        """Every value."""
        values = self._read()
        if values.absent:
            values = self._complete()
        return tuple(values) if self._typed else tuple(map(self._json.load, values))

    def latest(self) -> T | None:
        """The newest value, None where there is none."""
        newest: T | None = self._read().last()
        return newest if self._typed or newest is None else self._json.load(newest)

    def where(self, predicate: Callable[[T], bool]) -> tuple[T, ...]:
        """The values for which `predicate` holds."""
        return tuple(value for value in self.all() if predicate(value))

    def append(self, value: T) -> int:
        """Dispatch a value as the event that it is; its sequence number. Raises as `Session.dispatch`."""
        return self._written().dispatch(value)

    def seed(self, *values: T) -> int:
        """Give the slice these values instead of all that it has. Raises as `Session.dispatch`."""
        return self._written().seed(self._type, values)

    def clear(self) -> int:
        """Take all its values away. Raises as `Session.dispatch`."""
        return self._written().seed(self._type, ())

    def _written(self) -> Writer:
        if self._writer is None:
            raise UnsupportedError(
                f"this view of slice {self._type.__qualname__} can only be read: write through Wink.session(), "
                f"or through ctx.session in a tool"
            )
        return self._writer

    def __len__(self) -> int:
        return len(self._read())


def slice_in(
    view: SessionState | Window,
    type_: type[T],
    *,
    read: Callable[[], SessionState | Window],
    complete: Callable[[], SessionState],
    writer: Writer | None = None,
) -> Slice[T]:
    """The slice of that type, as `view` knows it and `read` finds it. Raises UnknownSliceError."""
    name, reducers = slice_name(type_) or "", view.reducers
    if name not in view.slices and not reducers.knows(name):
        known = ", ".join(sorted({*reducers.slices, *reducers.events, *reducers.returned(), *view.slices})) or "none"
        raise UnknownSliceError(
            f"{getattr(type_, '__qualname__', type_)} is no slice of session {view.session!r}, and nothing declares it "
            f"here: Wink.slices.register() it, or return it from a tool; the slices are: {known}"
        )
    return Slice(
        type_,
        lambda: read().slices.get(name, Log()),
        typed=name in reducers.slices,
        complete=lambda: complete().slices[name],
        writer=writer,
    )
