from __future__ import annotations

from wink_tasks.core.options import CallOptions


def test_only_what_is_set_is_given() -> None:
    assert CallOptions().given() == {}
    assert CallOptions(session="s", countdown=0.0, priority=0).given() == {
        "session": "s",
        "countdown": 0.0,
        "priority": 0,
    }
