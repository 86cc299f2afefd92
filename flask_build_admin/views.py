"""The views: from a request to what the store has to do, and from that to an answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import quote, urlencode

from flask import Request, Response, current_app, request

from .answers import representation, told
from .body import Document, Representation, decode, encode
from .errors import BuildNotFound, PreconditionFailed, PreconditionRequired
from .fields import UnixTime
from .history import LAST, PAGE
from .incoming import body_of, refuse_body
from .parameters import Reader, Whole, boolean, read_parameters
from .store import BuildStore
from .update import Change, Terms
from .waiting import LONGEST_QUEUE, QUEUE

#: If-Match and If-None-Match, as WSGI has them.
_CONDITIONS = frozenset({"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"})

#: What a path may hold as it is, letters and digits apart (RFC 3986, section 3.3).
_PATH = "/:@!$&'()*+,;="

#: Revisions that are listed at the most.
LARGEST_PAGE = 200

_CHANGE: dict[str, Reader] = {"reason": str, "dry_run": boolean}

#: The parameters that each route reads.
READERS: dict[str, dict[str, Reader]] = {
    "overwrite": _CHANGE,
    "fetch": {},
    "revisions": {"limit": Whole(LARGEST_PAGE), "before": Whole(LAST)},
    "undo": _CHANGE,
    "queue": {
        "limit": Whole(LONGEST_QUEUE),
        "after": Whole(UnixTime.latest, least=0),
        "before": Whole(UnixTime.latest),
        "below": str,
    },
}

#: Reads the id of a revision, in a path.
REVISION = Whole(LAST)


class BuildViews:
    """Answer the requests that the gate has let in.

    :param store: of the builds.
    :param actor: answers who is acting.
    :param require_if_match: whether a change without ``If-Match`` is refused.
    :param limit: of a body, in bytes.
    :param foreign: names of query parameters that are the host's own.
    """

    def __init__(
        self,
        store: BuildStore,
        actor: Callable[[], Any] | None,
        require_if_match: bool,
        limit: int,
        foreign: Collection[str],
    ) -> None:
        self._store = store
        self._actor = actor
        self._require_if_match = require_if_match
        self._limit = limit
        self._foreign = foreign

    def overwrite(self, **_: Any) -> Response:
        """Put a whole build in the place of the one that has its id."""
        # The request itself: its proxy, asked a dozen times, costs more than the parsing.
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        parameters = self._parameters(current, "overwrite")
        document = decode(body_of(current, self._limit))
        terms = self._terms(current, parameters)
        return _changed(self._store.overwrite(document, **terms), terms, _here(current))

    def fetch(self, build_id: str, **_: Any) -> Response:
        """Answer one build."""
        self._parameters(request, "fetch")
        build = self._store.find(build_id, _match)
        if request.if_none_match.contains_weak(build.tag):
            return representation(b"", build.tag, 304)
        return representation(build.body, build.tag)

    def revisions(self, build_id: str, **_: Any) -> Response:
        """Answer what was changed of a build, the newest first."""
        parameters = self._parameters(request, "revisions")
        limit = parameters.get("limit", PAGE)
        # One more than asked for tells whether there are more.
        found = self._store.revisions(build_id, limit=limit + 1, before=parameters.get("before"))
        page = found[:limit]
        following = None
        if len(found) > limit:
            following = _following(request, {"limit": limit, "before": page[-1].id})
        return told(encode([revision.document for revision in page]), following)

    def queue(self, **_: Any) -> Response:
        """Answer the builds that wait or run, the newest first."""
        parameters = {"limit": QUEUE} | self._parameters(request, "queue")
        try:
            builds = self._store.queue(**parameters)
        except BuildNotFound as error:
            raise BuildNotFound("below: there is no such build: begin anew.") from error
        following = None
        if len(builds) == parameters["limit"]:
            following = _following(request, parameters | {"below": builds[-1]["id"]})
        return told(encode(builds), following)

    def undo(self, build_id: str, revision_id: str, **_: Any) -> Response:
        """Put back what one revision has changed."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        parameters = self._parameters(current, "undo")
        refuse_body(current, self._limit)
        terms = self._terms(current, parameters)
        try:
            revision = REVISION(revision_id)
        except ValueError:
            revision = 0  # none has it, but the build is looked for first
        change = self._store.undo(build_id, revision, **terms)
        builds = _here(current).rsplit("/", 4)[0]  # …/build/<id>/revisions/<revision>/undo
        return _changed(change, terms, builds)

    def _parameters(self, current: Request, route: str) -> dict[str, Any]:
        if not current.query_string:
            return {}
        return read_parameters(current.query_string, READERS[route], self._foreign)

    def _terms(self, current: Request, parameters: dict[str, Any]) -> Terms:
        conditional = not _CONDITIONS.isdisjoint(current.environ)
        return {
            "precondition": self._require if conditional or self._require_if_match else None,
            "sender": current_app._get_current_object(),  # type: ignore[attr-defined]
            "actor": None if self._actor is None else self._actor(),
            "reason": parameters.get("reason"),
            "dry_run": parameters.get("dry_run", False),
        }

    def _require(self, build: Document) -> None:
        """Evaluate the preconditions (RFC 9110, section 13) on the build as it is."""
        if self._require_if_match and "If-Match" not in request.headers:
            raise PreconditionRequired
        _match(build)
        if "If-None-Match" not in request.headers:
            return
        if request.if_none_match.contains_weak(Representation.of(build).tag):
            raise PreconditionFailed("If-None-Match names the build as it is.")


def _match(build: Document) -> None:
    """See that the build is the one that the client has seen, if it says which."""
    if "If-Match" not in request.headers:
        return
    if not request.if_match.contains(Representation.of(build).tag):
        raise PreconditionFailed


def _here(current: Request) -> str:
    # One slash: two would begin the name of another server.
    return "/" + f"{current.script_root}{current.path}".strip("/")


def _following(current: Request, parameters: dict[str, Any]) -> str:
    return f"{quote(_here(current), _PATH)}?{urlencode(parameters)}"


def _changed(change: Change, terms: Terms, builds: str) -> Response:
    """Answer the build as stored; of a preview, the revision that there would be."""
    if terms["dry_run"]:
        return told(encode(change.revision.document))
    build = change.build
    location = quote(f"{builds}/{build.document['id']}", safe=_PATH)
    return representation(build.body, build.tag, location=location)
