"""The views: from a request to the store, and from its result to a response."""

from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import quote, urlencode

from flask import Request, Response, current_app, request
from marshmallow import ValidationError

from ..exceptions import BuildNotFound
from ..representation import EncodedList, decode, encode
from ..store import BuildStore, ChangeOptions, ChangeResult
from ..store.history import DEFAULT_REVISIONS
from ..store.queue import DEFAULT_BUILDS
from .guard import note_stored
from .preconditions import Preconditions
from .requests import (
    PARAMETERS,
    REVISION_ID,
    current_request,
    read_body,
    read_parameters,
    refuse_body,
)
from .responses import json_response, representation

#: The characters, letters and digits apart, that a path need not quote (RFC 3986, section 3.3).
_SAFE = "/:@!$&'()*+,;="


class BuildViews:
    """Handle the requests that the guard has let in; the options are those of ``BuildAdmin``."""

    def __init__(
        self,
        store: BuildStore,
        actor: Callable[[], Any] | None,
        require_if_match: bool,
        auth_parameters: Collection[str],
        max_list_length: int,
    ) -> None:
        self._store = store
        self._actor = actor
        self._require_if_match = require_if_match
        self._auth_parameters = auth_parameters
        self._max_list_length = max_list_length

    def overwrite(self, **_: Any) -> Response:
        """Overwrite the build that the body has the id of."""
        current = current_request()
        parameters = self._parameters(current, "overwrite")
        preconditions = Preconditions(current.environ, self._require_if_match)
        document = decode(read_body(current))
        options = self._options(parameters, preconditions)
        result = self._store.overwrite(document, options)
        # Not url_for(), which a host may have taken the variables of the prefix from.
        return _changed(result, options, _quoted(f"{_path(current)}/{result.build.document['id']}"))

    def fetch(self, build_id: str, **_: Any) -> Response:
        """Return one build."""
        self._parameters(request, "fetch")
        preconditions = Preconditions(request.environ)
        build = self._store.find(build_id, preconditions.check_if_match)
        if preconditions.is_known(build.tag):
            return representation(b"", build.tag, 304)
        return representation(build.body, build.tag)

    def revisions(self, build_id: str, **_: Any) -> Response:
        """Return the revisions of a build, the newest first."""
        parameters = self._parameters(request, "revisions")
        limit = parameters.get("limit", DEFAULT_REVISIONS)
        page = EncodedList(limit, self._max_list_length)
        self._store.revisions(
            build_id,
            # One more than asked for shows whether there is a next page.
            limit=limit + 1,
            before=parameters.get("before"),
            take=lambda revision: page.append(revision.document, revision.id),
        )
        next_page = _page_url({"limit": limit, "before": page.last_id}) if page.full else None
        return json_response(page.body, next_page)

    def queue(self, **_: Any) -> Response:
        """Return the unfinished builds, the newest first."""
        parameters = {"limit": DEFAULT_BUILDS} | self._parameters(request, "queue")
        if not self._store.has_queue:
            raise BuildNotFound("This server has no queue of builds.")
        limit = parameters["limit"]
        page = EncodedList(limit, self._max_list_length)
        try:
            self._store.queue(**parameters | {"limit": limit + 1, "take": page.append})
        except BuildNotFound as error:
            raise BuildNotFound("below: there is no such build: begin anew.") from error
        next_page = _page_url(parameters | {"below": page.last_id}) if page.full else None
        return json_response(page.body, next_page)

    def undo(self, build_id: str, revision_id: str, **_: Any) -> Response:
        """Undo one revision of a build."""
        current = current_request()
        parameters = self._parameters(current, "undo")
        preconditions = Preconditions(current.environ, self._require_if_match)
        refuse_body(current)
        options = self._options(parameters, preconditions)
        try:
            revision = REVISION_ID.deserialize(revision_id)
        except ValidationError:
            revision = 0  # no revision has it, but a missing build is reported first
        path = _path(current).removesuffix(f"/revisions/{revision_id}/undo")
        return _changed(self._store.undo(build_id, revision, options), options, _quoted(path))

    def _parameters(self, current: Request, route: str) -> dict[str, Any]:
        return read_parameters(current.query_string, PARAMETERS[route], self._auth_parameters)

    def _options(self, parameters: dict[str, Any], preconditions: Preconditions) -> ChangeOptions:
        return ChangeOptions(
            precondition=preconditions.of_change,
            sender=current_app._get_current_object(),  # type: ignore[attr-defined]
            actor=None if self._actor is None else self._actor(),
            **parameters,
        )


def _changed(result: ChangeResult, options: ChangeOptions, location: str) -> Response:
    """Return the build as stored; for a preview, the revision that would be recorded."""
    if options.dry_run:
        return json_response(encode(result.revision.document))
    if result.revision.changes:
        note_stored()
    return representation(result.build.body, result.build.tag, location=location)


def _path(current: Request) -> str:
    # One slash: two would begin the name of another server.
    return "/" + f"{current.script_root}{current.path}".strip("/")


def _quoted(path: str) -> str:
    return quote(path, safe=_SAFE)


def _page_url(parameters: dict[str, Any]) -> str:
    return f"{_quoted(_path(request))}?{urlencode(parameters)}"
