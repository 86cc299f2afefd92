"""The body of a request: its type, its length, and whether there ought to be one at all."""

from __future__ import annotations

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from .body import decode
from .errors import InvalidBuild


def body_of(current: Request, limit: int) -> bytes:
    """Answer a body that says it is JSON.

    :param limit: of the body, in bytes.
    :raises UnsupportedMediaType: it is of another type, of another charset than UTF-8, or encoded.
    :raises RequestEntityTooLarge: it is longer than the limit.
    """
    if current.environ.get("CONTENT_TYPE") != "application/json":  # or there is more to it
        charset = current.mimetype_params.get("charset", "utf-8").lower()
        if current.mimetype != "application/json" or charset not in {"utf-8", "utf8"}:
            raise UnsupportedMediaType("The Content-Type must be application/json, in UTF-8.")
    if "HTTP_CONTENT_ENCODING" in current.environ:
        raise UnsupportedMediaType("The body must not have a Content-Encoding.")
    # A chunked body tells no length, and is cut without a word at the limit of the request.
    if (current.content_length or 0) > limit or len(body := current.get_data()) > limit:
        raise RequestEntityTooLarge(f"The body is longer than {limit} bytes.")
    return body


def refuse_body(current: Request, limit: int) -> None:
    """See that no body is sent where none means anything; ``{}`` is as good as none.

    :param limit: of the body, in bytes.
    :raises InvalidBuild: it has members.

    and what ``body_of`` raises, unless there is neither a body nor a type, and no page sends it.
    """
    # Where a cookie lets the administrator in, any page can have the browser send a POST of no
    # type, but one of JSON only after asking the server (CORS). A browser puts Origin on every
    # POST (Fetch), so a request with it must be one of JSON.
    bare = not {"Content-Type", "Content-Encoding", "Origin"} & {*current.headers.keys()}
    if bare and not current.content_length and not current.get_data():
        return
    body = body_of(current, limit)
    if body and (document := decode(body)):
        raise InvalidBuild({name: ["unknown"] for name in document})
