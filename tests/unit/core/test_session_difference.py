"""In what two folds differ."""

from __future__ import annotations

import pytest

from wink_tasks.core.events import (
    AnyEvent,
    Dispatched,
    EvaluationAccepted,
    EvaluationCancelled,
    EvaluationStarted,
    Recorded,
    SessionOpened,
    Terms,
)
from wink_tasks.core.limits import Budget
from wink_tasks.core.session import SessionState, fold
from wink_tasks.core.session_difference import Change, Pair, change, difference


def state(*events: AnyEvent) -> SessionState:
    opened = (SessionOpened(tenant="acme", session="s1"), *events)
    return fold(SessionState(), [Recorded(seq, 0.0, "w1", event) for seq, event in enumerate(opened, 1)])


def noted(number: int) -> Dispatched:
    return Dispatched(name="proj.Noted", data={"number": number})


def accepted(name: str = "e1") -> EvaluationAccepted:
    return EvaluationAccepted(evaluation=name, prompt="proj.review", digest="d", params={}, terms=Terms(models=("m",)))


STARTED = EvaluationStarted(evaluation="e1", content="Go.", model="m", budget=Budget())


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        ("abc", "abc", None),
        ("", "", None),
        ("abc", "abd", Change(2, ("c",), ("d",), 0)),
        ("abc", "abcd", Change(3, (), ("d",), 0)),
        ("abcd", "acd", Change(1, ("b",), (), 2)),
        ("aa", "aaa", Change(2, (), ("a",), 0)),
        ("ab", "", Change(0, ("a", "b"), (), 0)),
        ("xab", "ab", Change(0, ("x",), (), 2)),
    ],
)
def test_two_sequences(left: str, right: str, found: Change | None):
    assert change(left, right) == found


def test_the_same_folds_do_not_differ():
    found = difference(state(accepted(), noted(1)), state(accepted(), noted(1)))
    assert not found
    assert (found.slices, found.transcript, found.evaluations) == ({}, None, {})


def test_slices_differ_by_their_values():
    found = difference(state(noted(1), noted(2)), state(noted(1), noted(3)))
    assert found.slices == {"proj.Noted": Change(1, ({"number": 2},), ({"number": 3},), 0)}
    assert difference(state(), state(noted(3))).slices == {"proj.Noted": Change(0, (), ({"number": 3},), 0)}


def test_transcripts_and_evaluations_differ():
    before = state(accepted(), accepted("e2"))
    after = state(accepted(), accepted("e2"), STARTED, EvaluationCancelled(evaluation="e1", reason="r"), accepted("e3"))
    found = difference(before, after)
    assert found
    assert found.transcript == Change(0, (), ({"type": "user", "content": "Go."},), 0)
    assert set(found.evaluations) == {"e1", "e3"}
    ended, new = found.evaluations["e1"], found.evaluations["e3"]
    assert (ended.left["phase"], ended.right["phase"], ended.right["end"]["reason"]) == ("accepted", "ended", "r")
    assert new == Pair(None, new.right)
    assert new.right["phase"] == "accepted"
