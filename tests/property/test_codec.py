from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from tests.property.strategies import event_of, event_types, json_values
from wink_tasks.core.codec import decode_event, encode
from wink_tasks.core.events import AnyEvent


@pytest.mark.parametrize("type_", event_types)
@settings(max_examples=40)
@given(data=st.data())
def test_every_event_comes_back_as_it_was(type_: type[AnyEvent], data: st.DataObject) -> None:
    event = data.draw(event_of(type_))
    written = encode(event)
    assert decode_event(written) == event
    assert encode(decode_event(written)) == written


@given(st.dictionaries(st.text("abc", max_size=3), json_values))
def test_the_order_in_which_a_dict_was_made_does_not_show(value: dict[str, object]) -> None:
    assert encode(dict(reversed(value.items()))) == encode(value)
