"""`wink sessions`: the ledgers."""

from __future__ import annotations

from typing import Annotated

import typer

from wink_tasks.cli import past
from wink_tasks.cli.options import App, Json, Limit, Tenant, application
from wink_tasks.cli.printing import console, moment, print_json, print_table
from wink_tasks.cli.story import told_events
from wink_tasks.core.snapshots import dumped
from wink_tasks.ports.ledger import EvaluationRecord, SessionRecord
from wink_tasks.runtime.missing import missing_session
from wink_tasks.runtime.past import runs_of
from wink_tasks.runtime.session import Session

commands = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The session's name.")]
At = Annotated[int | None, typer.Option("--at", help="As it was at this event, with its slices.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@commands.command("ls")
def list_sessions(app: App = None, tenant: Tenant = None, limit: Limit = 50, as_json: Json = False) -> None:
    """List the sessions that changed last, of all tenants or of one."""
    with application(app) as wink:
        listed = wink.house().store.ledger.sessions(tenant=tenant, limit=limit)
    if as_json:
        print_json(listed)
        return
    columns = ("session", "tenant", "events", "changed", "now")
    rows = ((one.session, one.tenant, one.head, moment(one.updated_at), standing(one)) for one in listed)
    print_table(console(), columns, rows)


@commands.command("show")
def show_session(name: Name, *, at: At = None, app: App = None, tenant: Tenant = None, as_json: Json = False) -> None:
    """Show a session: where it stands, its runs, and each event in a line."""
    with application(app) as wink:
        if at is not None:
            _show_past(wink.session(name, tenant=tenant, at=at), at, as_json=as_json)
            return
        ledger, owner = wink.house().store.ledger, tenant or wink.settings.default_tenant
        session = ledger.session(owner, name)
        if session is None:
            raise missing_session(ledger, owner, name)
        runs, events = ledger.evaluations(owner, name), ledger.read(owner, name)
    if as_json:
        print_json({"session": session, "runs": runs, "events": events})
        return
    out = console()
    out.out(f"Session {name} of tenant {owner}: {standing(session)}; {session.head} events")
    if session.parent:
        out.out(f"Forked from session {session.parent} at event {session.base}")
    print_table(out, RUN_COLUMNS, (run_row(run) for run in runs))
    for line in told_events(events):
        out.out(line)


def _show_past(session: Session, at: int, *, as_json: bool) -> None:
    state, events = session.state, list(session.events())
    runs = runs_of(events, session.tenant, session.id)
    if as_json:
        document = {"session": session.id, "tenant": session.tenant, "seq": at, "runs": runs, "events": events}
        print_json({**document, "slices": dumped(state)})
        return
    out = console()
    out.out(f"Session {session.id} of tenant {session.tenant} as it was at event {at}")
    print_table(out, RUN_COLUMNS, (run_row(run) for run in runs))
    for line in told_events(events):
        out.out(line)
    past.print_slices(out, session)


commands.command("diff")(past.diff)
commands.command("fork")(past.fork)
commands.command("tail")(past.tail)


@commands.command("delete")
def delete_session(name: Name, app: App = None, tenant: Tenant = None, yes: Yes = False) -> None:
    """Drop a session with all that is its own. One with a run that has not ended is refused."""
    with application(app) as wink:
        ledger, owner = wink.house().store.ledger, tenant or wink.settings.default_tenant
        if not yes:
            typer.confirm(f"Delete session {name!r} of tenant {owner!r} for good?", abort=True)
        if not ledger.delete(owner, name):
            raise missing_session(ledger, owner, name)
    console().out(f"Session {name} is deleted.")


RUN_COLUMNS = ("run", "prompt", "status", "accepted", "ended")


def run_row(run: EvaluationRecord) -> tuple[str, ...]:
    """A run in a row."""
    return run.id, run.prompt, run.status, moment(run.accepted_at), moment(run.ended_at)


def standing(session: SessionRecord) -> str:
    """What goes on in a session."""
    if not session.current:
        return "nothing runs"
    behind = f", {len(session.waiting)} behind it" if session.waiting else ""
    return f"{session.current} runs{behind}"
