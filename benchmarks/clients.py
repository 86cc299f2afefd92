"""Clients that put builds: into an application in this process, or to a server."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import uvloop
from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn
from werkzeug.test import EnvironBuilder

from .hosts import PATH, Request


class Answer(NamedTuple):
    """What a put has been answered."""

    status: int
    body: bytes


class Client(Protocol):
    """Puts one build after the other."""

    def send(self, requests: Sequence[Request]) -> tuple[list[Answer], float]:
        """Answer what was answered, and the seconds that it took."""


class WSGIClient:
    """Calls an application as a WSGI server does, to the last byte."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def send(self, requests: Sequence[Request]) -> tuple[list[Answer], float]:
        """Answer what was answered, and the seconds that it took."""
        environs = [
            EnvironBuilder(
                path=PATH,
                method="PUT",
                headers=[("Authorization", f"Bearer {request.token}")],
                content_type="application/json",
                data=request.body,
            ).get_environ()
            for request in requests
        ]
        return _timed(lambda: [self._call(environ) for environ in environs])

    def _call(self, environ: Any) -> Answer:
        statuses = []

        def start_response(line: str, headers: object, exc_info: object = None) -> None:
            statuses.append(int(line[:3]))

        chunks = self._app(environ, start_response)
        try:
            body = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return Answer(statuses[-1], body)


class ASGIClient:
    """Calls an application as an ASGI server does, all requests in the event loop of uvicorn."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._lifespan = LifespanOn(Config(app, log_config=None, log_level="warning"))
        self._runner.run(self._lifespan.startup())

    def send(self, requests: Sequence[Request]) -> tuple[list[Answer], float]:
        """Answer what was answered, and the seconds that it took."""
        prepared = [(self._scope(request), request.body) for request in requests]

        async def call() -> list[Answer]:
            return [await self._call(scope, body) for scope, body in prepared]

        return _timed(lambda: self._runner.run(call()))

    def _scope(self, request: Request) -> dict[str, Any]:
        headers = {
            "host": "localhost",
            "authorization": f"Bearer {request.token}",
            "content-type": "application/json",
            "content-length": f"{len(request.body)}",
        }
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "PUT",
            "scheme": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 80),
            "state": {},
        }

    async def _call(self, scope: dict[str, Any], body: bytes) -> Answer:
        received = iter([{"type": "http.request", "body": body, "more_body": False}])
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return next(received, {"type": "http.disconnect"})

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        return Answer(sent[0]["status"], b"".join(message.get("body", b"") for message in sent))


class HTTPClient:
    """Asks a server, one connection for each request."""

    def __init__(self, port: int) -> None:
        self._port = port

    def send(self, requests: Sequence[Request]) -> tuple[list[Answer], float]:
        """Answer what was answered, and the seconds that it took."""
        start = perf_counter()
        return [self._ask(request) for request in requests], perf_counter() - start

    def _ask(self, request: Request) -> Answer:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {
            "Authorization": f"Bearer {request.token}",
            "Content-Type": "application/json",
        }
        connection.request("PUT", PATH, request.body, headers)
        response = connection.getresponse()
        answer = Answer(response.status, response.read())
        connection.close()
        return answer


def _timed(send: Callable[[], list[Answer]]) -> tuple[list[Answer], float]:
    # A collection would fall on whoever comes to the threshold, not on whoever made the rubbish.
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        answers = send()
        return answers, perf_counter() - start
    finally:
        gc.enable()
