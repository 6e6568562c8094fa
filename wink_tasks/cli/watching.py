"""Showing a run while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner

from wink_tasks.cli.story import Told, standing, tell, waited_for
from wink_tasks.core.evaluation import EvaluationState
from wink_tasks.core.events import ModelResponded, Recorded


def watch(events: Iterable[Recorded], out: Console, *, now: Callable[[], float] = time.time) -> Told:
    """Print a line an event, and how far the run is: below them on a terminal, else behind each turn.

    Returns the last one. `now` is epoch seconds.
    """
    return _watch_live(events, out, now) if out.is_terminal else _watch_plain(events, out)


def _watch_plain(events: Iterable[Recorded], out: Console) -> Told:
    began: float | None = None
    for told in tell(events):
        at = told.record.at
        began = at if began is None else began
        how_far = ""
        if told.state is not None and isinstance(told.record.event, ModelResponded):
            how_far = f"  [{standing(told.state, seconds=at - began, now=at)}]"
        out.out(f"{at - began:7.2f} s  {told.text}{how_far}")
    return told


def _watch_live(events: Iterable[Recorded], out: Console, now: Callable[[], float]) -> Told:
    spinner = Spinner("dots", text="waits for a worker")
    began: float | None = None
    state: EvaluationState | None = None

    def seconds() -> float:
        return 0.0 if began is None else max(0.0, now() - began)

    def footer() -> RenderableType:
        if state is not None:
            spinner.update(text=standing(state, seconds=seconds(), now=now()) + waited_for(state))
        return spinner

    with Live(get_renderable=footer, console=out, refresh_per_second=8, transient=True) as live:
        for told in tell(events):
            state = told.state
            began = told.record.at if began is None else began
            out.out(f"{told.record.at - began:7.2f} s  {told.text}")
            live.refresh()
    if state is not None:
        out.out(standing(state, seconds=seconds(), now=now()))
    return told
