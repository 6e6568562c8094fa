"""What a function declares: its docstring, its parameters as a class, what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, make_dataclass
from functools import partial
from types import FunctionType
from typing import Any, Final, ForwardRef, get_type_hints

from pydantic import ConfigDict
from typing_extensions import Format, get_annotations

from wink_tasks.core.errors import DeclarationError, UnresolvedAnnotationError
from wink_tasks.core.parameters import Parameters

_KINDS: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, kw_only=True, eq=False)
class Signature:
    """`doc` is the docstring, as it stands. `context` is the parameter for a tool's context, none of `parameters`."""

    function: FunctionType
    what: str
    doc: str
    context: str | None
    parameters: Parameters

    @classmethod
    def of(cls, function: Callable[..., Any], what: str, context_type: type | None = None) -> Signature:
        """The signature of `function`, which errors call `what`.

        Raises DeclarationError where the docstring, an annotation of a parameter, or a plain form of a parameter is
        missing.
        """
        plain = inspect.unwrap(function)
        if not isinstance(plain, FunctionType):
            raise DeclarationError(f"{what}: {function!r} is no function: declare one with `def`")
        doc = inspect.cleandoc(plain.__doc__ or "")
        if not doc:
            raise DeclarationError(f"{what} has no docstring: the model is told by it what to do")
        annotations = get_annotations(plain, format=Format.FORWARDREF)
        listed = inspect.signature(_annotated(plain, {})).parameters
        context = next((name for name in listed if _is_context(plain, annotations.get(name), context_type)), None)
        declared = {name: parameter for name, parameter in listed.items() if name != context}
        for name, parameter in declared.items():
            if parameter.kind not in _KINDS:
                message = f"{what}: parameter {parameter} has no name of its own for a model: list each by name"
                raise DeclarationError(message)
            if name not in annotations:
                raise DeclarationError(f"{what}: parameter {name!r} has no annotation: say its type, `{name}: str`")
        parameters = Parameters(what=what, names=tuple(declared), resolve=partial(_as_class, plain, what, declared))
        return cls(function=plain, what=what, doc=doc, context=context, parameters=parameters)

    def returns(self) -> Any:
        """The type that it returns. Raises DeclarationError without an annotation, UnresolvedAnnotationError."""
        hints = _hints(self.function, self.what, ("return",))
        if "return" not in hints:
            raise DeclarationError(f"{self.what} does not say what it returns: annotate it, `-> str`")
        return hints["return"]


def _annotated(function: FunctionType, annotations: Mapping[str, Any]) -> FunctionType:
    """The function with these annotations: neither `signature` nor `get_type_hints` then looks at the others."""
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = dict(annotations)
    return copy


def _is_context(function: FunctionType, annotation: Any, context_type: type | None) -> bool:
    """By its name too: where it is imported for type checkers only, there is nothing that the name resolves to."""
    if context_type is None:
        return False
    named = annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else annotation
    if not isinstance(named, str):
        return named is context_type
    return named.rpartition(".")[2] == context_type.__name__ or function.__globals__.get(named) is context_type


def _hints(function: FunctionType, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    written = get_annotations(function, format=Format.FORWARDREF)
    wanted = {name: written[name] for name in names if name in written}
    try:
        return get_type_hints(_annotated(function, wanted), include_extras=True)
    except (NameError, AttributeError) as error:
        message = (
            f"{what}: an annotation does not resolve: {error}. "
            f"Define it at the level of the module, and import it outside of `if TYPE_CHECKING`"
        )
        raise UnresolvedAnnotationError(message) from error


def _as_class(function: FunctionType, what: str, declared: Mapping[str, inspect.Parameter]) -> type:
    hints = _hints(function, what, tuple(declared))
    return make_dataclass(
        function.__name__,
        [(name, hints[name], _default(parameter)) for name, parameter in declared.items()],
        kw_only=True,
        namespace={"__pydantic_config__": ConfigDict(extra="forbid"), "__doc__": None},
    )


def _default(parameter: inspect.Parameter) -> Any:
    if parameter.default is parameter.empty:
        return field()
    if parameter.default.__hash__ is None:
        return field(default_factory=partial(deepcopy, parameter.default))
    return field(default=parameter.default)
