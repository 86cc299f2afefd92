"""The form of the contract's answers."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from flask import Response, current_app
from werkzeug.datastructures import Headers

from .errors import DatabaseUnavailable, Problems, plain

#: What a client needs of an answer that the host made and the contract has another form for.
_KEPT = frozenset({"www-authenticate", "retry-after", "allow", "set-cookie", "vary"})

#: Of every answer that has a body. None is to be stored: it may be older than the build.
_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


def representation(
    body: bytes, tag: str, status: int = 200, location: str | None = None
) -> Response:
    """Make the answer that is a build.

    :param body: the document, encoded; empty for 304.
    :param tag: the opaque part of its entity tag.
    :param location: where the build can be fetched.
    """
    headers = [*_HEADERS, ("ETag", f'"{tag}"')]
    if location is not None:
        headers.append(("Content-Location", location))
    return current_app.response_class(body, status, headers)


def told(body: bytes, following: str | None = None) -> Response:
    """Make the answer that is no build, but tells of one.

    :param body: JSON, encoded.
    :param following: where it goes on (RFC 8288).
    """
    link = [] if following is None else [("Link", f'<{following}>; rel="next"')]
    return current_app.response_class(body, 200, [*_HEADERS, *link])


def methods(allowed: list[str]) -> Response:
    """Make the answer to ``OPTIONS``: the methods, and nothing else."""
    response = current_app.response_class(headers={"Allow": ", ".join(allowed)})
    del response.headers["Content-Type"]
    return response


def refusal(status: int, sentence: str, fields: Problems | None, host: Headers | None) -> Response:
    """Make an answer that is no 2xx.

    :param sentence: what is wrong.
    :param fields: every problem of every member.
    :param host: the headers of the host's own answer.
    """
    body = _standard(sentence) if fields is None else _refusal(sentence, fields)
    headers = [*_HEADERS]
    if host is not None:
        headers += [(name, value) for name, value in host if name.lower() in _KEPT]
    response = current_app.response_class(body, status, headers)
    if status == 401:
        response.headers.setdefault("WWW-Authenticate", "Bearer")
    elif status == 503:
        response.headers.setdefault("Retry-After", str(DatabaseUnavailable.retry_after))
    return response


def _refusal(sentence: str, fields: Problems | None = None) -> bytes:
    document: dict[str, Any] = {"error": plain(" ".join(sentence.split()))}
    if fields is not None:
        document["fields"] = fields
    return f"{json.dumps(document)}\n".encode()


#: Most refusals say one of a few sentences.
_standard = lru_cache(maxsize=32)(_refusal)
