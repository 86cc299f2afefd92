"""The views: from a request to the store, and from its result to a response."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from time import time
from typing import Any
from urllib.parse import quote, urlencode

from flask import Request, Response, current_app, request
from marshmallow import ValidationError

from ..exceptions import BuildNotFound
from ..representation import EncodedList, decode, encode
from ..store import BatchResult, BuildFilter, BuildStore, ChangeOptions, ChangeResult
from ..store.change import Precondition
from ..store.clean import CLEAN_AGE, CLEAN_MESSAGE
from ..store.outside import OVERWRITTEN_AGE
from ..store.queue import MAX_BUILDS
from ..store.revisions import DEFAULT_REVISIONS
from ..wording import format_count
from .guard import note_stored
from .preconditions import Preconditions
from .requests import (
    FILTERED,
    PARAMETERS,
    REVISION_ID,
    current_request,
    read_body,
    read_message,
    read_parameters,
    refuse_body,
)
from .responses import json_response, representation

#: The most builds that the summary of a clean names.
_MAX_LISTED = 20

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
        options = self._options(parameters, preconditions.of_change)
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
        parameters = {"limit": DEFAULT_REVISIONS} | self._parameters(request, "revisions")
        page = EncodedList(parameters["limit"], self._max_list_length)
        self._store.revisions(
            build_id,
            # One more than asked for shows whether there is a next page.
            limit=parameters["limit"] + 1,
            below=parameters.get("before"),
            take=lambda revision: page.append(revision.document, revision.id),
        )
        return _page_of(page, parameters | {"before": page.last_id})

    def all_revisions(self, **_: Any) -> Response:
        """Return the revisions of all builds, those of deleted builds included."""
        parameters = {"limit": DEFAULT_REVISIONS} | self._parameters(request, "all_revisions")
        if parameters.get("overwritten") and "after" not in parameters:
            parameters["after"] = int(time()) - OVERWRITTEN_AGE
        page = EncodedList(parameters["limit"], self._max_list_length)
        wanted = parameters | {"limit": parameters["limit"] + 1}
        with suppress(BuildNotFound):  # no build can have this id
            self._store.revisions(
                **wanted,
                deleted=True,
                take=lambda revision: page.append(revision.document, revision.id),
            )
        return _page_of(page, parameters | {"below": page.last_id})

    def queue(self, **_: Any) -> Response:
        """Return the unfinished builds, the newest first."""
        parameters = self._parameters(request, "queue")
        if not self._store.has_queue:
            raise BuildNotFound("This server has no queue of builds.")
        if "per_page" not in parameters:
            parameters = {"limit": MAX_BUILDS} | parameters
        limit = min(parameters.get(name, MAX_BUILDS) for name in ("limit", "per_page"))
        number = parameters.get("page")
        page = EncodedList(limit, self._max_list_length)
        try:
            self._store.queue(
                _filter(parameters),
                limit=limit + 1,
                below=parameters.get("below"),
                offset=0 if number is None else (number - 1) * limit,
                oldest=parameters.get("order") == "oldest",
                take=page.append,
            )
        except BuildNotFound as error:
            raise BuildNotFound("below: there is no such build: begin anew.") from error
        if number is not None and page.count == limit:
            return _page_of(page, parameters | {"page": number + 1})
        # A numbered page that ends at the length of the list is followed by no numbered one.
        parameters.pop("page", None)
        return _page_of(page, parameters | {"below": page.last_id})

    def clean(self, **_: Any) -> Response:
        """Finish the unfinished builds that fit the filter."""
        current = current_request()
        parameters = self._parameters(current, "clean")
        message = read_message(current)
        if not self._store.has_queue:
            raise BuildNotFound("This server has no queue of builds.")
        if self._store.clean_problem is not None:
            raise BuildNotFound("This server has no status for builds that are cleaned.")
        if not {"before", "idle_before"} & {*parameters}:
            parameters["before"] = int(time()) - CLEAN_AGE
        options = self._options(parameters)
        result = self._store.clean(
            _filter(parameters),
            options,
            message=CLEAN_MESSAGE if message is None else message,
            limit=parameters.get("limit", MAX_BUILDS),
        )
        return self._batch(result, options, encode(_summary(result, options.dry_run)), "/clean")

    def undo_batch(self, **_: Any) -> Response:
        """Undo the revisions of a batch."""
        current = current_request()
        parameters = self._parameters(current, "undo_batch")
        refuse_body(current)
        options = self._options(parameters | {"batch": None})
        result = self._store.undo_batch(parameters["batch"], options)
        left = [
            {"build_id": one.build_id, "revision": one.revision_id, "error": one.problem}
            for one in result.failed
        ]
        body = encode({"undone": len(result.changed), "left": left})
        return self._batch(result, options, body, "/revisions/undo")

    def undo(self, build_id: str, revision_id: str, **_: Any) -> Response:
        """Undo one revision of a build."""
        current = current_request()
        parameters = self._parameters(current, "undo")
        preconditions = Preconditions(current.environ, self._require_if_match)
        refuse_body(current)
        options = self._options(parameters, preconditions.of_change)
        try:
            revision = REVISION_ID.deserialize(revision_id)
        except ValidationError:
            revision = 0  # no revision has it, but a missing build is reported first
        path = _path(current).removesuffix(f"/revisions/{revision_id}/undo")
        return _changed(self._store.undo(build_id, revision, options), options, _quoted(path))

    def _parameters(self, current: Request, route: str) -> dict[str, Any]:
        members = self._store.filters if route in FILTERED else {}
        return read_parameters(
            current.query_string, PARAMETERS[route], self._auth_parameters, members
        )

    def _options(
        self, parameters: dict[str, Any], precondition: Precondition | None = None
    ) -> ChangeOptions:
        return ChangeOptions(
            precondition=precondition,
            sender=current_app._get_current_object(),  # type: ignore[attr-defined]
            actor=None if self._actor is None else self._actor(),
            reason=parameters.get("reason"),
            dry_run=parameters.get("dry_run", False),
            force=parameters.get("force", False),
            batch=parameters.get("batch"),
        )

    def _batch(
        self, result: BatchResult, options: ChangeOptions, body: bytes, suffix: str
    ) -> Response:
        location = None
        if not options.dry_run and result.changed:
            note_stored()
            if self._store.has_history:
                path = f"{_path(current_request()).removesuffix(suffix)}/revisions"
                location = f"{_quoted(path)}?{urlencode({'batch': result.batch})}"
        return json_response(body, location=location)


def _filter(parameters: dict[str, Any]) -> BuildFilter:
    names = ("after", "before", "idle_before", "members")
    return BuildFilter(**{name: parameters[name] for name in names if name in parameters})


def _summary(result: BatchResult, dry_run: bool) -> str:
    """Say in words what a clean has done, as Vela does."""
    done = "would be cleaned" if dry_run else "cleaned"
    sentences = [f"{format_count(len(result.changed))} {done}."]
    if failed := result.failed:
        listed = _listed([f"{one.build_id} ({one.problem.rstrip('.')})" for one in failed])
        sentences.append(f"{format_count(len(failed))} not {done}: {listed}.")
    if result.more:
        sentences.append("There are more: clean again.")
    if found := [
        f"{one.build_id} ({', '.join(warning.warning for warning in one.warnings)})"
        for one in result.changed
        if one.warnings
    ]:
        sentences.append(f"What cannot be: {_listed(found)}.")
    return " ".join(sentences)


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _MAX_LISTED
    return ", ".join([*items[:_MAX_LISTED], *([f"and {more} more"] if more > 0 else [])])


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


def _page_of(page: EncodedList, following: dict[str, Any]) -> Response:
    """Return a page, with the link to the following one if there is one."""
    next_page = None
    if page.full:
        # The members that are filtered by, and flags, as they were written.
        members = following.pop("members", {})
        flags = [name for name, value in following.items() if type(value) is bool]
        following |= {name: request.args[name] for name in (*members, *flags)}
        next_page = f"{_quoted(_path(request))}?{urlencode(following)}"
    return json_response(page.body, next_page=next_page)
