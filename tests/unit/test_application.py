"""Declaring an application, and using it wrongly."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType

import pytest
from celery import Celery, group
from kombu import Queue

from tests.unit.runtime.conftest import NoProvider, Review, Shop
from wink_tasks import (
    Budget,
    ConfigurationError,
    DeclarationError,
    EvaluationFailedError,
    NotCallableError,
    ParametersInvalidError,
    Prompt,
    RunTimeoutError,
    Section,
    UnknownPromptError,
    UnsupportedError,
    Wink,
)
from wink_tasks.adapters.celery.host import redis_url
from wink_tasks.adapters.celery.options import call_options
from wink_tasks.adapters.providers.shipped import shipped_providers
from wink_tasks.app import find_wink
from wink_tasks.core.options import CallOptions
from wink_tasks.ports.telemetry import NullMetrics
from wink_tasks.settings import load_settings
from wink_tasks.testing import FakeClock, answer, call, scripted


@pytest.fixture
def shop() -> Shop:
    return Shop(providers={"house": NoProvider})


def test_prompts_and_tools_are_celery_tasks(shop: Shop):
    assert {"shop.review", "shop.review:turn", "shop.review:outcome", "shop.note"} <= set(shop.app.tasks)
    assert shop.review.task is shop.app.tasks["shop.review"]
    assert shop.note.task is shop.app.tasks["shop.note"]
    assert shop.review.task.__doc__ == "A run of prompt shop.review."
    assert repr(shop.review) == "<prompt shop.review>"
    assert shop.wink.registry.mailboxes() == {"celery"}


@pytest.mark.parametrize("how", ["__call__", "map", "starmap", "chunks"])
def test_a_prompt_is_not_called_like_a_function(shop: Shop, how: str):
    for front in (shop.review, shop.review.task):
        with pytest.raises(NotCallableError, match=r"use \.delay"):
            getattr(front, how)("src")


def test_a_step_is_not_sent_alone(shop: Shop):
    for name in ("shop.review:turn", "shop.review:outcome", "shop.note:outcome"):
        with pytest.raises(UnsupportedError, match="is a step of an evaluation"):
            shop.app.tasks[name].apply_async(kwargs={"text": "a"})
        with pytest.raises(UnsupportedError, match="is a step of an evaluation"):
            shop.app.tasks[name].adopted((), {})


def test_signatures_and_groups(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda request: answer(request.items[-1].content)}):
        signature = shop.chat.with_options(session="s", budget=Budget(total_tokens=500)).s("one")
        assert signature.delay().get() == "one"
        assert shop.chat.apply_async(["two"]).get() == "two"
        started = group(shop.chat.s("a"), shop.chat.s("b")).apply_async()
        assert [shop.wink.run(member.id).get() for member in started] == ["a", "b"]


def test_options_that_would_be_lost_are_refused(shop: Shop):
    with scripted(shop.wink, {}), pytest.raises(UnsupportedError, match="does not take time_limit"):
        shop.chat.apply_async(["x"], time_limit=5)
    assert call_options(shop.app, {"link": [], "producer": object(), "session": None}) == CallOptions()
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    options = call_options(shop.app, {"eta": moment.isoformat(), "budget": {"total_tokens": 5}})
    assert (options.eta, options.budget) == (moment, Budget(total_tokens=5))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"deadline": -1}, "deadline=-1 does not fit"),
        ({"countdown": datetime(2030, 1, 1, tzinfo=UTC)}, "countdown="),
        ({"expires": True}, "expires=True"),
        ({"busy": "maybe"}, "busy='maybe'"),
    ],
)
def test_options_that_do_not_fit(shop: Shop, options: dict, complaint: str):
    with pytest.raises(ParametersInvalidError, match=complaint):
        shop.chat.with_options(**options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"session": "no spaces"}, "session 'no spaces'"),
        ({"tenant": "a:b"}, "tenant 'a:b'"),
        ({"task_id": "x~turn2"}, "may not hold '~'"),
        ({"task_id": "{x}"}, "task_id '{x}'"),
    ],
)
def test_names_that_do_not_fit(shop: Shop, options: dict, complaint: str):
    with scripted(shop.wink, {}), pytest.raises(ParametersInvalidError, match=complaint):
        shop.chat.apply_async(["x"], **options)


def test_arguments_that_do_not_fit_write_nothing(shop: Shop):
    with scripted(shop.wink, {}), shop.wink.in_memory(clock=FakeClock()) as house:
        with pytest.raises(ParametersInvalidError, match="depth"):
            shop.review.delay("src", depth="deep")
        with pytest.raises(UnknownPromptError, match=r"no prompt is called 'shop\.nothing'; there are: shop\.chat"):
            shop.wink.send("shop.nothing", (), {}, {})
        assert not house.store.ledger.sessions()


def test_a_chosen_id_is_kept(shop: Shop):
    with scripted(shop.wink, {shop.chat: lambda _: answer("ok")}):
        run = shop.chat.apply_async(["x"], task_id="mine", session="s")
        assert (run.id, run.get(), run.session.id) == ("mine", "ok", "s")
        assert shop.chat.apply_async(["x"], task_id="mine", session="s").get() == "ok"


def test_declarations_that_can_never_run(shop: Shop):
    with pytest.raises(DeclarationError, match=r"prompt 'shop\.chat' is declared twice"):

        @shop.wink.prompt(output=str, model="house:m")
        def chat() -> str:
            """Again."""
            return ""

    with pytest.raises(DeclarationError, match=r"tool 'shop\.note' is declared twice"):

        @shop.wink.tool
        def note() -> str:
            """Again."""
            return ""

    with pytest.raises(DeclarationError, match=r"tool 'note': retry_on=<class 'OSError'> .* retry_on=\[OSError\]"):
        shop.wink.tool(retry_on=OSError)(shop.note)

    with pytest.raises(
        DeclarationError, match=r"tool 'note' does not take bind: it takes .* take a ToolContext .* and timeout="
    ):
        shop.wink.tool(bind=True)(shop.note)

    with pytest.raises(DeclarationError, match="no provider is called 'nobody'; there are: house, offline, openai"):

        @shop.wink.prompt(output=str, model="nobody:m")
        def lost() -> str:
            """You are lost."""
            return ""

    with pytest.raises(ConfigurationError, match="has a Wink already"):
        Wink(shop.app)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tools": len}, r"tools=<built-in function len> is no list of tools: tools=\[read_file\]"),
        ({"tools": [len]}, "<built-in function len> is no tool: decorate the function"),
        ({"model": 5}, r"prompt 'shop\.lost': models=\(5,\) is not a tuple of one or more names"),
        ({"model": [5]}, r"models=\(5,\) is not"),
        ({"model_settings": "x"}, "model_settings='x' does not fit"),
        ({"budget": 0}, "budget=0 does not fit: it takes a Budget, not int"),
    ],
)
def test_a_prompt_is_declared_with_what_its_options_take(shop: Shop, options: dict, told: str):
    def lost() -> str:
        """You are lost."""
        return ""

    with pytest.raises(DeclarationError, match=told):
        shop.wink.prompt(**{"output": str, "model": "house:m", **options})(lost)


def test_what_a_prompt_was_declared_with_is_its_own(shop: Shop):
    def ask() -> str:
        """You answer."""
        return "x"

    tools, settings = [shop.look], {"seed": 1}
    options = {"output": str, "model": "house:m"}
    views = {"tools": (tool for tool in tools), "model_settings": MappingProxyType(settings)}
    second = shop.wink.prompt(**options, **views, name="second")(ask).definition
    first = shop.wink.prompt(**options, tools=tools, model_settings=settings, name="first")(ask).definition
    tools.clear()
    settings.clear()
    for prompt in (first, second):
        assert [tool.name for section in prompt.sections for tool in section.definitions] == ["look"]
        assert prompt.model_settings == {"seed": 1}


def test_a_queue_is_named_by_text_or_by_itself(shop: Shop):
    class Lane(StrEnum):
        FAST = "fast-turns"

    for given, name in ((Lane.FAST, "fast-turns"), (Queue("slow"), "slow")):
        assert call_options(shop.app, {"queue": given}).queue == name


def test_the_long_form(shop: Shop):
    handle = shop.wink.register(
        Prompt(
            ns="shop",
            key="long",
            params=Params,
            output=Review,
            models=("house:m",),
            sections=[
                Section(
                    "task",
                    "Review ${path}.",
                    tools=[shop.note],
                    children=[
                        Section("care", "Be careful.", enabled=lambda params, session: params.careful),
                        Section("more", "You know it.", tools=[shop.look], enabled=lambda _, session: session.seq > 20),
                    ],
                )
            ],
            user="Go for ${path}.",
        )
    )
    good = Review(summary="ok", score=1)
    with scripted(shop.wink, {handle: [call(shop.note, text="a"), answer(good)]}) as kit:
        assert handle.delay(Params(path="src", careful=True)).get() == good
        assert "Be careful." in kit.requests[0].instructions
        assert [tool.name for tool in kit.requests[0].tools] == ["note"]
        assert kit.requests[0].items[0].content == "Go for src."


class Params(Review):
    """What the long form takes."""

    summary: str = ""
    score: int = 0
    path: str
    careful: bool = False


def test_always_eager_and_apply_run_here():
    shop = Shop(providers={"house": Echo})
    assert shop.chat.apply(["hello"]).get() == "hello"
    shop.app.conf.task_always_eager = True
    assert shop.chat.delay("eager").get() == "eager"


class Echo:
    """Says what it is told."""

    async def complete(self, request):
        return answer(request.items[-1].content)

    async def close(self) -> None:
        """Nothing to close."""


def test_what_can_never_end_here_is_said(shop: Shop):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        first = shop.chat.with_options(session="s", countdown=10).delay("x")
        second = shop.chat.with_options(session="s").delay("y")
        shop.wink.registry.prompts.pop("shop.chat")
        with pytest.raises(RunTimeoutError):
            second.get(timeout=30)
        assert first.status == "STARTED"


def test_get_gives_up_after_its_time(shop: Shop):
    with scripted(shop.wink, {}):
        run = shop.chat.with_options(countdown=100).delay("x")
        with pytest.raises(RunTimeoutError, match=r"has not ended: turn .* is delayed for"):
            run.get(timeout=30)
        assert not run.ready()


def test_applications_are_found_by_name(monkeypatch: pytest.MonkeyPatch, shop: Shop):
    monkeypatch.setitem(sys.modules, "some_shop", shop)
    assert find_wink("some_shop:wink") is shop.wink
    for path, complaint in [
        (None, "named as package.module:wink"),
        ("some_shop", "named as"),
        ("no_such_module:wink", "cannot be imported"),
        ("some_shop:nothing", "cannot be imported"),
        ("some_shop:app", "is a Celery, not a Wink"),
    ]:
        with pytest.raises(ConfigurationError, match=complaint):
            find_wink(path)


def test_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WINK_VISIBILITY_TIMEOUT", "30")
    assert load_settings().visibility_timeout == 30
    assert load_settings(visibility_timeout=20).visibility_timeout == 20
    monkeypatch.setenv("WINK_PARTITIONS", "many")
    with pytest.raises(
        ConfigurationError, match=r"prefix \(argument of Wink\(\)\): .*; partitions \(WINK_PARTITIONS\)"
    ):
        load_settings(prefix="a:b")


def test_where_the_ledgers_are():
    app = Celery("x", broker="amqp://host", set_as_current=False)
    with pytest.raises(ConfigurationError, match="set WINK_REDIS_URL"):
        redis_url(load_settings(), app)
    assert redis_url(load_settings(redis_url="redis://a"), app) == ("redis://a", "WINK_REDIS_URL")
    app.conf.broker_url = "redis://b/1"
    assert redis_url(load_settings(), app) == ("redis://b/1", "the app's broker_url")
    app.conf.result_backend = "redis+socket:///tmp/c"
    assert redis_url(load_settings(), app) == ("unix:///tmp/c", "the app's result_backend")


def test_shipped_providers_are_made_when_used():
    assert type(shipped_providers()["offline"]()).__name__ == "OfflineReviewer"
    assert type(shipped_providers()["openai"]()).__name__ == "OpenAIProvider"


def test_metrics_are_chosen_before_the_work(shop: Shop, redis_url: str):
    metrics = NullMetrics()
    shop.wink.use_metrics(metrics)
    shop.app.conf.broker_url = shop.app.conf.result_backend = redis_url
    assert shop.wink.house().parts.metrics is metrics
    with pytest.raises(ConfigurationError, match="before the first run"):
        shop.wink.use_metrics(metrics)
    shop.wink.leave()
    shop.wink.leave()


def test_what_processes_do_not_share_is_refused(redis_url: str):
    first = Shop(redis_url=redis_url, partitions=16, providers={"house": NoProvider})
    first.wink.house().agree()
    first.wink.house().agree()
    other = Shop(redis_url=redis_url, partitions=8, providers={"house": NoProvider})
    with pytest.raises(ConfigurationError, match="WINK_PARTITIONS is 8 here, but 16 for those"):
        other.chat.delay("x")
    first.wink.leave()
    other.wink.leave()


def test_errors_survive_a_pickle():
    import pickle

    error = EvaluationFailedError.by_code["TurnLimitError"]("too many", run_id="r", session_id="s")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), again.run_id, again.session_id) == (type(error), "too many", "r", "s")
