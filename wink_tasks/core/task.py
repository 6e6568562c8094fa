"""A durable task's definition: a function of the application whose every run is an evaluation of one step."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, ClassVar, Final

from wink_tasks.core.codec import encode
from wink_tasks.core.delivery import LONGEST_LEASE, SHORTEST_LEASE
from wink_tasks.core.errors import DeclarationError
from wink_tasks.core.events import Json
from wink_tasks.core.function import Backoff, FunctionDefinition
from wink_tasks.core.limits import Budget, check_seconds, is_number
from wink_tasks.core.parameters import Parameters
from wink_tasks.core.prompt import OnChange, check_change
from wink_tasks.core.signature import Signature

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskDefinition:
    """`name` is the Celery task's. It asks no model, so what a prompt says of models is empty here.

    `work` is the function; a tool's makes the definition of the tool's runs alone. `deadline` is seconds from the first
    claim, None is none; `visibility_timeout` None is the setting. `version` and `on_change` are as a prompt's.
    """

    models: ClassVar[tuple[str, ...]] = ()
    budget: ClassVar[Budget] = Budget()
    max_turns: ClassVar[int] = 1
    history: ClassVar[str] = "none"

    name: str
    work: FunctionDefinition
    deadline: float | None = None
    visibility_timeout: float | None = None
    version: str = ""
    on_change: OnChange = "continue"

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: str,
        context_type: type,
        queue: str | None = None,
        max_retries: int = 3,
        retry_on: tuple[type[Exception], ...] = (),
        backoff: Backoff | None = None,
        deadline: float | None = None,
        visibility_timeout: float | None = None,
        bound: Container[type] | None = None,
        version: str = "",
        on_change: OnChange = "continue",
    ) -> TaskDefinition:
        """The definition of a function; parameters annotated `context_type` or `bound` are not the caller's to give.

        Raises DeclarationError for what can never run; for types only where their annotations resolve by now.
        """
        work = FunctionDefinition(
            name=name,
            function=function,
            signature=Signature.of(function, f"task {name!r}", context_type, documented=False, bound=bound),
            queue=queue,
            max_retries=max_retries,
            retry_on=retry_on,
            backoff=backoff or Backoff(),
        )
        return cls(
            name=name,
            work=work,
            deadline=deadline,
            visibility_timeout=visibility_timeout,
            version=version,
            on_change=on_change,
        )

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            message = f"{self.what}: a name is letters, digits and any of ._-, a letter or _ first: give it name="
            raise DeclarationError(message)
        check_seconds(self.what, "deadline", self.deadline)
        check_change(self.what, self.version, self.on_change)
        lease = self.visibility_timeout
        if lease is not None and not (is_number(lease) and SHORTEST_LEASE <= lease <= LONGEST_LEASE):
            limits = f"from {SHORTEST_LEASE:g} to {LONGEST_LEASE:g}"
            message = f"{self.what}: visibility_timeout={lease!r} does not fit: it takes seconds, {limits}"
            raise DeclarationError(message)

    @property
    def what(self) -> str:
        """How errors call it."""
        return f"task {self.name!r}"

    @property
    def queue(self) -> str | None:
        """Where its runs go, None where the application chooses."""
        return self.work.queue

    @property
    def parameters(self) -> Parameters:
        """What a run is given."""
        return self.work.signature.parameters

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that shapes a run and is data: name, parameters, result."""
        return sha256(encode([self.name, self.work.parameters, self.work.result.schema()])).hexdigest()

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Json]:
        """A call's arguments as JSON, defaults filled in. Raises ParametersInvalidError."""
        return self.parameters.bind(*args, **kwargs)

    def load(self, params: Json) -> Mapping[str, Any]:
        """The function's keyword arguments for recorded parameters. Raises ParametersInvalidError."""
        return self.work.bind(params)

    def load_output(self, data: Json) -> Any:
        """The result that JSON in the ledger stands for. Raises ValueInvalidError."""
        return None if data is None else self.work.result.load(data)
