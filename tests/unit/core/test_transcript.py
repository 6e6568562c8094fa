from __future__ import annotations

import pytest

from wink_tasks.core.events import Call
from wink_tasks.core.transcript import ModelSaid, ToolAnswered, Transcript, UserSaid

FIRST = Transcript().opened("one").added(ModelSaid("1"))
THREE = FIRST.opened("two").added(ModelSaid("2")).opened("three").added(ModelSaid("3"))


@pytest.mark.parametrize(("history", "start"), [("session", 0), ("none", 4), (0, 4), (1, 2), (2, 0), (9, 0)])
def test_an_exchange_is_shown_as_much_of_what_was_before_as_asked(history: str | int, start: int) -> None:
    assert THREE.start(history) == start
    assert THREE.items[start:][0] in (UserSaid("one"), UserSaid("two"), UserSaid("three"))


@pytest.mark.parametrize("history", ["session", "none", 3])
def test_the_first_exchange_begins_at_the_beginning(history: str | int) -> None:
    assert FIRST.start(history) == 0


def test_a_provider_is_sent_text_as_it_is_and_other_values_as_json() -> None:
    assert ToolAnswered("c", "read", "text").text == "text"
    assert ToolAnswered("c", "read", {"b": [1], "a": None}).text == '{"a":null,"b":[1]}'


def test_the_digest_tells_items_apart_that_look_alike() -> None:
    call = Call(id="1", tool="t", arguments={})
    digests = {
        Transcript().added(item).digest
        for item in (UserSaid("a"), ModelSaid("a"), ModelSaid("a", (call,)), ToolAnswered("a", "t", "a"))
    }
    assert len(digests) == 4
    assert Transcript().digest == ""
