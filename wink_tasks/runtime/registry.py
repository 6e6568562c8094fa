"""The prompts, tools and durable tasks that a process knows, and the Celery tasks and mailboxes of their steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from wink_tasks.core.errors import DeclarationError
from wink_tasks.core.ids import OUTCOME, TURN
from wink_tasks.core.prompt import PromptDefinition
from wink_tasks.core.reducers import Reducers
from wink_tasks.core.resources import ResourceRegistry
from wink_tasks.core.task import TaskDefinition
from wink_tasks.core.tool import ToolDefinition
from wink_tasks.core.typed import slice_name
from wink_tasks.runtime.context import ToolContext
from wink_tasks.runtime.slices import SliceDeclarations


class Registry:
    """`namespace` is what task names begin with; `route` gives the queue of a task name that has none of its own."""

    def __init__(self, namespace: str, route: Callable[[str, str], str]) -> None:
        self._namespace = namespace
        self._route = route
        self.prompts: dict[str, PromptDefinition] = {}
        self.tools: dict[str, ToolDefinition] = {}
        self.tasks: dict[str, TaskDefinition] = {}
        self.slices = SliceDeclarations(self._returned)
        self.resources = ResourceRegistry(ToolContext, self._rebound)
        self._working = False

    def check(self) -> None:
        """Refuse what was declared but cannot work, now that everything is. Raises DeclarationError."""
        self.resources.check()
        for task in self.tasks.values():
            _ = task.work.signature.parameters
        self._working = True

    @property
    def reducers(self) -> Reducers:
        """What folds the application's part of a session."""
        return self.slices.reducers

    def add_prompt(self, prompt: PromptDefinition) -> None:
        """Know a prompt. Raises DeclarationError for a second one of its name."""
        self._refuse_twice("prompt", prompt.name)
        self.prompts[prompt.name] = prompt

    def add_tool(self, tool: ToolDefinition) -> None:
        """Know a tool. Raises DeclarationError for a second one of its name."""
        self._refuse_twice("tool", self.tool_task(tool.name))
        name = self.tool_task(tool.name)
        self.tasks[name] = TaskDefinition(name=name, work=tool)
        self.tools[name] = tool

    def add_task(self, task: TaskDefinition) -> None:
        """Know a durable task. Raises DeclarationError for a second one of its name."""
        self._refuse_twice("task", task.name)
        self.tasks[task.name] = task

    def find(self, name: str) -> PromptDefinition | TaskDefinition | None:
        """What a run of that name is a run of: a prompt, a durable task, or a tool alone."""
        return self.prompts.get(name) or self.tasks.get(name)

    def tool_task(self, name: str) -> str:
        """The Celery task of a tool, by the name that models call."""
        return f"{self._namespace}.{name}"

    def celery_tasks(self) -> Iterator[str]:
        """The name of every Celery task that belongs to something declared here."""
        for name in self.prompts:
            yield from (name, f"{name}{TURN}", f"{name}{OUTCOME}")
        for name in self.tasks:
            yield from (name, f"{name}{OUTCOME}")

    def turn_mailbox(self, prompt: PromptDefinition) -> str:
        """The queue of a prompt's turns and outcomes."""
        return prompt.queue or self._route(prompt.name, "turns")

    def tool_mailbox(self, tool: ToolDefinition, prompt: PromptDefinition) -> str:
        """The queue of a tool's calls; an inline tool runs where its prompt does."""
        if tool.inline:
            return self.turn_mailbox(prompt)
        return tool.queue or self._route(self.tool_task(tool.name), "tools")

    def mailbox(self, definition: PromptDefinition | TaskDefinition) -> str:
        """The queue of a run's first message and of its outcome."""
        if isinstance(definition, PromptDefinition):
            return self.turn_mailbox(definition)
        tool = self.tools.get(definition.name)
        return definition.queue or self._route(definition.name, "turns" if tool and tool.inline else "tools")

    def known(self) -> dict[str, tuple[str, ...]]:
        """What is declared, by kind: `prompts`, `tools`, `tasks`."""
        return {
            "prompts": tuple(sorted(self.prompts)),
            "tools": tuple(sorted(self.tools)),
            "tasks": tuple(sorted(self.tasks.keys() - self.tools)),
        }

    def mailboxes(self) -> frozenset[str]:
        """Every queue that something declared here goes to."""
        turns = {self.turn_mailbox(prompt) for prompt in self.prompts.values()}
        inline = {name for name, tool in self.tools.items() if tool.inline}
        return frozenset(turns | {self.mailbox(task) for name, task in self.tasks.items() if name not in inline})

    def call_mailboxes(self, tasks: Iterable[str]) -> frozenset[str]:
        """The queues of those tools' calls that do not run where their prompt does."""
        tools = {task: self.tools[task] for task in tasks}
        return frozenset(tool.queue or self._route(task, "tools") for task, tool in tools.items() if not tool.inline)

    def _rebound(self, resource: type) -> None:
        """What takes one of these is told so; not where a model or a ledger may have seen it as a plain parameter."""
        for task in self.tasks.values():
            if task.work.signature.takes(resource):
                if self._working and resource not in task.work.resources.values():
                    message = (
                        f"resource {resource.__qualname__} is bound too late: {task.work.what} has a parameter of that "
                        f"type, and runs have begun. Bind it where the tool is declared"
                    )
                    raise DeclarationError(message)
                task.work.reconsider()

    def _returned(self) -> frozenset[str]:
        tools = (tool.slice_name for tool in self.tools.values())
        outputs = (slice_name(prompt.output) for prompt in self.prompts.values())
        return frozenset(name for name in (*tools, *outputs) if name is not None)

    def _refuse_twice(self, kind: str, name: str) -> None:
        if name in self.prompts or name in self.tasks:
            message = f"{kind} {name!r} is declared twice: give one of them another name="
            raise DeclarationError(message)
