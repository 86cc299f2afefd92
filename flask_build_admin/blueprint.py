"""``BuildAdmin``: the blueprint, its routes, and the way from a request to an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Request, Response, current_app, request
from flask.blueprints import BlueprintSetupState
from sqlalchemy.orm import Session
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge, UnsupportedMediaType

from .answers import methods, representation
from .body import Document, Representation, decode
from .errors import ConfigurationError, PreconditionFailed, PreconditionRequired
from .gate import Auth, Gate
from .schema import BuildSchema
from .store import BuildStore

#: If-Match and If-None-Match, as WSGI has them.
_CONDITIONS = frozenset({"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"})

#: What a path may hold as it is, letters and digits apart (RFC 3986, section 3.3).
_PATH = "/:@!$&'()*+,;="

View = Callable[..., Response]


class BuildAdmin(Blueprint):
    """The admin build routes, as a blueprint to register on a Flask app.

    ``PUT <prefix>/build`` overwrites a whole build, ``GET <prefix>/build/<id>`` fetches one.

    :param model: the host's mapped class.
    :param session: a callable that answers the current ``Session``, such as ``db.session``.
    :param auth: any view decorator; what it refuses is answered with 401. There is no default.
    :param schema: how a build looks in JSON, and which attribute is behind which member.
    :param actor: answers who is acting, for the signals and the log; called for every put that is a
        JSON object, after ``auth`` has agreed.
    :param require_if_match: whether a put without ``If-Match`` is refused with 428.
    :param max_content_length: of a body, in bytes, at least 1.
    :param name: of the blueprint, for ``url_for`` and a second registration.
    :param url_prefix: before ``/build``.
    :raises ConfigurationError: one of these is not what it must be; says the way out.
    """

    def __init__(
        self,
        model: type[Any],
        session: Callable[[], Session],
        auth: Auth,
        *,
        schema: type[BuildSchema] = BuildSchema,
        actor: Callable[[], Any] | None = None,
        require_if_match: bool = False,
        max_content_length: int = 262_144,
        name: str = "build_admin",
        url_prefix: str = "/api/v1/admin",
    ) -> None:
        super().__init__(name, __name__, url_prefix=url_prefix)
        if actor is not None and not callable(actor):
            raise ConfigurationError(
                f"actor={actor!r} cannot be called: pass a function that answers who is acting."
            )
        if type(max_content_length) is not int or max_content_length < 1:
            raise ConfigurationError(
                f"max_content_length={max_content_length!r} is no number of bytes from 1 on."
            )
        self.store = BuildStore(model, session, schema)
        self._gate = Gate(auth, max_content_length, self.store.rollback)
        self._actor = actor
        self._require_if_match = require_if_match
        self._limit = max_content_length
        self.before_request(self._gate.enter)
        self.after_request(self._gate.seal)
        self.register_error_handler(500, self._gate.crash)
        self._mount("/build", "overwrite", {"PUT": self._overwrite})
        self._mount("/build/<build_id>", "fetch", {"GET": self._fetch, "HEAD": self._fetch})

    def _mount(self, rule: str, endpoint: str, views: Mapping[str, View]) -> None:
        allowed = sorted({*views, "OPTIONS"})

        def view(**values: Any) -> Response:
            return self._gate.answer(self._dispatch, views, allowed, values)

        def add(state: BlueprintSetupState) -> None:
            state.add_url_rule(
                rule,
                endpoint,
                view,
                methods=allowed,
                strict_slashes=False,
                merge_slashes=False,
                provide_automatic_options=False,
            )
            full = f"{state.name_prefix}.{state.name}.{endpoint}".lstrip(".")
            for added in state.app.url_map.iter_rules(full):
                # Or the routing would answer 405 by itself, outside of the blueprint.
                added.methods = _EveryMethod(added.methods or ())

        self.record(add)

    def _dispatch(
        self, views: Mapping[str, View], allowed: list[str], values: dict[str, Any]
    ) -> Response:
        if request.method == "OPTIONS":
            return methods(allowed)
        view = views.get(request.method)
        if view is None:
            raise MethodNotAllowed(allowed, f"The method is not allowed: {', '.join(allowed)} are.")
        return view(**values)

    def _overwrite(self, **_: Any) -> Response:
        # The request itself: its proxy, asked a dozen times, costs more than the parsing.
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        document = decode(self._body(current))
        conditional = not _CONDITIONS.isdisjoint(current.environ)
        stored = self.store.overwrite(
            document,
            precondition=self._require if conditional or self._require_if_match else None,
            sender=current_app._get_current_object(),  # type: ignore[attr-defined]
            actor=None if self._actor is None else self._actor(),
        )
        here = f"{current.script_root}{current.path}".rstrip("/")
        location = quote(f"{here}/{stored.document['id']}", safe=_PATH)
        return representation(stored.body, stored.tag, location=location)

    def _body(self, current: Request) -> bytes:
        charset = current.mimetype_params.get("charset", "utf-8").lower()
        if current.mimetype != "application/json" or charset not in {"utf-8", "utf8"}:
            raise UnsupportedMediaType("The Content-Type must be application/json, in UTF-8.")
        if "Content-Encoding" in current.headers:
            raise UnsupportedMediaType("The body must not have a Content-Encoding.")
        # A chunked body tells no length, and is cut without a word at the limit of the request.
        if (current.content_length or 0) > self._limit or len(current.get_data()) > self._limit:
            raise RequestEntityTooLarge(f"The body is longer than {self._limit} bytes.")
        return current.get_data()

    def _require(self, build: Document) -> None:
        """Evaluate the preconditions (RFC 9110, section 13) on the build as it is."""
        tag = Representation.of(build).tag
        if "If-Match" in request.headers:
            if not request.if_match.contains(tag):
                raise PreconditionFailed
        elif self._require_if_match:
            raise PreconditionRequired
        if "If-None-Match" in request.headers and request.if_none_match.contains_weak(tag):
            raise PreconditionFailed("If-None-Match names the build as it is.")

    def _fetch(self, build_id: str, **values: Any) -> Response:
        build = self.store.find(build_id)
        if "If-Match" in request.headers and not request.if_match.contains(build.tag):
            raise PreconditionFailed
        if request.if_none_match.contains_weak(build.tag):
            return representation(b"", build.tag, 304)
        return representation(build.body, build.tag)


class _EveryMethod(set[str]):
    """The methods that a route answers, for whoever lists them; yet the routing finds any other."""

    def __contains__(self, method: object) -> bool:
        return True
