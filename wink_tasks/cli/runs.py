"""`wink runs`: evaluations, by any id that Flower shows."""

from __future__ import annotations

from typing import Annotated

import typer

from wink_tasks.cli.options import App, Json, Limit, Tenant, application
from wink_tasks.cli.printing import console, print_json, print_table, usage_document, usage_line
from wink_tasks.cli.sessions import RUN_COLUMNS, run_row
from wink_tasks.cli.story import told_events

commands = typer.Typer(no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="A run's id, or that of one of its turns or tool calls.")]


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
        usage, session = run.usage(), run.session.id
        events = [one for one in run.session.events() if one.evaluation == run.id]
    if as_json:
        print_json({"run": record, "why": why, "usage": usage_document(usage), "events": events})
        return
    out = console()
    out.out(f"Run {run.id} {why}")
    out.out(f"Session {session} of tenant {run.tenant}; {usage_line(usage)}")
    for line in told_events(events):
        out.out(line)


@commands.command("cancel")
def cancel_run(some_id: Id, app: App = None, tenant: Tenant = None) -> None:
    """Ask a run to stop. One that has ended stays as it is."""
    with application(app) as wink:
        run = wink.run(some_id, tenant=tenant)
        run.cancel("cancelled from the command line")
        console().out(f"Run {run.id} {run.explain()}")
