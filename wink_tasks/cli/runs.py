"""`wink runs`: evaluations, by any id that Flower shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer

from wink_tasks.cli.dlq import chosen, confirm, operator, replay
from wink_tasks.cli.filters import DryRun, Which, Yes, filtered
from wink_tasks.cli.options import App, Json, Limit, Model, Tenant, application
from wink_tasks.cli.printing import console, print_json, print_table, usage_document, usage_line
from wink_tasks.cli.sessions import RUN_COLUMNS, run_row
from wink_tasks.cli.story import told_events
from wink_tasks.core.errors import NotDeadError, ParametersInvalidError
from wink_tasks.core.ids import evaluation_of
from wink_tasks.core.limits import Budget
from wink_tasks.runtime.letters import DeadLetter, Wanted, is_turn, running

commands = typer.Typer(no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="A run's id, or that of one of its turns or tool calls.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Runs; else all that fit the filters.")]


@commands.command("ls")
def list_runs(app: App = None, tenant: Tenant = None, limit: Limit = 50, as_json: Json = False) -> None:
    """List the runs of the sessions that changed last, newest first."""
    with application(app) as wink:
        ledger = wink.house().store.ledger
        sessions = ledger.sessions(tenant=tenant, limit=limit)
        found = [run for one in sessions for run in ledger.evaluations(one.tenant, one.session)]
    newest = sorted(found, key=lambda run: run.accepted_at, reverse=True)[:limit]
    if as_json:
        print_json(newest)
        return
    print_table(console(), (*RUN_COLUMNS, "session"), ((*run_row(run), run.session) for run in newest))


@commands.command("show")
def show_run(some_id: Id, app: App = None, tenant: Tenant = None, as_json: Json = False) -> None:
    """Show a run: first why it stands where it stands, then what happened, and what it used."""
    with application(app) as wink:
        run = wink.run(some_id, tenant=tenant)
        why = run.explain()
        record = wink.house().store.ledger.evaluation(run.tenant, run.id)
        state, session = run.evaluation(), run.session.id
        events = [one for one in run.session.events() if one.evaluation == run.id]
    if as_json:
        print_json({"run": record, "why": why, "usage": usage_document(state.usage), "events": events})
        return
    out = console()
    out.out(f"Run {run.id} {why}")
    used = f"; {usage_line(state.usage)}" if state.terms.models else ""
    out.out(f"Session {session} of tenant {run.tenant}{used}")
    for line in told_events(events):
        out.out(line)


@commands.command("cancel")
@filtered
def cancel_runs(
    some_ids: Ids = None, *, which: Which, app: App = None, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Ask runs to stop: those that are named, or all that have not ended and fit the filters. Ended ones stay so."""
    with application(app) as wink:
        wanted = which(wink)
        _refuse_nothing(some_ids, wanted)
        named = [(name, wanted.tenant or None) for name in some_ids or ()]
        if not named:
            house = wink.house()
            found = _counted(list(running(house.store.ledger, wanted, house.clock.now())))
            named = [(run.id, run.tenant) for run in found]
            if named and not dry_run:
                confirm(f"Cancel {len(named)} runs?", yes=yes)
        for name, tenant in () if dry_run else named:
            run = wink.run(name, tenant=tenant)
            run.cancel("cancelled from the command line", by=operator())
            console().out(f"Run {run.id} {run.explain()}")


@commands.command("retry")
@filtered
def retry_runs(
    some_ids: Ids = None, *, which: Which, app: App = None, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Resume runs that ended by the death of a step: those that are named, or all that fit the filters."""
    with application(app) as wink:
        wanted = which(wink)
        _refuse_nothing(some_ids, wanted)
        names = {evaluation_of(name) for name in some_ids or ()}
        found = [one for one in chosen(wink, wanted) if is_turn(one) and (not names or one.evaluation in names)]
        missing = names - {one.evaluation for one in found}
        if missing:
            message = f"no step of {', '.join(map(repr, sorted(missing)))} is a dead letter that could be tried again"
            raise NotDeadError(message)
        _counted(found)
        if found and not names and not dry_run:
            confirm(f"Resume {len(found)} runs?", yes=yes)
        for letter in () if dry_run else found:
            console().out(f"Run {letter.evaluation}: its step {letter.id} {replay(wink, letter)}")


@commands.command("resume")
def resume_run(
    some_id: Id,
    *,
    total_tokens: Annotated[int | None, typer.Option("--total-tokens", help="Of all its turns, as its budget.")] = None,
    cost: Annotated[float | None, typer.Option("--cost-usd", help="Dollars of all its turns, as its budget.")] = None,
    deadline: Annotated[float | None, typer.Option("--deadline", help="Seconds from now.")] = None,
    model: Model = None,
    max_turns: Annotated[int | None, typer.Option("--max-turns", help="Of all its turns.")] = None,
    app: App = None,
    tenant: Tenant = None,
) -> None:
    """Let a run that failed go on from its last good point, by other limits or another model where they are given."""
    budget = None if total_tokens is cost is None else Budget(total_tokens=total_tokens, cost_usd=cost)
    with application(app) as wink:
        run = wink.run(some_id, tenant=tenant)
        run.resume(budget=budget, deadline=deadline, model=model, max_turns=max_turns, by=operator())
        console().out(f"Run {run.id} goes on: {run.explain()}")


def _refuse_nothing(ids: Sequence[str] | None, wanted: Wanted) -> None:
    if not ids and wanted == Wanted():
        message = "name runs, or filters: nothing is done to all of them at once"
        raise ParametersInvalidError(message)


def _counted(found: list[DeadLetter]) -> list[DeadLetter]:
    """Say how many of which prompt."""
    parts = ", ".join(f"{count} of {name}" for name, count in Counter(one.prompt for one in found).items())
    console().out(f"{len(found)} runs{f': {parts}' if parts else ''}")
    return found
