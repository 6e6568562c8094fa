"""In what two folds differ, of one session at two points or of two sessions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from wink_tasks.core.evaluation import EvaluationState
from wink_tasks.core.events import Json
from wink_tasks.core.session import SessionState
from wink_tasks.core.snapshots import dumped

_TOLD: Final = ("prompt", "digest", "params", "phase", "model", "turns", "text", "usage", "end")
"""What of an evaluation is compared: all that its readers are told of it."""


class Change(msgspec.Struct, frozen=True):
    """Two sequences that differ. `same` items stand at both beginnings, `after` at both ends; here is the rest."""

    same: int
    left: tuple[Json, ...]
    right: tuple[Json, ...]
    after: int


class Pair(msgspec.Struct, frozen=True):
    """A value on both sides; None where that side has none."""

    left: Json
    right: Json


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What differs, by the names of slices and the ids of evaluations. What is the same on both sides is not in it."""

    slices: Mapping[str, Change]
    transcript: Change | None
    evaluations: Mapping[str, Pair]

    def __bool__(self) -> bool:
        return bool(self.slices or self.transcript or self.evaluations)


def difference(left: SessionState, right: SessionState) -> Difference:
    """In what two sessions, or two points of one, differ."""
    values, others = dumped(left), dumped(right)
    names = sorted({*values, *others})
    slices = {name: change(values.get(name, ()), others.get(name, ())) for name in names}
    runs, other_runs = _evaluations(left), _evaluations(right)
    pairs = {name: Pair(runs.get(name), other_runs.get(name)) for name in dict.fromkeys((*runs, *other_runs))}
    return Difference(
        slices={name: found for name, found in slices.items() if found is not None},
        transcript=change(_items(left), _items(right)),
        evaluations={name: pair for name, pair in pairs.items() if pair.left != pair.right},
    )


def change(left: Sequence[Json], right: Sequence[Json]) -> Change | None:
    """How `right` came from `left`; None where they are the same."""
    if tuple(left) == tuple(right):
        return None
    shorter = min(len(left), len(right))
    same = next((place for place in range(shorter) if left[place] != right[place]), shorter)
    rest = shorter - same
    after = next((place for place in range(rest) if left[-1 - place] != right[-1 - place]), rest)
    return Change(same, tuple(left[same : len(left) - after]), tuple(right[same : len(right) - after]), after)


def _items(state: SessionState) -> tuple[Json, ...]:
    return tuple(msgspec.to_builtins(item) for item in state.transcript.items)


def _evaluations(state: SessionState) -> dict[str, Json]:
    return {one.id: _told(one) for one in (*state.ended, *state.open.values())}


def _told(state: EvaluationState) -> Json:
    return {name: msgspec.to_builtins(getattr(state, name)) for name in _TOLD}
