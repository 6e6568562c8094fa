"""The mock provider's server, spoken to in plain HTTP."""

from __future__ import annotations

import json
import socket
import struct
from http.client import HTTPConnection, RemoteDisconnected

import pytest

from wink_tasks.core.errors import ThrottledError
from wink_tasks.testing import answer
from wink_tasks.testing.mock_provider import Asked, MockProviderServer, Stall


def post(server, body=b"{}", path="/v1/responses"):
    connection = HTTPConnection(server.url.split("/")[2], timeout=10)
    try:
        connection.request("POST", path, body, {"X-Test": "Yes"})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def test_it_answers_in_order_and_keeps_what_it_was_asked():
    with MockProviderServer([answer("one"), answer("two")]) as server:
        status, first = post(server, b'{"a": 1}')
        assert (status, first["id"], first["output"][0]["content"][0]["text"]) == (200, "resp_0", "one")
        _, second = post(server, path="/v1/chat/completions")
        assert second["choices"][0]["message"]["content"] == "two"
        asked = server.requests[0]
    assert (asked.path, asked.headers["x-test"], asked.body) == ("/v1/responses", "Yes", {"a": 1})


def fails(asked: Asked):
    raise LookupError(asked.path)


@pytest.mark.parametrize(
    ("script", "body", "path", "status", "message"),
    [
        ([], b"{}", "/v1/responses", 400, "the script has 0 moves, and this is request 1"),
        (fails, b"{}", "/v1/responses", 400, "the script raised LookupError: /v1/responses"),
        ([ThrottledError("x")], b"{}", "/v1/responses", 400, "the script gave ThrottledError('x'), which is no move"),
        ([answer("x")], b"{", "/v1/responses", 400, "the request is not JSON: Input data was truncated"),
        (
            [answer("x")],
            b"{}",
            "/v1/embeddings",
            404,
            "there is no /v1/embeddings; there are: /v1/responses, /v1/chat/completions",
        ),
    ],
)
def test_what_it_cannot_answer_is_refused_with_the_reason(script, body, path, status, message):
    with MockProviderServer(script) as server:
        assert post(server, body, path) == (
            status,
            {"error": {"message": message, "type": "mock_error", "param": None, "code": None}},
        )


def test_start_and_stop_may_come_twice_and_in_any_order():
    server = MockProviderServer([answer("one"), answer("two")])
    server.stop()
    server.start()
    url = server.url
    server.start()
    assert server.url == url
    assert post(server)[0] == 200
    server.stop()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        post(server)
    with server:
        assert post(server)[0] == 200


def test_stopping_cuts_those_that_wait():
    with MockProviderServer([Stall()]) as server:
        connection = HTTPConnection(server.url.split("/")[2], timeout=10)
        connection.request("POST", "/v1/responses", b"{}")
        assert server.wait_until(lambda: server.stalled == 1)
        assert not server.wait_until(lambda: server.hung_up == 1, seconds=0.01)
    with pytest.raises(RemoteDisconnected):
        connection.getresponse()
    connection.close()
    assert server.hung_up == 1


@pytest.mark.parametrize("request_", [b"POST /v1/responses HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}", b""])
def test_a_client_that_breaks_off_is_nothing_to_tell_of(request_, capsys):
    with MockProviderServer([Stall()]) as server:
        host, port = server.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(request_)
            assert not request_ or server.wait_until(lambda: server.stalled == 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert capsys.readouterr() == ("", "")
