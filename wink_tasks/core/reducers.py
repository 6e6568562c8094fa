"""The application's part of a session's fold: which events it dispatches, which slices it keeps, and by which rules.

An event lands in the slice of its own type, unless a rule of that slice says otherwise, and in every slice that has a
rule on it, in the order in which the rules were declared. What tools and prompts return are events of their own type.
Slices that are declared hold values of their type; of the others the fold keeps the JSON, which is read when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from inspect import iscoroutinefunction, signature
from types import CodeType
from typing import Any, Final, Literal, TypeVar

from wink_tasks.core.errors import DeclarationError, LedgerFormatError, ReducerFailedError, ValueInvalidError
from wink_tasks.core.events import (
    AnyEvent,
    Dispatched,
    EvaluationSucceeded,
    Event,
    Json,
    SliceSeeded,
    ToolReturned,
)
from wink_tasks.core.log import Log
from wink_tasks.core.slices import (
    Append,
    Clear,
    Extend,
    Reducer,
    ReducerContext,
    Replace,
    SlicePolicy,
    SliceView,
    append_all,
    applied,
)
from wink_tasks.core.typed import TypedJson, slice_name, typed_json

T = TypeVar("T")
E = TypeVar("E")

Slices = Mapping[str, Log[Any]]
Upcast = Callable[[Json], Json]


@dataclass(frozen=True, kw_only=True, eq=False)
class EventType:
    """An event that the application dispatches. `upcast[n]` lifts its JSON from version n to n + 1."""

    type: type
    version: int = 1
    upcast: Mapping[int, Upcast] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if slice_name(self.type) is None:
            raise DeclarationError(f"event {self.type!r} is no dataclass and no pydantic model")
        missing = [version for version in range(1, self.version) if version not in self.upcast]
        if missing:
            raise DeclarationError(f"event {self.name}: version {self.version} needs upcast for versions {missing}")

    @property
    def name(self) -> str:
        """How the ledger names it."""
        return slice_name(self.type) or ""

    @cached_property
    def typed(self) -> TypedJson[Any]:
        """Its way to JSON and back."""
        return TypedJson(self.type, f"event {self.name}")

    def load(self, data: Json, version: int) -> Any:
        """The event in `data`. Raises LedgerFormatError for a version of the future, or JSON that does not fit."""
        if version > self.version:
            raise LedgerFormatError(
                f"event {self.name} has version {version}, this process knows it up to {self.version}: "
                f"upgrade the application here"
            )
        for step in range(version, self.version):
            data = self.upcast[step](data)
        try:
            return self.typed.load(data)
        except ValueInvalidError as error:
            raise LedgerFormatError(f"{error}; give the event a new version, and upcast from the old one") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceType:
    """A slice that the application declared."""

    type: type
    policy: SlicePolicy = SlicePolicy.STATE

    @cached_property
    def typed(self) -> TypedJson[Any]:
        """The way of its values to JSON and back."""
        return TypedJson(self.type, f"slice {slice_name(self.type)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """What an event does to a slice."""

    slice: str
    reducer: Reducer[Any, Any]

    @property
    def name(self) -> str:
        """The reducer, as errors name it."""
        reducer: Any = self.reducer
        if isinstance(reducer, partial) and not hasattr(reducer, "__qualname__"):
            reducer = reducer.func
        if not callable(reducer):
            return repr(reducer)
        return f"{reducer.__module__}.{getattr(reducer, '__qualname__', type(reducer).__qualname__)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What follows from the events of one name: made of what is declared, once."""

    load: Callable[[Json, int], Any] | None
    keeps: Literal["json", "value"] | None
    logs: bool
    rules: tuple[Rule, ...]
    logging: tuple[Rule, ...]


class Reducers:
    """What an application declared. It is complete when its modules are imported; folds of before do not change.

    `returned` gives the names of the types that tools and prompts return.
    """

    def __init__(self, returned: Callable[[], Collection[str]] = tuple) -> None:
        self.returned = returned
        self.events: dict[str, EventType] = {}
        self.slices: dict[str, SliceType] = {}
        self._rules: dict[str, list[Rule]] = {}
        self._built_in: set[str] = set()
        self._plans: dict[str, Plan] = {}
        self._fingerprint = ""

    def declare_event(self, event: EventType) -> None:
        """Know an event type. Raises DeclarationError for a second one of its name."""
        if event.name in self.events:
            raise DeclarationError(f"event {event.name} is declared twice")
        self.events[event.name] = event
        self._changed()

    def declare_slice(self, type_: type, policy: SlicePolicy) -> str:
        """Know a slice; its name. Raises DeclarationError for what is no dataclass or model, or is declared twice."""
        name = slice_name(type_)
        if name is None:
            raise DeclarationError(f"slice {type_!r} is no dataclass and no pydantic model")
        if name in self.slices:
            raise DeclarationError(f"slice {name} is declared twice")
        self.slices[name] = SliceType(type=type_, policy=policy)
        self._changed()
        return name

    def add_rule(self, slice_: str, on: type, reducer: Reducer[Any, Any]) -> None:
        """Have `reducer` keep a declared slice on each event of type `on`, the ledger's own included.

        Raises DeclarationError for what is no reducer, or no type of event.
        """
        rule = Rule(slice=slice_, reducer=reducer)
        check_shape(rule.name, slice_, "(view, event, *, context)", reducer, None, None, context=None)
        if not isinstance(on, type):
            raise DeclarationError(f"reducer {rule.name} of slice {slice_} is on {on!r}, which is no type of event")
        if issubclass(on, Event):
            name = on.__name__
            self._built_in.add(name)
        else:
            name = slice_name(on) or ""
            if name not in self.events:
                self.declare_event(EventType(type=on))
        self._rules.setdefault(name, []).append(rule)
        self._changed()

    def wrapped(self, wrap: Callable[[Rule], Reducer[Any, Any]]) -> Reducers:
        """The same declarations, with what `wrap` makes of each rule in the place of its reducer."""
        twin = Reducers(self.returned)
        twin.events.update(self.events)
        twin.slices.update(self.slices)
        twin._built_in.update(self._built_in)
        for name, rules in self._rules.items():
            twin._rules[name] = [replace(rule, reducer=wrap(rule)) for rule in rules]
        return twin

    def _changed(self) -> None:
        self._fingerprint = ""
        self._plans.clear()

    def knows(self, name: str) -> bool:
        """Whether something declares a slice of that name, or returns its values."""
        return name in self.slices or name in self.events or name in self.returned()

    @property
    def rules(self) -> Iterator[tuple[str, Rule]]:
        """Every rule with the name of its event, in the order of declaration."""
        return ((name, rule) for name, rules in self._rules.items() for rule in rules)

    def grows_only(self, slice_: str) -> bool:
        """Whether nothing but appending ever happens to a slice, so that it can be told by what its events are."""
        return all(rule.reducer is append_all for _, rule in self.rules if rule.slice == slice_)

    @property
    def fingerprint(self) -> str:
        """What changes when an event, a slice or a reducer changes: a fold of before is no fold of now."""
        if not self._fingerprint:
            parts: list[Any] = [[name, event.version] for name, event in sorted(self.events.items())]
            parts += [[name, one.policy.value] for name, one in sorted(self.slices.items())]
            parts += [[name, rule.slice, rule.name, _shape(rule.reducer)] for name, rule in self.rules]
            self._fingerprint = sha256(repr(parts).encode()).hexdigest()[:32]
        return self._fingerprint

    def folded(self, slices: Slices, event: AnyEvent, context: ReducerContext) -> Slices:
        """The slices after an event. Raises ReducerFailedError, LedgerFormatError."""
        match event:
            case Dispatched(name=name, data=data, version=version, failed=failed):
                return self._landed(slices, name, data, version, context, failed=failed)
            case ToolReturned(slice=str(name), value=data) | EvaluationSucceeded(slice=str(name), output=data):
                version = self.events[name].version if name in self.events else 1
                slices = self._landed(slices, name, data, version, context, failed=False)
            case SliceSeeded():
                return {**slices, event.slice: self._seeded(event)}
            case _:
                pass
        own = type(event).__name__
        return _ruled(self._rules[own], slices, own, event, context) if own in self._built_in else slices

    def _landed(
        self, slices: Slices, name: str, data: Json, version: int, context: ReducerContext, *, failed: bool
    ) -> Slices:
        plan = self._plans.get(name) or self._planned(name)
        event = data if plan.load is None else plan.load(data, version)
        if plan.keeps is not None and (plan.logs or not failed):
            value = event if plan.keeps == "value" else data
            slices = {**slices, name: slices.get(name, _EMPTY).added(value)}
        return _ruled(plan.logging if failed else plan.rules, slices, name, event, context)

    def _planned(self, name: str) -> Plan:
        known, declared = self.events.get(name), self.slices.get(name)
        if known is None and declared is not None:
            known = EventType(type=declared.type)
        rules = tuple(self._rules.get(name, ()))
        own = any(rule.slice == name for rule in rules)
        plan = self._plans[name] = Plan(
            load=None if known is None else known.load,
            keeps=None if own else "json" if declared is None else "value",
            logs=self.logs(name),
            rules=rules,
            logging=tuple(rule for rule in rules if self.logs(rule.slice)),
        )
        return plan

    def dispatched(self, event: object) -> Dispatched:
        """The ledger's event of an application's own. Raises ValueInvalidError."""
        name = slice_name(type(event)) or ""
        known = self.events.get(name)
        if known is None:
            return Dispatched(name=name, data=typed_json(type(event)).dump(event))
        return Dispatched(name=name, data=known.typed.dump(event), version=known.version)

    def has_rules(self, name: str) -> bool:
        """Whether a reducer is asked about events of that name."""
        return name in self._rules

    def logs_event(self, name: str) -> bool:
        """Whether a slice of policy LOG takes notice of an event of that name."""
        return self.logs(name) or any(self.logs(rule.slice) for rule in self._rules.get(name, ()))

    def logs(self, slice_: str) -> bool:
        """Whether a slice keeps what came of tools that failed."""
        declared = self.slices.get(slice_)
        return declared is not None and declared.policy is SlicePolicy.LOG

    def _seeded(self, event: SliceSeeded) -> Log[Any]:
        declared = self.slices.get(event.slice)
        values = event.values if declared is None else map(declared.typed.load, event.values)
        return Log.of(values)


NO_REDUCERS: Final = Reducers()
"""Of a process that declares nothing: values land in the slices of their own types."""

_EMPTY: Final[Log[Any]] = Log()
_OPERATIONS: Final = (Append, Extend, Replace, Clear)


def _ruled(rules: Sequence[Rule], slices: Slices, name: str, event: object, context: ReducerContext) -> Slices:
    for rule in rules:
        values = slices.get(rule.slice, _EMPTY)
        try:
            operation = rule.reducer(SliceView(values), event, context=context)
            if not isinstance(operation, _OPERATIONS):
                raise TypeError(f"it returned {operation!r}, not Append, Extend, Replace or Clear")  # noqa: TRY301
            after = applied(values, operation)
        except Exception as error:
            raise ReducerFailedError(
                f"reducer {rule.name} of slice {rule.slice} failed on {name}, event {context.seq} of session "
                f"{context.session!r}: {type(error).__name__}: {error}"
            ) from error
        slices = {**slices, rule.slice: after}
    return slices


def check_shape(name: str, slice_: str, shape: str, function: Any, /, *given: object, **named: object) -> None:
    """Raise DeclarationError where a reducer cannot be called with what it is given, or would answer later."""
    told = f"reducer {name} of slice {slice_}"
    if not callable(function):
        raise DeclarationError(f"{told} is no function {shape}")
    if iscoroutinefunction(function):
        raise DeclarationError(f"{told} is async: a reducer is a plain function {shape}")
    try:
        signature(function, follow_wrapped=False).bind(*given, **named)
    except TypeError as error:
        raise DeclarationError(f"{told} is not of the shape {shape}: {error}") from error


def _shape(value: object) -> Any:
    """What a function does, as far as it can be seen from outside of it: its code, its defaults, what it encloses."""
    if isinstance(value, CodeType):
        return [value.co_code.hex(), value.co_names, [_shape(constant) for constant in value.co_consts]]
    if isinstance(value, partial):
        return [_shape(value.func), _shape(value.args), _shape(sorted(value.keywords.items()))]
    if isinstance(value, tuple | list):
        return [_shape(item) for item in value]
    code = getattr(value, "__code__", None)
    if code is None:
        return value if isinstance(value, str | int | float | bytes | bool | None) else type(value).__qualname__
    cells = [cell.cell_contents for cell in value.__closure__ or ()]  # type: ignore[attr-defined]  # a function
    return [_shape(code), _shape(cells), _shape(value.__defaults__)]  # type: ignore[attr-defined]  # a function
