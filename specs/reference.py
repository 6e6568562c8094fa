"""Prints REFERENCE.md from the code: `make reference`."""

from __future__ import annotations

from wink_tasks.core import errors, evaluation, events
from wink_tasks.core.delivery import TABLE as DELIVERY
from wink_tasks.ports.telemetry import METRICS
from wink_tasks.settings import Settings


def first_line(thing: type) -> str:
    """The summary of a class."""
    return (thing.__doc__ or "").partition("\n")[0]


def settings() -> list[str]:
    """A row a setting."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows += [
        f"| `WINK_{name.upper()}` | `{field.default}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return rows


def metrics() -> list[str]:
    """A row a metric."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help} |"
        for metric in METRICS.values()
    ]
    return rows


def event_types() -> list[str]:
    """A row an event."""
    rows = ["| event | fields | meaning |", "|---|---|---|"]
    rows += [
        f"| `{event.__name__}` | {', '.join(event.__struct_fields__)} | {first_line(event)} |"
        for event in events.Event.__subclasses__()
    ]
    return rows


def error_types() -> list[str]:
    """A row an error, parents first."""
    rows = ["| error | whose fault | may a retry help | meaning |", "|---|---|---|---|"]

    def walk(error: type[errors.WinkError], depth: int) -> None:
        name = f"{'· ' * depth}`{error.__name__}`"
        rows.append(f"| {name} | {error.fault} | {'yes' if error.retryable else 'no'} | {first_line(error)} |")
        for child in error.__subclasses__():
            if child.__module__ == errors.__name__:
                walk(child, depth + 1)

    walk(errors.WinkError, 0)
    return rows


def evaluation_machine() -> list[str]:
    """The evaluation machine as a Mermaid diagram."""
    rows = ["```mermaid", "stateDiagram-v2"]
    for phase, steps in evaluation.TABLE.items():
        for event, following in steps.items():
            rows += [f"  {phase} --> {after}: {event.__name__}" for after in sorted(following)]
    return [*rows, "```"]


def delivery_machine() -> list[str]:
    """The delivery machine as a Mermaid diagram."""
    rows = ["```mermaid", "stateDiagram-v2", "  [*] --> ready: send", "  [*] --> delayed: send"]
    for state, steps in DELIVERY.items():
        rows += [f"  {state} --> {after}: {command}" for command, after in steps.items()]
    return [*rows, "```"]


def page() -> str:
    """The whole page."""
    parts = [
        ["# Reference", "", "Made from the code by `make reference`; a test fails when the two differ."],
        ["## Settings", "", *settings()],
        ["## Metrics", "", "In Prometheus dots are underscores, and counters end in `_total`.", "", *metrics()],
        [
            "## Spans",
            "",
            (
                "`wink.accept`, `wink.prompt.evaluate` (a turn), `wink.call`, `wink.task`, `wink.outcome`, "
                "`wink.provider.complete`."
            ),
        ],
        ["## Events", "", *event_types()],
        ["## Errors", "", *error_types()],
        ["## The evaluation machine", "", *evaluation_machine()],
        ["## The delivery machine", "", *delivery_machine()],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


if __name__ == "__main__":
    print(page(), end="")
