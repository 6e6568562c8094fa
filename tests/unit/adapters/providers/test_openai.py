"""The OpenAI adapter, through the real SDK, against a local server that speaks the wire format."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from msgspec import structs

from wink_tasks.adapters.providers.openai import OpenAIProvider
from wink_tasks.core.errors import (
    ConfigurationError,
    ContextTooLongError,
    ProviderUnavailableError,
    RequestRejectedError,
    ThrottledError,
)
from wink_tasks.core.events import Call
from wink_tasks.core.limits import Usage
from wink_tasks.core.log import Log
from wink_tasks.core.transcript import ModelSaid, ToolAnswered, UserSaid
from wink_tasks.ports.provider import Request, Response, ToolSpec
from wink_tasks.testing import answer, call, calls
from wink_tasks.testing.mock_provider import Cut, MockProviderServer, Reply, Stall, refused

KEY = "sk-test-0123456789abcdef"
STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
LOOSE = {"type": "object", "properties": {"a": {"type": "string", "default": "b"}}}
TOOL = ToolSpec(name="read_file", description="Read.", parameters=STRICT)
LOOSE_TOOL = ToolSpec(name="grep", description="Search.", parameters=LOOSE)
HISTORY = (
    UserSaid("Look at a.py."),
    ModelSaid(
        "I will.", (Call(id="c1", tool="read_file", arguments={"a": "a.py"}), Call(id="c2", tool="x", arguments="{"))
    ),
    ToolAnswered("c1", "read_file", {"lines": 3}),
    ToolAnswered("c2", "x", "There is no tool 'x'.", failed=True),
    ModelSaid("", (Call(id="c3", tool="read_file", arguments={}),)),
    ToolAnswered("c3", "read_file", "text"),
    ModelSaid(""),
    ModelSaid("Done."),
    UserSaid("And now?"),
)
both = pytest.mark.parametrize("api", ["responses", "chat"])


def request(*items, **fields):
    transcript = Log()
    for item in items or (UserSaid("Hello"),):
        transcript = transcript.added(item)
    plain = Request(
        prompt="app.review",
        model="gpt-5-mini",
        instructions="Be brief.",
        transcript=transcript,
        start=0,
        tools=(),
        output=None,
        settings={},
        max_output_tokens=None,
        digest="",
    )
    return structs.replace(plain, **fields)


async def asked(provider, *requests):
    try:
        return [await provider.complete(each) for each in requests]
    finally:
        await provider.close()


def ask(script, one=None, **options):
    """The response to one request, and what the server saw of it."""
    with MockProviderServer(script) as server:
        provider = OpenAIProvider(**{"base_url": server.url, "api_key": KEY, **options})
        [response] = asyncio.run(asked(provider, one or request()))
        return response, server.requests[0]


def sent(one, **options):
    """The JSON of a request."""
    return ask([answer("Hi.")], one, **options)[1].body


def chat(message, finish_reason="stop", **fields):
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return Reply(200, {"choices": [choice], **fields})


def responses(*output, **fields):
    return Reply(200, {"output": list(output), **fields})


@both
def test_text_usage_and_model_come_back(api):
    response, seen = ask([answer("Hi.")], api=api)
    assert response == Response(
        text="Hi.",
        model="scripted",
        usage=Usage(requests=1, input_tokens=10, output_tokens=5, cost_micros=None),
        stop="end",
    )
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body["model"] == "gpt-5-mini"
    assert seen.body["stream"] is False


@both
def test_tool_calls_come_back(api):
    wanted = calls(("read_file", {"a": "é"}), ("list_files", {}), text="First these.")
    response, _ = ask([wanted], api=api)
    assert (response.text, response.stop) == ("First these.", "tools")
    assert response.calls == wanted.calls


@both
@pytest.mark.parametrize("stop", ["length", "refusal"])
def test_other_ends_come_back(api, stop):
    response, _ = ask([structs.replace(answer("I"), stop=stop)], api=api)
    assert (response.text, response.stop) == ("I", stop)


@both
@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("{", "{"),
        ("[" * 5_000, "[" * 5_000),
        ("[1]", "[1]"),
        ('"a"', '"a"'),
        ("", {}),
        ("  ", {}),
        ('{"a": 1}', {"a": 1}),
    ],
)
def test_arguments_that_are_no_object_stay_as_they_were_written(api, written, read):
    response, _ = ask([structs.replace(call("x"), calls=(Call(id="c", tool="x", arguments=written),))], api=api)
    assert response.calls == (Call(id="c", tool="x", arguments=read),)


def test_servers_that_leave_things_out_are_understood():
    function = [{"function": {"name": "x", "arguments": {"a": 1}}}, {"id": "c", "function": {"name": "y"}}]
    response, _ = ask([chat({"tool_calls": function}, "tool_calls", usage=None)], api="chat")
    assert response == Response(
        text="",
        model="gpt-5-mini",
        calls=(Call(id="", tool="x", arguments={"a": 1}), Call(id="c", tool="y", arguments={})),
        usage=Usage(requests=1, cost_micros=None),
        stop="tools",
    )
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi."}]}
    response, _ = ask([responses(message)])
    assert response == Response(text="Hi.", model="gpt-5-mini", usage=Usage(requests=1, cost_micros=None))


def test_what_a_filter_withholds_is_a_refusal():
    assert ask([chat({"content": "I"}, "content_filter")], api="chat")[0].stop == "refusal"
    filtered = responses(status="incomplete", incomplete_details={"reason": "content_filter"})
    assert ask([filtered])[0].stop == "refusal"


def test_only_the_answer_counts_beside_thoughts_and_commentary():
    thought = {"type": "reasoning", "summary": [], "content": None}
    aside = {"type": "message", "phase": "commentary", "content": [{"type": "output_text", "text": "Let me see."}]}
    final = {"type": "message", "phase": "final_answer", "content": [{"text": "{"}, {"text": "}"}]}
    assert ask([responses(thought, aside, final)])[0].text == "{}"
    assert ask([responses(thought, aside)])[0].text == "Let me see."


def test_the_transcript_as_the_responses_api_takes_it():
    body = sent(request(*HISTORY))
    assert body["instructions"] == "Be brief."
    assert body["store"] is False
    assert body["input"] == [
        {"role": "user", "content": "Look at a.py."},
        {"role": "assistant", "content": "I will."},
        {"type": "function_call", "call_id": "c1", "name": "read_file", "arguments": '{"a":"a.py"}'},
        {"type": "function_call", "call_id": "c2", "name": "x", "arguments": '{"invalid_json":"{"}'},
        {"type": "function_call_output", "call_id": "c1", "output": '{"lines":3}'},
        {"type": "function_call_output", "call_id": "c2", "output": "There is no tool 'x'."},
        {"type": "function_call", "call_id": "c3", "name": "read_file", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c3", "output": "text"},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "And now?"},
    ]


def test_the_transcript_as_chat_completions_takes_it():
    def function(id_, name, arguments):
        return {"type": "function", "id": id_, "function": {"name": name, "arguments": arguments}}

    assert sent(request(*HISTORY), api="chat")["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look at a.py."},
        {
            "role": "assistant",
            "content": "I will.",
            "tool_calls": [
                function("c1", "read_file", '{"a":"a.py"}'),
                function("c2", "x", '{"invalid_json":"{"}'),
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"lines":3}'},
        {"role": "tool", "tool_call_id": "c2", "content": "There is no tool 'x'."},
        {"role": "assistant", "content": None, "tool_calls": [function("c3", "read_file", "{}")]},
        {"role": "tool", "tool_call_id": "c3", "content": "text"},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "And now?"},
    ]


def test_a_history_that_is_not_shown_is_not_sent():
    assert len(sent(request(*HISTORY, start=8))["input"]) == 1


def test_without_instructions_none_are_sent():
    assert "instructions" not in sent(request(instructions=""))
    assert [each["role"] for each in sent(request(instructions=""), api="chat")["messages"]] == ["user"]


def test_tools_are_strict_where_their_schema_allows():
    one = request(tools=(TOOL, LOOSE_TOOL))
    strict = {"name": "read_file", "description": "Read.", "parameters": STRICT, "strict": True}
    loose = {"name": "grep", "description": "Search.", "parameters": LOOSE}
    assert sent(one)["tools"] == [{"type": "function", **strict}, {"type": "function", **loose, "strict": False}]
    assert sent(one, api="chat")["tools"] == [
        {"type": "function", "function": strict},
        {"type": "function", "function": loose},
    ]


@pytest.mark.parametrize(("schema", "strict"), [(STRICT, True), (LOOSE, False)])
def test_the_output_schema_is_strict_where_it_can_be(schema, strict):
    one = request(output=schema, settings={"text": {"verbosity": "low"}})
    described = {"name": "answer", "schema": schema, "strict": strict}
    assert sent(one)["text"] == {"verbosity": "low", "format": {"type": "json_schema", **described}}
    assert sent(request(output=schema), api="chat")["response_format"] == {
        "type": "json_schema",
        "json_schema": described,
    }


def test_a_compatible_server_is_told_the_schema_in_words_beside_tools():
    body = sent(request(output=STRICT, tools=(TOOL,)), api="chat")
    assert "response_format" not in body
    assert body["messages"][0]["content"] == (
        "Be brief.\n\nYour final answer is JSON, and nothing else, that fits this schema: "
        '{"additionalProperties":false,"properties":{"a":{"type":"string"}},"required":["a"],"type":"object"}'
    )
    alone = sent(request(output=STRICT, tools=(TOOL,), instructions=""), api="chat")
    assert alone["messages"][0]["content"].startswith("Your final answer is JSON")


def test_settings_are_parameters_but_not_of_what_the_request_says():
    settings = {"temperature": 0.2, "store": True, "model": "other", "stream": True}
    body = sent(request(settings=settings))
    assert {name: body[name] for name in settings} == {
        "temperature": 0.2,
        "store": True,
        "model": "gpt-5-mini",
        "stream": False,
    }
    assert sent(request(settings={"seed": 7}), api="chat")["seed"] == 7


@pytest.mark.parametrize(
    ("api", "settings", "left", "limits"),
    [
        ("responses", {}, None, {}),
        ("responses", {}, 500, {"max_output_tokens": 500}),
        ("responses", {}, 3, {"max_output_tokens": 16}),
        ("responses", {"max_output_tokens": 100}, 500, {"max_output_tokens": 100}),
        ("responses", {"max_output_tokens": 900}, 500, {"max_output_tokens": 500}),
        ("chat", {}, 3, {"max_tokens": 3}),
        ("chat", {"max_completion_tokens": 9}, 3, {"max_completion_tokens": 3}),
        ("chat", {"max_tokens": 9}, None, {"max_tokens": 9}),
    ],
)
def test_the_budget_and_the_settings_bound_the_output(api, settings, left, limits):
    body = sent(request(settings=settings, max_output_tokens=left), api=api)
    assert {name: value for name, value in body.items() if name.startswith("max_")} == limits


@pytest.mark.parametrize("variable", [None, ""])
def test_openai_itself_is_asked_in_its_own_way(monkeypatch, variable):
    """No base URL anywhere, or an empty one: OpenAI's address, which is led to the mock server below the adapter."""
    import openai

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    if variable is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", variable)
    with MockProviderServer([answer("Hi.")]) as server:

        async def redirected():
            one = request(output=STRICT, tools=(TOOL,), max_output_tokens=9)
            return await asked(provider, one)

        async def move(message):
            assert str(message.url) == "https://api.openai.com/v1/chat/completions"
            message.url = type(message.url)(server.url + "/chat/completions")

        client = openai.DefaultAsyncHttpxClient(event_hooks={"request": [move]})
        provider = OpenAIProvider(api="chat", http_client=client, organization="org-1")
        asyncio.run(redirected())
        [seen] = server.requests
    assert seen.body["max_completion_tokens"] == 9
    assert seen.body["response_format"]["json_schema"]["strict"] is True
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["openai-organization"] == "org-1"


@both
@pytest.mark.parametrize(
    ("move", "error"),
    [
        (refused(429, "Slow.", code="rate_limit_exceeded", retry_after_ms="1500"), ThrottledError),
        (refused(429, "No money.", code="insufficient_quota"), RequestRejectedError),
        (refused(400, "Long.", code="context_length_exceeded"), ContextTooLongError),
        (refused(400, "Bad."), RequestRejectedError),
        (refused(401, "Who?"), RequestRejectedError),
        (refused(404, "No such model."), RequestRejectedError),
        (refused(413), ContextTooLongError),
        (refused(500), ProviderUnavailableError),
        (Reply(503, b""), ProviderUnavailableError),
        (Reply(529, b"<html>"), ProviderUnavailableError),
        (Cut(), ProviderUnavailableError),
        (Cut(b'{"output": [], "choi'), ProviderUnavailableError),
        (Reply(200, b"<html>Welcome</html>"), ProviderUnavailableError),
        (Reply(200, {"hello": "world"}), ProviderUnavailableError),
        (Reply(200, b'{"output": [], "choices": [], "model": "\xff"}'), ProviderUnavailableError),
        (Reply(200, b'{"other": ' + b"[" * 5_000), ProviderUnavailableError),
        (Reply(200, {"choices": [], "output": [{"type": "message"}]}), ProviderUnavailableError),
        (Reply(200, b"abc", {"content-encoding": "gzip"}), ProviderUnavailableError),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_every_failure_is_one_of_ours_and_is_not_tried_again(api, move, error):
    with MockProviderServer(lambda seen: move) as server:
        provider = OpenAIProvider(base_url=server.url, api_key=KEY, api=api)
        with pytest.raises(error) as raised:
            asyncio.run(asked(provider, request()))
        assert type(raised.value) is error
        assert str(raised.value).startswith(f"{server.url} ")
        assert len(server.requests) == 1
    if error is ThrottledError:
        assert raised.value.retry_after == 1.5


@pytest.mark.parametrize(
    ("failure", "error", "told"),
    [
        ({"code": "rate_limit_exceeded", "message": "Slow."}, ThrottledError, "rate_limit_exceeded: Slow."),
        ({"code": "server_error", "message": "Oops."}, ProviderUnavailableError, "server_error: Oops."),
        ({"code": "invalid_prompt", "message": "No."}, RequestRejectedError, "invalid_prompt: No."),
        (None, RequestRejectedError, "failed: nothing more"),
    ],
)
def test_a_response_that_tells_of_a_failure_is_one(failure, error, told):
    with pytest.raises(error, match=told):
        ask([responses(status="failed", error=failure)])


def test_nobody_there_is_unavailable():
    with MockProviderServer([]) as server:
        url = server.url
    with pytest.raises(ProviderUnavailableError, match=r"cannot be reached: Connection error. \(ConnectError"):
        asyncio.run(asked(OpenAIProvider(base_url=url), request()))


def test_a_key_is_not_told_whatever_the_server_says():
    key = "own-key-of-this-house"
    with pytest.raises(RequestRejectedError) as raised:
        ask([refused(401, f"wrong key {key}")], api_key=key)
    assert str(raised.value).endswith("answers 401: wrong key ***")
    with pytest.raises(ProviderUnavailableError) as raised:
        ask([Reply(200, key.encode())], api_key=key)
    assert str(raised.value).endswith("it begins: ***")


def test_the_environment_names_the_server_and_its_key(monkeypatch):
    with MockProviderServer([answer("Hi.")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        asyncio.run(asked(OpenAIProvider(), request()))
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_environments_key_is_not_sent_to_another_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    _, seen = ask([answer("Hi.")], api_key=None)
    assert seen.headers["authorization"] == "Bearer none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "OpenAI takes no call without a key: set OPENAI_API_KEY"),
        ({"api_key": ""}, "OpenAI takes no call without a key: set OPENAI_API_KEY"),
        ({"base_url": "localhost:8000/v1"}, "base_url .* is 'localhost:8000/v1': it takes an address like http://"),
        ({"base_url": "http://"}, "it takes an address like http://"),
        ({"base_url": "http://localhost:99999/v1"}, "it takes an address like http://"),
        ({"api_key": "sk-secret\n"}, "the OpenAI key .* has a space, a line break"),
    ],
)
def test_what_is_not_configured_is_named_at_the_first_use(options, message):
    provider = OpenAIProvider(**options)
    with pytest.raises(ConfigurationError, match=message) as raised:
        asyncio.run(asked(provider, request()))
    assert "secret" not in str(raised.value)


def test_there_are_two_apis():
    with pytest.raises(ConfigurationError, match="api='batch' does not fit"):
        OpenAIProvider(api="batch")


def test_without_the_sdk_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai.resources.chat", None)
    with pytest.raises(ConfigurationError, match=r'pip install "wink-tasks\[openai\]"'):
        asyncio.run(asked(OpenAIProvider(api_key=KEY), request()))


def test_it_is_a_real_provider_to_tests():
    assert OpenAIProvider.remote


def test_calls_share_their_connections_and_each_loop_has_its_own():
    with MockProviderServer(lambda seen: answer(seen.body["input"][0]["content"])) as server:
        provider = OpenAIProvider(base_url=server.url)

        async def at_once():
            first = await provider.complete(request())
            texts = [str(number) for number in range(20)]
            rest = await asyncio.gather(*(provider.complete(request(UserSaid(text))) for text in texts))
            await provider.close()
            assert [response.text for response in rest] == texts
            return first

        for _ in range(2):
            assert asyncio.run(at_once()).text == "Hello"
        asyncio.run(provider.close())


def test_two_first_calls_make_one_client():
    with MockProviderServer(lambda seen: answer("Hi.")) as server:
        provider = OpenAIProvider(base_url=server.url)

        async def two():
            await asyncio.gather(provider.complete(request()), provider.complete(request()))
            assert len(provider._clients) == 1
            await provider.close()

        asyncio.run(two())


def test_a_loop_that_is_over_takes_its_client_with_it():
    with MockProviderServer([]) as server:
        provider = OpenAIProvider(base_url=server.url)
    for _ in range(2):
        with pytest.raises(ProviderUnavailableError):
            asyncio.run(provider.complete(request()))
    assert len(provider._clients) == 1


@both
def test_a_cancelled_call_leaves_nothing_behind(api):
    with MockProviderServer(lambda seen: Stall()) as server:
        provider = OpenAIProvider(base_url=server.url, api=api)

        async def cancelled():
            call = asyncio.create_task(provider.complete(request()))
            assert await asyncio.to_thread(server.wait_until, lambda: server.stalled == 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(server.wait_until, lambda: server.hung_up == 1)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            await provider.close()

        asyncio.run(cancelled())
        assert len(server.requests) == 1


def test_what_is_sent_can_be_answered_in_kind():
    """Model, tool, model: the second request holds the first answer."""
    script = [call("read_file", a="a.py"), answer(json.dumps({"a": "fine"}))]
    with MockProviderServer(script) as server:

        async def twice():
            provider = OpenAIProvider(base_url=server.url)
            first = await provider.complete(request(tools=(TOOL,), output=STRICT))
            [wanted] = first.calls
            items = (
                UserSaid("Hello"),
                ModelSaid(first.text, first.calls),
                ToolAnswered(wanted.id, wanted.tool, "x = 1"),
            )
            [last] = await asked(provider, request(*items, tools=(TOOL,), output=STRICT))
            return last

        assert json.loads(asyncio.run(twice()).text) == {"a": "fine"}
        assert server.requests[1].body["input"][1:] == [
            {"type": "function_call", "call_id": "call_0", "name": "read_file", "arguments": '{"a":"a.py"}'},
            {"type": "function_call_output", "call_id": "call_0", "output": "x = 1"},
        ]
