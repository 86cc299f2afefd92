"""What each route does, takes and answers, as tables for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .history import PAGE
from .waiting import QUEUE

_CONDITIONS = ("If-Match", "If-None-Match")
_CHANGING = (404, 409, 412, 413, 415)
_SENT_BUILD = {"build_id": "$request.body#/id"}
_SAME_BUILD = {"build_id": "$request.path.build_id"}


class Operation(NamedTuple):
    """One route, beside what all of them have in common."""

    summary: str
    #: The components that a 200 may be.
    answers: tuple[str, ...]
    #: Whether it is a list of them.
    listed: bool = False
    #: The component that a body has to be; None: it takes no body, and changes nothing.
    body: str | None = None
    #: Whether there has to be one.
    body_required: bool = False
    #: Headers of a 200, and whether every 200 has them: that of a preview has none.
    headers: Mapping[str, bool] = {}
    #: Headers that the request may have.
    conditions: tuple[str, ...] = ()
    #: What it may answer beside 200 and ``ALWAYS``.
    statuses: tuple[int, ...] = ()
    #: What a 200 leads to: the other route, and what it takes, as OpenAPI's runtime expressions.
    links: Mapping[str, Mapping[str, str]] = {}


OPERATIONS: Mapping[str, Operation] = {
    "overwrite": Operation(
        "Overwrite a whole build.",
        ("Build", "Preview"),
        body="Build",
        body_required=True,
        headers={"ETag": False, "Content-Location": False},
        conditions=_CONDITIONS,
        statuses=_CHANGING,
        links={"fetch": _SENT_BUILD, "revisions": _SENT_BUILD},
    ),
    "fetch": Operation(
        "Fetch a build, as it can be put back.",
        ("Build",),
        headers={"ETag": True},
        conditions=_CONDITIONS,
        statuses=(304, 404, 412),
        links={"overwrite": {"If-Match": "$response.header.ETag"}, "revisions": _SAME_BUILD},
    ),
    "queue": Operation(
        "List the builds that wait or run, the newest first.",
        ("Build",),
        listed=True,
        headers={"Link": False},
        statuses=(404,),
    ),
    "revisions": Operation(
        "List what was changed of a build, the newest first.",
        ("Revision",),
        listed=True,
        headers={"Link": False},
        statuses=(404,),
    ),
    "undo": Operation(
        "Put back what one revision has changed.",
        ("Build", "Preview"),
        body="Nothing",
        headers={"ETag": False, "Content-Location": False},
        conditions=_CONDITIONS,
        statuses=_CHANGING,
        links={"fetch": _SAME_BUILD, "revisions": _SAME_BUILD},
    ),
}

#: Any of them may be answered with these.
ALWAYS = (400, 401, 429, 500, 503)

STATUSES: Mapping[int, str] = {
    304: "It is still the build of If-None-Match.",
    400: "No JSON object, no build that can be stored, or an unknown parameter.",
    401: "The server's authentication refuses; nothing was read.",
    404: "There is no such build, or it has no such revision.",
    409: "The database refuses the build, or the undo comes too late.",
    412: "The build is not the one of If-Match, or it is the one of If-None-Match.",
    413: "The body is too long.",
    415: "The body is not application/json in UTF-8.",
    428: "If-Match is required.",
    429: "The server has had too many requests.",
    500: "The server failed to handle the request.",
    503: "The database is locked or gone, or asks for another try.",
}

#: A header that every answer of a status has.
HEADER_OF: Mapping[int, str] = {304: "ETag", 401: "WWW-Authenticate", 503: "Retry-After"}

#: Headers of requests and answers.
HEADERS: Mapping[str, str] = {
    "Allow": "The methods.",
    "Content-Location": "Where the build can be fetched.",
    "ETag": "The strong entity tag of the build (RFC 9110, section 8.8.3).",
    "If-Match": "The entity tag of the build as it was fetched (RFC 9110, section 13.1.1).",
    "If-None-Match": "The entity tag of a build that is not meant (RFC 9110, section 13.1.2).",
    "Link": 'Where the list goes on, with rel="next" (RFC 8288).',
    "Retry-After": "Seconds after which another try is worthwhile (RFC 9110, section 10.2.3).",
    "WWW-Authenticate": "How to authenticate (RFC 9110, section 11.6.1).",
}

#: Parameters of the query, by route where they are not the same everywhere.
MEANINGS: Mapping[str, str] = {
    "reason": "Why, for the history and the log.",
    "dry_run": "Whether to do everything but the commit, and answer what would be changed.",
    "revisions.limit": f"How many at the most; {PAGE} if left out.",
    "revisions.before": "The id of a revision: only earlier ones.",
    "queue.limit": f"How many at the most; {QUEUE} if left out.",
    "queue.after": "UNIX epoch, in seconds: only builds created after it.",
    "queue.before": "UNIX epoch, in seconds: only builds created before it.",
    "queue.below": "The id of a build: only those that come after it in this order.",
}
