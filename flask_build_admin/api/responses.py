"""The form of every response of the contract."""

import json
from functools import lru_cache
from typing import Any

from flask import Flask, Response, current_app
from werkzeug.datastructures import Headers

from ..exceptions import DatabaseUnavailable, Problems, plain

#: The headers of a response of the host's that a client needs. All others are dropped.
_KEPT = frozenset({"www-authenticate", "retry-after", "allow", "set-cookie", "vary"})

#: What a refusal must have, if the host's response does not, by its status.
_ADDED = {
    401: ("WWW-Authenticate", "Bearer"),
    503: ("Retry-After", str(DatabaseUnavailable.retry_after)),
}

#: The headers of every response with a body. No cache may store it: the build may have changed.
_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


def representation(
    body: bytes, tag: str, status: int = 200, location: str | None = None
) -> Response:
    """Make the response that is a build; the body of a 304 is empty."""
    headers = [*_HEADERS, ("ETag", f'"{tag}"')]
    if location is not None:
        headers.append(("Content-Location", location))
    return _response(body, status, headers)


def json_response(
    body: bytes | list[bytes], *, next_page: str | None = None, location: str | None = None
) -> Response:
    """Make a response that is not a build: a preview, or a list (``next_page``: RFC 8288)."""
    headers = [*_HEADERS]
    if next_page is not None:
        headers.append(("Link", f'<{next_page}>; rel="next"'))
    if location is not None:
        headers.append(("Content-Location", location))
    return _response(body, 200, headers)


def allowed_methods(methods: list[str]) -> Response:
    """Make the response to ``OPTIONS``: the methods, and nothing else."""
    response = _response(b"", 200, [("Allow", ", ".join(methods))])
    del response.headers["Content-Type"]
    return response


def refusal(status: int, sentence: str, fields: Problems | None, host: Headers | None) -> Response:
    """Make a response that is no 2xx, with what a client needs of the host's own headers."""
    body = _cached(sentence) if fields is None else _refusal(sentence, fields)
    headers = [*_HEADERS]
    added = _ADDED.get(status)
    for name, value in () if host is None else host:
        if (known := name.lower()) in _KEPT:
            headers.append((name, value))
            if added is not None and known == added[0].lower():
                added = None
    if added is not None:
        headers.append(added)
    return _response(body, status, headers)


def _response(body: bytes | list[bytes], status: int, headers: list[tuple[str, str]]) -> Response:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    if isinstance(body, bytes):
        # Here, because Werkzeug would look for it among the other headers first.
        headers.append(("Content-Length", str(len(body))))
        body = [body]
    return app.response_class(body, status, headers)


def _refusal(sentence: str, fields: Problems | None = None) -> bytes:
    document: dict[str, Any] = {"error": plain(" ".join(sentence.split()))}
    if fields is not None:
        document["fields"] = fields
    return f"{json.dumps(document)}\n".encode()


#: Most refusals have one of a few sentences.
_cached = lru_cache(maxsize=32)(_refusal)
