from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from wink_tasks.core.errors import DeclarationError, ParametersInvalidError, PromptFailedError
from wink_tasks.core.evaluation import Finish, Reject
from wink_tasks.core.prompt import PromptDefinition, estimate_tokens
from wink_tasks.core.sections import Section
from wink_tasks.core.tool import ToolDefinition

if TYPE_CHECKING:
    Later = int  # the tests define it when they want it to exist


class ToolContext:
    pass


@dataclass
class Params:
    path: str
    strict: bool = False


@dataclass
class Verdict:
    good: bool


@dataclass
class LazyVerdict:
    good: Later


def tool(name: str, returns: Any = str) -> ToolDefinition:
    def function(path: str) -> str:
        """Doc."""
        return path

    function.__annotations__["return"] = returns
    return ToolDefinition.of(function, name=name, context_type=ToolContext)


@dataclass
class Decorated:
    """As an application holds a tool."""

    definition: ToolDefinition


LINT, READ = tool("lint"), tool("read")
TASK = Section("task", "Review ${path}.")
OPTIONS: dict[str, Any] = {
    "ns": "proj",
    "key": "review",
    "params": Params,
    "sections": [TASK],
    "user": "Go.",
    "models": ("offline:rules",),
}


def long(**options: Any) -> PromptDefinition:
    return PromptDefinition(**{**OPTIONS, **options})


def review(path: str, strict: bool = False) -> str:
    """You review code for $5.

    Be ${brief}.
    """
    return f"Review {path}." + (" Strictly." if strict else "")


def short(function: Callable[..., Any] = review, **options: Any) -> PromptDefinition:
    return PromptDefinition.from_function(
        function, **{"ns": "proj", "key": "review", "models": ("offline:rules",), **options}
    )


def test_a_function_gives_instructions_parameters_and_what_the_user_says() -> None:
    prompt = short(output=Verdict, tools=[Decorated(LINT), READ], deadline=30.0)
    assert prompt.name == "proj.review"
    assert prompt.deadline == 30.0
    params = prompt.bind("src", strict=True)
    assert params == {"path": "src", "strict": True}
    rendered = prompt.render(params, None)
    assert rendered.instructions == "You review code for $5.\n\nBe ${brief}."
    assert rendered.content == "Review src. Strictly."
    assert rendered.tools == (LINT, READ)
    assert prompt.description == rendered.instructions
    assert prompt.judge('{"good": true}') == Finish({"good": True}, f"{__name__}.Verdict")
    assert isinstance(prompt.judge("{}"), Reject)
    assert prompt.load_output({"good": True}) == Verdict(good=True)
    schema = prompt.output_schema()
    assert schema is not None
    assert schema["required"] == ["good"]


def test_a_template_shows_text_as_it_is_and_other_values_as_json() -> None:
    prompt = long(sections=[Section("task", "\n    Review ${path}\n    for $$5, strict=$strict\n")], user="In $path.")
    rendered = prompt.render({"path": "src"}, None)
    assert rendered.instructions == "Review src\nfor $5, strict=false"
    assert rendered.content == "In src."
    assert rendered.tools == ()


def test_sections_stand_below_each_other_with_headings_and_children_after_their_parent() -> None:
    sections = [
        Section(
            "house_rules", "Be brief.", children=[Section("style", "No slang."), Section("tools-only", " ", [LINT])]
        ),
        TASK,
    ]
    rendered = long(sections=sections).render({"path": "src"}, None)
    assert rendered.instructions == "## House rules\n\nBe brief.\n\n### Style\n\nNo slang.\n\n## Task\n\nReview src."
    assert rendered.tools == (LINT,)


def test_a_deep_section_has_the_deepest_heading_that_markdown_knows() -> None:
    section = Section("leaf", "Here.")
    for depth in range(6):
        section = Section(f"level{depth}", "", children=[section])
    assert long(sections=[section]).render({"path": "a"}, None).instructions == "###### Leaf\n\nHere."


def test_a_section_disappears_with_its_tools_and_children() -> None:
    def strict(params: Params, session: object) -> bool:
        return params.strict and session == "session"

    hidden = Section("strictly", "Be strict.", [LINT], enabled=strict, children=[Section("more", "More.", [READ])])
    prompt = long(sections=[TASK, hidden])
    assert prompt.render({"path": "a", "strict": False}, "session").instructions == "## Task\n\nReview a."
    assert prompt.render({"path": "a", "strict": False}, "session").tools == ()
    assert prompt.render({"path": "a", "strict": True}, "session").instructions == (
        "## Task\n\nReview a.\n\n## Strictly\n\nBe strict.\n\n### More\n\nMore."
    )
    assert prompt.render({"path": "a", "strict": True}, "session").tools == (LINT, READ)


def test_one_tool_may_stand_in_two_sections() -> None:
    prompt = long(sections=[Section("a", "A", [LINT]), Section("b", "B", [Decorated(LINT)])])
    assert prompt.render({"path": "a"}, None).tools == (LINT,)


async def asynchronous(path: str) -> str:
    """Doc."""
    return path


def secret(token: SecretStr) -> str:
    """Doc."""
    return str(token)


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda: long(ns="1x"), "prompt '1x.review': '1x' is no name"),
        (lambda: long(key="a b"), "'a b' is no name"),
        (lambda: long(models=()), r"models=\(\) is not a tuple of one or more names"),
        (lambda: long(models="offline:rules"), "models='offline:rules' is not a tuple of one or more names"),
        (lambda: long(deadline=0), "deadline=0 does not fit: it takes seconds, greater than zero"),
        (lambda: long(deadline="60"), "deadline='60' does not fit"),
        (lambda: long(models=(5,)), r"models=\(5,\) is not a tuple of one or more names"),
        (lambda: long(ns=5), "prompt '5.review': ns=5 does not fit: it takes text, not int"),
        (lambda: long(key=5), "key=5 does not fit: it takes text, not int"),
        (lambda: long(queue=5), "prompt 'proj.review': queue=5 does not fit: it takes the name of a queue, not int"),
        (lambda: long(budget=5), "budget=5 does not fit: it takes a Budget, not int"),
        (lambda: long(model_settings="x"), "model_settings='x' does not fit: it takes names with values, not str"),
        (lambda: long(model_settings={"seed": object()}), "'proj.review': model_settings are kept as JSON: .* object"),
        (lambda: long(max_turns="x"), "max_turns='x' does not fit: it takes a whole number, not str"),
        (lambda: long(max_turns=0), "max_turns=0 is less than one"),
        (lambda: long(history="all"), "history='all' is not"),
        (lambda: long(history=-1), "history=-1 is not"),
        (lambda: long(params=int), "has no fields"),
        (lambda: long(output=ToolContext), "prompt 'proj.review', output cannot be JSON"),
        (lambda: long(sections=[TASK, Section("x", "", children=[TASK])]), "two sections 'task'"),
        (lambda: long(sections=[Section("a", "", [LINT, tool("lint")])]), "two tools 'lint'"),
        (lambda: long(sections=[Section("a", "", [review])]), "section 'a': .*review.* is no tool"),
        (
            lambda: long(sections=[Section("a", "", LINT)]),
            r"section 'a': tools=.* is no list of tools: tools=\[read_file",
        ),
        (
            lambda: long(sections=[Section("a", "of ${folder} and $x")]),
            "section 'a'.* names folder, x; .* path, strict",
        ),
        (lambda: long(sections=[Section("a", "costs 5$ now")]), r"no placeholder at '\$ now'"),
        (lambda: long(user="$folder"), "user: the template names folder"),
        (lambda: short(asynchronous), "'proj.review' is async"),
        (lambda: short(secret), "token is a secret"),
    ],
)
def test_what_can_never_run_is_refused_at_declaration(declare: Callable[[], object], told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        declare()


@pytest.mark.parametrize("history", ["session", "none", 0, 3])
def test_histories(history: Any) -> None:
    assert long(history=history, deadline=None).history == history


def test_parameters_load_as_their_class_and_do_not_load_when_they_changed() -> None:
    assert long().load({"path": "src"}) == Params("src")
    with pytest.raises(ParametersInvalidError, match="path: Field required"):
        long().render({"folder": "src"}, None)


def raises(*_: object) -> Any:
    raise RuntimeError("no luck")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"user": raises}, "prompt 'proj.review': its body raised RuntimeError: no luck"),
        ({"user": lambda params: params}, r"its body returned Params\(path='src', strict=False\), and .* is a str"),
        (
            {"sections": [Section("a", "", enabled=raises)]},
            "its enabled of section 'a' raised RuntimeError: no luck",
        ),
    ],
)
def test_code_of_the_prompt_that_fails_is_told_as_such(options: dict[str, Any], told: str) -> None:
    with pytest.raises(PromptFailedError, match=told):
        long(**options).render({"path": "src"}, None)


def test_the_digest_changes_with_what_shapes_behaviour_and_with_nothing_else() -> None:
    @dataclass
    class Fewer:
        path: str

    def other(params: Params) -> str:
        return params.path

    same = [long(), long(sections=[Section("task", "Review ${path}.")]), long(max_turns=3, deadline=1.0)]
    different = [
        long(sections=[Section("task", "Look at ${path}.")]),
        long(sections=[Section("job", "Review ${path}.")]),
        long(sections=[Section("task", "Review ${path}.", [LINT])]),
        long(sections=[Section("task", "Review ${path}.", [READ])]),
        long(sections=[Section("task", "Review ${path}.", enabled=raises)]),
        long(params=Fewer),
        long(output=Verdict),
        long(user="Start."),
        long(user=other),
    ]
    assert {prompt.digest for prompt in same} == {long().digest}
    assert len({prompt.digest for prompt in [long(), *different]}) == 1 + len(different)


def lazy(path: Later) -> str:
    """Doc."""
    return str(path)


def test_finalize_resolves_what_declaration_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    late_tool = Section("a", "", [tool("late", "Later")])
    prompts = [short(lazy), long(output=list[LazyVerdict]), long(sections=[late_tool])]
    for prompt in prompts:
        with pytest.raises(DeclarationError, match=r"Later|LazyVerdict"):
            prompt.finalize()
    monkeypatch.setitem(globals(), "Later", int)
    for prompt in prompts:
        prompt.finalize()
    assert prompts[0].bind("3") == {"path": 3}
    assert prompts[1].load_output([{"good": 1}]) == [LazyVerdict(1)]


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("ééé", 2)])
def test_tokens_are_estimated_by_bytes(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens
