"""`wink pause` and `wink resume`: hold back what an operator does not want to be worked on now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, cast, get_args

import typer

from wink_tasks.app import Wink
from wink_tasks.cli.dlq import operator
from wink_tasks.cli.filters import check_mailbox
from wink_tasks.cli.options import App, Json, application
from wink_tasks.cli.parameters import find_prompt
from wink_tasks.cli.printing import console, moment, print_json, print_table
from wink_tasks.core.errors import ParametersInvalidError
from wink_tasks.core.ids import checked_tenant
from wink_tasks.ports.pauses import Pause, Subject

Prompt = Annotated[str, typer.Option("--prompt", help="The steps of this prompt; the last part of its name is enough.")]
Mailbox = Annotated[str, typer.Option("--mailbox", help="The steps in this mailbox.")]
Tenant = Annotated[str, typer.Option("--tenant", help="The steps of this tenant.")]
Model = Annotated[str, typer.Option("--model", help="The turns that would ask this model, as provider:model.")]


def pause(
    *,
    app: App = None,
    prompt: Prompt = "",
    mailbox: Mailbox = "",
    tenant: Tenant = "",
    model: Model = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever looks at a run is told.")] = "",
    as_json: Json = False,
) -> None:
    """Hold back steps; with no option, show what is held back. What is under way ends its step."""
    with application(app) as wink:
        house = wink.house()
        for subject, name in _subjects(wink, prompt=prompt, mailbox=mailbox, tenant=tenant, model=model):
            at = round(house.clock.now(), 3)
            house.store.pauses.pause(Pause(subject=subject, name=name, by=operator(), at=at, reason=reason))
        found = house.store.pauses.paused()
    _show(found, as_json=as_json)


def resume(
    *,
    app: App = None,
    prompt: Prompt = "",
    mailbox: Mailbox = "",
    tenant: Tenant = "",
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Let go on what was held back; its steps follow within some seconds."""
    with application(app) as wink:
        pauses = wink.house().store.pauses
        given = list(_subjects(wink, prompt=prompt, mailbox=mailbox, tenant=tenant, model=model))
        if not given:
            message = "say what shall go on: --prompt, --mailbox, --tenant or --model"
            raise ParametersInvalidError(message)
        known = {(one.subject, one.name) for one in pauses.paused()}
        for subject, name in given:
            if (subject, name) not in known:
                message = f"{subject} {name!r} is not paused: see `wink pause`"
                raise ParametersInvalidError(message)
            pauses.resume(subject, name)
        found = pauses.paused()
    _show(found, as_json=as_json)


def _subjects(wink: Wink, **given: str) -> Iterator[tuple[Subject, str]]:
    """What is named, checked: a pause of what there is not would look as if it worked."""
    for subject in get_args(Subject):
        name = given[subject]
        if not name:
            continue
        match subject:
            case "prompt":
                name = find_prompt(wink, name).name
            case "mailbox":
                check_mailbox(wink, name)
            case "tenant":
                checked_tenant(name)
            case _:
                if ":" not in name:
                    message = f"a model is named as provider:model, not {name!r}"
                    raise ParametersInvalidError(message)
        yield cast("Subject", subject), name


def _show(pauses: Sequence[Pause], *, as_json: bool) -> None:
    if as_json:
        print_json(pauses)
        return
    out = console()
    out.out(f"{len(pauses)} pauses are in force." if pauses else "Nothing is held back.")
    if pauses:
        rows = ((one.subject, one.name, one.by, moment(one.at), one.reason) for one in pauses)
        print_table(out, ("what", "name", "by", "since", "reason"), rows)
