"""`wink dlq`: dead letters, looked at, tried again, exported and forgotten."""

from __future__ import annotations

import getpass
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from wink_tasks.adapters.celery.rejections import republish
from wink_tasks.app import Wink
from wink_tasks.cli.filters import DryRun, Which, Yes, filtered
from wink_tasks.cli.options import App, Json, Limit, application
from wink_tasks.cli.printing import console, moment, print_json, print_table
from wink_tasks.core.errors import NotDeadError, ParametersInvalidError
from wink_tasks.core.redaction import redact
from wink_tasks.ports.mailbox import Effect
from wink_tasks.runtime.letters import DeadLetter, Wanted, dead_letters

commands = typer.Typer(no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="A dead letter's id, as `wink dlq ls` shows it.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Dead letters; else all that fit.")]
All = Annotated[bool, typer.Option("--all", help="All of them, where neither ids nor filters are given.")]

_EFFECTS: dict[Effect, str] = {
    "ready": "is tried again",
    "waiting": "is tried again as soon as its session is free",
    "answered": "is done, without effect: its call counts as answered, and its evaluation went on",
    "ended": "is done, without effect: its evaluation has ended otherwise",
    "early": "stays: the end that its death brought is not told to Celery yet, try again in a moment",
}


@commands.command("ls")
@filtered
def list_letters(
    *,
    app: App = None,
    which: Which,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List dead letters: first how many in which mailbox, then each of them, oldest first."""
    with application(app) as wink:
        wanted = which(wink)
        found = chosen(wink, wanted)
        ever = wink.house().store.rejections.count()
    if as_json:
        print_json({"counts": counts(found), "rejected_ever": ever, "letters": redacted(found[:limit])})
        return
    out = console()
    out.out(counted(found))
    columns = ("id", "mailbox", "prompt or task", "tries", "died", "reason", "last error")
    print_table(out, columns, (row(letter) for letter in found[:limit]))


@commands.command("show")
def show_letter(some_id: Id, app: App = None, as_json: Json = False) -> None:
    """Show all that is known of a dead letter."""
    with application(app) as wink:
        letter = the(wink, some_id)
    [shown] = redacted([letter])
    if as_json:
        print_json(shown)
        return
    out = console()
    for name in DeadLetter.__struct_fields__:
        value = shown[name]
        if name in ("died_at", "claimed_at"):
            out.out(f"{name}: {moment(getattr(letter, name))}")
        elif value not in ("", None, {}):
            out.out(f"{name}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}")


@commands.command("replay")
@filtered
def replay_letters(
    ids: Ids = None,
    *,
    app: App = None,
    which: Which,
    everything: All = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Try dead letters again: turns resume their runs, what would change nothing is closed, Celery's are sent again."""
    with application(app) as wink:
        wanted = which(wink, ids)
        found = named(wink, wanted, everything=everything)
        out = console(stderr=as_json)
        out.out(counted(found))
        done = [] if dry_run else [(letter.id, replay(wink, letter)) for letter in found]
        for name, what in done:
            out.out(f"{name} {what}")
    if as_json:
        print_json({"counts": counts(found), "dry_run": dry_run, "replayed": dict(done)})


@commands.command("purge")
@filtered
def purge_letters(
    ids: Ids = None,
    *,
    app: App = None,
    which: Which,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Forget dead letters for good. What their ledgers say stays."""
    with application(app) as wink:
        wanted = which(wink, ids)
        found = named(wink, wanted, everything=everything)
        out, purged = console(stderr=as_json), 0
        out.out(counted(found))
        if found and not dry_run:
            confirm(f"Forget {len(found)} dead letters for good?", yes=yes)
            store = wink.house().store
            purged = store.mailbox.purge([letter.address for letter in found if not letter.is_rejected])
            purged += store.rejections.drop([letter.id for letter in found if letter.is_rejected])
        out.out(f"{purged} dead letters are forgotten.")
    if as_json:
        print_json({"counts": counts(found), "dry_run": dry_run, "purged": purged})


@commands.command("export")
@filtered
def export_letters(
    ids: Ids = None,
    *,
    app: App = None,
    which: Which,
) -> None:
    """Write dead letters to standard output, with all that is known of each: a JSON document a line."""
    with application(app) as wink:
        wanted = which(wink, ids)
        for document in redacted(chosen(wink, wanted)):
            sys.stdout.write(msgspec.json.encode(document).decode() + "\n")


def chosen(wink: Wink, wanted: Wanted) -> list[DeadLetter]:
    """The dead letters that are wanted."""
    house = wink.house()
    return list(dead_letters(house.store, wanted, house.clock.now()))


def named(wink: Wink, wanted: Wanted, *, everything: bool) -> list[DeadLetter]:
    """As `chosen`, for what changes something. Raises ParametersInvalidError, NotDeadError."""
    if wanted == Wanted() and not everything:
        message = "name dead letters or filters, or take all of them by --all"
        raise ParametersInvalidError(message)
    found = chosen(wink, wanted)
    missing = set(wanted.ids) - {letter.id for letter in found}
    if missing:
        message = f"no dead letter is called {', '.join(map(repr, sorted(missing)))}: see `wink dlq ls`"
        raise NotDeadError(message)
    return found


def the(wink: Wink, name: str) -> DeadLetter:
    """One dead letter. Raises NotDeadError."""
    return named(wink, Wanted(ids=(name,)), everything=False)[0]


def replay(wink: Wink, letter: DeadLetter) -> str:
    """Try it again; what became of it, in words."""
    house = wink.house()
    if letter.is_rejected:
        rejected = next((one for one in house.store.rejections.kept() if one.id == letter.id), None)
        if rejected is None or not rejected.is_whole:
            return "stays: only a part of it was kept" if rejected else "is gone"
        if not rejected.is_message:
            return "stays: it was no message of Celery's, so it cannot be sent as one"
        republish(wink.app, rejected)
        house.store.rejections.drop([letter.id])
        return f"is sent to queue {rejected.queue!r} again"
    try:
        revived = house.store.mailbox.revive(letter.address, by=operator())
    except NotDeadError as error:  # somebody else was faster
        return f"stays: {error}"
    house.ringer.ring(revived.doorbells)
    return _EFFECTS[revived.effect]


def operator() -> str:
    """Who works at this terminal, as the ledger names them."""
    try:
        return f"operator {getpass.getuser()}"
    except (KeyError, OSError):  # a container may have no name for its user
        return "operator"


def confirm(question: str, *, yes: bool) -> None:
    """Ask, where nobody said yes already. Raises ParametersInvalidError where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        message = "nobody can be asked here: say --yes"
        raise ParametersInvalidError(message)
    typer.confirm(question, abort=True, err=True)


def counts(letters: Sequence[DeadLetter]) -> dict[str, int]:
    """How many in which mailbox."""
    return dict(Counter(letter.mailbox for letter in letters))


def counted(letters: Sequence[DeadLetter]) -> str:
    """How many in which mailbox, in words."""
    parts = ", ".join(f"{count} in {mailbox}" for mailbox, count in counts(letters).items())
    return f"{len(letters)} dead letters{f': {parts}' if parts else ''}"


def row(letter: DeadLetter) -> tuple[object, ...]:
    """A dead letter in a row."""
    name = letter.prompt or letter.task
    tried = letter.deliveries or "-"
    return letter.id, letter.mailbox, name, tried, moment(letter.died_at), letter.reason, redact(letter.error[:200])


def redacted(letters: Sequence[DeadLetter]) -> list[dict[str, object]]:
    """Dead letters as documents that show no credentials."""
    return [redact(msgspec.to_builtins(letter)) for letter in letters]
