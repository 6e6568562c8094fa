"""What a function declares: its docstring, its parameters as a class, what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, make_dataclass
from functools import cached_property, partial
from types import FunctionType
from typing import Any, Final, ForwardRef, get_type_hints

from pydantic import ConfigDict
from typing_extensions import Format, get_annotations

from wink_tasks.core.errors import DeclarationError, UnresolvedAnnotationError
from wink_tasks.core.parameters import Parameters
from wink_tasks.core.typed import has_schema

_KINDS: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, kw_only=True, eq=False)
class Signature:
    """`doc` is the docstring, as it stands. `context` is the parameter for a tool's context; no caller gives it.

    `bound` are the types that stand for resources, now and when more of them are declared; None where there are none.
    """

    function: FunctionType
    what: str
    doc: str
    context: str | None
    declared: Mapping[str, inspect.Parameter]
    bound: Container[type] | None = None

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        what: str,
        context_type: type | None = None,
        *,
        documented: bool = True,
        bound: Container[type] | None = None,
    ) -> Signature:
        """The signature of `function`, which errors call `what`.

        Raises DeclarationError where an annotation of a parameter, a plain form of a parameter or, unless it need not
        be `documented`, the docstring is missing.
        """
        plain = inspect.unwrap(function)
        if not isinstance(plain, FunctionType):
            raise DeclarationError(f"{what}: {function!r} is no function: declare one with `def`")
        doc = inspect.cleandoc(plain.__doc__ or "")
        if documented and not doc:
            raise DeclarationError(f"{what} has no docstring: the model is told by it what to do")
        annotations = annotations_of(plain)
        listed = inspect.signature(unannotated(plain)).parameters
        context = next((name for name in listed if _is_context(plain, annotations.get(name), context_type)), None)
        declared = {name: parameter for name, parameter in listed.items() if name != context}
        for name, parameter in declared.items():
            if parameter.kind not in _KINDS:
                message = f"{what}: parameter {parameter} has no name of its own: list each by name"
                raise DeclarationError(message)
            if name not in annotations:
                raise DeclarationError(f"{what}: parameter {name!r} has no annotation: say its type, `{name}: str`")
        signature = cls(function=plain, what=what, doc=doc, context=context, declared=declared, bound=bound)
        with suppress(UnresolvedAnnotationError):
            _ = signature.parameters
        return signature

    @cached_property
    def resources(self) -> Mapping[str, type]:
        """The parameters that are resources, which no caller gives. Raises UnresolvedAnnotationError."""
        bound = self.bound
        if bound is None:
            return {}
        return {name: type_ for name, type_ in self._classes().items() if type_ in bound}

    @cached_property
    def parameters(self) -> Parameters:
        """Those that a caller gives.

        Raises UnresolvedAnnotationError for one that is neither JSON nor a resource yet, DeclarationError for one that
        can be neither.
        """
        given = {name: parameter for name, parameter in self.declared.items() if name not in self.resources}
        resolve = partial(_as_class, self.function, self.what, given)
        try:
            return Parameters(what=self.what, names=tuple(given), resolve=resolve)
        except DeclarationError as error:
            if self.bound is None:
                raise
            for name, type_ in self._classes().items():
                if name in given and not has_schema(type_):
                    message = (
                        f"{self.what}: parameter {name!r} is a {type_.__qualname__}, which JSON cannot hold, and which "
                        f"is bound to no resource: wink.resources.bind({type_.__qualname__}, ...)"
                    )
                    raise UnresolvedAnnotationError(message) from error
            raise

    def takes(self, resource: type) -> bool:
        """Whether a parameter is annotated with that class, as far as annotations resolve by now."""
        try:
            return resource in self._classes().values()
        except UnresolvedAnnotationError:
            return False

    def reconsider(self) -> None:
        """Look again at which parameters are resources: one more is bound."""
        for name in ("resources", "parameters"):
            vars(self).pop(name, None)

    def _classes(self) -> dict[str, type]:
        hints = hints_of(self.function, self.what, tuple(self.declared), extras=False)
        return {name: hint for name, hint in hints.items() if inspect.isclass(hint)}

    def returns(self) -> Any:
        """The type that it returns. Raises DeclarationError without an annotation, UnresolvedAnnotationError."""
        hints = hints_of(self.function, self.what, ("return",))
        if "return" not in hints:
            raise DeclarationError(f"{self.what} does not say what it returns: annotate it, `-> str`")
        return hints["return"]


def unannotated(function: FunctionType) -> FunctionType:
    """The function, so that `inspect.signature` does not look at its annotations, which need not resolve."""
    return _annotated(function, {})


def annotations_of(function: FunctionType) -> Mapping[str, Any]:
    """Its annotations as they stand: what does not resolve is a string or a ForwardRef."""
    return get_annotations(function, format=Format.FORWARDREF)


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


def hints_of(function: FunctionType, what: str, names: tuple[str, ...], *, extras: bool = True) -> dict[str, Any]:
    """The types of those parameters, with what `Annotated` adds where `extras`. Raises UnresolvedAnnotationError."""
    written = annotations_of(function)
    wanted = {name: written[name] for name in names if name in written}
    try:
        return get_type_hints(_annotated(function, wanted), include_extras=extras)
    except (NameError, AttributeError) as error:
        message = (
            f"{what}: an annotation does not resolve: {error}. "
            f"Define it at the level of the module, and import it outside of `if TYPE_CHECKING`"
        )
        raise UnresolvedAnnotationError(message) from error


def _as_class(function: FunctionType, what: str, declared: Mapping[str, inspect.Parameter]) -> type:
    hints = hints_of(function, what, tuple(declared))
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
