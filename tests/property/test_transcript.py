from __future__ import annotations

from hashlib import sha256

from hypothesis import given, strategies as st

from tests.property.strategies import calls, json_values, names, texts
from wink_tasks.core.codec import encode
from wink_tasks.core.transcript import Item, ModelSaid, ToolAnswered, Transcript, UserSaid

items = (
    st.builds(UserSaid, texts)
    | st.builds(ModelSaid, texts, st.lists(calls, max_size=2).map(tuple))
    | st.builds(ToolAnswered, names, names, json_values, st.booleans())
)
exchanges = st.lists(st.lists(items, max_size=3), min_size=1, max_size=6)


def told(parts: list[list[Item]]) -> Transcript:
    transcript = Transcript()
    for number, part in enumerate(parts):
        transcript = transcript.opened(f"exchange {number}")
        for item in part:
            transcript = transcript.added(item)
    return transcript


@given(exchanges, st.integers(0, 8))
def test_the_newest_exchange_is_shown_with_as_many_before_it_as_asked(parts: list[list[Item]], earlier: int) -> None:
    transcript = told(parts)

    def shown(history: str | int) -> int:
        return sum(
            isinstance(item, UserSaid) and item.content.startswith("exchange")
            for item in transcript.items.since(transcript.start(history))
        )

    assert transcript.start("session") == 0
    assert shown("session") == len(parts)
    assert shown("none") == 1
    assert shown(earlier) == min(earlier + 1, len(parts))
    assert transcript.items[transcript.start(earlier)] == UserSaid(f"exchange {max(0, len(parts) - 1 - earlier)}")


@given(exchanges)
def test_the_digest_is_a_chain_over_all_items(parts: list[list[Item]]) -> None:
    digest = ""
    for item in told(parts).items:
        digest = sha256(digest.encode() + encode(item)).hexdigest()
    assert told(parts).digest == digest


@given(exchanges, exchanges)
def test_transcripts_that_differ_have_different_digests(one: list[list[Item]], other: list[list[Item]]) -> None:
    same = [encode(item) for item in told(one).items] == [encode(item) for item in told(other).items]
    assert (told(one).digest == told(other).digest) is same
