"""Which resources can be bound, and what a graph of them may not be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self

import pytest

from wink_tasks.core.bindings import Binding, Scope, check, is_awaited, made_by
from wink_tasks.core.errors import DeclarationError, UnresolvedAnnotationError

if TYPE_CHECKING:
    Elsewhere = int


class Pool:
    pass


class Reads(Protocol):
    def read(self) -> str: ...


class File:
    def __init__(self, pool: Pool, name: str = "a") -> None:
        self.pool = pool

    def read(self) -> str:
        return ""

    @classmethod
    def of(cls, pool: Pool) -> File:
        return cls(pool)

    def remade(self, pool: Pool) -> File:
        return self


@dataclass
class Held:
    pool: Pool
    name: str = ""


class Maker:
    def __call__(self, pool: Pool) -> File:
        return File(pool)


class Entered:
    async def __aenter__(self) -> Self:
        return self


class New:
    def __new__(cls, pool: Pool) -> Self:
        return object.__new__(cls)


def plain(pool: Pool, *rest: int, name: str = "b", other: Elsewhere = 0) -> File:
    return File(pool)


def lazy(other: Elsewhere) -> File:
    return File(Pool())


def untold(pool) -> File:
    return File(pool)


def yields(pool: Pool) -> Iterator[File]:
    yield File(pool)


def holds(file: File) -> Held:
    return Held(file.pool)


async def coroutine(pool: Pool) -> File:
    return File(pool)


async def yields_later(pool: Pool) -> AsyncIterator[File]:
    yield File(pool)


BOUND = {Pool: Binding.of(Pool, Pool)}


@pytest.mark.parametrize(
    "factory",
    [File, File.of, File(Pool()).remade, Maker(), New, Held, plain, partial(plain, name="c"), yields, coroutine],
)
def test_what_a_factory_needs_is_in_its_annotations(factory: Any) -> None:
    assert Binding.of(File, factory).needs(BOUND) == {"pool": Pool}


def test_a_parameter_with_a_default_is_given_where_it_is_bound() -> None:
    text = Binding.of(str, str)
    assert Binding.of(File, File).needs({**BOUND, str: text}) == {"pool": Pool, "name": str}
    assert Binding.of(File, partial(File, Pool())).needs(BOUND) == {}
    assert Binding.of(dict, dict).needs({}) == {}


def test_an_instance_is_itself_and_a_function_or_class_makes_it() -> None:
    file = File(Pool())
    assert Binding.of(Reads, file).given
    assert Binding.of(File, file).given
    assert not Binding.of(Reads, File).given
    assert Binding.of(Reads, file).needs({}) == {}


@pytest.mark.parametrize(
    ("wanted", "bound", "scope", "told"),
    [
        ("Pool", Pool, Scope.SINGLETON, "resource 'Pool' is no class"),
        (Pool, 3, Scope.SINGLETON, "resource Pool is bound to 3, neither an instance of it nor a factory"),
        (Reads, 3, Scope.SINGLETON, "resource Reads is bound to 3"),
        (Pool, Pool(), Scope.TOOL_CALL, "bound to an instance, so there is only one"),
        (File, untold, Scope.SINGLETON, "the factory of resource File does not say what its parameter 'pool' is"),
    ],
)
def test_what_cannot_be_bound_is_refused(wanted: Any, bound: Any, scope: Scope, told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        Binding.of(wanted, bound, scope)


class A:
    def __init__(self, b: B) -> None: ...


class B:
    def __init__(self, c: C) -> None: ...


class C:
    def __init__(self, a: A) -> None: ...


def graph(**scopes: Scope) -> dict[type, Binding]:
    return {globals()[name]: Binding.of(globals()[name], globals()[name], scope) for name, scope in scopes.items()}


def test_a_cycle_is_shown() -> None:
    open_ended = graph(A=Scope.SINGLETON, B=Scope.SINGLETON)
    check(open_ended, whole=False)
    with pytest.raises(DeclarationError, match="the factory of resource B needs C, which is not bound"):
        check(open_ended, whole=True)
    with pytest.raises(DeclarationError, match="resources need each other: A -> B -> C -> A"):
        check(graph(A=Scope.SINGLETON, B=Scope.PROTOTYPE, C=Scope.PROTOTYPE), whole=False)


@pytest.mark.parametrize("between", [Scope.PROTOTYPE, Scope.SINGLETON])
def test_a_singleton_cannot_hold_what_ends_with_a_call(between: Scope) -> None:
    made = {**graph(A=Scope.SINGLETON, B=between), C: Binding.of(C, partial(C, None), Scope.TOOL_CALL)}
    with pytest.raises(DeclarationError, match=r"would hold C beyond its tool call: .*B -> C\. Bind"):
        check(made, whole=False)
    check({**made, **graph(A=Scope.TOOL_CALL, B=Scope.PROTOTYPE)}, whole=True)


def test_what_does_not_resolve_yet_waits_for_the_whole() -> None:
    bound = {File: Binding.of(File, lazy)}
    check(bound, whole=False)
    with pytest.raises(UnresolvedAnnotationError, match=r"the factory of resource File: .*Elsewhere"):
        check(bound, whole=True)


@pytest.mark.parametrize(
    ("factory", "awaited"),
    [
        (coroutine, True),
        (partial(coroutine, Pool()), True),
        (yields_later, True),
        (asynccontextmanager(yields_later), True),
        (Entered, True),
        (yields, False),
        (File(Pool()), False),
    ],
)
def test_what_needs_the_loop_is_known_before(factory: Any, awaited: bool) -> None:
    bound = {**BOUND, File: Binding.of(File, factory)}
    assert is_awaited(File, bound) is awaited

    assert is_awaited(Held, {**bound, Held: Binding.of(Held, holds)}) is awaited


def test_a_factory_says_what_it_makes() -> None:
    makers: list[Callable[..., Any]] = [File, File.of, plain, yields, yields_later, coroutine]
    makers += [contextmanager(yields), asynccontextmanager(yields_later)]
    assert {made_by(maker) for maker in makers} == {File}

    def says_nothing():
        return 1

    with pytest.raises(DeclarationError, match="does not say which class it makes"):
        made_by(says_nothing)
