"""Canvas with prompts where the app is eager: everything in the calling process, nothing in Redis."""

from __future__ import annotations

import pytest
from celery import chain, chord, group

from tests.unit.runtime.conftest import Shop
from wink_tasks import EvaluationFailedError, RequestRejectedError
from wink_tasks.testing.scripted import answer


class Echo:
    """Says what it is told."""

    async def complete(self, request):
        text = request.items[-1].content
        if text == "fail":
            raise RequestRejectedError("no")
        return answer(text if "Review" not in text else {"summary": text, "score": 1})

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def shop() -> Shop:
    shop = Shop(providers={"house": Echo})
    shop.app.conf.task_always_eager = True

    @shop.app.task(name="shop.heard", shared=False)
    def heard(value, where="heard"):
        shop.done.append(f"{where} {value}")
        return value

    @shop.app.task(name="shop.wrong", shared=False)
    def wrong(request, error, traceback):
        shop.done.append(f"wrong {type(error).__name__}")

    @shop.app.task(name="shop.sum_up", shared=False)
    def sum_up(texts):
        return "+".join(texts)

    shop.heard, shop.wrong, shop.sum_up = heard, wrong, sum_up
    return shop


def test_chain_group_and_chord(shop: Shop):
    assert chain(shop.heard.s("a"), shop.chat.s(), shop.heard.s())().get() == "a"
    assert shop.done == ["heard a", "heard a"]
    assert chain(shop.heard.s("a"), shop.chat.si("b"))().get() == "b"
    assert chain(shop.review.s("src"), shop.heard.s())().get() == {"summary": "Review src to depth 1.", "score": 1}
    assert group(shop.chat.s(word) for word in "ab")().get() == ["a", "b"]
    assert chord([shop.chat.s(word) for word in "ab"], shop.sum_up.s())().get() == "a+b"


def test_callbacks(shop: Shop):
    run = shop.chat.apply_async(["x"], link=[shop.heard.s(where="first"), shop.heard.s(where="second")])
    assert run.get() == "x"
    assert shop.done == ["first x", "second x"]
    run = shop.chat.apply_async(["fail"], link=shop.heard.s(), link_error=shop.wrong.s())
    with pytest.raises(EvaluationFailedError):
        run.get()
    assert shop.done[2:] == ["wrong ProviderRejectedError"]
