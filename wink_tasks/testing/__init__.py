"""The public test kit: prompts and tools without Redis, worker, or model."""

from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.context import tool_context
from wink_tasks.testing.memory import MemoryStore
from wink_tasks.testing.scripted import Script, Scripted, ScriptEndedError, answer, call, calls, scripted

__all__ = [
    "FakeClock",
    "MemoryStore",
    "Script",
    "ScriptEndedError",
    "Scripted",
    "answer",
    "call",
    "calls",
    "scripted",
    "tool_context",
]
