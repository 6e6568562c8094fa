"""Part of a session's fold, kept so that nobody needs to read the whole ledger for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import LedgerFormatError
from wink_tasks.core.events import Json, Recorded
from wink_tasks.core.log import Log
from wink_tasks.core.reducers import NO_REDUCERS, Reducers, Slices
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.slices import ReducerContext

EVERY: Final = 100
"""After how many events a snapshot is due."""

KEPT_WHOLE: Final = 32
"""A slice of no more values is kept whole, also where nothing but appending happens to it."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The slices of a session at `seq`, without transcript and evaluations. Early values may be absent."""

    tenant: str
    session: str
    seq: int
    slices: Slices = MappingProxyType({})
    reducers: Reducers = NO_REDUCERS


class Kept(msgspec.Struct, frozen=True):
    """One slice: how many values it has, and the JSON of the last ones."""

    count: int
    values: tuple[Json, ...]


_decoder: Final = msgspec.json.Decoder(dict[str, Kept])


def due(before: int, after: int) -> bool:
    """Whether a snapshot should be taken by who brought a session from one sequence number to another."""
    return before // EVERY < after // EVERY


def kept_slices(view: SessionState | Window) -> bytes:
    """The slices of a session as a snapshot has them."""
    return encode({name: _kept(view.reducers, name, values) for name, values in view.slices.items()})


def kept(slices: bytes) -> dict[str, Kept]:
    """What a snapshot has of each slice. Raises LedgerFormatError."""
    try:
        return _decoder.decode(slices)
    except msgspec.MsgspecError as error:
        raise LedgerFormatError(f"a snapshot cannot be read: {error}; it begins {slices[:80]!r}") from error


def window(tenant: str, session: str, seq: int, slices: bytes, reducers: Reducers) -> Window:
    """The session as a snapshot by the same reducers has it."""
    logs = {name: _log(reducers, name, one) for name, one in kept(slices).items()}
    return Window(tenant=tenant, session=session, seq=seq, slices=logs, reducers=reducers)


def followed(view: SessionState | Window, records: Iterable[Recorded]) -> SessionState | Window:
    """The session after `records`, which must follow without a hole. Raises as `fold`."""
    if isinstance(view, SessionState):
        return fold(view, records)
    seq, slices = view.seq, view.slices
    for record in records:
        if record.seq != seq + 1:
            raise LedgerFormatError(f"ledger of session {view.session!r} has a hole: event {record.seq} follows {seq}")
        seq = record.seq
        context = ReducerContext(view.tenant, view.session, seq, record.evaluation)
        slices = view.reducers.folded(slices, record.event, context)
    return msgspec.structs.replace(view, seq=seq, slices=slices)


def _kept(reducers: Reducers, name: str, values: Log[Any]) -> Kept:
    start = values.absent
    if len(values) > KEPT_WHOLE and reducers.grows_only(name):
        start = len(values) - 1
    declared = reducers.slices.get(name)
    held = values.since(start)
    return Kept(len(values), tuple(held if declared is None else map(declared.typed.dump, held)))


def _log(reducers: Reducers, name: str, one: Kept) -> Log[Any]:
    declared = reducers.slices.get(name)
    values = one.values if declared is None else map(declared.typed.load, one.values)
    return Log[Any](absent=one.count - len(one.values)).extended(values)


def dumped(view: SessionState | Window) -> Mapping[str, tuple[Json, ...]]:
    """Every slice as JSON: how two folds are compared."""
    found = {}
    for name, values in sorted(view.slices.items()):
        declared = view.reducers.slices.get(name)
        found[name] = tuple(values if declared is None else map(declared.typed.dump, values))
    return found
