"""A prompt's definition, and what the model is shown of it: instructions, tools, and what the user says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from types import UnionType
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack, get_args

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import (
    DeclarationError,
    PromptFailedError,
    UnresolvedAnnotationError,
    ValueInvalidError,
)
from wink_tasks.core.evaluation import Finish, Reject
from wink_tasks.core.events import Json
from wink_tasks.core.kinds import are_models, check_kind
from wink_tasks.core.limits import Budget, check_seconds
from wink_tasks.core.output import Output
from wink_tasks.core.parameters import Parameters
from wink_tasks.core.sections import DeclaredTool, Section, check_template, fill, walk
from wink_tasks.core.signature import Signature
from wink_tasks.core.tool import ToolDefinition

R = TypeVar("R")

BYTES_PER_TOKEN: Final = 4
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_DEEPEST_HEADING: Final = 6
_KINDS: Final[Mapping[str, tuple[type | UnionType, str]]] = {
    **dict.fromkeys(("ns", "key"), (str, "text")),
    "queue": (str | None, "the name of a queue"),
    "model_settings": (Mapping, "names with values"),
    "budget": (Budget, "a Budget"),
    "max_turns": (int, "a whole number"),
}


OnChange = Literal["continue", "park", "fail"]
"""With a run that goes by another definition: go on with this one, leave it to a worker with the old one, or fail."""


class PromptOptions(TypedDict, total=False):
    """The terms of a prompt's evaluations, where a run does not say otherwise. See PromptDefinition."""

    model_settings: Mapping[str, Json]
    deadline: float | None
    budget: Budget
    max_turns: int
    history: Literal["session", "none"] | int
    queue: str | None
    version: str
    on_change: OnChange


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What a model is shown. `content` is what the user says."""

    instructions: str
    content: str
    tools: tuple[ToolDefinition, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptDefinition:
    """`params` is a class with the fields of the prompt, or `Parameters`; `output` is the type of the result.

    `user` is a template, or a pure function of the parameters. `models` are tried in order, `deadline` is seconds from
    the first claim, `history` is "session", "none", or how many earlier exchanges the model is shown. `queue` None is
    the application's choice. `description` is for operators. `version` is the application's own name for what the
    digest does not cover; `on_change` is what a worker does with a run that goes by another version or digest.

    Raises DeclarationError for what can never run; for types only where their annotations resolve by now.
    """

    ns: str
    key: str
    params: Any
    sections: Sequence[Section]
    user: str | Callable[[Any], str]
    output: Any = str
    models: tuple[str, ...]
    description: str = ""
    model_settings: Mapping[str, Json] = field(default_factory=dict)
    deadline: float | None = 600.0
    budget: Budget = field(default_factory=Budget)
    max_turns: int = 25
    history: Literal["session", "none"] | int = "session"
    queue: str | None = None
    version: str = ""
    on_change: OnChange = "continue"

    @classmethod
    def from_function(
        cls,
        function: Callable[..., str],
        *,
        ns: str,
        key: str,
        output: Any = str,
        tools: Sequence[DeclaredTool | ToolDefinition] = (),
        models: tuple[str, ...],
        **options: Unpack[PromptOptions],
    ) -> PromptDefinition:
        """The prompt whose instructions are the docstring, as it stands, and whose user says what the body returns."""
        signature = Signature.of(function, f"prompt {f'{ns}.{key}'!r}")
        if inspect.iscoroutinefunction(function):
            raise DeclarationError(
                f"{signature.what} is async, but its body only computes: declare it with plain `def`"
            )
        section = Section(key, signature.doc.replace("$", "$$"), tools=tools)

        def say(params: Any) -> str:
            return function(**vars(params))

        return cls(
            ns=ns,
            key=key,
            params=signature.parameters,
            description=signature.doc,
            models=models,
            sections=(section,),
            user=say,
            output=output,
            **options,
        )

    def __post_init__(self) -> None:
        for name, (kind, words) in _KINDS.items():
            check_kind(f"{self._what}: {name}", getattr(self, name), kind, words, DeclarationError)
        object.__setattr__(self, "model_settings", dict(self.model_settings))
        try:
            encode(self.model_settings)
        except ValueInvalidError as error:
            raise DeclarationError(f"{self._what}: model_settings are kept as JSON: {error}") from error
        for part in (self.ns, self.key):
            if _NAME.fullmatch(part) is None:
                message = f"{self._what}: {part!r} is no name: letters, digits and any of ._-, a letter or _ first"
                raise DeclarationError(message)
        self._check_terms()
        check_change(self._what, self.version, self.on_change)
        keys: set[str] = set()
        tools: dict[str, ToolDefinition] = {}
        for _, section in self._declared:
            if section.key in keys:
                raise DeclarationError(f"{self._what} has two sections {section.key!r}: give one of them another key")
            keys.add(section.key)
            check_template(f"{self._what}, section {section.key!r}", section.template, self.parameters.names)
            for tool in section.definitions:
                if tools.setdefault(tool.name, tool) is not tool:
                    raise DeclarationError(f"{self._what} has two tools {tool.name!r}: give one of them another name=")
        if isinstance(self.user, str):
            check_template(f"{self._what}, user", self.user, self.parameters.names)
        with suppress(UnresolvedAnnotationError):
            self._result.typed.finalize()

    def _check_terms(self) -> None:
        if not are_models(self.models):
            message = (
                f'{self._what}: models={self.models!r} is not a tuple of one or more names: ("openai:gpt-5-mini",)'
            )
            raise DeclarationError(message)
        check_seconds(self._what, "deadline", self.deadline)
        if self.max_turns < 1:
            raise DeclarationError(f"{self._what}: max_turns={self.max_turns!r} is less than one")
        earlier = 0 if self.history in ("session", "none") else self.history
        if not isinstance(earlier, int) or earlier < 0:
            message = f"{self._what}: history={self.history!r} is not 'session', 'none' or a number of exchanges"
            raise DeclarationError(message)

    @property
    def name(self) -> str:
        """`ns.key`: the Celery task's name."""
        return f"{self.ns}.{self.key}"

    @property
    def _what(self) -> str:
        return f"prompt {self.name!r}"

    @cached_property
    def parameters(self) -> Parameters:
        """What a run is given."""
        return self.params if isinstance(self.params, Parameters) else Parameters.of_type(self.params, self._what)

    @cached_property
    def _declared(self) -> list[tuple[int, Section]]:
        return list(walk(self.sections, lambda _: True))

    @cached_property
    def _result(self) -> Output:
        return Output(self.output, self._what)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that shapes behaviour, as far as it is data: Python functions and limits are not."""
        told = [
            [depth, section.key, section.template, section.enabled is not None, _told(section.definitions)]
            for depth, section in self._declared
        ]
        user = self.user if isinstance(self.user, str) else None
        return sha256(encode([told, user, self.parameters.schema(), self.output_schema()])).hexdigest()

    def finalize(self) -> None:
        """Resolve every annotation now. Raises DeclarationError, UnresolvedAnnotationError."""
        self.parameters.typed.finalize()
        self._result.typed.finalize()
        for _, section in self._declared:
            for tool in section.definitions:
                tool.finalize()

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Json]:
        """A run's parameters as JSON. A single instance of the params class is taken whole.

        Raises ParametersInvalidError.
        """
        return self.parameters.bind(*args, **kwargs)

    def load(self, params: Json) -> Any:
        """The parameters that JSON stands for. Raises ParametersInvalidError where they do not fit (any more)."""
        return self.parameters.load(params)

    def render(self, params: Mapping[str, Json], session: object) -> Rendered:
        """What the model is shown for `params`, which are JSON. `session` is for the sections' `enabled`.

        Raises ParametersInvalidError, and PromptFailedError where the prompt's own code fails.
        """
        loaded = self.load(params)
        # What the class makes of them: defaults of today for fields that the run did not know.
        texts = self.parameters.dump(loaded)

        def wanted(section: Section) -> bool:
            enabled = section.enabled
            return enabled is None or self._ask(f"enabled of section {section.key!r}", enabled, loaded, session)

        shown = list(walk(self.sections, wanted))
        blocks = []
        for depth, section in shown:
            text = self._ask(f"template of section {section.key!r}", fill, section.template, texts)
            heading = f"{'#' * min(2 + depth, _DEEPEST_HEADING)} {section.title}"
            blocks += [block for block in (heading if len(self._declared) > 1 else "", text) if text and block]
        tools = {tool.name: tool for _, section in shown for tool in section.definitions}
        if isinstance(self.user, str):
            content: object = self._ask("template of user", fill, self.user, texts)
        else:
            content = self._ask("body", self.user, loaded)
        if not isinstance(content, str):
            raise PromptFailedError(f"{self._what}: its body returned {content!r}, and what the user says is a str")
        return Rendered(instructions="\n\n".join(blocks), content=content, tools=tuple(tools.values()))

    def _ask(self, whom: str, function: Callable[..., R], *args: Any) -> R:
        try:
            return function(*args)
        except Exception as error:
            raise PromptFailedError(f"{self._what}: its {whom} raised {type(error).__name__}: {error}") from error

    def output_schema(self) -> dict[str, Json] | None:
        """The JSON schema that the answer has to fit, always an object; None for plain text."""
        return self._result.schema()

    def judge(self, text: str) -> Finish | Reject:
        """Read the model's answer as the output type."""
        return self._result.judge(text)

    def load_output(self, data: Json) -> Any:
        """The output that JSON in the ledger stands for. Raises ValueInvalidError."""
        return self._result.typed.load(data)


def check_change(what: str, version: object, on_change: object) -> None:
    """Raise DeclarationError for a version or an `on_change` that there is not."""
    if not isinstance(version, str):
        raise DeclarationError(f'{what}: version={version!r} is no text: version="3"')
    if on_change not in get_args(OnChange):
        raise DeclarationError(f"{what}: on_change={on_change!r} is not 'continue', 'park' or 'fail'")


Prompt = PromptDefinition
"""The name that applications use."""


def estimate_tokens(text: str) -> int:
    """About how many tokens a model reads in `text`: one for four bytes of UTF-8, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def _told(tools: Sequence[ToolDefinition]) -> list[Json]:
    return [[tool.name, tool.description, tool.parameters] for tool in tools]
