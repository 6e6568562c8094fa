from __future__ import annotations

from typing import Any

import pytest

from wink_tasks.core.codec import VERSION, decode_event, encode
from wink_tasks.core.errors import LedgerFormatError, ValueInvalidError
from wink_tasks.core.events import EvaluationCancelled, SessionOpened

OPENED = SessionOpened(tenant="t", session="s")


def test_an_event_is_canonical_json_with_its_type() -> None:
    assert encode(OPENED) == b'{"type":"SessionOpened","tenant":"t","session":"s"}'
    assert encode({"b": 1, "a": 2}) == encode({"a": 2, "b": 1})


def renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "reason": fields["why"]}


def retyped(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "type": "EvaluationCancelled"}


def test_old_events_are_lifted_step_by_step() -> None:
    old = encode({"type": "RunStopped", "evaluation": "e", "why": "no need"})
    lifted = decode_event(old, 1, {1: renamed, 2: retyped})
    assert lifted == EvaluationCancelled(evaluation="e", reason="no need")
    newer = encode({"type": "RunStopped", "evaluation": "e", "reason": "no need"})
    assert decode_event(newer, 2, {1: renamed, 2: retyped}) == lifted
    assert decode_event(encode(lifted), 3, {1: renamed, 2: retyped}) == lifted


def test_a_version_of_the_future_is_refused() -> None:
    with pytest.raises(LedgerFormatError, match=f"format version {VERSION + 1}, .* up to {VERSION}: upgrade"):
        decode_event(encode(OPENED), VERSION + 1)


@pytest.mark.parametrize(
    "data",
    [b"{", b"[]", b'{"type":"Unheard"}', b'{"type":"SessionOpened","tenant":1,"session":"s"}', b"\xff"],
)
@pytest.mark.parametrize("upcasters", [{}, {1: dict}])
def test_what_is_no_event_is_refused_and_shown(data: bytes, upcasters: Any) -> None:
    with pytest.raises(LedgerFormatError, match="not an event of format version 1") as caught:
        decode_event(data, 1, upcasters)
    assert repr(data) in str(caught.value)


def test_values_of_subclasses_are_what_they_are() -> None:
    class Safe(str):
        """As template engines have it: its str() is itself."""

        __slots__ = ()

        def __str__(self) -> str:
            return self

    class Whole(int):
        pass

    class Number(float):
        pass

    assert encode([Safe("<b>"), {"n": Whole(3)}, Number(0.5)]) == b'["<b>",{"n":3},0.5]'


def test_what_json_does_not_have_is_named() -> None:
    with pytest.raises(ValueInvalidError, match=r"dict is not JSON: Encoding objects of type object"):
        encode({"a": object()})
