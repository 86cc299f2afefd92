"""The form of the contract's answers."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, current_app
from werkzeug.datastructures import Headers

from .errors import DatabaseUnavailable, Problems, plain

#: What a client needs of an answer that the host made and the contract has another form for.
_KEPT = ("WWW-Authenticate", "Retry-After", "Allow", "Set-Cookie", "Vary")


def representation(body: bytes, tag: str, status: int = 200) -> Response:
    """Make the answer that is a build.

    :param body: the document, encoded; empty for 304.
    :param tag: the opaque part of its entity tag.
    """
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-store"}
    return current_app.response_class(body, status, headers, mimetype="application/json")


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
    document: dict[str, Any] = {"error": plain(" ".join(sentence.split()))}
    if fields is not None:
        document["fields"] = fields
    response = current_app.response_class(
        f"{json.dumps(document)}\n", status, mimetype="application/json"
    )
    response.headers["Cache-Control"] = "no-store"
    if host is not None:
        for name in _KEPT:
            for value in host.getlist(name):
                response.headers.add(name, value)
    if status == 401:
        response.headers.setdefault("WWW-Authenticate", "Bearer")
    elif status == 503:
        response.headers.setdefault("Retry-After", str(DatabaseUnavailable.retry_after))
    return response
