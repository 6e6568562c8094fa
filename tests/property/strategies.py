"""Values that may stand in a ledger."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from wink_tasks.core.events import AnyEvent, Call, Terms
from wink_tasks.core.limits import Budget, Usage

# What JSON and msgspec both carry: finite floats, integers of 64 bits, text without lone surrogates.
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
names = st.text("abc1", min_size=1, max_size=4)
counts = st.integers(0, 10**6)
seconds = st.floats(0, 1e9)

budgets = st.builds(
    Budget,
    input_tokens=st.none() | st.integers(1, 10**6),
    output_tokens=st.none() | st.integers(1, 10**6),
    total_tokens=st.none() | st.integers(1, 10**6),
    cost_usd=st.none() | st.floats(0.01, 100),
)
usages = st.builds(
    Usage, input_tokens=counts, output_tokens=counts, requests=st.just(1), cost_micros=st.none() | counts
)
calls = st.builds(Call, id=names, tool=names, arguments=json_values)
terms = st.builds(
    Terms,
    models=st.lists(names, min_size=1, max_size=2).map(tuple),
    deadline=st.none() | seconds,
    deadline_at=st.none() | seconds,
    expires_at=st.none() | seconds,
    budget=budgets,
    max_turns=st.integers(1, 5),
    history=st.sampled_from(["session", "none"]) | st.integers(0, 3),
    model_settings=st.dictionaries(texts, json_values, max_size=2),
    labels=st.dictionaries(texts, texts, max_size=2),
)

_BY_HINT: dict[Any, st.SearchStrategy[Any]] = {
    Any: json_values,
    str: texts,
    int: counts,
    float: seconds,
    type(None): st.none(),
    Budget: budgets,
    Usage: usages,
    Terms: terms,
    dict[str, Any]: st.dictionaries(texts, json_values, max_size=3),
    dict[str, str]: st.dictionaries(texts, texts, max_size=3),
    bool: st.booleans(),
    tuple[Call, ...]: st.lists(calls, max_size=3).map(tuple),
    tuple[Any, ...]: st.lists(json_values, max_size=3).map(tuple),
}


def _of(hint: Any) -> st.SearchStrategy[Any]:
    if hint in _BY_HINT:
        return _BY_HINT[hint]
    choices = get_args(hint)
    return st.sampled_from(choices) if get_origin(hint) is Literal else st.one_of([_of(choice) for choice in choices])


def event_of(type_: type[AnyEvent]) -> st.SearchStrategy[AnyEvent]:
    """An event of this type with anything in it that its annotations allow."""
    return st.builds(type_, **{name: _of(hint) for name, hint in get_type_hints(type_).items()})


event_types: tuple[type[AnyEvent], ...] = get_args(AnyEvent)
events = st.one_of([event_of(type_) for type_ in event_types])
