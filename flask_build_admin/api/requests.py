"""What a request brings: its body, and the parameters of its query and of its path."""

import re
from collections import Counter
from collections.abc import Container, Mapping
from typing import Any
from urllib.parse import parse_qsl

from flask import Request, request
from marshmallow import Schema, ValidationError, fields, validate
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from ..exceptions import InvalidBuild, InvalidParameter
from ..representation import decode
from ..schema import UnixTime
from ..store.history import DEFAULT_REVISIONS, MAX_REVISION_ID
from ..store.queue import DEFAULT_BUILDS, MAX_BUILDS

#: The largest number of revisions in one list.
MAX_REVISIONS = 200

_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")

_INCOMPLETE = "The body is incomplete."

#: The limit of the body, in the WSGI environment.
_LIMIT = "flask_build_admin.limit"

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class DecimalInteger(fields.Integer):
    """A whole number in plain decimal digits, without a sign or a leading zero."""

    def __init__(self, minimum: int, maximum: int, description: str = "") -> None:
        invalid = f"not a whole number from {minimum} to {maximum}"
        super().__init__(
            validate=validate.Range(minimum, maximum, error=invalid),
            error_messages={"invalid": invalid},
            metadata={"description": description},
        )

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if not _DECIMAL.fullmatch(value):
            raise self.make_error("invalid")
        return int(value)


class Parameters(Schema):
    """The query of a route: every parameter is optional, and an unknown one is refused."""

    error_messages = {"unknown": "unknown parameter"}


class ChangeParameters(Parameters):
    """The query of a change. The store requires a reason where the host does."""

    reason = fields.String(metadata={"description": "Why, for the history and the log."})
    dry_run = fields.Boolean(
        truthy={"true"},
        falsy={"false"},
        error_messages={"invalid": "not true or false"},
        metadata={"description": "Whether only to return what would change."},
    )


class RevisionsParameters(Parameters):
    """The query of the list of revisions."""

    limit = DecimalInteger(1, MAX_REVISIONS, f"At most so many; {DEFAULT_REVISIONS} by default.")
    before = DecimalInteger(1, MAX_REVISION_ID, "The id of a revision: only earlier ones.")


class QueueParameters(Parameters):
    """The query of the list of unfinished builds."""

    limit = DecimalInteger(1, MAX_BUILDS, f"At most so many; {DEFAULT_BUILDS} by default.")
    after = DecimalInteger(0, UnixTime.latest, "UNIX epoch, in seconds: only created after it.")
    before = DecimalInteger(1, UnixTime.latest, "UNIX epoch, in seconds: only created before it.")
    below = fields.String(metadata={"description": "The id of a build: only those after it."})


#: The schema of the query of each route. The OpenAPI document describes them, too.
PARAMETERS: Mapping[str, Schema] = {
    "overwrite": ChangeParameters(),
    "fetch": Parameters(),
    "queue": QueueParameters(),
    "revisions": RevisionsParameters(),
    "undo": ChangeParameters(),
}

#: The id of a revision, in a path.
REVISION_ID = DecimalInteger(1, MAX_REVISION_ID)


def read_parameters(query: bytes, schema: Schema, ignored: Container[str]) -> dict[str, Any]:
    """Return the parameters of a query.

    :param query: as it was sent, percent-encoded UTF-8 (RFC 3986, section 2.5).
    :param ignored: the names of parameters that belong to the host.
    :raises InvalidParameter: a parameter is unknown, repeated or invalid; names all of them.
    """
    if not query:
        return {}
    if _BROKEN_ESCAPE.search(query):
        raise InvalidParameter({"query": ["not percent-encoded"]})
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidParameter({"query": ["not UTF-8"]}) from error
    own = [(name, text) for name, text in pairs if name not in ignored]
    values: dict[str, Any] = {}
    messages: dict[str, list[str]] = {}
    try:
        values = dict(schema.load(dict(own)))
    except ValidationError as error:
        messages = error.normalized_messages()  # type: ignore[no-untyped-call]
    counts = Counter(name for name, _ in own)
    messages |= {name: ["more than once"] for name, count in counts.items() if count > 1}
    if messages:
        raise InvalidParameter({name: messages[name] for name in counts if name in messages})
    return values


def current_request() -> Request:
    """Return the current request itself: every access through the proxy costs 1 % of a refusal."""
    return request._get_current_object()  # type: ignore[attr-defined,no-any-return]


def limit_body(current: Request, limit: int) -> None:
    """Limit what anybody reads of a body, to so many bytes or the app's own limit.

    One byte more can be read, so that a body that just fits differs from one that is cut.
    """
    own = current.environ.get(_LIMIT, current.max_content_length)
    current.environ[_LIMIT] = limit = limit if own is None else min(limit, own)
    current.max_content_length = limit + 1


def read_body(current: Request) -> bytes:
    """Return a body that is declared as JSON, within the limit of ``limit_body``.

    :raises UnsupportedMediaType: another type, another charset than UTF-8, or an encoding.
    :raises RequestEntityTooLarge: it is longer than the limit.
    :raises BadRequest: it ends early, or its chunks are malformed (RFC 9112, section 8).
    """
    if current.environ.get("CONTENT_TYPE") != "application/json":  # the most frequent spelling
        charset = current.mimetype_params.get("charset", "utf-8").lower()
        if current.mimetype != "application/json" or charset not in {"utf-8", "utf8"}:
            raise UnsupportedMediaType("The Content-Type must be application/json, in UTF-8.")
    if "HTTP_CONTENT_ENCODING" in current.environ:
        raise UnsupportedMediaType("The body must not have a Content-Encoding.")
    limit = current.environ[_LIMIT]
    # A chunked body has no length, and is cut silently at the limit of the request.
    if (current.content_length or 0) > limit or len(body := _read_to_the_end(current)) > limit:
        raise RequestEntityTooLarge(f"The body is longer than {limit} bytes.")
    return body


def _read_to_the_end(current: Request) -> bytes:
    try:
        body = current.get_data()
    except HTTPException:
        raise
    except Exception as error:  # each server has a class of its own for malformed chunks
        raise BadRequest(_INCOMPLETE) from error
    # A server that ends the input itself also ends it where the client stops sending.
    if len(body) < (current.content_length or 0):
        raise BadRequest(_INCOMPLETE)
    return body


def refuse_body(current: Request) -> None:
    """Check that a request has no body; ``{}`` is as good as none.

    :raises InvalidBuild: it has members.
    :raises Forbidden: a page of another site has sent it (Fetch Metadata Request Headers).

    and what ``read_body`` raises, unless there is neither a body nor a type, nor an ``Origin``.
    """
    if current.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise Forbidden("Sec-Fetch-Site: a page of another site must not send this.")
    # Where a cookie authenticates the administrator, any page can make the browser send a POST
    # without a type, but one of JSON only after a preflight (CORS). A browser puts Origin on every
    # POST (Fetch), so a request with it must be one of JSON.
    bare = not {"Content-Type", "Content-Encoding", "Origin"} & {*current.headers.keys()}
    if bare and not current.content_length and not _read_to_the_end(current):
        return
    body = read_body(current)
    if body and (document := decode(body)):
        raise InvalidBuild({name: ["unknown"] for name in document})
