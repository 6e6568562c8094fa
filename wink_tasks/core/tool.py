"""A tool's definition: what the model is told of it, and how a call of the model becomes a call of the function."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from wink_tasks.core.errors import DeclarationError
from wink_tasks.core.function import FunctionDefinition
from wink_tasks.core.signature import Signature

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ToolDefinition(FunctionDefinition):
    """`name` is what models call.

    `inline` runs it where its prompt's turns run, `parallel` beside other calls of the same answer.
    """

    kind: ClassVar[str] = "tool"

    inline: bool = False
    parallel: bool = False

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
        bound: Container[type] | None = None,
    ) -> ToolDefinition:
        """The definition of a function. Parameters annotated `context_type` or `bound` are not the model's to give.

        Raises DeclarationError for what can never run; for types only where their annotations resolve by now.
        """
        return cls(
            name=name,
            function=function,
            signature=Signature.of(function, f"tool {name!r}", context_type, bound=bound),
            queue=queue,
            inline=inline,
            parallel=parallel,
            timeout=timeout,
            max_retries=max_retries,
            retry_on=retry_on,
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        if _NAME.fullmatch(self.name) is None:
            message = f"{self.what}: providers take 1 to 64 letters, digits, _ and - as a name: give it name="
            raise DeclarationError(message)
