"""HTTP for a mock provider: connections that can be answered, left without an answer, and cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        """A client that goes away is nothing to tell of."""
        with suppress(ConnectionError):
            super().handle()

    def do_POST(self) -> None:
        """The only method of the APIs."""
        self.server.serve(self)

    def reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer."""
        self._head(status, len(body), headers)
        self.wfile.write(body)

    def stall(self) -> None:
        """Wait until the connection is gone."""
        with suppress(ConnectionError):
            self.connection.recv(1)

    def cut(self, body: bytes) -> None:
        """Break off after `body`, or before any answer."""
        if body:
            self._head(200, len(body) + 1, {})
            self.wfile.write(body)
        self.close_connection = True

    def _head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Tests read their own output."""


class Server(ThreadingTCPServer):
    """A thread for each connection; it knows those that are open."""

    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 1_024

    def __init__(self, serve: Callable[[Handler], None]) -> None:
        self.serve = serve
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Keep the connection in mind."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """It is over."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        """Break every connection, whatever it waits for."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
