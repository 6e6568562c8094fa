"""A tool's definition: what the model is told of it, and how a call of the model becomes a call of the function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from wink_tasks.core.errors import DeclarationError, UnresolvedAnnotationError
from wink_tasks.core.events import Json
from wink_tasks.core.signature import Signature
from wink_tasks.core.typed import TypedJson

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ToolDefinition:
    """`name` is what models call. `timeout` is seconds; None is none.

    `inline` runs it where its prompt's turns run, `parallel` beside other calls of the same answer. `retry_on` are
    the exceptions that are tried again, `max_retries` how often. `queue` None is the application's choice.
    """

    name: str
    function: Callable[..., Any]
    signature: Signature
    queue: str | None = None
    inline: bool = False
    parallel: bool = False
    timeout: float | None = None
    max_retries: int = 3
    retry_on: tuple[type[Exception], ...] = ()

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: str,
        context_type: type,
        queue: str | None = None,
        inline: bool = False,
        parallel: bool = False,
        timeout: float | None = None,
        max_retries: int = 3,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> ToolDefinition:
        """The definition of a function. The parameter annotated `context_type` is not the model's to give.

        Raises DeclarationError for what can never run; for types only where their annotations resolve by now.
        """
        return cls(
            name=name,
            function=function,
            signature=Signature.of(function, f"tool {name!r}", context_type),
            queue=queue,
            inline=inline,
            parallel=parallel,
            timeout=timeout,
            max_retries=max_retries,
            retry_on=retry_on,
        )

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            message = f"tool {self.name!r}: providers take 1 to 64 letters, digits, _ and - as a name: give it name="
            raise DeclarationError(message)
        if self.timeout is not None and not self.timeout > 0:
            raise DeclarationError(f"tool {self.name!r}: timeout={self.timeout!r} is not greater than zero")
        if self.max_retries < 0:
            raise DeclarationError(f"tool {self.name!r}: max_retries={self.max_retries!r} is less than zero")
        with suppress(UnresolvedAnnotationError):
            self.result.finalize()

    def finalize(self) -> None:
        """Resolve every annotation now. Raises DeclarationError, UnresolvedAnnotationError."""
        self.signature.parameters.typed.finalize()
        self.result.finalize()

    @property
    def description(self) -> str:
        """The docstring, as it stands."""
        return self.signature.doc

    @cached_property
    def parameters(self) -> dict[str, Json]:
        """The JSON schema of the arguments."""
        return self.signature.parameters.schema()

    @cached_property
    def result(self) -> TypedJson[Any]:
        """The type of what it returns."""
        return TypedJson(self.signature.returns(), f"tool {self.name!r}, result")

    @property
    def context_parameter(self) -> str | None:
        """The parameter to which the tool's context goes, if it has one."""
        return self.signature.context

    @property
    def is_async(self) -> bool:
        """Whether a call has to be awaited."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def slice_name(self) -> str | None:
        """The slice that its results go to, if they go to one."""
        return self.result.slice_name

    def bind(self, arguments: Json) -> dict[str, Any]:
        """The call's keyword arguments, without the context.

        Raises ParametersInvalidError, whose message tells the model each field that does not fit.
        """
        return dict(vars(self.signature.parameters.load(arguments)))

    def dump(self, value: object) -> Json:
        """What it returned, as JSON. Raises ValueInvalidError where it does not fit the annotation."""
        return self.result.dump(value)
