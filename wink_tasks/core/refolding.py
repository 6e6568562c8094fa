"""Folding a ledger again, and comparing what comes of it with what was kept, or with what other reducers make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from wink_tasks.core.codec import encode
from wink_tasks.core.evaluation import EvaluationState
from wink_tasks.core.events import TERMINAL, Json, Recorded, SessionForked
from wink_tasks.core.json_differences import Difference, differences
from wink_tasks.core.reducers import Reducers
from wink_tasks.core.session import SessionState
from wink_tasks.core.snapshots import Kept, Window, dumped, followed

MOST: Final = 20
"""How many places are told of one slice."""


class SliceDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A slice that two folds do not have alike: how many values each has, and the first places that differ."""

    slice: str
    recorded: int
    now: int
    places: tuple[Difference, ...] = ()


class EvaluationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an evaluation both by folding and by the index. `end` is the name of its terminal event."""

    prompt: str
    accepted_seq: int
    ended_seq: int = 0
    end: str = ""


def folded_slices(tenant: str, session: str, records: Sequence[Recorded], reducers: Reducers) -> SessionState | Window:
    """The slices that `reducers` make of a ledger from its first event. Raises as `fold`."""
    return followed(Window(tenant=tenant, session=session, seq=0, reducers=reducers), records)


def compare_kept(recorded: Mapping[str, Kept], now: Mapping[str, tuple[Json, ...]]) -> Iterator[SliceDifference]:
    """Slices of a snapshot, of which the last values are there, and the same slices folded again."""
    for name in sorted({*recorded, *now}):
        kept, folded = recorded.get(name, Kept(0, ())), now.get(name, ())
        values = kept.values
        tail = folded[len(folded) - len(values) :] if kept.count == len(folded) else folded
        if kept.count != len(folded) or encode(tail) != encode(values):
            yield _difference(name, kept.count, len(folded), values, tail)


def compare_folds(recorded: SessionState | Window, now: SessionState | Window) -> Iterator[SliceDifference]:
    """The slices that two sets of reducers make otherwise of the same ledger."""
    ours, theirs = dumped(recorded), dumped(now)
    for name in sorted({*ours, *theirs}):
        before, after = ours.get(name, ()), theirs.get(name, ())
        if encode(before) != encode(after):
            yield _difference(name, len(before), len(after), before, after)


def facts(state: SessionState, records: Sequence[Recorded]) -> dict[str, EvaluationFacts]:
    """What the fold says of each evaluation of the session's own: those that a fork shares are its parent's."""
    own = max((one.seq for one in records if isinstance(one.event, SessionForked)), default=0)
    accepted = {one.evaluation: one.seq for one in reversed(records) if one.evaluation}
    ends = {one.evaluation: one.seq for one in records if isinstance(one.event, TERMINAL)}
    ended: dict[str, EvaluationState] = {one.id: one for one in state.ended}

    def known(evaluation: EvaluationState) -> EvaluationFacts:
        seq, end = accepted[evaluation.id], evaluation.end
        if end is None:
            return EvaluationFacts(prompt=evaluation.prompt, accepted_seq=seq)
        name = type(end).__name__
        return EvaluationFacts(prompt=evaluation.prompt, accepted_seq=seq, ended_seq=ends[evaluation.id], end=name)

    every = (*ended.values(), *state.open.values())
    return {one.id: known(one) for one in every if accepted[one.id] > own}


def _difference(name: str, recorded: int, now: int, before: Sequence[Json], after: Sequence[Json]) -> SliceDifference:
    places = differences(list(before), list(after))
    return SliceDifference(slice=name, recorded=recorded, now=now, places=tuple(islice(places, MOST)))
