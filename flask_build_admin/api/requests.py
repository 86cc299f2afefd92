"""What a request brings: its body, and the parameters of its query and of its path."""

import re
from collections import Counter
from collections.abc import Callable, Container, Mapping
from typing import Any
from urllib.parse import parse_qsl

from flask import Request, request
from marshmallow import Schema, ValidationError, fields, validate
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from ..exceptions import InvalidBuild, InvalidParameter
from ..representation import decode
from ..schema import MISSING, AnyField, UnixTime
from ..store.clean import CLEAN_AGE
from ..store.filters import value_from_text
from ..store.outside import OVERWRITTEN_AGE
from ..store.queue import MAX_BUILDS
from ..store.revisions import BATCH, DEFAULT_REVISIONS, INVALID_BATCH, MAX_REVISION_ID

#: The largest number of revisions in one list.
MAX_REVISIONS = 200

_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")

#: The members of the body of a clean: what the Go client sends, and what Vela documents.
_MESSAGES = ("error", "message")

_INCOMPLETE = "The body is incomplete."

#: The limit of the body, in the WSGI environment.
_LIMIT = "flask_build_admin.limit"

_NO_MEMBERS: Mapping[str, AnyField] = {}

#: Returns the current request itself: every access through the proxy costs 1 % of a refusal.
current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]

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


def _second(minimum: int, description: str) -> DecimalInteger:
    return DecimalInteger(minimum, UnixTime.latest, f"UNIX epoch, in seconds: {description}")


class Parameters(Schema):
    """The query of a route: every parameter is optional, and an unknown one is refused."""

    error_messages: dict[str, Any] = {"unknown": "unknown parameter"}

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:
        """Give a parameter that is required the word that a member has."""
        field_obj.error_messages["required"] = MISSING


def _flag(description: str) -> fields.Boolean:
    return fields.Boolean(
        truthy={"true"},
        falsy={"false"},
        error_messages={"invalid": "not true or false, in lower case"},
        metadata={"description": description},
    )


class ChangeParameters(Parameters):
    """The query of a change. The store requires a reason where the host does."""

    reason: AnyField = fields.String(metadata={"description": "Why, for the history and the log."})
    dry_run: AnyField = _flag("Whether only to return what would change.")
    force: AnyField = _flag("Whether to store what has warnings, where the host refuses that.")


class RevisionsParameters(Parameters):
    """The query of the list of the revisions of a build."""

    limit: AnyField = DecimalInteger(
        1, MAX_REVISIONS, f"At most so many; {DEFAULT_REVISIONS} by default."
    )
    before: AnyField = DecimalInteger(
        1, MAX_REVISION_ID, "The id of a revision: only earlier ones."
    )


class AllRevisionsParameters(Parameters):
    """The query of the list of the revisions of all builds."""

    build_id: AnyField = fields.String(metadata={"description": "Only those of this build."})
    batch: AnyField = fields.String(metadata={"description": "Only those of this batch."})
    actor: AnyField = fields.String(metadata={"description": "Only those of this actor."})
    after: AnyField = _second(0, "only made after it.")
    before: AnyField = _second(1, "only made before it.")
    below: AnyField = DecimalInteger(1, MAX_REVISION_ID, "The id of a revision: only earlier ones.")
    overwritten: AnyField = _flag(
        "Whether only those that somebody else overwrote; of the last"
        f" {OVERWRITTEN_AGE // 3600} hours by default."
    )
    limit: AnyField = DecimalInteger(
        1, MAX_REVISIONS, f"At most so many; {DEFAULT_REVISIONS} by default."
    )


class QueueParameters(Parameters):
    """The query of the list of unfinished builds, beside the members that it filters by."""

    after: AnyField = _second(0, "only created after it.")
    before: AnyField = _second(1, "only created before it.")
    idle_before: AnyField = _second(1, "only without a sign of life since.")
    order: AnyField = fields.String(
        validate=validate.OneOf(("newest", "oldest"), error="not newest or oldest"),
        metadata={"description": "Which are listed first; newest by default."},
    )
    limit: AnyField = DecimalInteger(1, MAX_BUILDS, f"At most so many; {MAX_BUILDS} by default.")
    below: AnyField = fields.String(
        metadata={"description": "The id of a build: only those after it."}
    )
    page: AnyField = DecimalInteger(1, MAX_BUILDS * MAX_BUILDS, "The number of a page.")
    per_page: AnyField = DecimalInteger(
        1, MAX_BUILDS, "The same as limit; the lesser of both counts."
    )


class CleanParameters(ChangeParameters):
    """The query of a clean, beside the members that it filters by."""

    before: AnyField = _second(
        1, f"only created before it; {CLEAN_AGE // 60} minutes ago by default."
    )
    idle_before: AnyField = _second(1, "only without a sign of life since.")
    limit: AnyField = DecimalInteger(1, MAX_BUILDS, f"At most so many; {MAX_BUILDS} by default.")
    batch: AnyField = fields.String(
        validate=validate.Regexp(f"^{BATCH}$", error=INVALID_BATCH),
        metadata={"description": "The name of the batch; a UUID by default."},
    )


class UndoBatchParameters(ChangeParameters):
    """The query of the undo of a batch."""

    batch: AnyField = fields.String(
        required=True, metadata={"description": "Which batch is undone."}
    )


#: The schema of the query of each route. The OpenAPI document describes them, too.
PARAMETERS: Mapping[str, Schema] = {
    "overwrite": ChangeParameters(),
    "fetch": Parameters(),
    "queue": QueueParameters(),
    "clean": CleanParameters(),
    "revisions": RevisionsParameters(),
    "undo": ChangeParameters(),
    "all_revisions": AllRevisionsParameters(),
    "undo_batch": UndoBatchParameters(),
}

#: The routes whose query may have members of a build, as filters.
FILTERED = frozenset({"queue", "clean"})

#: The id of a revision, in a path.
REVISION_ID = DecimalInteger(1, MAX_REVISION_ID)


def read_parameters(
    query: bytes,
    schema: Schema,
    ignored: Container[str],
    members: Mapping[str, AnyField] = _NO_MEMBERS,
) -> dict[str, Any]:
    """Return the parameters of a query.

    :param query: as it was sent, percent-encoded UTF-8 (RFC 3986, section 2.5).
    :param ignored: the names of parameters that belong to the host.
    :param members: what else is a parameter: the members of a build that it may be filtered by.
        Their JSON values are returned as the parameter ``members``.
    :raises InvalidParameter: a parameter is unknown, repeated or invalid; names all of them.
    """
    if not query and not any(field.required for field in schema.fields.values()):
        return {}
    if _BROKEN_ESCAPE.search(query):
        raise InvalidParameter({"query": ["not percent-encoded"]})
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidParameter({"query": ["not UTF-8"]}) from error
    own = [(name, text) for name, text in pairs if name not in ignored]
    filters = {name: text for name, text in own if name in members and name not in schema.fields}
    values: dict[str, Any] = {}
    messages: dict[str, list[str]] = {}
    try:
        values = dict(schema.load({name: text for name, text in own if name not in filters}))
    except ValidationError as error:
        messages = error.normalized_messages()  # type: ignore[no-untyped-call]
    counts = Counter(name for name, _ in own)
    messages |= {name: ["more than once"] for name, count in counts.items() if count > 1}
    if messages:
        order = dict.fromkeys([*counts, *messages])
        raise InvalidParameter({name: messages[name] for name in order if name in messages})
    if filters:
        values["members"] = {
            name: value_from_text(members[name], text) for name, text in filters.items()
        }
    return values


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
    limit, length = current.environ[_LIMIT], current.content_length or 0
    # A chunked body has no length, and is cut silently at the limit of the request.
    if length > limit or len(body := _read_to_the_end(current, length)) > limit:
        raise RequestEntityTooLarge(f"The body is longer than {limit} bytes.")
    return body


def _read_to_the_end(current: Request, length: int) -> bytes:
    try:
        body = current.get_data()
    except RequestEntityTooLarge:
        raise
    except Exception as error:  # of Werkzeug, or of the server, each with a class of its own
        raise BadRequest(_INCOMPLETE) from error
    # A server that ends the input itself also ends it where the client stops sending.
    if len(body) < length:
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
    if bare and not current.content_length and not _read_to_the_end(current, 0):
        return
    body = read_body(current)
    if body and (document := decode(body)):
        raise InvalidBuild({name: ["unknown"] for name in document})


def read_message(current: Request) -> str | None:
    """Return what the builds of a clean are to say: the ``error`` or the ``message`` of the body.

    :returns: None if there is neither, or no body.
    :raises InvalidBuild: both are there, another member is, or it is no string.

    and what ``read_body`` raises, unless there is neither a body nor a type.
    """
    length = current.content_length or 0
    if "Content-Type" not in current.headers and not _read_to_the_end(current, length):
        return None
    document = decode(read_body(current))
    problems = {name: ["unknown"] for name in document if name not in _MESSAGES}
    given = {name: document[name] for name in _MESSAGES if document.get(name) is not None}
    problems |= {name: ["not a string"] for name in given if type(given[name]) is not str}
    if len(given) > 1:
        problems["message"] = ["not together with error"]
    if problems:
        raise InvalidBuild(problems)
    return next(iter(given.values()), None)
