"""`wink sessions show --at`, `diff` and `tail`: sessions as they were, and as they become."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from wink_tasks.app import Wink
from wink_tasks.cli.options import App, Json, Tenant, application
from wink_tasks.cli.printing import console, print_json
from wink_tasks.cli.story import one_line, tell, told_line
from wink_tasks.core.codec import encode
from wink_tasks.core.events import EvaluationCancelled, Json as JsonValue, Recorded
from wink_tasks.core.session_difference import Change, Pair, difference
from wink_tasks.core.snapshots import dumped
from wink_tasks.ports.ledger import WAIT_AT_MOST, Ledger
from wink_tasks.runtime.missing import missing_session
from wink_tasks.runtime.session import Session

A = Annotated[str, typer.Argument(metavar="A", help="A session's name, or name@SEQ: as it was at that event.")]
B = Annotated[str, typer.Argument(metavar="B", help="What it is compared with, in the same way.")]
Name = Annotated[str, typer.Argument(help="The session's name.")]
Last = Annotated[int, typer.Option("-n", "--last", min=0, help="How many of its events are shown first.")]
Follow = Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes, until Ctrl-C.")]
At = Annotated[int, typer.Option("--at", help="The last event that it shares.")]
As = Annotated[str | None, typer.Option("--as", help="The new session's name; else it is called after its parent.")]
Lines = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]


def diff(a: A, b: B, app: App = None, tenant: Tenant = None, as_json: Json = False) -> None:
    """Show in what two sessions, or two points of one (NAME@SEQ), differ: slices, transcript, runs."""
    with application(app) as wink:
        left, right = point(wink, a, tenant), point(wink, b, tenant)
        found = difference(left.state, right.state)
    sides = [{"session": one.id, "seq": one.seq} for one in (left, right)]
    if as_json:
        print_json({"left": sides[0], "right": sides[1], "same": not found, **msgspec.structs.asdict(found)})
        return
    out = console()
    out.out(f"- {left.id} at event {left.seq}\n+ {right.id} at event {right.seq}")
    if not found:
        out.out("They are the same: slices, transcript and runs.")
    for name, change in found.slices.items():
        _print_change(out, f"slice {name}", change)
    if found.transcript is not None:
        _print_change(out, "transcript", found.transcript)
    for name, pair in found.evaluations.items():
        _print_pair(out, f"run {name}", pair)


def tail(
    name: Name,
    *,
    app: App = None,
    tenant: Tenant = None,
    last: Last = 10,
    follow: Follow = False,
    as_json: Lines = False,
) -> None:
    """Show a session's last events, and with -f what comes, as it comes."""
    with application(app) as wink:
        ledger, owner = wink.house().store.ledger, tenant or wink.settings.default_tenant
        session = ledger.session(owner, name)
        if session is None:
            raise missing_session(ledger, owner, name)
        shown = max(0, session.head - last)
        # What is told of an event depends on what its run did before.
        open_then = [run for run in ledger.evaluations(owner, name) if not 0 < run.ended_seq <= shown]
        begin = min((run.accepted_seq - 1 for run in open_then), default=shown)
        records = _following(ledger, owner, name, min(begin, shown), follow=follow)
        for told in tell(records):
            if told.record.seq > shown:
                sys.stdout.write(f"{encode(told.record).decode() if as_json else told_line(told)}\n")
                sys.stdout.flush()


def fork(name: Name, *, at: At, new: As = None, app: App = None, tenant: Tenant = None, as_json: Json = False) -> None:
    """Open a session that goes on from another's events up to SEQ, which it shares: runs may then be started in it."""
    with application(app) as wink:
        forked = wink.session(name, tenant=tenant).fork(at=at, name=new)
        own = [record.event for record in forked.events(after=at)]
    ended = [event.evaluation for event in own if isinstance(event, EvaluationCancelled)]
    if as_json:
        print_json({"session": forked.id, "tenant": forked.tenant, "parent": name, "at": at, "cancelled": ended})
        return
    out = console()
    out.out(f"Session {forked.id} goes on from event {at} of {name}.")
    for run in ended:
        out.out(f"Run {run} had not ended there: in the fork it is cancelled.")
    out.out(f"`wink run NAME --session {forked.id}` starts a run in it.")


def _following(ledger: Ledger, tenant: str, session: str, seen: int, *, follow: bool) -> Iterator[Recorded]:
    came = ledger.read(tenant, session, after=seen)
    while came or follow:
        yield from came
        seen = came[-1].seq if came else seen
        came = ledger.wait(tenant, session, after=seen, timeout=WAIT_AT_MOST) if follow else ()


def point(wink: Wink, text: str, tenant: str | None) -> Session:
    """The session `name`, or as it was at `name@SEQ`. A session that is itself called so is meant first."""
    name, at, number = text.rpartition("@")
    ledger, owner = wink.house().store.ledger, tenant or wink.settings.default_tenant
    if not (name and at and number.isascii() and number.isdecimal()) or ledger.session(owner, text) is not None:
        return wink.session(text, tenant=tenant).refresh()
    return wink.session(name, tenant=tenant, at=int(number)).refresh()


def print_slices(out: Console, session: Session) -> None:
    """Each slice with its values, one a line."""
    for name, values in dumped(session.state).items():
        out.out(f"slice {name}: {len(values)} values")
        for value in values:
            out.out(f"    {one_line(encode(value).decode())}")


def _print_change(out: Console, what: str, change: Change) -> None:
    around = f"{change.same} the same before" + (f", {change.after} after" if change.after else "")
    out.out(f"{what}: {around}")
    _print_sides(out, change.left, change.right)


def _print_pair(out: Console, what: str, pair: Pair) -> None:
    out.out(what)
    if pair.left is None or pair.right is None:
        _print_sides(out, *((() if side is None else (_short(side),)) for side in (pair.left, pair.right)))
        return
    for field in pair.left:
        if pair.left[field] != pair.right[field]:
            _print_sides(out, [{field: pair.left[field]}], [{field: pair.right[field]}])


def _short(run: JsonValue) -> JsonValue:
    return {field: run[field] for field in ("prompt", "phase", "turns", "end")}


def _print_sides(out: Console, left: Sequence[JsonValue], right: Sequence[JsonValue]) -> None:
    for sign, items in (("-", left), ("+", right)):
        for item in items:
            out.out(f"  {sign} {one_line(encode(item).decode())}")
