"""The resources that an application binds, by type."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from wink_tasks.core.bindings import Binding, Scope, check
from wink_tasks.core.errors import DeclarationError

T = TypeVar("T")


class ResourceRegistry:
    """What an application binds. `told` hears of each type that is bound, before it is; it may refuse it."""

    def __init__(self, context_type: type, told: Callable[[type], object]) -> None:
        self._told = told
        self._whole = False
        self.bound: dict[type, Binding] = {
            context_type: Binding(wanted=context_type, factory=None, scope=Scope.TOOL_CALL, given=True)
        }

    def bind(self, wanted: Callable[..., T], factory: object, scope: Scope = Scope.SINGLETON) -> None:
        """Have `factory` make what tools get where they ask for the class or Protocol `wanted`.

        Its parameters are resources, too, or a TOOL_CALL's ToolContext. It may be a function, a class, a generator that
        yields once, or `async`; a plain instance of `wanted` is a singleton. Raises DeclarationError for a second
        binding, a cycle, a singleton that would hold what ends with a call, and, once the process has begun to work,
        for what is not bound.
        """
        binding = Binding.of(cast("type", wanted), factory, scope)
        if binding.wanted in self.bound:
            raise DeclarationError(f"resource {binding.name} is bound twice: bind a class of its own for the second")
        check({**self.bound, binding.wanted: binding}, whole=self._whole)
        self._told(binding.wanted)
        self.bound[binding.wanted] = binding

    def check(self) -> None:
        """Refuse what is missing, now that everything is declared. Raises DeclarationError."""
        check(self.bound, whole=True)
        self._whole = True

    def replaced(self, others: Mapping[type, Any]) -> Mapping[type, Binding]:
        """All bindings, with `others` in the place of those of the same types. Raises DeclarationError."""
        bound = ChainMap({wanted: Binding.of(wanted, one) for wanted, one in others.items()}, self.bound)
        if others:
            check(bound, whole=True)
        return bound
