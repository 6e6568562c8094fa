"""`wink sessions export`, `import`, `archive`: sessions as files, and back."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from wink_tasks.adapters.archive import DirectoryArchive, write_whole
from wink_tasks.app import Wink
from wink_tasks.cli import CALLERS_FAULT, WRONG
from wink_tasks.cli.dlq import confirm
from wink_tasks.cli.filters import DryRun, Yes, seconds
from wink_tasks.cli.options import App, Json, Tenant, application
from wink_tasks.cli.printing import console, print_json
from wink_tasks.core.archive import read
from wink_tasks.core.errors import ConfigurationError, ParametersInvalidError, WinkError
from wink_tasks.ports.ledger import SessionRecord
from wink_tasks.runtime.archiving import Copy, copy_of, keep_snapshot, restore
from wink_tasks.runtime.letters import is_named
from wink_tasks.runtime.missing import missing_session

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Sessions; else all that fit.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files that `export` or the archive wrote.")]
Out = Annotated[str, typer.Option("-o", "--out", help="A file for one session, or a folder; else standard output.")]
OfPrompt = Annotated[str, typer.Option("--prompt", help="That ran this prompt; the last part of its name is enough.")]
Unchanged = Annotated[str, typer.Option("--age", help="Unchanged for at least so long, as 90s, 15m, 2h or 7d.")]
All = Annotated[bool, typer.Option("--all", help="All of them, where neither names nor filters are given.")]

_EVERY: Final = 2**31


def export_sessions(
    names: Names = None,
    *,
    out: Out = "",
    app: App = None,
    tenant: Tenant = None,
    prompt: OfPrompt = "",
    age: Unchanged = "",
    everything: All = False,
) -> None:
    """Write sessions to files, a file a session; one that is at work as it stands now. What is there is replaced."""
    with application(app) as wink:
        found = chosen(wink, names, tenant, prompt, age, everything=everything)
        folder = out.endswith("/") or Path(out or "-").is_dir()
        if len(found) != 1 and not folder:
            message = f"these are {len(found)} sessions, a file each: name a folder by -o FOLDER/"
            raise ParametersInvalidError(message)
        for session in found:
            copy = _copied(wink, session)
            if folder:
                _told(copy, DirectoryArchive(out).put(copy.name, copy.lines()))
            elif out:
                write_whole(Path(out), copy.lines())
                _told(copy, out)
            else:
                sys.stdout.buffer.writelines(copy.lines())


def import_sessions(files: Files, app: App = None, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Bring sessions back as they were. Each file is checked as a whole first; one that is refused changes nothing."""
    out, told, refused = console(stderr=as_json), {}, None
    with application(app) as wink:
        for file in files:
            try:
                told[str(file)] = _restored(wink, file, dry_run=dry_run)
                out.out(told[str(file)])
            except WinkError as error:
                refused, told[str(file)] = error, str(error)
                console(stderr=True).out(f"refused: {error}")
    if as_json:
        print_json({"dry_run": dry_run, "files": told})
    if refused is not None:
        raise typer.Exit(CALLERS_FAULT if refused.fault == "caller" else WRONG)


def archive_sessions(
    names: Names = None,
    *,
    app: App = None,
    tenant: Tenant = None,
    prompt: OfPrompt = "",
    age: Unchanged = "",
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put sessions that have nothing left to do into the archive (WINK_ARCHIVE_DIR), and drop them here."""
    with application(app) as wink:
        archivist = wink.house().archivist
        if archivist is None:
            message = "there is no archive: set WINK_ARCHIVE_DIR to a folder that all workers share"
            raise ConfigurationError(message)
        found = chosen(wink, names, tenant, prompt, age, everything=everything)
        out, done, kept = console(stderr=as_json), {}, {}
        out.out(_counted(found))
        if found and not dry_run:
            confirm(f"Archive {len(found)} sessions, and drop them here?", yes=yes)
        for session in () if dry_run else found:
            where = None
            try:
                where = archivist.retire(session.tenant, session.session)
                why = "it changed meanwhile"
            except WinkError as error:
                why = str(error)
            if where is None:
                kept[session.session] = why
                out.out(f"Session {session.session} stays: {why}")
            else:
                done[session.session] = where
                out.out(f"Session {session.session} is archived in {where}")
    if as_json:
        print_json({"count": len(found), "dry_run": dry_run, "archived": done, "kept": kept})
    if kept:
        raise typer.Exit(WRONG)


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "export": export_sessions,
    "import": import_sessions,
    "archive": archive_sessions,
}


def chosen(
    wink: Wink, names: Sequence[str] | None, tenant: str | None, prompt: str, age: str, *, everything: bool
) -> list[SessionRecord]:
    """The sessions that are named, or all that fit. Raises ParametersInvalidError, UnknownSessionError."""
    ledger, owner = wink.house().store.ledger, tenant or wink.settings.default_tenant
    if names:
        return [_the(wink, owner, name) for name in names]
    if not (tenant or prompt or age or everything):
        message = "name sessions or filters, or take all of them by --all"
        raise ParametersInvalidError(message)
    since = wink.house().clock.now() - seconds(age)

    def fitting() -> Iterator[SessionRecord]:
        for session in ledger.sessions(tenant=tenant, limit=_EVERY):
            runs = ledger.evaluations(session.tenant, session.session) if prompt else ()
            if session.updated_at <= since and (not prompt or any(is_named(run.prompt, prompt) for run in runs)):
                yield session

    return list(fitting())


def _the(wink: Wink, tenant: str, name: str) -> SessionRecord:
    ledger = wink.house().store.ledger
    session = ledger.session(tenant, name)
    if session is None:
        raise missing_session(ledger, tenant, name)
    return session


def _copied(wink: Wink, session: SessionRecord) -> Copy:
    return copy_of(wink.house().store.ledger, wink.registry.reducers, session.tenant, session.session)


def _restored(wink: Wink, file: Path, *, dry_run: bool) -> str:
    try:
        with file.open("rb") as lines:
            archived = read(lines, str(file))
    except OSError as error:
        raise ParametersInvalidError(f"{str(file)!r} cannot be read: {error.strerror or error}") from error
    what = f"Session {archived.session} of tenant {archived.tenant}"
    size = f"{len(archived.events)} events, {len(archived.runs)} runs"
    if dry_run:
        return f"{what} is whole: {size}"
    ledger = wink.house().store.ledger
    written = restore(ledger, archived)
    if written:
        keep_snapshot(ledger, archived, wink.registry.reducers)
    return f"{what} is restored: {size}" if written else f"{what} is there already: {size}"


def _told(copy: Copy, where: str) -> None:
    archived = copy.archived
    slices = f"no slices ({copy.unfolded})" if copy.unfolded else f"{len(archived.slices)} slices"
    counts = f"{len(archived.events)} events, {len(archived.runs)} runs, {slices}"
    console().out(f"Session {archived.session} of tenant {archived.tenant}: {counts}, in {where}")


def _counted(found: Sequence[SessionRecord]) -> str:
    tenants = Counter(session.tenant for session in found)
    parts = ", ".join(f"{count} of tenant {name}" for name, count in tenants.items())
    return f"{len(found)} sessions{f': {parts}' if parts else ''}"
