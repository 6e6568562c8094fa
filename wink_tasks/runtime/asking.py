"""What a turn asks its model: a function of the prompt as it is declared, and of what the ledger says."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from wink_tasks.core.codec import encode
from wink_tasks.core.evaluation import EvaluationState
from wink_tasks.core.prompt import PromptDefinition, Rendered
from wink_tasks.core.transcript import Transcript
from wink_tasks.ports.provider import Request, ToolSpec

SHORT: Final = 12
"""Characters of a digest that only tells two parts of a request apart."""


def request_of(
    prompt: PromptDefinition, evaluation: EvaluationState, transcript: Transcript, rendered: Rendered, model: str
) -> Request:
    """The request of a turn that stands after `transcript`; `model` is the provider's own name of it."""
    start = transcript.start(evaluation.terms.history)
    tools = tuple(
        ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters) for tool in rendered.tools
    )
    output = prompt.output_schema()
    settings = {**prompt.model_settings, **evaluation.terms.model_settings}
    shown = {
        "instructions": rendered.instructions,
        "tools": tools,
        "output": output,
        "settings": settings,
        "transcript": [start, transcript.digest],
    }
    parts = {name: encode(part) for name, part in shown.items()}
    return Request(
        prompt=prompt.name,
        model=model,
        instructions=rendered.instructions,
        transcript=transcript.items,
        start=start,
        tools=tools,
        output=output,
        settings=settings,
        max_output_tokens=evaluation.budget.output_left(evaluation.usage),
        digest=sha256(b"\n".join((encode(model), *parts.values()))).hexdigest(),
        parts={name: sha256(part).hexdigest()[:SHORT] for name, part in parts.items()},
    )
