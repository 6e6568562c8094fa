from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pytest

from wink_tasks.core.errors import DeclarationError, UnresolvedAnnotationError
from wink_tasks.core.signature import Signature

P = ParamSpec("P")
R = TypeVar("R")
if TYPE_CHECKING:
    Later = int  # the tests define it when they want it to exist


class Context:
    pass


Alias = Context


def logged(function: Callable[P, R]) -> Callable[P, R]:
    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return wrapper


def plain(path: str, schema: int = 3, *, tags: list[str] = ["a"]) -> str:  # noqa: B006 - what users write
    """Say what it does.

    In two paragraphs.
    """
    return path * schema + "".join(tags)


def with_context(path: str, ctx: Context) -> None:
    """Doc."""


def with_context_by_name(ctx: somewhere.Context, path: str) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Doc."""


def with_context_by_alias(path: str, ctx: Alias) -> None:
    """Doc."""


def lazy(path: Later) -> Later:
    """Doc."""


def silent(path: str) -> None: ...


def unannotated(path) -> None:  # type: ignore[no-untyped-def]
    """Doc."""


def any_number(*paths: str) -> None:
    """Doc."""


def any_name(**paths: str) -> None:
    """Doc."""


def by_place(path: str, /) -> None:
    """Doc."""


def says_nothing_of_its_result(path: str):  # type: ignore[no-untyped-def]
    """Doc."""


def test_it_tells_docstring_names_and_schema() -> None:
    signature = Signature.of(plain, "tool 'plain'")
    assert signature.doc == "Say what it does.\n\nIn two paragraphs."
    assert signature.parameters.names == ("path", "schema", "tags")
    assert signature.context is None
    assert signature.returns() is str
    assert signature.parameters.schema() == {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "schema": {"type": "integer", "default": 3},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["path"],
        "additionalProperties": False,
    }


def test_defaults_that_can_change_are_copied() -> None:
    signature = Signature.of(plain, "tool 'plain'")
    signature.parameters.load({"path": "a"}).tags.append("b")
    assert signature.parameters.load({"path": "a"}).tags == ["a"]


def test_a_wrapped_function_is_read_as_the_one_inside() -> None:
    assert Signature.of(logged(plain), "tool 'plain'").parameters.names == ("path", "schema", "tags")


@pytest.mark.parametrize("function", [with_context, with_context_by_name, with_context_by_alias])
def test_the_context_is_no_parameter_and_its_name_need_not_exist(function: Callable[..., Any]) -> None:
    signature = Signature.of(function, "tool", Context)
    assert signature.context == "ctx"
    assert signature.parameters.names == ("path",)
    assert list(signature.parameters.schema()["properties"]) == ["path"]


def test_a_context_that_is_no_string_is_known_by_its_class() -> None:
    def inner(ctx: Context, path: str) -> None:
        """Doc."""

    inner.__annotations__ = {"ctx": Context, "path": str, "return": None}
    assert Signature.of(inner, "tool", Context).context == "ctx"


def test_without_a_context_type_none_is_looked_for() -> None:
    with pytest.raises(DeclarationError, match="field 'ctx' cannot be JSON"):
        Signature.of(with_context, "prompt")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (silent, "^tool 'x' has no docstring"),
        (unannotated, "^tool 'x': parameter 'path' has no annotation"),
        (any_number, r"^tool 'x': parameter \*paths"),
        (any_name, r"^tool 'x': parameter \*\*paths"),
        (by_place, "^tool 'x': parameter path"),
        (partial(plain, "a"), "is no function: declare one with `def`"),
        (Context, "is no function"),
    ],
)
def test_what_can_never_run_is_refused(function: Callable[..., Any], told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        Signature.of(function, "tool 'x'")


def test_a_result_without_annotation_is_refused() -> None:
    with pytest.raises(DeclarationError, match="does not say what it returns"):
        Signature.of(says_nothing_of_its_result, "tool 'x'").returns()


def test_annotations_resolve_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    signature = Signature.of(lazy, "tool 'lazy'")
    with pytest.raises(UnresolvedAnnotationError, match=r"^tool 'lazy': .*'Later'.* TYPE_CHECKING"):
        signature.parameters.bind("3")
    with pytest.raises(UnresolvedAnnotationError):
        signature.returns()
    assert not signature.takes(int)
    monkeypatch.setitem(globals(), "Later", int)
    assert signature.parameters.bind("3") == {"path": 3}
    assert signature.returns() is int


class Unlike:
    pass


def test_what_can_never_be_a_resource_is_refused_at_once():
    def then(then: Callable[[], int]) -> str:
        """Doc."""
        return str(then)

    with pytest.raises(DeclarationError, match="field 'then' cannot be JSON") as caught:
        Signature.of(then, "tool 'then'", bound=())
    assert not isinstance(caught.value, UnresolvedAnnotationError)


def test_a_class_may_be_bound_to_a_resource_later():
    def uses(size: int, found: Unlike) -> str:
        """Doc."""
        return f"{found} {size}"

    bound: list[type] = []
    signature = Signature.of(uses, "tool 'uses'", bound=bound)
    with pytest.raises(UnresolvedAnnotationError, match="'found' is a Unlike, which JSON cannot hold"):
        _ = signature.parameters
    bound.append(Unlike)
    assert signature.takes(Unlike)
    signature.reconsider()
    assert (signature.resources, signature.parameters.names) == ({"found": Unlike}, ("size",))
