"""A function of the application whose calls are messages: what a tool and a durable task have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import Any, ClassVar, Final

from wink_tasks.core.errors import DeclarationError, ResourceCloseError, UnresolvedAnnotationError
from wink_tasks.core.events import Json
from wink_tasks.core.kinds import check_kind
from wink_tasks.core.limits import check_seconds
from wink_tasks.core.retry import EQUAL_JITTER, FIRST_DELAY, LONGEST_DELAY, backoff
from wink_tasks.core.signature import Signature
from wink_tasks.core.typed import TypedJson

_KINDS: Final[Mapping[str, tuple[type | UnionType, str]]] = {
    "name": (str, "text"),
    "queue": (str | None, "the name of a queue"),
    "max_retries": (int, "a number of retries (0 is at most once)"),
}


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Seconds: the `first` pause, which doubles up to the `longest`; `jitter` is the part of it that is drawn."""

    first: float = FIRST_DELAY
    longest: float = LONGEST_DELAY
    jitter: float = EQUAL_JITTER

    def pause(self, failures: int, draw: float) -> float:
        """Seconds to wait after the `failures`-th failure; `draw` is in [0, 1)."""
        return backoff(failures, draw, first=self.first, longest=self.longest, jitter=self.jitter)


def listed_exceptions(what: str, option: str, listed: object) -> tuple[type[Exception], ...]:
    """The classes of exceptions that an option of a declaration lists. Raises DeclarationError where it does not."""
    if not isinstance(listed, Iterable):
        raise DeclarationError(f"{what}: {option}={listed!r} is no list of exceptions: {option}=[OSError]")
    classes = tuple(listed)
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, Exception)):
            raise DeclarationError(f"{what}: {option} lists {one!r}, which is no class of exceptions")
    return classes


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionDefinition:
    """`timeout` is the seconds of one delivery; None is none. `queue` None is the application's choice.

    `retry_on` are the exceptions that are tried again, `max_retries` how often; 0 is at most once.
    """

    kind: ClassVar[str] = "task"

    name: str
    function: Callable[..., Any]
    signature: Signature
    queue: str | None = None
    timeout: float | None = None
    max_retries: int = 3
    retry_on: tuple[type[Exception], ...] = ()
    backoff: Backoff = Backoff()

    def __post_init__(self) -> None:
        for name, (kind, words) in _KINDS.items():
            check_kind(f"{self.what}: {name}", getattr(self, name), kind, words, DeclarationError)
        check_seconds(self.what, "timeout", self.timeout)
        if self.max_retries < 0:
            raise DeclarationError(f"{self.what}: max_retries={self.max_retries!r} is less than zero")
        with suppress(UnresolvedAnnotationError):
            self.result.finalize()

    @property
    def what(self) -> str:
        """How errors call it."""
        return f"{self.kind} {self.name!r}"

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
        return TypedJson(self.signature.returns(), f"{self.what}, result")

    @property
    def context_parameter(self) -> str | None:
        """The parameter to which the context goes, if it has one."""
        return self.signature.context

    @property
    def resources(self) -> Mapping[str, type]:
        """The parameters to which resources go. Raises UnresolvedAnnotationError."""
        return self.signature.resources

    def reconsider(self) -> None:
        """Look again at which parameters are resources: one more is bound."""
        self.signature.reconsider()
        vars(self).pop("parameters", None)

    @property
    def is_async(self) -> bool:
        """Whether a call has to be awaited."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def slice_name(self) -> str | None:
        """The slice that its results go to, if they go to one."""
        return self.result.slice_name

    def bind(self, arguments: Json) -> Mapping[str, Any]:
        """The keyword arguments of a call, without context and resources.

        Raises ParametersInvalidError, whose message names each field that does not fit.
        """
        return dict(vars(self.signature.parameters.load(arguments)))

    def dump(self, value: object) -> Json:
        """What it returned, as JSON. Raises ValueInvalidError where it does not fit the annotation."""
        return self.result.dump(value)

    def retries(self, error: BaseException) -> bool:
        """Whether what it raised, or one of the resources that it could not close, is tried again."""
        raised = error.errors if isinstance(error, ResourceCloseError) else ()
        return any(isinstance(one, self.retry_on) for one in (error, *raised))
