"""The prompts and tools that a process knows, and the Celery tasks and mailboxes that their steps belong to."""

from __future__ import annotations

from collections.abc import Callable

from wink_tasks.core.errors import DeclarationError
from wink_tasks.core.prompt import PromptDefinition
from wink_tasks.core.tool import ToolDefinition


class Registry:
    """`namespace` is what task names begin with; `route` gives the queue of a task name that has none of its own."""

    def __init__(self, namespace: str, route: Callable[[str, str], str]) -> None:
        self._namespace = namespace
        self._route = route
        self.prompts: dict[str, PromptDefinition] = {}
        self.tools: dict[str, ToolDefinition] = {}

    def add_prompt(self, prompt: PromptDefinition) -> None:
        """Know a prompt. Raises DeclarationError for a second one of its name."""
        self._refuse_twice("prompt", prompt.name)
        self.prompts[prompt.name] = prompt

    def add_tool(self, tool: ToolDefinition) -> None:
        """Know a tool. Raises DeclarationError for a second one of its name."""
        self._refuse_twice("tool", self.tool_task(tool.name))
        self.tools[self.tool_task(tool.name)] = tool

    def tool_task(self, name: str) -> str:
        """The Celery task of a tool, by the name that models call."""
        return f"{self._namespace}.{name}"

    def turn_mailbox(self, prompt: PromptDefinition) -> str:
        """The queue of a prompt's turns and outcomes."""
        return prompt.queue or self._route(prompt.name, "turns")

    def tool_mailbox(self, tool: ToolDefinition, prompt: PromptDefinition) -> str:
        """The queue of a tool's calls; an inline tool runs where its prompt does."""
        if tool.inline:
            return self.turn_mailbox(prompt)
        return tool.queue or self._route(self.tool_task(tool.name), "tools")

    def mailboxes(self) -> frozenset[str]:
        """Every queue that something declared here goes to."""
        turns = {self.turn_mailbox(prompt) for prompt in self.prompts.values()}
        calls = {tool.queue or self._route(task, "tools") for task, tool in self.tools.items() if not tool.inline}
        return frozenset(turns | calls)

    def _refuse_twice(self, kind: str, name: str) -> None:
        if name in self.prompts or name in self.tools:
            message = f"{kind} {name!r} is declared twice: give one of them another name="
            raise DeclarationError(message)
