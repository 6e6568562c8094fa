"""Resources as they are declared: which factory makes one, for how long, from which others; and what can never work."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from types import FunctionType
from typing import Any, get_args

from typing_extensions import get_protocol_members, is_protocol

from wink_tasks.core.errors import DeclarationError, UnresolvedAnnotationError
from wink_tasks.core.signature import annotations_of, hints_of, unannotated


class Scope(Enum):
    """For how long a resource lives, and who shares it."""

    SINGLETON = "singleton"
    """One a process: made at first use, closed when the process ends. Several threads use it at once."""
    TOOL_CALL = "tool call"
    """One a delivery of a call: made at first use in it, closed at its end, whatever happened."""
    PROTOTYPE = "prototype"
    """A new one each time that it is asked for, closed when whoever asked ends: the call, or the other resource."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Binding:
    """`factory` makes what is bound to `wanted`; where `given` is set, it is the resource itself, and never closed."""

    wanted: type
    factory: Any
    scope: Scope = Scope.SINGLETON
    given: bool = False

    @classmethod
    def of(cls, wanted: type, bound: object, scope: Scope = Scope.SINGLETON) -> Binding:
        """A function, a method or a class makes the resource; an instance of `wanted` is it; else what can be called.

        Raises DeclarationError for what is neither, and for a factory whose parameters do not say what they need.
        """
        if not inspect.isclass(wanted):
            raise DeclarationError(f"resource {wanted!r} is no class: bind a class or a Protocol, which tools ask for")
        makes = inspect.isroutine(bound) or inspect.isclass(bound) or isinstance(bound, partial)
        given = not makes and is_one(bound, wanted)
        if not (given or callable(bound)):
            message = f"resource {wanted.__qualname__} is bound to {bound!r}, neither an instance of it nor a factory"
            raise DeclarationError(message)
        if given and scope is not Scope.SINGLETON:
            message = f"resource {wanted.__qualname__} is bound to an instance, so there is only one: give a factory"
            raise DeclarationError(message)
        binding = cls(wanted=wanted, factory=bound, scope=scope, given=given)
        binding._check()
        return binding

    @property
    def name(self) -> str:
        """How errors call it."""
        return self.wanted.__qualname__

    @property
    def what(self) -> str:
        """How errors call its factory."""
        return f"the factory of resource {self.name}"

    @cached_property
    def is_async(self) -> bool:
        """Whether making or closing one needs the process's loop, as far as that can be told before."""
        plain = self.factory.func if isinstance(self.factory, partial) else self.factory
        if self.given:
            return False
        if inspect.isclass(plain):
            return hasattr(plain, "__aenter__") and not hasattr(plain, "close")
        return inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(inspect.unwrap(plain))

    def needs(self, bound: Mapping[type, Binding]) -> dict[str, type]:
        """The resources that the factory is given, by parameter; those with a default only where they are bound.

        Raises UnresolvedAnnotationError.
        """
        needs: dict[str, type] = {}
        for name, parameter in self._asked.items():
            required = parameter.default is parameter.empty
            try:
                wanted = self._resolved(name)
            except UnresolvedAnnotationError:
                if required:
                    raise
                continue
            if required or (inspect.isclass(wanted) and wanted in bound):
                needs[name] = wanted
        return needs

    def _check(self) -> None:
        for name, parameter in self._asked.items():
            if parameter.default is parameter.empty and name not in self._written:
                message = f"{self.what} does not say what its parameter {name!r} is: annotate it with a resource"
                raise DeclarationError(message)

    def _function(self) -> FunctionType | None:
        """What is written in Python of the factory."""
        if self.given:
            return None
        called: Any = self.factory.func if isinstance(self.factory, partial) else self.factory
        written: Any = called
        if inspect.isclass(called):
            written = called.__new__ if called.__init__ is object.__init__ else called.__init__
        elif not inspect.isroutine(called):
            written = type(called).__call__
        plain: object = inspect.unwrap(getattr(written, "__func__", written))  # a bound method's
        return plain if isinstance(plain, FunctionType) else None

    @cached_property
    def _asked(self) -> Mapping[str, inspect.Parameter]:
        """Its parameters that are not given yet."""
        if (function := self._function()) is None:
            return {}
        plain: Any = self.factory
        first, named = 0, frozenset[str]()
        if isinstance(plain, partial):
            first, named = len(plain.args), frozenset(plain.keywords)
            plain = plain.func
        first += not isinstance(plain, FunctionType)  # self, or the class
        asked = list(inspect.signature(unannotated(function)).parameters.values())[first:]
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return {one.name: one for one in asked if one.kind in kinds and one.name not in named}

    @cached_property
    def _written(self) -> Mapping[str, Any]:
        function = self._function()
        return {} if function is None else annotations_of(function)

    def _resolved(self, name: str) -> Any:
        function = self._function()
        return None if function is None else hints_of(function, self.what, (name,), extras=False).get(name)


def made_by(factory: Any) -> type:
    """The class that a factory says it makes: what it returns or yields, or the class that it is itself.

    Raises DeclarationError, UnresolvedAnnotationError.
    """
    if inspect.isclass(factory):
        return factory
    if not callable(factory):
        raise DeclarationError(f"a resource is made by a class or a function, not by {factory!r}")
    plain = inspect.unwrap(factory)
    what = f"resource {plain.__qualname__!r}"
    hint = hints_of(plain, what, ("return",), extras=False).get("return")
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        hint = next(iter(get_args(hint)), None)
    if not inspect.isclass(hint):
        raise DeclarationError(f"{what} does not say which class it makes: annotate what it returns or yields")
    return hint


def is_one(value: object, wanted: type) -> bool:
    """Whether `value` is an instance of a class, or has all that a Protocol names."""
    if is_protocol(wanted):
        return all(hasattr(value, member) for member in get_protocol_members(wanted))
    return isinstance(value, wanted)


def check(bound: Mapping[type, Binding], *, whole: bool) -> None:
    """Refuse cycles, and singletons that would hold what ends with a call; of the `whole` also what is missing.

    Raises DeclarationError, which shows the way from the one to the other; of the whole, UnresolvedAnnotationError.
    """
    for binding in bound.values():
        _follow(binding, bound, (), whole=whole)


def _follow(binding: Binding, bound: Mapping[type, Binding], way: tuple[Binding, ...], *, whole: bool) -> None:
    if binding in way:
        cycle = (*way[way.index(binding) :], binding)
        raise DeclarationError(f"resources need each other: {_shown(cycle)}. Take one of them out of its factory")
    holder = next((one for one in reversed(way) if one.scope is Scope.SINGLETON), None)
    way = (*way, binding)
    if holder is not None and binding.scope is Scope.TOOL_CALL:
        message = (
            f"resource {holder.name} is a singleton, and would hold {binding.name} beyond its tool call: "
            f"{_shown(way[way.index(holder) :])}. Bind {holder.name} with Scope.TOOL_CALL, or {binding.name} otherwise"
        )
        raise DeclarationError(message)
    for needed in _needs(binding, bound, whole=whole):
        if needed in bound:
            _follow(bound[needed], bound, way, whole=whole)
        elif whole:
            called = getattr(needed, "__qualname__", needed)
            message = f"{binding.what} needs {called}, which is not bound: wink.resources.bind({called}, ...)"
            raise DeclarationError(message)


def _needs(binding: Binding, bound: Mapping[type, Binding], *, whole: bool) -> list[type]:
    try:
        return list(binding.needs(bound).values())
    except UnresolvedAnnotationError:
        if whole:
            raise
        return []  # what it names may be imported later


def _shown(way: tuple[Binding, ...]) -> str:
    return " -> ".join(one.name for one in way)


def is_awaited(wanted: type, bound: Mapping[type, Binding]) -> bool:
    """Whether making one, or anything that it needs, is known to need the process's loop."""
    binding = bound[wanted]
    return binding.is_async or any(is_awaited(needed, bound) for needed in binding.needs(bound).values())
