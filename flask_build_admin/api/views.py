"""The views: from a request to the store, and from its result to a response."""

from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import quote, urlencode

from flask import Request, Response, current_app, request
from marshmallow import ValidationError

from ..exceptions import BuildNotFound, PreconditionFailed, PreconditionRequired
from ..representation import Document, Representation, decode, encode
from ..store import BuildStore, ChangeOptions, ChangeResult
from ..store.history import DEFAULT_REVISIONS
from ..store.queue import DEFAULT_BUILDS
from .guard import note_stored
from .requests import PARAMETERS, REVISION_ID, read_body, read_parameters, refuse_body
from .responses import json_response, representation

#: If-Match and If-None-Match, in the WSGI environment.
_CONDITIONS = frozenset({"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"})

#: The characters, letters and digits apart, that a path need not quote (RFC 3986, section 3.3).
_SAFE = "/:@!$&'()*+,;="


_CHANGED_TAG = (
    "If-Match has the ETag of the build as a proxy changed it: switch off compression for this path"
    " in the proxy, or send the ETag without the prefix W/ and without the suffix."
)


class BuildViews:
    """Handle the requests that the guard has let in; the options are those of ``BuildAdmin``."""

    def __init__(
        self,
        store: BuildStore,
        actor: Callable[[], Any] | None,
        require_if_match: bool,
        auth_parameters: Collection[str],
    ) -> None:
        self._store = store
        self._actor = actor
        self._require_if_match = require_if_match
        self._auth_parameters = auth_parameters

    def overwrite(self, **_: Any) -> Response:
        """Overwrite the build that the body has the id of."""
        # Not the proxy: a dozen accesses through it cost more than parsing the body.
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        parameters = self._parameters(current, "overwrite")
        document = decode(read_body(current))
        options = self._options(current, parameters)
        result = self._store.overwrite(document, options)
        # Not url_for(), which a host may have taken the variables of the prefix from.
        return _changed(result, options, _quoted(f"{_path(current)}/{result.build.document['id']}"))

    def fetch(self, build_id: str, **_: Any) -> Response:
        """Return one build."""
        self._parameters(request, "fetch")
        build = self._store.find(build_id, _check_if_match)
        if request.if_none_match.contains_weak(build.tag):
            return representation(b"", build.tag, 304)
        return representation(build.body, build.tag)

    def revisions(self, build_id: str, **_: Any) -> Response:
        """Return the revisions of a build, the newest first."""
        parameters = self._parameters(request, "revisions")
        limit = parameters.get("limit", DEFAULT_REVISIONS)
        # One more than asked for shows whether there is a next page.
        found = self._store.revisions(build_id, limit=limit + 1, before=parameters.get("before"))
        page = found[:limit]
        next_page = None
        if len(found) > limit:
            next_page = _page_url({"limit": limit, "before": page[-1].id})
        return json_response(encode([revision.document for revision in page]), next_page)

    def queue(self, **_: Any) -> Response:
        """Return the unfinished builds, the newest first."""
        parameters = {"limit": DEFAULT_BUILDS} | self._parameters(request, "queue")
        if not self._store.has_queue:
            raise BuildNotFound("This server has no queue of builds.")
        try:
            builds = self._store.queue(**parameters)
        except BuildNotFound as error:
            raise BuildNotFound("below: there is no such build: begin anew.") from error
        next_page = None
        if len(builds) == parameters["limit"]:
            next_page = _page_url(parameters | {"below": builds[-1]["id"]})
        return json_response(encode(builds), next_page)

    def undo(self, build_id: str, revision_id: str, **_: Any) -> Response:
        """Undo one revision of a build."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        parameters = self._parameters(current, "undo")
        refuse_body(current)
        options = self._options(current, parameters)
        try:
            revision = REVISION_ID.deserialize(revision_id)
        except ValidationError:
            revision = 0  # no revision has it, but a missing build is reported first
        path = _path(current).removesuffix(f"/revisions/{revision_id}/undo")
        return _changed(self._store.undo(build_id, revision, options), options, _quoted(path))

    def _parameters(self, current: Request, route: str) -> dict[str, Any]:
        return read_parameters(current.query_string, PARAMETERS[route], self._auth_parameters)

    def _options(self, current: Request, parameters: dict[str, Any]) -> ChangeOptions:
        conditional = not _CONDITIONS.isdisjoint(current.environ)
        check = conditional or self._require_if_match
        return ChangeOptions(
            precondition=self._check_preconditions if check else None,
            sender=current_app._get_current_object(),  # type: ignore[attr-defined]
            actor=None if self._actor is None else self._actor(),
            **parameters,
        )

    def _check_preconditions(self, build: Document) -> None:
        """Evaluate the preconditions on the build as it is (RFC 9110, section 13)."""
        if self._require_if_match and "If-Match" not in request.headers:
            raise PreconditionRequired
        _check_if_match(build)
        if "If-None-Match" not in request.headers:
            return
        if request.if_none_match.contains_weak(Representation.of(build).tag):
            raise PreconditionFailed("If-None-Match names the build as it is.")


def _changed(result: ChangeResult, options: ChangeOptions, location: str) -> Response:
    """Return the build as stored; for a preview, the revision that would be recorded."""
    if options.dry_run:
        return json_response(encode(result.revision.document))
    if result.revision.changes:
        note_stored()
    return representation(result.build.body, result.build.tag, location=location)


def _check_if_match(build: Document) -> None:
    """Check that the build is the one that the client fetched, if it says which."""
    if "If-Match" not in request.headers:
        return
    sent, tag = request.if_match, Representation.of(build).tag
    if sent.contains(tag):
        return
    # A proxy that compresses makes a weak tag of it, or adds a suffix such as "-gzip".
    if any(one and one.startswith(tag) for one in sent.as_set(include_weak=True)):
        raise PreconditionFailed(_CHANGED_TAG)
    raise PreconditionFailed


def _path(current: Request) -> str:
    # One slash: two would begin the name of another server.
    return "/" + f"{current.script_root}{current.path}".strip("/")


def _quoted(path: str) -> str:
    return quote(path, safe=_SAFE)


def _page_url(parameters: dict[str, Any]) -> str:
    return f"{_quoted(_path(request))}?{urlencode(parameters)}"
