"""A session as a file: JSON lines that `jq` reads, and whose last one has the checksum of all before it.

    {"kind":"session", ...}    once: the format, whose session it is, and how many lines of each kind follow
    {"kind":"event", ...}      each event of the ledger, in order, with its number, time and actor
    {"kind":"run", ...}        what the index says of each of its evaluations, in the order of acceptance
    {"kind":"slice", ...}      each slice as the writer's reducers have it: for readers only; who restores, folds
    {"kind":"end", ...}        once: SHA-256 over every byte before this line

The same session gives the same bytes, whoever writes it and when, as long as the reducers are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from typing import Annotated, Final, TypeVar

import msgspec

from wink_tasks.core.codec import VERSION, decode_event, encode
from wink_tasks.core.errors import ArchiveInvalidError, WinkError
from wink_tasks.core.events import TERMINAL, EvaluationAccepted, Json, Recorded, SessionOpened
from wink_tasks.core.ids import checked_name, checked_tenant
from wink_tasks.core.session import SessionState, fold

FORMAT: Final = 1
_LEGIBLE: Final = 80
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]+")


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="session"):
    """The first line. `fingerprint` is that of the reducers, `unfolded` why there are no slices where they refused."""

    format: int
    tenant: str
    session: str
    created_at: float
    events: int
    runs: int
    slices: int
    fingerprint: str = ""
    unfolded: str = ""


class ArchivedRun(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """What is known of an evaluation without folding, as `ports.ledger.EvaluationRecord` has it."""

    id: str
    prompt: str
    mailbox: str
    status: str
    accepted_seq: int
    accepted_at: float
    started_at: float
    ended_seq: int
    ended_at: float
    cancelled: bool


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds. It was checked: whole, unchanged, and a ledger that folds."""

    tenant: str
    session: str
    created_at: float
    events: tuple[Recorded, ...]
    runs: tuple[ArchivedRun, ...] = ()
    slices: Mapping[str, tuple[Json, ...]] = {}

    @property
    def unended(self) -> tuple[str, ...]:
        """The evaluations that had not ended when this copy was made."""
        return tuple(run.id for run in self.runs if not run.ended_seq)


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="event"):
    seq: int
    at: float
    actor: str
    version: Annotated[int, msgspec.Meta(ge=1)]
    event: msgspec.Raw


class _Slice(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="slice"):
    name: str
    values: tuple[Json, ...]


class _End(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="end"):
    sha256: str


class _Format(msgspec.Struct, frozen=True):
    format: int


T = TypeVar("T")


def file_name(tenant: str, session: str, created_at: float) -> str:
    """The name of a session's file in an archive: legible, and another one for each session that ever bore the name."""
    digest = sha256(encode([tenant, session, round(created_at * 1000)])).hexdigest()[:16]
    return f"{tenant}/{_ODD.sub('_', session)[:_LEGIBLE]}.{digest}.jsonl"


def written(archived: Archived, *, fingerprint: str = "", unfolded: str = "") -> Iterator[bytes]:
    """The lines of a session's file, each with its line feed."""
    header = Header(
        format=FORMAT,
        tenant=archived.tenant,
        session=archived.session,
        created_at=archived.created_at,
        events=len(archived.events),
        runs=len(archived.runs),
        slices=len(archived.slices),
        fingerprint=fingerprint,
        unfolded=unfolded,
    )
    events = map(_event_line, archived.events)
    slices = (_Slice(name=name, values=values) for name, values in sorted(archived.slices.items()))
    digest = sha256()
    for struct in chain([header], events, archived.runs, slices):
        line = encode(struct) + b"\n"
        digest.update(line)
        yield line
    yield encode(_End(sha256=digest.hexdigest())) + b"\n"


def _event_line(record: Recorded) -> _Event:
    event = msgspec.Raw(encode(record.event))
    return _Event(seq=record.seq, at=record.at, actor=record.actor, version=VERSION, event=event)


def read(lines: Iterable[bytes], name: str) -> Archived:
    """What the lines of a file hold, which errors call `name`.

    Raises ArchiveInvalidError, which tells the line, for anything that `written` would not write: what is no JSON, cut
    off, changed, in another order, of a format version of the future, or no ledger.
    """
    return _Reader(lines, name).read()


class _Reader:
    def __init__(self, lines: Iterable[bytes], name: str) -> None:
        self._lines = iter(lines)
        self._name = name
        self._number = 0
        self._digest = sha256()

    def read(self) -> Archived:
        header = self._header()
        state, events = SessionState(), []
        for seq in range(1, header.events + 1):
            record = self._event(seq)
            try:
                state = fold(state, [record])
            except WinkError as error:
                raise self._wrong(str(error)) from error
            events.append(record)
        opened = events[0].event if events else None
        if not isinstance(opened, SessionOpened) or opened.tenant != header.tenant:
            raise self._wrong(
                f"no ledger of tenant {header.tenant!r}: it does not begin with its SessionOpened", line=2
            )
        runs = tuple(self._run(events) for _ in range(header.runs))
        slices = {one.name: one.values for one in (self._next(_Slice) for _ in range(header.slices))}
        self._end()
        return Archived(
            tenant=header.tenant,
            session=header.session,
            created_at=header.created_at,
            events=tuple(events),
            runs=runs,
            slices=slices,
        )

    def _header(self) -> Header:
        line = self._raw()
        version = self._decoded(_Format, line).format  # before the rest, which another format may have otherwise
        if version > FORMAT:
            message = f"archive format version {version}, this process reads up to {FORMAT}: upgrade wink-tasks here"
            raise self._wrong(message)
        header = self._decoded(Header, line)
        try:
            checked_tenant(header.tenant)
            checked_name("session", header.session)
        except WinkError as error:
            raise self._wrong(str(error)) from error
        return header

    def _event(self, seq: int) -> Recorded:
        line = self._next(_Event)
        if line.seq != seq:
            raise self._wrong(f"event {line.seq} where event {seq} belongs")
        if round(line.at, 3) != line.at:
            raise self._wrong(f"at {line.at!r}: times are kept in milliseconds")
        try:
            return Recorded(seq, line.at, line.actor, decode_event(bytes(line.event), line.version))
        except WinkError as error:
            raise self._wrong(str(error)) from error

    def _run(self, events: Sequence[Recorded]) -> ArchivedRun:
        run = self._next(ArchivedRun)
        last = len(events)
        if not (0 < run.accepted_seq <= last and 0 <= run.ended_seq <= last):
            raise self._wrong(f"run {run.id!r} names events beyond the last one, {last}")
        began, ended = events[run.accepted_seq - 1].event, events[run.ended_seq - 1] if run.ended_seq else None
        if not (isinstance(began, EvaluationAccepted) and (began.evaluation, began.prompt) == (run.id, run.prompt)):
            raise self._wrong(f"event {run.accepted_seq} does not accept run {run.id!r} of {run.prompt!r}")
        if ended is not None and not (isinstance(ended.event, TERMINAL) and ended.evaluation == run.id):
            raise self._wrong(f"event {run.ended_seq} does not end run {run.id!r}")
        return run

    def _end(self) -> None:
        before = self._digest.hexdigest()
        said = self._next(_End).sha256
        if said != before:
            raise self._wrong(f"the checksum says {said}, the lines before it have {before}: the file was changed")
        if next(self._lines, None) is not None:
            self._number += 1
            raise self._wrong("there is something after the end")

    def _next(self, kind: type[T]) -> T:
        return self._decoded(kind, self._raw())

    def _raw(self) -> bytes:
        line = next(self._lines, b"")
        self._number += 1
        if not line.endswith(b"\n"):
            raise self._wrong("the file ends here, before its end: it was cut off")
        self._digest.update(line)
        return line

    def _decoded(self, kind: type[T], line: bytes) -> T:
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.MsgspecError as error:
            raise self._wrong(f"{error}; it begins {line[:60]!r}") from error

    def _wrong(self, what: str, *, line: int | None = None) -> ArchiveInvalidError:
        number = self._number if line is None else line
        return ArchiveInvalidError(f"{self._name}, line {number}: {what}", line=number)
