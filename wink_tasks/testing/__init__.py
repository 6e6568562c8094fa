"""The public test kit: prompts and tools without Redis, worker, or model."""

from wink_tasks.testing.clock import FakeClock
from wink_tasks.testing.context import tool_context
from wink_tasks.testing.memory import MemoryStore
from wink_tasks.testing.purity import Impurity, check_purity, impurities
from wink_tasks.testing.recorded import RecordedProvider, Recording, recorded
from wink_tasks.testing.scripted import Script, Scripted, ScriptEndedError, answer, call, calls, scripted

__all__ = [
    "FakeClock",
    "Impurity",
    "MemoryStore",
    "RecordedProvider",
    "Recording",
    "Script",
    "ScriptEndedError",
    "Scripted",
    "answer",
    "call",
    "calls",
    "check_purity",
    "impurities",
    "recorded",
    "scripted",
    "tool_context",
]
