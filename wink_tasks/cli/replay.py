"""`wink replay`: recorded sessions folded and run again, in this process, by the code of today."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import islice
from typing import Annotated

import typer
from msgspec import to_builtins

from wink_tasks.app import Wink
from wink_tasks.cli.filters import labels, seconds
from wink_tasks.cli.options import App, Json, Limit, Tenant, application
from wink_tasks.cli.printing import console, print_json, print_table
from wink_tasks.core.errors import ConfigurationError, ParametersInvalidError
from wink_tasks.core.ids import evaluation_of
from wink_tasks.core.json_differences import told
from wink_tasks.core.redaction import redact
from wink_tasks.core.reducers import Reducers
from wink_tasks.core.refolding import SliceDifference
from wink_tasks.runtime.refold import Compared, Refolded, Sessions, chosen_sessions, compared, left_out, refolded
from wink_tasks.runtime.slices import SliceDeclarations
from wink_tasks.testing.rerun import Rerun, rerun

DIFFERS = 1
NAMES = ("slices", "wink")
_WORDS = "[PROMPT] [since AGE] [tenant NAME] [label NAME=VALUE]..."

Name = Annotated[str, typer.Argument(metavar="[SESSION]", help="The session's name.")]
Evaluate = Annotated[bool, typer.Option("--evaluate", help="Run its evaluations again, with the recorded answers.")]
RunId = Annotated[list[str] | None, typer.Option("--run", help="Only this run, with --evaluate; may be repeated.")]
Module = Annotated[
    str, typer.Option("--reducers", help="Compare with the reducers of this module: its `slices`, or its `wink`.")
]
Selector = Annotated[str, typer.Option("--sessions", metavar="WHICH", help=f"With --reducers: {_WORDS}")]


def replay(
    session: Name = "",
    *,
    app: App = None,
    tenant: Tenant = None,
    evaluate: Evaluate = False,
    run: RunId = None,
    reducers: Module = "",
    sessions: Selector = "",
    limit: Limit = 1_000,
    as_json: Json = False,
) -> None:
    """Fold a session again and compare it with what was kept of it; or run its evaluations; or try other reducers.

    Exits with 0 where all is alike, with 1 where something differs.
    """
    if run and not evaluate:
        raise ParametersInvalidError("--run names what --evaluate runs again: give both")
    if bool(reducers) != bool(sessions) or bool(reducers) == bool(session):
        raise ParametersInvalidError("replay takes a SESSION, or --reducers together with --sessions")
    with application(app) as wink:
        if reducers:
            differs = try_reducers(wink, reducers, sessions, tenant or "", limit, as_json=as_json)
        elif evaluate:
            differs = evaluate_again(wink, tenant, session, run or (), as_json=as_json)
        else:
            differs = fold_again(wink, tenant, session, as_json=as_json)
    if differs:
        raise typer.Exit(DIFFERS)


def fold_again(wink: Wink, tenant: str | None, session: str, *, as_json: bool) -> bool:
    """Fold a session again and print what came of it; whether it differs from what was kept."""
    owner = tenant or wink.settings.default_tenant
    found = refolded(wink.house().store.ledger, owner, session, wink.registry.reducers)
    if as_json:
        print_json(redact({"differs": found.differs, **to_builtins(found)}))
        return found.differs
    out = console()
    for line in said_of_fold(found):
        out.out(redact(line))
    return found.differs


def said_of_fold(found: Refolded) -> Iterator[str]:
    """What came of folding, in lines."""
    what = f"{found.events} events, {found.evaluations_folded} runs"
    yield f"Session {found.session} of tenant {found.tenant}: {what}"
    match found.snapshot:
        case "none":
            yield "Snapshot: none is kept (one is, from each 100th event on)"
        case "other reducers":
            here = f"here they are {found.fingerprint}"
            made = f"was made by other reducers ({found.snapshot_fingerprint}; {here})"
            yield f"Snapshot: that of event {found.snapshot_seq} {made}: nobody reads it, and it is not compared"
        case "same":
            yield f"Snapshot: that of event {found.snapshot_seq} is what the ledger folds to"
        case _:
            yield f"Snapshot: that of event {found.snapshot_seq} differs from what the ledger folds to"
    for difference in found.slices:
        yield from said_of_slice(difference)
    yield f"Runs: {'the index has them otherwise' if found.evaluations else 'the index has them as they fold'}"
    for place in found.evaluations:
        yield from (f"  {line}" for line in told(place))


def said_of_slice(difference: SliceDifference) -> Iterator[str]:
    """A slice that differs, in lines."""
    yield f"  {difference.slice}: recorded {difference.recorded} values, now {difference.now}"
    for place in difference.places:
        yield from (f"    {line}" for line in told(place))


def evaluate_again(wink: Wink, tenant: str | None, session: str, runs: Sequence[str], *, as_json: bool) -> bool:
    """Run a session's evaluations again and print where they drift; whether one does."""
    view = wink.session(session, tenant=tenant)
    view.refresh()
    found = rerun(wink, tuple(view.events()), [evaluation_of(one) for one in runs])
    drifts = any(one.drift is not None for one in found)
    if as_json:
        print_json(redact({"differs": drifts, "runs": [to_builtins(one) for one in found]}))
        return drifts
    out = console()
    for one in found:
        for line in said_of_run(one):
            out.out(redact(line))
    return drifts


def said_of_run(one: Rerun) -> Iterator[str]:
    """What came of running an evaluation again, in lines."""
    what = f"Run {one.run} of {one.prompt}"
    if one.skipped:
        yield f"{what} is not run again: {one.skipped}"
        return
    changed = "; the prompt is declared otherwise than then" if one.digest_changed else ""
    if one.drift is None:
        yield f"{what}: {one.turns} turns do today what they did{changed}"
        return
    yield f"{what} drifts{changed}"
    yield from (f"  {line}" for line in one.drift.lines())


def try_reducers(wink: Wink, module: str, which: str, tenant: str, limit: int, *, as_json: bool) -> bool:
    """Fold the wanted sessions by the application's reducers and by the module's, and print what differs."""
    wanted, theirs, house = selected(which, tenant), reducers_of(module), wink.house()
    found = list(islice(chosen_sessions(house.store.ledger, wanted, house.clock.now()), limit + 1))
    more, found = len(found) > limit, found[:limit]
    told_of = [compared(record, records, wink.registry.reducers, theirs) for record, records in found]
    differ, aside = [one for one in told_of if one.differs], left_out(wink.registry.reducers, theirs)
    out = console(stderr=as_json)
    if more:
        out.out(f"More than {limit} sessions fit: these are the newest, --limit takes more")
    if as_json:
        document = {"reducers": module, "sessions": len(told_of), "left_out": aside}
        print_json(redact({**document, "differ": [to_builtins(one) for one in differ]}))
        return bool(differ)
    if differ:
        columns = ("session", "tenant", "events", "slice", "values", "with new", "first difference")
        print_table(out, columns, (row for one in differ for row in rows_of(one)))
    if aside:
        out.out(f"Not declared by {module}, and not compared: {', '.join(aside)}")
    if not told_of:
        out.out(f"No session fits {which!r}")
        return False
    out.out(f"{len(told_of)} sessions folded by both, {len(differ)} of them end in other slices")
    return bool(differ)


def rows_of(one: Compared) -> Iterator[tuple[object, ...]]:
    """A session in rows, one for each slice that differs."""
    start = one.session, one.tenant, one.events
    if one.failed:
        yield *start, "-", "-", "-", redact(one.failed)
    for difference in one.slices:
        first = "\n".join(line for place in difference.places[:1] for line in told(place))
        yield *start, difference.slice, difference.recorded, difference.now, redact(first)


def reducers_of(path: str) -> Reducers:
    """The reducers of `package.module`, or of `package.module:name`. Raises ConfigurationError."""
    module, _, name = path.partition(":")
    try:
        there = vars(import_module(module))
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"the module {module!r} (--reducers) cannot be imported: {error}") from error
    for candidate in (name,) if name else NAMES:
        found = there.get(candidate)
        if isinstance(found, Wink):
            return found.registry.reducers
        if isinstance(found, SliceDeclarations):
            return found.reducers
    missing = repr(name) if name else "`slices` and no `wink`"
    raise ConfigurationError(
        f"the module {module!r} (--reducers) has no {missing} that declares slices: "
        f"give it slices = SliceDeclarations() and register there, or a Wink"
    )


def selected(words: str, tenant: str) -> Sessions:
    """The sessions that the words say. Raises ParametersInvalidError."""
    prompt, since, given = "", None, []
    left = iter(words.split())
    for word in left:
        if word in ("since", "tenant", "label"):
            value = next(left, "")
            if not value:
                raise ParametersInvalidError(f"--sessions: {word!r} names nothing; it takes {_WORDS}")
            since = seconds(value, "--sessions: since") if word == "since" else since
            tenant = value if word == "tenant" else tenant
            given += [value] if word == "label" else []
        elif prompt:
            raise ParametersInvalidError(f"--sessions: {word!r} is a second prompt after {prompt!r}; it takes {_WORDS}")
        else:
            prompt = word
    return Sessions(prompt=prompt, tenant=tenant, since=since, labels=labels(given))
